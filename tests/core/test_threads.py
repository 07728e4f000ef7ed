"""Threads: a socket used in two threads at once raises, and passing it to another thread is free."""

import threading
import time

import pytest
from memory import INSTRUMENTED
from waits import until_in_use

import zmqcy

CALLS = {
    "send": lambda s: s.send(b""),
    "try_send": lambda s: s.try_send(b""),
    "send_multipart": lambda s: s.send_multipart([b"a", b"b"]),
    "recv": lambda s: s.recv(zmqcy.DONTWAIT),
    "try_recv": lambda s: s.try_recv(),
    "recv_multipart": lambda s: s.recv_multipart(),
    "recv_into": lambda s: s.recv_into(bytearray(1)),
    "poll": lambda s: s.poll(0),
    "close": lambda s: s.close(),
    "bind": lambda s: s.bind("inproc://other"),
    "connect": lambda s: s.connect("inproc://other"),
    "set": lambda s: setattr(s, "linger", 0),
    "get": lambda s: s.linger,
    "getsockopt": lambda s: s.getsockopt(zmqcy.EVENTS),
    "underlying": lambda s: s.underlying,
    "fileno": lambda s: s.fileno(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_second_thread_is_refused(near, thread, call):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    outcome = thread(a.recv)
    until_in_use(a.poll, 0)
    with pytest.raises(zmqcy.SocketInUse, match=r"\(PAIR\): another thread is in a call on this socket") as caught:
        CALLS[call](a)
    assert caught.value.errno == 16
    b.send(b"unharmed")
    assert outcome() == b"unharmed"
    assert a.poll(0) == 0


@pytest.mark.parametrize(
    "function", [lambda s: s.recv_multipart(), lambda s: s.poll(), lambda s: s.recv_into(bytearray(9))]
)
def test_every_call_that_waits_marks_the_socket(near, thread, function):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    outcome = thread(function, a)
    until_in_use(a.poll, 0)
    b.send(b"x")
    assert not isinstance(outcome(), BaseException)


def test_a_send_that_waits_marks_the_socket(socket, thread):
    push = socket(zmqcy.PUSH)
    push.bind("inproc://late")
    outcome = thread(push.send, b"x")
    until_in_use(push.poll, 0)
    pull = socket(zmqcy.PULL)
    pull.connect("inproc://late")
    assert pull.recv() == b"x"
    assert outcome() is None


def test_repr_of_a_socket_in_use(pair, thread):
    a, b = pair(zmqcy.PAIR, zmqcy.PAIR)
    thread(a.recv)
    until_in_use(a.poll, 0)
    assert repr(a) == "<zmqcy.socket.Socket PAIR>"
    b.send(b"")


def test_a_socket_goes_from_thread_to_thread(pair):
    a, b = pair(zmqcy.PAIR, zmqcy.PAIR)
    lock = threading.Lock()

    def work(number):
        for _ in range(200):
            with lock:
                b.send(b"%d" % number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(5)]
    for thread in threads:
        thread.start()
    got = [a.recv() for _ in range(1000)]
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted([b"%d" % (i % 5) for i in range(1000)])


@pytest.mark.parametrize("size", [8, 100_000])
def test_many_threads_without_a_lock_lose_and_double_nothing(pair, size):
    """Each call either does its work once or raises SocketInUse."""
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    sent, refused = [], []

    def work(number):
        for i in range(300):
            message = b"%d-%d-" % (number, i)
            try:
                push.send_multipart([message, message.ljust(size, b".")], timeout=5000)
                sent.append(message)
            except zmqcy.SocketInUse:
                refused.append(message)

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = []
    for _ in sent:
        first, second = pull.recv_multipart()
        assert second == first.ljust(size, b".")
        got.append(first)
    assert sorted(got) == sorted(sent)
    assert pull.try_recv() is None
    assert len(sent) + len(refused) == 1800


@pytest.mark.parametrize("size", [8, 100_000])
def test_many_receivers_without_a_lock_tear_and_double_nothing(pair, size):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    total = 10 if INSTRUMENTED else 1000  # the refused threads take processor time from the receiving one
    for i in range(total):
        push.send_multipart([b"%d" % i, (b"%d" % i).ljust(size, b".")])
    got = []
    deadline = time.monotonic() + 30

    def work():
        while len(got) < total and time.monotonic() < deadline:
            try:
                first, second = pull.recv_multipart(timeout=100)
            except (zmqcy.SocketInUse, zmqcy.Again):
                continue
            assert second == first.ljust(size, b".")
            got.append(first)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(b"%d" % i for i in range(total))
