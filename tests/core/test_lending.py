"""Zero-copy sends: how long libzmq keeps a buffer, and the trackers of its release."""

import array
import asyncio
import contextlib
import ctypes
import datetime
import gc
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import weakref

import pytest
from memory import resident

import zmqcy

BIG = 100_000
ABSENT = "tcp://127.0.0.1:1"
SIZES = [0, 1, 33, 100, 8193, BIG]


def fresh(size=BIG):
    """Return bytes without other references."""
    return bytes(bytearray(size))


def references(data):
    """Return the number of references to an object other than the caller's."""
    return sys.getrefcount(data) - 3  # those of the caller, the parameter, and getrefcount


def until(condition):
    """Wait for a condition without calls of zmqcy: a pending call must make it true."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0)  # releases the GIL, after which the main thread makes pending calls


def wait_for_drop(data):
    """Wait until the caller has the only reference."""
    until(lambda: sys.getrefcount(data) <= 3)  # those of the caller, the parameter, and getrefcount


def can_be_resized(buffer):
    with contextlib.suppress(BufferError):
        buffer.append(1)
        return True


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def waiting(socket):
    """A socket whose messages wait for an absent peer."""
    push = socket(zmqcy.PUSH)
    push.connect(ABSENT)
    return push


@pytest.fixture
def unraisable(monkeypatch):
    """The exceptions passed to sys.unraisablehook."""
    caught = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: caught.append(what.exc_value))
    return caught


# ---- zero-copy sends


def test_big_bytes_are_lent_until_the_socket_is_closed(waiting):
    data = fresh()
    waiting.send(data)
    assert references(data) == 1
    waiting.close(0)
    wait_for_drop(data)


@pytest.mark.parametrize("size", [0, 100, 16383])
@pytest.mark.parametrize("copy", [None, True, False])
def test_smaller_bytes_are_copied(waiting, size, copy):
    data = fresh(size) if size else b""
    before = sys.getrefcount(data)
    waiting.send(data, copy=copy)
    waiting.send_multipart([data, data], copy=copy)
    assert sys.getrefcount(data) == before


@pytest.mark.parametrize(
    "send",
    [
        lambda s, data: s.send(data),
        lambda s, data: s.send(data, copy=False),
        lambda s, data: s.try_send(data),
        lambda s, data: s.send(data, track=True),
        lambda s, data: s.send_multipart([b"", data]),
        lambda s, data: s.send_many([b"", data]),
        lambda s, data: s.send_multipart_many([[b"a", b"b"], [b"", data]]),
        lambda s, data: s.send_serialized(data, lambda value: [value]),
        lambda s, data: s.send(zmqcy.Frame(data)),
    ],
)
def test_every_way_to_send_lends(waiting, send):
    data = fresh(16384)
    send(waiting, data)
    assert references(data) == 1
    waiting.context.destroy(0)
    wait_for_drop(data)


@pytest.mark.parametrize(
    "send",
    [
        lambda s, data: s.send(data, copy=True),
        lambda s, data: s.send_multipart([b"", data], copy=True),
        lambda s, data: s.send(zmqcy.Frame(data, copy=True)),
        lambda s, data: s.send(data, copy=True, track=True),
        lambda s, data: s.send(zmqcy.Frame(data, copy=True, track=True)),
        lambda s, data: s.send(zmqcy.Frame(data), copy=True),
    ],
)
def test_a_copy_is_none_of_the_sender_s_memory(waiting, send):
    data = fresh()
    send(waiting, data)
    gc.collect()
    assert references(data) == 0


def test_delivery_gives_the_reference_back(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    data = fresh()
    push.send(data)
    assert pull.recv() == data
    wait_for_drop(data)
    push.send_multipart([data, data, b"x"])
    assert pull.recv_multipart() == [data, data, b"x"]
    wait_for_drop(data)


def test_a_frame_over_inproc_is_the_sender_s_memory(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://same")
    push.connect("inproc://same")
    data = fresh()
    push.send(data)
    frame = pull.recv(copy=False)
    assert references(data) == 1
    assert memoryview(frame).readonly
    assert frame.bytes == data
    del frame
    wait_for_drop(data)


def test_a_thread_that_frees_a_frame_drops_the_reference_at_once(near, thread):
    """No pending call, which only the main thread makes, is needed."""
    pull, push = near()
    data = fresh()
    push.send(data)

    def free():
        frame = pull.recv(copy=False)
        before = sys.getrefcount(data)
        del frame
        return before - sys.getrefcount(data)

    assert thread(free)() == 1


@pytest.mark.parametrize("end", ["close", "term", "destroy", "drop"])
def test_every_end_gives_the_reference_back(end):
    context = zmqcy.Context()
    push = context.socket(zmqcy.PUSH, linger=0)
    push.connect(ABSENT)
    data, buffer = fresh(), bytearray(10)
    push.send(data)
    push.send(buffer, copy=False)
    if end == "destroy":
        context.destroy(0)
    elif end == "drop":
        del push, context
    else:
        push.close()
        if end == "term":
            context.term(timeout=10_000)
    wait_for_drop(data)
    until(lambda: can_be_resized(buffer))


def test_the_reference_is_dropped_by_another_call_too(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    gone = []
    data = type("Buffer", (bytearray,), {"__del__": lambda self: gone.append(1)})(BIG)
    tracker = push.send(data, copy=False, track=True)
    del data
    pull.recv()
    until(lambda: tracker.done)
    assert gone == [1]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="pending calls wait until the main thread gives the GIL away")
@pytest.mark.parametrize("busy", [lambda: None, lambda: sum(range(100)), lambda: [None] * 10])
def test_a_loop_of_python_code_alone_drops_the_reference(waiting, busy):
    """No call of zmqcy, and no other thread, is needed."""
    data = fresh()
    waiting.send(data)
    waiting.close(0)
    deadline = time.monotonic() + 10
    while sys.getrefcount(data) > 2:
        assert time.monotonic() < deadline
        busy()


def test_who_asks_trackers_meanwhile_swallows_no_pending_call(socket):
    """After a pending call that finds the stack empty, another one can be requested."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH, linger=0)
    push.copy_threshold = 1
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)
    done = push.send(b"", track=True)
    pull.recv()
    for i in range(1000):
        first, second = b"first %d" % i * 10, b"second %d" % i * 10
        push.send(first)
        while sys.getrefcount(first) > 2:
            assert done.done
        for _ in range(100):
            assert done.done
        pull.recv()
        push.send(second)
        pull.recv()
        deadline = time.monotonic() + 5
        while sys.getrefcount(second) > 2:
            assert time.monotonic() < deadline, f"round {i}: no pending call comes"
            time.sleep(0)  # gives the GIL away


# ---- threshold


def test_the_threshold_of_a_socket(waiting):
    assert waiting.copy_threshold == zmqcy.COPY_THRESHOLD == 16384
    for threshold in (0, 1, 100, 16384, 200_000, 2**62):
        waiting.copy_threshold = threshold
        assert waiting.copy_threshold == threshold
        below, above = fresh(max(2, threshold - 1) if threshold < 2**30 else BIG), fresh(min(threshold + 2, 300_000))
        waiting.send(below)
        waiting.send(above)
        assert references(below) == (len(below) >= threshold)
        assert references(above) == (len(above) >= threshold)


@pytest.mark.parametrize(("wrong", "error"), [(None, TypeError), ("1", TypeError), (1.5, TypeError), (-1, ValueError)])
def test_what_is_no_threshold(waiting, wrong, error):
    with pytest.raises(error, match="copy_threshold"):
        waiting.copy_threshold = wrong
    with pytest.raises(error):
        waiting.context.socket(zmqcy.PUSH, copy_threshold=wrong)
    assert waiting.copy_threshold == 16384


def test_a_threshold_beyond_any_memory(waiting):
    with pytest.raises((ValueError, OverflowError)):
        waiting.copy_threshold = 2**64
    assert waiting.copy_threshold == 16384


def test_a_threshold_as_an_option_of_a_new_socket(socket):
    assert socket(zmqcy.PUSH, copy_threshold=5).copy_threshold == 5


def test_a_socket_whose_messages_are_checked_stays_one(socket):
    xsub = socket(zmqcy.XSUB, copy_threshold=0)
    xsub.copy_threshold = 100
    xsub.send(b"topic", zmqcy.SNDMORE)
    with pytest.raises(zmqcy.InvalidArgument, match="subscription"):
        xsub.send(b"\x01")


def test_the_default_threshold(socket, monkeypatch):
    before = socket(zmqcy.PUSH)
    monkeypatch.setattr(zmqcy, "COPY_THRESHOLD", 1000)
    push = socket(zmqcy.PUSH)
    push.connect(ABSENT)
    assert (before.copy_threshold, push.copy_threshold) == (16384, 1000)
    assert zmqcy.Socket.shadow(push.underlying).copy_threshold == 1000
    small, big = fresh(999), fresh(1000)
    push.send(small)
    push.send(big)
    assert (references(small), references(big)) == (0, 1)
    frame = zmqcy.Frame(small)
    assert references(small) == 0
    frame = zmqcy.Frame(big)
    assert references(big) == 2
    del frame


@pytest.mark.parametrize(("wrong", "error"), [("x", TypeError), (None, TypeError), (-1, ValueError)])
def test_a_wrong_default_threshold_leaves_no_socket_behind(monkeypatch, wrong, error):
    """No socket stays open, so the context can end."""
    context = zmqcy.Context()
    monkeypatch.setattr(zmqcy, "COPY_THRESHOLD", wrong)
    with pytest.raises(error, match="COPY_THRESHOLD"):
        context.socket(zmqcy.PUSH)
    context.term(timeout=10_000)


# ---- other buffers


def numpy_array(size):
    return pytest.importorskip("numpy").arange(size, dtype="u1")


def anonymous(size):
    memory = mmap.mmap(-1, max(size, 1))
    memory.write(b"m" * size)
    return memory


KINDS = {
    "bytearray": lambda size: bytearray(b"b" * size),
    "array": lambda size: array.array("H", range(size // 2)),
    "mmap": anonymous,
    "ctypes": lambda size: (ctypes.c_char * size)(*b"c" * size),
    "memoryview": lambda size: memoryview(bytearray(b"v" * (size + 20)))[10:-10],
    "two dimensions": lambda size: memoryview(bytearray(b"2" * size)).cast("B", [size // 2, 2]),
    "numpy": numpy_array,
    "bytes": lambda size: b"y" * size,
    "subclass": lambda size: type("Bytes", (bytes,), {})(b"s" * size),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_any_buffer_is_lent(pair, kind):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    for size in (2, 34, BIG):
        data = KINDS[kind](size)
        expected = bytes(data)
        for track in (False, True):
            assert (push.send(data, copy=False, track=track) is None) == (not track)
            push.send_multipart([data, b"end", data], copy=False)
            assert pull.recv() == expected
            assert pull.recv_multipart() == [expected, b"end", expected]


@pytest.mark.parametrize("size", [1, 33, BIG])
@pytest.mark.parametrize("send", [lambda s, b: s.send(b, copy=False), lambda s, b: s.send_multipart([b], copy=False)])
def test_a_lent_bytearray_cannot_be_resized(waiting, size, send):
    data = bytearray(size)
    send(waiting, data)
    for resize in (data.clear, lambda: data.append(1), lambda: data.extend(b"xx")):
        with pytest.raises(BufferError):
            resize()
    waiting.close(0)
    until(lambda: can_be_resized(data))


@pytest.mark.parametrize("copy", [None, True])
@pytest.mark.parametrize("track", [False, True])
@pytest.mark.parametrize("size", [5, BIG])
def test_what_is_not_lent_may_change_at_once(near, copy, track, size):
    pull, push = near()  # over inproc the receiver's message is the sender's buffer until it is received
    data = bytearray(b"a" * size)
    push.send(data, copy=copy, track=track)
    push.send_multipart([data, data], copy=copy, track=track)
    data[:] = b"b" * size
    data.append(1)
    assert pull.recv() == b"a" * size
    assert pull.recv_multipart() == [b"a" * size] * 2


def test_a_mapping_cannot_be_closed_while_it_is_lent(waiting):
    memory = mmap.mmap(-1, BIG)
    waiting.send(memory, copy=False)
    with pytest.raises(BufferError):
        memory.close()
    waiting.close(0)

    def closed():
        with contextlib.suppress(BufferError):
            memory.close()
            return True

    until(closed)


@pytest.mark.parametrize("copy", [None, True, False])
@pytest.mark.parametrize("track", [False, True])
def test_a_scattered_buffer(near, copy, track):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    data = bytearray(BIG)
    for scattered in (memoryview(data)[::2], memoryview(data)[::-1]):
        with pytest.raises(BufferError, match="send: the buffer is not contiguous"):
            push.send(scattered, copy=copy, track=track)
        with pytest.raises(BufferError, match="send_multipart: part 1: the buffer is not contiguous"):
            push.send_multipart([data, scattered], copy=copy, track=track)
        scattered.release()
    data.append(1)
    push.send(b"next")
    assert pull.recv() == b"next"


# ---- leaks


def failing_sends(socket):
    """Yield sends that fail, with their exceptions."""
    absent = socket(zmqcy.PUSH)
    req = socket(zmqcy.REQ)
    req.connect(ABSENT)
    req.send(b"")
    closed = socket(zmqcy.PUSH)
    closed.close()
    router = socket(zmqcy.ROUTER, router_mandatory=True)
    full = socket(zmqcy.PUSH, sndhwm=1)
    full.connect(ABSENT)
    full.send(b"")
    yield "no peer", zmqcy.Again, lambda data, **how: absent.send(data, zmqcy.DONTWAIT, **how)
    yield "time", zmqcy.TimedOut, lambda data, **how: full.send(data, timeout=1, **how)
    yield "wrong part", TypeError, lambda data, **how: absent.send_multipart([data, None], **how)
    yield "closed", zmqcy.ZMQError, lambda data, **how: closed.send(data, **how)
    yield "turn", zmqcy.StateError, lambda data, **how: req.send(data, **how)
    yield "unknown", zmqcy.HostUnreachable, lambda data, **how: router.send_multipart([b"nobody", data], **how)
    yield "parts", zmqcy.Again, lambda data, **how: absent.send_multipart([data, b"x", data], zmqcy.DONTWAIT, **how)
    yield "many", zmqcy.Again, lambda data, **how: absent.send_many([data] * 20, flags=zmqcy.DONTWAIT)
    yield "flags", ValueError, lambda data, **how: absent.send(data, -1, **how)
    yield "text of time", TypeError, lambda data, **how: full.send(data, timeout="x", **how)


@pytest.mark.parametrize("how", [{}, {"copy": False}, {"track": True}, {"copy": False, "track": True}])
def test_a_send_that_fails_keeps_nothing(socket, how):
    for _, error, send in failing_sends(socket):
        data, buffer = fresh(), bytearray(BIG)
        for each in (data, buffer, zmqcy.Frame(data)):
            with pytest.raises(error):
                send(each, **how)
        del each
        wait_for_drop(data)
        until(lambda buffer=buffer: can_be_resized(buffer))


def test_no_pending_call_is_left_after_many_failures(socket):
    push = socket(zmqcy.PUSH)
    data = fresh()
    for _ in range(2000):
        with pytest.raises(zmqcy.Again):
            push.send(data, zmqcy.DONTWAIT)
    wait_for_drop(data)


@pytest.mark.parametrize("way", ["tcp", "inproc"])
def test_loops_leave_nothing(socket, way):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://loops" if way == "inproc" else "tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)

    def work(count):
        for _ in range(count):
            push.send(fresh())
            pull.recv()
            push.send(bytearray(BIG), copy=False)
            pull.recv(copy=False)
            tracker = push.send_multipart([fresh(), fresh(10)], track=True)
            pull.recv_multipart(copy=False)
            tracker.wait(10)
            tracker.add_done_callback(lambda tracker: None)

    work(50)
    gc.collect()
    before = resident(), len(gc.get_objects()), descriptors()
    work(300)
    gc.collect()
    after = resident(), len(gc.get_objects()), descriptors()
    assert after[0] - before[0] < 8_000_000
    assert after[1] - before[1] < 100
    assert after[2] == before[2]


def test_a_sender_that_is_gone_before_its_buffer(socket):
    pull = socket(zmqcy.PULL)
    pull.bind("inproc://gone")
    data, buffer = fresh(), bytearray(BIG)

    def send(context, *messages):
        with context.socket(zmqcy.PUSH) as push:
            push.connect("inproc://gone")
            for message in messages:
                push.send(message, copy=False)

    thread = threading.Thread(target=send, args=[pull.context, data, buffer])
    thread.start()
    thread.join()
    assert references(data) == 1
    frames = [pull.recv(copy=False), pull.recv(copy=False)]
    with pytest.raises(BufferError):
        buffer.append(1)
    del frames
    wait_for_drop(data)
    until(lambda: can_be_resized(buffer))


def test_buffers_released_from_other_threads(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    buffers = [bytearray(b"%d" % i * 20_000) for i in range(50)]
    for buffer in buffers:
        push.send(buffer, copy=False)
    got = []
    for _ in buffers:
        thread = threading.Thread(target=lambda: got.append(pull.recv(copy=False).bytes))
        thread.start()
        thread.join()
    assert got == [bytes(buffer) for buffer in buffers]

    for buffer in buffers:
        until(lambda buffer=buffer: can_be_resized(buffer))


def test_a_finalizer_may_use_zmqcy(pair):
    """The finalizer runs when the reference is dropped: in a pending call, or in a call of zmqcy."""
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    gone = []

    class Buffer(bytearray):
        def __del__(self):
            push.send(b"from the finalizer")
            gone.append(1)

    push.send(Buffer(BIG), copy=False)
    assert pull.recv() == bytes(BIG)
    until(lambda: gone)
    assert pull.recv() == b"from the finalizer"


# ---- process exit and fork


HEAD = """
import os, sys, threading, time, zmqcy
url = sys.argv[1]
c = zmqcy.Context()
s = c.socket(zmqcy.PUSH)
s.connect(url)
data, buffer = bytes(bytearray(3_000_000)), bytearray(b"b" * 1_000_000)
"""
SEND = "t = s.send(data, track=True); s.send(buffer, copy=False); s.send_many([data, b'x' * 200_000])\n"
ENDS = {
    "plain": "",
    "closed": "s.close()",
    "cycle": "l = [s, c, t]; l.append(l); t.add_done_callback(lambda t: l); del s, c, l, t, data, buffer",
    "sys.exit": "sys.exit(0)",
    "term": "s.close(); c.term()",
    "atexit": "import atexit; atexit.register(lambda: (s.close(), c.term()))",
    "thread": "threading.Thread(target=lambda: (s.close(), c.term())).start()",
}


@pytest.mark.parametrize("end", ENDS)
def test_what_was_lent_arrives_after_the_exit(run, socket, end):
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    url, got = pull.last_endpoint, []
    thread = threading.Thread(target=lambda: [got.append(pull.recv()) for _ in range(4)])
    thread.start()
    try:
        done = run(HEAD + SEND + ENDS[end], url)
    finally:
        thread.join(15)
    assert got == [bytes(3_000_000), b"b" * 1_000_000, bytes(3_000_000), b"x" * 200_000]
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    "end",
    [
        "zmqcy.exit_linger = 0",
        "s.close(0)",
        "s.close(0); c.term()",
        "c.destroy(0)",
        "del c, s",
        "os._exit(0)",
        "s.linger = 200",
        "c.shutdown()",
        "import ctypes; ctypes.pythonapi.Py_IncRef(ctypes.py_object(t)); zmqcy.exit_linger = 0",
        """
def work():
    while True: s.send(b"y" * 100_000)
threading.Thread(target=work, daemon=True).start()
zmqcy.exit_linger = 0""",
    ],
)
def test_an_exit_with_buffers_in_flight(run, end):
    done = run("import zmqcy; zmqcy.exit_linger = 0\n" + HEAD + SEND + end, ABSENT)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_exit_while_libzmq_lets_go(run, socket):
    """libzmq's threads request pending calls until the last moment."""
    pull = socket(zmqcy.PULL, rcvhwm=0)
    pull.bind("tcp://127.0.0.1:*")
    for _ in range(5):
        done = run(HEAD + "s.copy_threshold = 1\ns.sndhwm = 0\ns.send_many([b'z' * 100] * 20_000)", pull.last_endpoint)
        assert (done.stdout, done.stderr) == ("", "")
        count = 0
        while count < 20_000:
            count += len(pull.recv_many())


def test_a_forked_child_with_buffers_in_flight(run):
    done = run(
        "import zmqcy; zmqcy.exit_linger = 0\n"
        + HEAD
        + SEND
        + """
for how in ("exit", "_exit", "lend"):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if how == "_exit":
            os._exit(0)
        if how == "lend":
            with zmqcy.Context() as mine:
                a, b = mine.socket(zmqcy.PULL, linger=0), mine.socket(zmqcy.PUSH, linger=0)
                a.bind("tcp://127.0.0.1:*"); b.connect(a.last_endpoint)
                for _ in range(20):
                    more = bytes(bytearray(200_000))
                    tracker = b.send(more, track=True)
                    assert a.recv(timeout=5000) == more
                    tracker.wait(5)
                    deadline = time.monotonic() + 5
                    b.send(more)
                    assert a.recv(timeout=5000) == more
                    while sys.getrefcount(more) > 2:
                        assert time.monotonic() < deadline
                a.close(); b.close()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, how
print("parent")
""",
        ABSENT,
        env={"PYTHONWARNINGS": "ignore"},
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("parent\n", "")


def test_a_child_forked_while_libzmq_lets_go(run, socket):
    pull = socket(zmqcy.PULL, rcvhwm=0)
    pull.bind("tcp://127.0.0.1:*")
    done = run(
        HEAD
        + """
s.copy_threshold = 1
s.sndhwm = 0
for i in range(10):
    s.send_many([b"z%d" % i * 30] * 1000)
    child = os.fork()
    if child == 0:
        with zmqcy.Context() as mine:
            a, b = mine.socket(zmqcy.PAIR, linger=0), mine.socket(zmqcy.PAIR, linger=0)
            a.bind("inproc://x"); b.connect("inproc://x")
            tracker = b.send(data, track=True)
            assert a.recv(timeout=5000) == data
            tracker.wait(5)
            a.close(); b.close()
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        pull.last_endpoint,
        env={"PYTHONWARNINGS": "ignore"},
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("", "")
    count = 0
    while count < 10_000:
        count += len(pull.recv_many())


# ---- trackers


def test_who_asks_for_no_tracker_gets_none(pair):
    _, push = pair(zmqcy.PULL, zmqcy.PUSH)
    assert push.send(b"x") is None
    assert push.send(fresh(), copy=False) is None
    assert push.send_multipart([b"x"], track=False) is None


def test_a_tracker_cannot_be_constructed(pair):
    with pytest.raises(TypeError, match="a send with track=True makes one"):
        zmqcy.MessageTracker()
    _, push = pair(zmqcy.PULL, zmqcy.PUSH)
    with pytest.raises(TypeError):
        pickle.dumps(push.send(b"x", track=True))


@pytest.mark.parametrize("size", [0, BIG])
@pytest.mark.parametrize("copy", [None, True, False])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_tracker_of_a_message_that_waits(waiting, size, copy, kind):
    tracker = waiting.send(kind(size), copy=copy, track=True)
    parts = waiting.send_multipart([kind(size), b""], copy=copy, track=True)
    for each in (tracker, parts):
        assert type(each) is zmqcy.MessageTracker
        assert each.done is False
        assert repr(each) == "<MessageTracker not done>"
        for timeout in (0, 0.01, datetime.timedelta(milliseconds=5)):
            with pytest.raises(zmqcy.NotDone) as caught:
                each.wait(timeout)
        assert isinstance(caught.value, TimeoutError)
    waiting.close(0)
    for each in (tracker, parts):
        each.wait(10)
        assert each.done is True
        assert repr(each) == "<MessageTracker done>"
        each.wait()
        each.wait(0)


@pytest.mark.parametrize("size", SIZES)
def test_a_tracker_over_a_connection(socket, size):
    push = socket(zmqcy.PUSH)
    push.bind("tcp://127.0.0.1:*")
    pull = socket(zmqcy.PULL)
    pull.connect(push.last_endpoint)
    tracker = push.send(fresh(size), track=True)
    assert len(pull.recv()) == size
    tracker.wait(10)
    assert tracker.done


@pytest.mark.parametrize("size", [0, 33, BIG])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_tracker_over_inproc_waits_for_the_receiver_s_frame(socket, size, kind):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://tracked")
    push.connect("inproc://tracked")
    tracker = push.send(kind(size), track=True)
    assert not tracker.done
    frame = pull.recv(copy=False)
    assert not tracker.done
    with pytest.raises(zmqcy.NotDone):
        tracker.wait(0.01)
    frame.release()
    assert tracker.done
    tracker = push.send(kind(size), track=True)
    pull.recv()
    assert tracker.done


def test_a_tracker_of_several_parts(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://parts")
    push.connect("inproc://parts")
    called = []
    tracker = push.send_multipart([b"", b"x" * 50, bytearray(BIG), zmqcy.Frame(b"f" * 50)], track=True)
    tracker.add_done_callback(called.append)
    frames = pull.recv_multipart(copy=False)
    for frame in frames:
        assert not tracker.done
        assert called == []
        frame.release()
    assert tracker.done
    assert called == [tracker]


def test_a_tracker_of_parts_that_no_peer_takes(socket):
    push = socket(zmqcy.PUSH)
    data = [fresh() for _ in range(3)]
    with pytest.raises(zmqcy.TimedOut):
        push.send_multipart(data, track=True, timeout=5)
    until(lambda: [sys.getrefcount(each) for each in data] == [3, 3, 3])  # those of the list, `each`, and getrefcount


def test_a_wait_in_a_thread_while_another_receives(socket):
    push = socket(zmqcy.PUSH)
    push.bind("inproc://late")
    pull = socket(zmqcy.PULL)
    pull.connect("inproc://late")
    tracker = push.send(fresh(), track=True)
    ended = []
    threads = [threading.Thread(target=lambda: (tracker.wait(20), ended.append(tracker.done))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert ended == []
    pull.recv()
    for thread in threads:
        thread.join(20)
    assert ended == [True] * 4


@pytest.mark.parametrize(
    ("timeout", "error"), [(-0.5, ValueError), ("1", TypeError), (datetime.timedelta(-1), ValueError)]
)
def test_what_is_no_time_to_wait(waiting, timeout, error):
    with pytest.raises(error, match="wait: "):
        waiting.send(b"x", track=True).wait(timeout)


def test_a_time_to_wait_is_in_seconds(waiting):
    tracker = waiting.send(b"x", track=True)
    start = time.monotonic()
    with pytest.raises(zmqcy.NotDone):
        tracker.wait(0.2)
    assert time.monotonic() - start >= 0.2


def test_a_signal_ends_a_wait(waiting):
    def stop(*_):
        raise InterruptedError("by the handler")

    tracker = waiting.send(b"x", track=True)
    previous = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(InterruptedError, match="by the handler"):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            tracker.wait()
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert not tracker.done


def test_callbacks(socket, unraisable):
    """Each callback runs once. Its exception is passed to sys.unraisablehook unchanged."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://callbacks")
    push.connect("inproc://callbacks")
    tracker = push.send(b"x", track=True)
    called = []

    def fail(tracker):
        called.append("failed")
        raise ValueError("in a callback")

    def again(tracker):
        called.append("first")
        tracker.add_done_callback(lambda each: called.append("inner"))

    for callback in (again, fail, lambda each: called.append(each)):
        tracker.add_done_callback(callback)
    for wrong in (None, 5, "text"):
        with pytest.raises(TypeError, match=f"add_done_callback: .*{wrong}"):
            tracker.add_done_callback(wrong)
    assert called == []
    pull.recv()
    until(lambda: called)  # a pending call runs
    assert called == ["first", "inner", "failed", tracker]
    tracker.add_done_callback(lambda each: called.append("late"))
    assert called[-1] == "late"
    tracker.add_done_callback(fail)
    assert [str(error) for error in unraisable] == ["in a callback"] * 2
    assert tracker.done
    assert len(called) == 6


def test_a_callback_of_a_tracker_that_nobody_else_has(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    called = []
    push.send(fresh(), track=True).add_done_callback(called.append)
    pull.recv()
    until(lambda: called)
    assert called[0].done


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_callback_that_raises_what_is_no_exception(socket, unraisable, error):
    """The callbacks of other trackers, and its own later callbacks, still run."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://stop")
    push.connect("inproc://stop")

    def fail(tracker):
        raise error

    called = []
    trackers = [push.send(b"a", track=True) for _ in range(3)]
    for tracker in trackers:
        tracker.add_done_callback(fail)
        tracker.add_done_callback(called.append)

    def take():  # release all three at once, in a thread that runs no pending calls
        pull.recv_many()
        with contextlib.suppress(error):
            assert trackers[0].done

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert sorted(map(id, called)) == sorted(map(id, trackers))


def test_trackers_are_collected(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://cycle")
    push.connect("inproc://cycle")
    tracker = push.send(b"x", track=True)
    alive = weakref.ref(tracker)
    tracker.add_done_callback(lambda each, keep=tracker: None)
    del tracker
    gc.collect()
    assert alive() is not None  # libzmq has the message
    pull.recv()
    until(lambda: alive() is None)


# ---- trackers in asyncio


@pytest.fixture(params=[False, True], ids=["", "debug"])
def debug(request):
    return request.param


def inproc(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://awaited")
    push.connect("inproc://awaited")
    return pull, push


def test_await_what_is_done(socket, debug):
    pull, push = inproc(socket)

    async def main():
        tracker = push.send(b"x", track=True)
        pull.recv()
        await tracker
        await tracker
        assert await asyncio.gather(asyncio.wait_for(tracker, 1), asyncio.ensure_future(as_coroutine(tracker)))

    before = descriptors()
    asyncio.run(main(), debug=debug)
    assert descriptors() == before


async def as_coroutine(tracker):
    await tracker
    return "done"


def test_await_what_another_thread_finishes(socket, debug):
    """The sockets that wake the loop are closed: there is no ResourceWarning."""
    pull, push = inproc(socket)

    async def main():
        tracker = push.send(b"x", track=True)
        tasks = [asyncio.ensure_future(as_coroutine(tracker)) for _ in range(5)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        thread = threading.Thread(target=pull.recv)
        thread.start()
        assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == ["done"] * 5
        thread.join()
        await tracker

    before = descriptors()
    asyncio.run(main(), debug=debug)
    gc.collect()
    assert descriptors() == before


def test_awaits_that_are_cancelled(socket, debug):
    pull, push = inproc(socket)

    async def main():
        tracker = push.send(b"x", track=True)
        tasks = [asyncio.ensure_future(as_coroutine(tracker)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(tracker, 0.01)
        assert not tracker.done
        pull.recv()
        outcome = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert [type(each) for each in outcome] == [asyncio.CancelledError, str] * 2
        await tracker

    before = descriptors()
    asyncio.run(main(), debug=debug)
    gc.collect()
    assert descriptors() == before


def test_many_trackers_at_once(socket, debug):
    pull, push = inproc(socket)

    async def main():
        trackers = [push.send(fresh(), track=True) for _ in range(50)]
        tasks = [asyncio.ensure_future(as_coroutine(tracker)) for tracker in trackers]
        await asyncio.sleep(0)
        for i, task in enumerate(tasks):
            pull.recv()
            assert await asyncio.wait_for(task, 10) == "done"
            assert not any(each.done for each in trackers[i + 1 :])

    asyncio.run(main(), debug=debug)
    gc.collect()


def test_two_loops_await_one_tracker(socket):
    """Two threads that request the waker at the same time get the same one."""
    pull, push = inproc(socket)
    start = threading.Barrier(2)
    waiting, outcome = [], []

    async def wait(tracker):
        start.wait(10)
        asyncio.get_running_loop().call_soon(waiting.append, True)
        await tracker
        return "done"

    def work(tracker):
        with contextlib.suppress(asyncio.TimeoutError):
            outcome.append(asyncio.run(asyncio.wait_for(wait(tracker), 20)))

    for i in range(10):
        tracker = push.send(b"x", track=True)
        threads = [threading.Thread(target=work, args=[tracker]) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda count=2 * i + 2: len(waiting) == count)
        pull.recv()
        for thread in threads:
            thread.join(30)
        assert outcome == ["done"] * (2 * i + 2)


@pytest.mark.skipif(not zmqcy.has("ws"), reason="this libzmq has no ws")
@pytest.mark.parametrize("how", ["bytes", "copy=False", "track", "frame", "tracked frame", "many", "through a proxy"])
def test_what_is_lent_is_not_masked_in_place(ctx, socket, how):
    """A ws client masks outgoing data; libzmq would do that in the borrowed memory."""
    data = fresh()
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("ws://127.0.0.1:*")
    push.connect(pull.last_endpoint.rstrip("/"))
    if how == "bytes":
        push.send(data)
    elif how == "copy=False":
        data = bytearray(data)
        push.send(data, copy=False)
    elif how == "track":
        push.send(data, track=True)
    elif how.endswith("frame"):
        frame = zmqcy.Frame(data, track=how == "tracked frame")
        push.send(frame, copy=False)
        assert frame.bytes == bytes(BIG)
    elif how == "many":
        push.send_many([data, data])
        assert pull.recv() == bytes(BIG)
    else:
        near, source = socket(zmqcy.PULL), socket(zmqcy.PUSH)
        near.bind("inproc://near")
        source.connect("inproc://near")
        source.send(data)
        control, steer = socket(zmqcy.PAIR), socket(zmqcy.PAIR)
        control.bind("inproc://control")
        steer.connect("inproc://control")
        thread = threading.Thread(target=zmqcy.proxy_steerable, args=(near, push, None, control))
        thread.start()
        received = pull.recv()
        steer.send(b"TERMINATE")
        thread.join()
        assert received == data == bytes(BIG)
        return
    assert pull.recv() == bytes(BIG)
    assert data == bytes(BIG)
