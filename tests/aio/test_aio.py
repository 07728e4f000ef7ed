"""Asynchronous sockets on every event loop: the results of operations, when they end, and that no message is lost."""

import contextlib
import itertools
import threading
import time
from datetime import timedelta
from errno import EMSGSIZE, ENOTSOCK

import anyio
import pytest
from aio import END, LIMIT, Task, caught, everything, fill, on_any_loop, on_each_module, turns, until, waiting, whole
from anyio.lowlevel import checkpoint

import zmqcy

pytestmark = pytest.mark.usefixtures("flavour", "ctx")


# ------------------------------------------------------------------------------------------------------- operations

BUFFER = bytearray(16)


async def into(socket, **options):
    BUFFER[:] = bytes(16)
    size = await socket.recv_into(BUFFER, **options)
    return bytes(BUFFER[:size])


async def parts_into(socket, **options):
    buffers = [bytearray(4) for _ in range(4)]
    sizes = await socket.recv_multipart_into(buffers, **options)
    return [bytes(buffer[:size]) for buffer, size in zip(buffers, sizes, strict=False)]


async def frames(socket, **options):
    parts = await socket.recv_multipart(copy=False, **options)
    assert all(type(part) is zmqcy.Frame for part in parts)
    return [part.bytes for part in parts]


async def frame(socket, **options):
    part = await socket.recv(copy=False, **options)
    assert type(part) is zmqcy.Frame
    return part.bytes


async def in_parts(socket, **options):
    await socket.send(b"a", zmqcy.SNDMORE, **options)
    await socket.send(b"b", **options)


SENDS = {
    "send": (lambda s, **o: s.send(b"a", **o), None, [b"a"]),
    "send a bytearray": (lambda s, **o: s.send(bytearray(b"a"), **o), None, [b"a"]),
    "send a Frame": (lambda s, **o: s.send(zmqcy.Frame(b"a"), **o), None, [b"a"]),
    "send without a copy": (lambda s, **o: s.send(b"a" * 9999, copy=False, **o), None, [b"a" * 9999]),
    "send in parts": (in_parts, None, [b"a", b"b"]),
    "send_multipart": (lambda s, **o: s.send_multipart([b"a", b"", b"c"], **o), None, [b"a", b"", b"c"]),
    "send_many": (lambda s, **o: s.send_many([b"a"], **o), 1, [b"a"]),
    "send_multipart_many": (lambda s, **o: s.send_multipart_many([[b"a", b"b"]], **o), 1, [b"a", b"b"]),
    "send_string": (lambda s, **o: s.send_string("ä", **o), None, ["ä".encode()]),
    "send_json": (lambda s, **o: s.send_json({"a": 1}, **o), None, [b'{"a":1}']),
    "send_serialized": (
        lambda s, **o: s.send_serialized("ab", lambda v: [*map(str.encode, v)], **o),
        None,
        [b"a", b"b"],
    ),
}
RECEIVES = {
    "recv": (lambda s, **o: s.recv(**o), [b"a"], b"a"),
    "recv a Frame": (frame, [b"a"], b"a"),
    "recv_into": (into, [b"abc"], b"abc"),
    "recv_multipart": (lambda s, **o: s.recv_multipart(**o), [b"a", b"", b"c"], [b"a", b"", b"c"]),
    "recv_multipart, Frames": (frames, [b"a", b"b"], [b"a", b"b"]),
    "recv_multipart_into": (parts_into, [b"a", b"bcd"], [b"a", b"bcd"]),
    "recv_many": (lambda s, **o: s.recv_many(**o), [b"a"], [b"a"]),
    "recv_multipart_many": (lambda s, **o: s.recv_multipart_many(**o), [b"a", b"b"], [[b"a", b"b"]]),
    "recv_string": (lambda s, **o: s.recv_string(**o), ["ä".encode()], "ä"),
    "recv_json": (lambda s, **o: s.recv_json(**o), [b'{"a":1}'], {"a": 1}),
    "recv_serialized": (lambda s, **o: s.recv_serialized(b"".join, **o), [b"a", b"b"], b"ab"),
}
# Differences between calls are in the core, which all loops share, and in the methods of the two modules.
sends = on_each_module("name", SENDS)
receives = on_each_module("name", RECEIVES)


def call_of(name):
    """Return the call that errors in a row of the tables name."""
    call = name.partition(" ")[0].rstrip(",")
    base = {"string": "", "json": "", "serialized": "_multipart"}
    start, _, form = call.partition("_")
    return start + base[form] if form in base else call


@sends
async def test_send_at_once(near, name):
    pull, push = near()
    send, result, message = SENDS[name]
    assert await send(push) == result
    assert await pull.recv_multipart() == message
    assert push.stats.waits == 0


@sends
async def test_send_after_a_wait(narrow, name):
    pull, push = narrow()
    send, result, message = SENDS[name]
    sent = fill(push)
    async with anyio.create_task_group() as group:
        task = await waiting(group, push, send, push)
        got = [await pull.recv_multipart()]
        while got[-1] != message:
            got.append(await pull.recv_multipart())
    assert task.error is None
    assert task.result == result
    assert got == [*whole(*sent), message]
    assert await everything(pull, push) == []


@receives
async def test_receive_at_once(near, name):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    await push.send_multipart(message)
    assert await receive(pull) == result
    assert pull.stats.waits == 0


@receives
async def test_receive_after_a_wait(near, name):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, receive, pull)
        await push.send_multipart(message)
    assert (task.result, task.error) == (result, None)
    assert pull.stats.waits == 1
    assert await everything(pull, push) == []


over_each_transport = on_each_module("transport", ["inproc", "ipc", "tcp"])


@over_each_transport
async def test_round_trips_over_each_transport(pair):
    rep, req = pair(zmqcy.REP, zmqcy.REQ)

    async def serve():
        for _ in range(100):
            await rep.send_multipart((await rep.recv_multipart())[::-1])

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        for i in range(100):
            await req.send_multipart([b"%d" % i, b"x" * i])
            assert await req.recv_multipart() == [b"x" * i, b"%d" % i]


@over_each_transport
async def test_many_messages_over_each_transport(pair):
    pull, push = pair(zmqcy.PULL, zmqcy.PUSH, {"rcvhwm": 10}, {"sndhwm": 10})
    messages = [b"%d" % i * 500 for i in range(2000)]
    got = []
    async with anyio.create_task_group() as group:
        task = Task(group, push.send_many, messages)
        while len(got) < len(messages):
            got += await pull.recv_many(7)
    assert got == messages
    assert task.result == len(messages)


async def test_recv_many_takes_what_is_there(near):
    pull, push = near()
    messages = [b"%d" % i for i in range(5)]
    assert await push.send_many(messages) == 5
    assert await pull.recv_many(2) == messages[:2]
    assert await pull.recv_many() == messages[2:]
    assert await push.send_multipart_many([[m, m] for m in messages]) == 5
    assert await pull.recv_multipart_many(2) == [[m, m] for m in messages[:2]]
    assert await pull.recv_multipart_many() == [[m, m] for m in messages[2:]]


async def test_a_batch_ends_by_its_bytes(near):
    """Queued messages, and messages for which a task has waited."""
    pull, push = near()
    for call in ("recv_many", "recv_multipart_many"):
        receive = getattr(pull, call)
        async with anyio.create_task_group() as group:
            waiting = Task(group, receive, max_bytes=2)
            await anyio.wait_all_tasks_blocked()
            await push.send_many([b"a", b"b", b"c", b"d"])
        got = [waiting.result, await receive(max_bytes=1)]
        while sum(map(len, got)) < 4:
            got.append(await receive(max_bytes=1))
        assert len(got[0]) <= 2 and len(got[1]) == 1
        assert [part for batch in got for part in batch] == (
            [b"a", b"b", b"c", b"d"] if call == "recv_many" else [[b"a"], [b"b"], [b"c"], [b"d"]]
        )
        with pytest.raises(ValueError, match=rf"^{call}: max_bytes must be "):
            await receive(max_bytes=0)


async def test_empty_batch(near):
    pull, push = near()
    assert await push.send_many([]) == 0
    assert await push.send_multipart_many([]) == 0
    assert await everything(pull, push) == []


async def test_recv_of_the_parts_one_by_one(near):
    pull, push = near()
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, pull.recv)
        await push.send_multipart([b"a", b"b"])
        await until(lambda: task.ended)
    assert (task.result, pull.rcvmore) == (b"a", True)
    assert await pull.recv() == b"b"
    assert not pull.rcvmore


async def test_tracked_send(narrow):
    pull, push = narrow()
    sent = fill(push)
    big = bytes(100_000)
    async with anyio.create_task_group() as group:
        one = await waiting(group, push, push.send, big, copy=False, track=True)
        await pull.recv()
        await until(lambda: one.ended)
        two = await waiting(group, push, push.send_multipart, [big, b"x"], copy=False, track=True)
        assert not one.result.done
        rest = [await pull.recv() for _ in sent[1:]]
        assert len(await pull.recv()) == len(big)
        await until(lambda: one.result.done)
        await until(lambda: two.ended)
        assert not two.result.done
        assert await pull.recv_multipart() == [big, b"x"]
        await until(lambda: two.result.done)
    assert rest == sent[1:]


async def test_bytearray_that_waits_is_sent_as_it_is_then(narrow):
    pull, push = narrow()
    sent = fill(push)
    data = bytearray(b"before")
    async with anyio.create_task_group() as group:
        await waiting(group, push, push.send, data)
        with pytest.raises(BufferError):
            data.append(1)  # it would move the memory
        assert [await pull.recv() for _ in sent] == sent
        assert await pull.recv() == b"before"
    data.append(1)


async def test_try_send_and_try_recv(narrow):
    pull, push = narrow()
    assert pull.try_recv() is None
    sent = fill(push)
    assert len(sent) == 2
    assert [pull.try_recv() for _ in range(3)] == [*sent, None]


async def test_try_calls_do_not_go_before_those_who_wait(narrow):
    pull, push = narrow()
    async with anyio.create_task_group() as group:
        receiver = await waiting(group, pull, pull.recv)
        assert push.try_send(b"first")
        assert pull.try_recv() is None
        await until(lambda: receiver.ended)
        assert receiver.result == b"first"
        sent = fill(push)
        await waiting(group, push, push.send, b"waited")
        assert [await pull.recv(), push.try_send(b"too soon")] == [sent[0], False]
        assert [await pull.recv(), await pull.recv()] == [sent[1], b"waited"]


async def test_calls_do_not_go_before_those_who_wait(narrow):
    pull, push = narrow()
    async with anyio.create_task_group() as group:
        first = await waiting(group, pull, pull.recv)
        push.try_send(b"1")
        push.try_send(b"2")
        assert await pull.recv() == b"2"
        await until(lambda: first.ended)
        assert first.result == b"1"


async def test_poll(near, narrow):
    pull, push = near()
    assert await pull.poll(0) == 0
    assert await pull.poll(1) == 0
    assert await push.poll(flags=zmqcy.POLLOUT) == zmqcy.POLLOUT
    async with anyio.create_task_group() as group:
        both = await waiting(group, pull, pull.poll, flags=zmqcy.POLLIN | zmqcy.POLLOUT)
        again = await waiting(group, pull, pull.poll, timedelta(seconds=9))
        await push.send(b"x")
    assert both.result == again.result == zmqcy.POLLIN
    assert await pull.poll() == zmqcy.POLLIN
    assert await pull.recv() == b"x"
    pull, push = narrow()
    fill(push)
    assert await push.poll(0, zmqcy.POLLOUT) == 0
    async with anyio.create_task_group() as group:
        room = await waiting(group, push, push.poll, None, zmqcy.POLLOUT)
        await pull.recv()
        await pull.recv()
    assert room.result == zmqcy.POLLOUT


async def test_poll_sees_the_rest_of_a_message(near):
    pull, push = near()
    await push.send_multipart([b"a", b"b"])
    assert await pull.recv() == b"a"
    assert await pull.poll(0) == zmqcy.POLLIN
    assert await pull.recv() == b"b"
    assert await pull.poll(0) == 0


async def test_async_for(near):
    pull, push = near()
    got = []
    async with anyio.create_task_group() as group:

        async def collect():
            async for message in pull:
                got.append(message)
                if message == END:
                    break

        await waiting(group, pull, collect)
        await push.send_many([b"a", b"b"])
        await until(lambda: len(got) == 2)
        await push.send(END)
    assert got == [b"a", b"b", END]


# ---------------------------------------------------------------------------------------------- timeouts and errors


@receives
async def test_receive_in_time(near, name):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    error = await caught(receive(pull, timeout=1))
    assert isinstance(error, zmqcy.Again)
    assert isinstance(error, TimeoutError)
    assert str(error).startswith(f"{call_of(name)} ")
    await push.send_multipart(message)
    assert await receive(pull, timeout=LIMIT) == result
    assert await everything(pull, push) == []


@pytest.mark.parametrize("time", [0.5, timedelta(milliseconds=1), "the socket's own"])
async def test_each_form_of_a_time(narrow, time):
    pull, push = narrow()
    options = {} if time == "the socket's own" else {"timeout": time}
    if not options:
        pull.rcvtimeo = push.sndtimeo = 1
    sent = fill(push)
    assert isinstance(await caught(push.send(b"x", **options)), zmqcy.TimedOut)
    assert [await pull.recv(), await pull.recv()] == sent
    assert isinstance(await caught(pull.recv(**options)), zmqcy.TimedOut)
    assert await everything(pull, push) == []


@sends
async def test_send_in_time(narrow, name):
    pull, push = narrow()
    send, result, message = SENDS[name]
    sent = fill(push)
    error = await caught(send(push, timeout=1))
    assert isinstance(error, zmqcy.Again)
    assert isinstance(error, TimeoutError)
    assert str(error).startswith(f"{call_of(name)} ")
    assert [await pull.recv(), await pull.recv()] == sent
    assert await send(push, timeout=LIMIT) == result
    assert await everything(pull, push) == [message]


@receives
async def test_receive_that_may_not_wait(near, name):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    for options in ({"flags": zmqcy.DONTWAIT}, {"timeout": 0}):
        error = await caught(receive(pull, **options))
        assert type(error) is (zmqcy.TimedOut if "timeout" in options else zmqcy.Again)
        await push.send_multipart(message)
        assert await receive(pull, **options) == result
    assert pull.stats.waits == 0


@on_each_module("name", [name for name in SENDS if name != "send in parts"])
async def test_send_that_may_not_wait(narrow, name):
    pull, push = narrow()
    send, result, message = SENDS[name]
    sent = fill(push)
    for options in ({"flags": zmqcy.DONTWAIT}, {"timeout": 0}):
        error = await caught(send(push, **options))
        assert type(error) is (zmqcy.TimedOut if "timeout" in options else zmqcy.Again)
    assert [await pull.recv(), await pull.recv()] == sent
    for options in ({"flags": zmqcy.DONTWAIT}, {"timeout": 0}):
        assert await send(push, **options) == result
        assert await pull.recv_multipart() == message
    assert push.stats.waits == 0


async def test_batch_that_goes_in_part(narrow):
    pull, push = narrow()
    messages = [b"%d" % i for i in range(9)]
    assert await push.send_many(messages, flags=zmqcy.DONTWAIT) == 2
    assert await everything(pull, push) == whole(b"0", b"1")
    assert await push.send_multipart_many([[m, m] for m in messages], timeout=1) == 2
    assert await everything(pull, push) == [[b"0", b"0"], [b"1", b"1"]]


BAD_TIMES = [("1", TypeError), (-2, ValueError), (float("nan"), ValueError)]


@on_any_loop("name", [*SENDS, *RECEIVES, "poll"])
async def test_a_bad_time_of_each_call(narrow, name):
    await refused_for_its_time(narrow, name, *BAD_TIMES[0])


@pytest.mark.parametrize("time, error", BAD_TIMES)
@on_each_module("name", ["send", "recv", "poll"])
async def test_bad_times(narrow, name, time, error):
    await refused_for_its_time(narrow, name, time, error)


async def refused_for_its_time(narrow, name, time, error):
    pull, push = narrow()
    if name in SENDS:
        sent = fill(push)
        failed = await caught(SENDS[name][0](push, timeout=time))
        assert await everything(pull, push) == whole(*sent)
    else:
        operation = pull.poll(time) if name == "poll" else RECEIVES[name][0](pull, timeout=time)
        failed = await caught(operation)
    assert type(failed) is error
    assert str(failed).startswith(f"{call_of(name)}: ")
    await push.send(b"goes on")
    assert await pull.recv() == b"goes on"


@on_any_loop(
    "call, argument, error",
    [
        ("send", "text", TypeError),
        ("send", None, TypeError),
        ("send", memoryview(b"abcdef")[::2], BufferError),
        ("send_multipart", b"bytes", TypeError),
        ("send_multipart", [], ValueError),
        ("send_multipart", [b"a", "b"], TypeError),
        ("send_many", [b"a", 1], TypeError),
        ("send_many", 1, TypeError),
        ("send_multipart_many", [[b"a"], []], ValueError),
        ("send_multipart_many", [[b"a"], [1]], TypeError),
        ("send_string", b"bytes", TypeError),
        ("recv", "flags", TypeError),
        ("recv", -1, ValueError),
        ("recv_into", b"constant", BufferError),
        ("recv_into", "text", TypeError),
        ("recv_multipart", None, TypeError),
        ("recv_multipart_into", [bytearray(1), b""], BufferError),
        ("recv_many", 0, ValueError),
        ("recv_many", "all", TypeError),
        ("recv_multipart_many", -1, ValueError),
        ("poll", "for ever", TypeError),
    ],
)
async def test_bad_arguments(near, call, argument, error):
    pull, push = near()
    receives = call.startswith(("recv", "poll"))
    failed = await caught(getattr(pull if receives else push, call)(argument))
    assert isinstance(failed, error)
    assert str(failed).startswith(call)
    assert await everything(pull, push) == []


async def test_bad_arguments_of_try_send(near):
    pull, push = near()
    with pytest.raises(TypeError, match="^try_send: "):
        push.try_send("text")
    assert await everything(pull, push) == []


async def test_not_in_the_state_to_receive(near):
    rep, req = near(zmqcy.REP, zmqcy.REQ)
    for call in (req.recv, rep.send):
        error = await caught(call(b"reply") if call == rep.send else call())
        assert type(error) is zmqcy.StateError
        assert str(error).startswith(f"{call.__name__} ")
    await req.send(b"a")
    assert type(await caught(req.send(b"again"))) is zmqcy.StateError
    await rep.send(await rep.recv())
    assert await req.recv() == b"a"


async def test_the_state_changes_while_a_receive_waits(near):
    rep, req = near(zmqcy.REP, zmqcy.REQ)
    await req.send(b"question")
    async with anyio.create_task_group() as group:
        first = await waiting(group, req, req.recv)
        second = await waiting(group, req, req.recv)
        await rep.send(await rep.recv())
        await until(lambda: first.ended)
        await turns()
        await req.send(b"another")
        await rep.send(await rep.recv())
        if second.error is None:  # it may continue to wait, for the next reply
            await until(lambda: second.ended)
    assert first.result == b"question"
    assert second.result == b"another" or type(second.error) is zmqcy.StateError


async def test_nobody_there(socket):
    router = socket(zmqcy.ROUTER, router_mandatory=True)
    router.bind("inproc://router")
    for operation in (router.send_multipart([b"nobody", b"x"]), router.send_multipart_many([[b"nobody", b"x"]])):
        error = await caught(operation)
        assert type(error) is zmqcy.HostUnreachable
    assert error.sent == 0


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
@on_each_module("call", ["recv_into", "recv_multipart_into"])
async def test_message_that_does_not_fit_stays(near, call, waits):
    pull, push = near()
    target = bytearray(3) if call == "recv_into" else [bytearray(9), bytearray(3)]
    message = [b"four"] if call == "recv_into" else [b"a", b"four"]
    async with anyio.create_task_group() as group:
        if waits:
            task = await waiting(group, pull, getattr(pull, call), target)
        await push.send_multipart(message)
        if not waits:
            task = Task(group, getattr(pull, call), target)
    assert task.error.errno == EMSGSIZE
    assert str(task.error).startswith(f"{call} ")
    assert await pull.poll(0) == zmqcy.POLLIN
    assert await everything(pull, push) == [message]


async def test_what_was_kept_goes_to_the_next_who_waits(near):
    pull, push = near()
    async with anyio.create_task_group() as group:
        small = await waiting(group, pull, pull.recv_into, bytearray(3))
        second = await waiting(group, pull, pull.recv)
        await push.send(b"four")
    assert small.error.errno == EMSGSIZE
    assert second.result == b"four"


async def test_the_type_cannot(near):
    pull, push = near()
    for error in (await caught(push.recv()), await caught(pull.send(b"x"))):
        assert type(error) is zmqcy.NotSupported
    assert push.stats.waits == pull.stats.waits == 0
    await push.send(b"x")
    assert await pull.recv() == b"x"


@on_any_loop("name", [*SENDS, *RECEIVES, "poll", "send_many of nothing"])
async def test_closed_socket(near, name):
    pull, push = near()
    pull.close()
    push.close()
    rows = {"poll": lambda s: s.poll(), "send_many of nothing": lambda s: s.send_many([])}
    call = rows[name] if name in rows else (SENDS.get(name) or RECEIVES[name])[0]
    error = await caught(call(push if name in SENDS else pull))
    assert error.errno == ENOTSOCK
    assert str(error).startswith(f"{call_of(name)} ")
    with pytest.raises(zmqcy.ZMQError, match="^try_recv .*closed"):
        pull.try_recv()
    with pytest.raises(zmqcy.ZMQError, match="^try_send .*closed"):
        push.try_send(b"x")


# ----------------------------------------------------------------------------------------------------- cancellation


@receives
async def test_cancelled_receive_takes_nothing(near, name):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, receive, pull)
        task.cancel()
        await until(lambda: task.ended)
        await push.send_multipart(message)
        await turns()
    assert task.result is task.error is None
    assert await receive(pull) == result


@sends
async def test_cancelled_send_sends_nothing(narrow, name):
    pull, push = narrow()
    sent = fill(push)
    async with anyio.create_task_group() as group:
        task = await waiting(group, push, SENDS[name][0], push)
        task.cancel()
        await until(lambda: task.ended)
    assert task.result is task.error is None
    assert await everything(pull, push) == whole(*sent)


@pytest.mark.parametrize("between", range(6))
async def test_message_and_cancellation_together(near, between):
    """The message is received or stays queued, with any number of event-loop iterations before the cancellation."""
    await message_and_cancellation(near, "recv", between)


@on_each_module("name, between", [(name, i % 6) for i, name in enumerate(RECEIVES) if name != "recv"])
async def test_message_and_cancellation_together_for_each_call(near, name, between):
    await message_and_cancellation(near, name, between)


async def message_and_cancellation(near, name, between):
    pull, push = near()
    receive, message, result = RECEIVES[name]
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, receive, pull)
        assert await push.send_multipart(message) is None
        await turns(between)
        task.cancel()
        await until(lambda: task.ended)
    assert task.error is None
    rest = await everything(pull, push)
    assert (task.result, rest) in [(result, []), (None, [message])]
    if between == 0:
        assert rest == [message]


@pytest.mark.parametrize("between", range(6))
async def test_room_and_cancellation_together(narrow, between):
    pull, push = narrow()
    sent = fill(push)
    async with anyio.create_task_group() as group:
        task = await waiting(group, push, push.send_many, [b"x"])
        got = whole(await pull.recv(), await pull.recv())
        await turns(between)
        task.cancel()
        await until(lambda: task.ended)
    got += await everything(pull, push)
    assert got == [*whole(*sent), *([[b"x"]] if task.result == 1 else [])]


@pytest.mark.parametrize("between", range(6))
async def test_the_next_gets_what_a_cancelled_one_was_woken_for(near, between):
    pull, push = near()
    async with anyio.create_task_group() as group:
        first = await waiting(group, pull, pull.recv)
        second = await waiting(group, pull, pull.recv)
        await push.send(b"x")
        await turns(between)
        first.cancel()
        await until(lambda: first.ended)
        if first.result is None:
            await until(lambda: second.ended)
            assert second.result == b"x"
        else:
            await push.send(b"y")
            await until(lambda: second.ended)
            assert (first.result, second.result) == (b"x", b"y")


@pytest.mark.parametrize("between", range(6))
async def test_those_behind_a_cancelled_one_get_theirs(near, between):
    """The second operation is cancelled about when the first ends, and would watch the file descriptor next."""
    pull, push = near()
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, pull, pull.recv) for _ in range(4)]
        await push.send(b"0")
        await turns(between)
        tasks[1].cancel()
        await until(lambda: tasks[0].ended and tasks[1].ended)
        assert [task.result for task in tasks[:2]] == [b"0", None]
        for i in (2, 3):
            await push.send(b"%d" % i)
            await until(lambda i=i: tasks[i].ended)
            assert tasks[i].result == b"%d" % i


async def test_a_message_goes_past_all_who_are_cancelled_by_the_one_before(near):
    """The task that continues first cancels the others in its step, when they may already be woken."""
    pull, push = near()
    tasks = []

    async def receive(cancels=()):
        message = await pull.recv()
        for place in cancels:
            tasks[place].cancel()
        return message

    async with anyio.create_task_group() as group:
        for cancels in ((1, 2), (), (), ()):
            tasks.append(await waiting(group, pull, receive, cancels))
        await push.send_many([b"0", b"1"])
        await until(lambda: sum(task.result is not None for task in tasks) == 2)
        await turns()
        group.cancel_scope.cancel()
    assert tasks[0].result == b"0"
    assert [task.result for task in tasks[1:] if task.result] == [b"1"]
    assert await everything(pull, push) == []


async def test_who_was_woken_for_a_message_that_a_shadow_has_taken_waits_on(near):
    pull, push = near()
    plain = zmqcy.Socket.shadow(pull)
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, pull, pull.recv) for _ in range(2)]
        for i in range(3):
            await push.send(b"taken %d" % i)
            assert plain.recv() == b"taken %d" % i
            await turns(i)
        await turns()
        assert not any(task.ended for task in tasks)
        await push.send_many([b"0", b"1"])
        await until(lambda: all(task.ended for task in tasks))
    assert [task.result for task in tasks] == [b"0", b"1"]


@pytest.mark.parametrize("between", range(4))
async def test_the_time_ends_as_the_message_comes(near, between):
    """The message is received, or it is queued for the next task. The waiting task behind gets the other messages."""
    pull, push = near()
    async with anyio.create_task_group() as group:
        first = await waiting(group, pull, pull.recv, timeout=5)
        second = await waiting(group, pull, pull.recv)
        await push.send(b"x")
        end = time.monotonic() + 0.006
        while time.monotonic() < end:  # the loop has no iteration before both have happened
            pass
        await turns(between)
        await until(lambda: first.ended)
        if first.result is None:
            assert isinstance(first.error, zmqcy.Again)
        else:
            assert first.result == b"x"
            await push.send(b"y")
        await until(lambda: second.ended)
        assert second.result == (b"x" if first.result is None else b"y")
    assert await everything(pull, push) == []


async def test_the_time_ends_as_there_is_room(narrow):
    pull, push = narrow()
    sent = fill(push)
    async with anyio.create_task_group() as group:
        first = await waiting(group, push, push.send, b"first", timeout=5)
        second = await waiting(group, push, push.send, b"second")
        got = whole(*[await pull.recv() for _ in sent])
        end = time.monotonic() + 0.006
        while time.monotonic() < end:
            pass
        await until(lambda: first.ended and second.ended)
    got += await everything(pull, push)
    assert isinstance(first.error, zmqcy.Again) or first.error is None
    assert got == whole(*sent, *([b"first"] if first.error is None else []), b"second")


async def test_first_come_first_served(near):
    pull, push = near()
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, pull, pull.recv) for _ in range(10)]
        for i in (0, 3, 4, 9):
            tasks[i].cancel()
        rest = [task for i, task in enumerate(tasks) if i not in (0, 3, 4, 9)]
        await turns()
        for i in range(6):
            await push.send(b"%d" % i)
        await until(lambda: all(task.ended for task in tasks))
    assert [task.result for task in rest] == [b"%d" % i for i in range(6)]
    assert await everything(pull, push) == []


async def test_first_come_first_served_of_different_kinds(near):
    pull, push = near()
    kinds = ["recv", "recv_multipart", "recv_many", "recv", "recv_multipart_many"]
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, pull, getattr(pull, name)) for name in kinds]
        for i in range(5):
            await push.send(b"%d" % i)
            await until(lambda i=i: tasks[i].ended)
    assert [task.result for task in tasks] == [b"0", [b"1"], [b"2"], b"3", [[b"4"]]]


async def test_first_come_first_served_among_senders(narrow):
    pull, push = narrow()
    sent = fill(push)
    async with anyio.create_task_group() as group:
        tasks = [await waiting(group, push, push.send, b"task %d" % i) for i in range(10)]
        for i in (0, 3, 4, 9):
            tasks[i].cancel()
        await turns()
        got = [await pull.recv() for _ in range(len(sent) + 6)]
    assert got == [*sent, *(b"task %d" % i for i in range(10) if i not in (0, 3, 4, 9))]
    assert await everything(pull, push) == []


@pytest.mark.parametrize("call", ["send_many", "send_multipart_many"])
async def test_cancelled_batch_tells_what_went(narrow, call):
    pull, push = narrow()
    messages = [b"%d" % i for i in range(20)]
    told = []

    async def send():
        try:
            await getattr(push, call)(messages if call == "send_many" else [[m, m] for m in messages])
        except anyio.get_cancelled_exc_class() as cancelled:
            told.append(cancelled.sent)
            raise

    async with anyio.create_task_group() as group:
        task = await waiting(group, push, send)
        got = [await pull.recv_multipart() for _ in range(7)]
        await turns()
        task.cancel()
        await until(lambda: task.ended)
    got += await everything(pull, push)
    assert told == [len(got)]
    assert 7 < len(got) < 20
    assert got == [[m] if call == "send_many" else [m, m] for m in messages[: len(got)]]


async def test_batch_that_fails_tells_what_went(narrow):
    pull, push = narrow()
    async with anyio.create_task_group() as group:
        task = await waiting(group, push, push.send_many, [b"%d" % i for i in range(20)])
        got = [await pull.recv() for _ in range(7)]
        await turns()
        push.close(linger=0)
    assert task.error.errno == ENOTSOCK
    assert task.error.sent >= len(got)


@pytest.mark.parametrize("call", ["send_many", "send_multipart_many"])
async def test_batch_whose_context_ends_tells_what_went(flavour, outside, call):
    context = flavour.Context()
    push, pull = context.socket(zmqcy.PUSH, sndhwm=1, linger=-1), outside(zmqcy.PULL, rcvhwm=1)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)
    received = [[b"%d" % i * 30_000] for i in range(200)]
    given = [part for (part,) in received] if call == "send_many" else received
    async with anyio.create_task_group() as group:
        task = await waiting(group, push, getattr(push, call), given)
        assert pull.recv_multipart() == received[0]
        context.shutdown()
        await until(lambda: task.ended)
    assert isinstance(task.error, zmqcy.ContextTerminated)
    assert 0 < task.error.sent < 200
    push.close()
    assert [pull.recv_multipart() for _ in range(task.error.sent - 1)] == received[1 : task.error.sent]
    assert pull.poll(20) == 0
    context.term(timeout=LIMIT)


async def test_receive_while_half_a_message_is_there(near):
    pull, push = near()
    async with anyio.create_task_group() as group:
        task = await waiting(group, pull, pull.recv_multipart)
        await push.send(b"a", zmqcy.SNDMORE)
        await turns()
        assert not task.ended
        task.cancel()
        await until(lambda: task.ended)
        await push.send(b"b")
    assert await pull.recv_multipart() == [b"a", b"b"]


async def test_messages_of_many_parts_stay_whole_under_cancellation(narrow):
    pull, push = narrow()
    got, gone = [], []

    async def send():
        for i in itertools.count():
            message = [b"%d.%d" % (i, part) for part in range(5)]
            with anyio.move_on_after(0.0002 * (i % 5)):
                await push.send_multipart(message)
                gone.append(message)
            if i == 300:
                break
        while not push.try_send(END):
            await checkpoint()

    async with anyio.create_task_group() as group:
        task = Task(group, send)
        while not got or got[-1] != [END]:
            with anyio.move_on_after(0.0001 * (len(got) % 3)):
                got.append(await pull.recv_multipart())
    assert task.error is None
    assert got[:-1] == gone


@pytest.mark.parametrize("how", ["timeout", "cancellation", "both"])
async def test_times_that_end_as_messages_come(socket, outside, how):
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    push = outside(zmqcy.PUSH)
    push.connect(pull.last_endpoint)
    go = threading.Semaphore(0)  # so that each message arrives after its receive has begun to wait
    messages = [b"%d" % i for i in range(150)]

    def send():
        for message in messages:
            go.acquire(timeout=10)
            push.send(message)

    thread = threading.Thread(target=send)
    thread.start()
    got, asked = [], 0
    try:
        for i in itertools.count():
            if len(got) == len(messages):
                break
            if len(got) == asked:
                go.release()
                asked += 1
            with contextlib.suppress(zmqcy.Again), anyio.move_on_after(None if how == "timeout" else 0.0001 * (i % 4)):
                got.append(await pull.recv(timeout=None if how == "cancellation" else 0.1 * (i % 4)))
    finally:
        go.release(len(messages))
        thread.join(10)
    assert got == messages


@pytest.mark.parametrize("between, call", [*enumerate(["recv_multipart", "recv_many"] * 3)])
async def test_cancelled_while_the_loop_has_its_turn(near, between, call):
    """A call on a socket that is always ready yields to the event loop regularly, and may be cancelled there."""
    pull, push = near(rcvhwm=0, sndhwm=0)
    messages = [b"%d" % i for i in range(30_000)]
    await push.send_many(messages)
    got = []

    async def receive():
        while True:
            got.extend(await (pull.recv_many(1) if call == "recv_many" else pull.recv_multipart()))

    async with anyio.create_task_group() as group:
        other = await waiting(group, pull, pull.poll, None, zmqcy.POLLOUT)  # so that the socket is looked at
        for _ in range(3):
            task = Task(group, receive)
            for _ in range(between):
                assert pull.events == zmqcy.POLLIN
                await checkpoint()
            assert between < 2 or got
            task.cancel()
            await until(lambda task=task: task.ended)
        other.cancel()
    while (message := pull.try_recv()) is not None:
        got.append(message)
    assert len(got) == len(messages)
    assert got == messages


# --------------------------------------------------------------------------------------------------------- fairness


async def ticks_beside(*busy, limit=300_000):
    """Run calls that complete immediately, with a task that counts event-loop iterations, until there were twenty."""
    ticks = 0

    async def call_for_ever(call):
        for _ in range(limit):
            await call()
            if ticks >= 20:
                return
        pytest.fail(f"only {ticks} turns")

    async with anyio.create_task_group() as group:
        for call in busy:
            group.start_soon(call_for_ever, call)
        while ticks < 20:
            ticks += 1
            await checkpoint()


def echo(pull, push):
    async def send_and_receive():
        await push.send(b"x")
        await pull.recv()

    return send_and_receive


async def test_ready_socket_lets_the_loop_turn(near):
    await ticks_beside(echo(*near()))


async def test_two_ready_sockets_let_the_loop_turn(near):
    await ticks_beside(echo(*near()), echo(*near()))


async def test_sends_alone_let_the_loop_turn(socket):
    pub = socket(zmqcy.PUB)  # a PUB drops messages without subscribers
    await ticks_beside(lambda: pub.send(b"x"))


@on_each_module("call", ["recv_multipart", "recv_many", "recv_into", "poll", "send_many", "send_string"])
async def test_each_call_lets_the_loop_turn(near, call):
    pull, push = near()

    async def send_and_receive():
        await (push.send_string("x") if call == "send_string" else push.send_many([b"x"]))
        if call == "poll":
            await pull.poll()
        await (pull.recv_into(BUFFER) if call == "recv_into" else pull.recv_many() if "many" in call else pull.recv())

    await ticks_beside(send_and_receive)


@pytest.mark.parametrize("messages", [[b"x"] * 1000, [bytes(1 << 20)]], ids=["many", "large"])
async def test_the_loop_turns_by_work_and_not_by_calls(near, messages):
    """A batch counts as its messages, and a large message as its bytes."""
    pull, push = near()

    async def send_and_receive():
        await push.send_many(messages)
        assert len(await pull.recv_many()) == len(messages)

    await ticks_beside(send_and_receive, limit=200)


async def test_peers_that_answer_each_other_let_the_loop_turn(near):
    a, b = near(zmqcy.PAIR, zmqcy.PAIR)
    ticks, rounds = 0, 0

    async def ping():
        nonlocal rounds
        while ticks < 20:
            await a.send(b"x")
            await a.recv()
            rounds += 1
            assert rounds < 300_000

    async def pong():
        while True:
            await b.send(await b.recv())

    async with anyio.create_task_group() as group:
        group.start_soon(pong)
        task = Task(group, ping)
        while ticks < 20:
            ticks += 1
            await checkpoint()
        await until(lambda: task.ended)
        group.cancel_scope.cancel()
    assert task.error is None


async def test_a_socket_ends_after_a_shutdown_of_its_context(flavour):
    """After a shutdown, no socket can be created to receive the last event of the monitor."""
    context = flavour.Context()
    pull = context.socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    context.shutdown()
    await pull.aclose()
    assert pull.closed
    context.term()
