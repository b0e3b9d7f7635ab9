"""Chat Completions and Completions through the package openai."""
import json
import math

import openai
import pydantic

from apitest import (HELLO, LOOP, ONE_ARGS, ONE_CALL, PERSON, SUM, TOOLS, TOWN, TWO_CALLS, ApiTest,
                     main)


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=40)
    married: bool


def user(text):
    return {"role": "user", "content": text}


def calls_of(message):
    return [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]


class ClientTest(ApiTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(api_key="any", base_url=cls.url + "/v1", max_retries=0)
        cls.beta = cls.client.with_options(base_url=cls.url + "/beta")

    def ask(self, content, /, **more):
        messages = content if isinstance(content, list) else [user(content)]
        more.setdefault("max_tokens", 300)
        return self.client.chat.completions.create(
            **{"model": "demo", "messages": messages, "temperature": 0, **more})

    def answer(self, content, /, **more):
        return self.ask(content, **more).choices[0].message


class Chat(ClientTest):
    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], ["demo", "small", "gpt-hadal"])
        self.assertEqual(self.client.models.retrieve("small").owned_by, "hadal")
        with self.assertRaises(openai.NotFoundError) as e:
            self.client.models.retrieve("none")
        self.assertEqual(e.exception.code, "model_not_found")

    def test_plain(self):
        whole = self.ask(HELLO, model="gpt-hadal")
        self.assertEqual((whole.model, whole.object), ("gpt-hadal", "chat.completion"))
        self.assertEqual(whole.choices[0].finish_reason, "stop")
        self.assertIn("help", whole.choices[0].message.content)
        self.assertTrue(whole._request_id.startswith("req_"))
        u = whole.usage
        self.assertEqual(u.total_tokens, u.prompt_tokens + u.completion_tokens)
        self.assertEqual(u.prompt_cache_hit_tokens + u.prompt_cache_miss_tokens, u.prompt_tokens)
        text, reasoning, chunks = "", "", []
        for c in self.ask(HELLO, stream=True, stream_options={"include_usage": True}):
            chunks.append(c)
            for choice in c.choices:
                text += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        self.assertEqual(text, whole.choices[0].message.content)
        self.assertEqual(reasoning, whole.choices[0].message.reasoning_content)
        self.assertEqual(chunks[-1].choices, [])
        self.assertEqual(chunks[-1].usage.completion_tokens, u.completion_tokens)
        self.assertEqual(len({c.id for c in chunks}), 1)

    def test_thinking(self):
        off = {"extra_body": {"thinking": {"type": "disabled"}}}
        on = {"extra_body": {"thinking": {"type": "enabled"}}}
        template = {"extra_body": {"chat_template_kwargs": {"thinking": False}}}
        for more, thinks in (({"reasoning_effort": "none"}, False), (off, False), (template, False),
                             ({"reasoning_effort": "low"}, True), ({"reasoning_effort": "high"}, True),
                             ({"reasoning_effort": "medium"}, True), ({"reasoning_effort": "max"}, True),
                             (on, True), ({}, True)):
            with self.subTest(more):
                got = self.ask(SUM, **more)
                message, usage = got.choices[0].message, got.usage
                reasoning = getattr(message, "reasoning_content", None)
                self.assertEqual(bool(reasoning), thinks)
                self.assertEqual(usage.completion_tokens_details.reasoning_tokens > 0, thinks)
                self.assertNotIn("<", message.content)
                if thinks:
                    self.assertEqual(message.content, "42")
        raw = self.client.chat.completions.with_raw_response.create(
            model="demo", messages=[user(SUM)], reasoning_effort="max", max_tokens=1)
        self.assertIn("max", raw.headers["x-hadal-warning"])
        self.assertIn("openai-processing-ms", raw.headers)

    def test_limits_and_stops(self):
        self.assertEqual(self.ask(HELLO, max_tokens=2).choices[0].finish_reason, "length")
        got = self.ask(HELLO, max_completion_tokens=2, max_tokens=100)
        self.assertEqual(got.usage.completion_tokens, 2)
        whole = self.answer(HELLO, reasoning_effort="none").content
        for stop in ("can", ["zzz", "can"]):
            got = self.ask(HELLO, reasoning_effort="none", stop=stop).choices[0]
            self.assertEqual((got.message.content, got.finish_reason),
                             (whole.split("can")[0], "stop"))

    def test_seeds(self):
        told = [self.answer("Tell me about the baker.", temperature=1.5, seed=s, max_tokens=30,
                            reasoning_effort="none").content for s in (1, 1, 2, 3, 4)]
        self.assertEqual(told[0], told[1])
        self.assertGreater(len(set(told)), 1)

    def test_logprobs(self):
        got = self.ask(SUM, logprobs=True, top_logprobs=3).choices[0]
        for text, rows in ((got.message.content, got.logprobs.content),
                           (got.message.reasoning_content, got.logprobs.reasoning_content)):
            rows = [r if isinstance(r, dict) else r.model_dump() for r in rows]
            self.assertEqual(b"".join(bytes(r["bytes"]) for r in rows).decode(), text)
            for r in rows:
                self.assertLessEqual(r["logprob"], 0)
                self.assertEqual(len(r["top_logprobs"]), 3)
                self.assertEqual(r["top_logprobs"][0]["token"], r["token"])  # greedy
                self.assertLessEqual(sum(math.exp(t["logprob"]) for t in r["top_logprobs"]), 1.001)
        streamed = [r for c in self.ask(SUM, logprobs=True, top_logprobs=3, stream=True)
                    for choice in c.choices if choice.logprobs for r in choice.logprobs.content or []]
        self.assertEqual(streamed, got.logprobs.content)

    def test_json(self):
        for effort in ("none", "high"):
            text = self.answer("Write JSON.", response_format={"type": "json_object"},
                               reasoning_effort=effort, max_tokens=2000).content
            self.assertIsInstance(json.loads(text), dict)
            text = self.answer("Who is the baker?", reasoning_effort=effort, response_format={
                "type": "json_schema", "json_schema": {"name": "person", "schema": PERSON,
                                                       "strict": True}}).content
            got = json.loads(text)
            self.assertEqual(list(got), ["name", "married", "pet"])
            self.assertIn(got["pet"], ("cat", "dog"))
        parsed = self.client.chat.completions.parse(
            model="demo", messages=[user("Who is the baker?")], response_format=Person,
            max_tokens=300)
        self.assertIsInstance(parsed.choices[0].message.parsed, Person)

    def test_prefix(self):
        whole = self.answer(HELLO, reasoning_effort="none").content
        begun = [user(HELLO), {"role": "assistant", "content": "Hello!", "prefix": True}]
        for client in (self.client, self.beta):
            got = client.chat.completions.create(
                model="demo", messages=begun, temperature=0, reasoning_effort="none")
            self.assertEqual("Hello!" + got.choices[0].message.content, whole)
        begun[1] |= {"content": "", "reasoning_content": "17+25\n7+5+0"}
        begun[0] = user(SUM)
        self.assertEqual(self.answer(begun).content, "42")

    def test_user_and_cache(self):
        """Prefixes are a user's own."""
        long = "The old goat carries a red lamp to the mill. " * 30
        for who, hits in (("a", False), ("a", True), ("b", False)):
            got = self.ask(long, max_tokens=1, extra_body={"user_id": who}).usage
            self.assertEqual(got.prompt_tokens_details.cached_tokens > 0, hits, who)
            self.assertEqual(got.prompt_cache_hit_tokens, got.prompt_tokens_details.cached_tokens)


class Tools(ClientTest):
    def test_none(self):
        for more in ({}, {"tool_choice": "none"}):
            got = self.ask(HELLO, tools=TOOLS, **more).choices[0]
            self.assertEqual((got.message.tool_calls, got.finish_reason), (None, "stop"))
            self.assertTrue(got.message.content)

    def test_calls(self):
        for effort in ("none", "high"):
            for text, want in ((ONE_CALL, [("calculator", ONE_ARGS)]),
                               (TWO_CALLS, [("calculator", ONE_ARGS), ("clock", TOWN)])):
                got = self.ask(text, tools=TOOLS, reasoning_effort=effort).choices[0]
                self.assertEqual(calls_of(got.message), want)
                self.assertEqual((got.finish_reason, got.message.content), ("tool_calls", None))
                self.assertEqual(len({c.id for c in got.message.tool_calls}), len(want))
                kinds = []
                with self.client.chat.completions.stream(
                        model="demo", messages=[user(text)], tools=TOOLS, temperature=0,
                        reasoning_effort=effort) as stream:
                    kinds = [e.type for e in stream]
                    last = stream.get_final_completion().choices[0]
                self.assertEqual(calls_of(last.message), want)
                self.assertEqual(last.finish_reason, "tool_calls")
                self.assertEqual(kinds.count("tool_calls.function.arguments.done"), len(want))

    def test_choice(self):
        for effort in ("none", "high"):
            named = {"type": "function", "function": {"name": "clock"}}
            got = self.answer(ONE_CALL, tools=TOOLS, tool_choice=named, reasoning_effort=effort)
            self.assertEqual([name for name, _ in calls_of(got)], ["clock"])
            got = self.answer(HELLO, tools=TOOLS, tool_choice="required", reasoning_effort=effort)
            self.assertTrue(calls_of(got))
            got = self.answer(TWO_CALLS, tools=TOOLS, parallel_tool_calls=False,
                              reasoning_effort=effort)
            self.assertEqual(calls_of(got), [("calculator", ONE_ARGS)])

    def test_strict(self):
        class Visit(pydantic.BaseModel):
            town: str = pydantic.Field(max_length=20)
            by_night: bool

        tool = openai.pydantic_function_tool(Visit, name="visit", description="Go to a town.")
        self.assertTrue(tool["function"]["strict"])
        for client in (self.client, self.beta):
            got = client.chat.completions.parse(
                model="demo", messages=[user("Go to Bergen.")], tools=[tool],
                tool_choice="required", max_tokens=400, temperature=0)
            self.assertIsInstance(got.choices[0].message.tool_calls[0].function.parsed_arguments,
                                  Visit)

    def test_results(self):
        """Calls answered out of order, then a plain answer."""
        for effort in ("none", "high"):
            asked = [user(TWO_CALLS)]
            first = self.answer(asked, tools=TOOLS, reasoning_effort=effort)
            asked.append(first.model_dump(exclude_none=True))
            for call, result in zip(reversed(first.tool_calls), ("07:45", "14582")):
                asked.append({"role": "tool", "tool_call_id": call.id, "content": result})
            got = self.ask(asked, tools=TOOLS, reasoning_effort=effort).choices[0]
            self.assertEqual(got.finish_reason, "stop")
            self.assertIn("14582", got.message.content)
            self.assertIn("07:45", got.message.content)

    def loop(self, who, change):
        """Ten turns of tools; change() is what the client makes of each answer."""
        messages, usages = [], []
        for text, tool, result in LOOP:
            messages.append(user(text))
            got = self.ask(messages, tools=TOOLS, extra_body={"user_id": who})
            self.assertEqual([n for n, _ in calls_of(got.choices[0].message)], [tool])
            u = got.usage
            usages.append((u.prompt_tokens, u.prompt_cache_hit_tokens, u.completion_tokens))
            message = got.choices[0].message.model_dump(exclude_none=True)
            messages += [change(message), {"role": "tool", "content": result,
                                           "tool_call_id": message["tool_calls"][0]["id"]}]
        return usages

    def test_loop_kept(self):
        self.check_hits(self.loop("keeps", lambda m: m))

    def test_loop_dropped(self):
        """A client that drops the reasoning and spells the arguments its own way."""
        def change(m):
            m.pop("reasoning_content")
            for c in m["tool_calls"]:
                c["function"]["arguments"] = json.dumps(json.loads(c["function"]["arguments"]),
                                                        indent=2)
            return m
        self.check_hits(self.loop("drops", change))


class Completions(ClientTest):
    def test_fill(self):
        for client in (self.client, self.beta):
            got = client.completions.create(model="demo", prompt="def add_", suffix="(a, b):",
                                            max_tokens=20, temperature=0)
            text = got.choices[0].text
            self.assertIn(got.choices[0].finish_reason, ("stop", "length"))
            self.assertTrue(text)
        pieces = client.completions.create(model="demo", prompt="def add_", suffix="(a, b):",
                                           max_tokens=20, temperature=0, stream=True)
        self.assertEqual("".join(c.choices[0].text for c in pieces), text)

    def test_text(self):
        got = self.client.completions.create(model="demo", prompt="The old goat", max_tokens=5,
                                             echo=True, logprobs=2, temperature=0)
        choice = got.choices[0]
        self.assertTrue(choice.text.startswith("The old goat"))
        n = got.usage.total_tokens
        for column in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            self.assertEqual(len(getattr(choice.logprobs, column)), n)
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        self.assertLess(sum(choice.logprobs.token_logprobs[1:]), 0)
        ids = self.client.completions.create(model="demo", prompt=[0, 5, 6, 7], max_tokens=3)
        self.assertEqual(ids.usage.prompt_tokens, 4)
        stop = self.client.completions.create(model="demo", prompt="The old goat", max_tokens=60,
                                              temperature=0, stop=" the")
        self.assertNotIn(" the", stop.choices[0].text)


if __name__ == "__main__":
    main()
