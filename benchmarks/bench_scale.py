"""One process with 10 to 10,000 tcp connections: connect time, memory, round trips, polls, asyncio, PUB deliveries.

The measured library is the server: a ROUTER that replies, or a PUB. The clients are zmqcy sockets in other processes,
one per connection. 1,000 messages are in flight, or one per connection if there are more connections. CPU time is the
server's alone; clients and server share the processors.
"""

import math
from contextlib import ExitStack

from common import LIMIT, START, Cell, Process, Table, arguments, label, measure, numbers, result, rivals, words

import zmqcy

CONNECTIONS = (10, 100, 1000, 10_000)
QUICK = (10, 1000)
MOST = 5000  # clients per process: each takes two file descriptors, and the limit per process is 20,000
USED = 500  # connections that send messages while memory is measured; the result does not depend on it
ROUTER, PUB = ("crowd", "clients"), ("fan", "subscribers")
KINDS = (  # group, works, additions to the plan, axis, unit
    ("ROUTER", ROUTER, {}, "connections", "round trip"),
    ("asyncio: ROUTER", ROUTER, {"loop": "asyncio"}, "connections", "round trip"),
    ("PUB", PUB, {}, "subscribers", "delivery"),
)


def serve(command, number, works=ROUTER, **plan):
    """Run a server and `number` clients; return the results of the server, with the CPU time of its process."""
    processes = math.ceil(number / MOST)
    shares = [len(range(first, number, processes)) for first in range(processes)]
    limit = max(LIMIT, number / 500)
    both = {"flight": max(1, 1000 // number), "mode": plan.get("mode", "single")}
    each = min(number, USED) // processes if both["mode"] == "memory" else 0
    plan |= {**both, "peers": number, "processes": processes, "count": each * processes}
    client = rivals("zmqcy")["zmqcy"]
    with ExitStack() as stack:
        server = stack.enter_context(Process(command, works[0], "@tcp://127.0.0.1:*", *words(plan)))
        where = [works[1], ">" + server.line()]
        both |= {"count": each, "untuned": 1}
        if works is PUB:
            both["back"] = server.line()
        clients = [stack.enter_context(Process(client, *where, *words({**both, "peers": n}))) for n in shares]
        begun = min(numbers(client.line(limit, (server,)))["begun"] for client in clients)
        said = numbers(server.line(limit, clients))
        if each:
            said |= numbers(server.line(limit, clients))
            memory = {"idle": said["idle"] / number}
            memory["busy"] = memory["idle"] + said["busy"] / (each * processes)
            return {name: value for name, value in memory.items() if not math.isnan(value)}
        return {**result(server, limit=limit), **said, "connect": said["heard"] - begun}


def traffic(number, options):
    """Return the rate, CPU time and connect time of each kind of server."""
    seconds, rounds = (1, 2) if number == CONNECTIONS[-1] else (options.seconds, 1 if options.quick else 3)
    commands = rivals("zmqcy", "pyzmq", "pyomq")
    runs, tables = {}, []
    for group, works, plan, axis, unit in KINDS:
        of = {name: f"{name}, {group}" for name in commands}
        for name, run in of.items():
            runs[run] = lambda c=commands[name], w=works, p=plan: serve(c, number, w, seconds=seconds, **p)
        many = {"round trip": "round trips", "delivery": "deliveries"}[unit]
        tables += [
            Table(f"{group}: {many}", number, f"{many}/s", of, axis=axis),
            Table(f"{group}: server CPU time", number, f"µs per {unit}", of, "cpu", axis, less=True),
        ]
        if group == "ROUTER":
            tables += [
                Table(
                    "ROUTER: time until every client has sent", number, "ms", of, "connect", axis, less=True, scale=1e3
                ),
                Table("ROUTER: Poller, one message waiting", number, "polls/s", of, "polls", axis),
            ]
    cost = seconds * 1.2 + START + number * 0.0005
    return Cell(f"scale: {label(number, 'connections')}", runs, tables, cost, (rounds, 0))


def memory(number, options):
    """Return the memory of the server per connection: after one message, and after hundreds that fill the buffers."""
    commands = rivals("zmqcy", "pyzmq", "pyomq")
    plan = {"mode": "memory", "seconds": 0.01}
    runs = {name: lambda c=command: serve(c, number, **plan) for name, command in commands.items()}
    if zmqcy.has("draft"):
        runs["zmqcy untuned"] = lambda: serve(commands["zmqcy"], number, untuned=1, **plan)
    of = {name: name for name in runs}
    tables = [
        Table(f"ROUTER: memory per connection, {what}", number, "KB", of, what, "connections", less=True, scale=1e-3)
        for what in ("idle", "busy")
    ]
    cost = START + number * 0.0005 + min(number, USED) * 0.002
    rounds = (1 if options.quick or number > 1000 else 2, 0)
    return Cell(f"scale: memory, {label(number, 'connections')}", runs, tables, cost, rounds)


def cells(options):
    numbers = QUICK if options.quick else CONNECTIONS
    return [*(traffic(number, options) for number in numbers), *(memory(number, options) for number in numbers[1:])]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("scale", cells(options), options)
