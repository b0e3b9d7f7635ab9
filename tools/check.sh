#!/bin/sh
# Everything about the sources that needs no build: format, layers, banned calls, sizes, spelling,
# shell scripts. Prints what is wrong; exits 1 if anything is. A tool that is not installed is
# named and its step skipped, unless CHECK_STRICT=1 makes that a failure too.
#
# usage: tools/check.sh
#
# The functions below are called by name, through run:
# shellcheck disable=SC2317
set -u
cd "$(dirname "$0")/.." || exit 1
failed=0

run() { # run NAME TOOL COMMAND...: the step NAME, which needs TOOL
    name=$1 tool=$2
    shift 2
    if ! command -v "$tool" >/dev/null 2>&1; then
        echo "check: $name skipped, '$tool' is not installed"
        [ "${CHECK_STRICT:-0}" = 0 ] || failed=1
    elif "$@"; then
        echo "check: $name ok"
    else
        echo "check: $name FAILED"
        failed=1
    fi
}

format() {
    git ls-files -z -- '*.c' '*.h' | xargs -0 -r clang-format-19 --dry-run -Werror
}

spelling() {
    git ls-files -z -- '*.c' '*.h' '*.md' '*.py' '*.sh' '*.txt' '*.in' \
        '*.html' '*.css' '*.js' '*.cmake' Makefile |
        xargs -0 -r codespell --ignore-words tools/spelling.txt
}

scripts() {
    git ls-files -z -- '*.sh' '.ci/*' | xargs -0 -r shellcheck
}

run format clang-format-19 format
run layers python3 python3 tools/check-layers.py
run banned python3 python3 tools/check-banned.py
run size python3 python3 tools/check-size.py
run spelling codespell spelling
run scripts shellcheck scripts
exit "$failed"
