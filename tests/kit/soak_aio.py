"""Soak test of asynchronous sockets: random cancellation and timeouts. Every message must arrive exactly once.

    python tests/kit/soak_aio.py [SECONDS] [LOOP ...]     seconds per loop (600); loops: asyncio debug uvloop anyio trio

It prints a line of figures for each loop. A failure ends the program with an exception. A pair is closed with messages
under way only if libzmq guarantees to send them: by the sender of a PUSH, with unlimited linger, over inproc and tcp.
"""

import asyncio
import errno
import gc
import itertools
import logging
import os
import random
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress

import anyio
import anyio.lowlevel
from memory import resident

import zmqcy
import zmqcy.anyio
import zmqcy.asyncio
from zmqcy._operations import Operation

LOOPS = {
    "asyncio": (zmqcy.asyncio, "asyncio", {}),
    "debug": (zmqcy.asyncio, "asyncio", {"debug": True}),
    "uvloop": (zmqcy.asyncio, "asyncio", {"use_uvloop": True}),
    "anyio": (zmqcy.anyio, "asyncio", {}),
    "trio": (zmqcy.anyio, "trio", {}),
}
KINDS = [
    (zmqcy.PUSH, zmqcy.PULL, False),
    (zmqcy.PAIR, zmqcy.PAIR, True),
    (zmqcy.DEALER, zmqcy.ROUTER, True),
]
BLOCK = random.Random(1).randbytes(2_000_000)
HEADER = struct.Struct(">HI")
SIZES = [0, 1, 8, 26, 27, 33, 34, 200, 1_000, 8_192, 65_536, 1_000_000]
WEIGHTS = [8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 2, 1]
PAIRS = 12
STUCK = 20  # max seconds of a round
GROWTH = 100_000_000  # max growth of resident memory in bytes
IDENTITY = b"soak"


class Missed(Exception):
    """An operation was cancelled or has timed out."""

    def __init__(self, sent=0):
        self.sent = sent


# ----------------------------------------------------------------------------------------------------- operations


async def by_future(start, chance, patient, tally):
    """Start an asyncio operation and wait for it in a random way. Return its result, or raise Missed."""
    ways = ["time", "wait_for", "timeout", "task", "future", "gather"] + ["await"] * 3 * patient
    if not hasattr(asyncio, "timeout"):
        ways.remove("timeout")
    way, seconds, turns = chance.choice(ways), chance.random() * 0.004, chance.randrange(5)
    operation = start(seconds * 1000 if way == "time" else None)
    try:
        if way in ("await", "time"):
            return await operation
        if way == "wait_for":
            return await asyncio.wait_for(operation, seconds)
        if way == "timeout":
            async with asyncio.timeout(seconds):
                return await operation
        if way == "task":
            handle = asyncio.ensure_future(in_task(operation))
        elif way == "gather":
            handle = asyncio.gather(operation, asyncio.sleep(0), return_exceptions=True)
            handle.add_done_callback(lambda gathered: gathered.cancelled() or gathered.exception())
        else:
            handle = operation
            operation.add_done_callback(lambda _: tally.update(callbacks=1))
        for _ in range(turns):
            await asyncio.sleep(0)
        handle.cancel()
        if way == "task":
            await asyncio.wait([handle])
            operation = operation if handle.cancelled() else handle
        if not operation.done() or operation.cancelled():
            tally["cancelled"] += 1
            raise Missed(getattr(operation, "sent", 0))
        return operation.result()
    except (TimeoutError, asyncio.TimeoutError, zmqcy.Again):
        tally["timed out"] += 1
        raise Missed(getattr(operation, "sent", 0)) from None


async def in_task(operation):
    return await operation


async def by_coroutine(start, chance, patient, tally):
    """The same for anyio."""
    way = chance.choice(["time", "timeout", "cancel"] + ["await"] * 3 * patient)
    seconds, turns = chance.random() * 0.004, chance.randrange(8)
    ended, result, sent = False, None, 0

    async def cancel(scope):
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    async def work():
        nonlocal ended, result, sent
        try:
            result = await start(seconds * 1000 if way == "time" else None)
            ended = True
        except BaseException as exception:
            sent = getattr(exception, "sent", 0)
            raise

    try:
        if way == "timeout":
            with anyio.move_on_after(seconds):
                await work()
        elif way == "cancel":
            async with anyio.create_task_group() as group:
                group.start_soon(cancel, group.cancel_scope)
                await work()
                group.cancel_scope.cancel()
        else:
            await work()
    except zmqcy.Again:
        tally["timed out"] += 1
        raise Missed(sent) from None
    if not ended:
        tally["timed out" if way == "timeout" else "cancelled"] += 1
        raise Missed(sent)
    return result


# ------------------------------------------------------------------------------------------------- messages


class Stream:
    """One direction of a pair: the messages of each sender, and those that have arrived."""

    def __init__(self, seed, senders, count, multipart, alone):
        self.seed = seed
        self.counts = [count] * senders
        self.multipart = multipart
        self.alone = alone  # one sender and one receiver: all messages are in order, and need no header
        self.seen = [[] for _ in range(senders)]
        self.arrived = 0
        self.total = count * senders

    def message(self, sender, index):
        chance = random.Random(self.seed * 1_000_003 + sender * 65_537 + index)
        parts = []
        for _ in range(chance.randint(1, 5) if self.multipart else 1):
            size = chance.choices(SIZES, WEIGHTS)[0]
            start = chance.randrange(1_000_000)
            parts.append(BLOCK[start : start + size])
        if not self.alone:
            parts[0] = HEADER.pack(sender, index) + parts[0]
        return parts

    def arrive(self, parts):
        if self.alone:
            sender, index = 0, len(self.seen[0])
        else:
            sender, index = HEADER.unpack_from(parts[0])
        wanted = self.message(sender, index)
        if parts != wanted:
            raise AssertionError(
                f"sender {sender}: message {index} has parts of {[len(p) for p in parts]} bytes, "
                f"not {[len(p) for p in wanted]}, or others"
            )
        self.seen[sender].append(index)
        self.arrived += 1

    def check(self, ordered):
        for sender, (seen, count) in enumerate(zip(self.seen, self.counts, strict=True)):
            wanted = list(range(count))
            if (seen if ordered else sorted(seen)) != wanted:
                raise AssertionError(f"sender {sender}: lost, doubled or out of order: {seen}")


class Soak:
    def __init__(self, module, until, seed, directory):
        self.module = module
        self.until = until
        self.attempt = by_future if module is zmqcy.asyncio else by_coroutine
        self.chance = random.Random(seed)
        self.tally = Counter()
        self.longest = 0.0
        self.names = (f"ipc://{directory}/{n}" for n in itertools.count())
        self.start = self.end = 0

    async def send_all(self, socket, stream, sender, prefix, patient):
        index, count, chance = 0, stream.counts[sender], self.chance
        while index < count:
            batch = chance.choice([0, 0, 2, 10])
            many = [prefix + stream.message(sender, i) for i in range(index, min(index + max(batch, 1), count))]
            plain = not stream.multipart and not prefix
            if chance.random() < 0.05 and plain:
                index += socket.try_send(many[0][0])
                continue
            if batch:
                call, what = (socket.send_many, [m[0] for m in many]) if plain else (socket.send_multipart_many, many)
            else:
                call, what = (socket.send, many[0][0]) if plain else (socket.send_multipart, many[0])
            try:
                sent = await self.attempt(lambda ms, c=call, w=what: c(w, timeout=ms), chance, patient, self.tally)
                index += sent if batch else 1
            except Missed as missed:
                index += missed.sent if batch else 0

    async def receive_all(self, socket, stream, prefixed, patient):
        chance = self.chance
        plain = not stream.multipart and not prefixed
        while stream.arrived < stream.total:
            kind = chance.choice(["one", "one", "many", "try", "poll"])
            limit = chance.choice([1, 5, 1000])
            if kind == "try":
                got = [socket.try_recv()] if plain else []
                got = [[m] for m in got if m is not None]
                await anyio.sleep(0)
            else:
                if kind == "poll":
                    call = lambda ms: socket.poll(ms)  # noqa: E731
                elif kind == "many":
                    name = "recv_many" if plain else "recv_multipart_many"
                    call = lambda ms, n=name, most=limit: getattr(socket, n)(most, timeout=ms)  # noqa: E731
                else:
                    name = "recv" if plain else "recv_multipart"
                    call = lambda ms, n=name: getattr(socket, n)(timeout=ms)  # noqa: E731
                try:
                    result = await self.attempt(call, chance, patient, self.tally)
                except Missed:
                    continue
                if kind == "poll":
                    self.tally["polls"] += 1
                    continue
                got = result if kind == "many" else [result]
                got = [[m] for m in got] if plain else got
            for parts in got:
                if prefixed and parts[0] != IDENTITY:
                    raise AssertionError(f"the identity is {parts[0]!r:.80}")
                stream.arrive(parts[1:] if prefixed else parts)
            self.tally["messages"] += len(got)

    async def one_round(self, ctx):
        """Create a pair, send and receive in each possible direction, and close it."""
        chance = self.chance
        kind, other, both = chance.choice(KINDS)
        transport = chance.choice(["inproc", "ipc", "tcp"])
        hwm = chance.choice([1, 1, 1000])
        url = {"inproc": f"inproc://{chance.random()}", "ipc": next(self.names), "tcp": "tcp://127.0.0.1:*"}[transport]
        options = {"sndhwm": hwm, "rcvhwm": hwm}
        right = ctx.socket(other, **options)
        right.bind(url)
        left = ctx.socket(kind, **options)
        router = other == zmqcy.ROUTER
        if router:
            right.router_mandatory = True
            left.routing_id = IDENTITY
        left.connect(right.last_endpoint)
        if router:  # a ROUTER must know its peer before it can send
            await left.send(b"here")
            if await right.recv_multipart() != [IDENTITY, b"here"]:
                raise AssertionError("no greeting")
        early = not both and transport != "ipc" and chance.random() < 0.5
        directions = [(left, right, [], router)] + [(right, left, [IDENTITY] if router else [], False)] * both
        streams = []

        async def send_and_close(*arguments):
            await self.send_all(*arguments)
            if early and all_sent():
                left.close()

        senders, receivers = chance.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2)])
        unsent = [senders]

        def all_sent():
            unsent[0] -= 1
            return unsent[0] == 0

        async with anyio.create_task_group() as group:
            for source, sink, prefix, prefixed in directions:
                alone = senders == receivers == 1
                stream = Stream(chance.randrange(1 << 30), senders, chance.randint(1, 60), chance.random() < 0.5, alone)
                streams.append(stream)
                for sender in range(senders):
                    group.start_soon(send_and_close, source, stream, sender, prefix, True)
                for _ in range(receivers):
                    group.start_soon(self.receive_all, sink, stream, prefixed, receivers == 1)
        for stream in streams:
            stream.check(receivers == 1)
        if right.try_recv() is not None:
            raise AssertionError("more has arrived than was sent")
        for socket in (left, right):
            await self.close(socket)
        self.tally["rounds"] += 1

    async def close(self, socket):
        """Close a socket, in half of the cases while a task waits in it."""
        if socket.closed:
            return
        waits = socket.socket_type != zmqcy.PUSH and self.chance.random() < 0.5

        async def wait():
            try:
                await socket.recv()
            except zmqcy.ZMQError as error:
                if error.errno != errno.ENOTSOCK:
                    raise
                self.tally["closed"] += 1
            else:
                raise AssertionError("a message came from nowhere")

        async with anyio.create_task_group() as group:
            if waits:
                group.start_soon(wait)
                for _ in range(3):
                    await anyio.lowlevel.checkpoint()
            socket.close()

    async def watch(self):
        """Measure the delay of the event loop, in CPU time of its thread."""
        while time.monotonic() < self.until:
            before, worked = time.perf_counter(), time.thread_time()
            await anyio.sleep(0.001)
            late, worked = time.perf_counter() - before - 0.001, time.thread_time() - worked
            self.longest = max(self.longest, min(late, worked))

    async def rounds(self, ctx):
        while time.monotonic() < self.until:
            with anyio.fail_after(STUCK):
                await self.one_round(ctx)

    async def run(self):
        begun, seconds = time.monotonic(), self.until - time.monotonic()
        if self.module is zmqcy.asyncio or self.module is zmqcy.anyio:
            with suppress(RuntimeError):  # trio
                asyncio.get_running_loop().set_exception_handler(self.complain)

        async def measure():
            await anyio.sleep(seconds / 4)  # warm-up
            self.start = resident()

        async with self.module.Context() as ctx:
            async with anyio.create_task_group() as group:
                group.start_soon(measure)
                group.start_soon(self.watch)
                for _ in range(PAIRS):
                    group.start_soon(self.rounds, ctx)
            gc.collect()
            self.end = resident()
            await self.check_idle()
        self.seconds = time.monotonic() - begun

    async def check_idle(self):
        for _ in range(3):
            await anyio.sleep(0)
        left = [repr(o) for o in gc.get_objects() if issubclass(type(o), Operation) and "pending" in repr(o)]
        if left:
            raise AssertionError(f"operations are left: {left}")
        with suppress(RuntimeError):  # trio
            loop = asyncio.get_running_loop()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            if tasks:
                raise AssertionError(f"tasks are left: {tasks}")
            if hasattr(loop, "_selector"):
                readers = [key for key in loop._selector.get_map().values() if "zmqcy" in repr(key.data)]
                if readers:
                    raise AssertionError(f"descriptors are watched: {readers}")
        if self.end - self.start > GROWTH:
            raise AssertionError(f"memory grew from {self.start:,} to {self.end:,} bytes")

    @staticmethod
    def complain(loop, context):
        print("the loop was told:", context["message"], repr(context.get("exception")), file=sys.stderr)
        COMPLAINTS.append(context)


COMPLAINTS = []


class Slow(logging.Handler):
    """Count the slow callbacks that asyncio's debug mode logs. Any other record is a failure."""

    count = 0

    def emit(self, record):
        if record.getMessage().startswith("Executing"):
            self.count += 1
        else:
            COMPLAINTS.append(record.getMessage())


def soak(name, seconds, seed):
    module, backend, options = LOOPS[name]
    slow = Slow(logging.WARNING)
    logger = logging.getLogger("asyncio")
    logger.addHandler(slow)
    logger.propagate = False
    with tempfile.TemporaryDirectory() as directory:
        it = Soak(module, time.monotonic() + seconds, seed, directory)
        anyio.run(it.run, backend=backend, backend_options=options)
    logger.removeHandler(slow)
    gc.collect()
    if COMPLAINTS:
        raise SystemExit(f"{name}: {COMPLAINTS}")
    t = it.tally
    print(
        f"{name:8} {it.seconds:6.1f} s  {t['messages']:>9,} messages  {t['rounds']:>6,} rounds  "
        f"{t['cancelled']:>8,} cancelled  {t['timed out']:>8,} timed out  {t['closed']:>6,} closed  "
        f"RSS {it.start / 1e6:.0f} to {it.end / 1e6:.0f} MB  longest block {it.longest * 1e3:.1f} ms  "
        f"slow callbacks {slow.count}  seed {seed}",
        flush=True,
    )


def main(seconds="600", *names):
    warnings.simplefilter("error")
    sys.unraisablehook = lambda args: COMPLAINTS.append(args) or sys.__unraisablehook__(args)
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    for name in names or LOOPS:
        soak(name, float(seconds), seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
