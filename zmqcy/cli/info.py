"""``zmqcy info``: versions, libzmq, its capabilities and limits."""

import json
import os
import platform
import resource
import sys
from typing import Any

import click

import zmqcy
from zmqcy import _library
from zmqcy.hints import ALWAYS, TRANSPORTS

CAPABILITIES = ["ipc", "tipc", "ws", "wss", "pgm", "norm", "vmci", "curve", "gssapi", "draft"]


def origin_of_libzmq(path: str | None) -> str | None:
    """Return why this libzmq was loaded: its package, or the variable that names its folder."""
    if path is None:
        return None
    folder = os.path.dirname(path)
    package = os.path.dirname(os.path.realpath(zmqcy.__file__))
    # The folders of auditwheel and delocate for the libraries of a wheel.
    if folder in (f"{package}.libs", os.path.join(package, ".dylibs")):
        return "bundled with zmqcy"
    preloaded = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    if path in map(os.path.realpath, preloaded):
        return "named by LD_PRELOAD"
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if folder in [os.path.realpath(each) for each in os.environ.get(name, "").split(":") if each]:
            return f"found by {name}"
    # Compare the whole path: Debian has /usr/lib/x86_64-linux-gnu, Homebrew a folder per package. The modules contain
    # the prefix of the build, which may be /usr/local.
    with open(_library.__file__, "rb") as module:
        named = b"\0" + os.fsencode(folder) + b"\0" in module.read()
    if path.startswith(("/lib", "/usr/", "/opt/homebrew/", "/opt/local/")) and not named:
        return "the system's"
    return "from the prefix in ZMQCY_LIBZMQ at build time"


def collect() -> dict[str, Any]:
    """Return versions, capabilities, transports and limits, as ``info --json`` writes them."""
    able = {name: bool(zmqcy.has(name)) for name in CAPABILITIES}
    with zmqcy.Context() as context:
        tuned = context.tuned
        limits: dict[str, Any] = {
            name: getattr(context, name) for name in ("max_sockets", "socket_limit", "max_msgsz", "io_threads")
        }
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limits["open_files"] = None if files == resource.RLIM_INFINITY else files
    path = zmqcy.get_library()
    return {
        "zmqcy": zmqcy.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "libzmq": zmqcy.zmq_version(),
        "libzmq_path": path,
        "libzmq_origin": origin_of_libzmq(path),
        "has": able,
        "tuned": tuned,
        "transports": [name for name in TRANSPORTS if name in ALWAYS or able.get(name)],
        "limits": limits,
    }


@click.command(
    epilog="""\b
Examples:
  zmqcy info
  zmqcy info --json | python3 -m json.tool
"""
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def info(as_json: bool) -> None:
    """Show versions, libzmq's capabilities, and limits."""
    found = collect()
    if as_json:
        click.echo(json.dumps(found))
        return
    able = found["has"]
    rows = {
        "zmqcy": found["zmqcy"],
        "python": f"{found['python']} ({found['executable']})",
        "platform": found["platform"],
        "libzmq": f"{found['libzmq']} ({found['libzmq_path'] or 'file unknown'})",
        "origin": found["libzmq_origin"] or "-",
        "has": " ".join(name for name in able if able[name]) or "-",
        "lacks": " ".join(name for name in able if not able[name]) or "-",
        "tuned": "yes: 96 KiB per read and write" if found["tuned"] else "no: this libzmq has no draft API",
        "transports": " ".join(found["transports"]),
        **{name: "unlimited" if value is None else value for name, value in found["limits"].items()},
    }
    for name, value in rows.items():
        click.echo(f"{name:<13}{value}")
