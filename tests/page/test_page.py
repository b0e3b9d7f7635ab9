"""The web page in headless Chromium.

usage: python3 test_page.py [FOLDER for screenshots]

Against the test double (double_server.py). With HADAL_PAGE_URL, against the server at that address:
then the tests that need canned streams are left out. HADAL_BROWSER names another Chromium. Without
one the exit status is 77 (skipped), or 1 where HADAL_REQUIRE names chromium.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time
import unittest
import urllib.parse

from browser import Browser, Page
from double_server import HOSTILE, KEY, SOURCE, Double

URL = os.environ.get("HADAL_PAGE_URL")
PROGRAM = os.environ.get("HADAL_BROWSER") or shutil.which("chromium-headless-shell")
SHOTS = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="hadal-shots-"))
CHECKS = (pathlib.Path(__file__).parent / "checks.js").read_text().strip()
MAX_BYTES = 150_000
IDLE = "document.getElementById('stop').hidden"
BUSY = "!document.getElementById('stop').hidden"
LAST = "document.querySelector('#messages > .answer:last-child')"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser(PROGRAM)
        cls.double = None if URL else Double().start()
        cls.url = URL or cls.double.url

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        if cls.double:
            cls.double.shutdown()
            cls.double.server_close()

    def open(self, url=None, **how):
        page = Page(self.browser, url or self.url, **how)
        self.expected = []  # pieces of console lines that the test provokes
        self.addCleanup(self.leave, page, urllib.parse.urlsplit(url or self.url).netloc)
        return page

    def leave(self, page, host):
        page.close()
        noise = [c for c in page.console if not any(e in c for e in self.expected)]
        self.assertEqual(noise, [], "console")
        self.assertEqual(page.violations, [], "violations of the Content-Security-Policy")
        foreign = [u for u in page.urls if urllib.parse.urlsplit(u).netloc != host
                   and not u.startswith("blob:")]
        self.assertEqual(foreign, [], "requests to other hosts")

    def send(self, page, text, wait=True):
        page.eval("document.getElementById('prompt').focus()")
        page.type(text)
        page.key("Enter")
        if wait:
            page.wait(f"{LAST} && {IDLE}")

    def check_look(self, page):
        """Contrast, sizes and widths of what is seen now."""
        checks = page.eval(f"""(() => {{ const c = {CHECKS};
            return {{contrast: c.lowContrast(4.5), edges: c.lowEdges(), wide: c.tooWide(),
                     small: c.tooSmall(), ids: c.repeatedIds()}}; }})()""")
        self.assertGreater(checks["contrast"]["count"], 5)
        self.assertEqual(checks["contrast"]["problems"], [])
        for kind in ("edges", "wide", "small", "ids"):
            self.assertEqual(checks[kind], [], kind)

    def check_names(self, page):
        """Every control and picture has a name; the landmarks are there."""
        names = page.names()
        controls = ("button", "link", "textbox", "combobox", "ComboBoxSelect", "spinbutton", "image",
                    "DisclosureTriangle", "region", "dialog", "article")
        self.assertEqual([n for n in names if n[0] in controls and not n[1].strip()], [])
        roles = [n[0] for n in names]
        self.assertGreater(roles.count("button"), 2)
        return roles

    def shoot(self, page, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(SHOTS / f"{name}.png")


class Any(PageTest):
    """True of the page in front of every server."""

    def test_it_is_small(self):
        files = [f for f in (SOURCE / "page").iterdir() if f.is_file()]
        self.assertGreater(len(files), 5)
        self.assertLess(sum(f.stat().st_size for f in files), MAX_BYTES)

    def test_an_answer_streams_and_is_kept(self):
        page = self.open()
        self.assertEqual(page.eval("document.activeElement.id"), "prompt")
        self.send(page, "Good morning")
        self.assertEqual(page.text(".message.user .text"), "Good morning")
        self.assertTrue(page.text(".answer .text").strip())
        page.wait("/answer is complete/.test(document.getElementById('announcer').textContent)")
        self.assertIn("tokens", page.text(".answer .facts"))
        before = page.text("#messages")
        page.command("Page.reload")
        time.sleep(0.2)
        page.wait("document.readyState === 'complete' && document.querySelector('.answer .text p')")
        self.assertEqual(page.text("#messages"), before)

    def test_the_policy_is_in_force(self):
        page = self.open()
        with self.assertRaisesRegex(AssertionError, "TrustedHTML"):
            page.eval("document.body.innerHTML = '<p>x</p>'")
        with self.assertRaisesRegex(AssertionError, "TrustedScript"):
            page.eval("document.body.setAttribute('onclick', 'window.hacked = 1')")
        with self.assertRaisesRegex(AssertionError, "Failed to fetch"):
            page.eval("fetch('https://example.org/')")
        page.eval("void (document.body.append(new Image()), document.querySelector('body > img').src = 'data:image/gif,x')")
        page.eval("void document.body.append(Object.assign(document.createElement('style'), {textContent: 'body { opacity: .5 }'}))")
        self.assertEqual(page.eval("getComputedStyle(document.body).opacity"), "1")
        end = time.monotonic() + 10
        while len(page.violations) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertGreaterEqual(len(page.violations), 4, "something was let through")
        page.violations.clear()  # the point of this test
        page.console.clear()
        page.urls.clear()

    def test_the_live_view(self):
        page = self.open()
        page.click("#tab-server")
        page.wait("document.querySelectorAll('#tiles .tile').length >= 8")
        page.wait("document.querySelectorAll('.pools tbody tr').length > 0")
        page.wait("/^Generation, in tokens per second: now [\\d,.]+; highest/"
                  ".test(document.querySelector('.chart > svg').getAttribute('aria-label'))")
        page.click(".chart details summary")
        page.wait("document.querySelectorAll('.chart tbody tr').length > 0")
        roles = self.check_names(page)
        self.assertEqual(roles.count("image"), 5)
        time.sleep(3)
        self.check_look(page)
        page.click("#tab-chat")
        page.wait("!document.getElementById('view-chat').hidden")
        time.sleep(1.2)
        asked = sum("stats" in u for u in page.urls)
        time.sleep(1.5)
        self.assertEqual(sum("stats" in u for u in page.urls), asked, "it asks while it is not seen")

    def test_a_screen_reader_finds_its_way(self):
        page = self.open()
        self.send(page, "Good morning")
        roles = self.check_names(page)
        for landmark in ("banner", "navigation", "main", "complementary", "heading", "status"):
            self.assertIn(landmark, roles)
        self.assertEqual(page.eval("document.documentElement.lang"), "en")
        page.click("#open-settings")
        page.wait("document.getElementById('settings').open")
        self.check_names(page)
        page.key("Escape")
        page.wait("!document.getElementById('settings').open")
        self.assertEqual(page.eval("document.activeElement.id"), "open-settings")
        page.eval("document.getElementById('skip').focus()")
        self.assertGreaterEqual(page.eval("document.getElementById('skip').getBoundingClientRect().top"), 0)
        page.key("Enter")
        self.assertEqual(page.eval("document.activeElement.id"), "prompt")
        self.assertTrue(page.text(".answer .text").strip(), "the conversation is still open")

    def test_everything_can_be_reached_with_tab(self):
        page = self.open()
        wanted = set(page.eval("[...document.querySelectorAll('header :is(a, button), aside :is(a, button), main :is(button, select, textarea)')]"
                               ".filter((n) => n.checkVisibility()).map((n) => n.id || n.textContent)"))
        self.assertGreater(len(wanted), 10)
        met = set()
        for _ in range(40):
            page.key("Tab")
            met.add(page.eval("document.activeElement.id || document.activeElement.textContent"))
            shown = page.eval("""(() => { const n = document.activeElement;
                if (n === document.body || n.id === 'prompt') return true;
                return getComputedStyle(n).outlineStyle !== 'none'; })()""")
            self.assertTrue(shown, "the focus is not seen")
        self.assertEqual(wanted - met, set())


class Looks(PageTest):
    """Contrast, widths, screenshots; of a page with something on it."""

    def fill(self, page):
        if URL:
            return self.send(page, "What is 4718 + 2963?")
        self.send(page, "Explain markdown: how does pressure grow in the deep sea?")
        page.eval("document.getElementById('scroller').scrollTop = 0")
        time.sleep(0.2)

    def look(self, name, **how):
        page = self.open(**how)
        page.wait("document.getElementById('model').value")
        self.check_look(page)
        self.shoot(page, f"{name}-start")
        self.fill(page)
        self.check_look(page)
        self.shoot(page, name)
        return page

    def test_desktop_light(self):
        page = self.look("desktop-light")
        page.click("#open-settings")
        page.click("#tools-example")
        self.check_look(page)
        self.shoot(page, "settings")

    def test_desktop_dark(self):
        page = self.look("desktop-dark", dark=True)
        self.assertEqual(page.eval("getComputedStyle(document.body).colorScheme"), "light dark")

    def test_the_switch_overrules_the_system(self):
        page = self.open(dark=True)
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.eval(ground)
        page.click("#open-theme")
        self.assertEqual(page.eval("document.documentElement.dataset.theme"), "light")
        self.assertNotEqual(page.eval(ground), dark)
        page.command("Page.reload")
        page.wait("document.readyState === 'complete'")
        self.assertEqual(page.eval("document.documentElement.dataset.theme"), "light")
        page.click("#open-theme")
        self.assertEqual(page.eval(ground), dark)
        self.assertEqual(page.eval("document.getElementById('open-theme').getAttribute('aria-label')"), "Theme: dark")

    def test_phone(self):
        page = self.look("phone", width=360, height=740)
        page.click("#menu")
        page.wait("document.getElementById('side').getBoundingClientRect().left === 0")
        self.assertEqual(page.eval("document.activeElement.id"), "new-chat")
        self.assertTrue(page.eval("document.getElementById('main').inert"))
        self.check_names(page)
        self.shoot(page, "phone-drawer")
        page.key("Escape")
        page.wait("document.getElementById('side').getBoundingClientRect().right <= 0")
        page.click("#open-settings")
        self.check_look(page)
        page.key("Escape")

    def test_live_view(self):
        for name, how in (("live", {"height": 1000}), ("live-dark", {"dark": True, "height": 1000}),
                          ("live-phone", {"width": 360, "height": 740})):
            page = self.open(**how)
            page.click("#tab-server")
            time.sleep(12 if name == "live" else 4)
            self.check_look(page)
            self.shoot(page, name)

    def test_still_when_motion_is_reduced(self):
        page = self.open(more_media=[{"name": "prefers-reduced-motion", "value": "reduce"}])
        self.send(page, "Please think, endless" if URL is None else "Good morning", wait=False)
        page.wait("document.querySelector('.answer')")
        self.assertEqual(page.eval("document.getAnimations().length"), 0)


@unittest.skipIf(URL, "needs the canned streams of the test double")
class Canned(PageTest):
    def request(self):
        return self.double.requests[-1]

    def test_reasoning_is_folded_and_opens_by_key(self):
        page = self.open()
        self.send(page, "think", wait=False)
        page.wait(f"{BUSY} && document.querySelector('.reasoning.live')")
        self.assertFalse(page.eval("document.querySelector('.reasoning').open"))
        page.wait(IDLE)
        self.assertRegex(page.text(".reasoning summary"), "^Thought (for|briefly)")
        self.assertEqual(page.text(".answer .text"), "Forty-two.")
        self.assertFalse(page.eval("document.querySelector('.reasoning-text').checkVisibility()"))
        page.eval("document.querySelector('.reasoning summary').focus()")
        page.key("Enter")
        self.assertEqual(page.text(".reasoning-text"), "First I look at the question. <b>Then</b> I answer it.")
        page.key(" ")
        self.assertFalse(page.eval("document.querySelector('.reasoning').open"))
        # The history carries the reasoning.
        self.send(page, "again")
        sent = self.request()["messages"][1]
        self.assertEqual((sent["content"], sent["reasoning_content"][:14]), ("Forty-two.", "First I look a"))

    def test_text_appears_while_it_streams(self):
        page = self.open()
        self.send(page, "endless", wait=False)
        page.wait(f"{LAST} && {LAST}.innerText.includes('word word')")
        first = page.eval(f"{LAST}.innerText.length")
        self.assertEqual(page.eval(f"{LAST}.getAttribute('aria-busy')"), "true")
        page.wait(f"{LAST}.innerText.length > {first}")
        spoken = page.eval("document.getElementById('announcer').textContent")
        self.assertNotIn("word", spoken, "tokens are not announced")
        page.key("Escape")
        page.wait(IDLE)
        self.assert_left("endless")
        self.assertIn("Stopped.", page.text(".answer"))
        self.assertEqual(page.eval(f"{LAST}.getAttribute('aria-busy')"), "false")
        page.wait("document.getElementById('announcer').textContent === 'Stopped.'")

    def assert_left(self, words):
        end = time.monotonic() + 10
        while words not in self.double.left_early and time.monotonic() < end:
            time.sleep(0.05)
        self.assertIn(words, self.double.left_early)

    def test_stop_before_the_first_token(self):
        page = self.open()
        self.send(page, "never begin", wait=False)
        page.wait(f"{BUSY} && document.querySelector('.waiting').checkVisibility()")
        page.click("#stop")
        page.wait(IDLE)
        self.assert_left("never begin")
        self.send(page, "Hello")
        self.assertEqual([m["role"] for m in self.request()["messages"]], ["user", "user"])

    def test_an_answer_goes_on_behind_another_conversation(self):
        page = self.open()
        self.send(page, "endless too", wait=False)
        page.wait(BUSY)
        page.click("#new-chat")
        page.wait(f"{IDLE} && !document.querySelector('.answer')")
        self.send(page, "Hello")
        self.assertIn("Hello", page.text(".answer .text"))
        page.eval("document.querySelectorAll('#chat-list a')[1].click()")
        page.wait(f"{BUSY} && {LAST}.innerText.includes('word')")
        page.key("Escape")
        page.wait(IDLE)

    def test_another_answer_and_an_edit(self):
        page = self.open()
        self.send(page, "one")
        self.send(page, "two")
        page.click(".answer:last-child [aria-label='Another answer']")
        page.wait(f"{LAST} && {IDLE} && document.querySelectorAll('.message').length === 4")
        self.assertEqual([m["content"] for m in self.request()["messages"]][0::2], ["one", "two"])
        self.assertEqual(len(self.request()["messages"]), 3)
        page.eval("document.querySelector('.user [aria-label=\"Edit message\"]').click()")
        self.assertEqual(page.eval("document.activeElement.value"), "one")
        page.key("Escape")
        page.wait("document.querySelectorAll('.message').length === 4 && !document.querySelector('.editing')")
        page.eval("document.querySelector('.user [aria-label=\"Edit message\"]').click()")
        page.eval("document.activeElement.select()")
        page.type("other")
        page.click(".editing [type=submit]")
        page.wait(f"{IDLE} && document.querySelectorAll('.message').length === 2")
        self.assertEqual(self.request()["messages"], [{"role": "user", "content": "other"}])
        self.assertIn("other", page.text(".answer .text"))

    def test_a_tool_call_and_its_result(self):
        page = self.open()
        page.click("#open-settings")
        page.click("#tools-example")
        page.click("#settings [type=submit]")
        self.send(page, "tool")
        self.assertEqual(self.request()["tools"][0]["function"]["name"], "get_weather")
        self.assertEqual(page.text(".call code"), "get_weather")
        self.assertEqual(json.loads(page.text(".call pre")), {"city": "Oslo"})
        self.check_names(page)
        self.shoot(page, "tool-call")
        self.send(page, "ignored", wait=False)  # the call is open: nothing is sent
        self.assertEqual(self.request()["messages"][-1]["content"], "tool")
        page.eval("document.querySelector('.call textarea').focus()")
        page.type('{"sky": "grey"}')
        page.click(".calls [type=submit]")
        page.wait(f"{IDLE} && document.querySelectorAll('.answer').length === 2")
        _, assistant, tool = self.request()["messages"]
        self.assertEqual(assistant, {
            "role": "assistant", "content": None, "reasoning_content": "I need the weather.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": {
                "name": "get_weather", "arguments": '{"city": "Oslo"}'}}]})
        self.assertEqual(tool, {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "grey"}'})
        self.assertIn("grey", page.text(".answer:last-child .text"))
        page.click(".call summary")
        self.assertEqual(json.loads(page.text(".call details pre")), {"sky": "grey"})

    def test_two_calls_at_once(self):
        page = self.open()
        self.send(page, "two tools")
        self.assertEqual(page.eval("[...document.querySelectorAll('.call code')].map((c) => c.textContent)"),
                         ["get_weather", "get_time"])
        for i, text in enumerate(("rain", "noon")):
            page.eval(f"document.querySelectorAll('.call textarea')[{i}].focus()")
            page.type(text)
        page.click(".calls [type=submit]")
        page.wait(f"{IDLE} && document.querySelectorAll('.answer').length === 2")
        self.assertEqual([(m["tool_call_id"], m["content"]) for m in self.request()["messages"][2:]],
                         [("call_a", "rain"), ("call_b", "noon")])

    def test_errors_are_shown_as_text(self):
        page = self.open()
        self.expected = ["Failed to load resource"]
        self.send(page, "refuse this")
        self.assertIn("Error 400. The prompt has <b>9</b> tokens too many.", page.text(".answer .error"))
        page.wait("document.getElementById('announcer').textContent.startsWith('Error: The prompt')")
        self.check_look(page)
        self.send(page, "busy")
        self.assertIn("The queue is full. Try again in 7 s.", page.text(".answer:last-child .error"))
        self.send(page, "fail late")
        self.assertIn("The device was lost.", page.text(".answer:last-child .error"))
        self.send(page, "break it")
        self.assertIn("broke off", page.text(".answer:last-child .error"))
        self.send(page, "cut")
        self.assertIn("longest length", page.text(".answer:last-child .note"))
        # Answers that failed without a word are not sent back.
        self.assertNotIn("", [m["content"] for m in self.request()["messages"]])

    def test_try_again_after_an_error(self):
        page = self.open()
        self.expected = ["Failed to load resource"]
        self.send(page, "busy")
        count = len(self.double.requests)
        page.click(".error button")
        page.wait(f"{IDLE} && document.querySelector('.error')")
        self.assertEqual(len(self.double.requests), count + 1)

    def test_output_of_the_model_stays_text(self):
        page = self.open()
        self.send(page, "hostile")
        page.eval("document.querySelector('.reasoning').open = true")
        self.assertEqual(page.text(".reasoning-text"), "<script>window.hacked = 1</script>")
        shown = page.text(".answer .text")
        for piece in ('<script>window.hacked = 1</script>', '<img src=x onerror="window.hacked = 1">',
                      '<b onclick=hacked>', '<iframe src="https://evil.example/">', '<svg onload='):
            self.assertIn(piece, HOSTILE)
            self.assertIn(piece, shown)
        made = page.eval("[...new Set([...document.querySelectorAll('.answer .text *')].map((n) => n.localName))]")
        self.assertEqual(set(made) & {"script", "img", "iframe", "b", "object", "style"}, set())
        links = page.eval("[...document.querySelectorAll('.answer .text a')].map((a) => [a.href, a.rel, a.target])")
        self.assertTrue(links)
        for href, rel, target in links:
            self.assertRegex(href, "^https?://")
            self.assertIn("noopener", rel)
            self.assertEqual(target, "_blank")
        self.assertFalse(page.eval("'hacked' in window"))
        self.send(page, "<script>window.hacked = 1</script>")
        self.assertFalse(page.eval("'hacked' in window"))

    def test_markdown(self):
        page = self.open()
        self.send(page, "markdown")
        tags = page.eval("[...document.querySelector('.answer .text').children].map((n) => n.className || n.localName)")
        self.assertEqual(tags, ["h3", "p", "ol", "table", "code", "blockquote", "hr", "p", "p"])
        def one(selector):
            return page.text(".answer .text " + selector)
        self.assertEqual(one("strong"), "one atmosphere")
        self.assertEqual(one("p code"), "1,000 bar")
        self.assertEqual(page.eval("[...document.querySelectorAll('.answer p a')].map((a) => a.getAttribute('href'))"),
                         ["https://example.org/hadal", "https://example.org/a"])
        self.assertEqual(one("ol > li:nth-child(2) > ul > li:nth-child(2)"), "Tonga, 10,820 m")
        self.assertEqual(one("tbody tr:nth-child(3) td:nth-child(2)"), "11,000")
        self.assertIn("return 1.0 + metres / 9.95;", one(".code pre"))
        self.assertEqual(one("> hr + p"), "snake_case_name stays, 2 * 3 * 4 too, and this goes.")
        self.assertEqual(one("> p:last-child"), r"By \( p = \rho_w * g * h \): *not slanted*, $5 and $6.")
        self.assertEqual(one(".formula"), r"\( p = \rho_w * g * h \)")
        self.assertEqual(one("del"), "this")

    def test_hostile_lengths_take_no_time(self):
        page = self.open()
        took = page.eval("""(async () => {
            const { renderInto } = await import('./page/markdown.js');
            const worst = ['['.repeat(50000) + '](', '**a '.repeat(30000), '`'.repeat(300) + ' `a'.repeat(30000),
              '> '.repeat(20000) + 'x', '- '.repeat(20000) + 'x', '_a'.repeat(40000), ' '.repeat(60000) + '-x',
              '|'.repeat(50000) + '\\n' + '|-'.repeat(50000), '<'.repeat(60000), '![a]('.repeat(20000), '#'.repeat(60000),
              '\\\\('.repeat(30000), '$$$'.repeat(30000)];
            const times = [];
            for (const text of worst) {
              const begin = performance.now();
              const box = document.createElement('div');
              renderInto(box, text);
              if (!box.textContent) throw new Error('lost: ' + text.slice(0, 9));
              times.push(Math.round(performance.now() - begin));
            }
            return times;
        })()""")
        self.assertLess(max(took), 2000, took)

    def test_settings_reach_the_request(self):
        page = self.open()
        page.click("#open-settings")
        values = {"system": "Be brief.", "temperature": "0.5", "top_p": "0.9", "max_tokens": "77", "seed": "42"}
        for name, value in values.items():
            page.eval(f"document.querySelector('#settings [name={name}]').focus()")
            page.type(value)
        page.click("#settings [type=submit]")
        page.eval("(() => { const s = document.getElementById('thinking'); s.value = 'off'; s.dispatchEvent(new Event('change')); })()")
        page.eval("(() => { const s = document.getElementById('model'); s.value = 'double-pro'; s.dispatchEvent(new Event('change')); })()")
        self.send(page, "Hello")
        self.assertEqual(self.request(), {
            "model": "double-pro", "stream": True, "stream_options": {"include_usage": True},
            "thinking": {"type": "disabled"}, "temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "seed": 42,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]})
        page.eval("(() => { const s = document.getElementById('thinking'); s.value = 'max'; s.dispatchEvent(new Event('change')); })()")
        self.send(page, "Hello")
        self.assertEqual((self.request()["thinking"], self.request()["reasoning_effort"]), ({"type": "enabled"}, "max"))

    def test_tools_that_cannot_be_read_are_refused(self):
        page = self.open()
        page.click("#open-settings")
        page.eval("document.getElementById('s-tools').focus()")
        page.type("[{]")
        self.assertIn("no JSON", page.text("#s-tools-note"))
        page.click("#settings [type=submit]")
        self.assertTrue(page.eval("document.getElementById('settings').open"))
        self.assertEqual(page.eval("document.activeElement.id"), "s-tools")
        page.key("Escape")

    def test_conversations_are_kept_named_exported_deleted(self):
        page = self.open()
        self.send(page, "First topic")
        page.click("#new-chat")
        self.send(page, "Second topic")
        titles = "[...document.querySelectorAll('#chat-list a')].map((a) => a.textContent)"
        self.assertEqual(page.eval(titles), ["Second topic", "First topic"])
        page.eval("document.querySelectorAll('#chat-list a')[1].click()")
        page.wait("document.querySelector('.user .text').textContent === 'First topic'")
        page.click("#rename-chat")
        page.eval("document.getElementById('rename-text').select()")
        page.type("Trenches")
        page.key("Enter")
        page.wait("document.getElementById('chat-title').textContent === 'Trenches'")
        with tempfile.TemporaryDirectory() as folder:
            page.browser.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=folder,
                                 browserContextId=page.context)
            page.click("#export-chat")
            file = pathlib.Path(folder) / "hadal-Trenches.json"
            end = time.monotonic() + 10
            while not file.exists() and time.monotonic() < end:
                time.sleep(0.05)
            saved = json.loads(file.read_text())
        self.assertEqual([m["role"] for m in saved["messages"]], ["user", "assistant"])
        page.click("#delete-chat")
        page.wait("document.getElementById('confirm').open")
        page.click("#confirm [data-close]")
        self.assertEqual(len(page.eval(titles)), 2)
        page.click("#delete-chat")
        page.click("#confirm [type=submit]")
        page.wait(f"({titles}).length === 1")
        self.assertEqual(page.eval("Object.keys(localStorage).filter((k) => k.startsWith('hadal.chat.')).length"), 1)

    def test_all_conversations_are_deleted_runs_too(self):
        page = self.open()
        self.send(page, "Hello")
        page.click("#new-chat")
        self.send(page, "endless background", wait=False)
        page.wait(f"{BUSY} && {LAST}.innerText.includes('word')")
        page.click("#open-settings")
        page.click("#delete-all")
        page.click("#confirm [type=submit]")
        page.wait("document.querySelectorAll('#chat-list a').length === 0 && !document.querySelector('.message')")
        self.assert_left("endless background")
        self.assertFalse(page.eval("document.getElementById('settings').open"))
        time.sleep(2.5)  # longer than a run waits before it is kept again
        self.assertEqual(page.eval("Object.keys(localStorage).filter((k) => k.startsWith('hadal.chat.'))"), [])

    def test_a_key_is_asked_for_and_used(self):
        locked = Double(needs_key=True).start()
        self.addCleanup(locked.server_close)
        self.addCleanup(locked.shutdown)
        page = self.open(locked.url)
        self.expected = ["401"]
        for key in ("sk-wrong", KEY):
            page.wait("document.getElementById('key').open")
            self.assertEqual(page.eval("document.activeElement.id"), "key-text")
            page.type(key)
            page.key("Enter")
        page.wait("document.getElementById('model').value === 'double-flash'")
        self.send(page, "Hello")
        self.assertIn("Hello", page.text(".answer .text"))
        self.assertEqual(page.eval("sessionStorage.getItem('hadal.key')"), KEY)
        self.assertNotIn(KEY, page.eval("JSON.stringify(localStorage)"))

    def test_the_live_view_asks_for_a_key_once(self):
        locked = Double(needs_key=True).start()
        self.addCleanup(locked.server_close)
        self.addCleanup(locked.shutdown)
        page = self.open(locked.url + "#server")
        self.expected = ["401"]
        page.wait("document.getElementById('key').open")
        page.wait("document.getElementById('server-state').textContent.includes('API key')")
        page.type(KEY)
        page.key("Enter")
        page.wait("document.getElementById('server-state').textContent === 'Ready'")
        self.assertFalse(page.eval("document.getElementById('key').open"))

    def test_another_tab_sees_what_is_kept(self):
        page = self.open()
        self.send(page, "From the first tab")
        other = Page(self.browser, self.url, context=page.context)
        self.assertEqual(other.text("#chat-list a"), "From the first tab")
        self.send(page, "And more")
        other.click("#chat-list a")
        other.wait("document.querySelectorAll('.answer').length === 2")
        page.click("#delete-chat")
        page.click("#confirm [type=submit]")
        other.wait("document.querySelectorAll('#chat-list a').length === 0")
        other.close()

    def test_enter_and_shift_enter(self):
        page = self.open()
        page.type("one")
        page.key("Enter", shift=True)
        page.type("two")
        self.assertEqual(page.eval("document.getElementById('prompt').value"), "one\ntwo")
        page.key("Enter")
        page.wait(f"{LAST} && {IDLE}")
        self.assertEqual(self.request()["messages"][0]["content"], "one\ntwo")

    def test_scrolling_back_is_respected(self):
        page = self.open(height=500)
        self.send(page, "long", wait=False)
        page.wait("document.querySelectorAll('.answer p').length > 30")
        page.eval("document.getElementById('scroller').scrollTop = 0")
        page.wait(IDLE)
        self.assertEqual(page.eval("document.getElementById('scroller').scrollTop"), 0)
        page.click("#to-end")
        page.wait("(() => { const s = document.getElementById('scroller');"
                  "return s.scrollHeight - s.scrollTop - s.clientHeight < 2; })()")


def missing():
    print("chromium-headless-shell is not installed: tools/setup.sh page")
    sys.exit(1 if "chromium" in os.environ.get("HADAL_REQUIRE", "") else 77)


if __name__ == "__main__":
    if not PROGRAM:
        missing()
    unittest.main(argv=sys.argv[:1], verbosity=2)
