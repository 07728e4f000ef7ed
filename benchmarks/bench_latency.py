"""REQ to REP over tcp and ipc (two processes) and inproc (two threads): round trips/s, p50 and p99 by size."""

from common import START, TRANSPORTS, Cell, Table, arguments, label, measure, over, rivals

SIZES = (8, 1 << 10, 1 << 16)
QUICK = {"tcp": (8, 1 << 16), "ipc": (), "inproc": (8,)}
FIGURES = (("round trips", "rate", "round trips/s"), ("round trip p50", "p50", "µs"), ("round trip p99", "p99", "µs"))


def cell(transport, size, options):
    names = ["zmqcy", "C", "pyzmq", "pyomq"]
    if not options.quick or (transport, size) == ("tcp", 8):
        context = {"tcp": "asyncio streams", "ipc": "multiprocessing.Pipe"}.get(transport)
        names += ["pynng", context] if context else ["pynng"]
    plan = {"size": size, "seconds": options.seconds}
    runs = {
        name: lambda c=command: over(transport, c, ("rep", "req"), **plan) for name, command in rivals(*names).items()
    }
    zmqcy = rivals("zmqcy")["zmqcy"]
    runs["zmqcy blocking"] = lambda: over(transport, zmqcy, ("rep", "req"), mode="blocking", **plan)
    tables = [
        Table(f"{title} over {transport}", size, unit, {name: name for name in runs}, metric, less=metric != "rate")
        for title, metric, unit in FIGURES
    ]
    rounds = None if transport == "tcp" else options.fewer
    return Cell(f"latency {transport} {label(size, 'bytes')}", runs, tables, options.seconds + START, rounds)


def cells(options):
    plan = QUICK if options.quick else dict.fromkeys(TRANSPORTS, SIZES)
    return [cell(transport, size, options) for transport, sizes in plan.items() for size in sizes]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("latency", cells(options), options)
