"""A streamer device between two processes in C: messages a second through it."""

from common import Process, arguments, in_turns, rivals, save, show, summary

WORK = [(8, 2_000_000), (1024, 300_000)]
TCP = "tcp://127.0.0.1:*"


def through(device, c, size, count):
    """Send through a device that the command runs, from C to C; return the rate."""
    with Process(device, "streamer", TCP, TCP) as middle:
        front, back = middle.line(), middle.line()
        try:
            with Process(c, "pull-connected", back, size, count) as receiver:
                receiver.line()
                with Process(c, "push", front, size, count):
                    return float(receiver.line())
        finally:
            middle.process.kill()


def main():
    options = arguments(__doc__)
    tables = {}
    c = rivals("C")["C"]
    for size, count in WORK:
        count = int(count * options.scale)
        runs = {
            name: lambda d=command: through(d, c, size, count)
            for name, command in rivals("zmqcy", "C", "pyzmq").items()
        }
        title = f"streamer device between C and C, tcp {size} B"
        tables[title] = summary(in_turns(title, runs, options.rounds))
        show(title, "messages/s", tables[title])
    save("device", tables)


if __name__ == "__main__":
    main()
