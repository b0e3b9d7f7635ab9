"""Headless Chromium over its DevTools protocol, by a pair of pipes; standard library only."""
import base64
import fcntl
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time

WAIT_S = 30  # for anything in the page; a loaded machine is slow
FLAGS = ["--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-extensions",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb"]


class Browser:
    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="hadal-page-")
        commands, self.write_fd = os.pipe()
        self.read_fd, events = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; high copies keep clear of both.
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (commands, events)]

        def place():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = FLAGS + (["--no-sandbox"] if os.getuid() == 0 else [])
        self.process = subprocess.Popen(
            [program, *flags, f"--user-data-dir={self.profile}", "about:blank"], preexec_fn=place,
            pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for fd in (commands, events, *high):
            os.close(fd)
        self.answers, self.listeners, self.count = {}, {}, 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with os.fdopen(self.read_fd, "rb") as stream:
            rest = b""
            while piece := stream.read1(1 << 16):
                *messages, rest = (rest + piece).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self.answers[message["id"]].put(message)
                    elif listener := self.listeners.get(message.get("sessionId")):
                        listener(message["method"], message["params"])

    def command(self, method, session=None, **params):
        self.count += 1
        number = self.count
        self.answers[number] = queue.Queue()
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.write_fd, data):]
        answer = self.answers[number].get(timeout=WAIT_S)
        del self.answers[number]
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def close(self):
        try:
            self.command("Browser.close")
        finally:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            os.close(self.write_fd)
            shutil.rmtree(self.profile, ignore_errors=True)


KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, ""), " ": (32, " ")}


class Page:
    """One tab, with a profile of its own. Collects what must not happen."""

    def __init__(self, browser, url, width=1280, height=800, dark=False, more_media=(),
                 context=None):
        self.browser = browser
        self.owns_context = context is None
        self.context = context or browser.command("Target.createBrowserContext")["browserContextId"]
        self.target = browser.command("Target.createTarget", url="about:blank",
                                      browserContextId=self.context)["targetId"]
        self.session = browser.command("Target.attachToTarget", targetId=self.target,
                                       flatten=True)["sessionId"]
        self.console, self.violations, self.urls = [], [], []
        browser.listeners[self.session] = self.hear
        for domain in ("Page", "Runtime", "Log", "Network", "Audits", "Accessibility", "DOM"):
            self.command(f"{domain}.enable")
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme, *more_media])
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)
        self.command("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && !!document.querySelector('#model option')")

    def command(self, method, **params):
        return self.browser.command(method, self.session, **params)

    def hear(self, method, params):
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(str(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif method == "Audits.issueAdded" and "ContentSecurityPolicy" in params["issue"]["code"]:
            self.violations.append(str(params["issue"]))
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    def size(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=width < 600)

    def eval(self, expression):
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True,
                              awaitPromise=True, userGesture=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, seconds=WAIT_S):
        end = time.monotonic() + seconds
        while True:
            if self.eval(f"Boolean({expression})"):
                return
            if time.monotonic() > end:
                raise AssertionError(f"never true: {expression}")
            time.sleep(0.03)

    def key(self, key, shift=False):
        code, text = KEYS[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.command("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0,
                         code="Space" if key == " " else key, windowsVirtualKeyCode=code, **more)

    def type(self, text):
        self.command("Input.insertText", text=text)

    def click(self, selector):
        """A real click, in the middle of what is there; fails when something else lies above."""
        x, y = self.eval(f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            node.scrollIntoView({{block: 'nearest'}});
            const r = node.getBoundingClientRect();
            const at = [r.x + r.width / 2, r.y + r.height / 2];
            const hit = document.elementFromPoint(...at);
            if (!node.contains(hit)) throw new Error('covered by ' + (hit && hit.outerHTML));
            return at;
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def text(self, selector):
        return self.eval(f"document.querySelector({json.dumps(selector)}).innerText")

    def names(self):
        """(role, name) of all that a screen reader meets, as the browser computes them."""
        nodes = self.command("Accessibility.getFullAXTree")["nodes"]
        return [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes
                if not n.get("ignored") and "role" in n]

    def screenshot(self, path):
        data = self.command("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        self.browser.listeners.pop(self.session)
        if self.owns_context:
            self.browser.command("Target.disposeBrowserContext", browserContextId=self.context)
        else:
            self.browser.command("Target.closeTarget", targetId=self.target)
