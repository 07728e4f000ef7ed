#!/bin/sh
# Build zmqcy with a libzmq that has drafts, apart in build/drafts, and run tests with it.
# usage: [ZMQCY_LIBZMQ=PREFIX] tools/draft_tests.sh PYTHON [ARGUMENTS OF PYTEST]
# Without ZMQCY_LIBZMQ a libzmq is built by tools/build_libzmq.py. Without arguments: the drafts, and the core of the tests.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
python=$1
shift

if [ -z "${ZMQCY_LIBZMQ:-}" ]; then
    [ -f tools/build_libzmq.py ] || {
        echo "draft_tests: name the prefix of a libzmq with drafts: ZMQCY_LIBZMQ=PREFIX" >&2
        exit 1
    }
    ZMQCY_LIBZMQ=$root/build/libzmq-drafts
    "$python" tools/build_libzmq.py "$ZMQCY_LIBZMQ"
fi
export ZMQCY_LIBZMQ

place=$root/build/drafts
rm -rf "$place/run"
[ "$(cat "$place/prefix" 2>/dev/null)" = "$ZMQCY_LIBZMQ" ] || rm -rf "$place" # setup.py would not link anew
mkdir -p "$place/run"
echo "$ZMQCY_LIBZMQ" >"$place/prefix"
"$python" setup.py -q build --build-base "$place" --build-lib "$place/lib"
# The tests find the header by the environment, and the pages and examples beside their folder.
cp -R "$place/lib/zmqcy" "$place/run/zmqcy"
for part in tests docs examples tools pyproject.toml README.md CHANGELOG.md setup.py; do
    ln -s "$root/$part" "$place/run/$part"
done
cd "$place/run"
PYTHONPATH=$place/run
export PYTHONPATH
"$python" -c 'import zmqcy; assert zmqcy.has("draft"), "this libzmq has no drafts"; print("libzmq", zmqcy.zmq_version(), zmqcy.__file__)'
if [ $# = 0 ]; then
    for topic in drafts options constants errors context socket frames poll batches stats threads signals fork aio aio_poll; do
        set -- "$@" "tests/test_$topic.py"
    done
    set -- "$@" tests/compat/test_tuned.py
fi
exec "$python" -m pytest -p no:cacheprovider "$@"
