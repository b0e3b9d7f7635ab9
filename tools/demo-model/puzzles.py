"""Problems where thinking helps: sums, counting, sorting, order. (question, reasoning, answer)."""

from world import ANIMALS, FIRST, FRUITS, THINGS


def addition(src, digits=None):
    """The reasoning adds digit by digit from the right and builds the result up."""
    da, db = (digits, digits) if digits else (src.r.choice((1, 2, 2, 3, 3, 4, 4)), 0)
    db = db or src.r.choice((da, da, max(1, da - 1), min(4, da + 1)))
    a, b = src.number_pair(da, db)
    question = src.pick(
        ("What is {a} + {b}?", "Add {a} and {b}.", "{a} + {b} = ?", "How much is {a} plus {b}?")
    ).format(a=a, b=b)
    return question, add_steps(a, b), str(a + b)


def add_steps(a, b):
    xs, ys, carry, done, steps = str(a)[::-1], str(b)[::-1], 0, "", []
    for i in range(max(len(xs), len(ys))):
        x, y = (int(s[i]) if i < len(s) else 0 for s in (xs, ys))
        total = x + y + carry
        done = str(total % 10) + done
        steps.append(f"{x}+{y}+{carry}={total}:{done}")
        carry = total // 10
    if carry:
        steps.append(f"1:1{done}")
    return f"{a}+{b}\n" + "\n".join(steps)


def counting(src):
    """How many things of a kind are in a list. No word occurs twice, so each leads to the next."""
    kinds = {"fruits": FRUITS, "animals": ANIMALS}
    wanted = src.pick(tuple(kinds))
    items = src.some([*FRUITS, *ANIMALS, *THINGS], src.r.randint(4, 10))
    n, steps = 0, []
    for item in items:
        n += item in kinds[wanted]
        steps.append(f"{item} {n}")
    question = f"How many {wanted} are in this list: {', '.join(items)}?"
    return question, ", ".join(steps), str(n)


def sorting(src):
    n = src.r.randint(3, 5)
    numbers = src.some(range(10, 100), n)
    steps, left = [], list(numbers)
    while left:
        low = min(left)
        steps.append(f"{' '.join(map(str, left))}: {low}")
        left.remove(low)
    question = src.pick(("Sort {x}.", "Put {x} in order.")).format(x=" ".join(map(str, numbers)))
    return question, "\n".join(steps), " ".join(map(str, sorted(numbers)))


def ordering(src):
    """A chain of comparisons, told in any order; who is first or last?"""
    n = src.r.randint(3, 4)
    people = src.some(FIRST, n)
    more, most, least = src.pick(
        (
            ("taller", "tallest", "shortest"),
            ("older", "oldest", "youngest"),
            ("faster", "fastest", "slowest"),
        )
    )
    facts = [f"{a} is {more} than {b}." for a, b in zip(people, people[1:], strict=False)]
    src.r.shuffle(facts)
    top = src.chance(0.5)
    question = " ".join(facts) + f" Who is the {most if top else least}?"
    at = people.index(facts[0].split()[0])  # both ways from the first fact, one look-up a step
    down, up = people[at:], people[at::-1]
    reasoning = " > ".join([*down, "none"]) + "\n" + " < ".join([*up, "none"])
    return question, reasoning, people[0] if top else people[-1]


ALL = {"add": addition, "count": counting, "sort": sorting, "logic": ordering}
