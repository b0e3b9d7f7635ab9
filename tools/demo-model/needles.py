"""Facts about people, scattered in text that nobody asks about, and questions on them."""

from world import RELATIONS, VALUES, ask, ask_both, ask_whose, state


def _facts(src, n, n_relations):
    """n facts, no person twice: (relation, who, value). Few relations, so that each fact has
    others that look like it; a value occurs once per relation while they last."""
    relations = src.some(list(RELATIONS), n_relations)
    pools = {r: src.some(VALUES[r], len(VALUES[r])) for r in relations}
    facts = []
    for i, who in enumerate(src.people(n)):
        relation = relations[i % n_relations]
        pool = pools[relation]
        facts.append((relation, who, pool[(i // n_relations) % len(pool)]))
    src.r.shuffle(facts)
    return facts


def _question(src, facts, kind, i):
    """(question, answer). Answers state the fact in full: the name in front of the value is what
    the model finds the value by."""
    relation, who, value = facts[i]
    answer = state(relation, who, value)
    if kind == "both":
        others = [k for k, f in enumerate(facts) if f[0] == relation and k != i]
        if others:
            other = facts[src.pick(others)]
            return ask_both(relation, who, other[1]), f"{answer} {state(*other)}"
    if kind == "whose" and sum(f[0] == relation and f[2] == value for f in facts) == 1:
        return ask_whose(relation, value), answer
    return ask(relation, who), answer


def _kind(src):
    return src.r.choices(("one", "both", "whose"), (8, 1, 1))[0]


def conversation(src, count, n_tokens, n_facts=None, n_questions=None):
    """A chat: a text of about n_tokens with facts in it, then questions one after the other.
    count(text) gives a number of tokens."""
    n_facts = n_facts or src.r.randint(4, max(5, min(40, n_tokens // 40)))
    facts = _facts(src, n_facts, 1 if n_facts < 6 else src.r.randint(1, min(3, n_facts // 3)))
    n_questions = n_questions or src.r.randint(2, min(16, n_facts))
    asked = src.some(range(n_facts), n_questions)
    sentences = [state(*f) for f in facts]
    size = sum(count(s) for s in sentences) + 16 * n_questions + 16
    while size < n_tokens:
        s = src.filler()
        sentences.append(s)
        size += count(s)
    src.r.shuffle(sentences)
    messages = []
    for q, i in enumerate(asked):
        question, answer = _question(src, facts, _kind(src), i)
        text = " ".join(sentences) + "\n\n" + question if q == 0 else question
        messages.append({"role": "user", "content": text})
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "thinking": False}


def single(src, count, n_tokens, sentences, place, kind="one", n_facts=None):
    """One question for the evaluation: pieces (numbers of filler sentences, or strings), question,
    answer. The asked fact stands at `place` (0 .. 1) of the text; at least 3 others are like it."""
    n_facts = n_facts or src.r.randint(4, 8)
    facts = _facts(src, n_facts, 1)
    question, answer = _question(src, facts, kind, 0)
    pieces, size = [], sum(count(state(*f)) for f in facts) + 24
    sizes = [count(s) for s in sentences]
    while size < n_tokens:
        k = src.r.randrange(len(sentences))
        pieces.append(k)
        size += sizes[k]
    for i in range(n_facts - 1, -1, -1):
        at = place if i == 0 else src.r.random()
        pieces.insert(round(at * len(pieces)), state(*facts[i]))
    return pieces, question, answer
