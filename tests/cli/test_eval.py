"""hadal eval: task files in; table, JSON report, answers, stored figures and exit statuses out."""
import json
import os
import signal
import subprocess
import time

from scripted import Script
from support import PROGRAM, WAIT_S, ModelTest, hadal, main

ONE = ["--threads", 1]
END = "<｜end▁of▁sentence｜>"


def user(text, **options):
    return {"messages": [{"role": "user", "content": text}], "options": options}


def row(name, expect, request=None, **more):
    return {"set": name, "request": request or user("?"), "max_tokens": 5, "expect": expect, **more}


class EvalTest(ModelTest):
    def write_tasks(self, rows, where=None, **more):
        path = where or os.path.join(self.scratch, "tasks.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"format": "hadal-eval-1", "rows": rows, **more}, f)
        return path

    def eval(self, *args, **more):
        return hadal("eval", self.model, *ONE, *args, **more)

    def report(self, *args, **more):
        out, err = self.eval("--json", *args, **more)
        report = json.loads(out)
        return report, {t["name"]: t for t in report["tasks"]}, err

    def answers(self, *args, device="cpu"):
        path = os.path.join(self.scratch, "answers.jsonl")
        hadal("eval", self.model, *ONE, "--device", device, "--answers", path, *args)
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]


class Scripted(EvalTest):
    """A model that answers 47, after "Hm." if it thinks, and fills holes with "xy" forever."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        script = Script(os.path.join(cls.scratch, "scripted"))
        cls.model = script.directory
        script.follow("<think>", "Hm.")
        script.follow("Hm.", "</think>")
        script.follow("</think>", "47")
        script.follow("47", END)
        script.follow("<｜fim▁end｜>", "xy")
        script.follow("xy", "xy")
        script.write()

    def setUp(self):
        self.figures = os.path.join(self.model, "eval-figures.json")
        if os.path.exists(self.figures):
            os.remove(self.figures)
        fim = {"prompt": "a", "suffix": "b"}
        rows = [
            row("chat", {"text": "47"}),
            row("json", {"schema": {"type": "integer"}}),
            row("chat", {"text": "48"}),
            row("needle-1k", {"text": "47"},
                request=user("{pieces}\n\nWho?"), pieces=[1, "It is 47.", 0]),
            row("fim", {"text": "xyxyxyxyxy"}, request=fim),
            row("add-think", {"text": "47"}, request=user("?", thinking_mode="thinking")),
            row("add-think", {"text": "47"}, request=user("?", thinking_mode="thinking"),
                max_tokens=3),
            row("json", {"schema": {"type": "integer", "maximum": 46}}),
            row("json", {"schema": {"type": "integer"}, "value": 46}),
            row("chat", {"text_any": ["a", "47"]}),
        ]
        self.write_tasks(rows, os.path.join(self.model, "eval.json"), name="Numbers",
                         sentences=["A b.", "C d."])

    def test_report(self):
        report, tasks, err = self.report()
        self.assertEqual(list(report), ["model", "device", "tasks", "seconds", "prompt_tokens",
                                        "generated_tokens"])
        self.assertEqual(err, "")
        self.assertEqual(report["model"], self.model)
        self.assertRegex(report["device"], "^cpu: ")
        self.assertEqual([list(t.values()) for t in report["tasks"]], [
            ["needle-1k", 1, 1.0, None], ["add-think", 2, 0.5, None],
            ["json-valid", 3, 2 / 3, None], ["json-right", 3, 1 / 3, None], ["fim", 1, 0.0, None],
            ["chat", 3, 2 / 3, None], ["stop", 10, 0.8, None]])
        self.assertEqual(list(tasks["stop"]), ["name", "n", "accuracy", "stored"])
        # 47 and the end; "Hm.", </think>, 47, end, and the same cut off; five times "xy"
        self.assertEqual(report["generated_tokens"], 7 * 2 + 4 + 3 + 5)
        # begin, user, "?", assistant, </think> or <think>; the needle's letters; fim
        self.assertEqual(report["prompt_tokens"], 8 * 5 + 4 + len("C d. It is 47. A b.\n\nWho?")
                         + 6)
        self.assertGreater(report["seconds"], 0)

    def test_table(self):
        out, err = self.eval()
        lines = out.decode().splitlines()
        self.assertEqual(lines[0], "Numbers")
        self.assertEqual(lines[1].split(), ["task", "rows", "accuracy", "stored", "change"])
        self.assertEqual(lines[3].split(), ["add-think", "2", "50.0%"])
        self.assertEqual(len(lines), 9)
        self.assertRegex(err, r"^10 rows in [\d.]+ s; prompts \d+ tokens, answers 26; cpu: .*\n$")

    def test_answers(self):
        rows = self.answers()
        self.assertEqual([r["row"] for r in rows], list(range(10)))
        self.assertEqual([r["set"] for r in rows[:4]], ["chat", "json", "chat", "needle-1k"])
        self.assertEqual(list(rows[0]), ["set", "row", "ids", "text", "ended", "valid", "right"])
        self.assertEqual([r["text"] for r in rows], ["47"] * 4 + ["xyxyxyxyxy", "Hm.</think>47",
                                                                 "Hm.</think>47"] + ["47"] * 3)
        self.assertEqual([r["ended"] for r in rows], [i not in (4, 6) for i in range(10)])
        self.assertEqual([r["valid"] for r in rows], [i not in (4, 6, 7) for i in range(10)])
        self.assertEqual([r["right"] for r in rows], [i in (0, 1, 3, 5, 9) for i in range(10)])
        self.assertEqual(rows[0]["ids"][-1], 1)  # the end is one of them
        self.assertEqual(len(rows[5]["ids"]), 4)

    def test_task_and_limit(self):
        _, tasks, _ = self.report("--task", "json-valid", "--task", "chat")
        self.assertEqual({n: t["n"] for n, t in tasks.items()}, {"json-valid": 3, "chat": 3})
        _, tasks, _ = self.report("--limit", 1)
        self.assertEqual({n: t["n"] for n, t in tasks.items()},
                         {"needle-1k": 1, "add-think": 1, "json-valid": 1, "json-right": 1,
                          "fim": 1, "chat": 1, "stop": 5})
        _, tasks, _ = self.report("--task", "stop", "--limit", 2)
        self.assertEqual({n: t["n"] for n, t in tasks.items()}, {"stop": 8})
        self.assertEqual([r["row"] for r in self.answers("--task", "json-right", "--limit", 2)],
                         [1, 7])
        _, err = self.eval("--task", "chess", code=1)
        self.assertEqual(err, "hadal eval: no task 'chess', expected one of needle-1k add-think "
                              "json-valid json-right fim chat stop\n")

    def test_stored_figures(self):
        _, err = self.eval("--store", "--limit", 3, code=2)
        self.assertIn("--store goes without --task and --limit", err)
        self.eval("--store", "--task", "chat", code=2)
        self.assertFalse(os.path.exists(self.figures))
        self.eval("--store")
        with open(self.figures, encoding="utf-8") as f:
            figures = json.load(f)
        self.assertEqual(list(figures), ["tasks"])
        self.assertEqual(figures["tasks"]["chat"], {"n": 3, "accuracy": 2 / 3})
        self.assertEqual(len(figures["tasks"]), 7)
        _, tasks, _ = self.report()
        self.assertEqual([t["stored"] for t in tasks.values()],
                         [t["accuracy"] for t in tasks.values()])
        out, _ = self.eval("--task", "chat")
        self.assertEqual(out.decode().splitlines()[-1].split(),
                         ["chat", "3", "66.7%", "66.7%", "+0.0"])

    def store(self, **accuracies):
        with open(self.figures, "w", encoding="utf-8") as f:
            json.dump({"tasks": {name: {"n": 1, "accuracy": x} for name, x in accuracies.items()}},
                      f)

    def test_regressions(self):
        self.store(chat=0.68, stop=0.811)
        _, tasks, err = self.report(code=1)
        self.assertEqual(err, "hadal eval: 'chat' fell from 68.0% to 66.7%\n"
                              "hadal eval: 'stop' fell from 81.1% to 80.0%\n")
        self.assertEqual((tasks["chat"]["stored"], tasks["fim"]["stored"]), (0.68, None))
        self.report("--task", "chat", code=1)
        self.report("--task", "fim")
        self.report("--limit", 2)  # a part is not compared
        self.store(chat=0.67, stop=0.81, other=1.0)
        self.report()
        self.eval("--store")  # replaces worse and better figures alike
        self.report()

    def test_other_file(self):
        path = self.write_tasks([row("a", {"text": "47"})])
        report, tasks, _ = self.report("--tasks", path)
        self.assertEqual({n: t["accuracy"] for n, t in tasks.items()}, {"a": 1.0, "stop": 1.0})

    def test_full_disk_is_told(self):
        _, err = self.eval("--answers", "/dev/full", code=1)
        self.assertIn("cannot write '/dev/full'", err)
        with open("/dev/full", "wb") as full:
            run = subprocess.run([PROGRAM, "eval", self.model, "--threads", "1"], stdout=full,
                                 stderr=subprocess.PIPE, timeout=WAIT_S)
        self.assertEqual(run.returncode, 1)
        self.assertIn("cannot write to standard output", run.stderr.decode())

    def test_interrupt(self):
        path = self.write_tasks([row("fim", {"text": "x"}, request={"prompt": "a"},
                                     max_tokens=60000)])
        ready = os.path.join(self.scratch, "ready.jsonl")
        run = subprocess.Popen([PROGRAM, "eval", self.model, "--threads", "1", "--tasks", path,
                                "--answers", ready], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not os.path.exists(ready) and run.poll() is None:  # made when Ctrl-C is caught
            time.sleep(0.01)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=WAIT_S)
        self.assertEqual((run.returncode, out, err), (130, b"", b"hadal eval: interrupted\n"))


class Random(EvalTest):
    """Random weights: the answers mean nothing, and are the same on all devices."""

    def test_devices_agree(self):
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        rows = [row("a", {"text": f"{i}"}, request=user(f"Say {i}."), max_tokens=6)
                for i in range(3)]
        rows.append(row("tool", {"calls": [{"name": "f", "arguments": {}}]},
                        request={**user("Call."), "tools": tools}, max_tokens=4))
        path = self.write_tasks(rows)
        cpu = self.answers("--tasks", path)
        self.assertEqual([len(r["ids"]) for r in cpu], [6, 6, 6, 4])
        self.assertNotEqual(cpu[0]["ids"], cpu[1]["ids"])
        self.assertEqual(self.answers("--tasks", path, device="ref"), cpu)
        self.assertEqual(self.answers("--tasks", path, "--threads", 2), cpu)


class Refusals(EvalTest):
    def expect(self, code, text, *args):
        out, err = self.eval(*args, code=code)
        self.assertEqual(out, b"")
        self.assertIn(text, err)

    def expect_rows(self, text, rows, **more):
        self.expect(1, text, "--tasks", self.write_tasks(rows, **more))

    def test_files(self):
        self.expect(1, "has no tasks (--tasks names another file)")
        self.expect(1, "cannot open 'nothing'", "--tasks", "nothing")
        self.expect_rows("'rows' must hold one row at least (at rows)", [])
        self.expect_rows("row 1: 'max_tokens' must be an integer from 1 to 1048576, got 0 "
                         "(at rows[1].max_tokens)",
                         [row("a", {"text": ""}), row("a", {"text": ""}, max_tokens=0)])
        self.expect_rows("row 0: 'request': ", [row("a", {"text": ""}, request={"messages": 1})])
        self.expect_rows("(at messages[0].role)", [row("a", {"text": ""}, request={
            "messages": [{"role": "king", "content": ""}]})])
        self.expect_rows("row 0: its prompt and answer take 1048581 tokens, and the model was made "
                         "for 1048576", [row("a", {"text": ""}, max_tokens=1 << 20)])

    def test_figures(self):
        path = self.write_tasks([row("a", {"text": ""})])
        figures = os.path.join(self.model, "eval-figures.json")
        with open(figures, "w", encoding="utf-8") as f:
            f.write('{"tasks": {"a": {"accuracy": 98}}}')
        self.expect(1, "cannot read the stored figures", "--tasks", path)
        os.remove(figures)

    def test_options(self):
        path = self.write_tasks([row("a", {"text": ""})])
        self.expect(2, "--limit is '0': expected an integer from 1", "--limit", 0)
        self.expect(2, "Too many arguments", "again")
        self.expect(1, "'warp'", "--tasks", path, "--device", "warp")
        self.expect(1, "cannot write '/nowhere/x'", "--tasks", path, "--answers", "/nowhere/x")
        _, err = hadal("eval", code=2)
        self.assertIn("no DIR given", err)
        _, err = hadal("eval", "nowhere", code=1)
        self.assertIn("'nowhere' is no checkpoint directory", err)


if __name__ == "__main__":
    main()
