#!/bin/sh
# After ctest: which golden sets the tests ran on, from the log of the last run.
set -eu
cd "$(dirname "$0")/.."
log=build/Testing/Temporary/LastTest.log
[ -f $log ] || exit 0
echo "golden data: ${HADAL_VECTORS:-tests/data (HADAL_VECTORS is not set: the bundled part)}"
grep -hE '^summary: ' $log | sed 's/^summary: /  /' || true
