"""The same scripts with `import zmq`, on zmqcy.compat and on pyzmq, and with `import zmqcy`: messages/s."""

from functools import partial

from common import COMPAT, START, Cell, Failed, Table, alone, arguments, label, measure, missing, over, rivals

SIZES = (8, 1 << 10)
THROUGH = {"zmqcy": COMPAT, "zmqcy direct": "zmqcy", "pyzmq": "pyzmq"}  # column: library
FRAMEWORKS = {"ZMQStream": "tornado", "zmq.green": "gevent"}
UNIT = "messages/s"


def checked(name, run, loop=""):
    """Return a run that first checks, once, that no message is lost."""

    def once():
        if why := missing(name, "tcp", loop=loop):
            raise Failed(why)
        return run()

    return once


def cell(title, runs, size, options):
    """Return a cell with one table of the runs by library."""
    of = {name: each for name, each in THROUGH.items() if each in runs}
    table = Table(f"zmqcy.compat: {title}", size, UNIT, of)
    return Cell(f"{title} {label(size, 'bytes')}", runs, [table], options.seconds * 1.1 + START, options.fewer)


def plain(mode, size, options):
    works = ("rep", "req") if mode == "round trips" else ("pull", "push")
    plan = {"size": size, "seconds": options.seconds} | ({"mode": mode} if mode == "multipart" else {})
    runs = {
        name: checked(name, partial(over, "tcp", command, works, **plan))
        for name, command in rivals(*THROUGH.values()).items()
    }
    return cell(f"{mode} over tcp, two processes", runs, size, options)


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
    """Return ZMQStream or zmq.green at both ends. In round trips of ZMQStream only the replier is a stream."""
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
        plain("round trips", 8, options),
        *(tasks("PUSH to PULL over tcp, two processes", size, options) for size in sizes),
        tasks("REQ to REP over tcp, two tasks", 8, options),
        *(framework(name, trips, 8, options) for name in FRAMEWORKS for trips in (False, True)),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("compat", cells(options), options)
