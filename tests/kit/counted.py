"""Count the calls of libzmq and the system that each Python call makes. test_faulty_system.py runs it with shim.c.

Standard input has pairs of a state of the sockets and a Python call, as JSON. Standard output gets the counts.
"""

import asyncio
import contextlib
import ctypes
import itertools
import json
import sys
import threading
import time

import zmqcy
import zmqcy.asyncio
from zmqcy import DONTWAIT, POLLOUT, SNDMORE, proxy_steerable  # noqa: F401

ATTEMPTS = 3  # on a busy machine a wait may take several rounds: use the lowest count
BIG = b"B" * 100_000  # is sent zero-copy
FUNCTIONS = [
    "zmq_send", "zmq_msg_send", "zmq_msg_recv", "zmq_getsockopt", "zmq_setsockopt", "zmq_msg_init_size",
    "zmq_msg_init_data", "zmq_msg_copy", "zmq_poll", "poll", "epoll_ctl", "epoll_wait",
]  # fmt: skip
shim = ctypes.CDLL(None)
shim.zmq_send.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
shim.zmq_recv.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
counting = ctypes.c_long.in_dll(shim, "shim_counting")
counters = {name: ctypes.c_long.in_dll(shim, f"calls_{name}") for name in FUNCTIONS}
names = itertools.count()


def connected(ctx, bound, other, **options):
    first, second = ctx.socket(bound, **options), ctx.socket(other, **options)
    first.bind(f"inproc://counted{next(names)}")
    second.connect(first.last_endpoint)
    return first, second


def counts_of(call):
    for counter in counters.values():
        counter.value = 0
    counting.value = 1
    with contextlib.suppress(zmqcy.Again):
        call()
    counting.value = 0
    return {name: counter.value for name, counter in counters.items()}


def once_it_waits(socket, act):
    """Call a function in a thread once another call waits in the socket. Its own calls are not counted."""

    def run():
        deadline = time.monotonic() + 10
        while socket.stats.waits == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.005)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def counts_in(ctx, state, code, run):
    pull, push = connected(ctx, zmqcy.PULL, zmqcy.PUSH, **({"rcvhwm": 1, "sndhwm": 1} if "full" in state else {}))
    receiver, sender = pull.underlying, push.underlying
    scope = {**globals(), "pull": pull, "push": push}
    thread = None
    if state.startswith("full"):
        while shim.zmq_send(sender, b"x", 1, DONTWAIT) >= 0:
            pass
    if state == "three there":
        for _ in range(3):
            shim.zmq_send(sender, b"x", 1, 0)
    elif state == "one comes":
        thread = once_it_waits(pull, lambda: shim.zmq_send(sender, b"x", 1, 0))
    elif state == "full, then not":
        thread = once_it_waits(push, lambda: [shim.zmq_recv(receiver, b" ", 1, 0) for _ in range(2)])
    elif state.startswith("device"):
        scope["back"], _end = connected(ctx, zmqcy.PUSH, zmqcy.PULL)
        scope["control"], steering = connected(ctx, zmqcy.PULL, zmqcy.PUSH)
        for _ in range(10):
            if state == "device, two parts each":
                shim.zmq_send(sender, b"x", 1, SNDMORE)
            shim.zmq_send(sender, b"x", 1, 0)
        steering.send(b"DRAIN")
    counts = counts_of(lambda: run(lambda: eval(code, scope)))
    if thread:
        thread.join()
    return counts


def attempt(state, code):
    if not code.startswith("await "):
        ctx = zmqcy.Context(linger=0)
        counts = counts_in(ctx, state, code, lambda call: call())
    else:

        async def wait(call):
            return await call()

        ctx = zmqcy.asyncio.Context(linger=0)
        loop = asyncio.new_event_loop()
        code = code.removeprefix("await ")
        counts = counts_in(ctx, state, code, lambda call: loop.run_until_complete(wait(call)))
        ctx.destroy(0)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    ctx.destroy(0)
    return counts


results = []
for row in json.load(sys.stdin):
    seen = [attempt(*row) for _ in range(ATTEMPTS)]
    results.append({name: min(counts[name] for counts in seen) for name in FUNCTIONS})
json.dump(results, sys.stdout)
