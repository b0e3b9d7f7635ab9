#!/bin/sh
# Install what a target needs on Debian 12, and say so. Does nothing when all of it is there.
#   tools/setup.sh build | test | check | cross | fuzz | cover | oracle | api | page
# HADAL_SETUP=off skips it (for machines that are set up in another way).
set -eu
cd "$(dirname "$0")/.."
[ "${HADAL_SETUP:-on}" = off ] && exit 0

build="gcc libc6-dev cmake ninja-build pkg-config libedit-dev libevent-dev libssl-dev libinih-dev libsystemd-dev libncurses-dev"
case "${1:-build}" in
build) want="$build" ;;
test) want="$build libcmocka-dev libpcre2-dev python3" ;;
cross) want="$build gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user" ;;
check) want="clang-format-19 codespell shellcheck python3" ;;
fuzz) want="$build clang-19 libclang-rt-19-dev llvm-19" ;;
cover) want="$build libcmocka-dev libpcre2-dev gcovr" ;;
oracle | api) want="$build python3-venv" ;;
page) want="python3 chromium-headless-shell fonts-inter" ;;
*) echo "tools/setup.sh: no set of packages '$1'" >&2; exit 2 ;;
esac

missing=
for p in $want; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "install ok installed" || missing="$missing $p"
done
if [ -n "$missing" ]; then
    echo "installing Debian packages:$missing"
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    $sudo apt-get install -y -q $missing >/dev/null 2>&1 || {
        $sudo apt-get update -q >/dev/null
        $sudo apt-get install -y -q $missing >/dev/null
    }
fi

if [ "${1:-build}" = oracle ] && [ ! -x .venv/bin/python ]; then
    echo "installing from PyPI into .venv: $(grep -o '^[a-z-]*==[0-9.]*' tests/oracle/requirements.txt | tr '\n' ' ')"
    python3 -m venv .venv
    .venv/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r tests/oracle/requirements.txt
fi
