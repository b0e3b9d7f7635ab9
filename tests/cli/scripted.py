"""A model that says what a test wants: every token has fixed successors.

Made from `hadal synth unit` by changing some weights. No layer adds anything to the residual
streams (attention's and experts' last matrices are zero), so the head sees the embedding of the
newest token alone. Embeddings are rows of a Hadamard matrix, which are orthogonal: the logit of
token n after token t is what the table says, all others are zero. A token that stands for a piece
of text is an added token of the tokenizer.
"""
import glob
import json
import os
import struct

from support import hadal

N_BYTE_TOKENS = 3 + 256
DIM = 128  # of the preset, and so the most tokens that can have successors


def hadamard(row, column):
    return -1.0 if bin(row & column).count("1") % 2 else 1.0


def bf16(values):
    return b"".join(struct.pack("<f", x)[2:] for x in values)


def change_tensors(directory, change):
    """change(name, shape) returns new bytes, or None."""
    for path in glob.glob(os.path.join(directory, "*.safetensors")):
        with open(path, "r+b") as f:
            n = struct.unpack("<Q", f.read(8))[0]
            for name, t in json.loads(f.read(n)).items():
                begin, end = t["data_offsets"] if name != "__metadata__" else (0, 0)
                data = change(name, t["shape"], end - begin) if end else None
                if data is not None:
                    assert len(data) == end - begin, name
                    f.seek(8 + n + begin)
                    f.write(data)


class Script:
    def __init__(self, directory):
        self.directory = directory
        hadal("synth", "unit", "--out", directory)
        with open(os.path.join(directory, "tokenizer.json"), encoding="utf-8") as f:
            self.tokenizer = json.load(f)
        self.ids = {t["content"]: t["id"] for t in self.tokenizer["added_tokens"]}
        self.logits = {}  # (token, successor) -> logit

    def id(self, text):
        """The token of a piece of text, a new one if need be."""
        if text not in self.ids:
            self.ids[text] = N_BYTE_TOKENS + len(self.ids) - 3
            self.tokenizer["added_tokens"].append(
                {"id": self.ids[text], "content": text, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": True, "special": False})
        return self.ids[text]

    def follow(self, text, successor, logit=1000.0):
        self.logits[self.id(text), self.id(successor)] = logit

    def write(self):
        state = {t: k for k, t in enumerate(sorted({t for t, _ in self.logits}))}
        assert len(state) <= DIM

        def rows(shape, row):
            return b"".join(bf16(row(i)) for i in range(shape[0]))

        def embedding(t):
            k = state.get(t)
            return [0.0 if k is None else hadamard(k, c) for c in range(DIM)]

        def head(n):
            row = [0.0] * DIM
            for (t, successor), logit in self.logits.items():
                if successor == n:
                    row = [x + logit / DIM * y for x, y in zip(row, embedding(t))]
            return row

        def change(name, shape, size):
            if name == "embed.weight":
                return rows(shape, embedding)
            if name == "head.weight":
                return rows(shape, head)
            if name == "norm.weight":
                return bf16([1.0] * DIM)
            if name.endswith((".attn.wo_b.weight", ".w2.weight")):
                return bytes(size)
            return None

        change_tensors(self.directory, change)
        with open(os.path.join(self.directory, "tokenizer.json"), "w", encoding="utf-8") as f:
            json.dump(self.tokenizer, f)
