"""Muon for matrices, Adam for the rest, in one small optimiser.

Muon: momentum whose matrix is replaced by the nearest orthogonal one (five Newton-Schulz steps with
Jordan's coefficients), scaled so that an update has the size of Adam's (0.2 * sqrt(larger side))."""

import torch

ADAM_WORDS = (
    "embed.",
    "head.",
    "norm",
    "hc_",
    "ape",
    "attn_sink",
    "gate.weight",
    "weights_proj",
    "markov",
    "confidence",
)

# Parts whose values are small, or that steer others: slower than the rest of Adam's share.
SLOW = {"hc_": 0.1, "gate.weight": 0.3, "weights_proj": 0.3}


def _orthogonal(g):
    """g: [..., m, n] -> its orthogonal factor, about."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(torch.bfloat16)
    turned = x.shape[-2] > x.shape[-1]
    if turned:
        x = x.mT
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).to(x.dtype)
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if turned else x).float()


def is_matrix(name, w):
    return w.dim() >= 2 and not any(word in name for word in ADAM_WORDS)


class Optimiser:
    def __init__(self, params, lr, adam_lr, weight_decay=0.02):
        self.params, self.lr, self.adam_lr, self.decay = params, lr, adam_lr, weight_decay
        self.m = {k: torch.zeros_like(w) for k, w in params.items()}
        self.v = {k: torch.zeros_like(w) for k, w in params.items() if not is_matrix(k, w)}
        self.rate = {k: min([f for w, f in SLOW.items() if w in k], default=1.0) for k in params}
        self.t = 0

    @torch.no_grad()
    def step(self, factor):
        """One update from .grad; factor scales both learning rates. Clears the gradients."""
        self.t += 1
        for name, w in self.params.items():
            g, w.grad = w.grad, None
            if g is None:
                continue
            m = self.m[name]
            if name in self.v:
                m.lerp_(g, 0.1)
                v = self.v[name]
                v.lerp_(g.square(), 0.02)
                step = m / (1 - 0.9**self.t) / ((v / (1 - 0.98**self.t)).sqrt() + 1e-8)
                w.add_(step, alpha=-self.adam_lr * factor * self.rate[name])
                continue
            m.mul_(0.95).add_(g)
            step = _orthogonal(g.add(m, alpha=0.95)) * (0.2 * max(w.shape[-2:]) ** 0.5)
            w.mul_(1 - self.lr * factor * self.decay).add_(step, alpha=-self.lr * factor)

    def state(self):
        return {"m": self.m, "v": self.v, "t": self.t}

    def load(self, state):
        for mine, theirs in ((self.m, state["m"]), (self.v, state["v"])):
            for k in mine:
                mine[k].copy_(theirs[k])
        self.t = state["t"]
