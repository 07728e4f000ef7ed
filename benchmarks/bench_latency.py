"""REQ to REP in two processes: round trips a second."""

from common import arguments, between, save

WORK = [("tcp", 8, 30_000), ("tcp", 65536, 5_000), ("ipc", 8, 30_000)]

if __name__ == "__main__":
    save("latency", between("round trips", "round trips/s", ("rep", "req"), WORK, arguments(__doc__)))
