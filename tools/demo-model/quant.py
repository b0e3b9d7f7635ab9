"""The number formats of a DeepSeek-V4 checkpoint, as differentiable roundings.

Every function returns values that the format can hold, in the input's dtype; the gradient passes
straight through (the rounding is invisible to it). Formulas: docs/numerics.md, "Formats".
"""

import torch


def _through(x, rounded):
    """`rounded` forwards, the identity backwards."""
    return x + (rounded - x).detach() if x.requires_grad else rounded


def _binade(v):
    """2^floor(log2 |v|) of a float32 tensor, 0 for zero and subnormal values."""
    return (v.view(torch.int32) & 0x7F800000).view(torch.float32)


def pow2_ceil(amax, largest):
    """The least power of two s for which amax / s <= largest (3.1 of the model's description)."""
    ratio = amax.float() * torch.tensor(1.0 / largest, dtype=torch.float32)
    low = _binade(ratio)
    return torch.where(ratio > low, low * 2, low)


def round_e4m3(v):
    """float32 -> nearest E4M3FN value, ties to even; |v| <= 448."""
    step = _binade(v).clamp_min(2.0**-6) * 0.125
    return torch.round(v / step) * step


def round_e2m1(v):
    """float32 -> nearest E2M1 value, ties to even; |v| <= 6."""
    step = _binade(v).clamp_min(1.0) * 0.5
    return torch.round(v / step) * step


def _by_group(x, group, floor, largest, rounding):
    shape = x.shape
    v = x.detach().float().reshape(*shape[:-1], shape[-1] // group, group)
    scale = pow2_ceil(v.abs().amax(-1, keepdim=True).clamp_min(floor), largest)
    q = rounding((v / scale).clamp(-largest, largest)) * scale
    return _through(x, q.reshape(shape).to(x.dtype))


def fake_fp8(x, group):
    """FP8 activations: one scale per `group` values of the last axis. x: [..., n * group]."""
    return _by_group(x, group, 1e-4, 448.0, round_e4m3)


def fake_fp4(x, group):
    """FP4 index keys and queries: one scale per `group` values of the last axis."""
    return _by_group(x, group, 6.0 * 2.0**-126, 6.0, round_e2m1)


def fp8_weight_scale(w):
    """Scale of each 128 x 128 block of w [out, in]: float32 [ceil(out/128), ceil(in/128)]."""
    out, inn = w.shape
    v = torch.zeros(-(-out // 128) * 128, -(-inn // 128) * 128)
    v[:out, :inn] = w.detach().float().abs()
    amax = v.view(v.shape[0] // 128, 128, v.shape[1] // 128, 128).amax((1, 3))
    return pow2_ceil(amax.clamp_min(2.0**-60), 448.0)


def fp8_weight(w):
    """w [out, in] as an FP8 matrix with 128 x 128 blocks would hold it."""
    out, inn = w.shape
    scale = fp8_weight_scale(w).to(w.device)
    scale = scale.repeat_interleave(128, 0)[:out].repeat_interleave(128, 1)[:, :inn]
    v = w.detach().float()
    return _through(w, (round_e4m3((v / scale).clamp(-448, 448)) * scale).to(w.dtype))


def fp4_weight_scale(w):
    """Scale of each 32 values along the last axis of w [..., in]: float32 [..., in / 32]."""
    v = w.detach().float()
    amax = v.view(*v.shape[:-1], v.shape[-1] // 32, 32).abs().amax(-1)
    return pow2_ceil(amax.clamp_min(2.0**-60), 6.0)


def fp4_weight(w):
    """w [..., in] as a routed expert's FP4 matrix would hold it."""
    scale = fp4_weight_scale(w).repeat_interleave(32, -1)
    v = w.detach().float()
    return _through(w, (round_e2m1((v / scale).clamp(-6, 6)) * scale).to(w.dtype))


def hadamard(x):
    """Walsh-Hadamard transform of the last axis (length n, a power of two), times n^-1/2."""
    n = x.shape[-1]
    v, h = x.float(), 1
    while h < n:
        pairs = v.reshape(*x.shape[:-1], n // (2 * h), 2, h)
        v = torch.stack(
            (pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]), -2
        )
        v = v.reshape(x.shape)
        h *= 2
    return (v * n**-0.5).to(x.dtype)
