"""One end of a benchmark in Python, by the library that is named: zmqcy, zmq (pyzmq) or pyomq.

The works are those of baseline.c, under the same names and with the same output; `import`, `get` and `set` beside them.
"""

import contextlib
import importlib
import os
import sys
import time


def bound(socket, url):
    socket.bind(url)
    endpoint = socket.last_endpoint
    print(endpoint.decode().rstrip("\0") if isinstance(endpoint, bytes) else endpoint, flush=True)
    return socket


def connected(socket, url):
    socket.connect(url)
    return socket


def push(zmq, ctx, url, size, count):
    socket = connected(ctx.socket(zmq.PUSH), url)
    data = b"x" * size
    for _ in range(count + 1):
        socket.send(data)
    sys.stdin.read()  # the receiver has it all when the parent closes stdin


def pull(zmq, ctx, url, size, count):
    socket = bound(ctx.socket(zmq.PULL), url)
    data = b"x" * size if size else b""
    socket.recv()
    start = time.perf_counter()
    for _ in range(count):
        message = socket.recv()
    stop = time.perf_counter()
    assert len(message) == len(data)
    socket.close()
    return count / (stop - start)


def req(zmq, ctx, url, size, count):
    socket = connected(ctx.socket(zmq.REQ), url)
    data = b"x" * size
    for _ in range(10):
        socket.send(data)
        assert len(socket.recv()) == size
    start = time.perf_counter()
    for _ in range(count):
        socket.send(data)
        socket.recv()
    stop = time.perf_counter()
    socket.close()
    return count / (stop - start)


def rep(zmq, ctx, url, size, count):
    socket = bound(ctx.socket(zmq.REP), url)
    for _ in range(count + 10):
        socket.send(socket.recv())
    sys.stdin.read()


def streamer(zmq, ctx, front, back):
    zmq.device(zmq.STREAMER, bound(ctx.socket(zmq.PULL), front), bound(ctx.socket(zmq.PUSH), back))


def pair_sockets(zmq, ctx, url="inproc://pair"):
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    a.bind(url)
    b.connect(url)
    return a, b


def pair(zmq, ctx, size, count):
    a, b = pair_sockets(zmq, ctx)
    data = b"x" * size
    start = time.perf_counter()
    for _ in range(count):
        a.send(data)
        message = b.recv()
    stop = time.perf_counter()
    assert message == data
    return count / (stop - start)


def multipart(zmq, ctx, size, count):
    a, b = pair_sockets(zmq, ctx)
    data = [b"x" * size] * 3
    start = time.perf_counter()
    for _ in range(count):
        a.send_multipart(data)
        message = b.recv_multipart()
    stop = time.perf_counter()
    assert message == data
    return count / (stop - start)


def poll(zmq, ctx, sockets, count):
    with contextlib.suppress(AttributeError, NotImplementedError):  # pyomq has no bound
        ctx.max_sockets = 2 * sockets + 16
    poller = zmq.Poller()
    pairs = [pair_sockets(zmq, ctx, f"inproc://poll-{i}") for i in range(sockets)]
    for a, _ in pairs:
        poller.register(a, zmq.POLLIN)
    pairs[sockets // 2][1].send(b"x")
    start = time.perf_counter()
    for _ in range(count):
        ready = poller.poll(1000)
    stop = time.perf_counter()
    assert len(ready) == 1
    return count / (stop - start)


def get(zmq, ctx, size, count):
    socket = ctx.socket(zmq.PUSH)
    start = time.perf_counter()
    for _ in range(count):
        socket.rcvhwm  # noqa: B018
    return count / (time.perf_counter() - start)


def set(zmq, ctx, size, count):
    socket = ctx.socket(zmq.PUSH)
    start = time.perf_counter()
    for _ in range(count):
        socket.rcvhwm = 10
    return count / (time.perf_counter() - start)


def main(library, work, *arguments):
    start = time.perf_counter()
    zmq = importlib.import_module(library)
    if work == "first":
        zmq.Context().socket(zmq.PUSH)
    stop = time.perf_counter()
    if work in ("import", "first"):
        rate = 1 / (stop - start)
    else:
        arguments = [int(argument) if argument.isdigit() else argument for argument in arguments]
        rate = globals()[work](zmq, zmq.Context(), *arguments)
    if rate:
        print(f"{rate:.1f}", flush=True)
    os._exit(0)  # what is measured is over; pyzmq may hang at exit


if __name__ == "__main__":
    main(*sys.argv[1:])
