#!/usr/bin/env python3
"""Independent oracle of `hadal synth`: makes every tensor of a checkpoint again and compares.

    python3 tests/support/synth_oracle.py DIR SEED

Needs numpy. Reads names, types and shapes from the shards' headers; makes the bytes again from
(seed, name) by the rules below, written without looking at hadal's code paths; compares all of
them, then prints the checksum of the shards that tests/unit/test_synth.c expects (FNV-1a, 64 bits,
over the bytes of all shards in the order of their names).

 1. Random bits number i of a stream with key k: SplitMix64's output for the state k + (i+1) * G.
    The key of a tensor starts as mix(seed + G); for each byte b of its name it becomes number b of
    the stream with that key.
 2. Row r of a tensor uses the numbers r*n ... r*n + n-1, n = ceil(columns * bits / 64) where an
    element takes: I8 8 bits, F8_E4M3 16, BF16 and F32 32, FP4 scales 8, FP8 scales and expert
    lists 64. Low bits belong to the first element of a number.
 3. I8: the byte itself. F8_E4M3: d = low byte - high byte; a block of 128 x 128 with
    row + column + phase even holds e4m3(1.75 d), the others e4m3(d / 256); phase is the low bit of
    the key of the name up to its last '.'. BF16, F32: mean + step * (low half - high half), in
    FP32; step = f32(sd / 26754.9).
 4. Scales: exponent byte e of the block's kind, plus [0, -1, 0, 1][two low bits]; with
    t = (gain / sqrt(K) / s)^2, e = 127 + floor((floor(log2 t) + 1) / 2); s = 2.926 for FP4, 182.9
    and 0.40825 for the two kinds of FP8 blocks.
 5. Expert lists: for j = E-K ... E-1 take number mod-like (high 32 bits * (j+1) >> 32), or j if
    that was taken already.
 6. mean, sd or gain of each weight: `recipe` below; "by inputs" divides by sqrt(K).
"""
import glob
import json
import math
import struct
import sys

import numpy as np

G = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(z):
    z = np.uint64(z) if isinstance(z, int) else z
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def numbers(key, first, n):
    i = np.arange(first + 1, first + n + 1, dtype=np.uint64)
    return mix(np.uint64(key) + i * np.uint64(G))


def key_of(seed, name):
    key = int(mix(np.array([(seed + G) & MASK], np.uint64))[0])
    for b in name.encode():
        key = int(numbers(key, b, 1)[0])
    return key


def recipe(name):
    """mean, sd, by inputs"""
    last = name.rsplit(".", 1)[0] if name.endswith((".weight", ".scale")) else name
    if last.endswith("norm") or last.endswith(("hc_attn_scale", "hc_ffn_scale", "hc_head_scale")):
        return 1.0, 0.1, False
    if last.endswith(("_base", ".ape")):
        return 0.0, 0.5, False
    if last == "embed" or last.endswith(("markov_w1", "attn_sink")):
        return 0.0, 1.0, False
    if last == "head":
        return 0.0, 2.5, True
    if last.endswith(".gate"):
        return 0.0, 1.5, True
    if last.endswith("gate.bias"):
        return 0.0, 0.1, False
    if last.endswith((".w1", ".w3")):
        return 0.0, 3.0, True
    if last.endswith(".w2"):
        return 0.0, 0.04, True
    return 0.0, 1.0, True


def e4m3_codes():
    """code of round-to-nearest-even, for all d of -255 ... 255, of both kinds"""
    value = [
        math.ldexp(1 + (q & 7) / 8, (q >> 3) - 7) if q >> 3 else math.ldexp(q & 7, -9)
        for q in range(127)
    ]
    def nearest(x):
        q = min(range(127), key=lambda q: (abs(value[q] - abs(x)), q & 1))
        return q | (128 if x < 0 else 0)
    return np.array([[nearest(f * d) for d in range(-255, 256)] for f in (1.75, 1 / 256)], np.uint8)


CODES = e4m3_codes()


def kinds(seed, name, rows, cols):
    """kind of each FP8 block"""
    phase = key_of(seed, name[: name.rindex(".") + 1]) & 1
    return (np.arange(rows)[:, None] + np.arange(cols)[None, :] + phase) & 1


def exponent(gain, n_inputs, s):
    t = (gain / math.sqrt(n_inputs) / s) ** 2
    return 127 + (math.floor(math.log2(t)) + 1) // 2


def make(seed, name, dtype, shape, shapes, n_experts):
    rows, cols = shape if len(shape) == 2 else (1, shape[0])
    weight = name[: -len("scale")] + "weight"
    is_fp4_scale = dtype == "F8_E8M0" and shapes[weight][0] == "I8"
    bits = {"I8": 8, "F8_E4M3": 16, "BF16": 32, "F32": 32, "I64": 64, "F8_E8M0": 64}[dtype]
    bits = 8 if is_fp4_scale else bits
    per_row = -(-cols * bits // 64)
    raw = numbers(key_of(seed, name), 0, rows * per_row).reshape(rows, per_row)
    field = {8: "<u1", 16: "<u2", 32: "<u4", 64: "<u8"}[bits]
    x = raw.astype("<u8").view(field).reshape(rows, -1)[:, :cols]
    mean, sd, by_inputs = recipe(name)
    if dtype == "I8":
        return x.tobytes()
    if dtype == "F8_E4M3":
        d = (x & 255).astype(int) - (x >> 8)
        block = kinds(seed, name, -(-rows // 128), -(-cols // 128))
        kind = np.repeat(np.repeat(block, 128, 0), 128, 1)[:rows, :cols]
        return CODES[kind, d + 255].tobytes()
    if dtype == "F8_E8M0":
        change = np.array([0, -1, 0, 1])[(x & type(x.flat[0])(3)).astype(int)]
        if is_fp4_scale:
            return (exponent(sd, 2 * shapes[weight][1][1], 2.926) + change).astype(np.uint8).tobytes()
        both = np.array([exponent(sd, shapes[weight][1][1], s) for s in (182.9, 0.40825)])
        return (both[kinds(seed, name, rows, cols)] + change).astype(np.uint8).tobytes()
    if dtype == "I64":
        out = np.zeros((rows, cols), "<i8")
        for r in range(rows):
            for i in range(cols):
                j = n_experts - cols + i
                pick = (int(x[r, i]) >> 32) * (j + 1) >> 32
                out[r, i] = j if pick in out[r, :i] else pick
        return out.tobytes()
    step = np.float32((sd / math.sqrt(cols) if by_inputs else sd) / 26754.9)
    value = np.float32(mean) + step * ((x & 0xFFFF).astype(np.int32) - (x >> 16).astype(np.int32)).astype(np.float32)
    if dtype == "F32":
        return value.astype("<f4").tobytes()
    u = value.view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype("<u2").tobytes()


def fnv1a(data, h=0xCBF29CE484222325):
    for b in data:
        h = (h ^ b) * 0x100000001B3 & MASK
    return h


def main():
    directory, seed = sys.argv[1], int(sys.argv[2])
    n_experts = json.load(open(directory + "/config.json"))["n_routed_experts"]
    stored, shapes, checksum = {}, {}, 0xCBF29CE484222325
    for path in sorted(glob.glob(directory + "/*.safetensors")):
        data = open(path, "rb").read()
        checksum = fnv1a(data, checksum)
        n = struct.unpack("<Q", data[:8])[0]
        for name, t in json.loads(data[8 : 8 + n]).items():
            if name != "__metadata__":
                a, b = t["data_offsets"]
                shapes[name] = t["dtype"], t["shape"]
                stored[name] = data[8 + n + a : 8 + n + b]
    for name, (dtype, shape) in shapes.items():
        if make(seed, name, dtype, shape, shapes, n_experts) != stored[name]:
            raise SystemExit(f"'{name}' differs")
    print(f"{len(shapes)} tensors are equal; checksum 0x{checksum:016x}")


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()
