"""A Poller over many sockets, one of them readable: polls a second."""

from common import alone, arguments, in_turns, rivals, save, show, summary

WORK = [(1, 200_000), (10, 100_000), (100, 20_000)]


def main():
    options = arguments(__doc__)
    tables = {}
    for sockets, count in WORK:
        count = int(count * options.scale)
        runs = {
            name: lambda c=command: alone(c, "poll", sockets, count)
            for name, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
        }
        title = f"poll {sockets} sockets, one readable"
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, "polls/s", tables[title])
    save("poll", tables)


if __name__ == "__main__":
    main()
