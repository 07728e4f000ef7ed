"""REQ to REP in two processes: round trips a second."""

from common import arguments, in_turns, ipc_directory, rivals, save, show, summary, two

WORK = [("tcp", 8, 30_000), ("tcp", 65536, 5_000), ("ipc", 8, 30_000)]


def main():
    options = arguments(__doc__)
    folder = ipc_directory()
    tables = {}
    for transport, size, count in WORK:
        count = int(count * options.scale)
        url = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/latency"
        runs = {
            name: lambda c=command: two(c, c, ("rep", "req"), url, size, count)
            for name, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
        }
        title = f"round trips {transport} {size} B"
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, "round trips/s", tables[title])
    save("latency", tables)


if __name__ == "__main__":
    main()
