#!/bin/sh
# Compare the program with packages from PyPI (tests/oracle/requirements.txt), one script each.
set -eu
cd "$(dirname "$0")/../.."
for script in tests/oracle/*.py; do
    echo "$script"
    .venv/bin/python "$script" --hadal build/hadal
done
