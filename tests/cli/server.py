"""A server of `hadal serve` for tests: started on a free port, asked over HTTP, ended."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess

from support import PROGRAM, WAIT_S


class Server:
    """A server on a free port; its standard error is read line by line."""

    def __init__(self, model, *args, env=None):
        self.p = subprocess.Popen([PROGRAM, "serve", model, "--port", "0", "--threads", "1",
                                   *map(str, args)], stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, **(env or {})})
        self.said = ""
        self.port = int(self.wait(r"listening on https?://[^\s]*:(\d+)\n"))

    def wait(self, pattern):
        while not re.search(pattern, self.said):
            line = self.p.stderr.readline()
            if not line:
                raise AssertionError(f"ended with {self.p.wait()}: {self.said}")
            self.said += line
        return re.search(pattern, self.said).groups()[0] if "(" in pattern else None

    def ask(self, method, path, body=None, headers=None):
        """(status, parsed body, headers)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        c.request(method, path, data, headers or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        is_json = (r.getheader("content-type") or "").startswith("application/json")
        return r.status, json.loads(text) if is_json else text, r.headers

    def open_stream(self, path, body):
        """A socket on which the request was sent."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        data = json.dumps(body).encode()
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" %
                  (path.encode(), len(data)) + data)
        return s

    def stats(self):
        return self.ask("GET", "/stats")[1]

    def end(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            self.p.wait(WAIT_S)
        if not self.p.stderr.closed:
            self.said += self.p.stderr.read()
            self.p.stderr.close()
        return self.p.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.end()
