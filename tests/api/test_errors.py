"""Errors as the packages openai and anthropic raise them, in every dialect: the rows of the table in
docs/http-api.md that can be provoked from outside."""
import contextlib
import signal
import threading

import anthropic
import openai

from apitest import ApiTest, main

LONG = "The old goat carries a red lamp to the mill. " * 400
PATHS = {"chat": "/chat/completions", "completions": "/completions", "responses": "/responses"}
DIALECTS = (*PATHS, "messages")


def ask(client, dialect, text="x", n=1, **more):
    if dialect == "chat":
        return client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": text}], max_tokens=n, **more)
    if dialect == "completions":
        return client.completions.create(model="demo", prompt=text, max_tokens=n, **more)
    if dialect == "responses":
        return client.responses.create(model="demo", input=text, max_output_tokens=n, **more)
    return client.messages.create(
        model="demo", messages=[{"role": "user", "content": text}], max_tokens=n, **more)


class ErrorTest(ApiTest):
    args = ("--ctx", 2048, "--max-requests", 1, "--max-seqs", 1, "--max-body-mb", 1)
    keys = "sk-one-1 one 1\nsk-two-2 two\n"

    def client(self, dialect, key="sk-two-2", retries=0):
        if dialect == "messages":
            return anthropic.Anthropic(api_key=key, base_url=self.url, max_retries=retries)
        return openai.OpenAI(api_key=key, base_url=self.url + "/v1", max_retries=retries)

    def post(self, dialect, content):
        path = PATHS.get(dialect, "/v1/messages")
        return self.client(dialect).post(path, cast_to=object, content=content,
                                         options={"headers": {"content-type": "application/json"}})

    def check(self, dialect, want, call, *args, param=None, **more):
        """want: status, type and code of OpenAI; status and type of Anthropic. Returns the headers.
        """
        package = anthropic if dialect == "messages" else openai
        with self.subTest(dialect=dialect, want=want), self.assertRaises(package.APIStatusError) as e:
            call(*args, **more)
        error = e.exception
        status, kind, code, messages_status, messages_kind = want
        if dialect == "messages":
            body = error.body
            self.assertEqual((error.status_code, body["type"], body["error"]["type"]),
                             (messages_status, "error", messages_kind))
            self.assertEqual(error.request_id, body["request_id"])
            self.assertTrue(body["error"]["message"])
        else:
            self.assertEqual((error.status_code, error.type, error.code), (status, kind, code))
            self.assertEqual(error.param, param)
            self.assertTrue(error.body["message"])
        self.assertEqual(error.response.headers["x-request-id"], error.request_id)
        return error.response.headers

    @contextlib.contextmanager
    def busy(self, key):
        """Somebody is served for as long as this lasts."""
        stream = ask(self.client("chat", key), "chat", n=1900, stream=True,
                     extra_body={"ignore_eos": True})
        next(iter(stream))
        try:
            yield
        finally:
            stream.close()
            two = {"Authorization": "Bearer sk-two-2"}
            while self.server.ask("GET", "/stats", headers=two)[1]["requests"]["open"]:
                pass


BAD = (400, "invalid_request_error", None, 400, "invalid_request_error")
VALUE = (400, "invalid_request_error", "invalid_value", 400, "invalid_request_error")
LENGTH = (400, "invalid_request_error", "context_length_exceeded", 400, "invalid_request_error")
KEY = (401, "invalid_request_error", "invalid_api_key", 401, "authentication_error")
NO_MODEL = (404, "invalid_request_error", "model_not_found", 404, "not_found_error")
NO_PATH = (404, "invalid_request_error", "not_found", 404, "not_found_error")
LARGE = (413, "invalid_request_error", "request_too_large", 413, "request_too_large")
LIMIT = (429, "rate_limit_error", "rate_limit_exceeded", 429, "rate_limit_error")
FULL = (503, "server_error", "overloaded", 529, "overloaded_error")
ENDS = (503, "server_error", "unavailable", 529, "overloaded_error")


class Errors(ErrorTest):
    def test_requests(self):
        for d in DIALECTS:
            client = self.client(d)
            rows = [self.check(d, BAD, self.post, d, b"{"),
                    self.check(d, BAD, self.post, d, b"[1]"),
                    self.check(d, BAD, self.post, d, b'{"model": "\xff"}'),
                    self.check(d, BAD, ask, client, d, extra_body={"stream": "yes"}, param="stream"),
                    self.check(d, VALUE, ask, client, d, extra_body={"temperature": 9},
                               param="temperature"),
                    self.check(d, KEY, ask, self.client(d, "sk-wrong"), d),
                    self.check(d, LARGE, ask, client, d, LONG * 70),
                    self.check(d, LENGTH, ask, client, d, LONG)]
            for headers in rows:
                self.assertEqual(headers["x-should-retry"], "false")
        for d, member in (("chat", "messages"), ("completions", "prompt")):
            self.check(d, BAD, self.post, d, b"{}", param=member)
        for member, value in (("n", 2), ("audio", {"voice": "x"})):
            self.check("chat", VALUE, ask, self.client("chat"), "chat", extra_body={member: value},
                       param=member)
        for member, value in (("previous_response_id", "resp_1"), ("conversation", "conv_1"),
                              ("background", True)):
            self.check("responses", VALUE, ask, self.client("responses"), "responses",
                       **{member: value}, param=member)

    def test_lengths_are_told(self):
        with self.assertRaises(openai.BadRequestError) as e:
            ask(self.client("chat"), "chat", LONG)
        self.assertRegex(e.exception.body["message"],
                         r"^this model's maximum context length is 2047 tokens, .* \d{4}$")
        with self.assertRaises(anthropic.BadRequestError) as e:
            ask(self.client("messages"), "messages", LONG)
        self.assertRegex(e.exception.body["error"]["message"],
                         r"^prompt is too long: \d+ tokens > 2047 maximum")

    def test_not_there(self):
        for d in PATHS:
            self.check(d, NO_MODEL, ask, self.client(d), d, extra_body={"model": "gpt"},
                       param="model")
        client = self.client("chat")
        self.check("chat", NO_PATH, client.embeddings.create, model="demo", input="x")
        client = self.client("messages")
        self.check("messages", NO_PATH, client.messages.batches.list)
        ask(client, "messages", extra_body={"model": "claude-opus-5"})  # any name is the model here

    def test_limits(self):
        with self.busy("sk-one-1"):
            for d in DIALECTS:
                headers = self.check(d, LIMIT, ask, self.client(d, "sk-one-1"), d)
                self.assertIn("retry-after", headers)
                headers = self.check(d, FULL, ask, self.client(d), d)
                self.assertIn("retry-after", headers)
                self.assertNotIn("x-should-retry", headers)
                self.check(d, FULL, ask, self.client(d), d, stream=True)

    def test_retries(self):
        """The packages try again by themselves, and succeed once there is room."""
        for d in ("chat", "messages"):
            done = []
            with self.busy("sk-one-1"):
                t = threading.Thread(target=lambda d=d: done.append(
                    ask(self.client(d, retries=2), d)))
                t.start()
                t.join(0.5)
                self.assertEqual(done, [])
            t.join(60)
            self.assertEqual(len(done), 1)


class Draining(ErrorTest):
    args = ("--drain-s", 1)

    def test_draining(self):
        """No new requests, a stream that was there ends by itself or is told."""
        chat = ask(self.client("chat"), "chat", n=60000, stream=True,
                   extra_body={"ignore_eos": True})
        next(iter(chat))
        self.server.p.send_signal(signal.SIGTERM)
        self.server.wait("draining")
        for d in DIALECTS:
            headers = self.check(d, ENDS, ask, self.client(d), d)
            self.assertIn("retry-after", headers)
        with self.assertRaises(openai.APIError) as e:
            for _ in chat:
                pass
        self.assertEqual(getattr(e.exception, "code", None), "unavailable", repr(e.exception))


if __name__ == "__main__":
    main()
