"""hadal top: a live view of a real server, on a terminal and as plain text."""
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import unittest

from support import PROGRAM, WAIT_S, ModelTest, Terminal, hadal, main

UTF8 = {"LC_ALL": "C.UTF-8"}
PLAIN = {"LC_ALL": "C"}


def start_server(model, *args):
    """(process, URL)"""
    p = subprocess.Popen([PROGRAM, "serve", model, "--threads", "1", *map(str, args)],
                         stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        if line.startswith("listening on "):
            return p, line.split()[-1]
    raise AssertionError(f"no server: {p.wait()}")


def end(p):
    p.kill()
    p.wait()
    p.stderr.close()


def resize(terminal, rows, cols):
    fcntl.ioctl(terminal.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    os.kill(terminal.pid, signal.SIGWINCH)


def sized(rows, cols, *args, env=None):
    """A terminal of this size from the start: curses believes LINES and COLUMNS first."""
    return Terminal(*args, env={"LINES": str(rows), "COLUMNS": str(cols), **(env or {})})


def fake_server(answer):
    """The URL of something that answers each connection with these bytes."""
    s = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            c.recv(4096)
            c.sendall(answer)
            c.close()

    threading.Thread(target=run, daemon=True).start()
    return s, f"http://127.0.0.1:{s.getsockname()[1]}"


class Top(ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server, cls.url = start_server(cls.model, "--port", 0, "--model", "tiny")
        cls.port = int(cls.url.rsplit(":", 1)[1])

    @classmethod
    def tearDownClass(cls):
        end(cls.server)
        super().tearDownClass()

    def once(self, *args, url=None, env=None, code=0):
        out, err = hadal("top", "--once", "--url", url or self.url, "--interval", 0.2, *args,
                         env=env, code=code)
        return out.decode() if code == 0 else err

    def test_once(self):
        body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 60000,
                           "ignore_eos": True, "stream": True}).encode()
        with socket.create_connection(("127.0.0.1", self.port), WAIT_S) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                      % len(body) + body)
            got = b""
            while got.count(b"data: ") < 5:
                got += s.recv(4096)
            text = self.once(env=PLAIN)
        self.assertTrue(text.isascii())
        self.assertRegex(text, r"^tiny, hadal [0-9.]+, up ")
        self.assertIn(f"\n{self.url}\n", text)
        self.assertRegex(text, r"requests +running 1  waiting 0  open 1  ")
        generated, speed = re.search(r"generated ([0-9]+) \(([0-9.]+)/s\)", text).groups()
        self.assertGreater(int(generated), 5)
        self.assertGreater(float(speed), 0)
        self.assertRegex(text, r"(?m)^sequences +#+\.+ 1 / 16$")
        self.assertRegex(text, r"first token [0-9.]+ m?s \(95 %: ")
        self.assertLessEqual(max(map(len, text.split("\n"))), 80)
        text = self.once(env=UTF8)
        self.assertRegex(text, "(?m)^sequences +\u2591+ 0 / 16$|^sequences +\u2588")

    def test_bad_urls(self):
        for url, says, code in (("https://127.0.0.1:1", "https, which", 1),
                                ("nonsense", "expected http://HOST[:PORT]", 2),
                                ("ftp://x", "expected http://HOST[:PORT]", 2),
                                ("http://", "expected http://HOST[:PORT]", 2),
                                ("http://127.0.0.1:0", "port", 2),
                                ("http://127.0.0.1:70000", "is no URL", 2),
                                (f"http://127.0.0.1:{self.port}/deeper", "status 404", 1),
                                ("http://" + "h" * 300, "too long a host", 2)):
            self.assertIn(says, self.once(url=url, code=code), url)
        for arg, says in (("0", "--interval"), ("x", "--interval"), ("9999", "--interval")):
            self.assertIn(says, hadal("top", "--interval", arg, code=2)[1])
        self.assertIn("no argument", hadal("top", "x", code=2)[1])
        self.assertEqual(self.once(url=self.url + "/").count(self.url), 1)

    def test_strange_servers(self):
        """Whatever answers: a sentence, an end, and no bytes of it on the terminal."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        evil = b'{"uptime_s":1e400,"model":"\\u001b[31m","requests":[],"tokens":7,"pools":{"\\u001b":' \
               b'{"used":-1,"max":"x"},"a":{"used":9,"max":1}},"latency_ms":3}'
        for answer, says in ((b"", "without an answer"), (b"hello\r\n\r\n", "does not speak HTTP"),
                             (head % 2 + b"[]", "is no hadal server"),
                             (head % 9 + b'{"a":1}', "without an answer"),
                             (head % 3000000 + b" " * 3000000, "too long")):
            s, url = fake_server(answer)
            with s:
                self.assertIn(says, self.once(url=url, code=1))
        s, url = fake_server(head % len(evil) + evil)
        with s:
            text = self.once(url=url, env=PLAIN)
        self.assertNotIn("\x1b", text)
        self.assertRegex(text, r"(?m)^a +#+ 9 / 1$")

    def test_deadline(self):
        """A server that accepts and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as s:
            began = time.monotonic()
            self.assertIn("no answer from", self.once(
                url=f"http://127.0.0.1:{s.getsockname()[1]}", code=1))
            self.assertGreater(time.monotonic() - began, 2.5)

    def test_no_server(self):
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        self.assertIn("cannot connect to", self.once(url=f"http://127.0.0.1:{port}", code=1))

    def test_keys(self):
        keys = self.write("keys", "sk-alice-1 alice\n")
        p, url = start_server(self.model, "--port", 0, "--api-key-file", keys)
        try:
            self.assertIn("refuses the key", self.once(url=url, code=1))
            self.assertIn("refuses the key", self.once("--key", "sk-bob-22", url=url, code=1))
            self.assertIn("requests", self.once("--key", "sk-alice-1", url=url))
            self.assertIn("requests", self.once(url=url, env={"HADAL_KEY": "sk-alice-1"}))
            self.assertIn("line break", self.once("--key", "a\r\nb: c", url=url, code=2))
        finally:
            end(p)

    def test_no_terminal(self):
        err = hadal("top", "--url", self.url, code=1)[1]
        self.assertIn("--once", err)

    @unittest.skipIf("without ncurses" in hadal("top", "--url", "http://127.0.0.1:1", code=1)[1],
                     "built without ncurses")
    def test_unknown_terminal(self):
        t = Terminal("top", "--url", self.url, env={"TERM": "none-such"})
        t.read("nothing is known of the terminal 'none-such'")
        self.assertEqual(t.close(), 1)

    def test_live(self):
        t = sized(24, 80, "top", "--url", self.url, "--interval", 0.2, env=UTF8)
        t.read("tiny, hadal")
        t.read("requests")
        t.read("tokens per second, most")  # drawn once there are several readings
        t.type("x")  # means nothing
        t.type("q")
        self.assertEqual(t.close(), 0)
        self.assertIn(b"\x1b[?1049l", t.output)  # the terminal's own screen is back

    def test_ends(self):
        for how in ("\x03", "\x1b", "Q"):
            t = sized(24, 80, "top", "--url", self.url, "--interval", 60, env=UTF8)
            t.read("requests")
            t.type(how)
            self.assertEqual(t.close(), 0, how)

    def test_narrow_and_resized(self):
        t = Terminal("top", "--url", self.url, "--interval", 0.2, env=UTF8)
        resize(t, 30, 40)
        t.read("running")
        resize(t, 5, 12)  # too small for anything: still alive
        time.sleep(0.5)
        resize(t, 50, 200)
        t.read("(95 %:")
        t.type("q")
        self.assertEqual(t.close(), 0)

    def test_40_columns(self):
        """Nothing is lost: what does not fit goes on in the next line."""
        t = sized(40, 40, "top", "--url", self.url, "--interval", 60, env=PLAIN)
        seen = t.read("snapshots") + t.read(" / ")
        for word in ("running", "waiting", "connections", "refused", "generated", "prompts",
                     "first token", "gap", "sequences", "pages ratio 128"):
            self.assertIn(word, seen)
        t.type("q")
        self.assertEqual(t.close(), 0)

    def test_server_ends_and_comes_again(self):
        p, url = start_server(self.model, "--port", 0)
        port = url.rsplit(":", 1)[1]
        t = Terminal("top", "--url", url, "--interval", 0.2, env=UTF8)
        try:
            resize(t, 24, 80)
            t.read("requests")
            end(p)
            t.read("no news: ")
            p, _ = start_server(self.model, "--port", port)
            time.sleep(2)
            while select.select([t.fd], [], [], 0)[0]:
                os.read(t.fd, 65536)
            t.output = b""
            resize(t, 25, 90)  # draws all of it again
            self.assertNotIn("no news", t.read("first token"))
            t.type("q")
            self.assertEqual(t.close(), 0)
        finally:
            end(p)


if __name__ == "__main__":
    main()
