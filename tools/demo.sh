#!/bin/sh
# The main job on the bundled model: chat, then a completion. Until a trained model is bundled a
# random one of the same architecture is made on the spot, and this says so.
#   tools/demo.sh build/hadal
set -eu
cd "$(dirname "$0")/.."
hadal=$1
model=models/demo
if [ ! -f $model/config.json ]; then
    model=build/demo-unit
    echo "No trained model is bundled yet. This run uses random weights of the real architecture"
    echo "(hadal synth unit): every part computes, the words mean nothing."
    echo
    [ -f $model/config.json ] || "$hadal" synth unit --seed 1 --out $model
fi
"$hadal" inspect $model
echo
echo "\$ hadal run $model --chat -p 'How deep is the sea?' -n 48 --seed 7"
"$hadal" run $model --chat -p 'How deep is the sea?' -n 48 --seed 7
