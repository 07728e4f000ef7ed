"""A streamer and a queue over tcp, between two processes in C: messages and round trips a second through them."""

from common import START, Cell, Process, Table, arguments, label, measure, result, rivals, words

STREAMED = (8, 1 << 10, 1 << 16)
TCP = "@tcp://127.0.0.1:*"


def through(device, work, c, works, **plan):
    """Run a work in C through a device that the command runs; the receiver, or who asks, measures."""
    with Process(device, work, TCP, f"back={TCP}") as middle:
        front, back = middle.line(), middle.line()
        with (
            Process(c, works[0], ">" + back, *words(plan)) as behind,
            Process(c, works[1], ">" + front, *words(plan)) as before,
        ):
            return result(before if works[1] == "req" else behind, middle)


def cell(work, size, options):
    c = rivals("C")["C"]
    works, group, unit = {
        "streamer": (("pull", "push"), "a streamer between C and C over tcp", "messages/s"),
        "queue": (("rep", "req"), "a queue between C and C over tcp", "round trips/s"),
    }[work]
    runs = {
        name: lambda d=command: through(d, work, c, works, size=size, seconds=options.seconds)
        for name, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
    }
    tables = [Table(group, size, unit, {name: name for name in runs})]
    return Cell(f"{work} {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START)


def cells(options):
    streamed = STREAMED[:1] if options.quick else STREAMED
    return [*(cell("streamer", size, options) for size in streamed), cell("queue", 8, options)]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("device", cells(options), options)
