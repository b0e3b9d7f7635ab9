"""Responses through the package openai, as Codex and the OpenAI SDKs send them."""
import json

import openai
import pydantic

from apitest import (FUNCTIONS, HELLO, LOOP, ONE_ARGS, ONE_CALL, PERSON, SUM, TOWN, TWO_CALLS,
                     ApiTest, main)

TOOLS = [{"type": "function", **f} for f in FUNCTIONS]


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=40)
    married: bool


def user(text):
    return {"role": "user", "content": text}


def of_type(answer, kind):
    return [item for item in answer.output if item.type == kind]


def calls_of(answer):
    return [(c.name, json.loads(c.arguments)) for c in of_type(answer, "function_call")]


def sent_back(item):
    return item.model_dump(exclude_none=True)


class Responses(ApiTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(api_key="any", base_url=cls.url + "/v1", max_retries=0)

    def ask(self, content, /, **more):
        more.setdefault("max_output_tokens", 300)
        return self.client.responses.create(
            **{"model": "demo", "input": content, "temperature": 0, "store": False, **more})

    def test_plain(self):
        got = self.ask(HELLO, instructions="You are a helpful assistant.")
        self.assertEqual((got.status, got.error, got.incomplete_details), ("completed", None, None))
        self.assertIn("help", got.output_text)
        self.assertEqual([i.type for i in got.output], ["reasoning", "message"])
        self.assertEqual(got.usage.total_tokens, got.usage.input_tokens + got.usage.output_tokens)
        self.assertGreater(got.usage.output_tokens_details.reasoning_tokens, 0)
        with self.client.responses.stream(model="demo", input=HELLO, temperature=0,
                                          instructions="You are a helpful assistant.") as stream:
            events = list(stream)
            last = stream.get_final_response()
        self.assertEqual(last.output_text, got.output_text)
        self.assertEqual([e.type for e in events[:2]],
                         ["response.created", "response.in_progress"])
        self.assertEqual(events[-1].type, "response.completed")
        said = "".join(e.delta for e in events if e.type == "response.output_text.delta")
        self.assertEqual(said, got.output_text)
        thought = "".join(e.delta for e in events if e.type == "response.reasoning_text.delta")
        self.assertEqual(thought, of_type(got, "reasoning")[0].content[0].text)

    def test_thinking(self):
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max", None):
            with self.subTest(effort):
                more = {"reasoning": {"effort": effort}} if effort else {}
                got = self.ask(SUM, **more)
                self.assertEqual(bool(of_type(got, "reasoning")), effort != "none")
                if effort != "none":
                    self.assertEqual(got.output_text, "42")
        got = self.ask(SUM, reasoning={"effort": "low", "summary": "auto"})
        item = of_type(got, "reasoning")[0]
        self.assertEqual(item.summary[0].text, item.content[0].text)

    def test_limit(self):
        got = self.ask(HELLO, max_output_tokens=2)
        self.assertEqual((got.status, got.incomplete_details.reason),
                         ("incomplete", "max_output_tokens"))
        probe = self.ask([], max_output_tokens=1)  # as Codex probes
        self.assertEqual(probe.usage.output_tokens, 1)

    def test_formats(self):
        schema = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
        for effort in ("none", "high"):
            more = {"reasoning": {"effort": effort}}
            got = json.loads(self.ask("Who is the baker?", text={"format": schema}, **more)
                             .output_text)
            self.assertEqual(list(got), ["name", "married", "pet"])
            text = self.ask("Write JSON.", text={"format": {"type": "json_object"}},
                            max_output_tokens=2000, **more).output_text
            self.assertIsInstance(json.loads(text), dict)
        got = self.client.responses.parse(model="demo", input="Who is the baker?",
                                          text_format=Person, max_output_tokens=300)
        self.assertIsInstance(got.output_parsed, Person)

    def test_logprobs(self):
        got = self.ask(SUM, include=["message.output_text.logprobs"], top_logprobs=2)
        part = of_type(got, "message")[0].content[0]
        self.assertEqual("".join(row.token for row in part.logprobs), part.text)
        self.assertTrue(all(len(row.top_logprobs) == 2 for row in part.logprobs))

    def test_calls(self):
        self.assertEqual(calls_of(self.ask(HELLO, tools=TOOLS)), [])
        for text, want in ((ONE_CALL, [("calculator", ONE_ARGS)]),
                           (TWO_CALLS, [("calculator", ONE_ARGS), ("clock", TOWN)])):
            got = self.ask(text, tools=TOOLS)
            self.assertEqual(calls_of(got), want)
            with self.client.responses.stream(model="demo", input=text, tools=TOOLS,
                                              temperature=0) as stream:
                done = [e for e in stream if e.type == "response.function_call_arguments.done"]
                self.assertEqual(calls_of(stream.get_final_response()), want)
            self.assertEqual([json.loads(e.arguments) for e in done], [a for _, a in want])
        got = self.ask(TWO_CALLS, tools=TOOLS, parallel_tool_calls=False)
        self.assertEqual(len(calls_of(got)), 1)
        got = self.ask(ONE_CALL, tools=TOOLS, tool_choice={"type": "function", "name": "clock"})
        self.assertEqual([n for n, _ in calls_of(got)], ["clock"])
        self.assertTrue(calls_of(self.ask(HELLO, tools=TOOLS, tool_choice="required")))

    def test_results(self):
        asked = [user(TWO_CALLS)]
        first = self.ask(asked, tools=TOOLS)
        asked += [sent_back(i) for i in first.output]
        for call, result in zip(of_type(first, "function_call"), ("14582", "07:45")):
            asked.append({"type": "function_call_output", "call_id": call.call_id,
                          "output": result})
        got = self.ask(asked, tools=TOOLS)
        self.assertIn("14582", got.output_text)
        self.assertIn("07:45", got.output_text)

    def test_custom_and_others(self):
        """What Codex offers: a custom tool, a namespace, and types that are not known here."""
        custom = {"type": "custom", "name": "note", "description": "Write a note.",
                  "format": {"type": "text"}}
        space = {"type": "namespace", "name": "tools", "description": "Some tools.",
                 "tools": [{"type": "function", **f} for f in FUNCTIONS]}
        others = [{"type": "web_search"}, {"type": "image_generation"}]
        asked = [user("Write a note.")]
        choice = {"type": "custom", "name": "note"}
        got = self.ask(asked, tools=[custom, *others], tool_choice=choice, max_output_tokens=60)
        calls = of_type(got, "custom_tool_call")
        self.assertEqual([c.name for c in calls], ["note"])
        raw = self.client.responses.with_raw_response.create(
            model="demo", input=ONE_CALL, tools=[custom, space, *others], tool_choice="auto",
            max_output_tokens=120, temperature=0)
        self.assertIn("x-hadal-warning", raw.headers)
        with self.client.responses.stream(model="demo", input=asked, tools=[custom], temperature=0,
                                          tool_choice=choice, max_output_tokens=60) as stream:
            said = "".join(e.delta for e in stream
                           if e.type == "response.custom_tool_call_input.delta")
        self.assertEqual(said, calls[0].input)
        if got.status == "completed":
            asked += [sent_back(i) for i in got.output]
            asked.append({"type": "custom_tool_call_output", "call_id": calls[0].call_id,
                          "output": "ok"})
            self.assertEqual(self.ask(asked, tools=[custom]).error, None)
        named = self.ask(ONE_CALL, tools=[space], tool_choice="required")
        call = of_type(named, "function_call")[0]
        self.assertEqual(call.namespace, "tools")
        self.assertIn(call.name, ("calculator", "clock"))

    def test_sealed_reasoning(self):
        """Reasoning that comes back with its seal alone is the same to the model, to the token."""
        asked = [user(HELLO)]
        first = self.ask(asked, tools=TOOLS, include=["reasoning.encrypted_content"])
        items = [sent_back(i) for i in first.output]
        self.assertTrue(items[0]["encrypted_content"])
        bare = {**items[0], "content": []}
        lost = {**bare, "encrypted_content": "x" + items[0]["encrypted_content"][1:]}
        n = [self.ask([*asked, item, *items[1:], user("Thanks.")], tools=TOOLS,
                      max_output_tokens=1).usage.input_tokens for item in (items[0], bare, lost)]
        self.assertEqual(n[0], n[1])
        self.assertLess(n[2], n[1])

    def loop(self, who, keeps):
        asked, usages = [], []
        for text, tool, result in LOOP:
            asked.append(user(text))
            got = self.ask(asked, tools=TOOLS, extra_body={"user_id": who},
                           include=["reasoning.encrypted_content"])
            self.assertEqual([n for n, _ in calls_of(got)], [tool])
            u = got.usage
            usages.append((u.input_tokens, u.input_tokens_details.cached_tokens, u.output_tokens))
            asked += [sent_back(i) for i in got.output if keeps or i.type != "reasoning"]
            asked.append({"type": "function_call_output", "output": result,
                          "call_id": of_type(got, "function_call")[0].call_id})
        return usages

    def test_loop_kept(self):
        self.check_hits(self.loop("keeps", True))

    def test_loop_dropped(self):
        self.check_hits(self.loop("drops", False))


if __name__ == "__main__":
    main()
