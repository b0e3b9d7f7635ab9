"""Chats with tools: a calculator, a clock, a key-value store, a file search."""

from world import COLOURS, FRUITS, THINGS, TOWNS, VALUES


def _schema(name, description, properties, required):
    return {
        "name": name,
        "description": description,
        "parameters": {"type": "object", "properties": properties, "required": required},
    }


_TEXT, _INT = {"type": "string"}, {"type": "integer"}
SCHEMAS = {
    "calculator": _schema(
        "calculator",
        "Work out a sum, difference or product.",
        {
            "a": {"type": "number"},
            "op": {"type": "string", "enum": ["add", "subtract", "multiply"]},
            "b": {"type": "number"},
        },
        ["a", "op", "b"],
    ),
    "clock": _schema("clock", "Tell the time in a town.", {"town": _TEXT}, ["town"]),
    "store_set": _schema(
        "store_set",
        "Keep a value under a key.",
        {"key": _TEXT, "value": {"type": ["string", "integer"]}},
        ["key", "value"],
    ),
    "store_get": _schema("store_get", "Look up the value of a key.", {"key": _TEXT}, ["key"]),
    "file_search": _schema(
        "file_search",
        "Find files whose text holds a word.",
        {"word": _TEXT, "limit": _INT, "exact": {"type": "boolean"}},
        ["word"],
    ),
}


def _calculate(src):
    a, b = src.number_pair(src.r.randint(1, 4), src.r.randint(1, 3))
    op = src.pick(("add", "subtract", "multiply"))
    ask = {
        "add": ("What is {a} plus {b}?", "Work out {a} + {b}."),
        "subtract": ("What is {a} minus {b}?", "Work out {a} - {b}."),
        "multiply": ("What is {a} times {b}?", "Work out {a} * {b}."),
    }[op]
    result = {"add": a + b, "subtract": a - b, "multiply": a * b}[op]
    return (
        src.pick(ask).format(a=a, b=b),
        ("calculator", {"a": a, "op": op, "b": b}),
        str(result),
        f"The result is {result}.",
    )


def _clock(src):
    town, time = src.pick(TOWNS), f"{src.r.randrange(24):02d}:{src.r.randrange(60):02d}"
    ask = src.pick(
        ("What time is it in {t}?", "How late is it in {t}?", "Tell me the time in {t}.")
    )
    return ask.format(t=town), ("clock", {"town": town}), time, f"In {town} it is {time}."


def _set(src):
    key = src.person()
    value = (
        src.r.randrange(10, 1000)
        if src.chance(0.5)
        else src.pick(src.pick((COLOURS, FRUITS, THINGS)))
    )
    ask = src.pick(("Keep {v} under {k}.", "Store {v} for {k}.", "Remember {v} for {k}."))
    return (
        ask.format(v=value, k=key),
        ("store_set", {"key": key, "value": value}),
        "ok",
        f"I kept {value} under {key}.",
    )


def _get(src):
    key = src.person()
    value = src.pick(src.pick(list(VALUES.values())))
    ask = src.pick(("What is stored for {k}?", "Look up {k}.", "Which value does {k} have?"))
    return (ask.format(k=key), ("store_get", {"key": key}), value, f"{key} has the value {value}.")


def _search(src):
    word = src.pick(src.pick((THINGS, FRUITS, COLOURS)))
    args, text = {"word": word}, src.pick(("Find files about {w}", "Search the files for {w}"))
    text = text.format(w=word)
    if src.chance(0.5):
        args["limit"] = src.r.randint(2, 20)
        text += f", at most {args['limit']}"
    if src.chance(0.3):
        args["exact"] = True
        text += ", the exact word"
    files = [
        f"{src.pick(THINGS)}_{src.r.randrange(10, 100)}.txt" for _ in range(src.r.randint(0, 3))
    ]
    result = ", ".join(files) if files else "none"
    answer = f"I found {result}." if files else "I found no files."
    return text + ".", ("file_search", args), result, answer


TASKS = {
    "calculator": _calculate,
    "clock": _clock,
    "store_set": _set,
    "store_get": _get,
    "file_search": _search,
}


def _offer(src, needed):
    """The schemas of the needed tools and some others, in any order."""
    others = [n for n in SCHEMAS if n not in needed]
    names = list(needed) + src.some(others, src.r.randint(0, len(others)))
    src.r.shuffle(names)
    return names


def turn(src, names, serial):
    """One exchange with tools: (messages, index of the message with the calls)."""
    n = 2 if src.chance(0.25) else 1
    jobs = [TASKS[src.pick(names)](src) for _ in range(n)]
    text = " ".join(j[0] for j in jobs)
    calls = [{"name": j[1][0], "arguments": j[1][1]} for j in jobs]
    said = ", ".join(c["name"] for c in calls)
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "reasoning": f"I call {said}.", "calls": calls},
    ]
    for k, job in enumerate(jobs):
        messages.append({"role": "tool", "tool_call_id": f"call_{serial}_{k}", "content": job[2]})
    messages.append(
        {
            "role": "assistant",
            "reasoning": "I have the result." if n == 1 else "I have the results.",
            "content": " ".join(j[3] for j in jobs),
        }
    )
    return messages


def conversation(src, n_turns, plain_turn):
    """A chat with some tools on offer; one turn in six needs none (plain_turn(src) makes it)."""
    names = _offer(src, src.some(list(SCHEMAS), src.r.randint(1, 2)))
    messages = []
    if src.chance(0.3):
        messages.append({"role": "system", "content": "You are a helpful assistant."})
    for _ in range(n_turns):
        if src.chance(1 / 6):
            question, answer = plain_turn(src)
            messages += [
                {"role": "user", "content": question},
                {"role": "assistant", "reasoning": "I need no tool.", "content": answer},
            ]
        else:
            messages += turn(src, names, len(messages) + 1)
    return {"messages": messages, "tools": [SCHEMAS[n] for n in names], "thinking": src.chance(0.5)}
