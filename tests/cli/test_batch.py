"""hadal batch: lines of requests in, lines of results out, the same whatever the engine does."""
import json
import os
import shutil
import signal
import subprocess

from support import PROGRAM, WAIT_S, ModelTest, hadal, main

ONE = ["--threads", "1"]  # several would spin, which a loaded machine makes slow
DSML_TOOL = {"type": "function", "function": {"name": "ask", "parameters": {
    "type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 9}},
    "required": ["n"]}}}


def chat(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


class Batch(ModelTest):
    def batch(self, rows, *args, code=0):
        text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
        out, err = hadal("batch", self.model, "--jsonl", *ONE, *args, stdin=text.encode(),
                         code=code)
        return [json.loads(line) for line in out.decode().splitlines()], err

    def by_id(self, rows, *args):
        results, err = self.batch(rows, *args)
        self.assertEqual(len(results), len([r for r in rows if r]))
        return {r["id"]: r for r in results}, err

    def one(self, row, *args):
        return self.batch([row], *args)[0][0]

    def test_forms_of_a_request(self):
        rows = [
            {"id": "text", "prompt": "Hello", "max_tokens": 8},
            {"id": 7, "ids": [0, 5, 9], "max_tokens": 5},
            chat("Hello", max_tokens=6, reasoning_effort="high"),
            {"id": "fim", "prompt": "a(", "suffix": ")", "max_tokens": 4},
            "",
        ]
        got, err = self.by_id(rows)
        self.assertEqual(set(got), {"text", 7, 3, "fim"})  # a line without an id is its number
        self.assertRegex(err, r"^4 requests, 0 failed; 23 tokens in [\d.]+ s; cpu: ")
        self.assertEqual(list(got["text"]), ["id", "text", "ids", "finish_reason", "usage"])
        self.assertEqual(list(got[3]), ["id", "text", "ids", "reasoning", "tool_calls",
                                        "finish_reason", "usage"])
        self.assertEqual(got["text"]["usage"], {
            "prompt_tokens": 6, "completion_tokens": 8, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0}})
        self.assertEqual(got[3]["usage"]["completion_tokens_details"], {"reasoning_tokens": 6})
        out = hadal("run", self.model, *ONE, "-p", "Hello", "-n", 8)[0].decode()
        self.assertEqual(got["text"]["text"].rstrip("\n"), out.rstrip("\n"))

    def test_same_results_however_it_is_run(self):
        rows = [{"id": i, "ids": [(k * k * 7 + k) % 200 for k in range(20 + 37 * (i % 5))] + [i],
                 "max_tokens": 5 + i, "temperature": i % 2, "seed": i, "priority": i % 3,
                 "user": str(i // 6), "arrive_ms": 3 * i, "ignore_eos": True} for i in range(12)]
        stats = self.write("stats", "")
        alone = [self.one(row)["ids"] for row in rows]
        for args in ([], ["--concurrency", 1, "--stats", stats], ["--chunk", 7, "--threads", 2],
                     ["--max-seqs", 3, "--kv-mb", 1], ["--checkpoint-mb", 0], ["--device", "ref"],
                     ["--draft", "lookup"], ["--draft", "none"]):
            got, _ = self.by_id(rows, *args)
            self.assertEqual([got[i]["ids"] for i in range(12)], alone, args)
        with open(stats, encoding="utf-8") as f:
            counts = json.load(f)
        self.assertEqual(counts["requests"], 12)
        self.assertEqual(counts["generated_tokens"], sum(map(len, alone)))
        self.assertGreater(counts["cached_tokens"], 0)
        self.assertEqual(list(counts["pools"]), ["sequences", "pages_ratio_4", "pages_ratio_128",
                                                 "snapshots"])
        self.assertIn(counts["tightest"], counts["pools"])

    def test_files_spare_work(self):
        ids = [(k * k * 3 + k) % 200 for k in range(600)]
        rows = [{"id": "a", "ids": ids, "max_tokens": 4}]
        stats, files = self.write("stats", ""), os.path.join(self.scratch, "kv")
        args = ["--cache-dir", files, "--stats", stats]
        cold = self.batch(rows, *args)[0][0]
        self.assertEqual(cold["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        warm = self.batch(rows, *args)[0][0]  # another process
        self.assertEqual(warm["ids"], cold["ids"])
        self.assertGreaterEqual(warm["usage"]["prompt_tokens_details"]["cached_tokens"], 384)
        with open(stats, encoding="utf-8") as f:
            self.assertEqual(json.load(f)["hits_disk"], 1)

    def test_bad_lines_do_no_harm(self):
        rows = [
            "not json",
            "[1]",
            {"id": "field", "prompt": "x", "max_token": 1},
            {"id": "none"},
            {"id": "two", "prompt": "x", "ids": [1]},
            {"id": "range", "prompt": "x", "top_p": 3},
            {"id": "type", "prompt": "x", "temperature": "hot"},
            {"id": "id", "ids": [1, 512]},
            {"id": "long", "ids": [1] * 70000},
            {"id": "effort", **chat("x", reasoning_effort="huge")},
            {"id": "role", "messages": [{"role": "wizard", "content": ""}]},
            {"id": "stop", "prompt": "x", "stop": [""]},
            {"id": "tools", "prompt": "x", "tools": [DSML_TOOL]},
            {"id": "schema", **chat("x", response_format={
                "type": "json_schema", "json_schema": {"schema": {"not": {}}}})},
            {"id": "good", "prompt": "x", "max_tokens": 1},
        ]
        results, err = self.batch(rows)
        got = {r["id"]: r.get("error") for r in results}
        self.assertEqual(len(got), len(rows))
        self.assertIn("15 requests, 14 failed", err)
        self.assertIsNone(got["good"])
        for key, code, text in (
                (1, "E_FORMAT", "byte 0"), (2, "E_FORMAT", "expected an object"),
                ("field", "E_ARG", "'max_token'"), ("none", "E_ARG", "one of"),
                ("two", "E_ARG", "one of"), ("range", "E_ARG", "'top_p' is 3"),
                ("type", "E_FORMAT", "a number"), ("id", "E_FORMAT", "512"),
                ("long", "E_LIMIT", "70000 tokens"), ("effort", "E_FORMAT", "high"),
                ("role", "E_", "wizard"), ("stop", "E_FORMAT", "stop[0]"),
                ("tools", "E_ARG", "'messages'"), ("schema", "E_UNSUPPORTED", "not")):
            self.assertTrue(got[key]["code"].startswith(code), (key, got[key]))
            self.assertIn(text, got[key]["message"], key)

    def test_ends(self):
        text = self.one({"prompt": "x", "max_tokens": 40})["text"]
        stop = text[len(text) // 2:][:3]
        got = self.one({"prompt": "x", "max_tokens": 40, "stop": ["\x01\x02", stop]})
        self.assertEqual((got["finish_reason"], got["stop"]), ("stop", stop))
        self.assertEqual(got["text"], text[:text.index(stop)])
        got = self.one({"prompt": "x", "max_tokens": 5000, "ignore_eos": True, "cancel_after": 5})
        self.assertEqual(got["finish_reason"], "cancelled")
        self.assertTrue(5 <= got["usage"]["completion_tokens"] < 5000)
        got = self.one({"prompt": "x", "max_tokens": 5000, "ignore_eos": True, "timeout_ms": 1})
        self.assertEqual(got["finish_reason"], "timeout")

    def test_logprobs_and_echo(self):
        got = self.one({"prompt": "abc", "max_tokens": 3, "temperature": 0, "logprobs": True,
                        "top_logprobs": 2, "echo": True})
        content = got["logprobs"]["content"]
        self.assertEqual([t["id"] for t in content], got["ids"])
        for token in content:
            self.assertEqual(token["top_logprobs"][0]["id"], token["id"])  # greedy
            self.assertEqual(token["top_logprobs"][0]["logprob"], token["logprob"])
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertLess(token["logprob"], 0)
        self.assertEqual(len(got["prompt_logprobs"]), 4)
        self.assertIsNone(got["prompt_logprobs"][0])
        self.assertEqual([t["token"] for t in got["prompt_logprobs"][1:]], ["a", "b", "c"])

    def test_calls_as_offered(self):
        """Random weights call the tool that they are told to, with arguments of its schema."""
        for choice in ("required", {"type": "function", "function": {"name": "ask"}}):
            got = self.one(chat("x", max_tokens=400, tools=[DSML_TOOL], tool_choice=choice))
            self.assertEqual(got["finish_reason"], "tool_calls")
            for i, call in enumerate(got["tool_calls"]):
                self.assertEqual((call["id"], call["type"]), (f"call_{i}", "function"))
                self.assertEqual(call["function"]["name"], "ask")
                self.assertIn(json.loads(call["function"]["arguments"])["n"], range(3, 10))
        self.assertEqual(self.one(chat("x", max_tokens=50, tools=[DSML_TOOL],
                                       tool_choice="none"))["tool_calls"], [])

    def test_calls_come_before_a_format(self):
        """Of both, the calls are enforced, and the other is said."""
        (got,), err = self.batch([chat("x", max_tokens=400, tools=[DSML_TOOL],
                                       tool_choice="required",
                                       response_format={"type": "json_object"})])
        self.assertEqual(got["finish_reason"], "tool_calls")
        self.assertIn("line 1: the response format is not enforced", err)

    def test_json_as_asked(self):
        schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
        got = self.one(chat("x", max_tokens=200, response_format={
            "type": "json_schema", "json_schema": {"name": "n", "schema": schema}}))
        self.assertIn(json.loads(got["text"]), [{"a": "x"}, {"a": "y"}])
        got = self.one(chat("x", max_tokens=20,
                            response_format={"type": "regex", "regex": "[ab]{3}"}))
        self.assertRegex(got["text"], "^[ab]{3}$")

    def test_answers_while_the_input_is_open(self):
        with subprocess.Popen([PROGRAM, "batch", self.model, "--jsonl", *ONE],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as p:
            for i in range(3):
                p.stdin.write(json.dumps({"id": i, "prompt": "x", "max_tokens": 2}).encode() + b"\n")
                p.stdin.flush()
                self.assertEqual(json.loads(p.stdout.readline())["id"], i)
            p.send_signal(signal.SIGINT)
            self.assertEqual(p.wait(WAIT_S), 130)
            self.assertIn("interrupted", p.stderr.read().decode())

    def test_ids_need_no_tokenizer(self):
        bare = os.path.join(self.scratch, "bare")
        shutil.copytree(self.model, bare)
        os.remove(os.path.join(bare, "tokenizer.json"))
        row = {"ids": [0, 5, 9], "max_tokens": 5}
        want = self.one(row)["ids"]
        out = hadal("batch", bare, "--jsonl", *ONE, stdin=json.dumps(row).encode())[0]
        self.assertEqual(json.loads(out)["ids"], want)
        self.assertNotIn("text", json.loads(out))
        out = hadal("batch", bare, "--jsonl", *ONE, stdin=b'{"prompt": "x"}')[0]
        self.assertIn("tokenizer", json.loads(out)["error"]["message"])

    def test_wrong_usage(self):
        self.assertIn("no DIR given", hadal("batch", code=2)[1])
        self.assertIn("--chunk", hadal("batch", self.model, "--chunk", "0", code=2)[1])
        self.assertIn("no checkpoint", hadal("batch", os.path.join(self.model, "none"), code=1)[1])


if __name__ == "__main__":
    main()
