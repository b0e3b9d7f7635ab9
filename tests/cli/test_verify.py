"""hadal verify: the verdict on a small model, as a table, as JSON, without golden data."""
import json
import os
import subprocess

from support import ModelTest, Terminal, hadal, main


class Verify(ModelTest):
    def overwrite(self, path, data):
        with open(path, "wb") as f:
            f.write(data)

    def check_json(self, out):
        report = json.loads(out)
        self.assertEqual(list(report), ["checks", "left_out", "pass"])
        for check in report["checks"]:
            self.assertEqual(list(check), ["name", "cases", "worst", "bound", "pass"])
            self.assertIsInstance(check["cases"], int)
        self.assertTrue(all(isinstance(line, str) for line in report["left_out"]))
        names = [check["name"] for check in report["checks"]]
        self.assertEqual(len(names), len(set(names)))
        return report

    def test_table(self):
        out, err = hadal("verify", self.model, "--full", "--threads", 1)
        text = out.decode()
        self.assertTrue(text.startswith("cpu: "), text)
        self.assertRegex(text, r"(?m)^check +cases +worst +bound$")
        self.assertRegex(text, r"(?m)^ref-golden +\d+ .* ok$")
        self.assertRegex(text, r"(?m)^op\.linear +\d+ +0 +0  ok$")
        self.assertRegex(text, r"(?m)^layer\.ratio128\.bias +\d+ +0 +0  ok$")
        self.assertRegex(text, r"\nPASS: (\d+) of \1 checks passed in [\d.]+ s\n$")
        self.assertEqual(err, "")

    def test_json(self):
        out, err = hadal("verify", self.model, "--budget", 0.01, "--threads", 1, "--json")
        report = self.check_json(out)
        self.assertTrue(report["pass"])
        self.assertEqual(err, "")
        first = report["checks"][0]
        self.assertEqual(first["name"], "ref-golden")
        self.assertGreater(first["cases"], 50)
        self.assertTrue(0.0 < first["worst"] <= first["bound"])
        ops = [check for check in report["checks"] if check["name"].startswith("op.")]
        self.assertGreaterEqual(len(ops), 33)
        self.assertTrue(all(check["cases"] >= 4 for check in ops))
        self.assertTrue(any("no time" in line for line in report["left_out"]))

    def test_no_golden_data(self):
        empty = os.path.join(self.scratch, "empty")
        os.mkdir(empty)
        for args, env in [(["--golden", empty], {}), ([], {"HADAL_GOLDEN": empty})]:
            out, err = hadal("verify", self.model, "--budget", 0.01, "--json", *args, code=1,
                             env=env)
            report = self.check_json(out)
            self.assertFalse(report["pass"])
            self.assertEqual(report["checks"][0]["name"], "ref-golden")
            self.assertEqual(report["checks"][0]["cases"], 0)
            self.assertFalse(report["checks"][0]["pass"])
            self.assertIn(empty, report["left_out"][0])
            self.assertTrue(err.startswith("first difference: ref-golden: "), err)

    def test_damaged_golden_data(self):
        """A changed byte of the golden data is seen; a cut file is an error, not a crash."""
        golden = os.path.join(self.scratch, "golden")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "model")
        subprocess.run(["cp", "-r", source, golden], check=True)
        units = os.path.join(golden, "units.safetensors")
        with open(units, "rb") as f:
            data = bytearray(f.read())
        header = int.from_bytes(data[:8], "little")
        names = json.loads(data[8:8 + header])
        data[8 + header + names["rope_yarn.y"]["data_offsets"][0]] ^= 8
        self.overwrite(units, data)
        _, err = hadal("verify", self.model, "--budget", 0.01, "--golden", golden, code=1)
        self.assertTrue(err.startswith("first difference: ref-golden: 'rope_yarn.y' of units"), err)
        self.overwrite(units, data[:len(data) // 2])
        out, err = hadal("verify", self.model, "--budget", 0.01, "--golden", golden, code=1)
        self.assertIn("FAIL: ", out.decode())
        self.assertIn("units.safetensors", err)

    def test_progress_on_a_terminal(self):
        terminal = Terminal("verify", self.model, "--budget", 0.01)
        terminal.read("golden data: primitives")
        terminal.read("ops, round 1")
        text = terminal.read("PASS: ")
        self.assertEqual(terminal.close(), 0)
        self.assertNotIn("FAILED", text)

    def test_usage(self):
        for args in [[], [self.model, "--budget", "x"], [self.model, "other"],
                     [self.model, "--full", "--budget", "3"], [self.model, "--budget", "0"]]:
            hadal("verify", *args, code=2)
        _, err = hadal("verify", "/nonexistent", code=1)
        self.assertTrue(err.startswith("hadal verify: cannot"), err)
        _, err = hadal("verify", self.model, "--device", "abacus", code=1)
        self.assertIn("'abacus'", err)
        out, _ = hadal("--help")
        self.assertRegex(out.decode(), r"\n  verify +\w")


if __name__ == "__main__":
    main()
