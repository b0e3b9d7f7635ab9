"""hadal run: prompt in, text, events, errors out."""
import json
import os
import re
import signal
import subprocess

from support import PROGRAM, WAIT_S, ModelTest, hadal, main

ONE = ["--threads", "1"]  # several would spin, which a loaded machine makes slow
END_OF_SENTENCE, THINK, END_THINK = 1, 261, 262  # ids of the made-up tokenizer


def events(out):
    return [json.loads(line) for line in out.decode().splitlines()]


def joined(rows, kind):
    return "".join(row["text"] for row in rows if row["type"] == kind)


class Run(ModelTest):
    def run_model(self, *args, **more):
        return hadal("run", self.model, *ONE, *args, **more)

    def test_same_command_same_text(self):
        a, err = self.run_model("-p", "Hello", "-n", 20)
        self.assertTrue(a.endswith(b"\n") and len(a) > 10)
        self.assertRegex(err, r"prompt 6 tokens, [\d.]+ tok/s; answer 20 tokens, [\d.]+ tok/s; "
                              r"peak memory [\d.]+ [MG]B, weights [\d.]+ MB")
        self.assertEqual(self.run_model("-p", "Hello", "-n", 20)[0], a)
        self.assertNotEqual(self.run_model("-p", "Hello", "-n", 20, "--seed", 1)[0], a)
        self.assertNotEqual(self.run_model("-p", "hello", "-n", 20)[0], a)

    def test_prompt_from_file_and_pipe(self):
        text = "Zwei Zeilen,\nund ein é"
        a = self.run_model("-p", text, "-n", 8)[0]
        self.assertEqual(self.run_model("-f", self.write("prompt", text), "-n", 8)[0], a)
        self.assertEqual(self.run_model("-n", 8, stdin=text.encode())[0], a)

    def test_devices_and_threads_agree(self):
        a = self.run_model("-p", "Hello", "-n", 12)[0]
        for more in (["--threads", 2], ["--device", "ref"], ["--device", "defer:ref"]):
            self.assertEqual(hadal("run", self.model, "-p", "Hello", "-n", 12, *more)[0], a)

    def test_greedy_needs_no_seed(self):
        a = self.run_model("-p", "x", "-n", 10, "-t", 0, "--seed", 1)[0]
        self.assertEqual(self.run_model("-p", "x", "-n", 10, "-t", 0, "--seed", 2)[0], a)
        self.assertEqual(self.run_model("-p", "x", "-n", 10, "--top-k", 1)[0], a)

    def test_events(self):
        plain = self.run_model("-p", "Hello", "-n", 20)[0].decode()
        rows = events(self.run_model("-p", "Hello", "-n", 20, "--json-events")[0])
        self.assertEqual(joined(rows, "text").rstrip("\n"), plain.rstrip("\n"))
        self.assertEqual(rows[-1], {"type": "finish", "reason": "length", "prompt_tokens": 6,
                                    "answer_tokens": 20})
        self.assertEqual({row["type"] for row in rows[:-1]}, {"text"})

    def test_end_of_sentence_ends(self):
        out = self.run_model("-p", "x", "--logit-bias", f"{END_OF_SENTENCE}=1e6", "--json-events")[0]
        self.assertEqual(events(out), [{"type": "finish", "reason": "stop", "prompt_tokens": 2,
                                        "answer_tokens": 0}])

    def test_chat_splits_reasoning(self):
        args = ["--chat", "--think", "low", "-p", "Hi", "-n", 20]
        rows = events(self.run_model(*args, "--json-events")[0])
        self.assertEqual(rows[0]["type"], "reasoning")
        reasoning = joined(rows, "reasoning")
        out, err = self.run_model(*args)
        self.assertIn(reasoning, err)
        self.assertNotIn("\033", err)  # no terminal, no dimming
        self.assertEqual(out.decode().strip(), joined(rows, "text").strip())
        rows = events(self.run_model(*args, "--logit-bias", f"{END_THINK}=1e6", "--json-events")[0])
        self.assertEqual(joined(rows, "reasoning"), "")

    def test_chat_without_thinking(self):
        rows = events(self.run_model("--chat", "-p", "Hi", "-n", 20, "--json-events")[0])
        self.assertEqual(joined(rows, "reasoning"), "")
        self.assertEqual(rows[-1]["prompt_tokens"], 6)  # begin, user, H, i, assistant, </think>

    def n_prompt(self, *args):
        """Tokens of the prompt, from the complaint about a context that is too small for any."""
        err = self.run_model(*args, "--ctx", 2, code=1)[1]
        return int(re.search(r"the text has (\d+) tokens and the context 2", err).group(1))

    def test_efforts_and_system_reach_the_prompt(self):
        def n_prompt(*args):
            return self.n_prompt("--chat", "-p", "Hi", *args)
        none, low = n_prompt(), n_prompt("--think", "low")
        self.assertEqual(low, none)
        self.assertEqual(n_prompt("--system", "Be brief."), none + 9)
        self.assertGreater(n_prompt("--think", "high"), low + 300)
        self.assertGreater(n_prompt("--think", "max"), n_prompt("--think", "high"))
        tools = self.write("tools.json", json.dumps([{"type": "function", "function": {
            "name": "f", "description": "", "parameters": {"type": "object"}}}]))
        self.assertGreater(n_prompt("--tools", tools), none + 500)

    def test_control_tokens_only_when_asked(self):
        self.assertEqual(self.n_prompt("-p", "<think>"), 8)
        self.assertEqual(self.n_prompt("-p", "<think>", "--control-tokens"), 2)

    # The ids are those of `hadal render`: as many, and the same text follows as from its prompt.
    def test_suffix_fills_in_the_middle(self):
        def fill(before, after):
            row = json.dumps({"prompt": before, "suffix": after, "safe": True}).encode()
            out, _ = hadal("render", self.model, "--jsonl", stdin=row)
            rows = events(self.run_model("-p", before, "--suffix", after, "-n", 20,
                                         "--json-events")[0])
            self.assertEqual(rows[-1]["prompt_tokens"], len(json.loads(out)["ids"]))
            return json.loads(out)["prompt"], joined(rows, "text")
        begin = "<｜begin▁of▁sentence｜>"
        prompt, text = fill("ab", "é\n")
        self.assertEqual(prompt, f"{begin}<｜fim▁begin｜>ab<｜fim▁hole｜>é\n<｜fim▁end｜>")
        args = ["--control-tokens", "-n", 20, "--json-events"]
        out, _ = self.run_model(*args, "-p", prompt.removeprefix(begin))
        self.assertEqual(joined(events(out), "text"), text)
        out, _ = self.run_model(*args, "-p", "<｜fim▁begin｜>é\n<｜fim▁hole｜>ab<｜fim▁end｜>")
        self.assertNotEqual(joined(events(out), "text"), text)
        prompt, text = fill("<think>", "")  # control tokens in the text are text
        out, _ = self.run_model(*args, "-p", prompt.removeprefix(begin))
        self.assertNotEqual(joined(events(out), "text"), text)

    def test_context(self):
        out, _ = self.run_model("-p", "abcdef", "--ctx", 10, "--json-events")
        self.assertEqual(events(out)[-1]["answer_tokens"], 3)
        _, err = self.run_model("-p", "abcdef", "--ctx", 7, code=1)
        self.assertEqual(err, "hadal run: the text has 7 tokens and the context 7: start with "
                              "--ctx 264 or more\n")

    def test_interrupt_stops_the_answer(self):
        run = subprocess.Popen([PROGRAM, "run", self.model, *ONE, "-p", "x", "--ctx", "100000",
                                "--json-events"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = run.stdout.readline()
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=WAIT_S)
        rows = events(first + out)
        self.assertEqual(run.returncode, 130)
        self.assertEqual(rows[-1]["reason"], "cancelled")
        self.assertIn("peak memory", err.decode())

    def test_full_disk_is_told(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([PROGRAM, "run", self.model, *ONE, "-p", "x", "-n", "5"],
                                 stdout=full, stderr=subprocess.PIPE, timeout=WAIT_S)
        self.assertEqual(run.returncode, 1)
        self.assertIn("cannot write to standard output", run.stderr.decode())


class Refusals(ModelTest):
    def expect(self, code, text, *args, **more):
        out, err = hadal(*args, code=code, **more)
        self.assertEqual(out, b"")
        self.assertIn(text, err)

    def test_models(self):
        run = ["run", "-p", "x"]
        self.expect(1, "'nowhere' is no checkpoint directory ('hadal synth unit --out DIR' makes "
                       "one to try)", *run, "nowhere")
        empty = os.path.join(self.scratch, "empty")
        os.mkdir(empty)
        self.expect(1, "no checkpoint directory", *run, empty)
        broken = os.path.join(self.scratch, "broken")
        hadal("synth", "unit", "--headers", "--out", broken)
        self.expect(1, "model-00001-of-00009.safetensors", *run, broken)
        os.remove(os.path.join(broken, "tokenizer.json"))
        self.expect(1, "tokenizer.json", *run, broken)

    def test_options(self):
        model = self.model
        for text, args in (
            ("no DIR given", ["-p", "x"]),
            ("give --prompt or --file, not both", [model, "-p", "x", "-f", "y"]),
            ("--think needs --chat", [model, "-p", "x", "--think", "high"]),
            ("--system needs --chat", [model, "-p", "x", "--system", "s"]),
            ("--tools needs --chat", [model, "-p", "x", "--tools", "t"]),
            ("--control-tokens goes without --chat", [model, "--chat", "--control-tokens"]),
            ("--think is 'deep': expected none, low, high or max", [model, "--think", "deep"]),
            ("--suffix goes without --chat", [model, "--chat", "--suffix", "s"]),
            ("--control-tokens goes without --suffix", [model, "--suffix", "s", "--control-tokens"]),
            ("--temperature is 'warm': expected a number from 0 to 100", [model, "-t", "warm"]),
            ("--temperature is '-1': expected a number from 0 to 100", [model, "-t", "-1"]),
            ("--top-p is '0': expected a number from 1e-06 to 1", [model, "--top-p", "0"]),
            ("--seed is '-1': expected an integer from 0 to 2^64 - 1", [model, "--seed", "-1"]),
            ("--max-tokens is '0': expected an integer from 1", [model, "-n", "0"]),
            ("--logit-bias is '5': expected ID=X", [model, "--logit-bias", "5"]),
            ("--logit-bias is 'x': expected an integer", [model, "--logit-bias", "x=1"]),
            ("Too many arguments", [model, "again"]),
        ):
            self.expect(2, text, "run", *args)

    def test_values(self):
        self.expect(1, "cannot open 'nothing': No such file", "run", self.model, "-f", "nothing")
        self.expect(1, "'logit_bias' names token 512: expected 0 to 511", "run", self.model, "-p",
                    "x", *ONE, "--logit-bias", "512=1")
        self.expect(1, "'warp'", "run", self.model, "-p", "x", "--device", "warp")
        bad = self.write("bad.json", "{")
        self.expect(1, "hadal run: ", "run", self.model, "--chat", "--tools", bad, "-p", "x")

    def test_help_teaches(self):
        for command in ("run", "chat", "synth"):
            out, _ = hadal(command, "--help")
            self.assertIn(f"hadal {command} ", out.decode())
            self.assertRegex(out.decode(), "Examples?:")


class Synth(ModelTest):
    def test_refusals(self):
        _, err = hadal("synth", "unit", "--out", self.model, code=1)
        self.assertRegex(err, "holds a checkpoint: remove it, or name another directory")
        _, err = hadal("synth", "huge", "--out", self.model, code=1)
        self.assertRegex(err, "no preset 'huge': expected one of unit, unit-mtp")
        _, err = hadal("synth", "unit", code=2)
        self.assertIn("--out DIR", err)
        _, err = hadal("synth", "--out", "x", code=2)
        self.assertIn("give a PRESET or --config FILE", err)

    def test_config_from_file(self):
        other = os.path.join(self.scratch, "other")
        hadal("synth", "--config", os.path.join(self.model, "config.json"), "--out", other)
        for name in os.listdir(self.model):
            with open(os.path.join(self.model, name), "rb") as a, \
                 open(os.path.join(other, name), "rb") as b:
                self.assertEqual(a.read(), b.read(), name)


if __name__ == "__main__":
    main()
