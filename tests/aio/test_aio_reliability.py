"""Asynchronous sockets lose and repeat no message, and do not leak."""

import asyncio
import gc
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
import weakref
from collections import deque

import anyio
import anyio.lowlevel
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from memory import resident
from paths import KIT

import zmqcy
import zmqcy._aio
import zmqcy.anyio
import zmqcy.asyncio
from zmqcy._loop import Done
from zmqcy._operations import Operation, Waker

HWM = {"sndhwm": 1, "rcvhwm": 1}
BACKENDS = ["asyncio", "trio"]
SOAK = KIT / "soak_aio.py"
LIMIT = 10  # seconds
names = itertools.count()


@pytest.fixture
def pair_of():
    """A function that creates two PAIR sockets of a module, whose queues hold one message each."""
    contexts = []

    def make(module, **options):
        context = module.Context(linger=0, **options)
        contexts.append(context)
        a, b = context.socket(zmqcy.PAIR, **HWM), context.socket(zmqcy.PAIR, **HWM)
        a.bind(f"inproc://{next(names)}")
        b.connect(a.last_endpoint)
        return a, b

    yield make
    for context in contexts:
        context.destroy(0)
        context.term(timeout=LIMIT * 1000)


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def pending():
    """Return the operations in a queue."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), Operation) and not each.done()]


def objects():
    """Return the number of the core's objects, except sockets."""
    gc.collect()
    kinds = (Operation, Done, Waker)
    return sum(issubclass(type(each), kinds) for each in gc.get_objects())


def readers(loop):
    """Return the file descriptors of sockets that an asyncio loop watches."""
    return [key.fd for key in loop._selector.get_map().values() if "zmqcy" in repr(key.data)]


def timers(loop):
    """Return the timers of operations, without the timer that reads idle sockets once a second."""
    return [handle for handle in loop._scheduled if not handle.cancelled() and "_tick" not in repr(handle)]


# -------------------------------------------------------------------------------- a model and random sequences of calls


class Started:
    """An operation that was started."""

    operation = handle = None

    @property
    def report(self):
        """The future that shows how it ended: the awaiting task, or itself. (A shield only repeats that later.)"""
        return self.handle if isinstance(self.handle, asyncio.Task) else self.operation

    @property
    def succeeded(self):
        return self.report.done() and not self.report.cancelled() and self.report.exception() is None


class Sending(Started):
    """Messages, and the reported number of sent ones."""

    def __init__(self, messages, batch):
        self.messages = messages
        self.batch = batch

    @property
    def sent(self):
        if self.batch:
            return self.report.result() if self.succeeded else getattr(self.operation, "sent", 0)
        return int(self.succeeded)


class Receiving(Started):
    """The received messages."""

    def __init__(self, nested):
        self.nested = nested

    @property
    def got(self):
        return self.nested(self.report.result()) if self.succeeded else []


class Histories(RuleBasedStateMachine):
    """Random histories of operations on a pair of sockets in one event loop, whose queues hold one message."""

    @initialize(
        transport=st.sampled_from(["inproc", "ipc", "tcp"]),
        kinds=st.sampled_from([(zmqcy.PUSH, zmqcy.PULL), (zmqcy.PAIR, zmqcy.PAIR), (zmqcy.DEALER, zmqcy.DEALER)]),
        multipart=st.booleans(),
        debug=st.booleans(),
    )
    def begin(self, transport, kinds, multipart, debug):
        self.loop = asyncio.new_event_loop()
        self.loop.set_debug(debug)
        self.loop.slow_callback_duration = LIMIT
        self.complaints = []
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))
        self.directory = tempfile.TemporaryDirectory()
        self.context = zmqcy.asyncio.Context()
        self.right, self.left = self.context.socket(kinds[1], **HWM), self.context.socket(kinds[0], **HWM)
        place = {"inproc": f"//{next(names)}", "ipc": f"//{self.directory.name}/x", "tcp": "//127.0.0.1:*"}[transport]
        self.right.bind(f"{transport}:{place}")
        self.left.connect(self.right.last_endpoint)
        self.multipart = multipart
        self.number = 0
        self.sendings, self.receivings, self.others = [], [], []

    def in_loop(self, function, *arguments):
        async def run():
            return function(*arguments)

        return self.loop.run_until_complete(run())

    def message(self, size):
        self.number += 1
        first = b"%d." % self.number
        return [first, b"x" * size, b""] if self.multipart else [first + b"x" * size]

    def start(self, record, records, how, begin):
        """Start an operation, and wait for it in one of several ways."""

        def operate():
            record.operation = begin()
            records.append(record)
            return record.operation

        async def in_task():
            return await operate()

        def by_future():
            record.handle = operate()
            if how == "callback":
                record.handle.add_done_callback(lambda _: None)
            elif how == "shield":
                record.handle = asyncio.shield(record.operation)
            elif how == "dropped" and not record.operation.done():
                record.operation = record.handle = Dropped(getattr(record.operation, "sent", 0))

        if how == "task":
            record.handle = self.loop.create_task(in_task())
            self.turn(1)  # so that it has begun
        else:
            self.in_loop(by_future)

    ways = st.sampled_from(["task", "task", "future", "callback", "dropped", "shield"])
    sizes = st.sampled_from([0, 1, 30, 33, 200, 70_000])
    times = st.sampled_from([None, None, None, 0, 1])

    @rule(how=ways, size=sizes, timeout=times)
    def send(self, how, size, timeout):
        record = Sending([self.message(size)], False)
        socket, parts = self.left, record.messages[0]

        def begin():
            if self.multipart:
                return socket.send_multipart(parts, timeout=timeout)
            return socket.send(parts[0], timeout=timeout)

        self.start(record, self.sendings, how, begin)

    @rule(how=ways, count=st.integers(1, 6), size=sizes, timeout=times)
    def send_batch(self, how, count, size, timeout):
        record = Sending([self.message(size) for _ in range(count)], True)

        def begin():
            if self.multipart:
                return self.left.send_multipart_many(record.messages, timeout=timeout)
            return self.left.send_many([message[0] for message in record.messages], timeout=timeout)

        self.start(record, self.sendings, how, begin)

    @precondition(lambda self: not self.multipart)
    @rule()
    def try_send(self):
        record = Sending([self.message(5)], False)
        if self.in_loop(self.left.try_send, record.messages[0][0]):
            record.handle = record.operation = Ended(None)
            self.sendings.append(record)

    @rule(how=ways, call=st.sampled_from(["recv", "recv_multipart", "many"]), limit=st.integers(1, 4), timeout=times)
    def receive(self, how, call, limit, timeout):
        socket = self.right
        if call == "recv" and not self.multipart:
            record, begin = Receiving(lambda part: [[part]]), lambda: socket.recv(timeout=timeout)
        elif call == "many" and not self.multipart:
            record = Receiving(lambda parts: [[part] for part in parts])
            begin = lambda: socket.recv_many(limit, timeout=timeout)  # noqa: E731
        elif call == "many":
            record = Receiving(lambda messages: messages)
            begin = lambda: socket.recv_multipart_many(limit, timeout=timeout)  # noqa: E731
        else:
            record = Receiving(lambda parts: [parts])
            begin = lambda: socket.recv_multipart(timeout=timeout)  # noqa: E731
        self.start(record, self.receivings, how, begin)

    @precondition(lambda self: not self.multipart)
    @rule()
    def try_receive(self):
        got = self.in_loop(self.right.try_recv)
        if got is not None:
            record = Receiving(lambda part: [[part]])
            record.handle = record.operation = Ended(got)
            self.receivings.append(record)

    @rule(left=st.booleans(), flags=st.sampled_from([zmqcy.POLLIN, zmqcy.POLLOUT]), timeout=times, task=st.booleans())
    def poll(self, left, flags, timeout, task):
        socket = self.left if left else self.right

        async def in_task():
            return await socket.poll(timeout, flags)

        if task:
            self.others.append(self.loop.create_task(in_task()))
        else:
            self.others.append(self.in_loop(socket.poll, timeout, flags))

    @rule(left=st.booleans())
    def read_events(self, left):
        self.in_loop(lambda: (self.left if left else self.right).events)

    @rule(which=st.integers(0, 30))
    def cancel(self, which):
        handles = [r.handle for r in self.sendings + self.receivings] + self.others
        waiting = [handle for handle in handles if not handle.done()]
        if waiting:
            self.in_loop(waiting[which % len(waiting)].cancel)

    @rule(count=st.integers(1, 4))
    def turn(self, count):
        self.loop.run_until_complete(turns(count))

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.loop.run_until_complete(asyncio.wait_for(self.settle(), LIMIT))
            self.check()
        finally:
            self.context.destroy(0)
            self.loop.run_until_complete(turns(3))
            self.loop.close()
            self.directory.cleanup()

    async def settle(self):
        """End the receives, receive the rest, and close both sockets while tasks wait."""
        for waiting in [*(record.operation for record in self.receivings), *self.others]:
            waiting.cancel()
        for record in self.receivings:
            record.handle.cancel()
        await turns(3)
        self.rest = []
        wanted = []
        while True:
            over = all(record.operation.done() and record.report.done() for record in self.sendings)
            wanted = [m for record in self.sendings for m in record.messages[: record.sent]]
            received = [m for record in self.receivings for m in record.got] + self.rest
            if over and len(received) >= len(wanted):
                break
            try:
                self.rest.append(await self.right.recv_multipart(timeout=1))
            except zmqcy.Again:
                await asyncio.sleep(0)
        self.wanted, self.received = wanted, received
        await self.left.send(b"the last")  # no other message arrives before it
        self.last = await self.right.recv_multipart()
        self.closed = self.right.recv(), self.right.poll()
        self.right.close()
        self.left.close()
        await turns(3)

    def check(self):
        assert self.received == self.wanted
        assert self.last == [b"the last"]
        for operation in self.closed:
            assert operation.exception().errno == zmqcy.ENOTSOCK
        assert not asyncio.all_tasks(self.loop)
        assert readers(self.loop) == []
        assert timers(self.loop) == []
        del operation
        for record in self.sendings + self.receivings:
            record.operation = record.handle = None
        self.others.clear()
        self.closed = None
        # a timeout that was never retrieved is reported, as for any future
        assert [c for c in self.complaints if "never retrieved" not in c["message"]] == []


class Ended:
    """The result of a call without an operation, as a future."""

    def __init__(self, value):
        self.value = value

    def done(self):
        return True

    def cancelled(self):
        return False

    def cancel(self):
        return False

    def exception(self):
        return None

    def result(self):
        return self.value


class Dropped(Ended):
    """An unreferenced operation: it has left its queue."""

    def __init__(self, sent):
        super().__init__(None)
        self.sent = sent

    def cancelled(self):
        return True


Histories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistories = pytest.mark.slow(Histories.TestCase)


async def within(count, call, *arguments):
    """Return the result, or None, and the number of sent messages. The call is cancelled after some checkpoints."""
    result, sent = None, 0
    async with anyio.create_task_group() as group:

        async def cancel():
            for _ in range(count):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()

        group.start_soon(cancel)
        try:
            result = await call(*arguments)
        except BaseException as exception:
            sent = getattr(exception, "sent", 0)
            raise
        group.cancel_scope.cancel()
    return result, sent


steps = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=25)


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(sends=steps, receives=steps)
def test_cancelled_sends_and_receives_of_anyio(backend, sends, receives):
    """Each operation is cancelled after some checkpoints, and unsent messages are sent again."""
    got = []

    async def main():
        with zmqcy.anyio.Context(linger=0) as context:
            b, a = context.socket(zmqcy.PAIR, **HWM), context.socket(zmqcy.PAIR, **HWM)
            b.bind(f"inproc://{next(names)}")
            a.connect(b.last_endpoint)
            messages = deque(b"%d" % n for n in range(sum(count for _, count in sends)))
            wanted = list(messages)

            async def send():
                for patience, count in sends:
                    batch = [messages[i] for i in range(count) if i < len(messages)]
                    result, sent = await within(patience, a.send_many, batch)
                    for _ in range(result or sent):
                        messages.popleft()
                if messages:
                    await a.send_many(list(messages))

            async def receive():
                for patience, limit in receives:
                    if len(got) < len(wanted):
                        got.extend((await within(patience, b.recv_many, limit))[0] or [])
                while len(got) < len(wanted):
                    got.extend(await b.recv_many())

            with anyio.fail_after(LIMIT):
                async with anyio.create_task_group() as group:
                    group.start_soon(send)
                    group.start_soon(receive)
            assert got == wanted
            assert b.try_recv() is None
        del got[:]

    anyio.run(main, backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_many_tasks_of_anyio_share_a_socket(backend):
    """The tasks wake each other, and are cancelled at any checkpoint. Messages arrive once, in order per sender."""

    async def main(seed):
        chance = random.Random(seed)
        arrived = []
        with zmqcy.anyio.Context(linger=0) as context:
            pull, push = context.socket(zmqcy.PULL, **HWM), context.socket(zmqcy.PUSH, **HWM)
            pull.bind(f"inproc://{next(names)}")
            push.connect(pull.last_endpoint)

            async def send(name):
                number = 0
                while number < 20:
                    batch = [b"%d %d" % (name, n) for n in range(number, min(20, number + chance.randint(1, 4)))]
                    result, sent = await within(chance.randrange(12), push.send_many, batch)
                    number += result or sent

            async def receive():
                while len(arrived) < 80:
                    result, _ = await within(chance.randrange(12), pull.recv)
                    arrived.extend([result] if result else [])

            with anyio.fail_after(LIMIT):
                async with anyio.create_task_group() as group:
                    for name in range(4):
                        group.start_soon(send, name)
                    group.start_soon(receive)
            assert pull.try_recv() is None
        for name in range(4):
            assert [m for m in arrived if m.startswith(b"%d " % name)] == [b"%d %d" % (name, n) for n in range(20)], (
                seed
            )

    for seed in range(10):
        anyio.run(main, seed, backend=backend)


# ----------------------------------------------------------------------------------------------------------------- soak


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["asyncio", "debug", "uvloop", "anyio", "trio"])
def test_soak(loop):
    done = subprocess.run(
        [sys.executable, "-W", "error", SOAK, "2", loop], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert " messages " in done.stdout


# -------------------------------------------------------------------------------------------------------------- leaks


GROWTH = 4_000_000


async def cancelled_tasks(socket, peer):
    async def wait():
        await socket.recv()

    tasks = [asyncio.ensure_future(wait()) for _ in range(1000)]
    await turns(1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def cancelled_futures(socket, peer):
    for operation in [socket.recv() for _ in range(1000)]:
        assert operation.cancel()


async def dropped(socket, peer):
    for _ in range(1000):
        socket.recv()
        socket.poll()


async def out_of_time(socket, peer):
    for _ in range(50):
        operations = [socket.recv(timeout=0.01) for _ in range(20)]
        while not all(operation.done() for operation in operations):
            await asyncio.sleep(0)
        for operation in operations:
            assert isinstance(operation.exception(), zmqcy.Again)


async def waits_for(socket, peer):
    outcomes = [asyncio.ensure_future(asyncio.wait_for(socket.recv(), 0.0001)) for _ in range(1000)]
    await asyncio.wait(outcomes)
    assert all(isinstance(outcome.exception(), asyncio.TimeoutError) for outcome in outcomes)


async def callbacks(socket, peer):
    def called(operation):
        raise AssertionError("it was taken back")

    for operation in [socket.recv() for _ in range(1000)]:
        operation.add_done_callback(called)
        assert operation.remove_done_callback(called) == 1


async def busy(socket, peer):
    for _ in range(200):
        received = [socket.recv() for _ in range(5)]
        await asyncio.gather(*(peer.send(b"x" * 100) for _ in range(5)))
        await asyncio.gather(*received)


WORKS = [cancelled_tasks, cancelled_futures, dropped, out_of_time, waits_for, callbacks, busy]


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS)
def test_30_000_waits_leave_nothing(pair_of, work):
    a, b = pair_of(zmqcy.asyncio)

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(10):
            await work(a, b)
            await turns(1)
        await turns(3)
        before, count = resident(), objects()
        for _ in range(30):
            await work(a, b)
            await turns(1)
            assert len(loop._scheduled) < 5000
        await turns(3)
        assert objects() == count == 0
        assert readers(loop) == []
        assert timers(loop) == []
        assert resident() - before < GROWTH

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_waits_of_anyio_leave_nothing(pair_of, backend):
    a, _ = pair_of(zmqcy.anyio)

    async def wait():
        with pytest.raises(zmqcy.Again):
            await a.recv(timeout=0.01)

    async def round():
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(a.recv)
                group.start_soon(wait)
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(0.001)
            group.cancel_scope.cancel()

    async def main():
        for _ in range(3):
            await round()
        before = resident()
        for _ in range(20):
            await round()
        assert pending() == []
        assert resident() - before < GROWTH

    anyio.run(main, backend=backend)


def test_a_socket_with_waiters_of_a_closed_loop_is_collected():
    context = zmqcy.asyncio.Context(linger=0)

    def use():
        socket = context.socket(zmqcy.PULL)
        socket.bind("tcp://127.0.0.1:*")
        loop = asyncio.new_event_loop()
        kept = []

        async def main():
            kept.append(socket.recv())
            kept.append(socket.poll(10_000))
            kept[0].add_done_callback(lambda _: socket)

        loop.run_until_complete(main())
        loop.close()
        kept.append(kept)
        return weakref.ref(socket), weakref.ref(kept[0])

    references = use()
    assert pending() == []
    assert [reference() for reference in references] == [None, None]
    context.term(timeout=LIMIT * 1000)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_was_dropped_with_all_that_waited_in_it_is_collected():
    context = zmqcy.asyncio.Context(linger=0)

    def use():
        socket = context.socket(zmqcy.PULL)
        loop = asyncio.new_event_loop()

        async def main():
            task = asyncio.ensure_future(socket.__anext__())
            await turns(2)
            return weakref.ref(task)

        reference = loop.run_until_complete(main())
        asyncio.set_event_loop(None)
        loop.set_exception_handler(lambda *_: None)  # a task is destroyed while it waits
        return weakref.ref(loop), weakref.ref(socket), reference

    references = use()
    gc.collect()
    assert pending() == []
    assert [reference() for reference in references] == [None, None, None]
    context.term(timeout=LIMIT * 1000)


def test_cycles_of_operation_task_and_waker_are_collected(pair_of):
    a, b = pair_of(zmqcy.asyncio)

    async def main():
        async def wait():
            operation = a.recv()
            cycle = [operation]
            cycle.append(cycle)
            operation.add_done_callback(lambda _: cycle)
            operation.remove_done_callback(print)
            return await operation

        task = asyncio.create_task(wait())
        await turns(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        reference = weakref.ref(task)
        del task
        await turns(1)
        gc.collect()
        assert reference() is None
        assert pending() == []
        await b.send(b"still there")
        assert await a.recv() == b"still there"

    asyncio.run(main())


def test_an_operation_that_is_dropped_lets_the_next_one_have_its_turn(pair_of):
    a, b = pair_of(zmqcy.asyncio)

    async def main():
        first, second = a.recv(), a.recv()
        del first
        await b.send(b"for the second")
        assert await asyncio.wait_for(second, LIMIT) == b"for the second"

    asyncio.run(main())


def test_who_was_woken_and_cancelled_leaves_the_message_to_the_next(pair_of):
    a, b = pair_of(zmqcy.asyncio)

    async def main():
        async def wait():
            return await a.recv()

        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await turns(2)
        await b.send(b"one")
        assert a.events is not None  # so that it is looked at
        await turns(1)
        first.cancel()
        await asyncio.wait([first, second], timeout=LIMIT, return_when=asyncio.FIRST_COMPLETED)
        while not second.done() and not (first.done() and not first.cancelled()):
            await asyncio.sleep(0)
        results = [task.result() for task in (first, second) if task.done() and not task.cancelled()]
        assert results == [b"one"]
        second.cancel()
        await turns(2)

    asyncio.run(main())


# ---------------------------------------------------------------------------------------- no call blocks the event loop


def test_a_context_with_a_message_that_cannot_be_sent_is_dropped_without_blocking(run):
    """The loop continues while the socket is collected, and the process ends within its exit_linger."""
    start = time.monotonic()
    done = run("""
        import asyncio, gc, zmqcy, zmqcy.asyncio
        zmqcy.exit_linger = 300
        ticks = 0
        async def tick():
            global ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)
        async def leak():
            context = zmqcy.asyncio.Context()
            socket = context.socket(zmqcy.PUSH)
            socket.connect("tcp://127.0.0.1:1")
            await socket.send(b"never")
            cycle = [context, socket]
            cycle.append(cycle)
        async def main():
            ticking = asyncio.create_task(tick())
            for _ in range(20):
                await leak()
                before = ticks
                gc.collect()
                await asyncio.sleep(0); await asyncio.sleep(0)
                assert ticks > before
            ticking.cancel()
        asyncio.run(main())
        print("end", flush=True)
    """)
    assert done.stdout == "end\n"
    assert [line for line in done.stderr.splitlines() if "dropped messages" not in line] == []
    assert time.monotonic() - start < 30  # bounded: libzmq's own linger is infinite


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("module", ["asyncio", "anyio"])
def test_an_end_that_waits_for_a_linger_lets_others_run(module):
    module = getattr(zmqcy, module)

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await anyio.sleep(0)

        context = module.Context()
        socket = context.socket(zmqcy.PUSH, linger=100)
        socket.connect("tcp://127.0.0.1:1")
        await socket.send(b"never")
        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            await context.aclose()
            group.cancel_scope.cancel()
        assert ticks > 10
        assert context.closed

    anyio.run(main)


# -------------------------------------------------------------------------------------------------------- process exit

ENDS = {
    "pending, loop closed": "asyncio.run(wait_for_a_while())",
    "pending, loop not closed": "loop = asyncio.new_event_loop(); loop.run_until_complete(leave(loop))",
    "loop stopped in the middle": """
        loop = asyncio.new_event_loop()
        loop.call_later(0.01, loop.stop)
        kept = loop.create_task(wait_in_all_ways())
        loop.run_forever()
        kept.cancel()
        try:
            loop.run_until_complete(kept)
        except asyncio.CancelledError:
            pass
        loop.close()""",
    "socket is global, operations are kept": "asyncio.run(keep())",
    "socket is used after its loop": "asyncio.run(keep()); socket.events; socket.close(); look_at_kept()",
    "context ends after the loop": "asyncio.run(keep()); socket.close(); full.close(); context.term(); look_at_kept()",
    "exit in a task": """
        async def main():
            waiting = asyncio.ensure_future(wait_in_all_ways())
            await asyncio.sleep(0.01)
            raise SystemExit(0)
        asyncio.run(main())""",
    "dropped in a thread": """
        import threading
        thread = threading.Thread(target=lambda: asyncio.run(keep()))
        thread.start(); thread.join()""",
}
BEGIN = """
import asyncio, warnings
import zmqcy, zmqcy.asyncio
warnings.simplefilter("ignore", ResourceWarning)  # about the loops that are not closed
context = zmqcy.asyncio.Context()
socket = context.socket(zmqcy.PULL)
socket.bind("tcp://127.0.0.1:*")
full = context.socket(zmqcy.PUSH, sndhwm=1)
kept = []
async def wait_in_all_ways():
    await asyncio.wait([asyncio.ensure_future(work) for work in (socket.recv(), socket.poll(), full.send(b"x"))])
async def wait_for_a_while():
    kept.append(asyncio.ensure_future(wait_in_all_ways()))
    await asyncio.sleep(0.01)
async def keep():
    kept.extend([socket.recv(), socket.poll(1000), full.send_many([b"1", b"2"])])
    kept[0].add_done_callback(print)
    await asyncio.sleep(0.01)
async def leave(loop):
    await keep()
def look_at_kept():
    for each in kept:
        each.cancelled() or each.done() and each.exception()
"""


@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("how", ENDS)
def test_a_process_that_ends_with_operations_says_nothing(run, how, debug):
    lines = ENDS[how].strip("\n")
    indented = len(lines) - len(lines.lstrip())
    code = BEGIN + "\n".join(line[indented:] for line in lines.splitlines())
    done = run(code, env={"PYTHONASYNCIODEBUG": debug})
    assert done.stderr == ""


# ------------------------------------------------------------------------------------------------------- regressions


def test_the_end_of_a_context_closes_what_told_of_it(run):
    done = run("""
        import asyncio, zmqcy.asyncio
        async def main():
            for _ in range(300):  # sometimes it has ended before the wait
                async with zmqcy.asyncio.Context() as context:
                    context.socket(zmqcy.PULL)
        asyncio.run(main())
    """)
    assert done.stderr == ""


def keep_from_turning(socket):
    """Send until an operation of the socket must wait for an event-loop iteration. Return this send."""
    for _ in range(3000):
        operation = socket.send(b"")
        if not isinstance(operation, Done):
            return operation
    raise AssertionError("the loop need never turn")


@pytest.mark.parametrize("call", [lambda s: s.recv(), lambda s: s.recv(timeout=50), lambda s: s.poll(50)])
def test_a_future_that_lets_the_loop_turn_first_ends_all_the_same(call):
    async def main():
        with zmqcy.asyncio.Context(linger=0) as context:
            a, b = context.socket(zmqcy.PAIR, sndhwm=0), context.socket(zmqcy.PAIR, rcvhwm=0)
            b.bind(f"inproc://{next(names)}")
            a.connect(b.last_endpoint)
            kept = keep_from_turning(a)
            waiting = call(a)
            ended = asyncio.Event()
            waiting.add_done_callback(lambda _: ended.set())
            await turns(5)
            assert kept.done()
            await b.send(b"answer")
            await asyncio.wait_for(ended.wait(), LIMIT)
            waiting.exception()

    asyncio.run(main())


@pytest.mark.parametrize("return_exceptions", [False, True])
def test_a_gather_of_operations_can_be_cancelled(pair_of, return_exceptions):
    a, _ = pair_of(zmqcy.asyncio)

    async def main():
        async def wait():
            await asyncio.gather(a.recv(), a.recv(), return_exceptions=return_exceptions)

        task = asyncio.create_task(wait())
        await turns(3)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=LIMIT)
        assert done and task.cancelled()

    loop = asyncio.new_event_loop()  # asyncio.run() would wait for the task
    loop.set_exception_handler(lambda *_: None)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("end", ["task", "operation"])
def test_a_cancelled_batch_says_how_many_went(pair_of, end):
    a, _ = pair_of(zmqcy.asyncio)

    async def main():
        operation = a.send_many([b"1"] * 10)

        async def wait():
            await operation

        task = asyncio.create_task(wait())
        await turns(3)
        (task if end == "task" else operation).cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        return operation.sent, vars(caught.value)

    sent, attributes = asyncio.run(main())
    assert sent > 0
    assert attributes == {"sent": sent}


def test_a_task_that_is_cancelled_when_its_socket_is_closed_leaves_no_complaint(pair_of):
    a, _ = pair_of(zmqcy.asyncio)
    complaints = []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))

        async def wait():
            await a.recv()

        task = asyncio.create_task(wait())
        await turns(2)
        a.close()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        del task
        gc.collect()

    asyncio.run(main())
    assert complaints == []


def test_anyio_woken_and_out_of_time_at_once(pair_of):
    a, b = pair_of(zmqcy.anyio)

    async def main():
        got = []

        async def wait():
            try:
                got.append(await a.recv(timeout=10))
            except zmqcy.Again as error:
                got.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            await b.send(b"in time")
            assert a.events is not None  # it is read in the next iteration, when the timeout has passed too
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass
        left = a.try_recv()
        assert got == [b"in time"] if left is None else isinstance(got[0], zmqcy.Again)

    anyio.run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_anyio_three_that_wait(pair_of, backend):
    a, b = pair_of(zmqcy.anyio)

    async def main():
        got = []

        async def wait():
            got.append(await a.recv())

        async def until(count):
            with anyio.fail_after(LIMIT):
                while len(got) < count:
                    await anyio.sleep(0.001)

        async with anyio.create_task_group() as group:
            try:
                for _ in range(3):
                    group.start_soon(wait)
                    await anyio.sleep(0.01)
                await b.send(b"1")
                await b.send(b"2")
                await until(2)
                for _ in range(5):
                    await anyio.sleep(0.001)
                await b.send(b"3")
                await until(3)
            finally:
                group.cancel_scope.cancel()
        assert got == [b"1", b"2", b"3"]

    anyio.run(main, backend=backend)


def bring_to_checkpoint(socket):
    """Make the next operation of an anyio socket begin with a checkpoint."""
    receive = zmqcy._aio.FutureSocket.recv_multipart
    for _ in range(1000):
        operation = receive(socket)
        yields = operation._yielding
        operation.cancel()
        if yields:
            break
    for _ in range(127):
        operation = receive(socket)
        assert not operation._yielding
        operation.cancel()


def test_anyio_cancelled_at_its_checkpoint(pair_of):
    """A task that is cancelled there has received nothing. (Many attempts, because trio runs tasks in any order.)"""
    a, b = pair_of(zmqcy.anyio)

    async def main():
        for number in range(40):
            got = []
            scope, watched = anyio.CancelScope(), anyio.CancelScope()

            async def wait(scope=scope, got=got):
                with scope:
                    got.append(await a.recv_multipart())

            async def watch(watched=watched):
                with watched:
                    await a.poll(None, zmqcy.POLLERR)

            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                await anyio.sleep(0.001)
                bring_to_checkpoint(a)
                await b.send(b"%d" % number)
                group.start_soon(wait)
                assert a.events is not None  # it is read in the next iteration
                await anyio.lowlevel.checkpoint()
                scope.cancel()
                await anyio.sleep(0.001)
                watched.cancel()
            assert got or a.try_recv() == b"%d" % number

    anyio.run(main, backend="trio")


def test_anyio_the_leader_goes_while_the_next_one_is_at_its_checkpoint(pair_of):
    """The next task must watch the file descriptor. (Many attempts, because trio runs tasks in any order.)"""

    async def main():
        for _ in range(20):
            a, b = pair_of(zmqcy.anyio)
            got = []

            async def within(scope, call, *arguments):
                with scope:
                    await call(*arguments)

            async def last(a=a, got=got):
                got.append(await a.recv_multipart())

            async with anyio.create_task_group() as group:
                try:
                    leader, following = anyio.CancelScope(), anyio.CancelScope()
                    group.start_soon(within, leader, a.poll, None, zmqcy.POLLERR)
                    await anyio.sleep(0.002)
                    bring_to_checkpoint(a)
                    group.start_soon(within, following, a.recv_multipart)
                    await anyio.lowlevel.checkpoint()
                    group.start_soon(last)
                    leader.cancel()
                    following.cancel()
                    for _ in range(5):
                        await anyio.sleep(0.001)
                    await b.send(b"m")
                    with anyio.fail_after(LIMIT):
                        while not got:
                            await anyio.sleep(0.001)
                finally:
                    group.cancel_scope.cancel()

    anyio.run(main, backend="trio")


def test_anyio_a_new_socket_with_the_descriptor_of_a_closed_one():
    async def main():
        context = zmqcy.anyio.Context(linger=0)
        a, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
        push.bind(f"inproc://{next(names)}")

        async def wait():
            with pytest.raises(zmqcy.ZMQError):
                await a.recv()

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(0.01)
            fd = a.fileno()
            a.close()
            while True:  # until libzmq has closed it, in another thread
                try:
                    os.fstat(fd)
                except OSError:
                    break
            b = context.socket(zmqcy.PULL)
            assert b.fileno() == fd
            b.connect(push.last_endpoint)

            async def send():
                await anyio.sleep(0.01)
                await push.send(b"x")

            group.start_soon(send)
            try:
                with anyio.fail_after(LIMIT):
                    assert await b.recv() == b"x"
            finally:
                context.destroy(0)

    anyio.run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_anyio_a_socket_in_two_loops_one_after_the_other(pair_of, backend):
    a, _ = pair_of(zmqcy.anyio)

    async def main():
        with anyio.move_on_after(0.01):
            await a.recv()

    anyio.run(main, backend=backend)
    anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_anyio_a_socket_is_used_after_its_loop(run, backend):
    done = run(f"""
        import anyio, zmqcy, zmqcy.anyio
        context = zmqcy.anyio.Context(linger=0)
        socket = context.socket(zmqcy.PULL)
        async def main():
            with anyio.move_on_after(0.01):
                await socket.recv()
        anyio.run(main, backend={backend!r})
        socket.events
        socket.close()
    """)
    assert done.stderr == ""


def test_anyio_a_task_that_only_sends_and_receives_lets_others_run():
    async def main():
        with zmqcy.anyio.Context(linger=0) as context:
            a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
            a.bind(f"inproc://{next(names)}")
            b.connect(a.last_endpoint)
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as group:
                group.start_soon(tick)
                await anyio.lowlevel.checkpoint()
                before = ticks
                for _ in range(2000):
                    await a.send(b"x")
                    assert await b.recv() == b"x"
                after = ticks
                group.cancel_scope.cancel()
            assert after - before > 10

    anyio.run(main, backend="trio")


def test_a_program_ends_with_an_operation_in_a_cycle(run):
    run("""
        import asyncio, zmqcy
        from zmqcy.asyncio import Context

        async def main():
            pull = Context(linger=0).socket(zmqcy.PULL)
            known = {"operation": pull.recv(), "pull": pull}
            known["known"] = known

        asyncio.run(main())
    """)


def test_each_exception_that_nobody_asked_for_is_told():
    async def main():
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, about: told.append(about["exception"]))
        async with zmqcy.asyncio.Context(linger=0) as context:
            pull = context.socket(zmqcy.PULL)
            for _ in range(3):
                operation = pull.recv(timeout=1)
                while not operation.done():
                    await asyncio.sleep(0)
                del operation
        assert [type(error) for error in told] == [zmqcy.TimedOut] * 3

    asyncio.run(main())


def test_a_loop_sleeps_while_a_router_waits_for_room_for_one_peer():
    async def main():
        asleep = asyncio.Event()
        loop = asyncio.get_running_loop()
        select = loop._selector.select

        def watched(timeout=None):
            if timeout is None or timeout > 0:
                asleep.set()
            return select(timeout)

        async with zmqcy.asyncio.Context(linger=0) as context:
            router = context.socket(zmqcy.ROUTER, sndhwm=1, router_mandatory=True)
            router.bind("inproc://router")
            peers = [context.socket(zmqcy.DEALER, rcvhwm=1, routing_id=name) for name in (b"full", b"free")]
            for peer in peers:
                peer.connect("inproc://router")
                await peer.send(b"here")
                await router.recv_multipart()
            sending = [asyncio.ensure_future(send_to(router, b"full")) for _ in range(5)]
            await asyncio.sleep(0)
            await peers[1].send(b"something for the router to look at")
            await router.recv_multipart()
            for _ in range(10):
                await asyncio.sleep(0)
            loop._selector.select = watched
            waiting = asyncio.ensure_future(asleep.wait())
            await asyncio.wait([waiting], timeout=LIMIT)
            for task in [waiting, *sending]:
                task.cancel()
            ended = await asyncio.gather(waiting, *sending, return_exceptions=True)
            assert isinstance(ended[-1], asyncio.CancelledError)  # the task had to wait
            assert ended[0] is True

    asyncio.run(main())


async def send_to(router, peer):
    await router.send_multipart([peer, b""])


async def end_in_a_cycle():
    known = {"context": zmqcy.asyncio.Context()}
    known["known"] = known
    gc.collect(0)
    await known["context"].aclose()


def test_the_end_of_a_context_leaves_no_descriptor():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(end_in_a_cycle())
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_who_leaves_before_its_try_lets_the_next_one_have_its_turn(pair_of):
    """The cancelled operation was at the head of the queue, and was to be tried in the next event-loop iteration."""
    a, b = pair_of(zmqcy.asyncio)

    async def main():
        loop = asyncio.get_running_loop()
        behind = []

        def leave(first):
            behind.append(a.recv())
            assert not behind[0]._yielding
            assert b.try_send(b"it")
            a._look()
            assert first.cancel()

        for _ in range(100):  # now the end of the iteration is scheduled: before it leaves
            a.recv()  # the dropped operation receives nothing
        first = a.recv()
        while not first._yielding:
            first = a.recv()
        loop.call_soon(leave, first)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await asyncio.wait_for(behind[0], LIMIT) == b"it"

    asyncio.run(main())


@pytest.mark.parametrize("name", ["asyncio", "anyio"])
def test_a_cancelled_aclose_leaves_the_threads_of_libzmq_at_work(name):
    """The thread that closes sockets would block if no socket received the last event."""
    module = {"asyncio": zmqcy.asyncio, "anyio": zmqcy.anyio}[name]

    async def main():
        context = module.Context()
        taker = context.socket(zmqcy.PULL, linger=0)
        for _ in range(3):
            taker.bind("tcp://127.0.0.1:*")
            endpoint = taker.last_endpoint
            taker.unbind(endpoint)
            push = context.socket(zmqcy.PUSH, linger=50)
            push.connect(endpoint)
            await push.send(b"x")
            with anyio.move_on_after(0.01):
                await push.aclose()
            assert push.closed
        other = context.socket(zmqcy.PUSH, linger=300)  # longer than those before
        other.connect(endpoint)
        await other.send(b"x")
        with anyio.fail_after(LIMIT):
            await other.aclose()  # closed by the same libzmq thread
        taker.close()
        context.term(timeout=LIMIT * 1000)

    anyio.run(main)
