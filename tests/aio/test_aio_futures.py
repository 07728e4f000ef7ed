"""Operations of zmqcy.asyncio as futures: their methods, and their use with asyncio's functions."""

import asyncio
import contextlib
import contextvars
import gc
import sys

import anyio
import pytest
from aio import ASYNCIO, LIMIT, Task, caught, everything, turns, until, whole

import zmqcy

pytestmark = pytest.mark.usefixtures("flavour", "ctx")
on_asyncio = pytest.mark.parametrize("flavour", ASYNCIO, indirect=True)


@on_asyncio
async def test_what_is_done_is_a_future(near):
    pull, push = near()
    done = push.send(b"x")
    assert asyncio.isfuture(done)
    assert (done.done(), done.cancelled(), done.result(), done.exception()) == (True, False, None, None)
    assert done.cancel() is False
    assert done.get_loop() is asyncio.get_running_loop()
    assert await done is await done is None
    assert await pull.recv() == b"x"
    assert await asyncio.wait_for(push.send(b"y"), 5) is None
    assert await asyncio.ensure_future(pull.recv()) == b"y"


@on_asyncio
async def test_what_waits_is_a_future(near):
    pull, push = near()
    operation = pull.recv()
    assert asyncio.isfuture(operation)
    assert (operation.done(), operation.cancelled()) == (False, False)
    for method in (operation.result, operation.exception):
        with pytest.raises(asyncio.InvalidStateError):
            method()
    assert operation.get_loop() is asyncio.get_running_loop()
    await push.send(b"x")
    await until(operation.done)
    assert (operation.result(), operation.exception(), operation.cancelled()) == (b"x", None, False)
    assert operation.cancel() is False
    assert await operation == await operation == b"x"


@on_asyncio
async def test_failed_future(socket):
    pull = socket(zmqcy.PULL)
    for failed in (pull.recv(flags=zmqcy.DONTWAIT), pull.recv(timeout=1)):
        assert asyncio.isfuture(failed)
        assert isinstance(await caught(failed), zmqcy.Again)
        assert failed.done()
        assert isinstance(failed.exception(), zmqcy.Again)
        with pytest.raises(zmqcy.Again):
            failed.result()
        with pytest.raises(zmqcy.Again):
            await failed
    assert not isinstance(pull.recv(timeout=1).exception, zmqcy.Again)


@on_asyncio
async def test_cancelled_future(near):
    pull, push = near()
    operation = pull.recv()
    assert operation.cancel() is True
    assert operation.cancel() is False
    assert (operation.done(), operation.cancelled()) == (True, True)
    for method in (operation.result, operation.exception):
        with pytest.raises(asyncio.CancelledError):
            method()
    with pytest.raises(asyncio.CancelledError):
        await operation
    await push.send(b"x")
    await turns()
    assert pull.try_recv() == b"x"


@on_asyncio
async def test_message_of_a_cancellation(near):
    pull, _ = near()
    operation = pull.recv()
    operation.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        operation.result()


@on_asyncio
@pytest.mark.parametrize("waits", [False, True], ids=["Done", "Operation"])
async def test_callbacks(near, waits):
    """The loop calls them later with the operation, in the order and with the context of their registration."""
    pull, push = near()
    if not waits:
        await push.send(b"x")
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 1)
    called = []
    operation = pull.recv()
    assert operation.done() is not waits
    operation.add_done_callback(lambda each: called.append(("given", variable.get(), each)), context=context)
    variable.set(2)
    operation.add_done_callback(lambda each: called.append(("own", variable.get(), each)))
    variable.set(3)
    if waits:
        assert await push.send(b"x") is None
    assert called == []
    await until(lambda: len(called) == 2)
    assert called == [("given", 1, operation), ("own", 2, operation)]
    operation.add_done_callback(called.append)
    assert len(called) == 2
    await turns(2)
    assert called[2:] == [operation]


@on_asyncio
async def test_callbacks_taken_back(near):
    pull, push = near()
    called, other = [], []
    operation = pull.recv()
    operation.add_done_callback(called.append)
    operation.add_done_callback(other.append)
    operation.add_done_callback(called.append)
    assert operation.remove_done_callback(called.append) == 2
    assert operation.remove_done_callback(called.append) == 0
    await push.send(b"x")
    await until(lambda: other)
    await turns()
    assert (called, other) == ([], [operation])
    assert (await push.send(b"x"), push.send(b"y").remove_done_callback(called.append)) == (None, 0)


@on_asyncio
async def test_callback_of_what_is_cancelled(near):
    pull, _ = near()
    called = []
    operation = pull.recv()
    operation.add_done_callback(called.append)
    operation.cancel()
    assert called == []
    await turns(2)
    assert called == [operation]


@on_asyncio
async def test_callback_that_raises_goes_to_the_handler(flavour, near):
    pull, push = near()
    error = ZeroDivisionError()

    def raise_it(_):
        raise error

    for waits in (False, True):
        if not waits:
            await push.send(b"x")
        operation = pull.recv()
        operation.add_done_callback(raise_it)
        if waits:
            await push.send(b"x")
        await until(lambda: flavour.reported)
        assert [context["exception"] for context in flavour.reported] == [error]
        flavour.reported.clear()
        assert operation.result() == b"x"
    await push.send(b"y")
    assert await pull.recv() == b"y"


@on_asyncio
async def test_exception_that_nobody_retrieves_is_reported(flavour, near):
    pull, push = near()
    operation = pull.recv(timeout=1)
    await until(operation.done)
    del operation
    gc.collect()
    assert [type(context["exception"]) for context in flavour.reported] == [zmqcy.TimedOut]
    assert "never retrieved" in flavour.reported[0]["message"]
    flavour.reported.clear()
    operation = pull.recv(timeout=1)
    await until(operation.done)
    assert isinstance(operation.exception(), zmqcy.Again)
    del operation
    gc.collect()
    await push.send(b"x")
    assert await pull.recv() == b"x"


@on_asyncio
async def test_operation_that_two_tasks_await(near):
    pull, push = near()
    operation = pull.recv()

    async def wait():
        return await operation

    async with anyio.create_task_group() as group:
        tasks = [Task(group, wait) for _ in range(3)]
        await turns()
        await push.send(b"x")
    assert [task.result for task in tasks] == [b"x"] * 3
    assert await everything(pull, push) == []


@on_asyncio
async def test_one_of_two_tasks_that_await_an_operation_is_cancelled(near):
    """Either the operation is cancelled, or the other task gets the message. No message is lost."""
    pull, push = near()
    operation = pull.recv()

    async def wait():
        return await operation

    first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
    await turns()
    first.cancel()
    await push.send(b"x")
    results = await asyncio.wait_for(asyncio.gather(first, second, return_exceptions=True), 5)
    assert isinstance(results[0], asyncio.CancelledError)
    rest = await everything(pull, push)
    assert (results[1] == b"x") != (rest == [[b"x"]])


@on_asyncio
async def test_gather(near):
    pull, push = near()
    operations = [pull.recv() for _ in range(5)]
    gathered = asyncio.gather(*operations)
    await push.send_many([b"%d" % i for i in range(5)])
    assert await gathered == [b"%d" % i for i in range(5)]
    assert await asyncio.gather(push.send(b"a"), push.send(b"b")) == [None, None]
    assert await asyncio.gather(pull.recv(), pull.recv()) == [b"a", b"b"]


@on_asyncio
async def test_cancelled_gather_takes_nothing(near):
    pull, push = near()
    gathered = asyncio.gather(pull.recv(), pull.recv())
    await turns()
    gathered.cancel()
    assert await asyncio.wait([gathered], timeout=LIMIT / 1000) == ({gathered}, set())
    with pytest.raises(asyncio.CancelledError):
        gathered.result()
    await push.send_many([b"a", b"b"])
    assert await everything(pull, push) == whole(b"a", b"b")


@on_asyncio
async def test_wait_for_the_first(near):
    (one, to_one), (two, to_two) = near(), near()
    operations = {one.recv(), two.recv()}
    await to_two.send(b"2")
    done, pending = await asyncio.wait(operations, return_when=asyncio.FIRST_COMPLETED)
    assert [each.result() for each in done] == [b"2"]
    for each in pending:
        assert each.cancel()
    await to_one.send(b"1")
    assert await everything(one, to_one) == whole(b"1")
    assert await everything(two, to_two) == []


@on_asyncio
async def test_wait_with_a_time(near):
    pull, push = near()
    operation = pull.recv()
    done, pending = await asyncio.wait([operation], timeout=0.001)
    assert (done, pending) == (set(), {operation})
    await push.send(b"x")
    done, pending = await asyncio.wait([operation], timeout=LIMIT / 1000)
    assert (done, operation.result()) == ({operation}, b"x")


@on_asyncio
async def test_as_completed(near):
    pairs = [near() for _ in range(4)]
    operations = [pull.recv() for pull, _ in pairs]
    for i, (_, push) in enumerate(pairs):
        await push.send(b"%d" % i)
    assert sorted([await each for each in asyncio.as_completed(operations)]) == [b"0", b"1", b"2", b"3"]


@on_asyncio
async def test_wait_for_loses_nothing(near):
    pull, push = near()
    for _ in range(3):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pull.recv(), 0.001)
    await push.send(b"x")
    assert await asyncio.wait_for(pull.recv(), 5) == b"x"
    operation = pull.recv()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(operation, 0)
    assert operation.cancelled()
    await push.send(b"y")
    assert await everything(pull, push) == whole(b"y")


@on_asyncio
async def test_shield(near):
    pull, push = near()
    operation = pull.recv()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(operation), 0.001)
    assert not operation.done()
    await push.send(b"x")
    assert await operation == b"x"


@on_asyncio
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout and TaskGroup are of Python 3.11")
async def test_timeout_and_task_group(near):
    pull, push = near()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await pull.recv()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:

        async def receive():
            return await pull.recv()

        tasks = [group.create_task(receive()) for _ in range(3)]
        await turns()
        await push.send_many([b"0", b"1", b"2"])
    assert [task.result() for task in tasks] == [b"0", b"1", b"2"]


@on_asyncio
@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is of Python 3.11")
async def test_cancelled_batch_in_a_timeout_tells_what_went(near):
    pull, push = near(rcvhwm=1, sndhwm=1)
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.001):
            await push.send_many([b"x"] * 9)
    assert caught.value.__cause__.sent == len(await everything(pull, push)) == 2


@on_asyncio
async def test_operation_that_nobody_refers_to_takes_nothing(near):
    pull, push = near()
    pull.recv()
    pull.recv_multipart(timeout=LIMIT)
    gc.collect()
    await turns()
    await push.send(b"x")
    await turns()
    assert pull.try_recv() == b"x"


@on_asyncio
async def test_future_that_only_its_callback_waits_for_is_kept(near):
    pull, push = near()
    called = []
    pull.recv().add_done_callback(lambda each: called.append(each.result()))
    gc.collect()
    await push.send(b"x")
    await until(lambda: called)
    assert called == [b"x"]


@on_asyncio
async def test_message_and_cancellation_in_the_same_turn(near):
    """The task is cancelled right before, and right after, its socket is read."""
    pull, push = near()
    for early in (True, False):

        async def receive():
            return await pull.recv()

        task = asyncio.ensure_future(receive())
        await turns(2)
        await push.send(b"x")
        if early:
            task.cancel()
        else:
            asyncio.get_running_loop().call_soon(task.cancel)
        assert pull.events == zmqcy.POLLIN  # has it looked at soon
        with contextlib.suppress(asyncio.CancelledError):
            assert await task == b"x"
        assert task.cancelled() == (await everything(pull, push) == whole(b"x"))


@on_asyncio
def test_run_until_complete(flavour, ctx, near):
    pull, push = near()
    options = flavour.options
    loop = options["loop_factory"]() if "loop_factory" in options else asyncio.new_event_loop()
    loop.set_debug(options.get("debug", False))

    async def begin():
        return pull.recv(), push.send(b"x")

    try:
        operation, done = loop.run_until_complete(begin())
        assert loop.run_until_complete(done) is None
        assert loop.run_until_complete(operation) == b"x"
        pull.close()
        push.close()
    finally:
        loop.close()


@on_asyncio
async def test_who_iterates_over_an_operation_and_does_not_wait_is_told(flavour, near):
    # As with asyncio's futures: `in` would loop endlessly in C, without signal handling.
    pull, push = near()
    operation = pull.recv()
    with pytest.raises(RuntimeError, match="^recv: the operation was iterated over; use await$"):
        assert b"a" not in operation
    await push.send(b"a")
    assert await operation == b"a"


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
def test_operations_outlive_their_loop_and_socket(run):
    """Each method, in each state, returns or raises, whatever objects are closed."""
    done = run("""
        import asyncio

        import zmqcy
        import zmqcy.asyncio

        STATES = ("at once", "failed", "finished", "cancelled", "pending", "called back", "awaited", "waker")
        calls = 0

        async def make(pull, push, state):
            if state == "at once":
                operation = push.send(b"0")
                await pull.recv()
                return operation
            operation = pull.recv(timeout=1 if state == "failed" else None)
            if state == "failed":
                await asyncio.wait([operation])
            elif state == "finished":
                await push.send(b"1")
                await asyncio.wait([operation])
            elif state == "cancelled":
                operation.cancel()
            elif state == "called back":
                operation.add_done_callback(str)
            elif state in ("awaited", "waker"):
                waker = next(operation.__await__())
                return waker if state == "waker" else operation
            return operation

        async def elsewhere(pull):
            await pull.poll(1)

        def use(name, operation, *arguments):
            global calls
            calls += 1
            try:
                value = getattr(operation, name)
                value = value(*arguments) if callable(value) else value
                if name in ("__await__", "__iter__"):
                    next(value)
            except (Exception, StopIteration, asyncio.CancelledError) as error:
                assert not isinstance(error, SystemError)

        for state in STATES:
            for gone in ("nothing", "loop", "loop and socket", "loop, for another one"):
                loop = asyncio.new_event_loop()
                loop.set_exception_handler(lambda *_: None)
                context = zmqcy.asyncio.Context(linger=0)
                pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
                pull.bind("inproc://kept")
                push.connect("inproc://kept")
                operation = loop.run_until_complete(make(pull, push, state))
                if gone != "nothing":
                    loop.close()
                if gone == "loop and socket":
                    pull.close()
                    push.close()
                if gone == "loop, for another one":
                    asyncio.run(elsewhere(pull))
                assert operation.get_loop() is loop
                public = [name for name in dir(operation) if not name.startswith("__")]
                for name in [*public, "__repr__", "__await__", "__iter__", "__next__", "__del__"]:
                    for arguments in ((), (str,), (ValueError,)):
                        use(name, operation, *arguments)
                assert operation.get_loop() is loop
                loop.close()
                context.destroy(0)
        print(calls)
    """)
    assert int(done.stdout) > 1000
    assert done.stderr == ""


@pytest.mark.parametrize("flavour", ["asyncio"], indirect=True)
async def test_nobody_else_makes_what_sockets_return(near):
    pull, push = near()
    operation = pull.recv()
    waker = next(operation.__await__())
    for cls in (type(push.send(b"x")), type(operation), type(waker)):
        for make in (cls, lambda cls=cls: cls.__new__(cls)):
            with pytest.raises(TypeError, match="cannot create"):
                make()
