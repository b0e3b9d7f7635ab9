"""LiteLLM in front of three dialects: as `openai/`, `deepseek/` and `anthropic/` models."""
import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks a host for prices otherwise
import litellm  # noqa: E402

from apitest import (HELLO, LOOP, ONE_ARGS, ONE_CALL, PERSON, SUM, TOOLS, TOWN,  # noqa: E402
                     TWO_CALLS, ApiTest, main)

litellm.suppress_debug_info = True
CLAUDE = "anthropic/claude-sonnet-4-5"  # it knows by the name that this one can think


def user(text):
    return {"role": "user", "content": text}


def calls_of(message):
    return [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]


class LiteLLM(ApiTest):
    providers = ("openai", "deepseek", "anthropic")

    def ask(self, provider, content, /, **more):
        base = self.url if provider == "anthropic" else self.url + "/v1"
        messages = content if isinstance(content, list) else [user(content)]
        return litellm.completion(**{
            "model": f"{provider}/demo", "api_base": base, "api_key": "any", "messages": messages,
            "temperature": 0, "max_tokens": 400, "num_retries": 0, **more})

    def test_plain_and_stream(self):
        for p in self.providers:
            got = self.ask(p, HELLO).choices[0]
            self.assertIn("help", got.message.content)
            self.assertEqual(got.message.reasoning_content, "I know this.")
            self.assertEqual(got.finish_reason, "stop")
            text, thought = "", ""
            for chunk in self.ask(p, HELLO, stream=True):
                delta = chunk.choices[0].delta
                text += delta.content or ""
                thought += getattr(delta, "reasoning_content", None) or ""
            self.assertEqual((text, thought), (got.message.content, got.message.reasoning_content))

    def test_thinking(self):
        off = {"thinking": {"type": "disabled"}}
        for p, more, thinks in (("openai", {"extra_body": off}, False),
                                ("deepseek", {"reasoning_effort": "none"}, False),
                                ("deepseek", {"reasoning_effort": "low"}, True),
                                ("deepseek", {"reasoning_effort": "high"}, True),
                                ("anthropic", {**off, "model": CLAUDE}, False),
                                ("anthropic", {"thinking": {"type": "enabled",
                                                            "budget_tokens": 1024},
                                               "model": CLAUDE, "max_tokens": 2000,
                                               "temperature": 1}, True)):
            with self.subTest(provider=p, more=more):
                got = self.ask(p, SUM, **more)
                message = got.choices[0].message
                self.assertEqual(bool(getattr(message, "reasoning_content", None)), thinks)
                self.assertTrue(message.content)

    def test_tools(self):
        for p in self.providers:
            with self.subTest(provider=p):
                asked = [user(TWO_CALLS)]
                first = self.ask(p, asked, tools=TOOLS).choices[0]
                self.assertEqual(calls_of(first.message), [("calculator", ONE_ARGS), ("clock", TOWN)])
                self.assertEqual(first.finish_reason, "tool_calls")
                asked.append(first.message.model_dump(exclude_none=True))
                for call, result in zip(first.message.tool_calls, ("14582", "07:45")):
                    asked.append({"role": "tool", "tool_call_id": call.id, "content": result})
                got = self.ask(p, asked, tools=TOOLS).choices[0].message
                self.assertIn("14582", got.content)
                self.assertIn("07:45", got.content)
                streamed = litellm.stream_chunk_builder(
                    list(self.ask(p, ONE_CALL, tools=TOOLS, stream=True)))
                self.assertEqual(calls_of(streamed.choices[0].message), [("calculator", ONE_ARGS)])
                self.assertEqual(calls_of(self.ask(p, HELLO, tools=TOOLS).choices[0].message), [])

    def test_json(self):
        schema = {"type": "json_schema",
                  "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
        got = self.ask("openai", "Who is the baker?", response_format=schema)
        self.assertEqual(list(json.loads(got.choices[0].message.content)), PERSON["required"])
        for p in ("openai", "deepseek"):
            got = self.ask(p, "Write JSON.", response_format={"type": "json_object"},
                           max_tokens=2000)
            self.assertIsInstance(json.loads(got.choices[0].message.content), dict)

    def test_stops_and_prefix(self):
        for p in self.providers:
            got = self.ask(p, HELLO, stop=["can"]).choices[0].message
            self.assertNotIn("can", got.content)
        begun = [user(HELLO), {"role": "assistant", "content": "Hello!", "prefix": True}]
        off = {"extra_body": {"thinking": {"type": "disabled"}}}
        got = self.ask("openai", begun, **off).choices[0].message.content
        self.assertEqual("Hello!" + got, self.ask("openai", HELLO, **off).choices[0].message.content)

    def test_errors(self):
        for p in self.providers:
            with self.assertRaises(litellm.BadRequestError):
                self.ask(p, HELLO, temperature=9)
            with self.assertRaises(litellm.ContextWindowExceededError):
                self.ask(p, "The old goat carries a red lamp to the mill. " * 9000)
        with self.assertRaises(litellm.NotFoundError):
            self.ask("openai", HELLO, model="openai/gpt")

    def test_loop(self):
        """It drops the reasoning of turns, or puts a space there."""
        for p in self.providers:
            messages, usages = [], []
            who = {"metadata": {"user_id": p}} if p == "anthropic" else {"user": p}
            for text, tool, result in LOOP:
                messages.append(user(text))
                got = self.ask(p, messages, tools=TOOLS, **who)
                message, u = got.choices[0].message, got.usage
                self.assertEqual([n for n, _ in calls_of(message)], [tool])
                usages.append((u.prompt_tokens, u.prompt_tokens_details.cached_tokens,
                               u.completion_tokens))
                messages += [message.model_dump(exclude_none=True),
                             {"role": "tool", "tool_call_id": message.tool_calls[0].id,
                              "content": result}]
            with self.subTest(provider=p):
                self.check_hits(usages)


if __name__ == "__main__":
    main()
