"""asyncio and uvloop: messages/s, round trips, many sockets, scheduling delay, imports, and CPU time while idle."""

import sys

from bench_calls import TIMED, output
from bench_memory import IDLE, share
from common import (
    LIBRARIES,
    START,
    Cell,
    Failed,
    Process,
    Table,
    alone,
    arguments,
    bare,
    compiled,
    label,
    loops,
    measure,
    missing,
    numbers,
    over,
    rivals,
    words,
)

UNIT = "messages/s"
FLIGHTS = (1, 10, 100)
SOCKETS = (1, 10, 100, 1000)
MANY = (  # title, metric, unit
    ("one active pair among idle sockets, round trips", "trips", "round trips/s"),
    ("one active pair among idle sockets, one way", "flow", UNIT),
    ("one message to each of many sockets", "turns", UNIT),
)
DELAYS = {  # mode: title
    "single": "scheduling delay next to one busy task",
    "flow": "scheduling delay next to a busy sender and receiver",
}
IMPORTS = {
    "import": "import {0}.asyncio",
    "import with asyncio already loaded": "import {0}.asyncio",
    "import, loop, context and first socket": "import asyncio, {0}.asyncio\n"
    "async def main(): {0}.asyncio.Context().socket({0}.PUSH)\n"
    "asyncio.run(main())",
}
WAITING = 100  # sockets


def batch(size):
    return max(1, min(1000, 2**20 // size))


def names_on(loop, options, *more):
    """Return the libraries to compare on a loop; a quick run has fewer."""
    if options.quick:
        return ("zmqcy", "pyzmq", "pyomq") if loop == "asyncio" else ("zmqcy", "pyzmq")
    return ("zmqcy", "pyzmq", "pyomq", *more)


def flow(name, transport, mode, size, loop, options):
    """Return the function of a PUSH to PULL run. The first run checks that no message is lost."""
    command = rivals(name)[name]

    def once():
        if why := missing(name, transport, mode, loop=loop):
            raise Failed(why)
        plan = {"mode": mode, "size": size, "batch": batch(size), "seconds": options.seconds, "loop": loop}
        return over(transport, command, ("pull", "push"), **plan)

    return once


def inproc(size, options):
    """Return PUSH to PULL in one loop, compared with zmqcy's plain sockets in one thread."""
    runs, tables = {}, []
    zmqcy = rivals("zmqcy")["zmqcy"]
    for mode in ("single", "batch"):
        plan = {"mode": mode, "size": size, "batch": batch(size), "seconds": options.seconds}
        runs[f"plain {mode}"] = lambda p=plan: alone(zmqcy, "inline", ".", **p)
    for loop in loops():
        of = {name: f"{name} on {loop}" for name in rivals(*names_on(loop, options, *(["pynng"] if size == 8 else [])))}
        for name, run in of.items():
            runs[run] = flow(name, "inproc", "single", size, loop, options)
        many = f"batches on {loop}"
        runs[many] = flow("zmqcy", "inproc", "batch", size, loop, options)
        group = f"{loop}: PUSH to PULL over inproc, two tasks"
        tables += [
            Table(f"{group}, single", size, UNIT, {**of, "zmqcy plain": "plain single"}),
            Table(f"{group}, batch", size, UNIT, {**of, "zmqcy": many, "zmqcy plain": "plain batch"}),
        ]
    rounds = None if size == 8 else options.fewer
    return Cell(f"asyncio inproc {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START, rounds)


def tcp(size, options):
    """Return PUSH to PULL in two processes."""
    runs, tables = {}, []
    for loop in loops():
        of = {name: f"{name} on {loop}" for name in rivals(*names_on(loop, options, "pynng", "asyncio streams"))}
        for name, run in of.items():
            runs[run] = flow(name, "tcp", "single", size, loop, options)
        tables.append(Table(f"{loop}: PUSH to PULL over tcp, two processes", size, UNIT, of))
    return Cell(f"asyncio tcp {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START)


def trips(options):
    """Return round trips over tcp between two tasks of one loop."""
    runs, tables = {}, []
    for loop in loops():
        commands = rivals(*names_on(loop, options, "pynng", "asyncio streams"))
        of = {name: f"{name} on {loop}" for name in commands}
        plan = {"size": 8, "seconds": options.seconds, "loop": loop}
        for name, run in of.items():
            runs[run] = lambda c=commands[name], p=plan: alone(c, "rep+req", "@tcp://127.0.0.1:*", **p)
        group = f"{loop}: REQ to REP over tcp, two tasks"
        for title, metric, unit in (("", "rate", "round trips/s"), (", p50", "p50", "µs"), (", p99", "p99", "µs")):
            tables.append(Table(group + title, 8, unit, of, metric, less=metric != "rate"))
    return Cell("asyncio round trips", runs, tables, options.seconds + START)


def flights(number, options):
    """Return DEALER to ROUTER in two processes with `number` requests in flight. pynng has neither type."""
    runs, tables = {}, []
    for loop in loops()[: 1 if options.quick else 2]:
        names = ("zmqcy", "pyzmq", *(["pyomq", "asyncio streams"] if loop == "asyncio" else []))
        commands = rivals(*(names[:2] if options.quick else names))
        of = {name: f"{name} on {loop}" for name in commands}
        plan = {"flight": number, "seconds": options.seconds, "loop": loop}
        for name, run in of.items():
            works = ("rep" if name == "asyncio streams" else "router", "dealer")
            runs[run] = lambda c=commands[name], w=works, p=plan: over("tcp", c, w, **p)
        tables.append(Table(f"{loop}: DEALER to ROUTER over tcp, in flight", number, "requests/s", of, axis="requests"))
    return Cell(f"asyncio {number} in flight", runs, tables, options.seconds * 1.1 + START, options.fewer)


def many(options):
    """Return all numbers of sockets as one cell, because one row compares 1,000 sockets with 1."""
    runs, tables = {}, []
    for loop in loops()[: 1 if options.quick else 2]:
        sockets = SOCKETS if loop == "asyncio" and not options.quick else (SOCKETS[0], SOCKETS[-1])
        commands = rivals(*(["zmqcy"] if options.quick or loop != "asyncio" else ["zmqcy", "pyzmq", "pyomq"]))
        for number in sockets:
            plan = {"peers": number, "seconds": options.seconds, "loop": loop}
            for name, command in commands.items():
                runs[f"{name} {number} {loop}"] = lambda c=command, p=plan: alone(c, "many", ".", **p)
        for title, metric, unit in MANY:
            group = f"{loop}: {title}"
            tables += [
                Table(group, n, unit, {name: f"{name} {n} {loop}" for name in commands}, metric, axis="sockets")
                for n in sockets
            ]
            growth = {"zmqcy": f"zmqcy 1000 {loop}", "zmqcy with 1": f"zmqcy 1 {loop}"}
            tables.append(Table(group, "1,000 sockets compared with 1", unit, growth, metric, axis="growth"))
    return Cell("asyncio many sockets", runs, tables, options.seconds * 3.3 + START + 0.2, options.fewer)


def fairness(options):
    """Return the delay of a task that sleeps for 1 ms, or that call_soon wakes, in a loop with busy tasks."""
    runs, tables = {}, []
    for loop in loops()[: 1 if options.quick else 2]:
        more = () if options.quick or loop != "asyncio" else ("pyomq", "pynng", "asyncio streams")
        commands = rivals("zmqcy", "pyzmq", *more)
        for mode, title in list(DELAYS.items())[: 1 if options.quick else 2]:
            of = {name: f"{name} {mode} {loop}" for name in commands}
            for name, run in of.items():
                plan = {"mode": mode, "seconds": options.seconds, "loop": loop}
                runs[run] = lambda c=commands[name], p=plan: alone(c, "fairness", ".", **p)
            of["zmqcy, idle loop"] = f"alone {loop}"
            plan = {"mode": "alone", "seconds": options.seconds, "loop": loop}
            runs[f"alone {loop}"] = lambda p=plan: alone(commands["zmqcy"], "fairness", ".", **p)
            tables += [
                Table(f"{loop}: {title}", f"{what}, {part}", "µs", of, f"{key}_{part}", axis="what", less=True)
                for key, what in (("sleep", "sleep of 1 ms"), ("soon", "call_soon"))
                for part in ("p50", "p99")
            ]
    rounds = (3, 0 if options.quick else 1)
    return Cell("asyncio fairness", runs, tables, options.seconds * 2 + START, rounds)


def imports(options):
    runs, tables = {}, []
    for title, code in IMPORTS.items():
        of = {name: f"{name}: {title}" for name in rivals("zmqcy", "pyzmq", "pyomq")}
        for name, run in of.items():
            timed = TIMED.format(code.format(LIBRARIES[name]))
            before = "import asyncio; " if title.endswith("loaded") else ""
            runs[run] = lambda c=before + timed: numbers(output(*bare([sys.executable, "-c", c])))
        tables.append(Table("asyncio: imports", title, "ms", of, "ms", less=True))
    return Cell("asyncio imports", runs, tables, 0.2)


def waiting(options):
    """Return the CPU use of idle sockets."""

    def used(command, loop):
        with Process(command, "idle", ".", *words({"peers": WAITING, "loop": loop})) as process:
            process.line()
            return share(process)

    runs, tables = {}, []
    for loop in loops()[: 1 if options.quick else 2]:
        commands = rivals(*(["zmqcy"] if options.quick or loop != "asyncio" else ["zmqcy", "pyzmq", "pyomq", "pynng"]))
        of = {name: f"{name} on {loop}" for name in commands}
        for name, run in of.items():
            runs[run] = lambda c=commands[name], o=loop: used(c, o)
        tables.append(Table("asyncio: CPU while idle", f"{WAITING} sockets on {loop}", "%", of, "share", ratios=False))
    return Cell("asyncio idle", runs, tables, IDLE + START, (1 if options.quick else 2, 0))


def cells(options):
    quick = options.quick
    return [
        *(inproc(size, options) for size in ((8,) if quick else (8, 1 << 10, 1 << 16))),
        *(tcp(size, options) for size in ((8,) if quick else (8, 1 << 10))),
        trips(options),
        *(flights(number, options) for number in ((10,) if quick else FLIGHTS)),
        many(options),
        fairness(options),
        imports(options),
        waiting(options),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    compiled()
    measure("asyncio", cells(options), options)
