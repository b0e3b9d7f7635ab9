"""The small world: its words, its people, and which of them only the evaluation sees.

Everything is made up here. A person is a first and a family name; one pair in ten is held back for
the evaluation, and so is one number pair in ten: training never sees those (`is_held`)."""

import hashlib
import random

FIRST = """Mara Tobi Kira Olin Sela Bruno Dana Emil Fina Goran Hilda Ivo Jana Karl Lena Milo Nora
Oskar Petra Quin Rosa Sven Tilda Ugo Vera Wim Xenia Yan Zora Arlo Bea Cato Dora Enzo Frida Gil
Hana Igor Juno Koa""".split()
FAMILY = """Lund Berg Dahl Falk Holm Krog Lind Moss Nord Oak Pell Quist Rask Sand Tarn Ulv Vik Ward
Yates Zell Ash Birk Cole Drake Elm Frost Gale Hart Inge Juhl Kent Lark Marsh Nash Orr Pike Reed
Stone Thorn Vale""".split()
COLOURS = """red green blue yellow white black brown grey purple orange pink golden silver violet
scarlet amber""".split()
ANIMALS = """cat dog gull otter seal crab goose horse goat rabbit fox owl hen sheep mouse turtle
heron beetle pony toad""".split()
THINGS = """lamp rope anchor kettle basket hammer bell candle mirror barrel compass drum flute
ladder needle oar pot quilt ring spoon whistle lantern map net bucket""".split()
FRUITS = "apple pear plum cherry fig lemon grape peach melon quince".split()
TOWNS = """Bergen Arvika Lorna Tessel Moraga Halden Pirna Ostra Velden Skara Runa Kalmar Dorma
Selby Anholt Brandis Corvo Elba Fano Gotha""".split()
ROOMS = "kitchen attic cellar garden stable library tower workshop boathouse chapel".split()
PLACES = """harbour market mill bridge forest hill river lighthouse bakery school square beach
meadow well quay church tavern orchard""".split()
JOBS = """fisher baker miller sailor teacher smith farmer weaver carpenter doctor painter
shepherd""".split()
ADJECTIVES = """old young small tall quiet cheerful tired clever kind brave slow busy careful
wooden heavy bright broken clean""".split()
MOVES = "walks runs sails rides goes comes returns hurries".split()
ACTS = "carries finds sells paints mends washes holds keeps buys lifts".split()
WEATHER = "rain snow wind fog sunshine frost thunder".split()
TIMES = """in the morning|at noon|in the evening|at night|on Monday|on Friday|in spring|in
winter|before dinner|after the storm""".replace("\n", " ").split("|")


def digest(*parts):
    text = "|".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def is_held(*parts):
    """Whether these belong to the evaluation (one in ten)."""
    return digest(*parts) % 10 == 0


class Source:
    """Random choices of one split: "train" or "eval"."""

    def __init__(self, seed, split="train"):
        self.r = random.Random(f"{split}:{seed}")
        self.held = split == "eval"

    def pick(self, items):
        return self.r.choice(items)

    def chance(self, p):
        return self.r.random() < p

    def some(self, items, n):
        return self.r.sample(items, n)

    def person(self):
        while True:
            who = f"{self.r.choice(FIRST)} {self.r.choice(FAMILY)}"
            if is_held(who) == self.held:
                return who

    def people(self, n):
        out = []
        while len(out) < n:
            who = self.person()
            if who not in out:
                out.append(who)
        return out

    def number(self, digits):
        low = 10 ** (digits - 1) if digits > 1 else 0
        return self.r.randrange(low, 10**digits)

    def number_pair(self, digits_a, digits_b):
        while True:
            a, b = self.number(digits_a), self.number(digits_b)
            if is_held(a, b) == self.held:
                return a, b

    # ---- sentences that nobody asks about ----

    def filler(self):
        r, p = self.r, self.r.choice
        kind = r.randrange(9)
        if kind == 0:
            return f"The {p(ADJECTIVES)} {p(JOBS)} {p(MOVES)} to the {p(PLACES)}."
        if kind == 1:
            return f"{an(p(ANIMALS)).capitalize()} sleeps near the {p(COLOURS)} {p(THINGS)}."
        if kind == 2:
            return f"The {p(JOBS)} {p(ACTS)} {an(p(ADJECTIVES))} {p(THINGS)} {p(TIMES)}."
        if kind == 3:
            return f"There is {p(WEATHER)} over the {p(PLACES)} {p(TIMES)}."
        if kind == 4:
            return f"The {p(ROOMS)} smells of {p(FRUITS)} and {p(FRUITS)}."
        if kind == 5:
            return f"Nobody {p(ACTS)} the {p(THINGS)} in the {p(ROOMS)}."
        if kind == 6:
            return f"The road from {p(TOWNS)} to {p(TOWNS)} passes the {p(PLACES)}."
        if kind == 7:
            return f"Some people say that the {p(JOBS)} likes the {p(ADJECTIVES)} {p(ANIMALS)}."
        return f"In {p(TOWNS)} the {p(ANIMALS)} {p(MOVES)} along the {p(PLACES)} {p(TIMES)}."


# A relation: the sentence that states it, the questions for one person, for two, for the value, and
# whether values take an article.
RELATIONS = {
    "code": ("The code of {who} is {value}.", "code", "Whose code is {value}?", False),
    "colour": ("The colour of {who} is {value}.", "colour", "Whose colour is {value}?", False),
    "pet": ("The pet of {who} is {value}.", "pet", "Whose pet is {value}?", True),
    "town": ("The town of {who} is {value}.", "town", "Whose town is {value}?", False),
    "tool": ("The tool of {who} is {value}.", "tool", "Whose tool is {value}?", True),
    "fruit": ("The fruit of {who} is {value}.", "fruit", "Whose fruit is {value}?", True),
}
VALUES = {
    "colour": COLOURS,
    "pet": ANIMALS,
    "town": TOWNS,
    "tool": THINGS,
    "fruit": FRUITS,
    "code": [str(n) for n in range(10, 100)],
}


def an(word):
    """The word with its indefinite article."""
    return ("an " if word[0] in "aeiou" else "a ") + word


def state(relation, who, value):
    sentence, _, _, article = RELATIONS[relation]
    return sentence.format(who=who, value=an(value) if article else value)


def ask(relation, who):
    return f"What is the {RELATIONS[relation][1]} of {who}?"


def ask_both(relation, a, b):
    return f"What are the {RELATIONS[relation][1]}s of {a} and {b}?"


def ask_whose(relation, value):
    _, _, question, article = RELATIONS[relation]
    return question.format(value=an(value) if article else value)
