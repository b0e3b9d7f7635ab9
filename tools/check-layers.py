#!/usr/bin/env python3
"""Who may include whom: one table, checked over src/ and include/.

usage: tools/check-layers.py

A folder may include its own headers, those of the folders in its row, and the public headers of
include/hadal. Vendor SDK headers and #if on a vendor's macros belong below src/backend.
"""

import re
import sys

import csource

ROWS = {
    "base": [],
    "io": ["base"],
    "text": ["base"],
    "dev": ["base"],
    "dist": ["base", "dev"],
    "model": ["base", "io", "dev", "dist"],
    "engine": ["base", "io", "text", "dev", "dist", "model"],
    "server": ["base", "text", "engine"],
    "opcase": ["base", "dev"],
    "verify": ["base", "io", "text", "dev", "model", "engine", "opcase"],
    "cli": ["base", "io", "text", "dev", "model", "engine", "server", "verify"],
}
BACKEND_ROW = ["base", "dev"]
# Of dev, only the table of collectives is dist's business.
ONLY = {("dist", "dev"): ["dev/comm.h"]}
# Public headers that a folder may see; the others see all.
PUBLIC = {
    "base": ["hadal/hadal.h"],
    "dev": ["hadal/hadal.h"],
    "opcase": ["hadal/hadal.h"],
    "backend": ["hadal/hadal.h"],
    "server": ["hadal/hadal.h", "hadal/text.h", "hadal/engine.h"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CONDITION = re.compile(r"^\s*#\s*(?:el)?if(?:n?def)?\b(.*)")
VENDOR_MACRO = re.compile(r"CUDA|NVCC|NVIDIA|ASCEND|CANN(?!OT)|__CCE|CAMBRICON|BANG_|_MLU|__HIP|ROCM")
VENDOR_HEADER = re.compile(
    r"^(cuda|cublas|cudnn|nccl|acl|aclnn|hccl|dcmi|cnrt|cnnl|cncl|cndev|bang|hip)[\w./]*\.h"
)


def layer_of(name):
    """("model", "model") for src/model/x.c, ("backend", "backend/cpu") for backends."""
    parts = name.split("/")
    if parts[0] == "include":
        return "include", "hadal"
    if parts[1] == "backend":
        return "backend", "/".join(parts[1:3])
    return parts[1], parts[1]


def why_not(layer, own, header):
    """What is wrong with `#include "header"` in a file of this layer; None: nothing."""
    first = header.split("/")[0]
    if layer == "include":
        return None if first == "hadal" else "public headers include libc and hadal/ only"
    if first == "hadal":
        seen = PUBLIC.get(layer)
        return None if seen is None or header in seen else f"{layer}/ may not see {header}"
    if header.startswith(own + "/"):
        return None
    row = BACKEND_ROW if layer == "backend" else ROWS.get(layer)
    if row is None:
        return f"folder '{layer}' has no row in {sys.argv[0]}"
    if first not in row:
        return f"{own}/ may not include {header}; allowed: {', '.join(row) or 'nothing'}"
    only = ONLY.get((layer, first))
    return None if only is None or header in only else f"{own}/ may include {only} of {first}"


def check_file(name):
    layer, own = layer_of(name)
    code = csource.without_comments(csource.read(name), keep_strings=True)
    for number, line in enumerate(code.split("\n"), 1):
        include = INCLUDE.match(line)
        if include and include[1] == '"':
            text = why_not(layer, own, include[2])
            if text:
                yield name, number, text
        elif include and layer != "backend" and VENDOR_HEADER.match(include[2]):
            yield name, number, f"vendor header <{include[2]}> outside src/backend"
        condition = CONDITION.match(line)
        if condition and layer != "backend" and VENDOR_MACRO.search(condition[1]):
            yield name, number, "#if on a vendor outside src/backend"


def main():
    files = csource.c_files("src", "include")
    return csource.report([p for f in files for p in check_file(f)], "layers")


if __name__ == "__main__":
    sys.exit(main())
