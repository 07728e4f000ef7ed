"""PUSH to PULL in two processes, one message a call: messages a second."""

from common import arguments, between, save

WORK = [("tcp", 8, 3_000_000), ("tcp", 1024, 500_000), ("tcp", 65536, 30_000), ("ipc", 8, 3_000_000)]

if __name__ == "__main__":
    save("throughput", between("throughput", "messages/s", ("pull", "push"), WORK, arguments(__doc__)))
