"""Trains the bundled model. A run is a list of phases; see README.md for the commands in use."""

import argparse
import os
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import model as M
import probe
from chatfmt import Encoder
from checkpoint import load_checkpoint
from config import Config
from data import Rows
from optim import Optimiser


class Phase:
    """mix,length,tokens[,quant][,sparse]"""

    def __init__(self, text):
        parts = text.split(",")
        self.mix, self.length, self.tokens = parts[0], int(parts[1]), int(float(parts[2]))
        self.quant, self.sparse = "quant" in parts[3:], "sparse" in parts[3:]


def batch(rows, n):
    """ids [n, length + 1], mask of learned ids, the same shape."""
    made = [rows.row() for _ in range(n)]
    return (torch.tensor([r[0] for r in made]), torch.tensor([r[1] for r in made]))


def loss_of(model, ids, mask, context_weight):
    """Cross-entropy of the next id: what the model must write counts 1, the rest context_weight."""
    x = model.streams(ids[:, :-1], want_index_loss=True)
    x, target, learned = x.flatten(0, 1), ids[:, 1:].flatten(), mask[:, 1:].flatten()
    if context_weight == 0:
        at = learned.nonzero().squeeze(1)
        x, target, learned = x[at], target[at], learned[at]
    each = F.cross_entropy(model.logits(x), target, reduction="none")
    weight = torch.where(learned, 1.0, context_weight)
    main = (each * weight).sum() / weight.sum()
    index = sum(model.index_losses) if model.index_losses else torch.zeros(())
    said = each.detach()[learned].mean()
    return main + 0.3 * index, said, float(index.detach())


@torch.no_grad()
def balance(model, rate=0.002):
    """Nudge the routing bias towards even loads (no loss term for it)."""
    for name, counts in model.loads.items():
        if name in model.p:
            counts = counts.float()
            model.p[name] += rate * torch.sign(counts.mean() - counts)


def factor_at(done, total, warm, decay):
    """Learning-rate factor: linear warm-up, flat, linear to zero over the last `decay`."""
    if done < warm:
        return (done + 1) / warm
    left = (total - done) / total
    return min(1.0, max(0.02, left / decay)) if decay else 1.0


def save(path, cfg, params, opt, done):
    torch.save({"cfg": cfg, "params": params, "opt": opt.state(), "done": done}, path + ".tmp")
    os.replace(path + ".tmp", path)


def parse():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--tokenizer", required=True)
    a.add_argument(
        "--state", required=True, help="file to save to, and to go on from if it is there"
    )
    a.add_argument("--init", help="checkpoint directory (or state file) to start from")
    a.add_argument("--phase", action="append", required=True, help=Phase.__doc__)
    a.add_argument("--batch", type=int, default=4096, help="tokens of a step")
    a.add_argument("--lr", type=float, default=4e-3)
    a.add_argument("--adam-lr", type=float, default=3e-3)
    a.add_argument("--warm", type=int, default=200_000, help="tokens of warm-up")
    a.add_argument("--decay", type=float, default=0.3, help="share of the run that decays")
    a.add_argument("--context-weight", type=float, default=0.1)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--device", default="cpu", help="cpu or cuda")
    a.add_argument("--ratios", default="0,0,4,128,4")
    a.add_argument("--heads", type=int, default=4)
    a.add_argument("--every", type=int, default=500_000, help="tokens between reports and saves")
    return a.parse_args()


def start(o, encoder):
    if o.init and o.init.endswith(".pt"):
        saved = torch.load(o.init, weights_only=False)
        return saved["cfg"], saved["params"]
    if o.init:
        return load_checkpoint(o.init)
    cfg = Config(
        vocab=encoder.tok.get_vocab_size(),
        heads=o.heads,
        ratios=tuple(int(r) for r in o.ratios.split(",")),
        noise_id=encoder.tok.token_to_id("<｜place▁holder▁no▁0｜>"),
    )
    return cfg, M.init_main(cfg, o.seed)


def main():
    o = parse()
    if o.device != "cpu":
        torch.set_default_device(o.device)
    torch.manual_seed(o.seed)
    encoder = Encoder(Tokenizer.from_file(o.tokenizer))
    cfg, params = start(o, encoder)
    learned = {k: w for k, w in params.items() if w.is_floating_point() and "gate.bias" not in k}
    for w in learned.values():
        w.requires_grad_()
    opt, done = Optimiser(learned, o.lr, o.adam_lr), 0
    if os.path.exists(o.state):
        saved = torch.load(o.state, weights_only=False)
        with torch.no_grad():
            for k, w in params.items():
                w.copy_(saved["params"][k])
        opt.load(saved["opt"])
        done = saved["done"]
        print(f"going on from {done} tokens", flush=True)
    M.compile_parts()
    phases = [Phase(p) for p in o.phase]
    total = sum(p.tokens for p in phases)
    model, before, t0, since = M.Model(cfg, params), 0, time.time(), [0, 0.0, 0.0, 0]
    for phase in phases:
        end = before + phase.tokens
        model.quant, model.sparse = phase.quant, phase.sparse
        rows = Rows(encoder, f"{o.seed}:{done}", phase.length, phase.mix)
        while done < end:
            ids, mask = batch(rows, max(1, o.batch // phase.length))
            model.begin_step()
            loss, said, index = loss_of(model, ids, mask, o.context_weight)
            loss.backward()
            opt.step(factor_at(done, total, o.warm, o.decay))
            balance(model)
            step = ids[:, 1:].numel()
            since = [since[0] + 1, since[1] + float(said), since[2] + index, since[3] + step]
            report = (done + step) // o.every > done // o.every or done + step >= total
            done += step
            if since[0] == 50 or report:
                rate = since[3] / (time.time() - t0)
                print(
                    f"{done / 1e6:7.2f} M {phase.mix} {phase.length} said {since[1] / since[0]:.4f} "
                    f"index {since[2] / since[0]:.3f} {rate:.0f} tokens/s",
                    flush=True,
                )
                since, t0 = [0, 0.0, 0.0, 0], time.time()
            if report:
                save(o.state, cfg, params, opt, done)
                model.begin_step()
                print("        " + probe.line(model, encoder, phase.length), flush=True)
                t0 = time.time()
        before = end


if __name__ == "__main__":
    main()
