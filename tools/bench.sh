#!/bin/sh
# Speeds on this machine: tokenizer, grammars, ops, and a synthetic model of 1.3 GB (made once, in build/).
# Benchmarks are for reading, not for passing; run them on a quiet machine.
set -eu
cd "$(dirname "$0")/.."
threads=${THREADS:-$(nproc)}
model=build/bench-small
[ -f $model/config.json ] || build/hadal synth bench-small --seed 1 --out $model
echo "== tokenizer";  build/tests/bench_tokenize
echo "== grammars";  build/tests/bench_constrain
echo "== ops";        build/tests/bench_ops "$threads"
echo "== bench-small"; build/tests/bench_model $model "$threads"
