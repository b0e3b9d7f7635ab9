"""What the tests of commands share: running them, and typing to them on a terminal.

Every test program is started as `python3 test_X.py PROGRAM` and uses the standard library only.
"""
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "build/hadal"
WAIT_S = 240  # for anything; a loaded machine with sanitizers is slow


def hadal(*args, stdin=b"", code=0, env=None):
    """Run to the end; returns (stdout, stderr) as bytes, text."""
    done = subprocess.run([PROGRAM, *map(str, args)], input=stdin, capture_output=True,
                          timeout=WAIT_S, env={**os.environ, **(env or {})})
    err = done.stderr.decode()
    if done.returncode != code:
        raise AssertionError(f"{args}: exit status {done.returncode}, expected {code}\n{err}")
    return done.stdout, err


class ModelTest(unittest.TestCase):
    """Has a made-up model in cls.model."""

    preset = "unit"

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="hadal-cli-")
        cls.model = os.path.join(cls.scratch, "model")
        hadal("synth", cls.preset, "--out", cls.model)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.scratch)

    def write(self, name, text):
        path = os.path.join(self.scratch, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *args, env=None):
        self.output = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm", "HOME": "/nonexistent", **(env or {})})
            os.environ.pop("NO_COLOR", None) if not (env or {}).get("NO_COLOR") else None
            os.execv(PROGRAM, [PROGRAM, *map(str, args)])

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, until, seconds=WAIT_S):
        """Read on until `until` has come; returns what came up to its end."""
        needle, end = until.encode(), time.monotonic() + seconds
        while needle not in self.output:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {until!r} in {self.output!r}")
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                raise AssertionError(f"ended without {until!r}: {self.output!r}")
            self.output += piece
        at = self.output.index(needle) + len(needle)
        seen, self.output = self.output[:at], self.output[at:]
        return seen.decode(errors="replace")

    def close(self):
        """Wait for the end; returns the exit status."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            # Once more after the end: what it wrote last may not have been read yet.
            while select.select([self.fd], [], [], 0 if pid else 0.05)[0]:
                try:
                    piece = os.read(self.fd, 65536)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                self.output += piece
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError(f"does not end: {self.output!r}")


def main():
    unittest.main(argv=sys.argv[:1], verbosity=2)
