"""DeepSeek-V4's forward pass for training, in PyTorch: independent of hadal's C code.

The parameters are a flat dictionary under the names of the official checkpoint (routed experts are
stacked: `ffn.experts.w1` is [E, I, D]). Activations are BF16 as in the published reference, so with
`quant=True` (FP4 experts, FP8 matrices and activations, FP8 cache rows, FP4 index keys) this *is*
the forward pass of the exported checkpoint, up to the order of additions.

Names of sizes: B rows of a batch, T tokens of a row, D hidden size, H heads, E experts.
"""

import math

import torch
import torch.nn.functional as F

from config import HEAD, INDEX, NOPE, ROPE, SINKHORN, STREAMS, WINDOW
from quant import fake_fp4, fake_fp8, fp4_weight, fp8_weight, hadamard

BF16, F32 = torch.bfloat16, torch.float32


# ---- parameters ---------------------------------------------------------------------------------


def _normal(gen, *shape, std):
    return torch.randn(*shape, generator=gen) * std


def _hc_params(p, prefix, cfg, gen, rows=24):
    p[prefix + "fn"] = _normal(gen, rows, STREAMS * cfg.dim, std=0.005)
    p[prefix + "scale"] = torch.ones(3 if rows == 24 else 1)
    base = torch.full((rows,), math.log(1 / 3))
    if rows == 24:
        base[:4] += _normal(gen, 4, std=0.5)
        base[4:8] = _normal(gen, 4, std=0.5)
        base[8:] = (torch.eye(4) * 5.0).flatten()
    p[prefix + "base"] = base


def _compressor_params(p, prefix, cfg, ratio, width, gen):
    wide = 2 * width if ratio == 4 else width
    p[prefix + "wkv.weight"] = _normal(gen, wide, cfg.dim, std=cfg.dim**-0.5)
    p[prefix + "wgate.weight"] = _normal(gen, wide, cfg.dim, std=0.3 * cfg.dim**-0.5)
    p[prefix + "ape"] = _normal(gen, ratio, wide, std=0.1)
    p[prefix + "norm.weight"] = torch.ones(width)


def _attention_params(p, prefix, cfg, ratio, gen):
    d, a = cfg.dim, prefix + "attn."
    p[prefix + "attn_norm.weight"] = torch.ones(d)
    p[a + "attn_sink"] = torch.zeros(cfg.heads)
    p[a + "wq_a.weight"] = _normal(gen, cfg.q_rank, d, std=d**-0.5)
    p[a + "q_norm.weight"] = torch.ones(cfg.q_rank)
    p[a + "wq_b.weight"] = _normal(gen, cfg.heads * HEAD, cfg.q_rank, std=cfg.q_rank**-0.5)
    p[a + "wkv.weight"] = _normal(gen, HEAD, d, std=d**-0.5)
    p[a + "kv_norm.weight"] = torch.ones(HEAD) * 0.5
    wide = cfg.heads * HEAD // cfg.o_groups
    p[a + "wo_a.weight"] = _normal(gen, cfg.o_groups * cfg.o_rank, wide, std=wide**-0.5)
    p[a + "wo_b.weight"] = _normal(
        gen, d, cfg.o_groups * cfg.o_rank, std=0.5 * (cfg.o_groups * cfg.o_rank) ** -0.5
    )
    if ratio:
        _compressor_params(p, a + "compressor.", cfg, ratio, HEAD, gen)
    if ratio == 4:
        i = a + "indexer."
        p[i + "wq_b.weight"] = _normal(
            gen, cfg.index_heads * INDEX, cfg.q_rank, std=cfg.q_rank**-0.5
        )
        p[i + "weights_proj.weight"] = _normal(gen, cfg.index_heads, d, std=d**-0.5)
        _compressor_params(p, i + "compressor.", cfg, 4, INDEX, gen)


def _moe_params(p, prefix, cfg, is_hashed, gen):
    d, m, f = cfg.dim, cfg.moe_dim, prefix + "ffn."
    p[prefix + "ffn_norm.weight"] = torch.ones(d)
    p[f + "gate.weight"] = _normal(gen, cfg.experts, d, std=d**-0.5)
    if is_hashed:
        draw = torch.rand(cfg.vocab, cfg.experts, generator=gen)
        p[f + "gate.tid2eid"] = draw.argsort(1)[:, : cfg.active].contiguous()
    else:
        p[f + "gate.bias"] = torch.zeros(cfg.experts)
    for name, shape, std in (
        ("w1", (m, d), d**-0.5),
        ("w3", (m, d), d**-0.5),
        ("w2", (d, m), 0.5 * m**-0.5),
    ):
        p[f + f"experts.{name}"] = _normal(gen, cfg.experts, *shape, std=std)
        p[f + f"shared_experts.{name}.weight"] = _normal(gen, *shape, std=std)


def _block_params(p, prefix, cfg, ratio, is_hashed, gen):
    _hc_params(p, prefix + "hc_attn_", cfg, gen)
    _hc_params(p, prefix + "hc_ffn_", cfg, gen)
    _attention_params(p, prefix, cfg, ratio, gen)
    _moe_params(p, prefix, cfg, is_hashed, gen)


def init_main(cfg, seed):
    """Fresh parameters of the main model."""
    gen, p = torch.Generator().manual_seed(seed), {}
    p["embed.weight"] = _normal(gen, cfg.vocab, cfg.dim, std=0.5)
    for layer, ratio in enumerate(cfg.ratios):
        _block_params(p, f"layers.{layer}.", cfg, ratio, layer < cfg.hash_layers, gen)
    _hc_params(p, "hc_head_", cfg, gen, rows=4)
    p["norm.weight"] = torch.ones(cfg.dim)
    p["head.weight"] = _normal(gen, cfg.vocab, cfg.dim, std=0.5 * cfg.dim**-0.5)
    return p


def init_mtp(cfg, seed):
    """Fresh parameters of the April releases' draft block, prefix mtp.0."""
    gen, p, d = torch.Generator().manual_seed(seed), {}, cfg.dim
    _block_params(p, "mtp.0.", cfg, 0, False, gen)
    for name in ("e_proj", "h_proj"):
        p[f"mtp.0.{name}.weight"] = _normal(gen, d, d, std=d**-0.5)
    for name in ("enorm", "hnorm", "norm"):
        p[f"mtp.0.{name}.weight"] = torch.ones(d)
    _hc_params(p, "mtp.0.hc_head_", cfg, gen, rows=4)
    return p


def init_dspark(cfg, seed):
    """Fresh parameters of the DSpark stages, prefixes mtp.0 .. mtp.(n-1)."""
    gen, p, d, last = torch.Generator().manual_seed(seed), {}, cfg.dim, cfg.draft_stages - 1
    for stage in range(cfg.draft_stages):
        _block_params(p, f"mtp.{stage}.", cfg, 0, False, gen)
    wide = len(cfg.draft_targets) * d
    p["mtp.0.main_proj.weight"] = _normal(gen, d, wide, std=wide**-0.5)
    p["mtp.0.main_norm.weight"] = torch.ones(d)
    p[f"mtp.{last}.norm.weight"] = torch.ones(d)
    _hc_params(p, f"mtp.{last}.hc_head_", cfg, gen, rows=4)
    p[f"mtp.{last}.markov_head.markov_w1.weight"] = _normal(gen, cfg.vocab, cfg.draft_rank, std=0.3)
    p[f"mtp.{last}.markov_head.markov_w2.weight"] = _normal(
        gen, cfg.vocab, cfg.draft_rank, std=0.02
    )
    p[f"mtp.{last}.confidence_head.proj.weight"] = _normal(gen, 1, d + cfg.draft_rank, std=0.02)
    return p


# ---- small parts --------------------------------------------------------------------------------


def rms_norm(x, weight, eps):
    v = x.float()
    return (weight * (v * torch.rsqrt(v.square().mean(-1, keepdim=True) + eps))).to(BF16)


def rope_table(positions, ratio):
    """cos and sin, F32 [n, 32], of the table that layers of this ratio use."""
    theta = torch.tensor(160000.0 if ratio else 10000.0, dtype=F32)
    i = torch.arange(ROPE // 2, dtype=F32)
    f = 1.0 / theta ** (i / (ROPE // 2))
    if ratio:

        def corner(beta):
            return ROPE * math.log(65536 / (2 * math.pi * beta)) / (2 * math.log(160000))

        low, high = math.floor(corner(32)), math.ceil(corner(1))
        ramp = ((i - low) / (high - low)).clamp(0, 1)
        f = f / 16 * ramp + f * (1 - ramp)
    angle = (positions.float()[:, None] * f).double()
    return angle.cos().float(), angle.sin().float()


def rope(x, cos, sin, inverse=False):
    """Rotate the last 64 values of x. cos, sin must broadcast against [..., 32]."""
    a, b = x[..., -ROPE:].float().unflatten(-1, (ROPE // 2, 2)).unbind(-1)
    if inverse:
        sin = -sin
    turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(BF16)
    return torch.cat((x[..., :-ROPE], turned), -1)


class _Permute(torch.autograd.Function):
    """x[order] along axis 0, with the gradient as a gather too."""

    @staticmethod
    def forward(ctx, x, order, inverse):
        ctx.save_for_backward(order, inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx, grad):
        _, inverse = ctx.saved_tensors
        return grad.index_select(0, inverse), None, None


def sinkhorn(c, eps):
    """[..., 4, 4] logits -> a nearly doubly stochastic matrix."""
    c = torch.softmax(c, -1) + eps
    c = c / (c.sum(-2, keepdim=True) + eps)
    for _ in range(SINKHORN - 1):
        c = c / (c.sum(-1, keepdim=True) + eps)
        c = c / (c.sum(-2, keepdim=True) + eps)
    return c


def hc_mixes(x, fn, base, scale, eps, hc_eps):
    """x BF16 [N, 4, D] -> pre [N, 4], post [N, 4], comb [N, 4, 4]."""
    v = x.flatten(1).float()
    m = (v @ fn.t()) * torch.rsqrt(v.square().mean(-1, keepdim=True) + eps)
    pre = torch.sigmoid(m[:, :4] * scale[0] + base[:4]) + hc_eps
    post = 2 * torch.sigmoid(m[:, 4:8] * scale[1] + base[4:8])
    comb = sinkhorn((m[:, 8:] * scale[2] + base[8:]).unflatten(-1, (4, 4)), hc_eps)
    return pre, post, comb


def hc_collapse(x, pre):
    return (pre.unsqueeze(-1) * x).sum(1).to(BF16)


def hc_expand(z, x, post, comb):
    """Sum over the first index of comb: x'[k] = post[k] z + sum_j comb[j, k] x[j]."""
    xf = x.float()
    mixed = sum(comb[:, j, :, None] * xf[:, j, None, :] for j in range(STREAMS))
    return (post.unsqueeze(-1) * z.float().unsqueeze(1) + mixed).to(BF16)


# ---- the model ----------------------------------------------------------------------------------


class Model:
    """Parameters, sizes, and how the forward pass treats numbers.

    quant   store and compute in the checkpoint's formats (else BF16 everywhere)
    sparse  ratio-4 layers see only the indexer's picks (else every compressed row)
    exact   every rounding of the reference, where training takes a cheaper one: FP32 in the
            compressor, the order of keys and the rounded exponentials of attention. No gradients.
    """

    def __init__(self, cfg, params, quant=False, sparse=False, exact=False):
        self.cfg, self.p = cfg, params
        self.quant, self.sparse, self.exact = quant, sparse, exact
        self.index_losses, self.loads, self.weights = [], {}, {}

    def begin_step(self):
        """Call after the parameters changed: drops the weights rounded for the last step."""
        self.weights = {}

    def fp8(self, name):
        if name not in self.weights:
            w = self.p[name]
            self.weights[name] = (fp8_weight(w) if self.quant else w).to(BF16)
        return self.weights[name]

    def fp4(self, name):
        if name not in self.weights:
            w = self.p[name]
            self.weights[name] = (fp4_weight(w) if self.quant else w).to(BF16)
        return self.weights[name]

    def bf16(self, name):
        if name not in self.weights:
            self.weights[name] = self.p[name].to(BF16)
        return self.weights[name]

    def act(self, x):
        """The input of FP8 and FP4 matrices: one scale per 128 values."""
        return fake_fp8(x, 128) if self.quant else x

    # -- attention --

    def queries(self, pre, qr, cos, sin):
        q = F.linear(self.act(qr), self.fp8(pre + "attn.wq_b.weight"))
        q = q.unflatten(-1, (self.cfg.heads, HEAD))
        mean = (q * q).float().mean(-1, keepdim=True).to(BF16)
        g = torch.rsqrt((mean + self.cfg.eps).float()).to(BF16)
        return rope(q * g, cos[:, None], sin[:, None])

    def cache_row(self, row, cos, sin):
        row = rope(row, cos, sin)
        if not self.quant:
            return row
        return torch.cat((fake_fp8(row[..., :NOPE], 64), row[..., NOPE:]), -1)

    def pooled(self, pre, x, ratio, width):
        """Compressed rows before rotation: BF16 [B, T // ratio, width]. x: [B, T, D]."""
        n = x.shape[1] // ratio
        xf = x[:, : n * ratio]
        wk, wg = self.bf16(pre + "wkv.weight"), self.bf16(pre + "wgate.weight")
        if self.exact:
            xf, wk, wg = xf.float(), wk.float(), wg.float()
        k = F.linear(xf, wk).float().unflatten(1, (n, ratio))
        g = F.linear(xf, wg).float().unflatten(1, (n, ratio))
        g = g + self.p[pre + "ape"]
        if ratio == 4:  # the group before with half a, the own group with half b
            k_old = F.pad(k[:, :-1, :, :width], (0, 0, 0, 0, 1, 0))
            g_old = F.pad(g[:, :-1, :, :width], (0, 0, 0, 0, 1, 0), value=float("-inf"))
            k = torch.cat((k_old, k[..., width:]), 2)
            g = torch.cat((g_old, g[..., width:]), 2)
        rows = (torch.softmax(g, 2) * k).sum(2).to(BF16)
        return rms_norm(rows, self.p[pre + "norm.weight"], self.cfg.eps)

    def index_scores(self, pre, x, qr, t0, cos, sin, keys):
        """F32 [B, t, n]: how much queries t0 .. want each compressed row. keys: [B, n, 128]."""
        cfg, i = self.cfg, pre + "attn.indexer."
        q = F.linear(self.act(qr), self.fp8(i + "wq_b.weight"))
        q = hadamard(rope(q.unflatten(-1, (cfg.index_heads, INDEX)), cos[:, None], sin[:, None]))
        if self.quant:
            q = fake_fp4(q, 32)
        w = F.linear(x, self.bf16(i + "weights_proj.weight"))
        w = (w.float() * (INDEX**-0.5 * cfg.index_heads**-0.5)).to(BF16)
        dots = torch.einsum("bthd,bnd->bthn", q, keys)
        scores = (F.relu(dots) * w.unsqueeze(-1)).float().sum(2)
        return scores.to(BF16).float() if self.exact else scores

    def index_keys(self, pre, x, cos, sin):
        rows = self.pooled(pre + "attn.indexer.compressor.", x, 4, INDEX)
        rows = hadamard(rope(rows, cos, sin))
        return fake_fp4(rows, 32) if self.quant else rows

    def attention(self, pre, ratio, x, want_index_loss):
        """x: BF16 [B, T, D], normed; T a multiple of 128. Returns BF16 [B, T, D]."""
        cfg, p, (b, t, _) = self.cfg, self.p, x.shape
        a = pre + "attn."
        cos, sin = rope_table(torch.arange(t), ratio)
        xa = self.act(x)
        qr = rms_norm(F.linear(xa, self.fp8(a + "wq_a.weight")), p[a + "q_norm.weight"], cfg.eps)
        q = self.queries(pre, qr, cos, sin)
        kv = rms_norm(F.linear(xa, self.fp8(a + "wkv.weight")), p[a + "kv_norm.weight"], cfg.eps)
        kv = self.cache_row(kv, cos, sin)
        rows, scores = None, None
        if ratio and t >= ratio:
            at = torch.arange(t // ratio) * ratio
            ccos, csin = rope_table(at, ratio)
            rows = self.pooled(a + "compressor.", x, ratio, HEAD)
            rows = self.cache_row(rows, ccos, csin)
            if ratio == 4 and (self.sparse or want_index_loss):
                xd, qd = x.detach(), qr.detach()
                scores = self.index_scores(
                    pre, xd, qd, 0, cos, sin, self.index_keys(pre, xd, ccos, csin)
                )
        if self.exact:
            o = torch.stack(
                [
                    self.attend_exact(
                        pre, *(None if v is None else v[i] for v in (q, kv, rows, scores)), ratio
                    )
                    for i in range(b)
                ]
            )
        else:
            o = self.attend(pre, q, kv, rows, scores, ratio, want_index_loss)
        o = rope(o, cos[:, None], sin[:, None], inverse=True)
        o = o.reshape(b, t, cfg.o_groups, -1)
        wa = self.fp8(a + "wo_a.weight").unflatten(0, (cfg.o_groups, cfg.o_rank))
        z = torch.einsum("btgi,goi->btgo", o, wa).flatten(2)
        return F.linear(self.act(z), self.fp8(a + "wo_b.weight"))

    def attend(self, pre, q, kv, rows, scores, ratio, want_index_loss):
        """Softmax attention over the window and the compressed rows, with the sink.

        q BF16 [B, T, H, 512]; kv [B, T, 512]; rows [B, n, 512] or None; scores F32 [B, T, n]."""
        b, t, h, _ = q.shape
        nb, scale = t // WINDOW, HEAD**-0.5
        block = kv.unflatten(1, (nb, WINDOW))
        before = F.pad(block[:, :-1], (0, 0, 0, 0, 1, 0))
        near = torch.cat((before, block), 2)  # [B, nb, 256, 512]: positions base - 128 ...
        qb = q.reshape(b, nb, WINDOW * h, HEAD)
        s = torch.matmul(qb, near.transpose(2, 3)).float() * scale
        s = s.view(b, nb, WINDOW, h, 2 * WINDOW)
        i, j = torch.arange(WINDOW)[:, None], torch.arange(2 * WINDOW)[None]
        ok = (j > i) & (j <= i + WINDOW)
        first = ok & (j >= WINDOW)
        ok = torch.stack([first] + [ok] * (nb - 1))
        s = s.masked_fill(~ok[None, :, :, None], float("-inf"))
        n = 0
        if rows is not None:
            n = rows.shape[1]
            far = torch.matmul(q.reshape(b, t * h, HEAD), rows.transpose(1, 2)).float() * scale
            hidden = torch.arange(n)[None] >= ((torch.arange(t) + 1) // ratio)[:, None]  # [T, n]
            hidden = hidden.expand(b, t, n)
            if scores is not None and self.sparse and n > self.cfg.index_topk:
                picked = scores.detach().masked_fill(hidden, float("-inf"))
                picked = picked.topk(self.cfg.index_topk, -1).indices
                hidden = hidden | ~torch.zeros_like(hidden).scatter(2, picked, True)
            far = far.view(b, nb, WINDOW, h, n)
            far = far.masked_fill(hidden.view(b, nb, WINDOW, 1, n), float("-inf"))
            s = torch.cat((s, far), -1)
        sink = self.p[pre + "attn.attn_sink"].view(1, 1, 1, h, 1).expand(b, nb, WINDOW, h, 1)
        prob = torch.softmax(torch.cat((s, sink), -1), -1)[..., :-1]
        if scores is not None and want_index_loss:
            self.index_loss(prob[..., 2 * WINDOW :].reshape(b, t, h, n), scores, hidden)
        pw = prob.to(BF16).view(b, nb, WINDOW * h, -1)
        o = torch.matmul(pw[..., : 2 * WINDOW], near).view(b, t, h, HEAD)
        if n:
            o = o + torch.matmul(pw[..., 2 * WINDOW :].reshape(b, t * h, n), rows).view(
                b, t, h, HEAD
            )
        return o

    def attend_exact(self, pre, q, kv, rows, scores, ratio):
        """The reference's attention of one text: keys in canonical order (window, oldest first, in
        slots 0 .. 127, then compressed rows, ascending), 64 at a time with a running maximum, the
        exponentials rounded to BF16. q [T, H, 512], kv [T, 512], rows [n, 512], scores [T, n]."""
        t = q.shape[0]
        keys, at = kv, torch.arange(t)
        first = (at - WINDOW + 1).clamp_min(0)
        slots = first[:, None] + torch.arange(WINDOW)
        slots = torch.where(slots <= at[:, None], slots, -1)  # [T, 128], -1 masked
        if rows is not None:
            n, seen = rows.shape[0], (at + 1) // ratio
            far = torch.arange(n).expand(t, n)
            if scores is not None and n > self.cfg.index_topk:
                hidden = far >= seen[:, None]
                order = (
                    scores.masked_fill(hidden, float("-inf"))
                    .sort(dim=1, descending=True, stable=True)
                    .indices
                )
                far = order[:, : self.cfg.index_topk]
                far = torch.where(far < seen[:, None], far, n).sort(1).values
            far = torch.where(far < seen[:, None], far + t, -1)
            slots, keys = torch.cat((slots, far), 1), torch.cat((kv, rows))
        top = torch.full(q.shape[:2], float("-inf"))
        total, o = torch.zeros(q.shape[:2]), torch.zeros(q.shape)
        for part in slots.split(64, 1):
            k = keys[part.clamp_min(0)].float()
            s = torch.einsum("thd,tjd->thj", q.float(), k) * HEAD**-0.5
            s = s.masked_fill((part < 0)[:, None], float("-inf"))
            now = torch.maximum(top, s.amax(-1))
            base = torch.where(now.isinf(), 0.0, now)
            e, fade = torch.exp(s - base[..., None]), torch.exp(top - base)
            total = total * fade + e.sum(-1)
            o = o * fade[..., None] + torch.einsum("thj,tjd->thd", e.to(BF16).float(), k)
            top = now
        total = total + torch.exp(self.p[pre + "attn.attn_sink"] - top)
        return (o / total[..., None]).to(BF16)

    def index_loss(self, prob, scores, hidden):
        """KL(attention over compressed rows || softmax of the indexer), weighted by the attention
        that goes there: rows that matter to the model should score high."""
        mass = prob.detach().sum(2)
        total = mass.sum(-1)
        target = mass / (total[..., None] + 1e-6)
        log_q = torch.log_softmax(scores.masked_fill(hidden, -1e9), -1)
        kl = (target * ((target + 1e-9).log() - log_q)).sum(-1)
        self.index_losses.append((kl * total).sum() / (total.sum() + 1e-6))

    # -- experts --

    def experts(self, pre, x, ids):
        """x: BF16 [N, D], ids: I64 [N]. Returns BF16 [N, D]."""
        cfg, p, f = self.cfg, self.p, pre + "ffn."
        z = x.float() @ self.bf16(f + "gate.weight").float().t()
        s = torch.sqrt(F.softplus(z))
        if f + "gate.tid2eid" in p:
            chosen = p[f + "gate.tid2eid"][ids]
        else:
            chosen = (s.detach() + p[f + "gate.bias"]).topk(cfg.active, -1).indices
        w = s.gather(1, chosen)
        w = w / w.sum(-1, keepdim=True) * cfg.route_scale
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel()))
        counts = torch.bincount(flat, minlength=cfg.experts)
        self.loads[f + "gate.bias"] = counts
        xa = self.act(x)
        xs = _Permute.apply(
            xa.unsqueeze(1).expand(-1, cfg.active, -1).flatten(0, 1), order, inverse
        )
        ws = _Permute.apply(w.flatten(), order, inverse)
        w1, w2, w3 = (self.fp4(f + f"experts.{n}") for n in ("w1", "w2", "w3"))
        parts, at = [], 0
        for e, n in enumerate(counts.tolist()):
            rows, at = slice(at, at + n), at + n
            parts.append(self.mlp(xs[rows], w1[e], w2[e], w3[e], ws[rows]))
        y = _Permute.apply(torch.cat(parts), inverse, order)
        y = y.view(-1, cfg.active, cfg.dim).float().sum(1)
        shared = (self.fp8(f + f"shared_experts.{n}.weight") for n in ("w1", "w2", "w3"))
        return (y + self.mlp(xa, *shared).float()).to(BF16)

    def mlp(self, xa, w1, w2, w3, weight=None):
        limit = self.cfg.swiglu_limit
        u = F.linear(xa, w3).float().clamp(-limit, limit)
        a = F.silu(F.linear(xa, w1).float().clamp_max(limit)) * u
        if weight is not None:
            a = a * weight[:, None]
        return F.linear(self.act(a.to(BF16)), w2)

    # -- blocks and the whole --

    def block(self, pre, ratio, x, ids, want_index_loss=False):
        """x: BF16 [B, T, 4, D] -> the same."""
        cfg, p, (b, t) = self.cfg, self.p, x.shape[:2]
        x = x.flatten(0, 1)
        for part in ("attn", "ffn"):
            hc = pre + f"hc_{part}_"
            post_pre = hc_mixes(
                x, p[hc + "fn"], p[hc + "base"], p[hc + "scale"], cfg.eps, cfg.hc_eps
            )
            y = rms_norm(hc_collapse(x, post_pre[0]), p[pre + f"{part}_norm.weight"], cfg.eps)
            if part == "attn":
                z = self.attention(pre, ratio, y.unflatten(0, (b, t)), want_index_loss).flatten(
                    0, 1
                )
            else:
                z = self.experts(pre, y, ids.flatten())
            x = hc_expand(z, x, post_pre[1], post_pre[2])
        return x.unflatten(0, (b, t))

    def hc_head(self, pre, x):
        """x BF16 [N, 4, D] -> BF16 [N, D]."""
        p, cfg = self.p, self.cfg
        v = x.flatten(1).float()
        m = (v @ p[pre + "fn"].t()) * torch.rsqrt(v.square().mean(-1, keepdim=True) + cfg.eps)
        w = torch.sigmoid(m * p[pre + "scale"] + p[pre + "base"]) + cfg.hc_eps
        return hc_collapse(x, w)

    def embed(self, ids):
        e = F.embedding(ids, self.p["embed.weight"]).to(BF16)
        return e.unsqueeze(-2).expand(*ids.shape, STREAMS, self.cfg.dim)

    def streams(self, ids, want_index_loss=False, keep=()):
        """The residual streams behind the last layer, BF16 [B, T, 4, D]; ids [B, T], T % 128 == 0.
        keep: layers whose output streams are returned too, in a list."""
        self.index_losses, kept = [], []
        x = self.embed(ids)
        for layer, ratio in enumerate(self.cfg.ratios):
            x = self.block(f"layers.{layer}.", ratio, x, ids, want_index_loss)
            if layer in keep:
                kept.append(x)
        return (x, kept) if keep else x

    def logits(self, x):
        """x: BF16 [N, 4, D] -> F32 [N, V]."""
        h = rms_norm(self.hc_head("hc_head_", x), self.p["norm.weight"], self.cfg.eps)
        return F.linear(h, self.bf16("head.weight")).float()


def compile_parts():
    """Fuse the elementwise parts (torch.compile); the results stay the same up to rounding."""
    torch._dynamo.config.recompile_limit = 64
    here = globals()
    for name in ("hc_mixes", "hc_collapse", "hc_expand", "rms_norm", "rope"):
        here[name] = torch.compile(here[name], dynamic=False)
