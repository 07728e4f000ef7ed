"""The works that guard.py counts, each in its own process under callgrind: guard_works.py NAME COUNT.

A work takes the module and returns the function to repeat. It uses one thread, and inproc without I/O threads.
"""

import contextlib
import functools
import gc
import importlib
import os
import sys

LACKING = 3  # exit code if the tree lacks the call


def pair(zmqcy):
    ctx = zmqcy.Context(io_threads=0)
    a, b = ctx.socket(zmqcy.PAIR), ctx.socket(zmqcy.PAIR)
    a.bind("inproc://pair")
    b.connect("inproc://pair")
    return a, b


def single(zmqcy, size):
    a, b = pair(zmqcy)
    data = b"x" * size

    def run(count):
        for _ in range(count):
            a.send(data)
            b.recv()

    return run


def uncopied(zmqcy):
    """Send bytes zero-copy, and receive them as a Frame."""
    a, b = pair(zmqcy)
    data = b"x" * 65536

    def run(count):
        for _ in range(count):
            a.send(data)
            b.recv(copy=False)

    return run


def multipart(zmqcy):
    a, b = pair(zmqcy)
    parts = [b"x" * 8] * 3

    def run(count):
        for _ in range(count):
            a.send_multipart(parts)
            b.recv_multipart()

    return run


def part_by_part(zmqcy):
    a, b = pair(zmqcy)
    data, more = b"x" * 8, zmqcy.SNDMORE

    def run(count):
        for _ in range(count):
            a.send(data, more)
            a.send(data)
            b.recv()
            b.recv()

    return run


def blocked(zmqcy, **options):
    """Send to a full queue: a blocking call that times out, or a non-blocking one."""
    a, b = pair(zmqcy)
    data = b"x" * 8
    while a.try_send(data):
        pass

    def run(count):
        for _ in range(count):
            with contextlib.suppress(zmqcy.Again):
                a.send(data, **options)

    run.peer = b  # keep the queue alive
    return run


def waiting_receive(zmqcy):
    """A task waits for a message; another task then sends it."""
    asyncio = importlib.import_module("asyncio")
    ctx = importlib.import_module("zmqcy.asyncio").Context(io_threads=0)
    a, b = ctx.socket(zmqcy.PAIR), ctx.socket(zmqcy.PAIR)
    a.bind("inproc://pair")
    b.connect("inproc://pair")
    loop = asyncio.new_event_loop()

    async def exchange(count):
        for _ in range(count):
            received = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            await a.send(b"x" * 8)
            await received

    async def receive():
        return await b.recv()

    return lambda count: loop.run_until_complete(exchange(count))


def compat(zmqcy):
    importlib.import_module("zmqcy.compat").install()
    return single(importlib.import_module("zmq"), 8)


def attempts(zmqcy):
    a, b = pair(zmqcy)
    data = b"x" * 8

    def run(count):
        for _ in range(count):
            a.try_send(data)
            b.try_recv()

    return run


def batches(zmqcy):
    a, b = pair(zmqcy)
    messages = [b"x" * 8] * 100

    def run(count):
        for _ in range(count):
            a.send_many(messages)
            b.recv_many(100)

    return run


def option_read(zmqcy):
    a, _ = pair(zmqcy)

    def run(count):
        for _ in range(count):
            a.rcvhwm  # noqa: B018

    return run


def option_set(zmqcy):
    a, _ = pair(zmqcy)

    def run(count):
        for _ in range(count):
            a.rcvhwm = 10

    return run


def poll(zmqcy):
    ctx = zmqcy.Context(io_threads=0)
    poller = zmqcy.Poller()
    peers = []
    for number in range(10):
        a, b = ctx.socket(zmqcy.PAIR), ctx.socket(zmqcy.PAIR)
        a.bind(f"inproc://poll-{number}")
        b.connect(f"inproc://poll-{number}")
        poller.register(a, zmqcy.POLLIN)
        peers.append(b)
    peers[5].send(b"x")

    def run(count):
        for _ in range(count):
            poller.poll(1000)

    run.peers = peers  # keep the peers open: a closed one makes its socket ready
    return run


# name: (function, calls per sample)
WORKS = {
    "send, recv 8 B": (functools.partial(single, size=8), 1024),
    "send, recv 64 KB": (functools.partial(single, size=65536), 128),
    "send, recv zero-copy 64 KB": (uncopied, 512),
    "send_multipart, recv_multipart 3 x 8 B": (multipart, 512),
    "send with SNDMORE, send, recv twice 8 B": (part_by_part, 512),
    "send to a full queue, timeout 1 ms": (functools.partial(blocked, timeout=1), 32),
    "send to a full queue, DONTWAIT": (functools.partial(blocked, flags=1), 256),
    "try_send, try_recv 8 B": (attempts, 1024),
    "send_many, recv_many 100 x 8 B": (batches, 32),
    "asyncio: blocked recv, send 8 B": (waiting_receive, 256),
    "compat: send, recv 8 B": (compat, 1024),
    "read an option": (option_read, 1024),
    "set an option": (option_set, 1024),
    "Poller.poll, 1 of 10 sockets ready": (poll, 256),
}
SAMPLES = 5


def main(name, count):
    """Run a work. Call getppid after each sample, so that callgrind dumps its counts there."""
    make, _ = WORKS[name]
    gc.disable()
    try:
        run = make(importlib.import_module("zmqcy"))
        run(count)  # warms up
    except AttributeError as error:
        print(error, file=sys.stderr)
        sys.stderr.flush()
        os._exit(LACKING)
    os.getppid()
    run(0)
    os.getppid()
    for _ in range(SAMPLES):
        run(count)
        os.getppid()
    os._exit(0)  # the counted part is over


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
