"""The same scripts, which say ``import zmq``, on zmqcy.compat and on pyzmq, and on zmqcy itself: messages a second.

Beside them compat with ``--tuned``, where the libzmq of this zmqcy has drafts, or else on the wheel of bench_wheel.py.
"""

import sys
from functools import partial

import bench_wheel
from common import (
    COMPAT,
    HERE,
    LIBRARIES,
    PEER,
    START,
    Cell,
    Failed,
    Table,
    alone,
    arguments,
    label,
    measure,
    missing,
    over,
    rivals,
)

import zmqcy

SIZES = (8, 1 << 10)
THROUGH = {"zmqcy": COMPAT, "zmqcy itself": "zmqcy", "pyzmq": "pyzmq"}  # the names in tables, where ours is compat's
FRAMEWORKS = {"ZMQStream": "tornado", "zmq.green": "gevent"}
UNIT = "messages/s"


def checked(name, run, loop="", command=()):
    """Return a run that looks first, once, whether every message comes."""

    def once():
        if why := missing(name, "tcp", loop=loop, command=command):
            raise Failed(why)
        return run()

    return once


def cell(title, runs, size, options, unit=UNIT):
    """Return a table of runs by what runs them."""
    of = {name: each for name, each in THROUGH.items() if each in runs}
    table = Table(f"through compat: {title}", size, unit, of)
    return Cell(f"{title} {label(size, 'bytes')}", runs, [table], options.seconds * 1.1 + START)


def plain_runs(commands, mode, size, options):
    works = ("rep", "req") if mode == "round trips" else ("pull", "push")
    plan = {"size": size, "seconds": options.seconds} | ({"mode": mode} if mode == "multipart" else {})
    return {
        name: checked(name, partial(over, "tcp", command, works, **plan), command=tuple(command))
        for name, command in commands.items()
    }


def plain(mode, size, options):
    runs = plain_runs(rivals(*THROUGH.values()), mode, size, options)
    return cell(f"{mode} over tcp, two processes", runs, size, options)


def tuned(mode, size, options):
    """Return a cell with --tuned, and without beside it; or none where no libzmq has drafts."""
    if zmqcy.has("draft"):
        python = [sys.executable]
    elif wheel := bench_wheel.wheel_python():
        # From a folder without a zmqcy of its own, which -m would prefer.
        python = ["env", "-u", "PYTHONPATH", "sh", "-c", 'cd "$0" && exec "$@"', str(HERE), wheel]
    else:
        return []
    program = [str(PEER), LIBRARIES["pyzmq"]]
    commands = {
        "zmqcy": [*python, "-m", COMPAT, "--tuned", *program],
        "zmqcy untuned": [*python, "-m", COMPAT, *program],
        **rivals("pyzmq"),
    }
    runs = plain_runs(commands, mode, size, options)
    table = Table(f"through compat, tuned: {mode} over tcp, two processes", size, UNIT, {name: name for name in runs})
    return [Cell(f"{mode} tuned {label(size, 'bytes')}", runs, [table], options.seconds * 1.1 + START)]


def tasks(where, size, options):
    plan = {"size": size, "seconds": options.seconds, "loop": "asyncio"}
    ways = {
        "PUSH to PULL over tcp, two processes": lambda command: over("tcp", command, ("pull", "push"), **plan),
        "REQ to REP over tcp, two tasks": lambda command: alone(command, "rep+req", "@tcp://127.0.0.1:*", **plan),
    }
    runs = {
        name: checked(name, partial(ways[where], command), "asyncio")
        for name, command in rivals(*THROUGH.values()).items()
    }
    return cell(f"asyncio, {where}", runs, size, options)


def framework(name, trips, size, options):
    """Return what an engine of callbacks or greenlets does at both ends; or, of streams, at the end that answers."""
    plan = {"size": size, "seconds": options.seconds}
    works = ("rep", "req") if trips else ("pull", "push")
    if name == "ZMQStream":
        works = ("stream_rep", "req") if trips else ("stream_pull", "stream_push")
    runs = {}
    for rival, command in rivals(COMPAT, "pyzmq").items():
        if name == "zmq.green":
            command = [*command[:-1], name]
        runs[rival] = partial(over, "tcp", command, works, **plan)
    return cell(f"{name}, {'REQ to REP' if trips else 'PUSH to PULL'} over tcp, two processes", runs, size, options)


def cells(options):
    sizes = SIZES[:1] if options.quick else SIZES
    return [
        *(plain("single", size, options) for size in SIZES),
        *(plain("multipart", size, options) for size in sizes),
        *(cell for mode in ("single", "multipart") for cell in tuned(mode, 1 << 10, options)),
        plain("round trips", 8, options),
        *(tasks("PUSH to PULL over tcp, two processes", size, options) for size in sizes),
        tasks("REQ to REP over tcp, two tasks", 8, options),
        *(framework(name, trips, 8, options) for name in FRAMEWORKS for trips in (False, True)),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("compat", cells(options), options)
