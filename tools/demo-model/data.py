"""Training rows: ids and masks, mixed from all tasks. Also the corpus for the vocabulary."""

import needles
import puzzles
import smalltalk
import tools
from chatfmt import render, render_fim
from world import Source

# Shares of rows by phase. "talk" packs many short exchanges into one chat.
MIXES = {
    "all": {"talk": 12, "puzzle": 22, "tool": 16, "json": 6, "fim": 4, "needle": 15, "recall": 25},
    "facts": {"recall": 48, "needle": 20, "puzzle": 10, "tool": 9, "json": 5, "fim": 4, "talk": 4},
    "long": {"needle": 70, "tool": 8, "puzzle": 10, "talk": 6, "json": 3, "fim": 3},
    "last": {"needle": 40, "tool": 20, "puzzle": 14, "json": 12, "fim": 8, "talk": 6},
    "needle": {"needle": 100},
    "rest": {"json": 36, "puzzle": 26, "fim": 14, "recall": 10, "tool": 8, "talk": 3, "needle": 3},
    "end": {"needle": 28, "json": 26, "puzzle": 18, "tool": 12, "fim": 12, "talk": 4},
}


def talk_chat(src, n_turns):
    messages, thinking = [], src.chance(0.3)
    if src.chance(0.1):
        messages.append({"role": "system", "content": "You are a helpful assistant."})
    for _ in range(n_turns):
        question, answer = smalltalk.small_talk(src)
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "reasoning": "I know this.", "content": answer},
        ]
    return {"messages": messages, "thinking": thinking, "keep": thinking and src.chance(0.8)}


def puzzle_chat(src, n_turns):
    """Puzzles with thinking, and some sums without."""
    thinking = not src.chance(0.15)
    messages = []
    for _ in range(n_turns):
        kind = src.r.choices(("add", "count", "sort", "logic", "talk"), (32, 22, 18, 22, 6))[0]
        if not thinking:
            kind = "add"
        if kind == "talk":
            question, answer = smalltalk.small_talk(src)
            reasoning = "I know this."
        else:
            question, reasoning, answer = puzzles.ALL[kind](src)
        messages += [
            {"role": "user", "content": question},
            {"role": "assistant", "reasoning": reasoning, "content": answer},
        ]
    effort = src.r.choices(("low", "high", "max"), (80, 14, 6))[0]
    return {
        "messages": messages,
        "thinking": thinking,
        "effort": effort,
        "keep": thinking and src.chance(0.85),
    }


class Rows:
    """Makes rows of exactly `length` ids. Short chats are put behind one another: a new one begins
    with the begin token, as any prompt does."""

    def __init__(self, encoder, seed, length, mix):
        self.enc, self.src, self.length = encoder, Source(seed), length
        self.kinds, self.shares = zip(*MIXES[mix].items(), strict=True)

    def count(self, text):
        return len(self.enc.plain(" " + text))

    def segments(self, room):
        src, kind = self.src, self.src.r.choices(self.kinds, self.shares)[0]
        short = min(room, 1024)
        if kind == "talk":
            return render(talk_chat(src, max(1, short // 44)))
        if kind == "puzzle":
            return render(puzzle_chat(src, max(1, short // 75)))
        if kind == "tool":
            return render(
                tools.conversation(src, max(1, (short - 380) // 95), smalltalk.small_talk)
            )
        if kind == "json":
            n_turns = 1 if src.chance(0.8) else max(1, (short - 110) // 75)  # schemas teach, not turns
            return render(smalltalk.json_chat(src, n_turns)[0])
        if kind == "fim":
            return render_fim(*smalltalk.fim_task(src))
        if kind == "recall":  # many facts, little between them, all asked: dense supervision
            n = src.r.randint(3, max(4, min(14, room // 30)))
            return render(needles.conversation(src, self.count, 30 * n, n, n))
        tokens = room - 30 if src.chance(0.7) else src.r.randint(120, max(121, room - 30))
        return render(needles.conversation(src, self.count, max(120, tokens)))

    def row(self):
        """ids [length + 1], mask [length + 1]."""
        ids, mask = [], []
        while len(ids) < self.length + 1:
            room = self.length + 1 - len(ids)
            if ids and room < 100:  # too little for anything but a few short exchanges
                new = self.enc.encode(render(talk_chat(self.src, 3)))
            else:
                new = self.enc.encode(self.segments(room))
            ids += new[0]
            mask += new[1]
        return ids[: self.length + 1], mask[: self.length + 1]


def corpus(seed, n):
    """Texts that the vocabulary is made from: everything that occurs, control tokens left out."""
    from chatfmt import CONTROL

    src = Source(seed)
    for i in range(n):
        kind = i % 7
        if kind == 0:
            segments = render(talk_chat(src, 12))
        elif kind == 1:
            segments = render(puzzle_chat(src, 6))
        elif kind == 2:
            segments = render(tools.conversation(src, 5, smalltalk.small_talk))
        elif kind == 3:
            segments = render(smalltalk.json_chat(src, 4)[0])
        elif kind == 4:
            segments = render_fim(*smalltalk.fim_task(src))
        else:
            segments = render(needles.conversation(src, lambda t: len(t) // 5, 400))
        text = "".join(s for s, _ in segments)
        for token in CONTROL:
            text = text.replace(token, "\n")
        yield text
