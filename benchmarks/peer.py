"""The works of the benchmarks in Python. baseline.c describes each work and its arguments.

    peer.py LIBRARY WORK WHERE [KEY=VALUE ...]

LIBRARY is zmqcy, zmq (pyzmq), zmq.green, pyomq, or one of others.py: pynng, Pipe, streams. With loop=asyncio or
loop=uvloop the work is one of tasks.py. With untuned=1 zmqcy does not change libzmq's batch sizes. In addition to the
modes and works of baseline.c there are:

    mode batch        `batch` messages per call
    mode blocking     zmqcy with spin = 0
    mode hook, filter    a streamer with a C hook, or with a Python filter
    inline            send and receive in one thread
    service           devices of zmqcy.devices
    stream_push, stream_pull, stream_rep    callbacks of pyzmq's ZMQStream
    crowd, fan        the servers of bench_scale.py
    clients, subscribers    their clients, always zmqcy's
"""

import contextlib
import itertools
import os
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import ends
from ends import (
    END,
    NUMBER,
    attach,
    fail,
    library,
    make,
    pair_sockets,
    receiving,
    resident,
    resolved,
    round_trips,
    say,
    say_missing,
    sending,
)

# ---- the measured part


def repeat(call, seconds, count, batches=False):
    """Call for `seconds` or `count` messages, reading the clock about every 5 ms; return messages and seconds."""
    clock = time.perf_counter
    done, chunk = 0, 1
    start = last = clock()
    while True:
        if count and not batches:
            chunk = min(chunk, count - done)
        if batches:
            for _ in range(chunk):
                done += len(call())
        else:
            for _ in range(chunk):
                call()
            done += chunk
        now = clock()
        if now - start >= seconds or (count and done >= count):
            return done, now - start
        if now - last < 0.005:
            chunk *= 2
        last = now


def measure(call, plan, messages=1, batches=False):
    repeat(call, plan.seconds / 10, plan.count and max(1, plan.count // 10), batches)
    say("start")
    calls, elapsed = repeat(call, plan.seconds, plan.count, batches)
    say(f"rate={calls * messages / elapsed:.3f} count={calls * messages}")


# ---- works between two ends


def push(zmq, ctx, plan):
    calls = []
    for number in range(plan.peers):
        send, form = sending(attach(make(zmq, ctx, "PUSH", plan), plan.where), plan)
        calls.append((send, form(NUMBER.pack(number) if plan.peers > 1 else b"x" * plan.size)))
    if plan.peers == 1:
        while True:
            send(calls[0][1])
    while True:
        for send, message in calls:
            send(message)


def pull(zmq, ctx, plan):
    socket = attach(make(zmq, ctx, "PULL", plan), plan.where)
    recv = receiving(socket, plan)
    seen = set()
    while len(seen) < plan.peers:  # until every peer is connected: each sends its own number
        message = recv()
        if plan.peers > 1:
            seen.add(message)
            continue
        parts = message if plan.mode in ("batch", "multipart") else [message]
        assert all(len(part) == plan.size for part in parts) and parts[0:1]
        break
    measure(recv, plan, batches=plan.mode == "batch")


def pub(zmq, ctx, plan):
    send = attach(make(zmq, ctx, "PUB", plan, xpub_nodrop=True), plan.where).send
    data = b"x" * plan.size
    while True:
        send(data)


def sub(zmq, ctx, plan):
    calls = []
    for _ in range(plan.peers):
        socket = make(zmq, ctx, "SUB", plan)
        socket.subscribe(b"")
        calls.append(attach(socket, plan.where).recv)

    def each():
        for recv in calls:
            recv()

    each()
    measure(each if plan.peers > 1 else calls[0], plan, plan.peers)


def req(zmq, ctx, plan):
    socket = attach(make(zmq, ctx, "REQ", plan), plan.where)
    send, recv, clock = socket.send, socket.recv, time.perf_counter
    data = b"x" * plan.size
    for _ in range(10):
        send(data)
        assert len(recv()) == plan.size
    say("start")
    times = []
    most = plan.count or -1
    start = last = now = clock()
    while now - start < plan.seconds and len(times) != most:
        send(data)
        recv()
        now = clock()
        times.append(now - last)
        last = now
    round_trips(times, now - start)


def rep(zmq, ctx, plan):
    socket = attach(make(zmq, ctx, "REP", plan), plan.where)
    send, recv = socket.send, socket.recv
    while True:
        send(recv())


def number(zmq, ctx, plan):
    socket = attach(make(zmq, ctx, "PUSH", plan), plan.where)
    messages = [NUMBER.pack(i) for i in range(plan.count)]
    if plan.mode == "batch":
        for i in range(0, plan.count, plan.batch):
            assert socket.send_many(messages[i : i + plan.batch]) == len(messages[i : i + plan.batch])
    else:
        for message in messages:
            socket.send(message)
    while True:
        socket.send(END)


def check(zmq, ctx, plan):
    recv = receiving(attach(make(zmq, ctx, "PULL", plan), plan.where), plan)
    got = iter(recv, None) if plan.mode != "batch" else itertools.chain.from_iterable(iter(recv, None))
    wanted = 0
    for message in got:
        if NUMBER.unpack(message)[0] != wanted:
            break
        wanted += 1
    say_missing(plan, wanted, message)


# ---- a server with many clients, and a process with `peers` clients

GROUP = 500  # clients that connect at once: fewer than any backlog
BUSY = [(1024, 288), *[(65536, 1)] * 4]  # size and count of the messages that a client sends to fill buffers


def crowd(zmq, ctx, plan):
    """Print when all clients have sent, the memory growth and polls/s; then measure replies.

    In the mode `memory`, print instead how much memory grows while `count` clients use their connections.
    """
    socket = attach(make(zmq, ctx, "ROUTER", plan), plan.where)
    send, recv = socket.send_multipart, socket.recv_multipart
    before = resident()
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    for _ in range(plan.peers - 1):
        send(recv())
    while not poller.poll(1000):
        pass
    heard, idle = time.monotonic(), resident() - before
    polls, elapsed = repeat(partial(poller.poll, 1000), plan.seconds, 0)  # the last message is not received yet
    say(f"heard={heard} idle={idle} polls={polls / elapsed:.3f}")
    send(recv())
    if plan.mode != "memory":
        measure(lambda: send(recv()), plan)
        return
    before = resident()
    for _ in range(plan.count * sum(count for _, count in BUSY)):
        send(recv())
    say(f"busy={resident() - before}")


def clients(zmq, ctx, plan):
    ctx.spin = 0  # leave the CPU to the server
    sockets = [make(zmq, ctx, "DEALER", plan) for _ in range(plan.peers)]
    calls = [(socket.send, socket.recv) for socket in sockets]
    say(f"begun={time.monotonic()}")
    for start in range(0, plan.peers, GROUP):
        group = sockets[start : start + GROUP]
        for socket in group:
            attach(socket, plan.where).send(b"hello")
        for socket in group:
            assert socket.recv() == b"hello"
    if plan.mode == "memory":
        for send, recv in calls[: plan.count]:  # one client at a time, so that connections grow and not a queue
            for size, count in BUSY:
                for _ in range(count):
                    send(bytes(size))
                assert all(len(recv()) == size for _ in range(count))
        return
    data = b"x" * plan.size
    while True:
        for send, _ in calls:
            for _ in range(plan.flight):
                send(data)
        for _, recv in calls:
            for _ in range(plan.flight):
                recv()


def fan(zmq, ctx, plan):
    """Send to all subscribers. Each of their processes reports when its subscribers have received `flight` messages."""
    send = attach(make(zmq, ctx, "PUB", plan), plan.where).send
    heard = attach(make(zmq, ctx, "PULL", plan), plan.where).recv
    there = 0
    while there < plan.processes:
        if greeting := heard():
            send(greeting)
        else:
            there += 1
    say(f"heard={time.monotonic()}")
    data = b"x" * plan.size

    def some():
        for _ in range(plan.flight):
            send(data)

    def turn():
        some()
        for _ in range(plan.processes):
            heard()

    some()  # two rounds are in flight, so that neither end waits for the other
    measure(turn, plan, plan.peers * plan.flight)


def subscribers(zmq, ctx, plan):
    ctx.spin = 0
    server = make(zmq, ctx, "PUSH", plan)
    server.connect(plan.back)
    data = b"x" * plan.size
    sockets = [make(zmq, ctx, "SUB", plan) for _ in range(plan.peers)]
    say(f"begun={time.monotonic()}")
    for start in range(0, plan.peers, GROUP):
        greeting = b"%d %d." % (os.getpid(), start)  # only for this group, until all have received it
        group = sockets[start : start + GROUP]
        for socket in group:
            socket.subscribe(data)
            socket.subscribe(greeting)
            attach(socket, plan.where)
        for socket in group:
            while not socket.poll(10):  # beyond 128 subscribers, a PUB of pyomq accepts one subscriber per message
                server.send(greeting)
    server.send(b"")
    calls = [socket.recv for socket in sockets]
    for recv in calls:
        while recv() != data:
            pass
        for _ in range(plan.flight - 1):
            recv()
    while True:
        server.send(b"")
        for recv in calls:
            for _ in range(plan.flight):
                recv()


# ---- works between two ends with pyzmq's ZMQStream on tornado


def by_stream(zmq, ctx, plan, kind, begin):
    """Run a loop in which `begin` sets up a stream, until the future that it gets is done."""
    import asyncio

    from zmq.eventloop.zmqstream import ZMQStream

    async def main():
        end = asyncio.get_running_loop().create_future()
        begin(ZMQStream(attach(make(zmq, ctx, kind, plan), plan.where)), end)
        await end

    asyncio.run(main())


def stream_push(zmq, ctx, plan):
    data = b"x" * plan.size

    def begin(stream, end):
        stream.on_send(lambda *_: stream.send(data))
        for _ in range(100):  # so 100 messages are always queued in the stream
            stream.send(data)

    by_stream(zmq, ctx, plan, "PUSH", begin)


def stream_pull(zmq, ctx, plan):
    clock = time.perf_counter

    def begin(stream, end):
        count = start = 0
        until = clock() + plan.seconds / 10

        def receive(parts):
            nonlocal count, start, until
            count += 1
            if count % 32 or clock() < until:
                return
            now = clock()
            if start:
                say(f"rate={count / (now - start):.3f} count={count}")
                stream.stop_on_recv()
                end.set_result(None)
                return
            assert [len(part) for part in parts] == [plan.size]
            say("start")
            count, start, until = 0, now, now + plan.seconds

        stream.on_recv(receive)

    by_stream(zmq, ctx, plan, "PULL", begin)


def stream_rep(zmq, ctx, plan):
    by_stream(zmq, ctx, plan, "REP", lambda stream, end: stream.on_recv(stream.send_multipart))


# ---- works of one process


def inline(zmq, ctx, plan):
    receiver, sender = make(zmq, ctx, "PULL", plan), make(zmq, ctx, "PUSH", plan)
    receiver.bind("inproc://inline")
    sender.connect("inproc://inline")
    recv = receiving(receiver, plan)
    send, form = sending(sender, plan)
    message = form(b"x" * plan.size)
    send(message)
    assert recv() == message

    def some():
        for _ in range(100):
            send(message)
            recv()

    measure(some, plan, 100 * (plan.batch if plan.mode == "batch" else 1))


def device(zmq, ctx, plan, kind, front, back):
    sockets = attach(make(zmq, ctx, front, plan), plan.where), attach(make(zmq, ctx, back, plan), plan.back)
    if plan.mode == "hook":
        sys.path.append(os.path.join(os.path.dirname(__file__), "results", "hook"))
        from bench_hook import Nothing

        zmq.proxy(*sockets, filter=Nothing())
    elif plan.mode == "filter":
        zmq.proxy(*sockets, filter=lambda direction, messages: messages)
    else:
        zmq.device(getattr(zmq, kind), *sockets)


def streamer(zmq, ctx, plan):
    device(zmq, ctx, plan, "STREAMER", "PULL", "PUSH")


def queue(zmq, ctx, plan):
    device(zmq, ctx, plan, "QUEUE", "ROUTER", "DEALER")


def service(zmq, ctx, plan):
    """Run `peers` streamers of zmqcy.devices, each in a thread or a process (`mode`)."""
    from zmqcy.devices import Device

    most = max(4, min(1000, (64 << 20) // plan.size))
    options = {"backlog": 4096, "sndhwm": most, "rcvhwm": most}
    capture = {"capture": plan.capture, "capture_type": zmq.PUSH, "capture_options": options} if plan.capture else {}
    both = {"front_options": options, "back_options": options, "run_in": plan.mode}
    devices = [Device(zmq.STREAMER, plan.where, plan.back, **both, **capture) for _ in range(plan.peers)]
    for device in devices:
        device.start()
    for endpoints in devices[0].endpoints.values():
        say(*endpoints)
    devices[0].join()


def idle(zmq, ctx, plan):
    a, b = pair_sockets(zmq, ctx)
    for _ in range(100):  # short waits, so that a socket that spins would spin
        a.send(b"x")
        b.recv()
    say("start")
    b.recv()


def polled(zmq, ctx, plan):
    poller = zmq.Poller()
    pairs = [pair_sockets(zmq, ctx, i) for i in range(plan.peers)]
    for a, _ in pairs:
        poller.register(a, zmq.POLLIN)
    return poller.poll, pairs


def poll(zmq, ctx, plan):
    poll, pairs = polled(zmq, ctx, plan)
    pairs[plan.peers // 2][1].send(b"x")
    assert len(poll(1000)) == 1
    measure(partial(poll, 1000), plan)


def wake(zmq, ctx, plan):
    poll, pairs = polled(zmq, ctx, plan)
    turn = 0

    def once():
        nonlocal turn
        turn = (turn + 7919) % plan.peers  # a prime: reaches every socket, far from the last one
        pairs[turn][1].send(b"x")
        [(socket, _)] = poll(1000)
        socket.recv()

    measure(once, plan)


# ---- main


def run(call, *arguments):
    try:
        call(*arguments)
    except BaseException as error:
        fail(error)


def end_with_stdin():
    while os.read(0, 64):
        pass
    os._exit(0)  # skip the exit handlers of libraries: the measurement is over


def main(name, work, where, *words):
    sender = None
    if work == "threads":
        work, sender, *words = where, *words
        where = "@inproc://bench"
    plan = SimpleNamespace(
        library=name,
        loop="asyncio" if name == "streams" else "",
        mode="single",
        size=8,
        batch=1,
        queue=0,
        peers=1,
        flight=1,
        processes=1,
        untuned=0,
        seconds=0.3,
        count=0,
        back="",
        capture="",
    )
    for key, value in (word.split("=", 1) for word in words):
        setattr(plan, key, type(getattr(plan, key))(value))
    with contextlib.suppress(ImportError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if plan.loop:
        import tasks

        zmq, contexts = tasks.library(name)
    else:
        zmq = contexts = library(name)
    ctx = contexts.Context(tuned=False) if plan.untuned else contexts.Context()
    with contextlib.suppress(Exception):  # pyomq has no limit
        ctx.max_sockets = 2 * plan.peers + 64
    if plan.mode == "blocking":
        ctx.spin = 0
    plan.where = resolved(where)
    watcher = threading.Thread(target=end_with_stdin, daemon=True)
    watcher.start()
    if sender:
        reader, writer = os.pipe()
        ends.asked, ends.told = os.fdopen(reader), os.fdopen(writer, "w")

        def second():
            other = SimpleNamespace(**{**vars(plan), "where": resolved("-")})
            run(globals()[sender], zmq, ctx, other)

        threading.Thread(target=second, daemon=True).start()
    if plan.loop:
        run(tasks.main, zmq, ctx, plan, work)
    else:
        run(globals()[work], zmq, ctx, plan)
    watcher.join()  # until the parent has read CPU time and memory of this process


if __name__ == "__main__":
    main(*sys.argv[1:])
