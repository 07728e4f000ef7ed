"""PUSH to PULL in two processes, one message a call: messages a second."""

from common import arguments, in_turns, ipc_directory, rivals, save, show, summary, two

WORK = [("tcp", 8, 3_000_000), ("tcp", 1024, 500_000), ("tcp", 65536, 30_000), ("ipc", 8, 3_000_000)]


def main():
    options = arguments(__doc__)
    folder = ipc_directory()
    tables = {}
    for transport, size, count in WORK:
        count = int(count * options.scale)
        url = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{folder}/throughput"
        runs = {
            name: lambda c=command: two(c, c, ("pull", "push"), url, size, count)
            for name, command in rivals("zmqcy", "C", "pyzmq", "pyomq").items()
        }
        title = f"throughput {transport} {size} B"
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, "messages/s", tables[title])
    save("throughput", tables)


if __name__ == "__main__":
    main()
