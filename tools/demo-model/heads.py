"""Draft heads over the frozen main model: their forward passes, and their training.

python heads.py mtp     --main STATE --tokenizer FILE --state OUT ...   (April releases: mtp.0)
python heads.py dspark  --main STATE --tokenizer FILE --state OUT ...   (0731: three stages)
"""

import argparse
import os
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import model as M
from chatfmt import Encoder
from checkpoint import load_checkpoint
from config import HEAD, STREAMS, WINDOW
from data import Rows
from model import BF16, Model, rms_norm, rope, rope_table
from optim import Optimiser
from train import balance, batch, factor_at

# ---- April: one block that reads the streams and the next token ----------------------------------


def mtp_streams(m, x, next_ids):
    """x BF16 [B, T, 4, D], the main model's streams; next_ids [B, T], the ids one further on.
    Returns the block's streams; their head gives the id two further on."""
    p, eps = m.p, m.cfg.eps
    e = rms_norm(F.embedding(next_ids, p["embed.weight"]).to(BF16), p["mtp.0.enorm.weight"], eps)
    e = F.linear(m.act(e), m.fp8("mtp.0.e_proj.weight"))
    h = rms_norm(x, p["mtp.0.hnorm.weight"], eps)
    h = F.linear(m.act(h), m.fp8("mtp.0.h_proj.weight"))
    return m.block("mtp.0.", 0, e.unsqueeze(2) + h, next_ids)


def mtp_logits(m, x):
    """x BF16 [N, 4, D] of the block -> F32 [N, V]."""
    h = rms_norm(m.hc_head("mtp.0.hc_head_", x), m.p["mtp.0.norm.weight"], m.cfg.eps)
    return F.linear(h, m.bf16("head.weight")).float()


def mtp_loss(m, ids, mask, _):
    with torch.no_grad():
        x = m.streams(ids[:, :-1])
    y = mtp_streams(m, x, ids[:, 1:])[:, :-1].flatten(0, 1)
    target, at = ids[:, 2:].flatten(), mask[:, 2:].flatten().nonzero().squeeze(1)
    if at.numel() == 0:  # a row of nothing but prompt
        at = torch.zeros(1, dtype=torch.long)
    logits = mtp_logits(m, y[at])
    hit = (logits.argmax(1) == target[at]).float().mean()
    return F.cross_entropy(logits, target[at]), float(hit)


# ---- 0731: DSpark -------------------------------------------------------------------------------


def dspark_main(m, kept):
    """kept: output streams of the target layers. main_x BF16 [B, T, D]."""
    means = [(k.float().sum(2) / STREAMS).to(BF16) for k in kept]
    wide = torch.cat(means, -1)
    x = F.linear(m.act(wide), m.fp8("mtp.0.main_proj.weight"))
    return rms_norm(x, m.p["mtp.0.main_norm.weight"], m.cfg.eps)


def _stage_attention(m, pre, x, at, main_x):
    """x BF16 [B, A, n, D], the blocks, normed; at [B, A]: the position p before each block;
    main_x [B, T, D]. Keys: the 128 positions up to p, then the whole block."""
    cfg, p, a = m.cfg, m.p, pre + "attn."
    b, anchors, n, _ = x.shape
    pos = at[..., None] + 1 + torch.arange(n)
    cos, sin = (c.view(b, anchors, n, -1) for c in rope_table(pos.flatten(), 0))
    xa = m.act(x)
    qr = rms_norm(F.linear(xa, m.fp8(a + "wq_a.weight")), p[a + "q_norm.weight"], cfg.eps)
    q = m.queries(pre, qr.flatten(0, 2), cos.flatten(0, 2), sin.flatten(0, 2))
    q = q.view(b, anchors, n, cfg.heads, HEAD)

    def rows(of, c, s):
        kv = rms_norm(
            F.linear(m.act(of), m.fp8(a + "wkv.weight")), p[a + "kv_norm.weight"], cfg.eps
        )
        return m.cache_row(kv, c, s)

    ring = rows(main_x, *rope_table(torch.arange(main_x.shape[1]), 0))
    own = rows(x, cos, sin)
    back = at[..., None] - torch.arange(WINDOW)  # [B, A, 128]
    some = torch.arange(b)[:, None, None]
    keys = torch.cat((ring[some, back.clamp_min(0)], own), 2)  # [B, A, 128 + n, 512]
    s = torch.einsum("banhd,bajd->banhj", q, keys).float() * HEAD**-0.5
    gone = F.pad(back < 0, (0, n))
    s = s.masked_fill(gone[:, :, None, None], float("-inf"))
    sink = p[a + "attn_sink"].view(1, 1, 1, -1, 1).expand(*s.shape[:-1], 1)
    prob = torch.softmax(torch.cat((s, sink), -1), -1)[..., :-1].to(BF16)
    o = torch.einsum("banhj,bajd->banhd", prob, keys)
    o = rope(o, cos[..., None, :], sin[..., None, :], inverse=True)
    o = o.reshape(b * anchors * n, cfg.o_groups, -1)
    wa = m.fp8(a + "wo_a.weight").unflatten(0, (cfg.o_groups, cfg.o_rank))
    z = torch.einsum("xgi,goi->xgo", o, wa).flatten(1)
    return F.linear(m.act(z), m.fp8(a + "wo_b.weight"))


def dspark_block(m, main_x, at, first):
    """The stages' output before norm and head, BF16 [B, A, n, D]. at [B, A]: positions p; first
    [B, A]: the ids at p + 1."""
    cfg, p, n = m.cfg, m.p, m.cfg.draft_block
    ids = torch.full((*at.shape, n), cfg.noise_id)
    ids[..., 0] = first
    x = m.embed(ids).flatten(0, 2)
    for stage in range(cfg.draft_stages):
        pre = f"mtp.{stage}."
        for part in ("attn", "ffn"):
            hc = pre + f"hc_{part}_"
            mix = M.hc_mixes(x, p[hc + "fn"], p[hc + "base"], p[hc + "scale"], cfg.eps, cfg.hc_eps)
            y = rms_norm(M.hc_collapse(x, mix[0]), p[pre + f"{part}_norm.weight"], cfg.eps)
            if part == "attn":
                z = _stage_attention(m, pre, y.view(*at.shape, n, -1), at, main_x)
            else:
                z = m.experts(pre, y, ids.flatten())
            x = M.hc_expand(z, x, mix[1], mix[2])
    return m.hc_head(f"mtp.{cfg.draft_stages - 1}.hc_head_", x).view(*at.shape, n, -1)


def dspark_logits(m, y, before):
    """y [..., n, D] of dspark_block, before [..., n]: the id in front of each draft. Logits F32
    [..., n, V] and confidence [..., n]."""
    p, last = m.p, f"mtp.{m.cfg.draft_stages - 1}."
    e = F.embedding(before, p[last + "markov_head.markov_w1.weight"]).to(BF16)
    h = rms_norm(y, p[last + "norm.weight"], m.cfg.eps)
    logits = F.linear(h, m.bf16("head.weight")).float()
    logits = logits + F.linear(e, m.bf16(last + "markov_head.markov_w2.weight")).float()
    both = torch.cat((y, e), -1).float()
    sure = both @ m.bf16(last + "confidence_head.proj.weight").float().t()
    return logits, sure.squeeze(-1)


def _anchors(mask, n, per_row):
    """Positions p [B, per_row] for which ids p + 2 .. p + 1 + n are learned, mostly."""
    b, length = mask.shape
    learned = mask[:, 2 : length - n].float() + 1e-3
    return torch.multinomial(learned, per_row, replacement=True)


def dspark_loss(m, ids, mask, per_row):
    n = m.cfg.draft_block
    with torch.no_grad():
        _, kept = m.streams(ids[:, :-1], keep=m.cfg.draft_targets)
    at = _anchors(mask, n, per_row)
    ahead = at[..., None] + 1 + torch.arange(n + 1)  # p + 1 ... p + 1 + n
    text = ids.gather(1, ahead.flatten(1)).view(*at.shape, n + 1)
    use = mask.gather(1, ahead.flatten(1)).view(*at.shape, n + 1)[..., 1:].float()
    use = use.cumprod(-1)
    y = dspark_block(m, dspark_main(m, kept), at, text[..., 0])
    logits, sure = dspark_logits(m, y, text[..., :-1])
    each = F.cross_entropy(logits.flatten(0, 2), text[..., 1:].flatten(), reduction="none")
    each = each.view(use.shape)
    hit = (logits.detach().argmax(-1) == text[..., 1:]).float()
    judge = F.binary_cross_entropy_with_logits(sure, hit, reduction="none")
    fade = 0.85 ** torch.arange(n)  # earlier drafts matter more
    loss = ((each + 0.1 * judge) * use * fade).sum() / (use * fade).sum()
    length = (hit * use).cumprod(-1).sum() / use[..., 0].sum().clamp_min(1)
    return loss, float(length)


# ---- training -----------------------------------------------------------------------------------


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    a.add_argument("kind", choices=("mtp", "dspark"))
    a.add_argument("--main", required=True, help="state file of train.py, or checkpoint directory")
    a.add_argument("--init", help="state file of an earlier run of this head")
    a.add_argument("--tokenizer", required=True)
    a.add_argument("--state", required=True)
    a.add_argument("--tokens", type=float, default=1e6)
    a.add_argument("--length", type=int, default=1024)
    a.add_argument("--batch", type=int, default=4096)
    a.add_argument("--anchors", type=int, default=48, help="DSpark: blocks of a row")
    a.add_argument("--lr", type=float, default=4e-3)
    a.add_argument("--adam-lr", type=float, default=3e-3)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--device", default="cpu")
    o = a.parse_args()
    if o.device != "cpu":
        torch.set_default_device(o.device)
    torch.manual_seed(o.seed)
    encoder = Encoder(Tokenizer.from_file(o.tokenizer))
    if o.main.endswith(".pt"):
        saved = torch.load(o.main, weights_only=False)
        cfg, params = saved["cfg"], saved["params"]
    else:
        cfg, params = load_checkpoint(o.main)
    params = {k: w.detach() for k, w in params.items()}
    head = (M.init_mtp if o.kind == "mtp" else M.init_dspark)(cfg, o.seed)
    if o.init:
        head = {k: w.detach() for k, w in torch.load(o.init, weights_only=False)["params"].items()}
    learned = {
        k: w.requires_grad_()
        for k, w in head.items()
        if w.is_floating_point() and "gate.bias" not in k
    }
    opt = Optimiser(learned, o.lr, o.adam_lr)
    M.compile_parts()
    m = Model(cfg, params | head, quant=True, sparse=True)
    rows = Rows(encoder, f"{o.kind}:{o.seed}", o.length, "all")
    loss_of = mtp_loss if o.kind == "mtp" else dspark_loss
    done, t0, since = 0, time.time(), [0, 0.0, 0.0, 0]
    while done < o.tokens:
        ids, mask = batch(rows, max(1, o.batch // o.length))
        m.begin_step()
        loss, figure = loss_of(m, ids, mask, o.anchors)
        loss.backward()
        opt.step(factor_at(done, o.tokens, 100_000, 0.4))
        balance(m)
        done += ids[:, 1:].numel()
        since = [since[0] + 1, since[1] + loss.item(), since[2] + figure, since[3] + o.batch]
        if since[0] == 25 or done >= o.tokens:
            what = "first draft right" if o.kind == "mtp" else "mean length"
            print(
                f"{done / 1e6:6.2f} M loss {since[1] / since[0]:.4f} {what} "
                f"{since[2] / since[0]:.3f} {since[3] / (time.time() - t0):.0f} tokens/s",
                flush=True,
            )
            since, t0 = [0, 0.0, 0.0, 0], time.time()
            torch.save({"cfg": cfg, "params": head}, o.state + ".tmp")
            os.replace(o.state + ".tmp", o.state)


if __name__ == "__main__":
    main()
