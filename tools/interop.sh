#!/bin/sh
# Install the other implementations for `make interop`. Those that cannot be installed are skipped there.
set -u
cd "$(dirname "$0")/.." || exit 1
root=
[ "$(id -u)" = 0 ] || root=sudo

if command -v apt-get >/dev/null; then
    packages="libczmq-dev libjeromq-java"
    command -v node >/dev/null || packages="$packages nodejs"
    command -v npm >/dev/null || packages="$packages npm"
    command -v javac >/dev/null || packages="$packages default-jdk-headless"
    $root apt-get update -q
    for package in $packages; do
        $root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$package" ||
            echo "interop: cannot install $package; its tests are skipped" >&2
    done
fi
mkdir -p build/interop
[ -d build/interop/node_modules/zeromq ] || npm install --silent --no-audit --no-fund --prefix build/interop zeromq@6 ||
    echo "interop: cannot install zeromq.js; its tests are skipped" >&2
