"""Shared code of peer.py and tasks.py: make and connect sockets, and print results."""

import contextlib
import importlib
import os
import struct
import sys
from functools import partial

NUMBER = struct.Struct("=q")
END = NUMBER.pack(-1)
kept = []  # sockets stay open until the process exits, so that the other end does not fail before its results are read
told, asked = sys.stdout, sys.stdin  # endpoints are printed and read here; a pipe between two threads


def say(*words, file=None):
    print(*words, file=file, flush=True)


def make(zmq, ctx, kind, plan, **options):
    socket = ctx.socket(getattr(zmq, kind))
    kept.append(socket)
    most = plan.queue or max(4, min(1000, (64 << 20) // plan.size))  # messages per queue: up to 64 MB
    for name, value in {"backlog": 4096, "sndhwm": most, "rcvhwm": most, **options}.items():
        with contextlib.suppress(Exception):  # the library lacks this option
            setattr(socket, name, value)
    return socket


def attach(socket, where):
    if where[0] == ">":
        socket.connect(where[1:])
        return socket
    socket.bind(where[1:])
    endpoint = socket.last_endpoint
    say(endpoint.decode().rstrip("\0") if isinstance(endpoint, bytes) else endpoint, file=told)
    return socket


def resolved(where):
    return ">" + asked.readline().strip() if where == "-" else where


def pair_sockets(zmq, ctx, number=0):
    a, b = ctx.socket(zmq.PAIR), ctx.socket(zmq.PAIR)
    a.bind(f"inproc://pair-{number}")
    b.connect(f"inproc://pair-{number}")
    return a, b


def library(name):
    if name not in ("pynng", "Pipe"):
        return importlib.import_module(name)
    import others

    return others.LIBRARIES[name]()


def sending(socket, plan):
    """Return the send function for the mode of the plan, and a function that makes its argument from bytes."""
    if plan.mode == "batch":
        return socket.send_many, lambda data: [data] * plan.batch
    if plan.mode == "multipart":
        return socket.send_multipart, lambda data: [data] * 3
    if plan.mode == "views" and plan.library in ("zmq", "pyomq"):  # zmqcy does this by default
        return partial(socket.send, copy=False), lambda data: data
    return socket.send, lambda data: data


def receiving(socket, plan):
    """Return the receive function for the mode of the plan."""
    if plan.mode == "batch":
        return partial(socket.recv_many, plan.batch)
    if plan.mode == "multipart":
        return socket.recv_multipart
    return partial(socket.recv, 0, False) if plan.mode == "views" else socket.recv


# ---- results


def resident():
    """Return the resident memory of this process in bytes, or nan where it cannot be read."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return float("nan")


def round_trips(times, elapsed):
    times.sort()
    p50, p99 = (times[int(len(times) * part)] * 1e6 for part in (0.5, 0.99))
    say(f"rate={len(times) / elapsed:.3f} count={len(times)} p50={p50:.4f} p99={p99:.4f}")


def say_missing(plan, wanted, last):
    # Where a message is out of order or repeated, all count as missing.
    say(f"missing={plan.count - wanted if last == END else plan.count}")


def fail(error):
    """Exit from any thread or task; the parent reads the reason from stderr."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)
