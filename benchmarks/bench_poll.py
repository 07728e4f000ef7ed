"""A Poller over 1 to 2,000 sockets, of which one is ready: always the same one, or another each time. Polls/s."""

from common import START, Cell, Table, alone, arguments, measure, rivals

SOCKETS = (1, 10, 100, 500, 1000, 2000)
QUICK = (1, 10, 1000)
WORKS = {"poll": "Poller, one socket ready", "wake": "Poller, send to another socket each time, poll and receive"}


def cell(work, options):
    """Return all numbers of sockets as one cell, because one row compares 1,000 sockets with 10."""
    sockets = SOCKETS if not options.quick else QUICK if work == "poll" else (10, 1000)
    commands = rivals("zmqcy", "C", "pyzmq", "pyomq")
    runs = {
        f"{name} {number}": lambda c=command, n=number: alone(c, work, ".", peers=n, seconds=options.seconds)
        for number in sockets
        for name, command in commands.items()
    }
    tables = [
        Table(WORKS[work], number, "polls/s", {name: f"{name} {number}" for name in commands}, axis="sockets")
        for number in sockets
    ]
    growth = {"zmqcy": "zmqcy 1000", "zmqcy with 10": "zmqcy 10"}
    tables.append(Table(WORKS[work], "1,000 sockets compared with 10", "polls/s", growth, axis="growth"))
    return Cell(f"poll: {WORKS[work]}", runs, tables, options.seconds * 1.1 + START, options.fewer)


def cells(options):
    return [cell(work, options) for work in WORKS]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("poll", cells(options), options)
