"""Measure calls below a microsecond in one thread with pyperf: calls.py LIBRARY [pyperf's options]."""

import os
import time

import pyperf
from ends import library, pair_sockets


def pair(a, b, zmq):
    send, recv, data = a.send, b.recv, b"x" * 8

    def run(loops):
        start = time.perf_counter()
        for _ in range(loops):
            send(data)
            recv()
        return time.perf_counter() - start

    return run


def parts(a, b, zmq):
    send, recv, data = a.send_multipart, b.recv_multipart, [b"x" * 8] * 3

    def run(loops):
        start = time.perf_counter()
        for _ in range(loops):
            send(data)
            recv()
        return time.perf_counter() - start

    return run


def empty(a, b, zmq):
    """Return a loop of non-blocking receives without a message: try_recv where the library has it."""
    recv, flag, again = b.recv, zmq.NOBLOCK, zmq.ZMQError  # pyomq does not raise its Again here

    def ask(loops):
        start = time.perf_counter()
        for _ in range(loops):
            try:  # noqa: SIM105  # suppress() would cost more
                recv(flag)
            except again:
                pass
        return time.perf_counter() - start

    def try_recv(loops):
        call = b.try_recv
        start = time.perf_counter()
        for _ in range(loops):
            call()
        return time.perf_counter() - start

    return try_recv if hasattr(b, "try_recv") else ask


def get(a, b, zmq):
    def run(loops):
        start = time.perf_counter()
        for _ in range(loops):
            a.rcvhwm  # noqa: B018
        return time.perf_counter() - start

    return run


def put(a, b, zmq):
    def run(loops):
        start = time.perf_counter()
        for _ in range(loops):
            a.rcvhwm = 10
        return time.perf_counter() - start

    return run


CALLS = {"pair": pair, "parts": parts, "empty": empty, "get": get, "set": put}  # by the names of baseline.c
LIBRARIES = {"zmqcy": CALLS, "zmq": CALLS, "pyomq": CALLS, "pynng": ["pair"]}


def main():
    runner = pyperf.Runner(add_cmdline_args=lambda words, options: words.append(options.library))
    runner.argparser.add_argument("library", choices=LIBRARIES)
    zmq = library(runner.parse_args().library)
    a, b = pair_sockets(zmq, zmq.Context())
    for name in LIBRARIES[runner.args.library]:
        runner.bench_time_func(name, CALLS[name](a, b, zmq))
    os._exit(0)  # pyzmq may hang at exit


if __name__ == "__main__":
    main()
