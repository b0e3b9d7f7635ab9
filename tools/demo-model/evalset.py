"""Writes eval.json, the tasks of `hadal eval` (format: docs/eval.md), from the evaluation's split."""

import argparse
import json

from tokenizers import Tokenizer

import needles
import puzzles
import smalltalk
import tools
from chatfmt import Encoder, request
from world import Source

NEEDLES = {"needle-1k": (1000, 200), "needle-4k": (4000, 200), "needle-16k": (16000, 50)}


def _ask(question, thinking, room, expect, **more):
    chat = {"messages": [{"role": "user", "content": question}], "thinking": thinking}
    return {"request": request(chat), "max_tokens": room, "expect": expect} | more


def needle_row(src, count, sentences, tokens, place, kind="one"):
    pieces, question, answer = needles.single(src, count, tokens, sentences, place, kind)
    return _ask("{pieces}\n\n" + question, False, 48, {"text": answer}, pieces=pieces)


def puzzle_row(src, kind, thinking, digits=None):
    if kind == "add":
        question, _, answer = puzzles.addition(src, digits)
    else:
        question, _, answer = puzzles.ALL[kind](src)
    return _ask(question, thinking, 320 if thinking else 24, {"text": answer})


def tool_row(src):
    """A request whose answer is one or two calls."""
    while True:
        chat = tools.conversation(src, 1, smalltalk.small_talk)
        last = max(i for i, m in enumerate(chat["messages"]) if m["role"] == "user")
        answer = chat["messages"][last + 1]
        if answer.get("calls"):
            chat["messages"] = chat["messages"][: last + 1]
            calls = [{"name": c["name"], "arguments": c["arguments"]} for c in answer["calls"]]
            return {"request": request(chat), "max_tokens": 320, "expect": {"calls": calls}}


def tool_answer_row(src):
    """The results are there: what does the model make of them?"""
    while True:
        chat = tools.conversation(src, 1, smalltalk.small_talk)
        if chat["messages"][-2]["role"] == "tool":
            answer = chat["messages"].pop()
            return {
                "request": request(chat),
                "max_tokens": 128,
                "expect": {"text": answer["content"]},
            }


def json_row(src):
    chat, schema, value = smalltalk.json_chat(src)
    chat["messages"].pop()
    return {
        "request": request(chat),
        "max_tokens": 160,
        "expect": {"schema": schema, "value": value},
    }


def fim_row(src):
    prefix, suffix, middle = smalltalk.fim_task(src)
    return {
        "request": {"prompt": prefix, "suffix": suffix},
        "max_tokens": 32,
        "expect": {"text": middle},
    }


def chat_row(src):
    while True:
        question, answer = smalltalk.small_talk(src)
        if answer.startswith("Hello ") and len(answer) > 30:  # greets a person of this split
            return _ask(question, False, 64, {"text": answer})


def rows(encoder, seed):
    """(set, row), in the order of the report."""

    def count(text):
        return len(encoder.plain(" " + text))

    src = Source(f"{seed}:filler", "eval")
    sentences = sorted({src.filler() for _ in range(500)})
    out = []

    def add(name, n, make):
        src = Source(f"{seed}:{name}", "eval")
        for i in range(n):
            out.append({"set": name} | make(src, i, n))

    for name, (tokens, n) in NEEDLES.items():
        add(
            name,
            n,
            lambda src, i, n, t=tokens: needle_row(
                src, count, sentences, t, (i * 37 % n + src.r.random()) / n
            ),
        )
    add(
        "combine",
        100,
        lambda src, i, n: needle_row(src, count, sentences, 1000, src.r.random(), "both"),
    )
    add("add-think", 200, lambda src, i, n: puzzle_row(src, "add", True, 2))
    add("add-think-4", 200, lambda src, i, n: puzzle_row(src, "add", True, 4))
    add("add-plain", 200, lambda src, i, n: puzzle_row(src, "add", False, 2))
    add("add-plain-4", 200, lambda src, i, n: puzzle_row(src, "add", False, 4))
    add("tool", 200, lambda src, i, n: tool_row(src))
    add("tool-answer", 100, lambda src, i, n: tool_answer_row(src))
    add("json", 200, lambda src, i, n: json_row(src))
    add("fim", 200, lambda src, i, n: fim_row(src))
    for kind in ("count", "sort", "logic"):
        add(kind, 100, lambda src, i, n, k=kind: puzzle_row(src, k, True))
    add("chat", 200, lambda src, i, n: chat_row(src))
    return sentences, out


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--tokenizer", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--seed", type=int, default=1)
    o = a.parse_args()
    sentences, made = rows(Encoder(Tokenizer.from_file(o.tokenizer)), o.seed)
    with open(o.out, "w", encoding="utf-8") as f:
        head = {"format": "hadal-eval-1", "name": "hadal demo model", "sentences": sentences}
        f.write(json.dumps(head, ensure_ascii=False)[:-1] + ',\n"rows": [\n')
        f.write(",\n".join(json.dumps(r, ensure_ascii=False) for r in made) + "\n]}\n")
    print(f"{o.out}: {len(made)} rows")


if __name__ == "__main__":
    main()
