#!/usr/bin/env python3
"""Limits of size: lines per file and function, columns per line.

usage: tools/check-size.py [--list N]

Refused: a .c file above 1,000 lines, a header above 600, a function above 120, a line above 100
columns (unless clang-format is off there). Generated tables are exempt. --list N prints the N longest files and functions instead.
"""

import re
import sys

import csource

MAX_SOURCE, MAX_HEADER, MAX_FUNCTION, MAX_COLUMNS = 1000, 600, 120, 100

NAME = re.compile(r"(\w+)\s*\(")


def functions(lines):
    """(name, first line, number of lines) of each body between `{` and `}` in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            head = "\n".join(lines[max(0, start - 8) : start - 1])
            head = re.split(r"[;}]\n|\n\n", head)[-1]
            match = NAME.search(head)
            yield match[1] if match else "?", start, number - start + 1
            start = None


def check_file(name):
    text = csource.read(name)
    if csource.is_generated(text):
        return
    lines = text.split("\n")
    limit = MAX_HEADER if name.endswith(".h") else MAX_SOURCE
    if len(lines) - 1 > limit:
        yield name, 1, f"{len(lines) - 1} lines, at most {limit}"
    formatted = True
    for number, line in enumerate(lines, 1):
        if "clang-format o" in line:
            formatted = "clang-format on" in line
        if formatted and len(line) > MAX_COLUMNS:
            yield name, number, f"{len(line)} columns, at most {MAX_COLUMNS}"
    for function, number, count in functions(csource.without_comments(text).split("\n")):
        if count > MAX_FUNCTION:
            yield name, number, f"'{function}' has {count} lines, at most {MAX_FUNCTION}"


def print_longest(files, n):
    sizes, bodies = [], []
    for name in files:
        text = csource.read(name)
        if csource.is_generated(text):
            continue
        sizes.append((text.count("\n"), name))
        code = csource.without_comments(text).split("\n")
        bodies += [(count, f"{name}:{at} {f}") for f, at, count in functions(code)]
    for count, what in sorted(sizes)[: -n - 1 : -1] + sorted(bodies)[: -n - 1 : -1]:
        print(f"{count:5} {what}")


def main():
    files = csource.c_files("src", "include", "tests", "examples")
    if sys.argv[1:2] == ["--list"]:
        print_longest(files, int(sys.argv[2]))
        return 0
    return csource.report([p for f in files for p in check_file(f)], "size")


if __name__ == "__main__":
    sys.exit(main())
