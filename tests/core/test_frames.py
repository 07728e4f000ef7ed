"""Frames: zero-copy messages in libzmq's memory; and receiving into buffers."""

import array
import copy
import ctypes
import gc
import itertools
import pickle
import re
import socket as system
import struct
import sys
import threading
import time

import pytest
from memory import resident

import zmqcy

VSM = 33  # up to this size libzmq stores a message in its own struct, and so in the frame
BIG = 100_000
SIZES = [0, 1, VSM, VSM + 1, 8193, 65536, BIG]


@pytest.fixture
def tcp(socket):
    """A PULL and a PUSH that are connected over tcp."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)
    return pull, push


@pytest.fixture
def inproc(socket):
    """A PULL and a PUSH that are connected over inproc."""
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("inproc://frames")
    push.connect("inproc://frames")
    return pull, push


def frame_of(pull, push, data):
    push.send(data)
    return pull.recv(copy=False)


def wait_for_drop(data):
    """Wait until the caller has the only reference to zero-copy bytes."""
    deadline = time.monotonic() + 10
    while sys.getrefcount(data) > 3:
        assert time.monotonic() < deadline
        time.sleep(0)  # releases the GIL, after which the main thread makes pending calls


# ---- buffer protocol


def test_a_frame_is_a_buffer(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    for size in SIZES:
        check_as_buffer(pull, push, size)


def check_as_buffer(pull, push, size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    frame = frame_of(pull, push, data)
    assert type(frame) is zmqcy.Frame
    assert len(frame) == size
    assert bytes(frame) == frame.bytes == bytes(frame.buffer) == bytearray(frame) == data
    assert type(frame.bytes) is bytes
    assert type(frame.buffer) is memoryview
    assert frame.more is False
    assert frame.tracker is None
    assert memoryview(frame) == data
    view = memoryview(frame)
    assert (view.format, view.itemsize, view.ndim, view.nbytes, view.contiguous) == ("B", 1, 1, size, True)
    assert b"".join([frame, frame]) == data * 2
    assert view.obj is frame
    assert repr(frame) == f"<Frame of {size} bytes>"


def test_who_takes_buffers_takes_frames(tcp):
    frame = frame_of(*tcp, struct.pack("<iq", -7, 1 << 40) + b"name=value;")
    assert struct.unpack_from("<iq", frame) == (-7, 1 << 40)
    assert re.search(rb"(\w+)=(\w+);", frame).groups() == (b"name", b"value")
    assert int.from_bytes(frame.buffer[:4], "little", signed=True) == -7
    numbers = array.array("B")
    numbers.frombytes(frame)
    assert numbers.tobytes() == frame.bytes
    a, b = system.socketpair()
    with a, b:
        a.sendall(frame)
        assert b.recv(100) == frame.bytes
        a.sendmsg([frame, b"x"])
        assert b.recv(100) == frame.bytes + b"x"


def test_parts_as_frames(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    parts = [b"", b"x" * 20, b"y" * BIG, b"end"]
    push.send_multipart(parts)
    frames = pull.recv_multipart(copy=False)
    assert [type(frame) for frame in frames] == [zmqcy.Frame] * 4
    assert [frame.bytes for frame in frames] == parts
    assert [frame.more for frame in frames] == [True, True, True, False]
    assert repr(frames[1]) == "<Frame of 20 bytes, more>"
    push.send_multipart(parts)
    got = [pull.recv(copy=False)]
    while got[-1].more:
        got.append(pull.recv(copy=False))
    assert [frame.bytes for frame in got] == parts


@pytest.mark.parametrize("count", [255, 256, 257, 1000])
def test_many_parts_as_frames(near, count):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    parts = [b"%d" % i * (i % 50) for i in range(count)]
    push.send_multipart(parts)
    push.send(b"next")
    assert [frame.bytes for frame in pull.recv_multipart(copy=False)] == parts
    assert pull.recv(copy=False).bytes == b"next"


@pytest.mark.parametrize("more", [1, 8, 10_001, 900_000])
@pytest.mark.parametrize("received", [8192, None])
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_messages_larger_than_the_buffer_are_aligned(ctx, pair, received, more):
    if not ctx.tuned:
        if received:
            pytest.skip("this libzmq has no in_batch_size")
        received = 8192
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"in_batch_size": received} if ctx.tuned and received else ())
    size = (received or pull.in_batch_size) + more
    for before in (0, 1, 5, 100):
        push.send(b"x" * before)
        push.send(bytes(size))
        pull.recv()
        frame = pull.recv(copy=False)
        assert ctypes.addressof(ctypes.c_char.from_buffer(frame)) % 8 == 0


def test_numpy(tcp):
    numpy = pytest.importorskip("numpy")
    frame = frame_of(*tcp, numpy.arange(20_000, dtype="<f8"))
    numbers = numpy.frombuffer(frame, dtype="<f8")
    assert numbers.sum() == 199_990_000
    assert numbers.ctypes.data % 8 == 0
    assert numbers.flags.writeable
    numbers[0] = 1
    assert struct.unpack_from("<d", frame) == (1.0,)
    with pytest.raises(BufferError):
        frame.release()
    del frame
    gc.collect()
    assert numbers[4999] == 4999


def test_a_frame_cannot_be_pickled(tcp):
    for frame in (frame_of(*tcp, b"x"), zmqcy.Frame(b"x")):
        for work in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled"):
                work(frame)


def test_a_copy_of_a_frame_has_its_content(tcp):
    for size in (1, BIG):
        frame = frame_of(*tcp, b"x" * size)
        twin = copy.copy(frame)
        del frame
        assert type(twin) is zmqcy.Frame
        assert bytes(twin) == b"x" * size


# ---- properties


def test_properties_over_a_connection(tcp):
    pull, push = tcp
    frame = frame_of(pull, push, b"x")
    assert frame.get("Peer-Address").startswith("127.0.0.1")
    assert frame.get("Socket-Type") == frame["Socket-Type"] == "PUSH"
    assert frame.get(1) == 0
    push.send_multipart([b"a", b"b"])
    first, second = pull.recv_multipart(copy=False)
    assert (first.get(1), second.get(1)) == (1, 0)
    assert first.get("Socket-Type") == second.get("Socket-Type") == "PUSH"


def test_the_routing_id_of_the_peer(socket):
    router, dealer = socket(zmqcy.ROUTER), socket(zmqcy.DEALER, routing_id=b"me")
    router.bind("tcp://127.0.0.1:*")
    dealer.connect(router.last_endpoint)
    dealer.send(b"x")
    assert router.recv_multipart(copy=False)[1].get("Identity") == "me"


@pytest.mark.parametrize("name", ["Unknown", "", 4711, -1])
def test_properties_that_are_not_there(tcp, name):
    for frame in (frame_of(*tcp, b"x"), zmqcy.Frame(b"x")):
        with pytest.raises(zmqcy.InvalidArgument, match="get "):
            frame.get(name)


def test_inproc_has_no_connection(inproc):
    with pytest.raises(zmqcy.InvalidArgument, match="get 'Peer-Address'"):
        frame_of(*inproc, b"x").get("Peer-Address")


@pytest.mark.parametrize(("name", "error"), [(None, TypeError), (b"Socket-Type", TypeError), ("a\0b", ValueError)])
def test_what_is_no_name_of_a_property(tcp, name, error):
    with pytest.raises(error, match="get: "):
        frame_of(*tcp, b"x").get(name)


@pytest.mark.skipif(zmqcy.has("draft"), reason="this libzmq has drafts")
@pytest.mark.parametrize("name", ["group", "routing_id"])
def test_drafts(tcp, name):
    for frame in (frame_of(*tcp, b"x"), zmqcy.Frame(b"x")):
        with pytest.raises(zmqcy.NotSupported, match=f"{name}: "):
            getattr(frame, name)


# ---- release

USES = {
    "bytes": lambda frame: frame.bytes,
    "buffer": lambda frame: frame.buffer,
    "more": lambda frame: frame.more,
    "group": lambda frame: frame.group,
    "routing_id": lambda frame: frame.routing_id,
    "get": lambda frame: frame.get("Socket-Type"),
    "get number": lambda frame: frame.get(1),
    "len": len,
    "bytes()": bytes,
    "memoryview": memoryview,
    "with": lambda frame: frame.__enter__(),
    "frame": zmqcy.Frame,
}


@pytest.mark.parametrize("use", USES)
def test_a_released_frame(tcp, use):
    for frame in (*(frame_of(*tcp, bytes(size)) for size in (1, BIG)), zmqcy.Frame(b"x")):
        frame.release()
        frame.release()
        with pytest.raises(ValueError, match="the Frame was released"):
            USES[use](frame)
        assert repr(frame) == "<Frame, released>"
        frame.release()


@pytest.mark.parametrize(
    "send",
    [
        lambda s, f: s.send(f),
        lambda s, f: s.try_send(f),
        lambda s, f: s.send(f, copy=True, track=True),
        lambda s, f: s.send_multipart([b"a", f]),
        lambda s, f: s.send_many([b"a", f]),
        lambda s, f: s.send_multipart_many([[b"a"], [f]]),
    ],
)
def test_a_released_frame_is_not_sent(near, send):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    frame = zmqcy.Frame(b"x")
    frame.release()
    with pytest.raises(ValueError, match="the Frame was released"):
        send(push, frame)
    push.send(b"next")
    assert pull.recv() == b"next"


def test_views_keep_a_frame(tcp):
    frame = frame_of(*tcp, b"12345")
    first, second = memoryview(frame), frame.buffer[1:]
    with pytest.raises(BufferError, match="release: "):
        frame.release()
    first.release()
    with pytest.raises(BufferError):
        frame.release()
    assert second == b"2345"
    second.release()
    frame.release()


def test_with(tcp):
    with frame_of(*tcp, b"12345") as frame:
        assert frame.bytes == b"12345"
    assert repr(frame) == "<Frame, released>"
    with pytest.raises(BufferError), frame_of(*tcp, b"12345") as frame:
        view = frame.buffer
    assert view == b"12345"


def test_a_view_outlives_its_frame(tcp):
    view = frame_of(*tcp, b"z" * BIG).buffer
    gc.collect()
    assert view == b"z" * BIG


@pytest.mark.parametrize("size", [1, BIG])
def test_a_frame_outlives_its_socket_and_context(size):
    for endpoint in ("inproc://outlived", "tcp://127.0.0.1:*"):
        context = zmqcy.Context()
        pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
        pull.bind(endpoint)
        push.connect(pull.last_endpoint)
        frame = frame_of(pull, push, b"o" * size)
        pull.close()
        push.close()
        context.term(timeout=10_000)
        del pull, push, context
        gc.collect()
        assert frame.bytes == b"o" * size
        assert frame.more is False
        if endpoint.startswith("tcp"):
            assert frame.get("Socket-Type") == "PUSH"
            memoryview(frame)[0] = 1
        with zmqcy.Context() as other, other.socket(zmqcy.PAIR) as a, other.socket(zmqcy.PAIR) as b:
            a.bind("inproc://x")
            b.connect("inproc://x")
            a.send(frame)
            assert b.recv() == frame.bytes


def test_frames_are_freed_by_reference_count_alone(inproc):
    pull, push = inproc
    gc.collect()
    gc.disable()
    try:
        for receive in (lambda: pull.recv(copy=False), lambda: pull.recv_multipart(copy=False)):
            data = bytes(bytearray(BIG))
            push.send(data)
            held = receive()
            assert sys.getrefcount(data) == 3
            del held
            wait_for_drop(data)
        data = bytes(bytearray(BIG))
        frame = zmqcy.Frame(data)
        assert sys.getrefcount(data) == 3
        push.send(frame)
        del frame
        assert sys.getrefcount(data) == 3
        pull.recv()
        wait_for_drop(data)
    finally:
        gc.enable()
    assert not gc.is_tracked(zmqcy.Frame())


def test_memory_is_flat(tcp):
    pull, push = tcp

    def work(count):
        for _ in range(count):
            push.send_multipart([bytes(BIG), b"x" * 50])
            first, second = pull.recv_multipart(copy=False)
            push.send(first)
            with pull.recv(copy=False) as back:
                assert len(back) == BIG
            assert len(zmqcy.Frame(second, copy=True)) == 50

    work(100)
    before = resident()
    work(1000)
    assert resident() - before < 8_000_000


# ---- writable frames


@pytest.mark.parametrize("size", [1, VSM, VSM + 1, 8193, BIG])
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_what_came_over_a_connection_is_writable(pair, size):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send_many([b"a" * size, b"b" * size, b"c" * size])
    frames = [pull.recv(copy=False) for _ in range(3)]
    view = memoryview(frames[1])
    assert not view.readonly
    view[:] = b"w" * size
    assert [frame.bytes for frame in frames] == [b"a" * size, b"w" * size, b"c" * size]
    ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(frames[1])), 0x21, size)
    assert frames[1].bytes == b"!" * size


@pytest.mark.parametrize("size", [VSM + 1, BIG])
@pytest.mark.parametrize("how", [{}, {"copy": False}, {"copy": True}, {"track": True}])
def test_what_came_over_inproc_is_not(inproc, size, how):
    pull, push = inproc
    for data in (b"s" * size, bytearray(b"s" * size)):
        push.send(data, **how)
        push.send_multipart([data, data], **how)
        for frame in (pull.recv(copy=False), *pull.recv_multipart(copy=False)):
            view = memoryview(frame)
            assert view.readonly
            with pytest.raises(TypeError):
                view[0] = 1
            with pytest.raises(TypeError):
                ctypes.c_char.from_buffer(frame)
            with pytest.raises(BufferError):
                pull.recv_into(frame)
        assert data == b"s" * size


@pytest.mark.parametrize("size", [1, VSM])
@pytest.mark.parametrize("how", [{}, {"copy": False}, {"copy": True}, {"track": True}])
def test_no_receiver_changes_short_bytes_of_its_sender(inproc, size, how):
    """The frame may be writable if it contains the data itself."""
    pull, push = inproc
    push.copy_threshold = 0
    data = bytes(bytearray(b"s" * size))
    push.send(data, **how)
    push.send(zmqcy.Frame(data, copy=False))
    push.send_multipart([data, data], **how)
    for frame in (pull.recv(copy=False), pull.recv(copy=False), *pull.recv_multipart(copy=False)):
        if not memoryview(frame).readonly:
            memoryview(frame)[0] = 1
    assert data == b"s" * size


def test_a_frame_of_the_user_s_bytes_is_read_only():
    for size in (VSM + 1, BIG):
        data = b"u" * size
        for options in ({}, {"copy": True}, {"copy": False}, {"track": True}):
            assert memoryview(zmqcy.Frame(data, **options)).readonly
    data = bytes(bytearray(b"123"))
    assert memoryview(zmqcy.Frame(data, copy=False)).readonly


@pytest.mark.parametrize("size", [VSM + 1, BIG])
@pytest.mark.parametrize(
    "send",
    [
        lambda s, f: s.send(f),
        lambda s, f: s.try_send(f),
        lambda s, f: s.send(f, copy=False),
        lambda s, f: s.send_multipart([f]),
        lambda s, f: s.send_many([f]),
        lambda s, f: s.send_multipart_many([[f]]),
        lambda s, f: s.send(f, track=True),
        lambda s, f: s.send_multipart([f], track=True),
    ],
)
def test_a_frame_that_was_sent_on_is_read_only(tcp, socket, send, size):
    frame = frame_of(*tcp, b"f" * size)
    assert not memoryview(frame).readonly
    a, b = socket(zmqcy.PAIR), socket(zmqcy.PAIR)
    a.bind("inproc://on")
    b.connect("inproc://on")
    send(a, frame)
    assert memoryview(frame).readonly
    other = b.recv(copy=False)
    assert memoryview(other).readonly
    assert other.bytes == frame.bytes == b"f" * size


@pytest.mark.parametrize("size", [VSM, BIG])
@pytest.mark.parametrize(
    "send",
    [
        lambda s, f: s.send(f),
        lambda s, f: s.try_send(f),
        lambda s, f: s.send(f, copy=True),
        lambda s, f: s.send_multipart([f]),
        lambda s, f: s.send_many([f]),
        lambda s, f: s.send(f, track=True),
        lambda s, f: s.send_multipart([f], track=True),
    ],
)
def test_a_frame_with_a_writable_view_is_copied(tcp, socket, send, size):
    frame = frame_of(*tcp, b"f" * size)
    view = memoryview(frame)
    assert not view.readonly
    a, b = socket(zmqcy.PAIR), socket(zmqcy.PAIR)
    a.bind("inproc://view")
    b.connect("inproc://view")
    send(a, frame)
    view[:] = b"w" * size
    assert b.recv() == b"f" * size
    assert frame.bytes == b"w" * size


def test_the_view_of_a_frame_as_a_target(tcp):
    pull, push = tcp
    frame = frame_of(pull, push, b"f" * 100)
    push.send(b"into the frame")
    assert pull.recv_into(frame) == 14
    assert frame.bytes == b"into the frame" + b"f" * 86


# ---- frames that users create and send


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data), zmqcy.Frame])
@pytest.mark.parametrize("options", [{}, {"copy": True}, {"copy": False}, {"track": True}])
def test_a_frame_is_made_of_any_buffer(tcp, kind, options):
    for size in SIZES:
        check_a_frame_of(*tcp, size, kind, options)


def check_a_frame_of(pull, push, size, kind, options):
    data = kind(b"d" * size)
    frame = zmqcy.Frame(data, **options)
    assert (frame.tracker is not None) == ("track" in options)
    assert (len(frame), frame.bytes, frame.more) == (size, b"d" * size, False)
    push.send(frame)
    push.send_multipart([frame, b"x", frame])
    push.send_many([frame, frame])
    push.send_multipart_many([[frame], [b"", frame]])
    expected = [b"d" * size]
    assert [pull.recv_multipart() for _ in range(6)] == [
        expected, [*expected, b"x", *expected], expected, expected, expected, [b"", *expected],
    ]  # fmt: skip
    assert frame.bytes == b"d" * size


@pytest.mark.parametrize(("wrong", "error"), [(None, TypeError), ("x", TypeError), (5, TypeError), ([b"x"], TypeError)])
def test_what_is_no_frame(wrong, error):
    with pytest.raises(error, match="Frame: "):
        zmqcy.Frame(wrong)
    with pytest.raises(BufferError, match="Frame: "):
        zmqcy.Frame(memoryview(b"abcd")[::2])


def test_a_frame_is_initialised_once():
    frame = zmqcy.Frame(b"x")
    with pytest.raises(RuntimeError, match="already initialised"):
        frame.__init__(b"y")
    assert frame.bytes == b"x"
    assert zmqcy.Frame().bytes == b""


def test_a_frame_of_a_lent_bytearray():
    data = bytearray(b"1234")
    frame = zmqcy.Frame(data, copy=False)
    with pytest.raises(BufferError):
        data.append(1)
    data[0] = ord("x")
    assert frame.bytes == b"x234"
    frame.release()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            data.append(1)
            break
        except BufferError:
            time.sleep(0)  # releases the GIL, after which the main thread makes pending calls
    assert data == b"x234\x01"


def test_a_frame_goes_to_several_sockets(socket):
    frame = zmqcy.Frame(b"s" * BIG, track=True)
    pairs = []
    for i, endpoint in enumerate(["inproc://a", "inproc://b", "tcp://127.0.0.1:*", "tcp://127.0.0.1:*"]):
        pairs.append((socket(zmqcy.PULL), socket(zmqcy.PUSH)))
        pairs[i][0].bind(endpoint)
        pairs[i][1].connect(pairs[i][0].last_endpoint)
        pairs[i][1].send(frame)
        pairs[i][1].send(frame)
    tracker = frame.tracker
    del frame
    for pull, _ in reversed(pairs):
        assert not tracker.done
        assert [pull.recv(), pull.recv()] == [b"s" * BIG] * 2
    tracker.wait(10)
    assert tracker.done


def test_a_frame_is_sent_on_with_its_own_more(inproc):
    pull, push = inproc
    push.send_multipart([b"a" * 50, b"b" * 50])
    first, second = pull.recv_multipart(copy=False)
    push.send(first)
    push.send(second, zmqcy.SNDMORE)
    push.send(first)
    assert pull.recv_multipart() == [b"a" * 50]
    assert pull.recv_multipart() == [b"b" * 50, b"a" * 50]
    assert (first.more, second.more) == (True, False)


def test_a_tracked_frame(inproc):
    pull, push = inproc
    frame = zmqcy.Frame(b"x", track=True)
    tracker = frame.tracker
    push.send(frame)
    pull.recv()
    assert not tracker.done
    frame.release()
    assert tracker.done
    assert frame.tracker is tracker


def test_a_frame_that_is_lent_with_a_tracker_cannot_be_released_meanwhile(inproc):
    pull, push = inproc
    frame = zmqcy.Frame(b"x" * 100)
    tracker = push.send(frame, track=True)
    assert not tracker.done
    del frame
    gc.collect()
    assert pull.recv() == b"x" * 100
    assert tracker.done


def test_frames_across_threads(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 0}, {"sndhwm": 0})
    total = 400
    push.send_many([b"%d." % i * 3000 for i in range(total)])
    frames = [pull.recv(copy=False) for _ in range(total)]
    got = []

    def work(mine):
        for _ in range(5):
            got.extend(frame.bytes for frame in mine)
        for frame in mine:
            frame.release()

    threads = [threading.Thread(target=work, args=[frames[i::4]]) for i in range(4)]
    for thread in threads:
        thread.start()
    frames = None
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(b"%d." % i * 3000 for i in range(total) for _ in range(5))


def test_a_frame_is_sent_by_many_threads(socket):
    frame = zmqcy.Frame(b"t" * BIG)
    pull = socket(zmqcy.PULL, rcvhwm=0)
    pull.bind("inproc://threads")

    def work():
        with pull.context.socket(zmqcy.PUSH, sndhwm=0) as push:
            push.connect("inproc://threads")
            for _ in range(100):
                push.send(frame)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pull.recv() for _ in range(400)] == [b"t" * BIG] * 400


@pytest.mark.parametrize("use", ["frame.bytes", "other.send(frame)"])
def test_a_frame_that_another_thread_releases_while_it_is_copied(run, use):
    """The copy is made without the GIL, and the message stays valid meanwhile."""
    done = run(f"""
        import threading, zmqcy
        zmqcy.exit_linger = 0
        c = zmqcy.Context()
        a, b, other = c.socket(zmqcy.PULL), c.socket(zmqcy.PUSH), c.socket(zmqcy.PUSH)
        a.bind("tcp://127.0.0.1:*"); b.connect(a.last_endpoint); other.connect("tcp://127.0.0.1:1")
        for i in range(5):
            b.send(bytes(20_000_000))
            frame = a.recv(copy=False)
            view = memoryview(frame)
            started = threading.Event()
            def work():
                started.set()
                try:
                    {use}
                except ValueError:
                    pass  # another thread has released the frame
            thread = threading.Thread(target=work)
            thread.start()
            started.wait()
            view.release()
            while thread.is_alive():
                try:
                    frame.release()
                    break
                except BufferError:
                    pass
            thread.join()
        print("end")
    """, check=False, timeout=120)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


# ---- receiving into buffers


def test_recv_into_fits(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    for size, spare in itertools.product([0, 1, VSM, VSM + 1, 65536, BIG], [0, 1, 100]):
        room = size + spare
        push.send(b"i" * size)
        buffer = bytearray(b"." * room)
        assert pull.recv_into(buffer) == size
        assert buffer == b"i" * size + b"." * (room - size)


@pytest.mark.parametrize("size", [1, VSM + 1, BIG])
def test_recv_into_does_not_fit(near, size):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"i" * size)
    push.send(b"next")
    buffer = bytearray(b"." * (size - 1))
    for _ in range(3):
        with pytest.raises(
            zmqcy.ZMQError, match=f"recv_into a message of {size} bytes into a buffer of {size - 1}"
        ) as e:
            pull.recv_into(buffer)
        assert e.value.errno == zmqcy.EMSGSIZE
        assert buffer == b"." * (size - 1)
    frame = pull.recv(copy=False)
    assert frame.bytes == b"i" * size
    assert pull.recv() == b"next"


@pytest.mark.parametrize("sizes", [[5], [0], [1, 0, BIG], [3, 33, 34, 70_000]])
@pytest.mark.parametrize(("spare", "kind"), [(0, list), (1, tuple), (1, iter)])
def test_recv_multipart_into_fits(near, sizes, spare, kind):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    parts = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
    push.send_multipart(parts)
    buffers = [bytearray(b"." * (size + spare)) for size in sizes] + [bytearray(b"unused")] * spare
    assert pull.recv_multipart_into(kind(buffers)) == sizes
    assert buffers == [part + b"." * spare for part in parts] + [b"unused"] * spare
    for buffer in buffers:
        buffer.append(1)


def test_recv_multipart_into_buffers_of_other_kinds(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    numbers, text, slots = array.array("i", [0] * 4), ctypes.create_string_buffer(10), memoryview(bytearray(10))[2:7]
    push.send_multipart([struct.pack("2i", 1, 2), b"text", b"slots"])
    assert pull.recv_multipart_into([numbers, text, slots]) == [8, 4, 5]
    assert (numbers.tolist(), text.value, slots.tobytes()) == ([1, 2, 0, 0], b"text", b"slots")


@pytest.mark.parametrize(
    ("rooms", "detail"),
    [
        ([1, 2], "a message of 3 parts into 2 buffers"),
        ([], "a message of 3 parts into 0 buffers"),
        ([0, 2, BIG], "part 0 of 1 bytes into a buffer of 0"),
        ([1, 1, BIG], "part 1 of 2 bytes into a buffer of 1"),
        ([1, 2, BIG - 1, 5], f"part 2 of {BIG} bytes into a buffer of {BIG - 1}"),
    ],
)
def test_recv_multipart_into_does_not_fit(near, rooms, detail):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    parts = [b"1", b"22", b"3" * BIG]
    for receive in (
        lambda: pull.recv_multipart(),
        lambda: [frame.bytes for frame in pull.recv_multipart(copy=False)],
        lambda: pull.recv_multipart_many(1)[0],
        lambda: pull.recv_many(1),
        lambda: [pull.recv() for _ in range(3)],
        lambda: [bytes(pull.recv(copy=False)) for _ in range(3)],
    ):
        push.send_multipart(parts)
        push.send(b"next")
        for _ in range(2):
            buffers = [bytearray(b"." * room) for room in rooms]
            with pytest.raises(zmqcy.ZMQError, match=f"recv_multipart_into {detail}") as caught:
                pull.recv_multipart_into(buffers)
            assert caught.value.errno == zmqcy.EMSGSIZE
            assert buffers == [b"." * room for room in rooms]
        assert pull.poll(0) == zmqcy.POLLIN
        assert receive() == parts
        assert pull.recv() == b"next"


def test_rcvmore_of_a_message_that_did_not_fit(pair):
    """Held parts store whether another part follows, because libzmq has already delivered the last one."""
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send_multipart([b"a", b"b", b"c"])
    with pytest.raises(zmqcy.ZMQError):
        pull.recv_multipart_into([bytearray(1)])
    got = [(pull.recv(), pull.rcvmore)]
    got += [(pull.recv(), pull.getsockopt(zmqcy.RCVMORE) != 0) for _ in range(2)]
    assert got == [(b"a", True), (b"b", True), (b"c", False)]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (b"read only", BufferError),
        (memoryview(b"read only"), BufferError),
        (memoryview(bytearray(10))[::2], BufferError),
        (zmqcy.Frame(b"r" * 100), BufferError),
        (None, TypeError),
        ("text", TypeError),
        (10, TypeError),
        ([], TypeError),
    ],
)
def test_what_cannot_be_received_into(near, wrong, error):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    push.send_multipart([b"a", b"b"])
    with pytest.raises(error, match="recv_into: "):
        pull.recv_into(wrong)
    buffer = bytearray(b"..")
    for buffers, place in ([buffer, wrong], 1), ([wrong, buffer], 0), ([buffer, buffer, wrong], 2):
        with pytest.raises(error, match=f"recv_multipart_into: buffer {place}: "):
            pull.recv_multipart_into(buffers)
    assert buffer == b".."
    assert pull.recv_multipart() == [b"a", b"b"]


@pytest.mark.parametrize("wrong", [bytearray(10), None, 5, "text"])
def test_buffers_that_are_no_list(near, wrong):
    pull, push = near(zmqcy.PULL, zmqcy.PUSH)
    push.send(b"kept")
    with pytest.raises(TypeError, match="recv_multipart_into: buffers must be "):
        pull.recv_multipart_into(wrong)
    assert pull.recv() == b"kept"


def test_recv_multipart_into_waits_or_not(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    buffers = [bytearray(5)]
    with pytest.raises(zmqcy.Again):
        pull.recv_multipart_into(buffers, flags=zmqcy.DONTWAIT)
    with pytest.raises(zmqcy.TimedOut):
        pull.recv_multipart_into(buffers, timeout=5)
    sizes = []
    thread = threading.Thread(target=lambda: sizes.extend(pull.recv_multipart_into(buffers)))
    thread.start()
    push.send(b"late")
    thread.join()
    assert (sizes, buffers) == ([4], [b"late\0"])
    pull.close()
    with pytest.raises(zmqcy.ZMQError, match="recv_multipart_into .*the socket is closed"):
        pull.recv_multipart_into(buffers)


def test_recv_multipart_into_in_the_middle_of_a_message(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH)
    push.send_multipart([b"a", b"bb", b"ccc"])
    assert pull.recv() == b"a"
    with pytest.raises(zmqcy.ZMQError):
        pull.recv_into(bytearray(1))
    with pytest.raises(zmqcy.ZMQError):
        pull.recv_multipart_into([bytearray(2), bytearray(2)])
    buffers = [bytearray(2), bytearray(3)]
    assert pull.recv_multipart_into(buffers) == [2, 3]
    assert buffers == [b"bb", b"ccc"]


class Kind(zmqcy.Frame):
    """A subclass of the user."""

    __slots__ = ("note",)


def test_a_frame_of_a_derived_class_is_sent_as_one(pair):
    one, two = pair(zmqcy.PAIR, zmqcy.PAIR)
    sends = (
        one.send, one.try_send, lambda data: one.send(data, copy=True), lambda data: one.send(data, copy=False),
        lambda data: one.send_multipart([data]), lambda data: one.send_many([data]), lambda data: one.send(Kind(data)),
    )  # fmt: skip
    for size, send in itertools.product([0, 1, VSM, VSM + 1, 5000, BIG], sends):
        data = b"x" * size
        send(Kind(data))
        assert two.recv() == data


async def test_a_task_sends_a_frame_of_a_derived_class(flavour, socket):
    one, two = socket(zmqcy.PAIR), socket(zmqcy.PAIR)
    one.bind("inproc://derived")
    two.connect("inproc://derived")
    for size in (0, 1, 33, 34, 5000):
        await one.send(Kind(b"x" * size))
        assert await two.recv() == b"x" * size
