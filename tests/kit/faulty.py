"""Use all of zmqcy while one C function fails. test_faulty_system.py runs it with shim.c preloaded.

    faulty.py FUNCTION ERRNO

In each step the function fails at its first call, then at the second one, and so on, until the step makes fewer calls.
A step must succeed, or raise an error with that errno. In the second case it runs once more without a failure, and must
succeed. Each sent message must arrive once, in order.
"""

import asyncio
import ctypes
import gc
import sys
import time
import warnings

import zmqcy
import zmqcy.asyncio
from zmqcy.devices import Device

shim = ctypes.CDLL(None)
shim.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int]
NAME, ERRNO = sys.argv[1].encode(), int(sys.argv[2])
BIG = b"B" * 100_000  # is sent zero-copy
MOST = 60  # max calls of the function in a step
failures = raised = 0


def arm(after=0):
    shim.shim_arm(NAME, after, 1, ERRNO)


def disarm():
    shim.shim_arm(b"", 0, 0, 0)


def step(call, *arguments, **options):
    """Run a step with a failure, and again without one if it raised. Return the result."""
    global failures, raised
    try:
        arm(step.after)
        try:
            return call(*arguments, **options)
        finally:
            failures += shim.shim_failed()
            disarm()
    except (zmqcy.ZMQError, MemoryError) as error:
        assert isinstance(error, MemoryError) or error.errno == ERRNO, (call, error)
        assert str(error), call
        raised += 1
        return again(call, *arguments, **options)


def again(call, *arguments, **options):
    """Repeat a call until libzmq has closed the previous socket on its endpoint."""
    deadline = time.monotonic() + 5
    while True:
        try:
            return call(*arguments, **options)
        except zmqcy.ZMQError as error:
            if error.errno != zmqcy.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def messages(ctx):
    a, b = step(ctx.socket, zmqcy.PULL, linger=0), step(ctx.socket, zmqcy.PUSH, linger=0)
    step(a.bind, "inproc://faulty")
    step(b.connect, "inproc://faulty")
    expected, got = [], []

    def send(call, *arguments, parts):
        expected.extend(parts)
        return step(call, *arguments)

    send(b.send, b"one", parts=[[b"one"]])
    send(b.send, bytearray(b"two"), parts=[[b"two"]])
    send(b.send, BIG, parts=[[BIG]])
    send(b.send, bytearray(BIG), 0, False, parts=[[BIG]])
    send(b.send, BIG, 0, False, True, parts=[[BIG]])
    send(b.send_multipart, [b"1", BIG, b"3"], parts=[[b"1", BIG, b"3"]])
    send(b.send_string, "text", parts=[[b"text"]])
    assert step(b.try_send, b"tried")
    expected.append([b"tried"])
    frame = zmqcy.Frame(BIG)
    send(b.send, frame, parts=[[BIG]])
    got += [[step(a.recv)] for _ in range(2)]
    got.append([bytes(step(a.recv, 0, False))])
    target = bytearray(len(BIG))
    step(a.recv_into, target)
    got.append([bytes(target)])
    got.append([step(a.recv)])
    got.append(step(a.recv_multipart))
    got.append([step(a.recv_string).encode()])
    got.append(step(a.recv_multipart))
    got.append([bytes(part) for part in step(a.recv_multipart, 0, False)])
    assert got == expected, [[part[:8] for part in message] for message in got]
    many(a, b)
    step(a.poll, 0)
    step(b.poll, 0, zmqcy.POLLOUT)
    return a, b


def many(a, b):
    """Batches. An exception has the number of sent messages."""
    everything = [b"%d" % i for i in range(50)]
    left, got = everything, []
    arm(step.after)
    try:
        while left:
            try:
                sent = b.send_many(left)
            except (zmqcy.ZMQError, MemoryError) as error:
                sent = getattr(error, "sent", 0)
                disarm()
            left = left[sent:]
    finally:
        disarm()
    while len(got) < len(everything):
        got += step(a.recv_many, 20, timeout=0)
    assert got == everything, got
    b.send_multipart_many([[b"a", b"b"], [b"c"]])
    got = []
    while len(got) < 2:
        got += step(a.recv_multipart_many, 1)
    assert got == [[b"a", b"b"], [b"c"]], got
    long = [b"%d" % i for i in range(1000)]  # so many parts that the array must grow
    for receive in (a.recv_multipart, lambda: a.recv_multipart_many(1)[0], lambda: a.recv_many(1)):
        b.send_multipart(long)
        assert step(receive) == long


def options(a, ctx):
    step(a.get, zmqcy.RCVHWM)
    step(a.set, zmqcy.RCVHWM, 10)
    step(lambda: a.last_endpoint)
    step(lambda: setattr(a, "rcvtimeo", 100))
    step(ctx.get, zmqcy.MAX_SOCKETS)
    step(ctx.set, zmqcy.MAX_SOCKETS, 100)
    step(zmqcy.curve_keypair)


def endpoints(ctx):
    a = ctx.socket(zmqcy.REP, linger=0)
    with step(a.bind, "tcp://127.0.0.1:*") as bound:
        b = ctx.socket(zmqcy.REQ, linger=0)
        step(b.connect, bound.endpoint)
        step(b.disconnect, bound.endpoint)
    step(a.bind_to_random_port, "tcp://127.0.0.1")
    step(a.unbind, a.last_endpoint)
    return a, b


def polled(a, b):
    poller = step(zmqcy.Poller)
    poller.register(a, zmqcy.POLLIN)
    poller.register(0, 0)
    b.send(b"ready")
    assert step(poller.poll, 1000) == [(a, zmqcy.POLLIN)]
    poller.unregister(a)
    many_sockets = [a.context.socket(zmqcy.PAIR, linger=0) for _ in range(40)]  # enough for an epoll set
    for each in many_sockets:
        step(poller.register, each, zmqcy.POLLIN)
    assert step(poller.poll, 0) == []
    step(poller.register, a, zmqcy.POLLIN)
    assert step(poller.poll, 1000) == [(a, zmqcy.POLLIN)]
    poller.unregister(a)
    again(many_sockets[0].bind, "inproc://in-the-set")
    with a.context.socket(zmqcy.PAIR, linger=0) as other:
        other.connect("inproc://in-the-set")
        assert step(poller.poll, 0) == []
        other.send(b"1")
        assert step(poller.poll, 1000) == [(many_sockets[0], zmqcy.POLLIN)]
    for each in many_sockets:
        step(poller.unregister, each)
    for each in many_sockets:
        each.close()
    assert step(a.recv) == b"ready"
    assert step(zmqcy.select, [a], [], [], 0) == ([], [], [])


def watched(a):
    watch = step(a.watch)
    watch.close()
    step(a.get_monitor_socket)
    a.disable_monitor()


def drained(ctx, filter):
    """A device in this thread, which forwards the queued messages, first one that was held."""
    names = ("front", "back", "capture", "control")
    types = (zmqcy.PULL, zmqcy.PUSH, zmqcy.PUSH, zmqcy.PULL)
    sockets = [ctx.socket(kind, linger=0) for kind in types]
    peers = [ctx.socket(zmqcy.PULL if kind == zmqcy.PUSH else zmqcy.PUSH, linger=0) for kind in types]
    for name, one, other in zip(names, sockets, peers, strict=True):
        again(one.bind, f"inproc://drained-{name}")
        other.connect(f"inproc://drained-{name}")
    push, pull, seen, control = peers
    parts = [b"%d" % i for i in range(20)]
    messages = [parts, [b"x"], [b"y", BIG, b"z"], *([b"%d" % i] for i in range(30)), parts]
    for message in messages:
        push.send_multipart(message)
    try:
        raise AssertionError(sockets[0].recv_multipart_into([bytearray(1)]))
    except zmqcy.ZMQError as error:
        assert error.errno == zmqcy.EMSGSIZE, error

    def drain():
        control.send(b"DRAIN")
        zmqcy.proxy_steerable(*sockets, filter=filter)

    step(drain)
    for end in (pull, seen):
        assert [end.recv_multipart(timeout=1000) for _ in messages] == messages
    for each in (*sockets, *peers):
        each.close()


def thread_safe(ctx):
    """Thread-safe sockets (drafts), for which each waiting thread has its own file descriptor."""
    server, client = step(ctx.socket, zmqcy.SERVER, linger=0), ctx.socket(zmqcy.CLIENT, linger=0)
    server.bind("inproc://thread-safe")
    client.connect("inproc://thread-safe")

    def nothing():
        try:
            raise AssertionError(server.recv(timeout=2))
        except zmqcy.Again:
            pass

    step(nothing)
    step(server.poll, 2)
    poller = zmqcy.Poller()
    step(poller.register, server, zmqcy.POLLIN)
    client.send(b"1")
    assert step(poller.poll, 1000) == [(server, zmqcy.POLLIN)]
    assert step(server.recv) == b"1"
    for each in (server, client):
        each.close()


def forwarded(ctx):
    """A device in a thread. A failure in its loop ends it, and `join` raises it."""
    options = {"front_options": {"linger": 0}, "back_options": {"linger": 0}}
    device = Device(zmqcy.STREAMER, "inproc://front", "inproc://back", context=ctx, **options)
    step(device.start)
    push, pull = ctx.socket(zmqcy.PUSH, linger=0), ctx.socket(zmqcy.PULL, linger=0, rcvtimeo=1000)
    push.connect("inproc://front")
    pull.connect("inproc://back")
    arm(step.after)
    try:
        push.send_multipart([b"x", BIG], timeout=1000)
        assert pull.recv_multipart() == [b"x", BIG]
    except (zmqcy.ZMQError, MemoryError) as error:
        assert isinstance(error, (zmqcy.Again, MemoryError)) or error.errno == ERRNO, error
    finally:
        disarm()
    device.stop()
    try:
        device.join(5000)
    except (zmqcy.ZMQError, MemoryError) as error:
        assert isinstance(error, MemoryError) or error.errno == ERRNO, error
    push.close()
    pull.close()


async def coroutines():
    ctx = zmqcy.asyncio.Context()
    a, b = ctx.socket(zmqcy.PULL, linger=0), ctx.socket(zmqcy.PUSH, linger=0)
    a.bind("inproc://asyncio")
    b.connect("inproc://asyncio")

    async def attempt(call, *arguments):
        global failures, raised
        arm(step.after)
        try:
            return await asyncio.wait_for(call(*arguments), 10)
        except (zmqcy.ZMQError, MemoryError) as error:
            assert isinstance(error, MemoryError) or error.errno == ERRNO, error
            raised += 1
        finally:
            failures += shim.shim_failed()
            disarm()
        return await asyncio.wait_for(call(*arguments), 10)

    await attempt(b.send, b"1")
    await attempt(b.send_multipart, [b"2", BIG])
    assert await attempt(a.recv) == b"1"
    assert await attempt(a.recv_multipart) == [b"2", BIG]
    waiting = asyncio.ensure_future(attempt(a.recv))
    await asyncio.sleep(0)
    await b.send(b"3")
    assert await waiting == b"3"
    a.close()
    b.close()
    ctx.term()


def everything():
    ctx = step(zmqcy.Context)
    a, b = messages(ctx)
    options(a, ctx)
    polled(a, b)
    watched(a)
    c, d = endpoints(ctx)
    for socket in (a, b, c, d):
        step(socket.close)
    drained(ctx, None)
    drained(ctx, lambda direction, messages: messages)
    if zmqcy.has("draft"):
        thread_safe(ctx)
    forwarded(ctx)
    step(ctx.term)
    asyncio.run(coroutines())


if __name__ == "__main__":
    warnings.simplefilter("error")
    for after in range(MOST):
        step.after = after
        before = failures
        everything()
        gc.collect()
        if failures == before:
            break
    print(failures, raised)
