#!/usr/bin/env bash
# All legs of the training, one after the other. Each saves its state in run/ and goes on from there.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p run
device=${DEVICE:-cpu}
lib=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2 # apt install libjemalloc2: nearly twice as fast
if [ -f $lib ]; then
    export LD_PRELOAD=$lib
    export MALLOC_CONF="oversize_threshold:1,background_thread:false,dirty_decay_ms:-1,muzzy_decay_ms:-1"
fi
python3 train.py --tokenizer tokenizer.json --state run/main.pt --device "$device" \
    --batch 2048 --lr 3e-3 --decay 0.25 \
    --phase all,512,6e6 --phase facts,512,1.3e6 --phase all,1024,1.1e6 \
    --phase long,2048,0.4e6,quant,sparse --phase last,2048,0.8e6,quant,sparse
# Another leg, from the state of the first: what was learned least.
python3 train.py --tokenizer tokenizer.json --init run/main.pt --state run/main-2.pt --device "$device" \
    --batch 2048 --lr 2.5e-3 --adam-lr 2.5e-3 --decay 0.35 --seed 2 \
    --phase rest,512,2.4e6 --phase end,2048,1.4e6,quant,sparse
python3 heads.py dspark --main run/main-2.pt --tokenizer tokenizer.json --state run/dspark.pt --device "$device"
python3 heads.py mtp --main run/main-2.pt --tokenizer tokenizer.json --state run/mtp.pt --device "$device"
