#!/usr/bin/env python3
"""Independent oracle of the sampler: prints the table of tests/unit/test_sample.c.

    python3 tests/support/sample_oracle.py

Nothing of hadal is used. The algorithm, written again from its description:

 1. Random bits number i of a stream with key k: SplitMix64's output for the state k + (i+1) * G,
    G = 0x9e3779b97f4a7c15. Key of sub-stream j of seed s: number j of the stream with key
    mix(s + G), where mix is SplitMix64's finaliser.
 2. Logits of a case: for id i, bits b = number i of the stream with key mix(case seed + G); the
    logit is (b mod 2^20) / 2^16 - 8, so within [-8, 8) and exact in FP32.
 3. Penalties (repetition first, then frequency, then presence), bias; temperature 0: argmax.
 4. score = (logit - max) / T, probabilities e^score; top-k, then top-p over what is left (the
    fewest tokens, best first, whose probabilities reach it), then min-p (relative to the best).
 5. u = (bits >> 12 + 1/2) / 2^52 with bits = number `token id` of the key of sub-stream
    `position` of the seed; the token with the largest score - log(-log(u)) wins.

Python's FP64 exp and log differ from hadal's in the last bits; a case whose outcome hangs on that
(a margin below 1e-9 of totals, below 1e-5 of a filter's border) is reported as an error.
"""
import math

MASK = (1 << 64) - 1
G = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def bits_at(key, i):
    return mix((key + (i + 1) * G) & MASK)


def sub_key(seed, stream):
    return bits_at(mix((seed + G) & MASK), stream)


def logits_of(case_seed, n):
    key = mix((case_seed + G) & MASK)
    return [(bits_at(key, i) % 2**20) / 2**16 - 8 for i in range(n)]


def check_margin(value, border, margin):
    if abs(value - border) < margin:
        raise SystemExit("a case is too close to call: change its seed")


def draw(logits, c, position):
    x = list(logits)
    prompt, generated = c.get("prompt", []), c.get("generated", [])
    r = c.get("repetition", 1.0)
    for i in set(prompt + generated):
        x[i] = x[i] / r if x[i] > 0 else x[i] * r
        n = generated.count(i)
        x[i] -= n * c.get("frequency", 0.0) + (c.get("presence", 0.0) if n else 0.0)
    for i, b in c.get("bias", []):
        x[i] += b
    order = sorted(range(len(x)), key=lambda i: (-x[i], i))
    if c["T"] == 0:
        return order[0]
    score = [(v - x[order[0]]) / c["T"] for v in x]
    if c.get("k", 0):
        order = order[: c["k"]]
    total = sum(math.exp(score[i]) for i in order)
    kept, reached = [], 0.0
    for i in order:
        w = math.exp(score[i])
        if kept and "min_p" in c:
            check_margin(w, c["min_p"], 1e-5)
            if w < c["min_p"]:
                break
        kept.append(i)
        reached += w / total
        if "p" in c:
            check_margin(reached, c["p"], 1e-5)
            if reached >= c["p"]:
                break
    key = sub_key(c["seed"], position)
    totals = sorted(
        (score[i] - math.log(-math.log(((bits_at(key, i) >> 12) + 0.5) / 2**52)), i) for i in kept
    )
    if len(totals) > 1:
        check_margin(totals[-1][0], totals[-2][0], 1e-9)
    return totals[-1][1]


CASES = {
    "greedy": dict(T=0, seed=1),
    "plain": dict(T=1.0, seed=1),
    "hot": dict(T=2.5, seed=0xFEDCBA9876543210),
    "top_k": dict(T=1.5, k=5, seed=2),
    "top_p": dict(T=1.0, p=0.75, seed=3),
    "min_p": dict(T=2.0, min_p=0.25, seed=4),
    "all_filters": dict(T=1.25, k=40, p=0.875, min_p=0.125, seed=5),
    "penalties": dict(T=0.25, k=20, seed=6, repetition=1.0625, presence=0.5, frequency=-0.375,
                      prompt=[588, 588, 353], generated=[353, 217, 217, 679, 217, 12]),
    "bias": dict(T=0.5, seed=7, bias=[(17, 9.5), (400, 9.0), (17, 0.5)]),
}
VOCAB, DRAWS = 1000, 12

if __name__ == "__main__":
    for number, (name, case) in enumerate(CASES.items()):
        ids = [draw(logits_of(number, VOCAB), case, p * 1001) for p in range(DRAWS)]
        print(f'{name}: {{{", ".join(map(str, ids))}}}')
