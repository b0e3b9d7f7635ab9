#!/bin/sh
# Drive `hadal serve` with the clients' own packages from PyPI: each tests/api/req-X.txt is an
# environment of its own, .venv-X, because their pins conflict.
#
#   tests/api/run.sh [PROGRAM] [X...]     default build/hadal, and all of them
#
# A client that cannot be installed is skipped, unless HADAL_REQUIRE names clients. The environments
# are installed at the same time: most of it is waiting for the network.
set -u
cd "$(dirname "$0")/../.." || exit 1
program=${1:-build/hadal}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- sdk langchain litellm aider
failed=''

tests_of() {
    case $1 in
    sdk) echo sdk_decoders test_openai_chat test_openai_responses test_anthropic test_errors ;;
    *) echo "test_$1" ;;
    esac
}

install() { # install X: the file `installed` says that all of it is there
    rm -rf ".venv-$1" && python3 -m venv ".venv-$1" &&
        ".venv-$1/bin/pip" install -q --disable-pip-version-check --no-deps --no-compile \
            --only-binary :all: --require-hashes -r "tests/api/req-$1.txt" &&
        cp "tests/api/req-$1.txt" ".venv-$1/installed"
}

for name; do
    cmp -s "tests/api/req-$name.txt" ".venv-$name/installed" && continue
    echo "installing from PyPI into .venv-$name: $(grep -c == "tests/api/req-$name.txt") packages"
    install "$name" &
done
wait

for name; do
    if ! cmp -s "tests/api/req-$name.txt" ".venv-$name/installed"; then
        echo "SKIPPED: $name could not be installed"
        case ",${HADAL_REQUIRE:-}," in *,clients,*) failed="$failed $name" ;; esac
        continue
    fi
    du -sm ".venv-$name" | sed 's/\t.*/ MB/' | tr '\n' ' '
    for test in $(tests_of "$name"); do
        echo "== $name: $test ($(date +%T))"
        ".venv-$name/bin/python" "tests/api/$test.py" "$program" || failed="$failed $test"
    done
done
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
