"""Quick accuracies during training: answers of the evaluation's split, all ids right.

Greedy decoding gives an answer exactly when every id of it is the likeliest one behind the right
ids before it; so one forward pass per row is enough."""

import torch

import needles
import puzzles
import smalltalk
import tools
from chatfmt import render, render_fim
from world import Source


def _chat(question, answer, reasoning=None):
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "reasoning": reasoning or "", "content": answer},
        ],
        "thinking": reasoning is not None,
    }


def _needle(src, count, length):
    chat = needles.conversation(src, count, length - 60, n_facts=src.r.randint(4, 8), n_questions=1)
    return chat


def samples(kind, src, count, length):
    """A chat as segments."""
    if kind == "needle":
        return render(_needle(src, count, length))
    if kind in ("add2", "add4"):
        q, r, a = puzzles.addition(src, int(kind[3]))
        return render(_chat(q, a, r))
    if kind == "plain2":
        q, _, a = puzzles.addition(src, 2)
        return render(_chat(q, a))
    if kind in ("count", "sort", "logic"):
        q, r, a = puzzles.ALL[kind](src)
        return render(_chat(q, a, r))
    if kind == "tool":
        return render(tools.conversation(src, 1, smalltalk.small_talk))
    if kind == "json":
        return render(smalltalk.json_chat(src)[0])
    if kind == "fim":
        return render_fim(*smalltalk.fim_task(src))
    q, a = smalltalk.small_talk(src)
    return render(_chat(q, a))


KINDS = (
    "needle",
    "add2",
    "add4",
    "plain2",
    "count",
    "sort",
    "logic",
    "tool",
    "json",
    "fim",
    "talk",
)


@torch.no_grad()
def accuracy(model, encoder, kind, n, length, seed=0):
    """Share of rows whose every learned id is right; rows are cut to `length`."""
    src, good, rows = Source(f"{kind}:{seed}", "eval"), 0, []

    def count(text):
        return len(encoder.plain(" " + text))

    while len(rows) < n:
        ids, mask = encoder.encode(samples(kind, src, count, length))
        if len(ids) <= length + 1:
            rows.append((ids, mask))
    longest = -(-max(len(r[0]) for r in rows) // 128) * 128
    per = max(1, 8192 // longest)
    for at in range(0, n, per):
        part = rows[at : at + per]
        ids = torch.tensor([r[0] + [2] * (longest - len(r[0])) for r in part])
        x = model.streams(ids)
        for k, (row, mask) in enumerate(part):
            where = torch.tensor([i for i in range(1, len(row)) if mask[i]]) - 1
            best = model.logits(x[k, where]).argmax(-1)
            good += bool((best == ids[k, where + 1]).all())
    return good / n


def line(model, encoder, length, n=32):
    kinds = [k for k in KINDS if k not in ("tool", "json") or length >= 768]
    return " ".join(f"{k} {accuracy(model, encoder, k, n, length):.2f}" for k in kinds)
