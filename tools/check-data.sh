#!/bin/sh
# Every file of tests/data is the one that tests/data/SHA256SUMS lists, and none is missing there.
#
# usage: tools/check-data.sh [--update]      --update writes the list anew
set -eu
cd "$(dirname "$0")/../tests/data"

files() {
    find . -type f ! -name SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort
}

if [ "${1:-}" = --update ]; then
    files | tr '\n' '\0' | xargs -0 sha256sum >SHA256SUMS
    exit
fi
files >"${TMPDIR:-/tmp}/hadal-data.$$"
trap 'rm -f "${TMPDIR:-/tmp}/hadal-data.$$"' EXIT
if ! sed 's/^[0-9a-f]*  //' SHA256SUMS | diff - "${TMPDIR:-/tmp}/hadal-data.$$"; then
    echo "tests/data: '<' is listed in SHA256SUMS but missing, '>' is not listed" >&2
    exit 1
fi
sha256sum --quiet --strict -c SHA256SUMS
bytes=$(du -sb . | cut -f 1)
if [ "$bytes" -gt 35000000 ]; then
    echo "tests/data: $bytes bytes, expected at most 35000000" >&2
    exit 1
fi
