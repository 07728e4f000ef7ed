"""``zmqcy info``: what is installed, and what it can do."""

import json
import os
import platform
import resource
import sys
from typing import Any

import click

import zmqcy
from zmqcy import _library

CAPABILITIES = ["ipc", "tipc", "ws", "wss", "pgm", "norm", "vmci", "curve", "gssapi", "draft"]
TRANSPORTS = ["ipc", "tipc", "ws", "wss", "pgm", "norm", "vmci"]  # beside inproc, tcp and udp, which all have


def origin_of_libzmq(path: str | None) -> str | None:
    """Tell why the loaded libzmq is this one: who put the file there, or what pointed to it."""
    if path is None:
        return None
    folder = os.path.dirname(path)
    package = os.path.dirname(os.path.realpath(zmqcy.__file__))
    # Where auditwheel and delocate put the libraries of a wheel.
    if folder in (f"{package}.libs", os.path.join(package, ".dylibs")):
        return "bundled with zmqcy"
    preloaded = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    if path in map(os.path.realpath, preloaded):
        return "named by LD_PRELOAD"
    for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        if folder in [os.path.realpath(each) for each in os.environ.get(name, "").split(":") if each]:
            return f"found by {name}"
    # By the whole path: Debian's are in /usr/lib/x86_64-linux-gnu, those of Homebrew in a folder of each package. What
    # the build was given as a prefix is in the modules, and may be /usr/local.
    with open(_library.__file__, "rb") as module:
        named = b"\0" + os.fsencode(folder) + b"\0" in module.read()
    if path.startswith(("/lib", "/usr/", "/opt/homebrew/", "/opt/local/")) and not named:
        return "of the system"
    return "of the prefix that ZMQCY_LIBZMQ named at the build"


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
        "transports": ["inproc", "tcp", "udp", *(name for name in TRANSPORTS if able[name])],
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
    """Tell versions, where libzmq was found, and what it can do."""
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
        "libzmq is": found["libzmq_origin"] or "-",
        "has": " ".join(name for name in able if able[name]) or "-",
        "has not": " ".join(name for name in able if not able[name]) or "-",
        "tuned": "yes: 96 KiB at a time" if found["tuned"] else "no: this libzmq has no drafts, those of wheels have",
        "transports": " ".join(found["transports"]),
        **{name: "unlimited" if value is None else value for name, value in found["limits"].items()},
    }
    for name, value in rows.items():
        click.echo(f"{name:<13}{value}")
