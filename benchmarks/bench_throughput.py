"""PUSH to PULL over tcp and ipc (two processes) and inproc (two threads): messages/s by size, mode and batch size."""

from common import START, TRANSPORTS, Cell, Failed, Table, arguments, label, measure, missing, over, rivals

SIZES = (8, 64, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 24)
QUICK = {"tcp": (8, 1 << 10, 1 << 16, 1 << 20), "ipc": (8,), "inproc": (8,)}
BATCHES = {8: (1, 3, 10, 30, 100, 300, 1000), 1 << 10: (1, 10, 100, 1000)}
RIVALS = ("C", "pyzmq", "pyomq")
UNIT = "messages/s"


def batch(size):
    """Return the number of messages per call: up to 1 MB, at least 4 and at most 1,000."""
    return max(4, min(1000, 2**20 // size))


def modes(size, quick):
    """Return the modes that are measured at a size."""
    yield from ("single", "batch")
    if size == 8 or (size in (1 << 10, 1 << 16) and not quick):
        yield "multipart"
    if size >= 1 << 10 and not (quick and size == 1 << 10):
        yield "views"


def run(rival, transport, mode, size, options, number=None):
    """Return the function of a run. The first run of a library over a transport checks that no message is lost."""
    command = rivals(rival)[rival]

    def once():
        if rival != "asyncio streams":
            why = missing(rival, transport, "batch" if mode == "batch" else "single")
            if why:
                raise Failed(why)
        plan = {"mode": mode, "size": size, "batch": number or batch(size), "seconds": options.seconds}
        if mode == "untuned":
            plan |= {"mode": "single", "untuned": 1}
        if mode == "views" and transport == "inproc":
            plan["queue"] = 1000  # views take no memory, and pyomq queues 1,024 messages whatever its high-water mark
        return over(transport, command, ("pull", "push"), **plan)

    return once


def cell(transport, size, options):
    """Return all modes of a transport and size as one cell, so that all libraries run in the same rounds."""
    others = RIVALS if options.quick and size not in (8, 1 << 16) else (*RIVALS, "pynng")
    context = {"tcp": "asyncio streams", "ipc": "multiprocessing.Pipe"}.get(transport)
    if context and not (options.quick and size != 8):
        others = (*others, context)
    runs, tables = {}, []
    for mode in modes(size, options.quick):
        group = f"throughput over {transport}, {mode}"
        if mode == "batch":
            of = {"zmqcy": "zmqcy batch", "zmqcy single": "zmqcy single"}
            of |= {name: f"{name} single" for name in rivals(*others)}
        else:
            names = ("zmqcy", *(others if mode == "single" else RIVALS))
            of = {name: f"{name} {mode}" for name in rivals(*names)}
        if mode == "single" and transport != "inproc" and 1 << 10 <= size <= 1 << 16:
            of["zmqcy untuned"] = "zmqcy untuned"
        for name in of.values():
            rival, _, its_mode = name.rpartition(" ")
            runs[name] = run(rival, transport, its_mode, size, options)
        if mode == "views":
            of = {"C without copies" if name == "C" else name: each for name, each in of.items()}
            of["C"] = "C single"
        tables.append(Table(group, size, UNIT, of))
        if transport == "tcp" and mode in ("single", "batch") and size in (8, 1 << 16):
            group = f"CPU time per message of both processes over tcp, {mode}"
            tables.append(Table(group, size, "µs", of, metric="cpu", less=True))
    rare = transport == "inproc" or (transport == "ipc" and (size > 1 << 16 or size in (64, 1 << 12)))
    rounds = options.fewer if rare else None
    return Cell(f"throughput {transport} {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START, rounds)


def by_batch(size, options):
    """Return the rate by the number of messages per call."""
    numbers = [number for number in BATCHES[size] if not options.quick or number in (1, 10, 100, 1000)]
    of = {name: name for name in rivals(*RIVALS[: 1 if options.quick else None])}
    runs = {name: run(name, "tcp", "single", size, options) for name in of}
    runs |= {f"zmqcy {number}": run("zmqcy", "tcp", "batch", size, options, number) for number in numbers}
    group = f"throughput over tcp, {label(size, 'bytes')} by batch"
    tables = [Table(group, number, UNIT, {"zmqcy": f"zmqcy {number}", **of}, axis="messages") for number in numbers]
    return Cell(f"batches {label(size, 'bytes')}", runs, tables, options.seconds * 1.1 + START, options.fewer)


def cells(options):
    plan = QUICK if options.quick else dict.fromkeys(TRANSPORTS, SIZES)
    by_size = [cell(transport, size, options) for transport, sizes in plan.items() for size in sizes]
    return by_size + [by_batch(size, options) for size in ((8,) if options.quick else BATCHES)]


if __name__ == "__main__":
    options = arguments(__doc__)
    measure("throughput", cells(options), options)
