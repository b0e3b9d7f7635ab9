#!/usr/bin/env python3
"""Compare `hadal tokenize` with the Hugging Face `tokenizers` package on generated strings.

usage: tests/oracle/tokenizers_equality.py [--hadal build/hadal] [--count 20000] [--seed 1]

Each string is encoded with added tokens and plain, by the official V4 tokenizer and by V4.1's (made
from the entries that differ, its merges spelled as pairs). The ids, and random other ids, are decoded
with and without special tokens. Exit status: 0 all equal, 1 not, 77 the package is missing.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
except ImportError:
    print("skipped: the 'tokenizers' package is not installed (pip install tokenizers==0.23.3)")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = ROOT / "tests" / "data" / "text"

# First and last code point of blocks whose characters follow each other in real text.
SCRIPTS = {
    "latin": [(0x41, 0x5A), (0x61, 0x7A)],
    "latin-1": [(0xC0, 0xFF), (0x61, 0x7A)],
    "latin-ext": [(0x100, 0x24F), (0x1E00, 0x1EFF)],
    "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "cyrillic": [(0x400, 0x52F)],
    "armenian": [(0x530, 0x58F)],
    "hebrew": [(0x590, 0x5FF)],
    "arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF)],
    "syriac-thaana-nko": [(0x700, 0x74F), (0x780, 0x7FF)],
    "devanagari": [(0x900, 0x97F)],
    "bengali-gurmukhi": [(0x980, 0xA7F)],
    "gujarati-oriya": [(0xA80, 0xB7F)],
    "tamil-telugu": [(0xB80, 0xC7F)],
    "kannada-malayalam": [(0xC80, 0xD7F)],
    "sinhala-thai-lao": [(0xD80, 0xEFF)],
    "tibetan": [(0xF00, 0xFFF)],
    "myanmar-georgian": [(0x1000, 0x10FF), (0x1C80, 0x1CBF)],
    "hangul-jamo": [(0x1100, 0x11FF)],
    "ethiopic-cherokee": [(0x1200, 0x13FF)],
    "canadian-ogham-runic": [(0x1400, 0x16FF)],
    "khmer-mongolian": [(0x1780, 0x18AF)],
    "punctuation": [(0x2000, 0x206F), (0x2E00, 0x2E7F), (0x3000, 0x303F)],
    "symbols": [(0x20A0, 0x2BFF)],
    "glagolitic-coptic": [(0x2C00, 0x2CFF)],
    "kana": [(0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF65, 0xFF9F)],
    "bopomofo": [(0x3100, 0x31BF)],
    "enclosed-cjk": [(0x3200, 0x33FF)],
    "han-ext-a": [(0x3400, 0x4DBF)],
    "han": [(0x4E00, 0x9FFF)],
    "yi-vai-bamum": [(0xA000, 0xA6FF)],
    "hangul": [(0xAC00, 0xD7A3)],
    "private": [(0xE000, 0xE0FF)],
    "compatibility": [(0xF900, 0xFAFF), (0xFE30, 0xFE6F)],
    "fullwidth": [(0xFF01, 0xFF5E)],
    "old-scripts": [(0x10000, 0x10FFF)],
    "indic-supplement": [(0x11000, 0x11FFF)],
    "cuneiform-egypt": [(0x12000, 0x1345F)],
    "math": [(0x1D400, 0x1D7FF)],
    "emoji": [(0x1F300, 0x1F6FF), (0x1F900, 0x1FAFF)],
    "han-ext-b": [(0x20000, 0x203FF), (0x30000, 0x300FF)],
    "tags": [(0xE0000, 0xE01EF)],
}
SPACES = " \t\n\r\v\f\u0085\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
NEARLY_SPACES = "\u001c\u001f\u180e\u200b\ufeff"
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~" + "…—–“”‘’«»¿¡§¶•·°±×÷€£¥©®™→←↑↓∀∃∈∑√∞≈≠≤≥，。！？；：、（）《》【】「」"
DIGITS = "0123456789" * 3 + "²³¹½¼¾٠١٢٣٤५६७௧௨Ⅻⅳ①②⓪０１２𝟘𝟙𐄇"
EMOJI = ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "❤️", "☺️", "1️⃣", "🤷🏾‍♀️", "😀", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
MARKS = "\u0300\u0301\u0308\u0327\u20dd\ufe0f\u0903\u093e\u3099\u309a\U0001d165"
WORDS = """the of and to in is that for with as this it be on by are not or from at which was have an
function return if else while for int char void static struct class def import self None True
const let var async await public private String println printf sizeof uint32_t malloc
der die und das nicht l'eau d'accord qu'il être où señor niño façade naïve Straße København
don't I'm you're we'll they've it's O'Neill rock'n'roll""".split()
CODE = [
    'def f(x):\n    return x ** 2\n', "for (int i = 0; i < n; i++) {\n\t\ta[i] += 1;\n\t}\n",
    '{"key": [1, 2.5e-10, null], "ключ": "值"}', "SELECT * FROM t WHERE a<>b AND c LIKE '%x_';",
    "https://example.org/a-b/c_d?q=1&r=%20#top", "<div class=\"a b\">\r\n  <p>x</p>\r\n</div>",
    "$ git commit -m 'fix: x' && make -j8 2>&1 | tee log.txt", "#include <stdio.h>\n",
    "\\frac{a}{b} \\sum_{i=0}^{n} x_i^2", "C:\\Users\\me\\file.txt", "a->b::c<d>(*e)&~f", "```c\nx\n```",
]


class Generator:
    def __init__(self, seed, added):
        self.rng = random.Random(seed)
        self.added = added

    def from_script(self, name=None):
        rng = self.rng
        ranges = SCRIPTS[name or rng.choice(list(SCRIPTS))]
        out = []
        for _ in range(rng.randint(1, 12)):
            first, last = rng.choice(ranges)
            out.append(chr(rng.randint(first, last)))
            if rng.random() < 0.15:
                out.append(" ")
        return "".join(out)

    def any_character(self):
        while True:
            cp = self.rng.randrange(0x110000 if self.rng.random() < 0.5 else 0x3000)
            if not 0xD800 <= cp <= 0xDFFF:
                return chr(cp)

    def run(self, pool, longest):
        return "".join(self.rng.choice(pool) for _ in range(self.rng.randint(1, longest)))

    def control(self):
        token = self.rng.choice(self.added)
        kind = self.rng.random()
        if kind < 0.6:
            return token
        if kind < 0.8:  # cut off at either end
            cut = self.rng.randint(1, len(token))
            return token[:cut] if self.rng.random() < 0.5 else token[cut - 1 :]
        return token[: len(token) // 2] + self.rng.choice(self.added)

    def part(self):
        rng = self.rng
        makers = [
            self.from_script,
            self.from_script,
            lambda: self.from_script("han"),
            lambda: self.from_script("kana"),
            lambda: self.run(SPACES, 6),
            lambda: self.run(" ", 8),
            lambda: self.run("\r\n", 4),
            lambda: self.run(NEARLY_SPACES, 2),
            lambda: self.run(SIGNS, 5),
            lambda: self.run(DIGITS, 9),
            lambda: rng.choice(EMOJI),
            lambda: self.run(MARKS, 2),
            lambda: rng.choice(WORDS),
            lambda: " " + rng.choice(WORDS),
            lambda: rng.choice(CODE),
            self.any_character,
            self.control,
            lambda: self.run("\0\x01\x1b\x7f\u00ad", 3),
        ]
        return rng.choice(makers)()

    def text(self, i):
        rng = self.rng
        if i % 50 == 49:  # one long piece
            return self.from_script(rng.choice(["latin", "han", "cyrillic", "hebrew"])).replace(" ", "") * 40
        if i % 50 == 48:
            return self.run(rng.choice([" ", "a", "ab", "\n ", "。", "-=", "é"]), 400)
        return "".join(self.part() for _ in range(rng.randint(1, 10)))


def hadal(args, tokenizer, rows, *options):
    command = [args.hadal, "tokenize", str(tokenizer), "--jsonl", *options]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def compare(kind, inputs, expected, got):
    wrong = [k for k in range(len(inputs)) if expected[k] != got[k]]
    print(f"  {kind}: {len(inputs)} compared, {len(wrong)} differ")
    for k in wrong[:5]:
        print(f"    {ascii(inputs[k])[:300]}\n      hadal {ascii(got[k])[:300]}\n      expected {ascii(expected[k])[:300]}")
    return len(wrong) + abs(len(got) - len(inputs))


def check_file(args, name, path, count):
    official = tokenizers.Tokenizer.from_file(str(path))
    spec = json.loads(path.read_text(encoding="utf-8"))
    generator = Generator(args.seed, [t["content"] for t in spec["added_tokens"]])
    n_ids = official.get_vocab_size(with_added_tokens=True)
    spec["added_tokens"] = []
    plain = tokenizers.Tokenizer.from_str(json.dumps(spec))

    texts = [generator.text(i) for i in range(count)]
    scripts = len(SCRIPTS)
    print(f"{name}: {count} strings, {sum(map(len, texts))} characters, {scripts} groups of scripts")
    rows = [{"text": t, "plain": p} for p in (False, True) for t in texts]
    got = [row["ids"] for row in hadal(args, path, rows)]
    with_added = [e.ids for e in official.encode_batch(texts, add_special_tokens=False)]
    without = [e.ids for e in plain.encode_batch(texts, add_special_tokens=False)]
    wrong = compare("encode", texts, with_added, got[:count])
    wrong += compare("encode plain", texts, without, got[count:])

    rng = generator.rng
    ids = with_added[: count // 2]
    ids += [[rng.randrange(n_ids) for _ in range(rng.randint(1, 12))] for _ in range(count // 2)]
    # Bytes and added tokens in any order: broken characters.
    pool = list(range(3, 259)) + [0, 1, 128803, 128821, 128822]
    ids += [[rng.choice(pool) for _ in range(rng.randint(1, 12))] for _ in range(count // 2)]
    for skip in (False, True):
        decoded = hadal(args, path, [{"ids": i, "skip_special": skip} for i in ids], "--decode")
        for row in decoded:
            if "".join(row["stream"]) + row["tail"] != row["text"]:
                sys.exit(f"stream and tail do not make the text: {row}")
        expected = official.decode_batch(ids, skip_special_tokens=skip)
        kind = "decode without special tokens" if skip else "decode"
        wrong += compare(kind, ids, expected, [row["text"] for row in decoded])
    return wrong


def make_v41(folder):
    spec = json.loads((DATA / "tokenizer.json").read_text(encoding="utf-8"))
    changed = json.loads((DATA / "tokenizer_v41_delta.json").read_text(encoding="utf-8"))["changed"]
    new = {entry["id"]: entry["v41"] for entry in changed}
    for token in spec["added_tokens"]:
        token.update(new.get(token["id"], {}))
    spec["model"]["merges"] = [m.split(" ") for m in spec["model"]["merges"]]
    path = pathlib.Path(folder) / "tokenizer.json"
    path.write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hadal", default=str(ROOT / "build" / "hadal"))
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}, seed {args.seed}")
    wrong = check_file(args, "V4", DATA / "tokenizer.json", args.count)
    with tempfile.TemporaryDirectory() as folder:
        wrong += check_file(args, "V4.1, merges as pairs", make_v41(folder), args.count // 4)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
