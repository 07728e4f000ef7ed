"""Signals: a handler that returns has no effect on a call, one that raises ends it, and no message is lost."""

import os
import signal
import threading
import time

import pytest

import zmqcy


class Stop(Exception):
    """The exception of a handler."""


@pytest.fixture
def storm():
    """A function that starts a timer signal every millisecond, with a handler that counts. It stops at the end."""
    previous = signal.getsignal(signal.SIGALRM)
    strikes = []

    def start(handler=None, first=0.001, interval=0.001):
        def count(*_):
            strikes.append(1)
            if handler:
                handler()

        signal.signal(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, first, interval)
        return strikes

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def raise_stop():
    raise Stop


@pytest.mark.parametrize("call", ["recv", "recv_multipart", "recv_into", "poll", "send", "send_multipart", "rcvtimeo"])
def test_a_storm_ends_no_wait_early(socket, storm, call):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.rcvtimeo = 150
    strikes = storm()
    start = time.monotonic()
    if call == "poll":
        assert pull.poll(150) == 0
    else:
        with pytest.raises(zmqcy.TimedOut):
            {
                "recv": lambda: pull.recv(timeout=150),
                "recv_multipart": lambda: pull.recv_multipart(timeout=150),
                "recv_into": lambda: pull.recv_into(bytearray(9), timeout=150),
                "rcvtimeo": pull.recv,
                "send": lambda: push.send(b"x", timeout=150),
                "send_multipart": lambda: push.send_multipart([b"x", b"y"], timeout=150),
            }[call]()
    assert time.monotonic() - start >= 0.15
    assert len(strikes) > 2


def test_a_storm_loses_nothing(pair, storm):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 3}, {"sndhwm": 3})
    total = 3000
    strikes = storm()
    sender = threading.Thread(target=lambda: [push.send_multipart([b"%d" % i, b"x" * 20]) for i in range(total)])
    sender.start()
    assert [pull.recv_multipart()[0] for _ in range(total)] == [b"%d" % i for i in range(total)]
    sender.join()
    assert strikes


def test_a_storm_in_the_sender_loses_nothing(pair, storm):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 3}, {"sndhwm": 3})
    total, got = 3000, []
    receiver = threading.Thread(target=lambda: got.extend(pull.recv() for _ in range(total)))
    receiver.start()
    strikes = storm()
    for i in range(total):
        push.send(b"%d" % i)
    receiver.join()
    assert got == [b"%d" % i for i in range(total)]
    assert strikes


@pytest.mark.parametrize("call", ["recv", "recv_multipart", "recv_into", "poll", "send", "send_multipart", "send_big"])
def test_a_handler_that_raises_ends_the_call(socket, storm, call):
    pull, push = socket(zmqcy.PULL, rcvtimeo=-1), socket(zmqcy.PUSH, sndtimeo=-1)
    pull.bind("inproc://late")
    push.bind("inproc://later")
    with pytest.raises(Stop):
        storm(raise_stop, 0.05, 0)
        {
            "recv": pull.recv,
            "recv_multipart": pull.recv_multipart,
            "recv_into": lambda: pull.recv_into(bytearray(9)),
            "poll": pull.poll,
            "send": lambda: push.send(b"x"),
            "send_multipart": lambda: push.send_multipart([b"x", b"y"]),
            "send_big": lambda: push.send(b"x" * 100_000),
        }[call]()
    # both sockets are unchanged
    sender, receiver = socket(zmqcy.PUSH), socket(zmqcy.PULL)
    sender.connect("inproc://late")
    receiver.connect("inproc://later")
    sender.send(b"to pull")
    push.send(b"from push")
    assert pull.recv() == b"to pull"
    assert receiver.recv() == b"from push"
    assert receiver.try_recv() is None


def test_a_handler_may_use_and_close_the_socket_that_waits(socket, storm):
    pull = socket(zmqcy.PULL, rcvtimeo=-1)
    used = []

    def handler():
        used.append(pull.try_recv())
        if len(used) == 3:
            pull.close()

    storm(handler, 0.02, 0.02)
    with pytest.raises(zmqcy.ZMQError, match="recv .*the socket is closed"):
        pull.recv()
    assert used == [None, None, None]


@pytest.mark.parametrize("call", ["recv", "send", "poll", "poller", "term"])
def test_ctrl_c_ends_a_wait(call):
    context = zmqcy.Context()
    pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
    poller = zmqcy.Poller()
    poller.register(pull, zmqcy.POLLIN)
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        {
            "recv": pull.recv,
            "send": lambda: push.send(b""),
            "poll": pull.poll,
            "poller": poller.poll,
            "term": context.term,
        }[call]()
    pull.close()
    push.close()
    context.term(timeout=10_000)


def test_term_goes_on_in_a_storm(storm):
    context = zmqcy.Context()
    pull = context.socket(zmqcy.PULL)
    strikes = storm()
    timer = threading.Timer(0.1, pull.close)
    timer.start()
    context.term()
    assert context.closed
    assert strikes


def test_a_signal_for_another_thread_does_not_disturb(pair):
    """Handlers run in the main thread: a wait in another thread continues."""
    a, b = pair(zmqcy.PAIR, zmqcy.PAIR)
    got = []
    thread = threading.Thread(target=lambda: got.append(a.recv()))
    thread.start()
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        for _ in range(50):
            signal.pthread_kill(thread.ident, signal.SIGUSR1)
            time.sleep(0.001)
        b.send(b"after")
        thread.join(10)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert got == [b"after"]


@pytest.mark.parametrize("call", ["recv", "send", "poll", "poller", "term", "proxy"])
def test_a_signal_that_another_thread_took_ends_a_wait(call):
    """Nothing interrupts the main thread's wait then, as after a signal just before the wait begins."""
    context = zmqcy.Context()
    pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
    poller = zmqcy.Poller()
    poller.register(pull, zmqcy.POLLIN)
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.2, signal.pthread_kill, (other.ident, signal.SIGINT)).start()
        {
            "recv": pull.recv,
            "send": lambda: push.send(b""),
            "poll": pull.poll,
            "poller": poller.poll,
            "term": context.term,
            "proxy": lambda: zmqcy.proxy(pull, push),
        }[call]()
    done.set()
    other.join()
    pull.close()
    push.close()
    context.term(timeout=10_000)
