#!/bin/sh
# Make .venv with what the build needs, after installing what this system lacks (apt-get, dnf or brew).
# Each step prints a line, and all of its output if it fails.
# usage: tools/setup.sh [PYTHON]   by default the Python of .venv or, where there is none, python3
# VENV=build/bench: an environment in another place than .venv
# TOOLS="valgrind chromium": commands that are wanted too, and are in packages of their names; chromium with its driver;
# libsodium is the library
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
python=python3
[ -x "$venv/bin/python" ] && python=$venv/bin/python
python=${1:-$python}

fail() {
    echo "setup: $*" >&2
    exit 1
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

quietly() { # quietly TEXT COMMAND ...: print the text, run the command, and show its output only if it fails
    echo "setup: $1"
    text=$1
    shift
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        fail "failed: $text"
    }
}

command -v "$python" >/dev/null || fail "$python is not there: install Python 3.10 or newer, or name one by PYTHON="
"$python" -c '' || fail "$python does not start: name another by PYTHON="
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$python is older than 3.10: name another by PYTHON="

# ---- what is missing

says() { # says EXPRESSION: what Python prints for it
    "$python" -c "import sys, sysconfig; print($1)"
}

missing=
echo "#include <stdlib.h>" | ${CC:-cc} -E -x c - >/dev/null 2>&1 || missing="$missing compiler"
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing venv"
[ -f "$(says 'sysconfig.get_path("include")')/Python.h" ] || missing="$missing headers"
if [ -z "${ZMQCY_LIBZMQ:-}" ]; then
    command -v "${PKG_CONFIG:-pkg-config}" >/dev/null || missing="$missing pkg-config"
    "${PKG_CONFIG:-pkg-config}" --exists 'libzmq >= 4.2' 2>/dev/null || missing="$missing libzmq"
fi
for tool in ${TOOLS:-}; do
    if [ "$tool" = libsodium ]; then
        "${PKG_CONFIG:-pkg-config}" --exists libsodium 2>/dev/null || missing="$missing libsodium"
    else
        command -v "$tool" >/dev/null || missing="$missing $tool"
    fi
    [ "$tool" != chromium ] || command -v chromedriver >/dev/null || missing="$missing chromedriver"
done

# ---- the packages that have it

sudo=
needs_root() { # needs_root COMMAND: find out how it is run as root
    [ "$(id -u)" = 0 ] && return
    command -v sudo >/dev/null || fail "not root, and no sudo; run as root: $*"
    sudo=sudo
}

packages() { # packages COMPILER VENV HEADERS PKG-CONFIG LIBZMQ CHROMEDRIVER C++ LIBSODIUM: those that are missing
    for what in $missing; do
        case $what in
            compiler) echo "$1" ;;
            venv) echo "$2" ;;
            headers) echo "$3" ;;
            pkg-config) echo "$4" ;;
            libzmq) echo "$5" ;;
            chromedriver) echo "$6" ;;
            g++) echo "$7" ;;
            libsodium) echo "$8" ;;
            *) echo "$what" ;;
        esac
    done
}

if [ -n "$missing" ]; then
    version=$(says '"%d.%d" % sys.version_info[:2]')
    # The names of packages are words without quotes.
    # shellcheck disable=SC2046,SC2086
    if command -v apt-get >/dev/null; then
        wanted=$(echo $(packages "gcc libc6-dev" "python$version-venv" "python$version-dev" pkg-config libzmq3-dev chromium-driver \
            g++ libsodium-dev))
        needs_root apt-get install $wanted
        quietly "Reading the package lists with apt-get" $sudo apt-get update -q
        quietly "Installing build tools with apt-get: $wanted" \
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted
    elif command -v dnf >/dev/null; then
        wanted=$(echo $(packages gcc "" python3-devel pkgconf-pkg-config zeromq-devel chromedriver gcc-c++ libsodium-devel))
        needs_root dnf install $wanted
        quietly "Installing build tools with dnf: $wanted" $sudo dnf install -q -y $wanted
    elif command -v brew >/dev/null; then
        case $missing in
            *compiler* | *g++*) fail "no C compiler: run xcode-select --install" ;;
            *venv* | *headers*) fail "$python has no venv or no headers: brew install python, and name it by PYTHON=" ;;
        esac
        wanted=$(echo $(packages "" "" "" pkgconf zeromq chromedriver "" libsodium))
        quietly "Installing build tools with brew: $wanted" brew install -q $wanted
    else
        fail "no apt-get, dnf or brew here: install by hand what is missing:$missing"
    fi
fi

# ---- the environment

install_tools() {
    "$venv/bin/python" -m pip install -q "pip >= 25.1" && # the first version with --group
        "$venv/bin/python" -m pip install -q --group build
}

identity() {
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null || true
}

[ "$(identity "$venv/bin/python")" = "$(identity "$python")" ] || "$python" -m venv --clear "$venv"
quietly "Installing Cython and setuptools with pip, into $venv" install_tools
