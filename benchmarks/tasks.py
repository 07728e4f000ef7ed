"""The works of the benchmarks as coroutines, for peer.py.

    peer.py LIBRARY WORK WHERE loop=LOOP [KEY=VALUE ...]

LOOP is asyncio or uvloop. WORK is push, pull, rep, req, number or check, which baseline.c describes. WORK+WORK runs two
tasks in one loop; the first binds. In addition there are:

    router, dealer    reply; keep `flight` requests in flight, and print the rate of replies
    crowd             as in peer.py, without memory and polls
    many              `peers` sockets with a receiving task each: the rates of one more pair, and of all of them
    fairness          the delay of a task next to a task that sends and receives; in the mode `flow` next to a sender
                      and a receiver; in the mode `alone` in an idle loop
    idle              wait in `peers` sockets for messages that do not arrive, after a few that did
"""

import asyncio
import importlib
import time

import others
from ends import END, NUMBER, attach, fail, kept, make, pair_sockets, receiving, round_trips, say, say_missing, sending

SOCKETS = {  # the socket types of works between two ends
    "push": "PUSH",
    "pull": "PULL",
    "rep": "REP",
    "req": "REQ",
    "number": "PUSH",
    "check": "PULL",
    "router": "ROUTER",
    "dealer": "DEALER",
    "crowd": "ROUTER",
}
clock = time.perf_counter


class Starved(Exception):
    """A task that was ready did not run."""


class Stuck(Exception):
    """Both ends are blocked."""


def spawn(coroutine):
    """Start a task. If it fails, the process exits, and the parent reads the reason."""

    def ended(task):
        if not task.cancelled() and task.exception():
            fail(task.exception())

    task = asyncio.ensure_future(coroutine)
    task.add_done_callback(ended)
    kept.append(task)
    return task


async def connected(zmq, ctx, plan, kinds, where):
    """Return two connected sockets in this loop; the first is bound."""
    first, second = (make(zmq, ctx, kind, plan) for kind in kinds)
    first.bind(where)
    endpoint = first.last_endpoint
    second.connect(endpoint.decode().rstrip("\0") if isinstance(endpoint, bytes) else endpoint)
    await opened(plan, first, second)
    return first, second


async def opened(plan, *sockets):
    if plan.library == "streams":
        for socket in sockets:
            await socket.open()


# ---- the measured part


async def repeat(call, seconds, batches=False):
    """Call for `seconds`, reading the clock about every 5 ms; return messages and seconds."""
    done, chunk = 0, 1
    start = last = clock()
    while True:
        if batches:
            for _ in range(chunk):
                done += len(await call())
        else:
            for _ in range(chunk):
                await call()
            done += chunk
        now = clock()
        if now - start >= seconds:
            return done, now - start
        if now - last < 0.005:
            chunk *= 2
        last = now


async def rate(call, plan, messages=1):
    await repeat(call, plan.seconds / 10)
    calls, elapsed = await repeat(call, plan.seconds)
    return calls * messages / elapsed


async def measure(call, plan, batches=False):
    await repeat(call, plan.seconds / 10, batches)
    say("start")
    count, elapsed = await repeat(call, plan.seconds, batches)
    say(f"rate={count / elapsed:.3f} count={count}")


def percentiles(times):
    times.sort()
    return [times[int(len(times) * part)] * 1e6 for part in (0.5, 0.99)]


# ---- works between two ends


async def push(socket, plan):
    send, form = sending(socket, plan)
    message = form(b"x" * plan.size)
    while True:
        await send(message)


async def pull(socket, plan):
    recv = receiving(socket, plan)
    got = await recv()
    assert all(len(message) == plan.size for message in (got if plan.mode == "batch" else [got]))
    await measure(recv, plan, plan.mode == "batch")


async def rep(socket, plan):
    send, recv = socket.send, socket.recv
    while True:
        await send(await recv())


async def req(socket, plan):
    send, recv = socket.send, socket.recv
    data = b"x" * plan.size
    for _ in range(10):
        await send(data)
        assert await recv() == data
    say("start")
    times = []
    start = last = now = clock()
    while now - start < plan.seconds:
        await send(data)
        await recv()
        now = clock()
        times.append(now - last)
        last = now
    round_trips(times, now - start)


async def router(socket, plan):
    send, recv = socket.send_multipart, socket.recv_multipart
    while True:
        await send(await recv())


async def dealer(socket, plan):
    send, recv = socket.send, socket.recv
    data = b"x" * plan.size
    for _ in range(plan.flight):
        await send(data)
    for _ in range(plan.flight):
        assert await recv() == data
        await send(data)

    async def next_one():
        await recv()
        await send(data)

    await measure(next_one, plan)


async def crowd(socket, plan):
    send, recv = socket.send_multipart, socket.recv_multipart

    async def answer():
        await send(await recv())

    for _ in range(plan.peers):
        await answer()
    say(f"heard={time.monotonic()}")
    await measure(answer, plan)


async def number(socket, plan):
    messages = [NUMBER.pack(i) for i in range(plan.count)]
    if plan.mode == "batch":
        for i in range(0, plan.count, plan.batch):
            batch = messages[i : i + plan.batch]
            assert await socket.send_many(batch) == len(batch)
    else:
        for message in messages:
            await socket.send(message)
    while True:
        await socket.send(END)


async def check(socket, plan):
    recv = receiving(socket, plan)
    wanted = 0
    while True:
        got = await recv()
        for message in got if plan.mode == "batch" else [got]:
            if NUMBER.unpack(message)[0] != wanted:
                return say_missing(plan, wanted, message)
            wanted += 1


# ---- works of one process


class Receivers:
    """Receiving tasks, one per socket."""

    def __init__(self, pairs, data):
        self.sends = [a.send for a, _ in pairs]
        self.data = data
        self.left = 0
        kept.append(pairs)
        for _, b in pairs:
            spawn(self.receive(b.recv))

    async def receive(self, recv):
        assert await recv() == self.data
        while True:
            self.left -= 1
            if not self.left:
                self.all_there.set_result(None)
            await recv()

    async def turn(self):
        """Send one message to each task, and wait until all have received it."""
        self.left = len(self.sends)
        self.all_there = asyncio.get_running_loop().create_future()
        for send in self.sends:
            await send(self.data)
        await self.all_there


async def many(zmq, ctx, plan):
    data = b"x" * plan.size
    receivers = Receivers([pair_sockets(zmq, ctx, i) for i in range(plan.peers)], data)
    there, back = pair_sockets(zmq, ctx, "trips")
    spawn(rep(back, plan))

    async def trip():
        await there.send(data)
        await there.recv()

    await there.send(data)
    assert await there.recv() == data
    say("start")
    trips = await rate(trip, plan)
    sender, receiver = pair_sockets(zmq, ctx, "flow")
    pusher = spawn(push(sender, plan))
    assert await receiver.recv() == data
    flow = await rate(receiver.recv, plan)
    pusher.cancel()
    await receivers.turn()
    turns = await rate(receivers.turn, plan, plan.peers)
    say(f"trips={trips:.3f} flow={flow:.3f} turns={turns:.3f} count=1")


async def fairness(zmq, ctx, plan):
    where = "tcp://127.0.0.1:*" if plan.library == "streams" else "inproc://busy"
    sender, receiver = await connected(zmq, ctx, plan, ("PUSH", "PULL"), where)
    data = b"x" * plan.size
    await sender.send(data)
    assert await receiver.recv() == data

    moved = 0
    last = clock() + 2 * plan.seconds

    async def turns():
        nonlocal moved
        send, recv = sender.send, receiver.recv
        while clock() < last:
            for _ in range(100):
                await send(data)
                await recv()
            moved += 100

    async def sends():
        send = sender.send
        while clock() < last:
            for _ in range(100):
                await send(data)

    async def receives():
        nonlocal moved
        recv = receiver.recv
        while True:
            for _ in range(100):
                await recv()
            moved += 100

    async def asleep():
        start = clock()
        await asyncio.sleep(0.001)
        return clock() - start - 0.001

    async def woken():
        await asyncio.sleep(0.001)  # otherwise short waits of this task itself would outnumber the long ones
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        start = clock()
        loop.call_soon(future.set_result, None)
        await future
        return clock() - start

    say("start")
    told, count = [], 0
    busy = {"alone": [], "flow": [sends, receives]}.get(plan.mode, [turns])
    for each in busy:
        spawn(each())
    for name, wait in (("sleep", asleep), ("soon", woken)):
        times, before = [], moved
        end = clock() + plan.seconds
        while clock() < end:
            times.append(await wait())
        if len(times) < 2:
            raise Starved(f"the other task did not run for {times[0]:.2g} s")
        if busy and moved == before:
            raise Stuck(f"no message moved in {plan.seconds:g} s")
        p50, p99 = percentiles(times)
        told.append(f"{name}_p50={p50:.4f} {name}_p99={p99:.4f}")
        count += len(times)
    say(*told, f"count={count}")


async def idle(zmq, ctx, plan):
    receivers = Receivers([pair_sockets(zmq, ctx, i) for i in range(plan.peers)], b"x")
    for _ in range(10):  # short waits, so that a socket that spins would spin
        await receivers.turn()
    say("start")
    await asyncio.get_running_loop().create_future()


# ---- main


def library(name):
    if name in others.ASYNCHRONOUS:
        zmq = others.ASYNCHRONOUS[name]()
        return zmq, zmq
    return importlib.import_module(name), importlib.import_module(name + ".asyncio")


async def run(zmq, ctx, plan, works):
    if works[0] not in SOCKETS:
        return await globals()[works[0]](zmq, ctx, plan)
    if len(works) == 2:
        sockets = await connected(zmq, ctx, plan, [SOCKETS[work] for work in works], plan.where[1:])
    else:
        sockets = [attach(make(zmq, ctx, SOCKETS[works[0]], plan), plan.where)]
        await opened(plan, *sockets)
    ends = [spawn(globals()[work](socket, plan)) for work, socket in zip(works, sockets, strict=True)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)


def main(zmq, ctx, plan, work):
    """Run until the measuring work is done. The loop is not closed, because that is not measured."""
    loop = importlib.import_module(plan.loop).new_event_loop()
    kept.append(loop)
    loop.run_until_complete(run(zmq, ctx, plan, work.split("+")))
