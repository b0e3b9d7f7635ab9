"""hadal tokenize: rows, ids with their texts, decoding, and what it says when used wrongly."""
import json
import os
import select
import subprocess
import unittest

from support import PROGRAM, WAIT_S, hadal, main

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "text", "tokenizer.json")


def rows(lines, *args):
    out, _ = hadal("tokenize", FILE, "--jsonl", *args, stdin=lines.encode())
    return out.decode()


class Rows(unittest.TestCase):
    def test_encode(self):
        lines = '{"text": "Hello world"}\n\n{"text": "<think>", "plain": true}\r\n{"text": "<think>"}'
        self.assertEqual(rows(lines), '{"ids": [19923, 2058]}\n{"ids": [30, 37947, 32]}\n{"ids": [128821]}\n')

    def test_plain_for_all_rows(self):
        lines = '{"text": "<think>"}\n{"text": "<think>", "plain": false}\n'
        self.assertEqual(rows(lines, "--plain"), '{"ids": [30, 37947, 32]}\n{"ids": [128821]}\n')

    def test_decode(self):
        lines = '{"ids": [28927, 1, 225, 28927]}\n{"ids": [28927, 1, 225], "skip_special": true}\n{"ids": []}\n'
        eos = "<｜end▁of▁sentence｜>"
        self.assertEqual(
            [json.loads(line) for line in rows(lines, "--decode").splitlines()],
            [
                {"text": f"\ufffd{eos}\ufffd\ufffd", "stream": ["", f"\ufffd{eos}", "\ufffd", ""], "tail": "\ufffd"},
                {"text": "😀", "stream": ["", "", "😀"], "tail": ""},
                {"text": "", "stream": [], "tail": ""},
            ],
        )

    def test_large_rows_pass(self):
        text = "word " * 100000
        (line,) = rows(json.dumps({"text": text}) + "\n").splitlines()
        self.assertEqual(len(json.loads(line)["ids"]), 100001)

    def test_bad_rows_end_the_run(self):
        for lines, args, expected in [
            ('{"text": "a"}\n{"text": 3}\n', [], "line 2 of the input: 'text' must be a string, got 3"),
            ('{"ids": 3}\n', ["--decode"], "line 1 of the input: 'ids' must be an array, got a number"),
            ('{"ids": [-1]}\n', ["--decode"], "line 1 of the input: 'ids[0]' must be an integer from 0 to 2147483647, got -1"),
            ("{\n", [], "line 1 of the input: bad json at byte 1: "),
        ]:
            with self.subTest(lines=lines):
                _, err = hadal("tokenize", FILE, "--jsonl", *args, stdin=lines.encode(), code=1)
                self.assertIn(expected, err)

    def test_answers_row_by_row(self):
        with subprocess.Popen([PROGRAM, "tokenize", FILE, "--jsonl"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as p:
            for text, ids in [("hello", [33310]), (" Paris", [11111])]:
                p.stdin.write(json.dumps({"text": text}).encode() + b"\n")
                p.stdin.flush()
                self.assertTrue(select.select([p.stdout], [], [], WAIT_S)[0])
                self.assertEqual(json.loads(p.stdout.readline()), {"ids": ids})
            p.stdin.close()
            self.assertEqual(p.wait(WAIT_S), 0)


class Shown(unittest.TestCase):
    def test_tokens_with_their_texts(self):
        out, err = hadal("tokenize", FILE, "-p", 'Hi\n<think>😀"')
        self.assertEqual(
            out.decode(),
            '  23166  "Hi"\n    201  "\\n"\n 128821  "<think>"  (added token)\n'
            '  28927  "\\xf0\\x9f\\x98"\n    225  "\\x80"\n      4  "\\""\n')
        self.assertEqual(err, "6 tokens, 15 bytes\n")

    def test_standard_input(self):
        out, _ = hadal("tokenize", FILE, "--plain", stdin=b"<think>")
        self.assertEqual(out.decode().split("\n")[1], '  37947  "think"')

    def test_decode_arguments(self):
        out, _ = hadal("tokenize", FILE, "--decode", 19923, 128821, 1)
        self.assertEqual(out.decode(), "Hello<think><｜end▁of▁sentence｜>\n")
        out, _ = hadal("tokenize", FILE, "--decode", "--skip-special", 19923, 1)
        self.assertEqual(out.decode(), "Hello\n")

    def test_ids_that_are_none(self):
        for word in ["x", "-1", "129280", "1x", "99999999999999999999"]:
            _, err = hadal("tokenize", FILE, "--decode", "--", word, code=1)
            self.assertIn(f"'{word}' is no id of this tokenizer, expected 0 to 129279", err)


class Usage(unittest.TestCase):
    def test_wrong_usage(self):
        for args, expected in [
            ([], "no FILE given"),
            ([FILE, "17"], "unexpected argument '17'"),
            ([FILE, "--decode"], "--decode needs ids after FILE, or --jsonl"),
            ([FILE, "--jsonl", "--decode", "17"], "unexpected argument '17'"),
            ([FILE, "--jsonl", "-p", "x"], "--prompt goes with neither --jsonl nor --decode"),
            ([FILE, "--nonsense"], "unrecognized option '--nonsense'"),
        ]:
            with self.subTest(args=args):
                _, err = hadal("tokenize", *args, code=2)
                self.assertIn(expected, err)

    def test_help_and_missing_file(self):
        out, _ = hadal("tokenize", "--help")
        self.assertIn("Usage: hadal tokenize [OPTION...] FILE", out.decode())
        _, err = hadal("tokenize", "/nonexistent/tokenizer.json", "-p", "x", code=1)
        self.assertIn("cannot open '/nonexistent/tokenizer.json': No such file or directory", err)


if __name__ == "__main__":
    main()
