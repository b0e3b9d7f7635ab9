"""The web page in front of the real server, with a trained model.

usage: python3 test_served.py PROGRAM MODEL [FOLDER for screenshots]

Starts `PROGRAM serve MODEL` and runs what test_page.py asks of every server, then a talk with the
model: a sum in its thoughts, a call of a tool, a stop that the server counts.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

PROGRAM, MODEL = sys.argv[1:3]
del sys.argv[1:3]
TOOLS = pathlib.Path(__file__).resolve().parents[2] / "examples/tools.json"


def serve():
    """The process and its address."""
    server = subprocess.Popen([PROGRAM, "serve", MODEL, "--port", "0", "--threads", "1"], stderr=subprocess.PIPE,
                              text=True)
    said = ""
    for line in server.stderr:
        said += line
        if found := re.search(r"^listening on (http://\S+)", line):
            threading.Thread(target=server.stderr.read, daemon=True).start()  # lest it fills up
            return server, found[1] + "/"
    raise SystemExit(f"the server ended: {said}")


server, os.environ["HADAL_PAGE_URL"] = serve()
from test_page import BUSY, IDLE, LAST, PROGRAM as BROWSER, URL, Any, Looks, PageTest, missing  # noqa: E402


class Talk(PageTest):
    def stats(self):
        with urllib.request.urlopen(URL + "stats") as answer:
            return json.load(answer)

    def test_a_sum_and_a_tool(self):
        page = self.open(dark=True, height=860)
        page.click("#open-settings")
        page.eval("document.querySelector('#settings [name=temperature]').focus()")
        page.type("0")
        page.click("#settings [type=submit]")
        self.send(page, "What is 4718 + 2963?")
        self.assertIn("7681", page.text(".answer .text"))
        page.click(".reasoning summary")
        self.assertIn("=", page.text(".reasoning-text"))
        page.click("#open-settings")
        page.eval("document.getElementById('s-tools').focus()")
        page.type(TOOLS.read_text())
        page.click("#settings [type=submit]")
        page.click("#new-chat")
        self.send(page, "What is 317 times 46?")
        self.assertEqual(page.text(".call code"), "calculator")
        self.assertEqual(json.loads(page.text(".call pre")), {"a": 317, "op": "multiply", "b": 46})
        page.eval("document.querySelector('.call textarea').focus()")
        page.type("14582")
        page.click(".calls [type=submit]")
        page.wait(f"{IDLE} && document.querySelectorAll('.answer').length === 2")
        self.assertFalse(page.eval("!!document.querySelector('.error')"))
        self.assertIn("14582", page.text(".answer:last-child .text"))
        page.click(".call summary")
        self.shoot(page, "talk-tool")
        page.eval("document.querySelectorAll('#chat-list a')[1].click()")
        page.click(".reasoning summary")
        self.shoot(page, "talk-sum")

    def test_a_stopped_answer_is_cancelled(self):
        page = self.open()
        for _ in range(8):  # an answer may end before the key is pressed
            before = self.stats()["requests"]
            self.send(page, "What is 4718 + 2963?", wait=False)
            page.wait(f"{BUSY} && {LAST} && {LAST}.querySelector('.reasoning').checkVisibility()")
            page.key("Escape")
            page.wait(IDLE)
            if "Stopped." in page.text(".answer:last-child"):
                break
        else:
            self.fail("no answer could be stopped")
        end = time.monotonic() + 10
        while self.stats()["requests"]["cancelled"] == before["cancelled"] and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(self.stats()["requests"]["cancelled"], before["cancelled"] + 1)
        self.assertEqual(self.stats()["requests"]["running"], 0)


if __name__ == "__main__":
    try:
        if not BROWSER:
            missing()
        unittest.main(argv=sys.argv[:1], verbosity=2)
    finally:
        server.terminate()
        server.wait(60)
