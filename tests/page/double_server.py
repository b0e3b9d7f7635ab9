"""A TEST DOUBLE of hadal's server: no model, no engine, canned streams.

It serves the files and the headers of the page as the program does, and speaks as much of the APIs
as the page uses. What a chat completion answers is chosen by a word in the last message (SCRIPTS).
It remembers what it was asked (`requests`) and which streams were left by their client
(`left_early`). As a program it serves until it is ended: python3 double_server.py [PORT].
"""
import hashlib
import http.server
import json
import math
import pathlib
import re
import sys
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src/server"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEY = "sk-right"
MODEL = "double-flash"

MARKDOWN = """# Pressure in the deep

Pressure grows by about **one atmosphere** every *ten metres*. At the floor of the hadal zone it \
is over `1,000 bar`; see [the article](https://example.org/hadal "Hadal zone") or \
https://example.org/a.

1. Light ends at 1,000 m.
2. The trenches begin at 6,000 m:
   - Mariana, 10,935 m
   - Tonga, 10,820 m

| Zone | Depth in m | Light |
|:-----|-----:|:--:|
| Sunlight | 200 | yes |
| Midnight | 4,000 | no |
| Hadal | 11,000 | no |

```c
/* bar at a depth, roughly */
static double pressure(double metres)
{
    return 1.0 + metres / 9.95; // a line that is much longer than a phone is wide, so that it scrolls
}
```

> Even there, life found a way.

---
snake_case_name stays, 2 * 3 * 4 too, and ~~this~~ goes.

By \\( p = \\rho_w * g * h \\): \\*not slanted\\*, $5 and $6.
"""

HOSTILE = """<script>window.hacked = 1</script>

<img src=x onerror="window.hacked = 1"> and [click](javascript:window.hacked=1), [data](data:text/html,x)

![picture](https://evil.example/x.png) **<b onclick=hacked>bold</b>**

```<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 1">
```

| <script>window.hacked = 1</script> | b |
|---|---|
| <iframe src="https://evil.example/"> | `<svg onload=window.hacked=1>` |
"""


def text(content, size=12):
    return [{"content": content[i:i + size]} for i in range(0, len(content), size)]


def reasoning(content, size=12):
    return [{"reasoning_content": content[i:i + size]} for i in range(0, len(content), size)]


def call(index, identity, name, arguments):
    parts = [arguments[i:i + 6] for i in range(0, len(arguments), 6)]
    return [{"tool_calls": [{"index": index, "id": identity, "type": "function",
                             "function": {"name": name, "arguments": ""}}]},
            *({"tool_calls": [{"index": index, "function": {"arguments": p}}]} for p in parts)]


def answer_of(request):
    """(deltas, seconds between them, finish_reason) for a request."""
    last = request["messages"][-1]
    words = last["content"] or ""
    if last["role"] == "tool":
        return text(f"The tool said: {words}"), 0.01, "stop"
    if "markdown" in words:
        return reasoning("A short plan: pressure, zones, code.") + text(MARKDOWN), 0.005, "stop"
    if "think" in words:
        return reasoning("First I look at the question. <b>Then</b> I answer it.") + text("Forty-two."), 0.15, "stop"
    if "two tools" in words:
        return (text("I ask both.") + call(0, "call_a", "get_weather", '{"city": "Oslo"}')
                + call(1, "call_b", "get_time", '{"zone": "CET"}')), 0.01, "tool_calls"
    if "tool" in words:
        return (reasoning("I need the weather.") + call(0, "call_1", "get_weather", '{"city": "Oslo"}'),
                0.01, "tool_calls")
    if "hostile" in words:
        return reasoning("<script>window.hacked = 1</script>") + text(HOSTILE, 7), 0.002, "stop"
    if "endless" in words:
        return text("word " * 4000, 5), 0.05, "stop"
    if "long" in words:
        return text("\n\n".join(f"Paragraph {i} of a long answer." for i in range(200)), 40), 0.002, "stop"
    if "cut" in words:
        return text("It is cut"), 0.01, "length"
    n = sum(m["role"] == "user" for m in request["messages"])
    return text(f"Answer {n}: you said “{words}”."), 0.02, "stop"


class Double(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port=0, needs_key=False):
        super().__init__(("127.0.0.1", port), Handler)
        self.needs_key = needs_key
        self.requests, self.left_early, self.paths = [], [], []
        self.begin = time.monotonic()
        self.done = self.running = 0
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stats(self):
        t = time.monotonic() - self.begin
        wave = 1 + math.sin(t / 3)
        return {
            "uptime_s": t + 7400, "version": "0.1.0", "model": MODEL, "draining": False,
            "requests": {"running": self.running + round(2 * wave), "waiting": round(max(0, 3 * wave - 4)),
                         "done": 10 + self.done, "failed": 0, "cancelled": len(self.left_early), "connections": 3},
            "tokens": {"prompt": int(9000 + 800 * t), "cached": int(3000 + 310 * t), "drafted": 1000,
                       "generated": int(5000 + 40 * t + 30 * math.sin(t / 3)), "accepted": 704},
            "pools": {"sequences": {"used": 15, "max": 16}, "pages_ratio_4": {"used": 30, "max": 64},
                      "pages_ratio_128": {"used": 1, "max": 8}, "snapshots": {"used": 2, "max": 50}},
            "tightest": "sequences",
            "latency_ms": {"first_token": {"p50": 112.0 + 20 * wave, "p95": 240.0 + 60 * wave},
                           "gap": {"p50": 21.5 + wave, "p95": 33.0 + 4 * wave}}}


def page_headers():
    """The headers in src/server/page.c, so that it is they that are tested."""
    source = (SOURCE / "page.c").read_text()
    table = re.search(r"hd_page_headers\[\] = \{\n(.*?)\n\};", source, re.S)[1]
    pairs = re.findall(r'\{"([^"]+)",\s*((?:"[^"]*"\s*)+)\}', table)
    return {name: "".join(re.findall(r'"([^"]*)"', value)) for name, value in pairs}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, content_type="application/json", headers=None):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, message, headers=None):
        self.reply(status, {"error": {"message": message, "type": "t", "code": "c"}}, headers=headers)

    def is_allowed(self):
        if not self.server.needs_key or self.headers["Authorization"] == f"Bearer {KEY}":
            return True
        self.refuse(401, "The API key is missing or wrong.")
        return False

    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path == "/v1/models":
            if self.is_allowed():
                self.reply(200, {"object": "list", "data": [
                    {"id": MODEL, "object": "model", "context_length": 65536},
                    {"id": "double-pro", "object": "model", "context_length": 1048576}]})
        elif self.path == "/stats":
            if self.is_allowed():
                self.reply(200, self.server.stats())
        else:
            self.page_file()

    def page_file(self):
        name = "index.html" if self.path == "/" else self.path.removeprefix("/page/")
        file = SOURCE / "page" / name
        if "/" in name or not file.is_file():
            return self.refuse(404, "There is nothing here.")
        body = file.read_bytes()
        etag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
        self.reply(200, body, TYPES[file.suffix] + "; charset=utf-8", {**page_headers(), "ETag": etag})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_allowed():
            return
        self.server.requests.append(request)
        words = request["messages"][-1]["content"] or ""
        if "refuse" in words:
            self.refuse(400, "The prompt has <b>9</b> tokens too many.")
        elif "busy" in words:
            self.refuse(503, "The queue is full.", {"Retry-After": "7"})
        else:
            self.stream(request, words)

    def stream(self, request, words):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.server.running += 1
        try:
            self.chunks(request, words)
            self.server.done += 1
        except OSError:
            self.server.left_early.append(words)
        finally:
            self.server.running -= 1

    def event(self, data):
        self.wfile.write(b"data: " + data.encode() + b"\n\n")
        self.wfile.flush()

    def chunk(self, delta, finish=None, **more):
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        self.event(json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
                               "model": request_model(self), "choices": choices, **more},
                              ensure_ascii=False))

    def chunks(self, request, words):
        self.wfile.write(b": keep-alive\n\n")
        if "never" in words:  # nothing but signs of life, until the client leaves
            while True:
                self.wfile.write(b": keep-alive\n\n")
                time.sleep(0.05)
        deltas, pause, finish = answer_of(request)
        self.chunk({"role": "assistant", "content": ""}, usage=None)
        for i, delta in enumerate(deltas):
            self.chunk(delta, usage=None)
            time.sleep(pause)
            if "break" in words and i == 1:
                return  # without a finish_reason and [DONE]
            if "fail late" in words and i == 1:
                self.event(json.dumps({"error": {"message": "The device was lost.", "type": "t"}}))
                return
        self.chunk({}, finish, usage=None)
        self.chunk(None, usage={"prompt_tokens": 2310, "completion_tokens": len(deltas),
                                "total_tokens": 2310 + len(deltas),
                                "prompt_tokens_details": {"cached_tokens": 1200}})
        self.event("[DONE]")


def request_model(handler):
    return handler.server.requests[-1].get("model")


if __name__ == "__main__":
    server = Double(int(sys.argv[1]) if len(sys.argv) > 1 else 8080)
    print(f"test double at {server.url}", flush=True)
    server.serve_forever()
