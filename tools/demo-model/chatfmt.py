"""Chats and fill-in-the-middle as token ids with a mask of what the model itself must write.

The layout is DeepSeek-V4's chat format, release 0731 (docs/text.md); `check.py` compares it with
`hadal render`. Control tokens are put in as ids, all text between them is encoded as plain text.
"""

import itertools
import json

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT, DSML = "<｜User｜>", "<｜Assistant｜>", "｜DSML｜"
THINK, END_THINK = "<think>", "</think>"
FIM_HOLE, FIM_BEGIN, FIM_END = "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"
CONTROL = (BOS, EOS, USER, ASSISTANT, DSML, THINK, END_THINK, FIM_HOLE, FIM_BEGIN, FIM_END)

EFFORT = {
    "low": "",
    "high": """Reasoning Effort: Absolute maximum with no shortcuts permitted.
You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.
Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, and rejected hypothesis to ensure absolutely no assumption is left unchecked.

""",
    "max": """Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.
You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause rather than any surface symptom.
Do not stop reasoning until you have independently verified the solution from multiple angles and are certain that no assumption remains unchecked and no error remains undiscovered.

""",
}

TOOLS = """## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<{D}tool_calls>" block like the following:

<{D}tool_calls>
<{D}invoke name="$TOOL_NAME">
<{D}parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</{D}parameter>
...
</{D}invoke>
<{D}invoke name="$TOOL_NAME2">
...
</{D}invoke>
</{D}tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

{schemas}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def _calls_block(calls):
    out = [f"<{DSML}tool_calls>\n"]
    for call in calls:
        out.append(f'<{DSML}invoke name="{call["name"]}">\n')
        lines = []
        for key, value in call["arguments"].items():
            is_str = isinstance(value, str)
            text = value if is_str else dumps(value)
            lines.append(
                f'<{DSML}parameter name="{key}" string="{"true" if is_str else "false"}">'
                f"{text}</{DSML}parameter>"
            )
        out.append("\n".join(lines) + f"\n</{DSML}invoke>\n")
    return "".join(out) + f"</{DSML}tool_calls>"


def _system(message, tools):
    parts = [message.get("content", "")]
    if tools:
        schemas = "\n".join(dumps(t) for t in tools)
        parts.append(TOOLS.replace("{D}", DSML).replace("{schemas}", schemas))
    if "response_format" in message:
        parts.append(
            "## Response Format:\n\nYou MUST strictly adhere to the following schema to "
            "reply:\n" + dumps(message["response_format"])
        )
    return "\n\n".join(parts)


def render(chat):
    """[(text, is_learned)] of a chat: {"messages", "tools"?, "thinking", "effort"?}.

    Messages are {"role", "content", ...}; an assistant message may have "reasoning" and "calls".
    Reasoning of earlier turns stays only when there are tools or "keep" is set, as in the format."""
    thinking, tools = chat.get("thinking", False), chat.get("tools")
    messages = chat["messages"]
    keep = bool(tools) or chat.get("keep", False)
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    out = [(BOS + (EFFORT[chat.get("effort", "low")] if thinking else ""), False)]
    if tools and messages[0]["role"] != "system":
        out.append((_system({}, tools), False))
    for i, m in enumerate(messages):
        role = m["role"]
        if role == "system":
            out.append((_system(m, tools if i == 0 else None), False))
            continue
        if role == "assistant":
            learned = ""
            if thinking and (keep or i > last):
                learned = m.get("reasoning", "") + END_THINK
            learned += m.get("content", "")
            if m.get("calls"):
                learned += "\n\n" + _calls_block(m["calls"])
            out.append((learned + EOS, m.get("learn", True)))
            continue
        text = m["content"]
        if role == "tool":
            text = f"<tool_result>{text}</tool_result>"
        follows = i > 0 and messages[i - 1]["role"] in ("tool", "user")
        out.append((("\n\n" if follows else USER) + text, False))
        nxt = messages[i + 1]["role"] if i + 1 < len(messages) else "assistant"
        if nxt == "assistant":
            opens = thinking and (keep or i >= last)
            out.append((ASSISTANT + (THINK if opens else END_THINK), False))
    return out


def render_fim(prefix, suffix, middle):
    return [(BOS + FIM_BEGIN + prefix + FIM_HOLE + suffix + FIM_END, False), (middle + EOS, True)]


def request(chat):
    """The same chat as a request for hadal (messages up to the last user or tool message)."""
    messages = []
    for i, m in enumerate(chat["messages"]):
        o = {"role": m["role"], "content": m.get("content", "")}
        if "response_format" in m:
            o["response_format"] = m["response_format"]
        if m["role"] == "assistant":
            if m.get("reasoning"):
                o["reasoning_content"] = m["reasoning"]
            if m.get("calls"):
                o["tool_calls"] = [
                    {
                        "id": f"call_{i}_{k}",
                        "type": "function",
                        "function": {"name": c["name"], "arguments": dumps(c["arguments"])},
                    }
                    for k, c in enumerate(m["calls"])
                ]
        if m["role"] == "tool":
            o["tool_call_id"] = m["tool_call_id"]
        messages.append(o)
    options = {"thinking_mode": "thinking" if chat.get("thinking") else "chat"}
    if chat.get("thinking"):
        if chat.get("effort", "low") != "low":
            options["reasoning_effort"] = chat["effort"]
        if chat.get("keep"):
            options["drop_thinking"] = False
    out = {"messages": messages, "options": options}
    if chat.get("tools"):
        if messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": ""})
        out["tools"] = [{"type": "function", "function": t} for t in chat["tools"]]
    return out


class Encoder:
    """Text with control tokens spelled out -> ids. `tokenizer`: of the tokenizers package."""

    def __init__(self, tokenizer):
        self.tok = tokenizer
        self.ids = {c: tokenizer.token_to_id(c) for c in CONTROL}
        self.cache = {}

    def plain(self, text):
        got = self.cache.get(text)
        if got is None:
            got = self.tok.encode(text, add_special_tokens=False).ids
            if len(self.cache) > 200000:
                self.cache.clear()
            self.cache[text] = got
        return got

    def encode(self, segments):
        """[(text, is_learned)] -> ids, mask of ids that are to be learned. Neighbours of one kind are
        joined first: a run of text between two control tokens is encoded as a whole."""
        ids, mask = [], []
        for learned, group in itertools.groupby(segments, key=lambda s: s[1]):
            new = self.tok.encode("".join(s[0] for s in group), add_special_tokens=False).ids
            ids += new
            mask += [learned] * len(new)
        return ids, mask
