"""LangChain: ChatOpenAI (Chat Completions and Responses) and ChatDeepSeek."""
import json

import openai
import pydantic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_deepseek import ChatDeepSeek
from langchain_openai import ChatOpenAI

from apitest import (HELLO, LOOP, ONE_ARGS, ONE_CALL, SUM, TOOLS, TOWN, TWO_CALLS, ApiTest, main)


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str = pydantic.Field(max_length=40)
    married: bool


def calls_of(message):
    return [(c["name"], c["args"]) for c in message.tool_calls]


class LangChain(ApiTest):
    def models(self, **more):
        common = {"model": "demo", "temperature": 0, "max_retries": 0, "api_key": "any",
                  "max_tokens": 400, **more}
        yield "openai", ChatOpenAI(base_url=self.url + "/v1", **common)
        yield "responses", ChatOpenAI(base_url=self.url + "/v1", use_responses_api=True, **common)
        yield "deepseek", ChatDeepSeek(base_url=self.url + "/v1", **common)
        yield "deepseek beta", ChatDeepSeek(base_url=self.url + "/beta", **common)

    def test_plain_and_stream(self):
        for name, model in self.models():
            with self.subTest(name):
                got = model.invoke(HELLO)
                self.assertIn("help", got.text)
                self.assertGreater(got.usage_metadata["output_tokens"], 0)
                whole = None
                for chunk in model.stream(HELLO):
                    whole = chunk if whole is None else whole + chunk
                self.assertEqual(whole.text, got.text)
                if name.startswith("deepseek"):
                    for m in (got, whole):
                        self.assertEqual(m.additional_kwargs["reasoning_content"], "I know this.")
                self.assertGreater(got.usage_metadata["output_token_details"]["reasoning"], 0)

    def test_thinking(self):
        for effort, thinks in (("none", False), ("low", True), ("high", True)):
            for name, model in self.models(reasoning_effort=effort):
                with self.subTest(name, effort=effort):
                    got = model.invoke(SUM)
                    tokens = got.usage_metadata["output_token_details"]["reasoning"]
                    self.assertEqual(tokens > 0, thinks)
                    self.assertEqual(got.text == "42", thinks)

    def test_tools(self):
        for name, model in self.models():
            with self.subTest(name):
                bound = model.bind_tools(TOOLS)
                self.assertEqual(bound.invoke(HELLO).tool_calls, [])
                asked = [HumanMessage(TWO_CALLS)]
                first = bound.invoke(asked)
                self.assertEqual(calls_of(first), [("calculator", ONE_ARGS), ("clock", TOWN)])
                asked.append(first)
                for call, result in zip(first.tool_calls, ("14582", "07:45")):
                    asked.append(ToolMessage(result, tool_call_id=call["id"]))
                got = bound.invoke(asked)
                self.assertIn("14582", got.text)
                self.assertIn("07:45", got.text)
                whole = None
                for chunk in bound.stream(ONE_CALL):
                    whole = chunk if whole is None else whole + chunk
                self.assertEqual(calls_of(whole), [("calculator", ONE_ARGS)])
                forced = model.bind_tools(TOOLS, tool_choice="clock").invoke(ONE_CALL)
                self.assertEqual([n for n, _ in calls_of(forced)], ["clock"])

    def test_structured(self):
        for name, model in self.models():
            for method in ("function_calling", "json_schema"):
                with self.subTest(name, method=method):
                    got = model.with_structured_output(Person, method=method).invoke("The baker?")
                    self.assertIsInstance(got, Person)
        for name, model in self.models():
            text = model.bind(**({"text": {"format": {"type": "json_object"}}}
                                 if name == "responses" else
                                 {"response_format": {"type": "json_object"}})
                              ).invoke("Write JSON.").text
            self.assertIsInstance(json.loads(text), dict)

    def test_logprobs_and_stops(self):
        model = ChatOpenAI(base_url=self.url + "/v1", model="demo", api_key="any", temperature=0,
                           logprobs=True, top_logprobs=2)
        got = model.invoke(SUM)
        rows = got.response_metadata["logprobs"]["content"]
        self.assertEqual("".join(r["token"] for r in rows), got.text)
        self.assertNotIn("can", model.invoke(HELLO, stop=["can"]).text)

    def test_errors(self):
        for name, model in self.models(temperature=1.0):
            with self.subTest(name), self.assertRaises(openai.BadRequestError):
                model.bind(temperature=9).invoke(HELLO)

    def test_loop(self):
        """ChatDeepSeek drops the reasoning of earlier turns."""
        for name, model in self.models():
            bound = model.bind_tools(TOOLS)
            messages, usages = [], []
            for text, tool, result in LOOP:
                messages.append(HumanMessage(text))
                got = bound.invoke(messages, user=name)
                self.assertIsInstance(got, AIMessage)
                self.assertEqual([n for n, _ in calls_of(got)], [tool])
                u = got.usage_metadata
                usages.append((u["input_tokens"], u["input_token_details"]["cache_read"],
                               u["output_tokens"]))
                messages += [got, ToolMessage(result, tool_call_id=got.tool_calls[0]["id"])]
            with self.subTest(name):
                self.check_hits(usages)


if __name__ == "__main__":
    main()
