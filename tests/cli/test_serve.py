"""hadal serve: started, asked over HTTP, ended; its settings, keys and errors."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time
import unittest

from server import Server
from support import PROGRAM, WAIT_S, ModelTest, hadal, main

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
SANITIZED = b"__asan_init" in open(PROGRAM, "rb").read()  # memory says nothing there


def user(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


class Serve(ModelTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(cls.model, "--model", "tiny", "--aliases", "small,mini")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.said
        super().tearDownClass()

    def ok(self, path, body, **kw):
        status, got, headers = self.server.ask("POST", path, body, **kw)
        self.assertEqual(status, 200, got)
        return got, headers

    def stream(self, path, body):
        """The events of a stream, as text."""
        got, headers = self.ok(path, {**body, "stream": True})
        self.assertEqual(headers["content-type"], "text/event-stream")
        self.assertEqual(headers["x-accel-buffering"], "no")
        self.assertTrue(got.endswith("\n\n"), got)
        return got[:-2].split("\n\n")

    def test_chat(self):
        body = user("Hello", max_tokens=8, temperature=0, model="mini")
        got, headers = self.ok(CHAT, body)
        self.assertEqual(got["model"], "mini")
        self.assertEqual(got["usage"]["completion_tokens"], 8)
        self.assertEqual(got["choices"][0]["finish_reason"], "length")
        self.assertEqual(headers["x-request-id"], headers["request-id"])
        self.assertRegex(headers["x-request-id"], "^req_[0-9A-Za-z]{24}$")
        events = self.stream(CHAT, body)
        self.assertEqual(events[-1], "data: [DONE]")
        chunks = [json.loads(e[6:]) for e in events[:-1]]
        self.assertEqual(len({c["id"] for c in chunks}), 1)
        joined = "".join(c["choices"][0]["delta"].get("reasoning_content") or "" for c in chunks)
        self.assertEqual(joined, got["choices"][0]["message"]["reasoning_content"])

    def test_every_dialect_and_alias(self):
        for prefix in ("", "/v1", "/beta", "/beta/v1", "/anthropic/v1"):
            self.ok(prefix + "/chat/completions", user("x", max_tokens=1))
            self.ok(prefix + "/completions", {"prompt": "x", "max_tokens": 1})
            self.ok(prefix + "/responses", {"input": "x", "max_output_tokens": 1})
            self.ok(prefix + "/messages?beta=true", user("x", max_tokens=1, model="claude-x"))
            self.assertEqual(self.server.ask("GET", prefix + "/models")[0], 200)
        self.assertEqual(self.stream("/v1/responses", {"input": "x", "max_output_tokens": 2})[0]
                         .split("\n")[0], "event: response.created")
        self.assertEqual(self.stream(MESSAGES, user("x", max_tokens=2))[-1].split("\n")[0],
                         "event: message_stop")

    def test_models(self):
        got = self.server.ask("GET", "/v1/models")[1]
        self.assertEqual([m["id"] for m in got["data"]], ["tiny", "small", "mini"])
        self.assertFalse(got["has_more"])
        for field in ("object", "created", "owned_by", "type", "display_name", "created_at",
                      "max_input_tokens", "max_tokens", "context_length", "max_model_len"):
            self.assertIn(field, got["data"][0])
        self.assertEqual(self.server.ask("GET", "/v1/models/mini")[1]["id"], "mini")
        self.assertEqual(self.server.ask("GET", "/v1/models/none")[0], 404)

    def test_tokens(self):
        got = self.ok("/tokenize", {"prompt": "Hello"})[0]
        self.assertEqual(got["count"], len(got["tokens"]))
        text = self.ok("/detokenize", {"tokens": got["tokens"][1:]})[0]["prompt"]
        self.assertEqual(text, "Hello")
        n = self.ok("/v1/messages/count_tokens", user("Hello"))[0]["input_tokens"]
        self.assertEqual(self.ok("/v1/render", user("Hello"))[0]["count"], n)
        usage = self.ok(MESSAGES, user("Hello", max_tokens=1))[0]["usage"]
        self.assertEqual(usage["input_tokens"] + usage["cache_read_input_tokens"], n)

    def test_errors(self):
        many = {"role": "user", "content": "x" * 70000}
        rows = [  # path, body, status, type, code or type for Messages, param
            (CHAT, b"{", 400, "invalid_request_error", None, None),
            (CHAT, b"[]", 400, "invalid_request_error", None, None),
            (CHAT, b"\xff{}", 400, "invalid_request_error", None, None),
            (CHAT, b'{"a":' * 200 + b"1" + b"}" * 200, 400, "invalid_request_error", None, None),
            (CHAT, {}, 400, "invalid_request_error", None, "messages"),
            (CHAT, user("x", n=2), 400, "invalid_request_error", "invalid_value", "n"),
            (CHAT, user("x", temperature=9), 400, "invalid_request_error", "invalid_value",
             "temperature"),
            (CHAT, user("x", model="gpt"), 404, "invalid_request_error", "model_not_found",
             "model"),
            (CHAT, {"messages": [many]}, 400, "invalid_request_error", "context_length_exceeded",
             None),
            ("/v1/embeddings", {}, 404, "invalid_request_error", "not_found", None),
            (MESSAGES, user("x"), 400, "invalid_request_error", None, None),
            (MESSAGES, {"messages": [many], "max_tokens": 1}, 400, "invalid_request_error", None,
             None),
            ("/v1/messages/nothing", {}, 404, "not_found_error", None, None),
        ]
        for path, body, status, kind, code, param in rows:
            got_status, got, headers = self.server.ask("POST", path, body)
            self.assertEqual(got_status, status, got)
            self.assertEqual(headers["x-should-retry"], "false")
            error = got["error"]
            self.assertEqual(error["type"], kind, got)
            if path.startswith(MESSAGES):
                self.assertEqual(got["type"], "error")
                self.assertEqual(got["request_id"], headers["request-id"])
            else:
                self.assertEqual(error["code"], code, got)
                self.assertEqual(error["param"], param, got)
            self.assertTrue(error["message"])
        status, got, _ = self.server.ask("POST", MESSAGES, {"thread": {"type": "create"}})
        self.assertEqual(got["error"]["details"],
                         {"error_code": "thread_unsupported_request", "unsupported": []})
        self.assertEqual(self.server.ask("GET", CHAT)[0], 405)
        self.assertEqual(self.server.ask("DELETE", "/health")[0], 405)

    def test_broken_http(self):
        """What is no request is told so by the library below, in HTML; a large body by us."""
        for raw, status in ((b"nonsense\r\n\r\n", b"400"), (b"BREW / HTTP/1.1\r\n\r\n", b"501"),
                            (b"GET / HTTP/1.1\r\nA: " + b"x" * 100000 + b"\r\n\r\n", b"400")):
            with socket.create_connection(("127.0.0.1", self.server.port), WAIT_S) as s:
                s.sendall(raw)
                self.assertEqual(s.recv(65536).split(b" ", 2)[1], status)
        for path, kind in ((CHAT, "invalid_request_error"), (MESSAGES, "request_too_large")):
            status, got, _ = self.server.ask("POST", path, b'"' + b"x" * (33 << 20) + b'"')
            self.assertEqual((status, got["error"]["type"]), (413, kind))
        self.assertEqual(self.server.ask("GET", "/health")[0], 200)

    @staticmethod
    def finish(s):
        s.close()

    @staticmethod
    def reset(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()

    def test_clients_that_leave(self):
        """The sequence is gone soon after, wherever the answer was."""
        before = self.server.stats()["requests"]["cancelled"]
        long = user("x", max_tokens=20000, ignore_eos=True, stream=True, temperature=0)
        health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for ends_with in (self.finish, self.reset):
            for until in (b"HTTP/1.1 200", b"data: ", b"reasoning_content"):
                s = self.server.open_stream(CHAT, long)
                got = b""
                while until not in got:
                    got += s.recv(4096)
                ends_with(s)
            for early in (b"", health):  # before the first byte; the next request may be there
                s = self.server.open_stream(CHAT, {**long, "stream": False})
                s.sendall(early)
                time.sleep(0.3)
                ends_with(s)
        end = time.monotonic() + WAIT_S
        while True:
            now = self.server.stats()
            if now["requests"]["open"] == 0 and now["requests"]["cancelled"] >= before + 10:
                break
            self.assertLess(time.monotonic(), end, now)
            time.sleep(0.05)
        self.assertEqual(now["requests"]["running"], 0)
        self.assertEqual(now["pools"]["sequences"]["used"], 0)

    def test_slow_reader(self):
        """Who does not read is cut off; others go on."""
        with self.server.open_stream(CHAT, user("x", max_tokens=40000, ignore_eos=True, stream=True,
                                                logprobs=True, top_logprobs=20)):
            self.ok(CHAT, user("y", max_tokens=3))
            end = time.monotonic() + WAIT_S
            while self.server.stats()["requests"]["open"]:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.2)

    def test_many_at_once(self):
        alone = [self.ok(CHAT, user(f"q{i}", max_tokens=6, temperature=1, seed=i))[0]
                 for i in range(6)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            done = list(pool.map(
                lambda i: self.ok(CHAT, user(f"q{i % 6}", max_tokens=6, temperature=1,
                                             seed=i % 6))[0], range(48)))
        for i, got in enumerate(done):
            self.assertEqual(got["choices"], alone[i % 6]["choices"])

    def test_metrics(self):
        self.ok(CHAT, user("x", max_tokens=2))
        text, headers = self.server.ask("GET", "/metrics")[1:]
        self.assertTrue(headers["content-type"].startswith("text/plain; version=0.0.4"))
        for name in ("hadal_requests_done_total", "hadal_pool_used", "vllm:num_requests_running",
                     "vllm:time_to_first_token_seconds_bucket", "vllm:kv_cache_usage_perc"):
            self.assertRegex(text, rf"(?m)^{name}\{{.*\}} [0-9.e+-]+$")
        page, headers = self.server.ask("GET", "/")[1:]
        self.assertIn("<title>", page)
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertEqual(self.server.ask("GET", "/", headers={
            "If-None-Match": headers["etag"]})[0], 304)


class Operation(ModelTest):
    def test_keys(self):
        keys = self.write("keys", "sk-alice-1 alice 1\nsk-bob-22 bob\n")
        with Server(self.model, "--api-key-file", keys, "--access-log") as s:
            for path in ("/v1/models", "/metrics", "/stats", "/version", "/nothing"):
                self.assertEqual(s.ask("GET", path)[0], 401, path)
            for path in ("/health", "/ready", "/"):
                self.assertEqual(s.ask("GET", path)[0], 200, path)
            status, got, _ = s.ask("POST", CHAT, user("x"))
            self.assertEqual((status, got["error"]["code"]), (401, "invalid_api_key"))
            status, got, _ = s.ask("POST", MESSAGES, user("x"), {"x-api-key": "sk-alice-"})
            self.assertEqual((status, got["error"]["type"]), (401, "authentication_error"))
            bob = {"Authorization": "Bearer sk-bob-22"}
            self.assertEqual(s.ask("POST", CHAT, user("x", max_tokens=1), bob)[0], 200)
            self.assertEqual(s.ask("POST", MESSAGES, user("x", max_tokens=1),
                                   {"x-api-key": "sk-bob-22"})[0], 200)
            busy = json.dumps(user("x", max_tokens=30000, ignore_eos=True)).encode()
            one = socket.create_connection(("127.0.0.1", s.port), WAIT_S)
            one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-api-key: sk-alice-1"
                        b"\r\nContent-Length: %d\r\n\r\n" % len(busy) + busy)
            while s.ask("GET", "/stats", headers=bob)[1]["requests"]["open"] == 0:
                time.sleep(0.01)
            status, got, headers = s.ask("POST", CHAT, user("x"), {"x-api-key": "sk-alice-1"})
            self.assertEqual((status, got["error"]["code"]), (429, "rate_limit_exceeded"))
            self.assertEqual(headers["retry-after"], "1")
            one.close()
            self.write("keys", "sk-carol-3 carol\n")
            s.p.send_signal(signal.SIGHUP)
            s.wait("1 keys read from")
            self.assertEqual(s.ask("GET", "/v1/models", headers=bob)[0], 401)
            self.assertEqual(s.ask("GET", "/v1/models",
                                   headers={"x-api-key": "sk-carol-3"})[0], 200)
            self.write("keys", "no\n")
            s.p.send_signal(signal.SIGHUP)
            s.wait("the old keys stay")
            self.assertEqual(s.end(), 0)
            self.assertRegex(s.said, r"req_\w+ key=bob done ms=\d+ .* generated=1")
            self.assertNotIn("sk-", s.said)

    def test_isolation(self):
        """A prefix is nobody's but its key's and user's."""
        keys = self.write("keys", "sk-alice-1\nsk-bob-22\n")
        text = "The same long text. " * 30

        def cached(s, key, **more):
            got = s.ask("POST", "/v1/completions", {"prompt": text, "max_tokens": 1, **more},
                        {"x-api-key": key})[1]
            return got["usage"]["prompt_tokens_details"]["cached_tokens"]

        with Server(self.model, "--api-key-file", keys) as s:
            self.assertEqual(cached(s, "sk-alice-1"), 0)
            self.assertGreater(cached(s, "sk-alice-1"), 0)
            self.assertEqual(cached(s, "sk-bob-22"), 0)
            self.assertEqual(cached(s, "sk-alice-1", user="u1"), 0)
            self.assertGreater(cached(s, "sk-alice-1", user="u1"), 0)

    def test_drain(self):
        with Server(self.model) as s, contextlib.closing(s.open_stream(
                CHAT, user("x", max_tokens=300, ignore_eos=True, stream=True))) as stream:
            got = stream.recv(4096)
            s.p.send_signal(signal.SIGTERM)
            s.wait("draining")
            status, body, headers = s.ask("POST", CHAT, user("x"))
            self.assertEqual((status, body["error"]["code"]), (503, "unavailable"))
            self.assertEqual(headers["retry-after"], "5")
            self.assertEqual(s.ask("POST", MESSAGES, user("x"))[0], 529)
            self.assertEqual(s.ask("GET", "/ready")[0], 503)
            while piece := stream.recv(65536):
                got += piece
            self.assertIn(b"[DONE]", got)
            self.assertEqual(s.p.wait(WAIT_S), 0)
        with Server(self.model) as s, contextlib.closing(s.open_stream(
                CHAT, user("x", max_tokens=30000, ignore_eos=True, stream=True))) as stream:
            stream.recv(4096)
            s.p.send_signal(signal.SIGTERM)
            s.wait("draining")
            s.p.send_signal(signal.SIGINT)
            self.assertEqual(s.p.wait(WAIT_S), 0)
        for path, word in ((CHAT, b'"code":"unavailable"'), (MESSAGES, b"event: error")):
            with Server(self.model, "--drain-s", 1) as s, contextlib.closing(s.open_stream(
                    path, user("x", max_tokens=30000, ignore_eos=True, stream=True))) as stream:
                got = stream.recv(4096)
                s.p.send_signal(signal.SIGTERM)
                while piece := stream.recv(65536):
                    got += piece
                self.assertIn(word, got[-1000:])
                self.assertEqual(s.p.wait(WAIT_S), 0)

    def test_restart_keeps_turns(self):
        """A turn of calls is rendered as it was sampled, by another process too."""
        state = os.path.join(self.scratch, "state")
        tools = [{"type": "function", "function": {"name": "ask", "parameters": {
            "type": "object", "properties": {"n": {"enum": [3, 4]}}, "required": ["n"]}}}]
        body = {"messages": [{"role": "user", "content": "go " * 100}], "tools": tools,
                "tool_choice": "required", "thinking": {"type": "disabled"}, "seed": 5,
                "max_tokens": 400}
        with Server(self.model, "--cache-dir", state) as s:
            first = s.ask("POST", CHAT, body)[1]
            self.assertEqual(s.end(), 0)
        message = first["choices"][0]["message"]
        self.assertEqual(first["choices"][0]["finish_reason"], "tool_calls")
        message.pop("reasoning_content", None)  # as some clients do
        follow = {**body, "messages": [*body["messages"], message, *(
            {"role": "tool", "tool_call_id": c["id"], "content": "ok"}
            for c in message["tool_calls"])]}
        with Server(self.model, "--cache-dir", state) as s:
            second = s.ask("POST", CHAT, follow)[1]
        usage = second["usage"]
        self.assertGreater(usage["prompt_tokens"], first["usage"]["total_tokens"])
        self.assertGreaterEqual(usage["prompt_cache_hit_tokens"],
                                first["usage"]["total_tokens"] - 128)

    def test_chat_release(self):
        """By the encoder in the directory, else by config.json, else the latest."""
        model = os.path.join(self.scratch, "released")
        shutil.copytree(self.model, model)
        path = os.path.join(model, "config.json")

        def said(*args):
            with Server(model, *args) as s:
                return s.said

        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        config.pop("hadal.chat_release", None)
        for value, says in ((None, "chat format 0731 (nothing says otherwise)"),
                            ("april", "chat format april (config.json)")):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(config | ({"hadal.chat_release": value} if value else {}), f)
            self.assertIn(says, said())
        self.assertIn("chat format v4.1 (as asked)", said("--chat-release", "v4.1"))

    def test_idle_streams(self):
        """2,000 streams that wait for their turn cost little memory, and all are told to go on."""
        n = 200 if SANITIZED else 2000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard < 8192 else 8192, hard))

        def resident_mb(s):
            with open(f"/proc/{s.p.pid}/status", encoding="ascii") as f:
                return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1]) / 1024

        with contextlib.ExitStack() as stack, Server(
                self.model, "--max-seqs", 1, "--max-requests", 4096) as s:
            def begin(text, max_tokens):
                body = user(text, max_tokens=max_tokens, ignore_eos=True, stream=True)
                return stack.enter_context(contextlib.closing(s.open_stream(CHAT, body)))
            first = begin("x", 60000)
            first.recv(4096)
            before = resident_mb(s)
            streams = [begin("y" * 100, 1) for _ in range(n)]
            for stream in streams:
                self.assertIn(b"200 OK", stream.recv(4096))
            requests = s.stats()["requests"]
            while requests["waiting"] < n:  # the first byte comes before the engine has it
                requests = s.stats()["requests"]
            self.assertEqual((requests["waiting"], requests["running"]), (n, 1))
            grown = resident_mb(s) - before
            print(f"{n} waiting streams: {grown:.1f} MB")
            if not SANITIZED:
                self.assertLess(grown, 64)
            first.close()
            end = time.monotonic() + WAIT_S
            while s.stats()["requests"]["done"] < n:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.5)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_service_manager(self):
        """Told when it is ready, that it is alive, and that it ends."""
        path = os.path.join(self.scratch, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(WAIT_S)
            with Server(self.model, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}) as s:
                self.assertIn(b"READY=1", manager.recv(4096))
                for _ in range(2):
                    self.assertEqual(manager.recv(4096), b"WATCHDOG=1")
                s.p.send_signal(signal.SIGTERM)
                while (said := manager.recv(4096)) == b"WATCHDOG=1":
                    pass
                self.assertEqual(said, b"STOPPING=1")
                self.assertEqual(s.p.wait(WAIT_S), 0)

    def test_trace(self):
        """Complete spans of what ended; readable while the server runs, too."""
        path = os.path.join(self.scratch, "trace.json")
        with Server(self.model, "--trace", path) as s:
            s.ask("POST", CHAT, user("x", max_tokens=3))
            s.ask("POST", CHAT, user(5))
            with open(path, encoding="utf-8") as f:
                now = json.loads(f.read() + "{}]")
            self.assertEqual(s.end(), 0)
        with open(path, encoding="utf-8") as f:
            spans = json.load(f)[:-1]
        self.assertEqual(spans, now[:-1])
        self.assertEqual([e["name"] for e in spans],
                         ["request", "read", "first token", "generate", "request"])
        self.assertEqual(spans[0]["args"]["generated"], 3)
        self.assertEqual(spans[4]["args"]["how"], "refused")
        self.assertAlmostEqual(spans[0]["dur"], sum(e["dur"] for e in spans[1:4]), delta=1)

    def test_queue_timeout(self):
        """Who does not come to run in time is told to come again."""
        with Server(self.model, "--max-seqs", 1, "--queue-s", 1) as s, contextlib.closing(
                s.open_stream(CHAT, user("x", max_tokens=30000, ignore_eos=True,
                                         stream=True))) as first:
            first.recv(4096)
            status, got, headers = s.ask("POST", CHAT, user("y"))
            self.assertEqual((status, got["error"]["code"]), (503, "queue_timeout"))
            self.assertEqual(headers["retry-after"], "5")
            status, got, _ = s.ask("POST", MESSAGES, user("y", max_tokens=1))
            self.assertEqual((status, got["error"]["type"]), (504, "timeout_error"))

    def test_settings(self):
        file = self.write("c.ini", "[serve]\nport = 81\nmax-seqs = 3\nsampling = deepseek\n")
        out = hadal("serve", "--config", file, "--print-config", "--port", 82,
                    env={"HADAL_MAX_SEQS": "5", "HADAL_PORT": "83"})[0].decode()
        self.assertIn("\nport = 82\n", out)
        self.assertIn("\nmax-seqs = 5\n", out)
        self.assertIn("\nsampling = deepseek\n", out)
        again = self.write("d.ini", out)
        self.assertEqual(hadal("serve", "--config", again, "--print-config")[0].decode(), out)
        hadal("serve", "--config", file, "--check-config")
        for text, says in (("port = 99999", "expected a number from 0 to 65535"),
                           ("port = x", "expected a number"),
                           ("prot = 1", "line 1: there is no setting 'prot'"),
                           ("[other]\nport = 1", "line 2: there is no section 'other'"),
                           ("port = 1\nport = 2", "line 2: 'port' was set before"),
                           ("access-log = maybe", "expected yes or no"),
                           ("draft = all", "expected one of best, none"),
                           ("nonsense", "line 1")):
            bad = self.write("bad.ini", text + "\n")
            done = subprocess.run([PROGRAM, "serve", "--config", bad, "--check-config"],
                                  capture_output=True, text=True, timeout=WAIT_S, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(says, done.stderr)
        self.assertIn("HADAL_PORT", hadal("serve", "--check-config", code=2,
                                          env={"HADAL_PORT": "none"})[1])

    def test_refuses_to_be_open(self):
        self.assertIn("--api-key-file", hadal("serve", self.model, "--host", "0.0.0.0", "--port", 0,
                                              code=1)[1])
        self.assertIn("no DIR", hadal("serve", code=2)[1])
        self.assertIn("no checkpoint", hadal("serve", self.model + "x", code=1)[1])
        with Server(self.model) as s:
            self.assertIn("cannot listen", hadal("serve", self.model, "--port", s.port,
                                                 code=1)[1])

    @unittest.skipUnless(os.access("/usr/bin/openssl", os.X_OK), "no openssl to make a certificate")
    def test_tls(self):
        import ssl
        cert, key = (os.path.join(self.scratch, n) for n in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", cert], check=True, capture_output=True)
        with Server(self.model, "--cert", cert, "--key", key) as s:
            context = ssl.create_default_context(cafile=cert)
            c = http.client.HTTPSConnection("127.0.0.1", s.port, context=context, timeout=WAIT_S)
            c.request("POST", CHAT, json.dumps(user("x", max_tokens=5)))
            self.assertEqual(c.getresponse().status, 200)
            c.close()
        self.assertIn("certificate", hadal("serve", self.model, "--port", 0, "--cert", key, "--key",
                                           key, code=1)[1])


if __name__ == "__main__":
    main()
