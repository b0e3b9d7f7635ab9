#!/bin/sh
# Run every fuzz target for T seconds (default 60) from its seeds, with ASan and UBSan, and check
# that it reached 85 % of the lines that it is there for. `make fuzz T=600` builds and runs all.
#   tests/fuzz/run.sh [T] [TARGET...]      TARGET as in fuzz_TARGET.c
# What was found stays in build-fuzz/corpus/TARGET, and a crashing input in build-fuzz/crash/.
set -eu
cd "$(dirname "$0")/../.."
build=${HADAL_FUZZ_BUILD:-build-fuzz}
seconds=${1:-60}
[ $# -eq 0 ] || shift
least=85
targets=$*
[ -n "$targets" ] || targets=$(basename -s .c -a tests/fuzz/fuzz_*.c | sed s/^fuzz_//)

# Lines covered, in percent: the last row of llvm-cov's table, column "Cover" of "Lines".
line_cover() { # target
    llvm-profdata-19 merge -o "$build/fuzz/$1.profdata" "$build/fuzz/$1.profraw"
    # shellcheck disable=SC2046 # the list of files is split on purpose
    llvm-cov-19 report "$build/fuzz/fuzz_$1" -instr-profile="$build/fuzz/$1.profdata" \
        $(sed -n 's|^/\* Covers: \(.*\) \*/$|\1|p' "tests/fuzz/fuzz_$1.c") |
        awk '$1 == "TOTAL" { sub("%", "", $10); print $10 }'
}

failed=0
for target in $targets; do
    corpus=$build/corpus/$target
    mkdir -p "$corpus" "$build/crash"
    dict=tests/fuzz/dict/$target
    [ -f "$dict" ] || dict=/dev/null
    log=$build/fuzz/$target.log
    if ! LLVM_PROFILE_FILE="$build/fuzz/$target.profraw" "$build/fuzz/fuzz_$target" \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$build/crash/$target-" -dict="$dict" \
        "$corpus" "tests/fuzz/seeds/$target" >"$log" 2>&1; then
        tail -40 "$log"
        echo "fuzz $target: FAILED, see $build/crash/"
        failed=1
        continue
    fi
    runs=$(sed -n 's/stat::number_of_executed_units: *//p' "$log")
    cover=$(line_cover "$target")
    verdict=ok
    if awk "BEGIN { exit !($cover < $least) }"; then
        verdict="FAILED: less than $least %"
        failed=1
    fi
    echo "fuzz $target: $runs inputs in $seconds s, $cover % of the lines: $verdict"
done
exit $failed
