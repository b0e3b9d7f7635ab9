"""Reasoning, text and a tool call in one answer, from a model that is made to write them."""
import json
import os

from scripted import Script
from support import ModelTest, hadal, main

DSML = "｜DSML｜"
# What the model writes behind the DSML token, one after the other. A logit lower by 10 than the
# one before, and penalties of 200 on what was written, keep the order.
CALL = ["tool_calls>\n<", 'invoke name="get_weather">\n<',
        'parameter name="city" string="true">Oslo</', "parameter>\n</", "invoke>\n</", "tool_calls>"]
ORDER = ["--presence-penalty", 100, "--frequency-penalty", 100, "-t", 0, "--threads", 1]
TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}}}}]


class Tools(ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        script = Script(os.path.join(cls.scratch, "scripted"))
        cls.model = script.directory
        script.follow("<think>", "Let me see.")
        script.follow("Let me see.", "</think>", 2000.0)
        script.follow("</think>", "I ask.")
        script.follow("I ask.", "\n\n<")
        script.follow("\n\n<", DSML, 2000.0)
        for i, piece in enumerate(CALL):
            script.follow(DSML, piece, 1000.0 - 10.0 * i)
            script.follow(piece, DSML if i + 1 < len(CALL) else "<｜end▁of▁sentence｜>", 2000.0)
        script.write()

    def run_model(self, *args):
        tools = self.write("tools.json", json.dumps(TOOLS))
        return hadal("run", self.model, "--chat", "-p", "?", "--tools", tools, *ORDER, *args)

    def test_events(self):
        out, _ = self.run_model("--think", "low", "--json-events")
        rows = [json.loads(line) for line in out.decode().splitlines()]
        kinds = []
        for row in rows:
            if not kinds or kinds[-1] != row["type"]:
                kinds.append(row["type"])
        self.assertEqual(kinds, ["reasoning", "text", "tool_open", "tool_args", "tool_close",
                                 "finish"])

        def joined(kind):
            return "".join(row["text"] for row in rows if row["type"] == kind)

        self.assertEqual(joined("reasoning"), "Let me see.")
        self.assertEqual(joined("text"), "I ask.")
        opened = [row for row in rows if row["type"] == "tool_open"]
        self.assertEqual(opened, [{"type": "tool_open", "call": 0, "name": "get_weather"}])
        self.assertEqual(json.loads(joined("tool_args")), {"city": "Oslo"})
        self.assertEqual({row["call"] for row in rows if "call" in row}, {0})
        self.assertEqual(rows[-1]["reason"], "tool_calls")

    def test_text_for_people(self):
        out, err = self.run_model("--think", "low")
        self.assertEqual(out.decode(), 'I ask.\nget_weather({"city": "Oslo"})\n')
        self.assertTrue(err.startswith("Let me see.\n\nprompt "), err)
        out, err = self.run_model()
        self.assertEqual(out.decode(), 'I ask.\nget_weather({"city": "Oslo"})\n')
        self.assertTrue(err.startswith("prompt "), err)

    def test_no_tools_no_calls(self):
        out, _ = hadal("run", self.model, "--chat", "-p", "?", *ORDER, "--json-events")
        rows = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual({row["type"] for row in rows}, {"text", "finish"})
        self.assertEqual(rows[-1]["reason"], "stop")

    def test_cut_off_inside_a_call(self):
        out, _ = self.run_model("--json-events", "-n", 6)  # I ask. / \n\n< / DSML / ... invoke
        rows = [json.loads(line) for line in out.decode().splitlines()]
        self.assertEqual(rows[-1]["reason"], "length")
        self.assertNotIn("tool_close", {row["type"] for row in rows})

    def test_chat_history_leaves_the_reasoning_out(self):
        out, err = hadal("chat", self.model, "--think", "low", *ORDER,
                         stdin=b"one\ntwo\n")
        self.assertEqual(out.decode().count("I ask."), 2)
        self.assertEqual(err.count("Let me see.\n\n"), 2)


if __name__ == "__main__":
    main()
