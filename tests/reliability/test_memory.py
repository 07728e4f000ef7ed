"""Memory: no growth, in objects and in resident pages. A message for which there is no memory is not lost."""

import gc
import sys

import pytest
from memory import limited, resident

import zmqcy

pytestmark = pytest.mark.slow

MEGABYTE = b"m" * 1_000_000


def growth(work, times, warm=20):
    """Repeat some work. Return the growth of memory after a warm-up."""
    for _ in range(warm):
        work()
    gc.collect()
    before, objects = resident(), len(gc.get_objects())
    for _ in range(times):
        work()
    gc.collect()
    return resident() - before, len(gc.get_objects()) - objects


@pytest.mark.parametrize("transport", ["inproc", "tcp"])
def test_messages_of_a_megabyte(ctx, transport):
    pull, push = ctx.socket(zmqcy.PULL, linger=0), ctx.socket(zmqcy.PUSH, linger=0)
    pull.bind("inproc://memory" if transport == "inproc" else "tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)

    def work():
        push.send(MEGABYTE)
        assert pull.recv(timeout=20_000) == MEGABYTE

    grown, objects = growth(work, 1000)
    assert grown < 8_000_000
    assert abs(objects) < 100


@pytest.mark.parametrize(
    "work",
    [
        lambda a, b: (a.send(b"x" * 20), b.recv(timeout=5000)),
        lambda a, b: (a.send_multipart([b"x", bytearray(70_000), memoryview(b"y")]), b.recv_multipart(timeout=5000)),
        lambda a, b: (a.send(b"x" * 500), b.recv_into(bytearray(500), timeout=5000)),
        lambda a, b: (a.send(b"xx"), pytest.raises(zmqcy.ZMQError, b.recv_into, bytearray(1), timeout=5000), b.recv()),
        lambda a, b: pytest.raises(zmqcy.Again, b.recv, zmqcy.DONTWAIT),
        lambda a, b: pytest.raises(TypeError, a.send_multipart, [b"x", None]),
        lambda a, b: (setattr(a, "linger", 0), a.linger, a.last_endpoint, a.getsockopt(zmqcy.ROUTING_ID)),
        lambda a, b: zmqcy.Socket.shadow(a.underlying),
        lambda a, b: a.context.socket(zmqcy.PUSH).close(0),
        lambda a, b: zmqcy.Poller().register(a),
        lambda a, b: zmqcy.Context().term(),
    ],
)
def test_nothing_leaks(ctx, work):
    a, b = ctx.socket(zmqcy.PAIR, linger=0), ctx.socket(zmqcy.PAIR, linger=0)
    a.bind("inproc://leaks")
    b.connect("inproc://leaks")
    grown, objects = growth(lambda: work(a, b), 1000, 200)
    assert grown < 4_000_000
    assert abs(objects) < 100


def test_arguments_keep_their_reference_counts(ctx):
    a, b = ctx.socket(zmqcy.PAIR, linger=0), ctx.socket(zmqcy.PAIR, linger=0)
    a.bind("inproc://references")
    b.connect("inproc://references")
    data, parts, target = b"x" * 100, [b"y" * 100, bytearray(100)], bytearray(100)
    before = [sys.getrefcount(each) for each in (data, parts, parts[0], parts[1], target)]
    for _ in range(100):
        a.send(data)
        b.recv_into(target)
        a.send_multipart(parts)
        b.recv_multipart()
        with pytest.raises(TypeError):
            a.send_multipart([*parts, None])
    assert [sys.getrefcount(each) for each in (data, parts, parts[0], parts[1], target)] == before
    parts[1].extend(b"its export is gone")


@limited
def test_a_message_without_memory_stays(run):
    done = run("""
        import resource, sys, zmqcy
        c = zmqcy.Context(linger=0)
        a, b = c.socket(zmqcy.PULL), c.socket(zmqcy.PUSH)
        a.bind("inproc://x"); b.connect("inproc://x")
        size = 50_000_000
        data = b"x" * size
        b.send(data, copy=True)
        assert a.poll(10_000)
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + size // 2, -1))
        for receive in (a.recv, a.try_recv):
            try:
                receive()
            except MemoryError as error:
                print(error)
        try:
            b.send(data, copy=True)
        except (MemoryError, zmqcy.ZMQError) as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        assert a.recv() == data
        assert a.try_recv() is None
    """)
    assert done.stdout.splitlines() == [
        "recv: no memory for 50000000 bytes; the message is kept for the next receive",
        "try_recv: no memory for 50000000 bytes; the message is kept for the next receive",
        "send size=50000000: Cannot allocate memory",
    ]


@limited
def test_a_multipart_without_memory_stays_whole(run):
    done = run("""
        import resource, zmqcy
        c = zmqcy.Context(linger=0)
        a, b = c.socket(zmqcy.PULL), c.socket(zmqcy.PUSH)
        a.bind("inproc://x"); b.connect("inproc://x")
        size = 50_000_000
        b.send_multipart([b"1", b"x" * size, b"3"])
        b.send_multipart([b"next", b"whole"])
        assert a.poll(10_000)
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + size // 2, -1))
        try:
            a.recv_multipart()
        except MemoryError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        assert a.recv_multipart() == [b"1", b"x" * size, b"3"]
        assert a.recv_multipart() == [b"next", b"whole"]
    """)
    assert done.stdout == "recv_multipart: no memory for 50000000 bytes; the message is kept for the next receive\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about the malloc of glibc")
def test_large_messages_find_their_pages_again(run):
    """malloc keeps the memory of a batch of large messages, instead of returning and allocating it each time."""
    done = run("""
        import resource, zmqcy
        c = zmqcy.Context(linger=0)
        a, b = c.socket(zmqcy.PULL), c.socket(zmqcy.PUSH)
        a.bind("tcp://127.0.0.1:*"); b.connect(a.last_endpoint)
        messages = [bytes(65_536)] * 16
        def work(times):
            for _ in range(times):
                b.send_many(messages)
                left = 16
                while left:
                    left -= len(a.recv_many(left))
        work(10)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        work(100)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """)
    assert int(done.stdout) < 1_000  # of the 25,600 pages that are written
