"""Compare the names of each module of pyzmq with those that it has on zmqcy.compat. Fail on one that is missing.

    python tools/compare_names.py              what is missing, and is not listed in LEFT_OUT
    python tools/compare_names.py --markdown   LEFT_OUT as a table, for docs/from-pyzmq.md

It asks pyzmq in a process of its own. A name of LEFT_OUT that is there, or that pyzmq does not have, is a failure too.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import warnings
from fnmatch import fnmatchcase
from pathlib import Path

LEFT_OUT = {
    "*.__builtins__ *.__cached__ *.__annotations__": "Python's own, of modules that it executes",
    "zmq.tests": "the base of pyzmq's own tests, deprecated there: `pytest` fixtures",
    "zmq.backend.select zmq.backend._ns zmq.backend.first zmq.backend.second zmq.backend.public_api "
    "zmq.backend.select_backend": "choose one of pyzmq's two backends; there is one here",
    "zmq.backend.cython._zmq.__*": "of Cython's making",
    "zmq._libs_on_path": "for libraries that pyzmq's wheels for Windows bring along",
    "zmq.ssh.forward": "needs paramiko; tunnels are made by the system's ssh",
    "zmq.ssh.tunnel.paramiko zmq.ssh.tunnel.pexpect zmq.ssh.tunnel._paramiko_tunnel zmq.ssh.tunnel._password_pat "
    "zmq.ssh.tunnel._split_server zmq.ssh.tunnel._stop_tunnel zmq.ssh.tunnel._try_passwordless_paramiko": "of "
    "tunnels by paramiko and pexpect",
    "zmq._future._Async zmq._future._FutureEvent zmq._future._NoTimer zmq.asyncio._AsyncIO": "how pyzmq makes futures",
    "zmq.eventloop.future._AsyncTornado zmq.eventloop.future._*Tornado*": "how pyzmq makes futures",
    "zmq.asyncio._get_selector* zmq.asyncio._selectors zmq.asyncio._loop": "for the Proactor loop of Windows",
    "zmq.asyncio._deprecated zmq.eventloop.ioloop._deprecated": "gives a warning of pyzmq's",
    "zmq.auth.thread.AuthenticationThread": "the thread of pyzmq's ThreadAuthenticator, which is `zmqcy.auth`'s here",
    "zmq.decorators._*": "classes behind `context` and `socket`, which are functions here",
    "zmq.devices.monitoredqueue._*": "what `monitored_queue` calls in pyzmq",
    "zmq.error._zmq_version zmq.error._zmq_version_info": "where pyzmq remembers libzmq's version",
    "zmq.green.core.TIMEOS zmq.green.core._stop": "for the warnings of pyzmq's green sockets, which heed no timeouts",
    "zmq.log.handlers._meth zmq.log.handlers._name": "variables of a loop",
    "zmq.sugar.*.T zmq.sugar.*._T zmq.sugar.*._RT zmq.sugar.*._JSON zmq.sugar.*_co zmq._future.T": "variables of types",
    "zmq.sugar.context._ContextType zmq.sugar.context._SocketType zmq.utils.z85._RawBytes": "variables of types",
    "zmq.utils.monitor._MonitorMessage": "variables of types",
    "zmq.sugar.context._exiting zmq.sugar.context._notice_atexit": "how pyzmq knows that the process ends",
    "zmq.sugar.frame._draft zmq.sugar.socket._SocketContext": "what `Frame` and `bind` call in pyzmq",
    "zmq.sugar.version._*": "how pyzmq reads its own version",
    "zmq.utils.garbage.gcref": "of the thread that holds buffers, which zmqcy does without",
    "zmq.utils.monitor._parse_monitor_msg_async": "what `recv_monitor_message` calls in pyzmq",
    "zmq.utils.z85._85s": "powers of 85",
}
"""By patterns of full names: why zmqcy.compat does without."""

PATTERNS = {pattern: reason for patterns, reason in LEFT_OUT.items() for pattern in patterns.split()}


def dir_of(modules: list[str]) -> dict[str, list[str]]:
    """Import modules one after the other, and return what each has then. Those that cannot be imported are left out."""
    warnings.simplefilter("ignore")
    found = {}
    for name in modules:
        try:
            found[name] = dir(importlib.import_module(name))
        except ImportError:
            continue
    return found


def modules_of(folder: Path) -> list[str]:
    """Return the names of all modules of a package, parents first."""
    files = (each.relative_to(folder.parent) for each in folder.rglob("*") if each.suffix in (".py", ".so", ".pyd"))
    parts = {(*each.parts[:-1], each.name.partition(".")[0]) for each in files}
    return sorted(".".join(each[:-1] if each[-1] == "__init__" else each) for each in parts)


def missing() -> list[str]:
    """Return the full names that pyzmq has, that are not here, and that no pattern lists; and needless patterns."""
    code = "import sys, json; sys.path.insert(0, sys.argv[1]); import compare_names, zmq, pathlib; print(json.dumps("
    code += "compare_names.dir_of(compare_names.modules_of(pathlib.Path(zmq.__file__).parent))))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent)]
    theirs = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    from zmqcy.compat import install

    install()
    ours = dir_of(list(theirs))
    lacking = theirs.keys() - ours.keys()
    lacking |= {f"{module}.{name}" for module in ours for name in set(theirs[module]) - set(ours[module])}
    used = {pattern for pattern in PATTERNS for name in lacking if fnmatchcase(name, pattern)}
    unlisted = sorted(name for name in lacking if not any(fnmatchcase(name, pattern) for pattern in PATTERNS))
    return unlisted + [f"needless: {pattern}" for pattern in PATTERNS if pattern not in used]


def main() -> None:
    if "--markdown" in sys.argv:
        for patterns, reason in LEFT_OUT.items():
            print(f"| {', '.join(f'`{each}`' for each in patterns.split())} | {reason} |")
        return
    found = missing()
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
