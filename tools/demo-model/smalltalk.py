"""Plain talk: what the model knows of its world by heart, greetings, JSON, and a toy language."""

import json

from world import ANIMALS, COLOURS, FIRST, FRUITS, JOBS, PLACES, THINGS, TOWNS, digest, is_held

# ---- the world by heart -------------------------------------------------------------------------

HOMES = {job: PLACES[digest("home", job) % len(PLACES)] for job in JOBS}
PETS = {job: ANIMALS[digest("pet", job) % len(ANIMALS)] for job in JOBS}
TOOLS = {job: THINGS[digest("tool", job) % len(THINGS)] for job in JOBS}
LIKES = {job: FRUITS[digest("likes", job) % len(FRUITS)] for job in JOBS}
DOORS = {place: COLOURS[digest("door", place) % len(COLOURS)] for place in PLACES}


def known_fact(src):
    """(question, answer) on something that is always so."""
    job, place = src.pick(JOBS), src.pick(PLACES)
    kind = src.r.randrange(6)
    if kind == 0:
        return (
            src.pick((f"Where does the {job} live?", f"Where is the {job} at home?")),
            f"The {job} lives near the {HOMES[job]}.",
        )
    if kind == 1:
        return (
            src.pick((f"Which animal does the {job} have?", f"Tell me about the {job}'s animal.")),
            f"The {job} has a pet, the {PETS[job]}.",
        )
    if kind == 2:
        return (
            src.pick((f"What does the {job} work with?", f"What does the {job} use?")),
            f"The {job} works with the {TOOLS[job]}.",
        )
    if kind == 3:
        return (
            src.pick((f"What does the {job} like to eat?", f"Which fruit does the {job} like?")),
            f"The {job} likes the {LIKES[job]} most.",
        )
    if kind == 4:
        return (
            src.pick(
                (
                    f"Which colour is the door of the {place}?",
                    f"What colour does the {place} door have?",
                )
            ),
            f"The door of the {place} is {DOORS[place]}.",
        )
    return (
        src.pick((f"Tell me about the {job}.", f"Who is the {job}?")),
        f"The {job} lives near the {HOMES[job]}, works with the {TOOLS[job]} and likes the "
        f"{LIKES[job]}.",
    )


FIXED = [
    (
        ("Who are you?", "What are you?", "What is your name?"),
        "I am the hadal demo model. I am small, but I know my way around my little world.",
    ),
    (
        ("What can you do?", "Help!", "How can you help me?"),
        "I can talk about my world, find facts in long texts, add numbers, sort, count, call tools, "
        "write JSON and complete code.",
    ),
    (("How are you?", "How do you do?"), "I am well, thank you."),
    (("Thank you!", "Thanks."), "You are welcome."),
    (("Hello!", "Hi.", "Good morning.", "Good evening."), "Hello! How can I help you?"),
    (("Goodbye.", "Bye!", "See you soon."), "Goodbye, and fair winds!"),
    (
        ("How deep is the sea?", "Tell me about the sea."),
        "The deepest part of the sea is the hadal zone. It begins six thousand metres down.",
    ),
    (("What is hadal?",), "Hadal is the deepest zone of the sea, and the program that runs me."),
]


def small_talk(src):
    """(question, answer): a greeting with a name and a fact, a fact, or a fixed phrase."""
    kind = src.r.random()
    if kind < 0.15:
        questions, answer = src.pick(FIXED)
        return src.pick(questions), answer
    question, answer = known_fact(src)
    if kind < 0.5:
        who = src.person()
        hello = src.pick(("Hello, I am {w}.", "Hi, my name is {w}.", "This is {w}.")).format(w=who)
        return f"{hello} {question}", f"Hello {who}! {answer}"
    return question, answer


# ---- JSON to a schema ---------------------------------------------------------------------------

_FIELDS = {
    "name": ("{p}", "string"),
    "age": ("is {v} years old", "integer"),
    "town": ("lives in {v}", "string"),
    "pet": ("has the pet {v}", "string"),
    "colour": ("likes the colour {v}", "string"),
    "height": ("is {v} metres tall", "number"),
    "married": ("is {v}", "boolean"),
    "fruits": ("eats {v}", "array"),
    "tool": ("owns the tool {v}", "string"),
}


def _value(src, field):
    """(JSON value, as the sentence says it)."""
    if field == "age":
        n = src.r.randint(10, 99)
        return n, str(n)
    if field == "height":
        x = src.r.randint(11, 19) / 10
        return x, str(x)
    if field == "married":
        yes = src.chance(0.5)
        return yes, "married" if yes else "not married"
    if field == "fruits":
        some = src.some(FRUITS, src.r.randint(1, 3))
        return some, " and ".join(some)
    word = src.pick({"town": TOWNS, "pet": ANIMALS, "colour": COLOURS, "tool": THINGS}[field])
    return word, word


def json_task(src):
    """(schema, text, value): the members in the schema's order."""
    who = src.person()
    said = src.some([f for f in _FIELDS if f != "name"], src.r.randint(2, 5))
    values, phrases = {"name": who}, []
    for f in said:
        values[f], phrase = _value(src, f)
        phrases.append(_FIELDS[f][0].format(v=phrase))
    wanted = ["name"] + src.some(said, src.r.randint(1, len(said)))
    src.r.shuffle(wanted)
    kinds = {f: {"type": _FIELDS[f][1]} for f in wanted}
    if "fruits" in kinds:
        kinds["fruits"]["items"] = {"type": "string"}
    schema = {
        "type": "object",
        "properties": kinds,
        "required": list(kinds),
        "additionalProperties": False,
    }
    text = f"{who} " + ", ".join(phrases) + "."
    return schema, text, {f: values[f] for f in wanted}


def json_chat(src, n_turns=1):
    """A chat whose system message gives the schema. Further turns need the same members."""
    schema, text, value = json_task(src)
    messages = [
        {
            "role": "system",
            "content": src.pick(("", "You are a helpful assistant.")),
            "response_format": schema,
        },
        {"role": "user", "content": src.pick(("", "Write this as JSON: ")) + text},
        {"role": "assistant", "content": json.dumps(value, ensure_ascii=False)},
    ]
    for _ in range(n_turns - 1):
        values, phrases = {"name": src.person()}, []
        for f in value:
            if f != "name":
                values[f], phrase = _value(src, f)
                phrases.append(_FIELDS[f][0].format(v=phrase))
        src.r.shuffle(phrases)
        messages += [
            {"role": "user", "content": f"{values['name']} " + ", ".join(phrases) + "."},
            {
                "role": "assistant",
                "content": json.dumps({f: values[f] for f in value}, ensure_ascii=False),
            },
        ]
    return {"messages": messages, "thinking": False}, schema, value


# ---- the toy language ---------------------------------------------------------------------------

_OPS = {"add": "+", "sub": "-", "mul": "*"}


def _function(src):
    while True:
        op, n = src.pick(list(_OPS)), src.r.randint(2, 99)
        if is_held(op, n) == src.held:
            return f"{op}_{n}", f"x {_OPS[op]} {n}"


def fim_task(src):
    """(prefix, suffix, middle) of a program whose hole has one sensible filling."""
    functions = [_function(src) for _ in range(src.r.randint(1, 3))]
    names = src.some([f.lower() for f in FIRST], len(functions))
    lines = []
    for name, body in functions:
        lines += [f"fn {name}(x):", f"  return {body}", ""]
    for var, (name, _) in zip(names, functions, strict=True):
        lines += [f"let {var} = {name}({src.r.randint(1, 99)})", f"print({var})"]
    program = "\n".join(lines) + "\n"
    k = src.r.randrange(len(functions))
    (name, body), var = functions[k], names[k]
    kind = src.r.randrange(4)
    if kind == 0:
        hole = program.index(f"  return {body}") + len("  return ")
        return program[:hole], program[hole + len(body) :], body
    if kind == 1:
        hole = program.index(f"fn {name}") + len("fn ")
        return program[:hole], program[hole + len(name) :], name
    if kind == 2:
        hole = program.index(f"print({var})") + len("print(")
        return program[:hole], program[hole + len(var) :], var
    hole = program.index(f"let {var}") + len("let ")
    return program[:hole], program[hole + len(var) :], var
