"""Programs that receive signals."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from functools import partial

from ending import HEAD
from program import (
    endpoint,
    joined,
    make,
    outcome,
    pair,
    program,
    started,
)

SIGNALS = "Signals"


class Stop(Exception):
    """The exception of a signal handler."""


@contextlib.contextmanager
def storm():
    """Send a signal every millisecond; its handler returns."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@program(
    SIGNALS,
    "A signal every millisecond during 2,000 sends and 2,000 receives of two parts, connect and destroy",
    "no message is lost",
    "test_signals.py::test_a_storm_loses_nothing",
    "test_signals.py::test_a_storm_in_the_sender_loses_nothing",
    "test_signals.py::test_term_goes_on_in_a_storm",
)
def storm_of_messages(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2)
    numbers = [b"%d" % i for i in range(2000)]

    def send():
        for number in numbers:
            push.send_multipart([number, bytes(100)])

    def receive():
        return [pull.recv_multipart()[0] for _ in numbers] == numbers

    with storm():
        receiving = started(receive)
        send()
        if joined(*receiving) != "True":
            return "send loses messages"
        sending = started(send)
        if not receive():
            return "recv loses messages"
        joined(*sending)
        for _ in range(100):
            make(zmq, ctx, "PUSH").connect("tcp://localhost:1")
        ctx.destroy(0)
    return "no message is lost"


def batches(zmq, pull, push):
    """Return a function that sends many messages, and one that receives many: in batches, or in a loop on pyzmq."""
    if hasattr(push, "send_many"):
        return push.send_many, partial(whole, pull)
    return lambda messages: [push.send(each) for each in messages], lambda count: [pull.recv() for _ in range(count)]


def whole(pull, count):
    """Receive `count` messages, in as many batches as needed: a batch has the messages that have arrived."""
    got = []
    while len(got) < count:
        got += pull.recv_many(count - len(got))
    return got


@program(
    SIGNALS,
    "The same during `send_many` and `recv_many` (pyzmq: loops of send and recv)",
    "no message is lost",
    "test_batches.py::test_a_storm_of_signals_in_the_sender",
    "test_batches.py::test_a_storm_of_signals_in_the_receiver",
)
def storm_of_batches(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2)
    send, receive = batches(zmq, pull, push)
    numbers = [b"%d" % i for i in range(10_000)]
    with storm():
        receiving = started(lambda: receive(len(numbers)) == numbers)
        send(numbers)
        if joined(*receiving) != "True":
            return "send loses messages"
        sending = started(send, numbers)
        if receive(len(numbers)) != numbers:
            return "recv loses messages"
        joined(*sending)
    return "no message is lost"


def lasting(calls):
    """Make calls with a timeout of 100 ms, with a signal every millisecond; return wrong outcomes."""
    wrong = []
    for name, call in calls.items():
        start = time.monotonic()
        with storm():
            said = outcome(call)
        if time.monotonic() - start < 0.1:
            wrong.append(f"{name} times out early")
        elif said not in ("Again", "TimedOut", "0", "[]"):
            wrong.append(f"{name}: {said}")
    return "; ".join(wrong) or "each call times out, none early"


@program(
    SIGNALS,
    "The same during recv and send with rcvtimeo and sndtimeo",
    "each call times out, none early",
    "test_signals.py::test_a_storm_ends_no_wait_early",
)
def storm_of_timeouts(zmq):
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL", rcvtimeo=100), make(zmq, ctx, "PUSH", sndtimeo=100)
    return lasting({"recv": pull.recv, "send": partial(push.send, b"x")})


@program(
    SIGNALS,
    "The same during poll and Poller.poll with a timeout",
    "each call times out, none early",
    "test_signals.py::test_a_storm_ends_no_wait_early",
)
def storm_of_polls(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    return lasting({"poll": partial(pull.poll, 100), "Poller.poll": partial(poller.poll, 100)})


@program(
    SIGNALS,
    "The same while a proxy forwards 5,000 messages",
    "all messages arrived in order",
    "test_device.py::test_a_signal_handler_that_returns_lets_the_device_go_on",
)
def storm_in_a_proxy(zmq):
    ctx = zmq.Context()
    into, push = pair(zmq, ctx)
    out, pull = pair(zmq, ctx, "PUSH", "PULL")
    numbers = [b"%d" % i for i in range(5000)]

    def work():
        for number in numbers:
            push.send(number)
        got = [pull.recv() for _ in numbers]
        os.kill(os.getpid(), signal.SIGUSR1)
        return got == numbers

    signal.signal(signal.SIGUSR1, raise_stop)
    with storm():
        working = started(work)
        said = outcome(zmq.proxy, into, out)
        arrived = joined(*working)
    return "all messages arrived in order" if arrived == "True" else f"{arrived}; proxy: {said}"


def raise_stop(*_):
    raise Stop


def all_interrupted(said):
    """Return the outcomes of calls that Ctrl-C interrupted, as text."""
    bad = {name: how for name, how in said.items() if how != "KeyboardInterrupt"}
    return "; ".join(f"{name}: {how}" for name, how in bad.items()) or "each call raises KeyboardInterrupt"


@program(
    SIGNALS,
    "Ctrl-C in send, recv, poll, Poller.poll, proxy and term",
    "each call raises KeyboardInterrupt",
    "test_signals.py::test_ctrl_c_ends_a_wait",
    "test_device.py::test_ctrl_c_ends_a_device",
)
def ctrl_c(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said = {}
    for name in ("recv", "send", "poll", "Poller.poll", "proxy", "term"):
        ctx = zmq.Context()
        pull, push = make(zmq, ctx, "PULL", rcvtimeo=-1), make(zmq, ctx, "PUSH", sndtimeo=-1)
        poller = zmq.Poller()
        poller.register(pull, zmq.POLLIN)
        call = {
            "recv": pull.recv, "send": partial(push.send, b""), "poll": pull.poll, "Poller.poll": poller.poll,
            "proxy": partial(zmq.proxy, pull, push), "term": ctx.term,
        }[name]  # fmt: skip
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        watch = threading.Timer(2, lambda name=name: (print(f"{name} continues", flush=True), os._exit(0)))
        watch.start()
        said[name] = outcome(call)
        watch.cancel()
        push.close()
        pull.close()
        ctx.term()
    return all_interrupted(said)


@program(
    SIGNALS,
    "Ctrl-C in a blocked `send_many` and `recv_many` (pyzmq: loops of send and recv)",
    "each call raises KeyboardInterrupt",
    "test_batches.py::test_ctrl_c_ends_a_batch_that_a_peer_receives",
    "test_batches.py::test_the_count_after_ctrl_c",
)
def ctrl_c_in_a_batch(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=2, sndhwm=2, rcvtimeo=-1, sndtimeo=-1)
    idle = make(zmq, ctx, "PULL", rcvtimeo=-1)
    said = {}
    for name, call in {
        "send_many": partial(batches(zmq, pull, push)[0], [bytes(10_000)] * 100_000),  # more than TCP buffers hold
        "recv_many": partial(batches(zmq, idle, push)[1], 100),
    }.items():
        watch = threading.Timer(3, lambda name=name: (print(f"{name} continues", flush=True), os._exit(0)))
        watch.start()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        said[name] = outcome(call)
        watch.cancel()
    return all_interrupted(said)


@program(
    SIGNALS,
    "Ctrl-C in a loop of connect and disconnect, 100 times",
    "each call raises KeyboardInterrupt; the socket still works",
)
def ctrl_c_in_connect(zmq):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    pull.bind("tcp://127.0.0.1:*")

    def stream():
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while True:
            push.connect("tcp://localhost:1")
            push.disconnect("tcp://localhost:1")

    raised = {outcome(stream) for _ in range(100)}
    with contextlib.suppress(zmq.ZMQError):  # the last signal may have come before or after the disconnect
        push.disconnect("tcp://localhost:1")
    push.connect(endpoint(zmq, pull))
    push.send(b"x")
    works = "still works" if pull.recv() == b"x" else "is unusable"
    return f"each call raises {' or '.join(sorted(raised))}; the socket {works}"


@program(
    SIGNALS,
    "A signal every millisecond while a proxy answers STATISTICS, 10,000 times",
    "each reply is complete; TERMINATE ends the proxy",
    "test_device.py::test_a_signal_handler_that_returns_lets_the_device_go_on",
)
def storm_of_statistics(zmq):
    ctx = zmq.Context()
    into, out = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    control, steer = pair(zmq, ctx, "PAIR", "PAIR", "inproc://control")

    def work():
        torn = 0
        for _ in range(10_000):
            steer.send(b"STATISTICS")
            torn += [len(part) for part in steer.recv_multipart()] != [8] * 8
        steer.send(b"TERMINATE")
        return f"{torn} replies are incomplete" if torn else "each reply is complete"

    working = started(work)
    with storm():
        said = outcome(zmq.proxy_steerable, into, out, None, control)
    if said.endswith("Error"):
        return said
    return f"{joined(*working)[1:-1]}; TERMINATE ends the proxy"


@program(
    SIGNALS,
    "A signal handler raises during sends of two parts, 100 times",
    "each sent message arrived once and complete",
    "test_signals.py::test_a_handler_that_raises_ends_the_call",
)
def raising_handlers(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=0, sndhwm=0)
    signal.signal(signal.SIGALRM, raise_stop)
    number, sure = 0, set()
    for _ in range(100):
        # An interrupted send may or may not have sent its message. A send that returned has.
        with contextlib.suppress(Stop):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            while True:
                number += 1
                push.send_multipart([b"%d" % number, bytes(1000)])
                sure.add(number)
    push.send_multipart([b"end", b""])
    got = []
    while not got or got[-1] != [b"end", b""]:
        got.append(pull.recv_multipart())
    torn = sum(len(message) != 2 for message in got)
    if torn:
        return f"{torn} messages are incomplete"
    numbers = [int(message[0]) for message in got[:-1]]
    right = numbers == sorted(set(numbers)) and sure <= set(numbers)
    return "each sent message arrived once and complete" if right else "messages are lost or duplicated"


@program(
    SIGNALS,
    "SIGTERM stops a proxy gracefully: it forwards the messages that it has received",
    "all messages arrived in order",
    "test_devices.py::test_a_process_drains",
    "test_devices.py::test_sigterm_ends_a_process_with_its_linger_kept",
)
def sigterm(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    pull.bind("tcp://127.0.0.1:*")
    code = """
        c = zmq.Context(); a = c.socket(zmq.PULL); b = c.socket(zmq.PUSH)
        class Stop(Exception): pass
        def stop(*_): raise Stop
        port = a.bind_to_random_port("tcp://127.0.0.1"); b.connect(url)
        p = c.socket(zmq.PUSH); p.connect(url); p.send(b"%d" % port); p.close()
        signal.signal(signal.SIGTERM, stop)
        try:
            zmq.proxy(a, b)
        except Stop:
            while a.poll(1000): b.send(a.recv())
        b.close(); a.close(); c.term()
        """
    code = HEAD.format(module=zmq.__name__, url=endpoint(zmq, pull)) + textwrap.dedent(code)
    device = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    push = make(zmq, ctx, "PUSH")
    push.connect(f"tcp://127.0.0.1:{int(pull.recv())}")
    total = 20_000
    sending = started(lambda: [push.send(b"%d" % i) for i in range(total)])
    got = [pull.recv() for _ in range(100)]
    device.terminate()
    while pull.poll(3000):
        got.append(pull.recv())
        if len(got) == total:
            break
    ended = outcome(device.wait, 5)
    if ended != "0":
        device.kill()
    del sending
    right = got == [b"%d" % i for i in range(len(got))]
    if ended == "0" and right and len(got) == total:
        return "all messages arrived in order"
    ended = "does not exit" if ended == "TimeoutExpired" else f"exit code {ended}"
    return f"{'in order' if right else 'with gaps'}; {ended}"
