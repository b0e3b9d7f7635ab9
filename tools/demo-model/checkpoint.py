"""Parameters <-> a checkpoint directory in the official format."""

import json
import os

import torch

from config import Config
from quant import fp4_weight_scale, fp8_weight_scale, round_e2m1, round_e4m3

E8M0 = torch.float8_e8m0fnu


def _kind(name):
    """How the official checkpoints store a tensor of this name."""
    if ".ffn.experts." in name:
        return "fp4"
    if name.endswith("tid2eid"):
        return "i64"
    small = ("attn_sink", "ape", "gate.bias")
    if "hc_" in name or name.endswith(small):
        return "f32"
    bf16 = (
        "embed.weight",
        "head.weight",
        "norm.weight",
        "gate.weight",
        "weights_proj.weight",
        "compressor.wkv.weight",
        "compressor.wgate.weight",
    )
    if (
        name.endswith(bf16)
        or "markov" in name
        or "confidence" in name
        or name.endswith("norm.weight")
    ):
        return "bf16"
    return "fp8"


def _pack_fp4(w):
    """w [out, in] -> I8 [out, in / 2], scale E8M0 [out, in / 32]."""
    scale = fp4_weight_scale(w)
    v = round_e2m1((w.float() / scale.repeat_interleave(32, -1)).clamp(-6, 6))
    grid = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    code = torch.searchsorted(grid, v.abs().contiguous()) + 8 * (v < 0)
    code = code.to(torch.uint8)
    return (code[:, 0::2] | (code[:, 1::2] << 4)).view(torch.int8), scale.to(E8M0)


def _unpack_fp4(packed, scale):
    grid = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    b = packed.view(torch.uint8).long()
    code = torch.stack((b & 15, b >> 4), -1).flatten(-2)
    return grid[code & 7] * (1 - 2.0 * (code >> 3)) * scale.float().repeat_interleave(32, -1)


def to_tensors(params):
    """Parameters as the official tensors, name -> tensor."""
    out = {}
    for name, w in params.items():
        w, kind = w.detach().cpu(), _kind(name)
        if kind == "fp4":
            head, matrix = name.rsplit(".", 1)
            for e in range(w.shape[0]):
                packed, scale = _pack_fp4(w[e])
                out[f"{head}.{e}.{matrix}.weight"] = packed
                out[f"{head}.{e}.{matrix}.scale"] = scale
        elif kind == "fp8":
            scale = fp8_weight_scale(w)
            wide = scale.repeat_interleave(128, 0)[: w.shape[0]]
            wide = wide.repeat_interleave(128, 1)[:, : w.shape[1]]
            q = round_e4m3((w.float() / wide).clamp(-448, 448)).to(torch.float8_e4m3fn)
            out[name] = q
            out[name.removesuffix("weight") + "scale"] = scale.to(E8M0)
        else:
            dtype = {"bf16": torch.bfloat16, "f32": torch.float32, "i64": torch.int64}[kind]
            out[name] = w.to(dtype).contiguous()
    return out


def from_tensors(tensors):
    """The inverse: float32 parameters with the stored values."""
    params, stacks = {}, {}
    for name, w in tensors.items():
        if name.endswith(".scale") and name.removesuffix("scale") + "weight" in tensors:
            continue
        kind = _kind(name)
        if kind == "fp4":
            head, e, matrix, _ = name.rsplit(".", 3)
            value = _unpack_fp4(w, tensors[name.removesuffix("weight") + "scale"])
            stacks.setdefault(f"{head}.{matrix}", {})[int(e)] = value
        elif kind == "fp8":
            scale = tensors[name.removesuffix("weight") + "scale"].float()
            wide = scale.repeat_interleave(128, 0)[: w.shape[0]]
            params[name] = w.float() * wide.repeat_interleave(128, 1)[:, : w.shape[1]]
        else:
            params[name] = w if kind == "i64" else w.float()
    for name, parts in stacks.items():
        params[name] = torch.stack([parts[e] for e in range(len(parts))])
    return params


def load_checkpoint(path, prefix=None):
    """(Config, parameters) of a directory; only names that begin with prefix, if given. Without
    one: the main model, no draft heads."""
    with open(os.path.join(path, "model.safetensors.index.json"), encoding="utf-8") as f:
        shards = sorted(set(json.load(f)["weight_map"].values()))
    tensors = {}
    for shard in shards:
        tensors.update(read_shard(os.path.join(path, shard)))
    keep = {
        n: w
        for n, w in tensors.items()
        if (n.startswith(prefix) if prefix else not n.startswith("mtp."))
    }
    return Config.load(os.path.join(path, "config.json")), from_tensors(keep)


# Names of the dtypes in safetensors files. Its Python package knows no F8_E8M0, so the container (a
# length, a JSON header, the data) is read and written here.
DTYPES = {
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "I64": torch.int64,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E8M0": E8M0,
}


def write_shard(path, tensors):
    """Write one safetensors file, widest elements first (so all are aligned); returns its bytes."""
    tensors = dict(sorted(tensors.items(), key=lambda t: -t[1].element_size()))
    names, header, at = {v: k for k, v in DTYPES.items()}, {}, 0
    for n, w in tensors.items():
        size = w.numel() * w.element_size()
        header[n] = {
            "dtype": names[w.dtype],
            "shape": list(w.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for w in tensors.values():
            f.write(w.contiguous().view(torch.uint8).numpy().tobytes())
    return at


def read_shard(path):
    """name -> tensor."""
    with open(path, "rb") as f:
        raw = f.read()
    start = 8 + int.from_bytes(raw[:8], "little")
    out = {}
    for n, t in json.loads(raw[8:start]).items():
        if n != "__metadata__":
            a, b = (start + x for x in t["data_offsets"])
            flat = torch.frombuffer(bytearray(raw[a:b]), dtype=torch.uint8)
            out[n] = flat.view(DTYPES[t["dtype"]]).reshape(t["shape"])
    return out
