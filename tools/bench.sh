#!/bin/sh
# Run the benchmarks with the newest installed Python, a libzmq with drafts, and a release build of zmqcy, as in a wheel.
# usage: tools/bench.sh [ARGUMENT OF benchmarks/run.py ...]
# PYTHON selects another Python. ZMQCY_LIBZMQ is the prefix of another libzmq. The environment is build/bench.
set -eu
cd "$(dirname "$0")/.."
home=build/bench

newest() { # print the newest Python in PATH or pyenv that can make an environment and has a GIL
    for minor in 14 13 12 11 10; do
        fits="import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, $minor) or 'free-threading' in sys.version)"
        for python in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/"python3.$minor" python3; do
            if "$python" -c "$fits" >/dev/null 2>&1; then
                "$python" -c 'import sys; print(sys.executable)'
                return
            fi
        done
    done
    echo "bench: found no Python 3.10 or newer; install one, or set PYTHON=" >&2
    return 1
}

python=${PYTHON:-$(newest)}
unset PYTHONPATH # measure the zmqcy of build/bench
if [ -n "${ZMQCY_LIBZMQ:-}" ]; then
    ZMQCY_LIBZMQ=$(cd "$ZMQCY_LIBZMQ" && pwd)
else
    ZMQCY_LIBZMQ=$PWD/build/libzmq-drafts
    tools=g++
fi
export ZMQCY_LIBZMQ
VENV=$home TOOLS=${tools:-} tools/setup.sh "$python"
[ -z "${tools:-}" ] || $home/bin/python tools/build_libzmq.py "$ZMQCY_LIBZMQ"
$home/bin/python -m pip install -q --group bench

sources() {
    git ls-files -z zmqcy tools setup.py pyproject.toml README.md LICENSE
}

state="$ZMQCY_LIBZMQ $(sources | xargs -0 cat | cksum)"
if [ "$(cat $home/state 2>/dev/null)" != "$state" ]; then
    mkdir -p $home/source # build a copy, to keep the modules of the working tree
    sources | xargs -0 tar cf - | tar xf - -C $home/source
    $home/bin/python -m pip install -q --no-build-isolation --no-deps --force-reinstall $home/source
    echo "$state" >$home/state
fi
exec $home/bin/python benchmarks/run.py "$@"
