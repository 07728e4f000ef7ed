"""1 to 1,000 PUSH to one PULL, and one PUB to 1 to 100 SUB, over tcp: received messages/s."""

from common import START, Cell, Table, arguments, between, label, measure, rivals

PEERS = (1, 10, 100, 1000)
SUBSCRIBERS = (1, 10, 100)
URL = "tcp://127.0.0.1:*"


def cell(group, works, number, axis, names, options):
    runs = {
        name: lambda c=command: between(c, c, works, URL, peers=number, size=8, seconds=options.seconds)
        for name, command in rivals(*names).items()
    }
    tables = [Table(group, number, "messages/s", {name: name for name in runs}, axis=axis)]
    cost = options.seconds * 1.1 + START + number * 0.0007  # to open and close the connections
    return Cell(f"{group} {label(number, axis)}", runs, tables, cost, options.fewer)


def cells(options):
    names = ("zmqcy", "C", "pyzmq") if options.quick else ("zmqcy", "C", "pyzmq", "pyomq", "pynng")
    peers, subscribers = ((1, 1000), (1, 100)) if options.quick else (PEERS, SUBSCRIBERS)
    return [
        *(cell("many PUSH to one PULL", ("pull", "push"), n, "connections", names, options) for n in peers),
        *(
            cell("one PUB to many SUB, deliveries", ("pub", "sub"), n, "subscribers", names, options)
            for n in subscribers
        ),
    ]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("peers", cells(options), options)
