"""Make calls while a signal arrives before each C call in turn. test_faulty_system.py runs it with shim.c preloaded.

    interrupted.py HANDLER

Whatever the handler does, each message that a call reports as sent arrives once, in order, and no other one arrives.
"""

import ctypes
import errno
import functools
import itertools
import signal
import sys

import zmqcy

HANDLER = sys.argv[1]
BIG = b"B" * 100_000  # is sent zero-copy
PARTS = [b"1", b"", BIG]
FUNCTIONS = [b"zmq_send", b"zmq_msg_send", b"zmq_msg_recv", b"zmq_getsockopt", b"poll"]
SENDS = [  # state, call, its argument, the messages that it sends
    ("full", "send", b"x", [[b"x"]]),
    ("full", "send", BIG, [[BIG]]),
    ("full", "try_send", b"x", [[b"x"]]),
    ("full", "send_multipart", PARTS, [PARTS]),
    ("half full", "send_many", [b"1", b"2", BIG, b"4", b"5"], [[b"1"], [b"2"], [BIG], [b"4"], [b"5"]]),
    ("half full", "send_multipart_many", [PARTS, [b"2", b"2"]] * 3, [PARTS, [b"2", b"2"]] * 3),
    ("room", "send_multipart", PARTS, [PARTS]),
    ("room", "send_many", [b"1", b"2"], [[b"1"], [b"2"]]),
]
RECEIVES = [  # call, its argument, how to convert the result to messages
    ("recv", 0, lambda got: [[got]]),
    ("recv_multipart", 0, lambda got: [got]),
    ("recv_multipart_many", 2, lambda got: got),
    ("recv_many", 4, lambda got: split(got)),
    ("poll", 2, lambda _: []),
]
shim = ctypes.CDLL(None)
shim.shim_signal.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
names = itertools.count()
ctx = zmqcy.Context(linger=-1)


class Stop(Exception):
    pass


def split(parts):
    """Split parts into messages. The last part of a message is PARTS[-1], or the message has one part."""
    messages = [[]]
    for part in parts:
        messages[-1].append(part)
        if part == BIG:
            messages.append([])
    return messages[:-1]


def connected(state):
    pull, push = ctx.socket(zmqcy.PULL, rcvhwm=1), ctx.socket(zmqcy.PUSH, sndhwm=3 if state == "half full" else 1)
    pull.bind(f"inproc://{next(names)}")
    push.connect(pull.last_endpoint)
    return pull, push


def strike_in(call, argument, handler, function, after, number):
    """Make a call with a signal before one C call. Return its result in a list, its error, and if a signal was sent.

    No Python code runs between the call and the storage of its result: a handler that raises there would lose it.
    """
    struck, done, error = [], [], None

    def handle(*_):
        struck.append(True)
        handler()

    signal.signal(signal.SIGUSR1, handle)
    try:
        try:
            shim.shim_signal(function, after, signal.SIGUSR1, number)
            done.extend(map(call, [argument]))
        finally:
            shim.shim_arm(b"", 0, 0, 0)
    except (Stop, zmqcy.ZMQError) as caught:
        error = caught
    return done, error, bool(struck)


def stop():
    raise Stop


def send(state, name, argument, messages, function, after, number):
    pull, push = connected(state)
    filler = []
    if state == "full":
        while push.try_send(b"%d" % len(filler)):
            filler.append([b"%d" % len(filler)])
    call = getattr(push, name) if name == "try_send" else functools.partial(getattr(push, name), timeout=2)
    got = []
    helps = lambda: got.append(pull.recv_multipart()) if pull.poll(0) else None  # noqa: E731
    handler = {"raises": stop, "closes": push.close, "returns": int, "helps": helps}
    done, error, struck = strike_in(call, argument, handler[HANDLER], function, after, number)
    said = done[0] if done else getattr(error, "sent", False)
    sent = said if name.endswith("many") else said is not False
    while pull.poll(0):
        got.append(pull.recv_multipart())
    assert got == filler + messages[:sent], (done, error, got)
    if not push.closed:  # the socket works as before
        push.send(b"next")
        assert pull.recv_multipart() == [b"next"]
    elif not done:
        assert error.errno == errno.ENOTSOCK or type(error) is zmqcy.TimedOut, error
    push.close()
    pull.close()
    return struck


def receive(there, name, argument, messages_of, function, after, number):
    pull, push = connected("room")
    expected = [PARTS, PARTS] if there else []
    if name == "recv":
        expected = [message[:1] for message in expected]
    for message in expected:
        push.send_multipart(message)
    helped = []

    def helps():
        if not helped and not there:
            helped.append([b"late", BIG] if name != "recv" else [b"late"])
            push.send_multipart(helped[0])

    call = getattr(pull, name) if name == "poll" else functools.partial(getattr(pull, name), timeout=2)
    handler = {"raises": stop, "closes": pull.close, "returns": int, "helps": helps}
    done, error, struck = strike_in(call, argument, handler[HANDLER], function, after, number)
    got = messages_of(done[0]) if done else []
    if not pull.closed:
        while pull.poll(0):
            got.append(pull.recv_multipart())
        assert got == expected + helped, (done, error, got)
        push.send(b"next")
        assert pull.recv_multipart() == [b"next"]
    else:
        assert got == expected[: len(got)]
        assert done or error.errno == errno.ENOTSOCK or type(error) is zmqcy.TimedOut, error
    push.close(0)
    pull.close()
    return struck


def strike_everywhere(test, *arguments):
    """Return the number of C calls that had a signal before them."""
    strikes = 0
    for function in FUNCTIONS:
        for number in (0, errno.EINTR):
            for after in range(20):
                if not test(*arguments, function, after, number):
                    break
                strikes += 1
    return strikes


for row in SENDS:
    assert strike_everywhere(send, *row) >= 4, row[:2]
for row in RECEIVES:
    for there in (True, False):
        assert strike_everywhere(receive, there, *row) >= 2, (there, row[0])
ctx.term(10_000)
