#!/bin/sh
# Read answers with the clients' own packages from PyPI. Each tests/api/req-X.txt is an environment of
# its own, in .venv-X.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -x .venv-sdk/bin/python ]; then
    echo "installing from PyPI into .venv-sdk: $(grep -o '^[a-z_0-9-]*==[0-9.]*' tests/api/req-sdk.txt | tr '\n' ' ')"
    python3 -m venv .venv-sdk
    .venv-sdk/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r tests/api/req-sdk.txt
fi
.venv-sdk/bin/python tests/api/sdk_decoders.py
