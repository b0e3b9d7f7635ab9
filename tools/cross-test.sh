#!/bin/sh
# Run the op tests of the aarch64 build under qemu-user: `cpu` in NEON and portable C against `ref`.
set -eu
cd "$(dirname "$0")/.."
found=0
for program in build-aarch64/tests/op_*; do
    [ -x "$program" ] || continue
    found=1
    qemu-aarch64 -L /usr/aarch64-linux-gnu "$program"
done
[ $found = 1 ] || { echo "no op test was built for aarch64" >&2; exit 1; }
