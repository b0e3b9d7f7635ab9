"""hadal chat: a dialogue, typed and piped."""
import re
import string

from support import ModelTest, Terminal, hadal, main

ONE = ["--threads", "1"]
# Byte tokens have the ids 3, 4, 5 ... for "!" and on; the model is made to use letters only.
LETTERS = [f"--logit-bias={ord(c) - 30}=1000" for c in string.ascii_lowercase]


class Piped(ModelTest):
    def chat(self, text, *args, **more):
        return hadal("chat", self.model, *ONE, *args, stdin=text.encode(), **more)

    def test_lines_are_messages(self):
        out, err = self.chat("Hi\n\nAgain\n", "-n", 12, *LETTERS)
        self.assertRegex(out.decode(), r"\A[a-z]{12}\n[a-z]{12}\n\Z")
        self.assertNotIn("> ", err)
        self.assertRegex(err, r"answer 24 tokens, .* peak memory")
        self.assertEqual(self.chat("Hi\n\nAgain", "-n", 12, *LETTERS)[0], out)

    # A later answer must not depend on how the state came about: the chat goes on from what it
    # holds, the run below computes the same conversation from its beginning.
    def test_second_turn_equals_the_whole_conversation(self):
        args = ["-n", 12, *LETTERS]
        first, second = self.chat("Hi\nMore\n", *args)[0].decode().split()
        prompt = (f"<｜User｜>Hi<｜Assistant｜></think>{first}<｜end▁of▁sentence｜>"
                  f"<｜User｜>More<｜Assistant｜></think>")
        out, _ = hadal("run", self.model, *ONE, "--control-tokens", "-p", prompt, *args)
        self.assertEqual(out.decode().strip(), second)

    def test_second_turn_without_old_reasoning(self):
        args = ["-n", 12, *LETTERS]
        _, err = self.chat("Hi\nMore\n", "--think", "low", *args)
        first, second = re.findall(r"^[a-z]{12}$", err, re.M)
        self.assertNotEqual(first, second)
        prompt = ("<｜User｜>Hi<｜Assistant｜></think><｜end▁of▁sentence｜>"
                  "<｜User｜>More<｜Assistant｜><think>")
        out, _ = hadal("run", self.model, *ONE, "--control-tokens", "-p", prompt, *args)
        self.assertEqual(out.decode().strip(), second)

    def test_reset_forgets(self):
        args = ["-n", 12, *LETTERS]
        a = self.chat("Hi\nHi\n/reset\nHi\n", *args)[0].decode().split()
        self.assertEqual(a[0], a[2])
        self.assertNotEqual(a[0], a[1])

    def test_commands(self):
        out, err = self.chat("/help\n/think\n/think high\n/think deep\n/dance\n/quit\nnever seen\n")
        self.assertEqual(out, b"")
        for text in ("/reset        forget", "thinking: none", "thinking: high",
                     "no level 'deep': none, low, high or max",
                     "no command '/dance': /help lists them"):
            self.assertIn(text, err)

    def test_full_context(self):
        out, err = self.chat("Hi\nthis does not fit any more\n/reset\nHi\n", "--ctx", 24, *LETTERS)
        a = out.decode().split()
        self.assertEqual(len(a), 2)
        self.assertEqual(a[0], a[1])
        self.assertEqual(len(a[0]), 18)  # 6 tokens of prompt
        self.assertIn("cut off: context full; try /reset", err)
        self.assertIn("/reset forgets the chat so far", err)

    def test_continued_line(self):
        out, _ = self.chat("one\\\ntwo\n", "-n", 12, *LETTERS)
        run, _ = hadal("run", self.model, *ONE, "--chat", "-p", "one\ntwo", "-n", 12, *LETTERS)
        self.assertEqual(out, run)


class Typed(ModelTest):
    def start(self, *args, **more):
        t = Terminal("chat", self.model, *ONE, *LETTERS, *args, **more)
        self.assertIn("/help lists the commands", t.read("> "))
        return t

    def end(self, t):
        t.type("\x04")
        self.assertEqual(t.close(), 0)
        self.assertIn(b"peak memory", t.output)

    def test_answer_and_history(self):
        t = self.start("-n", 12)
        t.type("Hi\r")
        first = re.search(r"\n([a-z]{12})\r?\n", t.read("> "))
        self.assertTrue(first)
        t.type("/reset\r")
        t.read("forgotten")
        t.read("> ")
        t.type("\x1b[A\x1b[A\r")  # twice up: the line before /reset
        t.read(first.group(1))
        t.read("> ")
        self.end(t)

    def test_editing(self):
        t = self.start("-n", 3)
        t.type("/helX\x7fp\r")
        t.read("/quit         end")
        t.read("> ")
        t.type("Hi\r")
        t.read("> ")
        self.end(t)

    def test_interrupt_stops_the_answer_only(self):
        t = self.start("--ctx", 50000)
        t.type("Hi\r")
        t.read("Hi")
        t.read("a")  # the answer has begun
        t.type("\x03")
        t.read("> ")
        t.type("/help\r")
        t.read("forget the chat so far")
        t.read("> ")
        self.end(t)

    def test_interrupt_while_typing_drops_the_line(self):
        t = self.start("-n", 12)
        t.type("/dance")
        t.read("/dance")
        t.type("\x03")
        t.read("> ")
        t.type("/think\r")
        self.assertNotIn("no command", t.read("thinking: none"))
        t.read("> ")
        t.type("Hi\r")
        t.read("> ")
        self.end(t)

    # In one go with the keys behind it: the program cannot have waited for either.
    def test_interrupt_drops_only_what_came_before(self):
        t = self.start("-n", 12)
        for _ in range(20):
            t.type("/dance")
            t.read("/dance")
            t.type("\x03/think\r")
            self.assertNotIn("no command", t.read("thinking: none"))
            t.read("> ")
        t.type("one\\\r")
        t.read(". ")
        t.type("two\x03/help\r")
        t.read("forget the chat so far")
        t.read("> ")
        t.type("\x12dan\x03/think\r")  # in a search of the history
        t.read("thinking: none")
        t.read("> ")
        t.type("Hi\r")
        t.read("> ")
        self.end(t)

    def test_reasoning_is_dimmed(self):
        t = self.start("-n", 12, "--think", "low")
        t.type("Hi\r")
        self.assertRegex(t.read("> "), r"\x1b\[2m[a-z]{12}\x1b\[0m")
        self.end(t)
        t = self.start("-n", 12, "--think", "low", env={"NO_COLOR": "1"})
        t.type("Hi\r")
        self.assertNotIn("\x1b[2m", t.read("> "))
        self.end(t)


if __name__ == "__main__":
    main()
