#!/bin/sh
# The main job on the bundled model: a chat with thinking, one with a tool, a question about a long
# text. Without a bundled model a random one of the same architecture is made on the spot.
#   tools/demo.sh build/hadal
set -eu
cd "$(dirname "$0")/.."
hadal=$1
model=models/demo
bold='' plain=''
[ -t 1 ] && bold=$(printf '\033[1m') plain=$(printf '\033[0m')
show() { # what is run, then what it says
    printf '\n%s$ hadal' "$bold"
    for word; do
        case $word in
        *[!a-zA-Z0-9_./=-]*) printf " '%s'" "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '%s\n' "$plain"
    "$hadal" "$@"
}

if [ ! -f $model/config.json ]; then
    model=build/demo-unit
    echo "No trained model is bundled yet. This run uses random weights of the real architecture"
    echo "(hadal synth unit): every part computes, the words mean nothing."
    echo
    [ -f $model/config.json ] || "$hadal" synth unit --seed 1 --out $model
    show inspect $model
    show run $model --chat -p 'How deep is the sea?' -n 48 --seed 7
    exit 0
fi

show inspect $model
echo
echo "A sum, digit by digit in its thoughts (standard error, dimmed on a terminal):"
show run $model --chat --think low -t 0 -n 200 -p 'What is 4718 + 2963?'
echo
echo "A tool on offer: it calls it, in markup that is parsed on token ids."
show run $model --chat -t 0 -n 200 --tools examples/tools.json -p 'What is 317 times 46?'
echo
echo "A question about a text of some 4,000 tokens, far longer than the window of 128:"
printf '... %s\n' "$(tail -n 1 examples/long.txt)"
show run $model --chat -t 0 -n 60 -f examples/long.txt
