#!/usr/bin/env python3
"""Read the transcripts of tests/data/api with the clients' own decoders: openai and anthropic.

usage: tests/api/sdk_decoders.py

Each stream goes through the package's event decoder and accumulator, each whole answer through its
types, and both must say the same. Failed streams must raise what the package raises for them. Exit
status: 0 all equal, 1 not, 77 a package is missing.
"""

import json
import pathlib
import sys

try:
    import anthropic
    import httpx2
    import openai
    from openai.lib.streaming.chat import ChatCompletionStreamState
except ImportError as missing:
    print(f"skipped: {missing} (pip install -r tests/api/req-sdk.txt)")
    sys.exit(77)

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "api"
ASK = [{"role": "user", "content": "?"}]


class Slow(httpx2.SyncByteStream):
    """A body that comes in pieces of a few bytes: events are cut anywhere."""

    def __init__(self, body, step):
        self.pieces = [body[i : i + step] for i in range(0, len(body), step)]

    def __iter__(self):
        return iter(self.pieces)


def transport(body, is_stream, step):
    kind = "text/event-stream" if is_stream else "application/json"
    headers = {"content-type": kind, "x-request-id": "req_1", "request-id": "req_1"}
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Slow(body, step)))


def openai_client(body, is_stream, step=7):
    http = httpx2.Client(transport=transport(body, is_stream, step))
    return openai.OpenAI(api_key="k", base_url="http://test/v1", http_client=http, max_retries=0)


def anthropic_client(body, is_stream, step=7):
    http = httpx2.Client(transport=transport(body, is_stream, step))
    return anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0)


def plain(model):
    """What a typed object says, without members that are absent or null."""
    if isinstance(model, dict):
        return {k: plain(v) for k, v in model.items() if v is not None}
    if isinstance(model, (list, tuple)):
        return [plain(v) for v in model]
    if hasattr(model, "model_dump"):
        return plain(model.model_dump(warnings=False))
    return model


def strict(model):
    """Refuse what does not fit the package's types (it is lenient when it reads)."""
    type(model).model_validate(model.model_dump(warnings=False))
    return plain(model)


# ---- one dialect each: (from the stream, from the whole answer) ----


def chat_stream(body, request):
    state = ChatCompletionStreamState()
    for chunk in openai_client(body, True).chat.completions.create(model="m", messages=ASK, stream=True):
        if chunk.usage is None and chunk.choices:
            type(chunk).model_validate(lenient_chunk(chunk.model_dump(warnings=False)))
        state.handle_chunk(chunk)
    snapshot = state.current_completion_snapshot
    if snapshot.choices[0].finish_reason != "length":  # the package raises at those
        snapshot = state.get_final_completion()
    answer = plain(snapshot)
    message = answer["choices"][0]["message"]
    for call in message.get("tool_calls", []):
        call["function"].pop("parsed_arguments", None)
    if message.get("tool_calls") and not message["content"]:
        del message["content"]  # the first chunk has ""; a whole answer has null then
    if request.get("thinks") and "reasoning" not in message:
        message.setdefault("reasoning_content", "")
    if not request.get("usage"):
        answer["usage"] = None
    answer["object"] = "chat.completion"
    return answer


def lenient_chunk(chunk):
    """The reason that only DeepSeek has is not among the package's literals."""
    for choice in chunk["choices"]:
        if choice["finish_reason"] == "insufficient_system_resource":
            choice["finish_reason"] = "stop"
    return chunk


def chat_whole(body, request):
    answer = strict(openai_client(body, False).chat.completions.create(model="m", messages=ASK))
    if not request.get("usage"):
        answer["usage"] = None
    logprobs = answer["choices"][0].get("logprobs")
    if logprobs:
        logprobs.pop("reasoning_content", None)  # the accumulator does not know it
    return answer


def completions_stream(body, request):
    answer, text, columns, usage = None, "", {}, None
    for chunk in openai_client(body, True).completions.create(model="m", prompt="?", stream=True):
        usage = chunk.usage
        if not chunk.choices:
            continue
        answer = chunk
        text += chunk.choices[0].text
        if chunk.choices[0].logprobs:
            for name, column in chunk.choices[0].logprobs.model_dump().items():
                columns.setdefault(name, []).extend(column)
    answer = plain(answer)
    answer["choices"][0].update(text=text)
    if columns:
        answer["choices"][0].update(logprobs=plain(columns))
    answer["usage"] = plain(usage)
    return answer


def completions_whole(body, request):
    answer = plain(openai_client(body, False).completions.create(model="m", prompt="?"))
    if not request.get("usage"):
        answer["usage"] = None
    return answer


def responses_stream(body, request):
    numbers, said, last = [], {}, None
    for event in openai_client(body, True, 1000).responses.create(model="m", input="?", stream=True):
        if event.type == "response.failed" and event.response.error.code == "context_length_exceeded":
            event.response.error.code = "server_error"  # the service sends it, the package has no name for it
        strict(event)
    with openai_client(body, True).responses.stream(model="m", input="?") as stream:
        for event in stream:
            numbers.append(event.sequence_number)
            last = event
            if event.type.endswith(".delta") and "summary" not in event.type:
                said[event.output_index] = said.get(event.output_index, "") + event.delta
        assert numbers == list(range(len(numbers))), f"sequence numbers {numbers}"
        if last.type == "response.completed":
            assert plain(stream.get_final_response())["output"] == plain(last.response)["output"]
    answer = plain(last.response)
    for i, item in enumerate(answer["output"]):
        text = item.get("arguments", item.get("input"))
        if text is None:
            text = item["content"][0]["text"]
        assert said.get(i, "") == text, f"item {i}: the pieces are {said.get(i)!r}"
        for part in item.get("content", []):
            part.pop("parsed", None)
        item.pop("parsed_arguments", None)
    return answer


def responses_whole(body, request):
    answer = openai_client(body, False).responses.create(model="m", input="?")
    assert answer.output_text == "".join(
        part.text for item in answer.output if item.type == "message" for part in item.content
    )
    return strict(answer)


def messages_stream(body, request):
    client = anthropic_client(body, True, 1000)
    for event in client.messages.create(model="m", messages=ASK, max_tokens=9, stream=True):
        strict(event)
    with anthropic_client(body, True).messages.stream(model="m", messages=ASK, max_tokens=9) as stream:
        for _ in stream:
            pass
        return strict(stream.get_final_message())


def messages_whole(body, request):
    return strict(anthropic_client(body, False).messages.create(model="m", messages=ASK, max_tokens=9))


DIALECTS = {
    "chat": (chat_stream, chat_whole, openai.APIError),
    "completions": (completions_stream, completions_whole, openai.APIError),
    "responses": (responses_stream, responses_whole, None),
    "messages": (messages_stream, messages_whole, anthropic.APIStatusError),
}


# ---- files ----


def read(path):
    head, *sections = path.read_bytes().split(b"\n--- ")
    parts = dict(section.split(b"\n", 1) for section in sections)
    stream = parts.get(b"stream", b"") + (b"\n" if b"whole" in parts else b"")
    return json.loads(head), stream, parts.get(b"whole", b"").rstrip(b"\n")


def fails(scenario):
    """Whether the stream must end in an error of the client."""
    last = scenario["events"][-1]
    return last[0] in ("fail", "fail_limit") or (last[0] == "end" and last[1] in ("timeout", "cancelled"))


def check_failure(scenario, stream):
    from_stream, _, error = DIALECTS[scenario["dialect"]]
    if error is None:  # Responses: an event like others
        answer = from_stream(stream, scenario["request"])
        code = "context_length_exceeded" if scenario["events"][0][0] == "fail_limit" else "server_error"
        assert answer["status"] == "failed" and answer["error"]["code"] == code, answer
        return
    try:
        from_stream(stream, scenario["request"])
    except error as raised:
        text = scenario["events"][-1][1]
        assert scenario["events"][-1][0] == "end" or text in str(raised), f"the error says {raised}"
        return
    raise AssertionError("the client did not raise")


def check(scenario, stream, whole):
    dialect, request = scenario["dialect"], scenario["request"]
    if fails(scenario) or (scenario["events"][-1][0] == "fail_memory" and dialect in ("responses", "messages")):
        check_failure(scenario, stream)
        return
    from_stream, from_whole, _ = DIALECTS[dialect]
    got = from_stream(stream, request)
    if whole and b'{"error"' not in whole[:9]:
        want = from_whole(whole, request)
        if scenario.get("field") or dialect == "completions":
            got, want = plain(got), plain(want)
        assert got == want, f"\n  stream {json.dumps(got)}\n  whole  {json.dumps(want)}"


def main():
    print(f"openai {openai.__version__}, anthropic {anthropic.__version__}")
    n_wrong, paths = 0, sorted(DATA.glob("*.txt"))
    for path in paths:
        try:
            check(*read(path))
        except Exception as failure:  # whatever a client raises is a finding
            n_wrong += 1
            print(f"{path.name}: {type(failure).__name__}: {str(failure)[:3000]}")
    print(f"{len(paths)} transcripts, {n_wrong} wrong")
    sys.exit(1 if n_wrong or len(paths) < 50 else 0)


if __name__ == "__main__":
    main()
