"""The model's own byte-level BPE, in the official file's layout with the official patterns."""

import argparse
import json
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from data import corpus

# The three official split patterns (docs/text.md).
DIGITS, CJK = r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+"
WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^CRLF\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[CRLF]*|\s*[CRLF]+|\s+(?!\S)|\s+"""
).replace("CRLF", "\r\n")

# Added tokens behind the merges, with the official spelling. The placeholder is DSpark's noise.
PLAIN = """<｜fim▁hole｜> <｜fim▁begin｜> <｜fim▁end｜> <｜User｜> <｜Assistant｜> <|EOT|> <think> </think>
｜DSML｜ <｜begin▁sys｜> <｜end▁sys｜> <｜latest_reminder｜> <｜action｜> <｜query｜> <｜authority｜> <｜domain｜>
<｜task｜> <｜title｜> <｜answer｜> <｜search｜> <｜extracted_url｜> <｜read_url｜>""".split()
NOISE = "<｜place▁holder▁no▁0｜>"
SPECIAL = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"]


def _splitter():
    def split(pattern):
        return pre_tokenizers.Split(Regex(pattern), "isolated")

    return pre_tokenizers.Sequence(
        [
            split(DIGITS),
            split(CJK),
            split(WORDS),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def byte_letters():
    """The 256 printable letters that stand for bytes, in the order of the official ids."""
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, n = [chr(b) for b in shown], 0
    for b in range(256):
        if b not in shown:
            letters.append(chr(256 + n))
            n += 1
    return letters


def train(size, seed, n_texts):
    """tokenizer.json as a dictionary; size counts all ids."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = _splitter()
    tok.decoder = decoders.ByteLevel()
    n_words = size - len(PLAIN) - 1
    trainer = trainers.BpeTrainer(
        vocab_size=n_words,
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=byte_letters(),
        min_frequency=2,
    )
    # Digits stay single: sums are learned digit by digit.
    texts = (re.sub(r"[0-9]", " 7 ", t) for t in corpus(seed, n_texts))
    tok.train_from_iterator(texts, trainer)
    made = json.loads(tok.to_str())
    merges = [" ".join(m) if isinstance(m, list) else m for m in made["model"]["merges"]]
    vocab = {t: i for i, t in enumerate(SPECIAL + byte_letters())}
    for m in merges:
        vocab.setdefault(m.replace(" ", ""), len(vocab))
    added = [_added(i, t, True) for i, t in enumerate(SPECIAL)]
    added.append(_added(len(vocab), NOISE, True))
    added += [_added(len(vocab) + 1 + i, t, False) for i, t in enumerate(PLAIN)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": made["pre_tokenizer"],
        "post_processor": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": False,
            "use_regex": True,
        },
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def _added(i, content, special):
    return {
        "id": i,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--out", required=True, help="tokenizer.json to write")
    a.add_argument("--size", type=int, default=2048)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--texts", type=int, default=6000)
    o = a.parse_args()
    made = train(o.size, o.seed, o.texts)
    with open(o.out, "w", encoding="utf-8") as f:
        json.dump(made, f, ensure_ascii=False, indent=0)
    n = len(made["model"]["vocab"])
    print(
        f"{o.out}: {n} words and bytes, {len(made['added_tokens']) - 3} more added tokens, "
        f"{n + len(made['added_tokens']) - 3} ids"
    )


if __name__ == "__main__":
    main()
