"""What the works of peer.py and of tasks.py share: sockets and how they are used, and what is said of a run."""

import contextlib
import importlib
import os
import struct
import sys
from functools import partial

NUMBER = struct.Struct("=q")
END = NUMBER.pack(-1)
kept = []  # sockets, open until the process ends: the other end is not to fail while the parent still reads of it
told, asked = sys.stdout, sys.stdin  # where endpoints are printed to and read from; a pipe between two threads


def say(*words, file=None):
    print(*words, file=file, flush=True)


def make(zmq, ctx, kind, plan, **options):
    socket = ctx.socket(getattr(zmq, kind))
    kept.append(socket)
    most = plan.queue or max(4, min(1000, (64 << 20) // plan.size))  # messages that a queue holds: 64 MB of large ones
    for name, value in {"backlog": 4096, "sndhwm": most, "rcvhwm": most, **options}.items():
        with contextlib.suppress(Exception):  # a library without that option does without
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
    """Return what sends in the mode of the plan, and what it is called with for some bytes."""
    if plan.mode == "batch":
        return socket.send_many, lambda data: [data] * plan.batch
    if plan.mode == "multipart":
        return socket.send_multipart, lambda data: [data] * 3
    if plan.mode == "views" and plan.library in ("zmq", "pyomq"):  # zmqcy needs not be told
        return partial(socket.send, copy=False), lambda data: data
    return socket.send, lambda data: data


def receiving(socket, plan):
    """Return what receives in the mode of the plan."""
    if plan.mode == "batch":
        return partial(socket.recv_many, plan.batch)
    if plan.mode == "multipart":
        return socket.recv_multipart
    return partial(socket.recv, 0, False) if plan.mode == "views" else socket.recv


# ---- what is said of a run


def resident():
    """Return the bytes of memory that this process has now, or nan where that cannot be read."""
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
    say(f"missing={plan.count - wanted if last == END else plan.count}")  # out of order, or twice: none counts


def fail(error):
    """End the process, also from a thread or a task; the parent reads why."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(1)
