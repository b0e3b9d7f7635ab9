"""Compares this implementation with hadal: rendered prompts id by id, and logits of trained weights.

Two implementations that share no code agree when the largest difference of a row's logits is small
beside their spread, and the likeliest id is the same nearly always where the answer is. (In prompts
that are made up at random many ids are as likely as others.)"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer

import needles
import probe
import smalltalk
import tools
from chatfmt import Encoder, render, request
from checkpoint import load_checkpoint, read_shard
from data import puzzle_chat, talk_chat
from model import Model
from world import Source


def prompts(hadal, folder, encoder, n):
    """Chats of every kind: hadal's ids against ours. Returns how many differ."""
    src, chats = Source("prompts", "eval"), []
    for i in range(n):
        chats.append(
            (talk_chat, puzzle_chat)[i % 2](src, 3)
            if i % 5 < 2
            else tools.conversation(src, 2, smalltalk.small_talk)
            if i % 5 == 2
            else smalltalk.json_chat(src)[0]
            if i % 5 == 3
            else needles.conversation(src, len, 300)
        )
    for chat in chats:
        while chat["messages"][-1]["role"] == "assistant":
            chat["messages"].pop()
    lines = "\n".join(json.dumps(request(c) | {"safe": True}, ensure_ascii=False) for c in chats)
    out = subprocess.run(
        [hadal, "render", "--jsonl", folder],
        input=lines,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
    ).stdout.splitlines()
    bad = 0
    for chat, line in zip(chats, out, strict=True):
        got, want = json.loads(line), encoder.encode(render(chat))[0]
        if got.get("ids") != want:
            bad += 1
            print("differs:", chat, got, want, sep="\n")
    return bad


def rows(encoder, n):
    """(ids, mask) of n texts of the evaluation's split, answers included."""
    src, out = Source("logits", "eval"), []
    for i in range(n):
        kind = probe.KINDS[i % len(probe.KINDS)]
        segments = probe.samples(kind, src, lambda t: len(encoder.plain(t)), 600)
        out.append(encoder.encode(segments))
    return out


@torch.no_grad()
def ours(model, ids):
    pad = torch.tensor([ids + [2] * (-len(ids) % 128)])
    return model.logits(model.streams(pad)[0, : len(ids)])


def theirs(hadal, folder, ids, device):
    with tempfile.TemporaryDirectory() as tmp:
        given, made = os.path.join(tmp, "ids.json"), os.path.join(tmp, "out.safetensors")
        with open(given, "w", encoding="ascii") as f:
            json.dump(ids, f)
        subprocess.run(
            [hadal, "logits", folder, "--ids", given, "--out", made, "--device", device],
            check=True,
            capture_output=True,
        )
        return read_shard(made)["logits"]


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("folder", help="checkpoint directory")
    a.add_argument("--hadal", default="build/hadal")
    a.add_argument("--device", default="cpu", help="hadal's device")
    a.add_argument("-n", type=int, default=50, help="prompts")
    a.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        help="largest allowed median of |difference| / standard deviation of a row",
    )
    o = a.parse_args()
    encoder = Encoder(Tokenizer.from_file(os.path.join(o.folder, "tokenizer.json")))
    bad = prompts(o.hadal, o.folder, encoder, o.n)
    print(f"prompts: {o.n - bad} of {o.n} the same ids")
    cfg, params = load_checkpoint(o.folder)
    model = Model(cfg, params, quant=True, sparse=True, exact=True)
    errors, same, said = [], [], []
    for ids, mask in rows(encoder, o.n):
        x, y = ours(model, ids), theirs(o.hadal, o.folder, ids, o.device)
        errors.append((x - y).abs().amax(1) / y.std(1))
        same.append(x.argmax(1) == y.argmax(1))
        said.append(torch.tensor(list(mask[1:]) + [0]).bool())
    e, same, said = torch.cat(errors), torch.cat(same), torch.cat(said)
    share = {}
    for name, at in (("all", said | True), ("answers", said)):
        share[name] = float(same[at].float().mean())
        print(
            f"logits, {name}: {int(at.sum())} positions of {o.n} texts, largest difference over "
            f"spread: median {e[at].median():.2e}, 99% {e[at].quantile(0.99):.2e}, largest "
            f"{e[at].max():.2e}; likeliest id the same {100 * share[name]:.3f} %"
        )
    if bad or share["answers"] < 0.995 or e.median() > o.tolerance:
        sys.exit(1)


if __name__ == "__main__":
    main()
