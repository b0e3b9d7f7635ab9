#!/usr/bin/env python3
"""Calls of the functions in tools/banned.txt, in src/ and include/.

usage: tools/check-banned.py
"""

import re
import sys

import csource


def read_list():
    """name -> (path prefixes where it is allowed, what to use instead)"""
    banned = {}
    for line in csource.read("tools/banned.txt").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, allowed, instead = (field.strip() for field in line.split("|"))
        banned[name] = (allowed.split(), instead)
    return banned


def check_file(name, banned, call):
    code = csource.without_comments(csource.read(name))
    for number, line in enumerate(code.split("\n"), 1):
        for match in call.finditer(line):
            allowed, instead = banned[match[1]]
            if not any(name.startswith(prefix) for prefix in allowed):
                yield name, number, f"'{match[1]}' is banned: {instead}"


def main():
    banned = read_list()
    # Not a member (`d->free(`, `mem.free(`), not part of a longer name.
    call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(map(re.escape, banned)))
    files = csource.c_files("src", "include")
    return csource.report([p for f in files for p in check_file(f, banned, call)], "banned")


if __name__ == "__main__":
    sys.exit(main())
