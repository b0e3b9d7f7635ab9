"""Messages through the package anthropic, as Claude Code and agents on the SDK send them."""
import json

import anthropic

from apitest import (FUNCTIONS, HELLO, LOOP, ONE_ARGS, ONE_CALL, PERSON, SUM, TOWN, TWO_CALLS,
                     ApiTest, main)

TOOLS = [{"name": f["name"], "description": f["description"], "input_schema": f["parameters"]}
         for f in FUNCTIONS]
OFF = {"thinking": {"type": "disabled"}}
GREEDY = {"extra_body": {"temperature": 0}}  # the package has no such argument any more


def user(content):
    return {"role": "user", "content": content}


def assistant(message):
    """An answer as it is sent back."""
    return {"role": "assistant", "content": [b.model_dump(exclude_none=True)
                                             for b in message.content]}


def of_type(message, kind):
    return [b for b in message.content if b.type == kind]


def text_of(message):
    return "".join(b.text for b in of_type(message, "text"))


def calls_of(message):
    return [(b.name, b.input) for b in of_type(message, "tool_use")]


def result(call, text):
    return {"type": "tool_result", "tool_use_id": call.id, "content": text}


class ClientTest(ApiTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = anthropic.Anthropic(api_key="any", base_url=cls.url, max_retries=0)

    def body(self, content, more):
        messages = content if isinstance(content, list) else [user(content)]
        return {"model": "claude-sonnet-5", "max_tokens": 300, "messages": messages, **GREEDY, **more}

    def ask(self, content, /, **more):
        return self.client.messages.create(**self.body(content, more))

    def stream(self, content, /, **more):
        """(events, final message)"""
        with self.client.messages.stream(**self.body(content, more)) as stream:
            events = list(stream)
            return events, stream.get_final_message()


class Messages(ClientTest):
    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["demo", "small", "gpt-hadal"])
        got = self.client.models.retrieve("demo")
        self.assertEqual((got.display_name, got.lifecycle), ("demo", "active"))
        self.assertGreater(got.max_input_tokens, 1000)

    def test_plain(self):
        got = self.ask(HELLO, system="You are a helpful assistant.")
        self.assertEqual((got.type, got.role, got.model), ("message", "assistant", "claude-sonnet-5"))
        self.assertEqual((got.stop_reason, got.stop_sequence), ("end_turn", None))
        self.assertIn("help", text_of(got))
        self.assertEqual([b.type for b in got.content], ["thinking", "text"])
        self.assertTrue(got.content[0].signature)
        self.assertTrue(got._request_id.startswith("req_"))
        events, last = self.stream(HELLO, system="You are a helpful assistant.")
        self.assertEqual(text_of(last), text_of(got))
        self.assertEqual(last.content[0].thinking, got.content[0].thinking)
        self.assertTrue(last.content[0].signature)
        self.assertEqual(last.usage.output_tokens, got.usage.output_tokens)
        kinds = [e.type for e in events]
        self.assertEqual((kinds[0], kinds[-1]), ("message_start", "message_stop"))
        for beta in self.client.beta.messages.create(**self.body(HELLO, {"stream": True})):
            self.assertIsNotNone(beta.type)

    def test_thinking(self):
        for more, thinks in ((OFF, False), ({"thinking": {"type": "adaptive"}}, True), ({}, True),
                             ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
                             *(({"output_config": {"effort": e}}, True)
                               for e in ("low", "medium", "high", "max"))):
            with self.subTest(more):
                got = self.ask(SUM, **more)
                self.assertEqual(bool(of_type(got, "thinking")), thinks)
                self.assertEqual(got.usage.output_tokens_details.thinking_tokens > 0, thinks)
                if thinks:
                    self.assertEqual(text_of(got), "42")
        got = self.ask(SUM, thinking={"type": "adaptive", "display": "omitted"})
        self.assertEqual(got.content[0].thinking, "")
        self.assertTrue(got.content[0].signature)
        self.assertEqual(text_of(got), "42")

    def test_count_tokens(self):
        for more in ({}, {"system": "Be brief."}, {"tools": TOOLS}, OFF):
            n = self.client.messages.count_tokens(model="demo", messages=[user(HELLO)], **more)
            u = self.ask(HELLO, **{**more, "max_tokens": 1}).usage
            self.assertEqual(n.input_tokens, u.input_tokens + u.cache_read_input_tokens)

    def test_limits_and_stops(self):
        self.assertEqual(self.ask(HELLO, max_tokens=2).stop_reason, "max_tokens")
        whole = text_of(self.ask(HELLO, **OFF))
        got = self.ask(HELLO, stop_sequences=["zzz", "can"], **OFF)
        self.assertEqual((text_of(got), got.stop_reason, got.stop_sequence),
                         (whole.split("can")[0], "stop_sequence", "can"))

    def test_formats(self):
        schema = {"format": {"type": "json_schema", "schema": PERSON}}
        for more in (OFF, {}):
            got = json.loads(text_of(self.ask("Who is the baker?", output_config=schema, **more)))
            self.assertEqual(list(got), ["name", "married", "pet"])

    def test_prefill(self):
        whole = text_of(self.ask(HELLO, **OFF))
        begun = [user(HELLO), {"role": "assistant", "content": "Hello!"}]
        self.assertEqual("Hello!" + text_of(self.ask(begun, **OFF)), whole)

    def test_blocks(self):
        """System blocks, several texts, a document of text, a system message in between."""
        got = self.ask([user([{"type": "text", "text": "Some text."},
                              {"type": "document", "source": {"type": "text", "data": "A lamp.",
                                                              "media_type": "text/plain"}},
                              {"type": "text", "text": HELLO,
                               "cache_control": {"type": "ephemeral"}}]),
                        {"role": "system", "content": "Answer soon."}, user(HELLO)],
                       system=[{"type": "text", "text": "Be kind."},
                               {"type": "text", "text": "Be brief."}], max_tokens=5)
        self.assertEqual(got.usage.output_tokens, 5)
        with self.assertRaises(anthropic.BadRequestError) as e:
            self.ask([user([{"type": "image", "source": {"type": "base64", "data": "AA==",
                                                         "media_type": "image/png"}}])])
        self.assertIn("messages[0].content[0].type", str(e.exception))

    def test_billing_header(self):
        """Requests that differ in the header alone are the same to the model and to the cache."""
        usages = []
        for cch in ("aaaa", "bbbb"):
            system = [{"type": "text",
                       "text": f"x-anthropic-billing-header: cc_version=2.1.36; cch={cch};"},
                      {"type": "text", "text": "The old goat carries a red lamp. " * 40}]
            body = self.body(HELLO, {"system": system, "max_tokens": 1,
                                     "metadata": {"user_id": "bill"}})
            usages.append(self.client.messages.create(**body).usage)
            n = self.client.messages.count_tokens(model="demo", system=system[1:],
                                                  messages=[user(HELLO)]).input_tokens
        whole = usages[1].input_tokens + usages[1].cache_read_input_tokens
        self.assertEqual(usages[0].cache_read_input_tokens, 0)
        self.assertEqual(usages[0].input_tokens, whole)
        self.assertEqual(n, whole)
        self.assertGreaterEqual(usages[1].cache_read_input_tokens, whole - 128)


class Tools(ClientTest):
    def test_calls(self):
        self.assertEqual(calls_of(self.ask(HELLO, tools=TOOLS)), [])
        for more in (OFF, {}):
            for text, want in ((ONE_CALL, [("calculator", ONE_ARGS)]),
                               (TWO_CALLS, [("calculator", ONE_ARGS), ("clock", TOWN)])):
                got = self.ask(text, tools=TOOLS, **more)
                self.assertEqual((calls_of(got), got.stop_reason), (want, "tool_use"))
                self.assertEqual(bool(of_type(got, "thinking")), not more)
                events, last = self.stream(text, tools=TOOLS, **more)
                self.assertEqual((calls_of(last), last.stop_reason), (want, "tool_use"))
                pieces = "".join(e.partial_json for e in events if e.type == "input_json")
                self.assertEqual(pieces.count("{"), len(want))

    def test_choice(self):
        for more in (OFF, {}):
            def names(text, choice):
                return [n for n, _ in calls_of(self.ask(text, tools=TOOLS, tool_choice=choice,
                                                        **more))]
            self.assertEqual(names(ONE_CALL, {"type": "tool", "name": "clock"}), ["clock"])
            self.assertTrue(names(HELLO, {"type": "any"}))
            self.assertEqual(names(ONE_CALL, {"type": "none"}), [])
            self.assertEqual(names(TWO_CALLS, {"type": "auto", "disable_parallel_tool_use": True}),
                             ["calculator"])

    def test_results(self):
        """Several results in one message, out of order, text behind them."""
        for more in (OFF, {}):
            first = self.ask(TWO_CALLS, tools=TOOLS, **more)
            one, two = of_type(first, "tool_use")
            back = [result(two, [{"type": "text", "text": "07:45"}]), result(one, "14582")]
            asked = [user(TWO_CALLS), assistant(first), user(back)]
            got = self.ask(asked, tools=TOOLS, **more)
            self.assertIn("14582", text_of(got))
            self.assertIn("07:45", text_of(got))
            asked[-1] = user([*back, {"type": "text", "text": "What time is it in Runa?"}])
            got = self.ask(asked, tools=TOOLS, **more)
            self.assertEqual(calls_of(got), [("clock", {"town": "Runa"})])

    def test_signature(self):
        """Thinking that comes back with its signature alone is the same, to the token; one of
        another service is no error."""
        first = self.ask(HELLO, tools=TOOLS)
        back = assistant(first)

        def count(block):
            turn = {"role": "assistant", "content": [block, *back["content"][1:]]}
            return self.client.messages.count_tokens(
                model="demo", tools=TOOLS, messages=[user(HELLO), turn, user("Thanks.")]).input_tokens

        full = count(back["content"][0])
        self.assertEqual(count({**back["content"][0], "thinking": ""}), full)
        foreign = {"type": "thinking", "thinking": "", "signature": "EpABCkYIBRgCKkD"}
        self.assertLess(count(foreign), full)
        self.assertLess(count({"type": "redacted_thinking", "data": "EpABCkYIBRgCKkD"}), full)

    def loop(self, who, keeps):
        messages, usages, back = [], [], []
        for text, tool, told in LOOP:
            messages.append(user([*back, {"type": "text", "text": text}]))
            got = self.ask(messages, tools=TOOLS, metadata={"user_id": who})
            self.assertEqual([n for n, _ in calls_of(got)], [tool])
            u = got.usage
            usages.append((u.input_tokens + u.cache_read_input_tokens, u.cache_read_input_tokens,
                           u.output_tokens))
            turn = assistant(got)
            turn["content"] = [b for b in turn["content"] if keeps or b["type"] != "thinking"]
            messages.append(turn)
            back = [result(of_type(got, "tool_use")[0], told)]
        return usages

    def test_loop_kept(self):
        self.check_hits(self.loop("keeps", True))

    def test_loop_dropped(self):
        self.check_hits(self.loop("drops", False))

    def test_runner(self):
        """The SDK's own loop wants the server to hold the history, and sends all of it when told
        that it does not."""
        @anthropic.beta_tool
        def clock(town: str) -> str:
            """Tell the time in a town.

            Args:
                town: which
            """
            asked.append(town)
            return "07:45"

        asked = []
        runner = self.client.beta.messages.tool_runner(
            model="demo", max_tokens=300, tools=[clock],
            messages=[user("What time is it in Bergen?")], **GREEDY)
        last = runner.until_done()
        self.assertEqual(asked, ["Bergen"])
        self.assertIn("07:45", text_of(last))
        with self.assertRaises(anthropic.BadRequestError) as e:
            self.client.beta.messages.create(**self.body(HELLO, {"thread": {"type": "create"}}))
        self.assertEqual(e.exception.body["error"]["details"],
                         {"error_code": "thread_unsupported_request", "unsupported": []})


if __name__ == "__main__":
    main()
