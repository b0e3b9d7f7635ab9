"""What the tests of clients share: a server on the bundled model, and questions that it can answer.

Every test program is started as `python test_X.py PROGRAM` in the environment .venv-… of its client
(tests/api/run.sh). The figures of the bundled model say what may be expected of it: it calls the
right tool, stops by itself, adds while it thinks. What must hold for any model comes from grammars.
"""
import json
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
from server import Server  # noqa: E402

MODEL = os.path.join(HERE, "..", "..", "models", "demo")
UNIT = 128  # positions: what the prefix cache counts in

SUM = "What is 17 + 25?"
HELLO = "Hello!"
ONE_CALL = "What is 317 times 46?"
TWO_CALLS = "What is 317 times 46? What time is it in Bergen?"
ONE_ARGS = {"a": 317, "op": "multiply", "b": 46}
TOWN = {"town": "Bergen"}

with open(os.path.join(HERE, "..", "..", "examples", "tools.json"), encoding="utf-8") as tools_file:
    TOOLS = json.load(tools_file)  # calculator and clock, as Chat Completions has them
FUNCTIONS = [t["function"] for t in TOOLS]

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 40},
                                           "married": {"type": "boolean"},
                                           "pet": {"enum": ["cat", "dog"]}},
          "required": ["name", "married", "pet"], "additionalProperties": False}

LOOP = [(f"What is {a} plus {b}?", "calculator", str(a + b)) if i % 2 else
        (f"What time is it in {town}?", "clock", f"1{i}:30")
        for i, (a, b, town) in enumerate([(12, 34, "Bergen"), (5, 7, "Runa"), (90, 22, "Skara"),
                                          (31, 41, "Elba"), (9, 8, "Fano"), (77, 3, "Gotha"),
                                          (15, 16, "Dorma"), (23, 42, "Selby"), (8, 80, "Lorna"),
                                          (64, 36, "Pirna")])]  # question, tool, its result


class ApiTest(unittest.TestCase):
    """Has a server on the bundled model in cls.server, its address in cls.url."""

    args = ()
    keys = ""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(prefix="hadal-api-")
        args = cls.args
        if cls.keys:
            path = os.path.join(cls.scratch.name, "keys")
            with open(path, "w", encoding="utf-8") as f:
                f.write(cls.keys)
            args = (*args, "--api-key-file", path)
        cls.server = Server(MODEL, "--aliases", "small,gpt-hadal", *args)
        cls.url = f"http://127.0.0.1:{cls.server.port}"

    @classmethod
    def tearDownClass(cls):
        status = cls.server.end()
        cls.scratch.cleanup()
        assert status == 0, cls.server.said

    def check_hits(self, usages):
        """(prompt, cached, generated) of the requests of one conversation: each begins with all that
        was there at the end of the one before, save for the last unit."""
        for (prompt, _, generated), (_, cached, _) in zip(usages, usages[1:]):
            self.assertGreaterEqual(cached, prompt + generated - UNIT, usages)
        self.assertGreater(len(usages), 1)


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2, warnings="ignore")
