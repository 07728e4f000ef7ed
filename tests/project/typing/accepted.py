"""Correct programs, with the types of arguments and results. mypy checks this file; it is never run."""

import asyncio
import mmap
import select
import socket as sockets
import sys
from array import array
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

from _typeshed import HasFileno
from typing_extensions import Buffer, assert_type

import zmqcy
import zmqcy.anyio
import zmqcy.asyncio
from zmqcy import constants, errors
from zmqcy._proxy import Hook
from zmqcy.auth import ANY, Authenticator, Certificate, Policy
from zmqcy.constants import (
    ContextOption,
    DeviceType,
    Errno,
    Event,
    Flag,
    PollEvent,
    SecurityMechanism,
    SocketOption,
    SocketType,
)
from zmqcy.devices import Device
from zmqcy.monitor import AsyncMonitor, Monitor, SocketEvent, recv_monitor_message
from zmqcy.socket import Endpoint
from zmqcy.stats import PipeStats

SECOND = timedelta(seconds=1)


def names() -> None:
    assert_type(zmqcy.PUSH, Literal[SocketType.PUSH])
    assert_type(zmqcy.XREP, Literal[SocketType.ROUTER])
    assert_type(zmqcy.LINGER, Literal[SocketOption.LINGER])
    assert_type(zmqcy.IDENTITY, Literal[SocketOption.ROUTING_ID])
    assert_type(zmqcy.IPV6, Literal[SocketOption.IPV6])
    assert_type(zmqcy.IO_THREADS, Literal[ContextOption.IO_THREADS])
    assert_type(zmqcy.EAGAIN, Literal[Errno.EAGAIN])
    assert_type(zmqcy.DONTWAIT | zmqcy.SNDMORE, Flag)
    assert_type(zmqcy.POLLIN | zmqcy.POLLOUT, PollEvent)
    assert_type(zmqcy.EVENT_CONNECTED | Event.CLOSED, Event)
    assert_type(zmqcy.CURVE, Literal[SecurityMechanism.CURVE])
    assert_type(zmqcy.QUEUE, Literal[DeviceType.QUEUE])
    assert_type(SocketType(8), SocketType)
    assert_type(SocketOption["LINGER"], SocketOption)
    assert_type(Errno.EAGAIN.value, int)
    assert_type(SocketType.PUSH.name, Literal["PUSH"])
    assert_type(zmqcy.ETERM == errors.ETERM, bool)
    assert_type(constants.PUSH, Literal[SocketType.PUSH])
    number: int = zmqcy.SNDMORE
    zmqcy.exit_linger = SECOND
    zmqcy.exit_linger = None
    zmqcy.exit_linger = number
    assert_type(zmqcy.__version__, str)


def batches(socket: zmqcy.Socket) -> None:
    assert_type(socket.send_many([b"a", bytearray(b"b"), zmqcy.Frame(b"c")]), int)
    assert_type(socket.send_many((b"%d" % i for i in range(3)), flags=zmqcy.DONTWAIT, timeout=SECOND), int)
    assert_type(socket.send_multipart_many([[b"a", b"b"], (b"c",)]), int)
    assert_type(socket.recv_many(), list[bytes])
    assert_type(socket.recv_many(10, timeout=1.5), list[bytes])
    assert_type(socket.recv_multipart_many(10), list[list[bytes]])


def bytes_like(socket: zmqcy.Socket, sealed: Sequence[bytes], waiting: deque[bytearray], mapped: mmap.mmap) -> None:
    for data in (b"a", bytearray(b"a"), memoryview(b"a"), array("d"), mapped, zmqcy.Frame(b"a")):
        socket.send(data)
        assert_type(socket.try_send(data), bool)
    socket.send_multipart(sealed)
    socket.send_multipart(waiting)
    socket.send_multipart((b"a", memoryview(b"b"), zmqcy.Frame(b"c")))
    socket.send_multipart({b"a": 1}.keys())
    socket.send_many(sealed)
    socket.send_multipart_many([sealed, waiting, (b"a", array("d"))])
    socket.recv_into(mapped)
    socket.recv_multipart_into((array("d"), mapped, memoryview(bytearray(1))))


def overloads(socket: zmqcy.Socket, copy: bool, track: bool, by_copy: bool | None) -> None:
    assert_type(socket.recv(0, True), bytes)
    assert_type(socket.recv_multipart(0, False), list[zmqcy.Frame])
    assert_type(socket.recv_multipart(copy=copy), list[bytes] | list[zmqcy.Frame])
    assert_type(socket.send(b"", copy=by_copy), None)
    assert_type(socket.send(b"", 0, None, True), zmqcy.MessageTracker)
    assert_type(socket.send(b"", copy=by_copy, track=track), zmqcy.MessageTracker | None)
    assert_type(socket.send_multipart([b""], copy=by_copy), None)
    assert_type(socket.send_multipart([b""], track=track), zmqcy.MessageTracker | None)
    assert_type(socket.recv_serialized(lambda parts: parts[0].bytes, copy=False), bytes)


async def frames(socket: zmqcy.Socket, copy: bool) -> None:
    frame = socket.recv(copy=False)
    assert_type(frame, zmqcy.Frame)
    assert_type(socket.send(b"a", routing_id=frame.routing_id), None)
    assert_type(socket.send(b"a", group=frame.group, track=True), zmqcy.MessageTracker)
    frame.group, frame.routing_id = "a", socket.connect_peer("inproc://a")
    assert_type(zmqcy.Context(tuned=True).tuned, bool)
    assert_type(socket.recv(0, False), zmqcy.Frame)
    assert_type(socket.recv(copy=copy), bytes | zmqcy.Frame)
    assert_type(socket.recv(), bytes)
    assert_type(socket.recv_multipart(copy=False), list[zmqcy.Frame])
    assert_type(socket.recv_multipart(), list[bytes])
    assert_type(socket.recv_multipart_into([bytearray(10), memoryview(bytearray(10))]), list[int])
    assert_type(frame.bytes, bytes)
    assert_type(frame.buffer, memoryview)
    assert_type(frame.more, bool)
    assert_type(frame.get("Peer-Address"), str)
    assert_type(frame.get(zmqcy.SocketOption.TYPE), int)
    assert_type(zmqcy.Frame(b"x", track=True).tracker, zmqcy.MessageTracker | None)
    with frame as same:
        memoryview(same)
    tracker = socket.send(frame, track=True)
    assert_type(tracker, zmqcy.MessageTracker)
    assert_type(socket.send_multipart([frame, b"x"], copy=False, track=True), zmqcy.MessageTracker)
    tracker.wait(SECOND)
    tracker.add_done_callback(print)
    assert_type(tracker.done, bool)
    await tracker
    socket.copy_threshold = zmqcy.COPY_THRESHOLD
    assert_type(socket.stats.messages_sent, int)
    zmqcy.COPY_THRESHOLD = 0


def contexts(address: int) -> None:
    assert_type(zmqcy.Context(), zmqcy.Context)
    assert_type(zmqcy.Context(0, max_sockets=10, ipv6=True, linger=0), zmqcy.Context)
    assert_type(zmqcy.Context(io_threads=2, thread_priority=1, rcvtimeo=SECOND, subscribe=b""), zmqcy.Context)
    assert_type(zmqcy.Context.instance(), zmqcy.Context)
    assert_type(zmqcy.Context.shadow(address), zmqcy.Context)
    with zmqcy.Context() as context:
        assert_type(context, zmqcy.Context)
        assert_type(context.closed, bool)
        assert_type(context.underlying, int)
        assert_type(zmqcy.Context.shadow(context), zmqcy.Context)
        assert_type(context.socket(zmqcy.PUSH), zmqcy.Socket)
        context.socket(8, linger=None, sndhwm=10, identity=b"me", xpub_verbose=True, plain_username="user")
        assert_type(context.get(zmqcy.MAX_SOCKETS), int)
        context.set(zmqcy.MAX_SOCKETS, 10)
        assert_type(context.io_threads, int)
        assert_type(context.socket_limit, int)
        assert_type(context.ipv6, bool)
        context.max_msgsz = 1000
        context.blocky = False
        context.thread_priority = 1
        context.setsockopt(zmqcy.LINGER, SECOND)
        context.linger = SECOND
        assert_type(context.rcvhwm, int)
        assert_type(context.sndtimeo, float | timedelta | None)
        assert_type(context.xpub_verbose, bool)
        del context.linger
        context.shutdown()
        context.term()
        context.term(timeout=1.5)
        context.destroy(linger=0)


class Mine(zmqcy.Context):
    pass


def subclasses(mine: Mine) -> None:
    assert_type(Mine.instance(), Mine)
    assert_type(Mine.shadow(mine), Mine)
    with mine as same:
        assert_type(same, Mine)


def messages(socket: zmqcy.Socket, array: memoryview, parts: Sequence[Buffer]) -> None:
    socket.send(b"")
    socket.send(bytearray(b""), zmqcy.SNDMORE)
    socket.send(array, flags=zmqcy.DONTWAIT | zmqcy.SNDMORE, timeout=10)
    socket.send(array, timeout=SECOND)
    assert_type(socket.try_send(b""), bool)
    socket.send_multipart([b"", bytearray(), array])
    socket.send_multipart(parts, zmqcy.DONTWAIT, timeout=None)
    socket.send_multipart(bytes(n) for n in range(3))
    assert_type(socket.recv(), bytes)
    assert_type(socket.recv(zmqcy.DONTWAIT, timeout=0.5), bytes)
    assert_type(socket.try_recv(), bytes | None)
    assert_type(socket.recv_into(bytearray(10), nbytes=5, timeout=SECOND), int)
    assert_type(socket.recv_multipart(), list[bytes])
    head, *rest = socket.recv_multipart(timeout=-1)
    assert_type(head, bytes)
    assert_type(rest, list[bytes])
    assert_type(next(socket), bytes)
    for message in socket:
        assert_type(message, bytes)
    while (received := socket.try_recv()) is not None:
        assert_type(received, bytes)
    socket.send_string("text", encoding="latin-1", timeout=SECOND)
    socket.send_string("text", routing_id=7)
    socket.send_string("text", group="weather")
    assert_type(socket.recv_string(), str)
    socket.send_json({"a": [1, None]}, zmqcy.DONTWAIT, sort_keys=True)
    socket.send_json(1, routing_id=7, indent=2)
    assert_type(socket.recv_json(parse_float=str), Any)
    socket.send_serialized(3, lambda n: [bytes(n)])
    assert_type(socket.recv_serialized(len), int)
    assert_type(socket.recv_serialized(lambda parts: parts[0].decode()), str)
    assert_type(socket.poll(), int)
    assert_type(socket.poll(SECOND, zmqcy.POLLIN | zmqcy.POLLOUT), int)


def endpoints(context: zmqcy.Context, address: int) -> None:
    with context.socket(zmqcy.REP) as socket:
        assert_type(socket, zmqcy.Socket)
        assert_type(socket.bind("tcp://127.0.0.1:*"), Endpoint)
        with socket.connect("tcp://127.0.0.1:5555") as endpoint:
            assert_type(endpoint.endpoint, str)
        assert_type(socket.bind_to_random_port("tcp://127.0.0.1", min_port=5000), int)
        socket.unbind(socket.last_endpoint)
        socket.disconnect(socket.last_endpoint)
        assert_type(socket.fileno(), int)
        assert_type(socket.underlying, int)
        assert_type(socket.closed, bool)
        assert_type(socket.context, zmqcy.Context | None)
        assert_type(socket.socket_type, SocketType)
        assert_type(zmqcy.Socket.shadow(address), zmqcy.Socket)
        assert_type(zmqcy.Socket.shadow(socket), zmqcy.Socket)
        socket.close()
        socket.close(linger=SECOND)
    zmqcy.Socket(context, zmqcy.PUSH)


def options(socket: zmqcy.Socket) -> None:
    assert_type(socket.rcvhwm, int)  # int
    socket.rcvhwm = 10
    assert_type(socket.ipv6, bool)  # bool
    socket.ipv6 = True
    assert_type(socket.maxmsgsize, int)  # int64
    socket.maxmsgsize = 2**40
    assert_type(socket.affinity, int)  # uint64
    socket.affinity = 3
    assert_type(socket.use_fd, int)  # fd
    socket.use_fd = 3
    socket.linger = SECOND  # duration
    assert_type(socket.linger, int)
    socket.linger = None
    socket.linger = 1.5
    socket.linger = 0
    socket.routing_id = bytearray(b"me")  # bytes
    assert_type(socket.routing_id, bytes)
    socket.identity = b"me"
    assert_type(socket.identity, bytes)
    socket.plain_username = "me"  # string
    assert_type(socket.plain_username, str)
    socket.plain_username = b"me"
    socket.plain_username = None
    socket.curve_publickey = "x" * 40  # key
    assert_type(socket.curve_publickey, bytes)
    socket.curve_publickey = bytes(32)
    socket.xpub_verbose = True  # write only
    socket.connect_routing_id = b"peer"
    assert_type(socket.type, int)  # read only
    assert_type(socket.rcvmore, bool)
    assert_type(socket.events, int)
    assert_type(socket.last_endpoint, str)
    socket.subscribe(b"topic")
    socket.subscribe("topic")
    socket.unsubscribe(memoryview(b"topic"))


def options_by_number(socket: zmqcy.Socket, number: int, option: SocketOption) -> None:
    assert_type(socket.getsockopt(zmqcy.LINGER), int)
    assert_type(socket.getsockopt(SocketOption.RCVHWM), int)
    assert_type(socket.getsockopt(zmqcy.IDENTITY), bytes)
    assert_type(socket.getsockopt(SocketOption.IDENTITY), bytes)
    assert_type(socket.getsockopt(zmqcy.LAST_ENDPOINT), bytes)
    assert_type(socket.getsockopt(number), int | bytes)
    assert_type(socket.getsockopt(option), int | bytes)
    assert_type(socket.get(zmqcy.EVENTS), int)
    socket.setsockopt(zmqcy.LINGER, SECOND)
    socket.setsockopt(zmqcy.LINGER, 0)
    socket.setsockopt(zmqcy.SUBSCRIBE, b"topic")
    socket.setsockopt(zmqcy.PLAIN_PASSWORD, None)
    socket.setsockopt(zmqcy.CURVE_SERVERKEY, "x" * 40)
    socket.setsockopt(number, 3)
    socket.setsockopt(option, b"")
    socket.set(zmqcy.RCVHWM, 3)
    assert_type(socket.getsockopt_string(zmqcy.LAST_ENDPOINT), str)
    assert_type(socket.get_string(zmqcy.LAST_ENDPOINT, encoding="ascii"), str)
    socket.setsockopt_string(zmqcy.SUBSCRIBE, "topic")
    socket.set_string(zmqcy.SUBSCRIBE, "topic")


def polls(socket: zmqcy.Socket, other: sockets.socket, fd: int) -> None:
    poller = zmqcy.Poller()
    poller.register(socket)
    poller.register(socket, zmqcy.POLLIN)
    poller.register(other, zmqcy.POLLIN | zmqcy.POLLOUT)
    poller.register(fd, select.POLLIN)
    poller.modify(fd, zmqcy.POLLERR)
    poller.unregister(other)
    assert_type(poller.poll(SECOND), list[tuple[zmqcy.BaseSocket | int | HasFileno, int]])
    assert_type(poller.sockets, list[tuple[zmqcy.BaseSocket | int | HasFileno, int]])
    for ready, events in poller.poll():
        assert_type(events, int)
        if isinstance(ready, zmqcy.Socket):
            assert_type(ready.recv(), bytes)
    if socket in dict(poller.poll(0.5)):
        assert_type(len(poller), int)
    readable, writable, _ = zmqcy.select([socket], [], [], timeout=0.5)
    assert_type(readable, list[zmqcy.Socket])
    assert_type(writable, list[zmqcy.Socket])
    zmqcy.select([socket, fd], (other,), {fd}, SECOND)
    zmqcy.select([socket, sys.stdin], [], [])


async def asynchronous_messages(socket: zmqcy.asyncio.Socket, copy: bool, track: bool, parts: Sequence[Buffer]) -> None:
    assert_type(await socket.recv(), bytes)
    assert_type(await socket.recv(zmqcy.DONTWAIT, timeout=SECOND), bytes)
    assert_type(await socket.recv(copy=False), zmqcy.Frame)
    assert_type(await socket.recv(0, False), zmqcy.Frame)
    assert_type(await socket.recv(copy=copy), bytes | zmqcy.Frame)
    assert_type(await socket.recv_multipart(), list[bytes])
    assert_type(await socket.recv_multipart(copy=False), list[zmqcy.Frame])
    assert_type(await socket.recv_multipart(copy=copy), list[bytes] | list[zmqcy.Frame])
    assert_type(await socket.recv_into(bytearray(10), nbytes=5), int)
    assert_type(await socket.recv_multipart_into([bytearray(10)]), list[int])
    assert_type(await socket.recv_many(10, timeout=1.5), list[bytes])
    assert_type(await socket.recv_multipart_many(), list[list[bytes]])
    await socket.send(b"", zmqcy.SNDMORE)
    await socket.send(zmqcy.Frame(b""), timeout=SECOND)
    assert_type(await socket.send(b"", track=True), zmqcy.MessageTracker)
    assert_type(await socket.send(b"", track=track), zmqcy.MessageTracker | None)
    await socket.send_multipart(parts, copy=False)
    assert_type(await socket.send_multipart(parts, 0, None, True), zmqcy.MessageTracker)
    assert_type(await socket.send_many([b"a", bytearray(b"b")]), int)
    assert_type(await socket.send_multipart_many([[b"a", b"b"], (b"c",)]), int)
    assert_type(socket.try_send(b""), bool)  # try_send and try_recv are not awaited
    assert_type(socket.try_recv(), bytes | None)
    assert_type(await socket.poll(SECOND, zmqcy.POLLOUT), int)
    async for message in socket:
        assert_type(message, bytes)
    await socket.send_string("text", encoding="latin-1")
    await socket.send_string("text", group="weather")
    assert_type(await socket.recv_string(), str)
    await socket.send_json({"a": [1, None]}, sort_keys=True)
    await socket.send_json(1, routing_id=7, indent=2)
    assert_type(await socket.recv_json(parse_float=str), Any)
    await socket.send_serialized(3, lambda n: [bytes(n)])
    assert_type(await socket.recv_serialized(len), int)
    assert_type(await socket.recv_serialized(lambda parts: parts[0].bytes, copy=False), bytes)


async def futures(a: zmqcy.asyncio.Socket, b: zmqcy.asyncio.Socket) -> None:
    first, second = await asyncio.gather(a.recv(), b.recv_multipart())
    assert_type(first, bytes)
    assert_type(second, list[bytes])
    assert_type(await asyncio.wait_for(a.recv(), 1), bytes)
    assert_type(await asyncio.wait_for(a.recv(copy=False), 1), zmqcy.Frame)
    assert_type(await asyncio.shield(a.recv_many()), list[bytes])
    assert_type(await asyncio.ensure_future(a.recv()), bytes)
    pending = a.recv()
    future: asyncio.Future[bytes] = pending
    wider: asyncio.Future[bytes] | asyncio.Future[int] = b.poll()
    done, waiting = await asyncio.wait({pending, b.recv()}, timeout=1)
    for received in done | waiting:
        assert_type(received.result(), bytes)
    await asyncio.wait([a.recv(), b.send(b"")], return_when=asyncio.FIRST_COMPLETED)
    for each in asyncio.as_completed([a.recv(), b.recv()]):
        assert_type(await each, bytes)
    assert_type(pending.done(), bool)
    assert_type(pending.cancel(), bool)
    assert_type(pending.cancelled(), bool)
    assert_type(pending.exception(), BaseException | None)
    assert_type(pending.get_loop(), asyncio.AbstractEventLoop)
    pending.add_done_callback(print)
    pending.add_done_callback(lambda ended: ended.result().decode())
    assert_type(pending.remove_done_callback(print), int)
    print(future, wider)


async def asynchronous_contexts(address: int, plain: zmqcy.Context) -> None:
    async with zmqcy.asyncio.Context(0, linger=0) as context:
        assert_type(context, zmqcy.asyncio.Context)
        assert_type(zmqcy.asyncio.Context.instance(), zmqcy.asyncio.Context)
        assert_type(zmqcy.asyncio.Context.shadow(plain), zmqcy.asyncio.Context)
        async with context.socket(zmqcy.SUB, rcvhwm=10, subscribe=b"", linger=SECOND) as socket:
            assert_type(socket, zmqcy.asyncio.Socket)
            assert_type(socket.bind("tcp://127.0.0.1:*"), Endpoint)
            assert_type(socket.last_endpoint, str)
            assert_type(socket.getsockopt(zmqcy.LINGER), int)
            socket.linger = 0
            socket.subscribe("topic")
            assert_type(socket.context, zmqcy.Context | None)
            assert_type(zmqcy.asyncio.Socket.shadow(socket), zmqcy.asyncio.Socket)
            assert_type(zmqcy.asyncio.Socket.shadow(address), zmqcy.asyncio.Socket)
            await socket.aclose(linger=SECOND)
        with zmqcy.asyncio.Socket(plain, zmqcy.PUSH) as same:
            assert_type(same, zmqcy.asyncio.Socket)
        await context.aclose(timeout=1.5)


async def asynchronous_polls(socket: zmqcy.asyncio.Socket, plain: zmqcy.Socket, fd: int) -> None:
    poller = zmqcy.asyncio.Poller()
    poller.register(socket, zmqcy.POLLIN)
    poller.register(plain)
    poller.register(fd)
    assert_type(await poller.poll(SECOND), list[tuple[zmqcy.BaseSocket | int | HasFileno, int]])
    for ready, _ in await poller.poll():
        if isinstance(ready, zmqcy.asyncio.Socket):
            assert_type(await ready.recv(), bytes)
        elif isinstance(ready, zmqcy.Socket):
            assert_type(ready.recv(), bytes)


async def coroutines(socket: zmqcy.anyio.Socket, copy: bool, track: bool) -> None:
    assert_type(await socket.recv(), bytes)
    assert_type(await socket.recv(copy=False), zmqcy.Frame)
    assert_type(await socket.recv(copy=copy), bytes | zmqcy.Frame)
    assert_type(await socket.recv_multipart(), list[bytes])
    assert_type(await socket.recv_multipart(copy=False), list[zmqcy.Frame])
    assert_type(await socket.recv_into(bytearray(10)), int)
    assert_type(await socket.recv_multipart_into([bytearray(10)]), list[int])
    assert_type(await socket.recv_many(10, timeout=1.5), list[bytes])
    assert_type(await socket.recv_multipart_many(), list[list[bytes]])
    await socket.send(b"", timeout=SECOND)
    assert_type(await socket.send(b"", track=True), zmqcy.MessageTracker)
    assert_type(await socket.send(b"", track=track), zmqcy.MessageTracker | None)
    assert_type(await socket.send_multipart([b"a", b"b"], track=True), zmqcy.MessageTracker)
    assert_type(await socket.send_many([b"a"]), int)
    assert_type(await socket.send_multipart_many([[b"a", b"b"]]), int)
    assert_type(socket.try_send(b""), bool)
    assert_type(socket.try_recv(), bytes | None)
    assert_type(await socket.poll(10), int)
    async for message in socket:
        assert_type(message, bytes)
    assert_type(await socket.recv_string(), str)
    assert_type(await asyncio.create_task(socket.recv()), bytes)
    async with zmqcy.anyio.Context(linger=0) as context:
        assert_type(context, zmqcy.anyio.Context)
        assert_type(zmqcy.anyio.Context.instance(), zmqcy.anyio.Context)
        async with context.socket(zmqcy.PUSH, sndhwm=10) as other:
            assert_type(other, zmqcy.anyio.Socket)
            await other.aclose()
    poller = zmqcy.anyio.Poller()
    poller.register(socket)
    assert_type(await poller.poll(SECOND), list[tuple[zmqcy.BaseSocket | int | HasFileno, int]])


def devices(frontend: zmqcy.Socket, backend: zmqcy.Socket, control: zmqcy.Socket) -> None:
    zmqcy.proxy(frontend, backend)
    zmqcy.proxy(frontend, backend, capture=control)
    zmqcy.proxy_steerable(frontend, backend, None, control)

    def same(direction: str, messages: list[list[bytes]]) -> list[list[bytes]]:
        return messages

    zmqcy.proxy(frontend, backend, filter=same)
    zmqcy.proxy_steerable(frontend, backend, filter=lambda direction, messages: [(b"x", *each) for each in messages])
    zmqcy.proxy_steerable(frontend, backend, filter=Hook())
    Device(zmqcy.QUEUE, "tcp://*:1", "tcp://*:2", filter=same)
    Device(zmqcy.QUEUE, "tcp://*:1", "tcp://*:2", filter="package.module:function", run_in="process")
    zmqcy.device(zmqcy.QUEUE, frontend, backend)


def device() -> None:
    made = Device((zmqcy.XSUB, zmqcy.XPUB), "tcp://127.0.0.1:*", [">tcp://127.0.0.1:1"], front_options={"rcvhwm": 1})
    made.run()
    assert_type(Device.from_config("device.toml"), Device)
    with Device(zmqcy.QUEUE, "inproc://front", "inproc://back", context=zmqcy.Context()) as started:
        assert_type(started, Device)
        assert_type(started.statistics().front_to_back.messages_in, int)
        assert_type(started.endpoints["front"], tuple[str, ...])
        started.pause()
        started.stop(drain=True, timeout=SECOND)
        started.join(1.5)


def the_rest(socket: zmqcy.Socket) -> None:
    assert_type(zmqcy.zmq_version(), str)
    assert_type(zmqcy.zmq_version_info(), tuple[int, int, int])
    assert_type(zmqcy.has("curve"), bool)
    assert_type(zmqcy.get_include(), str)
    assert_type(zmqcy.get_library(), str | None)
    assert_type(zmqcy.strerror(zmqcy.EAGAIN), str)
    assert_type(zmqcy.zmq_errno(), int)
    public, secret = zmqcy.curve_keypair()
    assert_type(zmqcy.curve_public(secret), bytes)
    assert_type(zmqcy.z85_encode(bytearray(zmqcy.z85_decode(public))), bytes)
    try:
        socket.recv(timeout=0)
    except zmqcy.TimedOut as error:
        assert_type(error.call, str | None)
        both: BlockingIOError | TimeoutError = error
        print(both)
    except zmqcy.Again as error:
        assert_type(error.errno, int | None)
    except zmqcy.ZMQError as error:
        assert_type(error.socket_type, str | None)


def monitors(socket: zmqcy.Socket) -> None:
    with socket.watch(zmqcy.Event.CONNECTED | zmqcy.Event.ACCEPTED) as monitor:
        assert_type(monitor, Monitor)
        assert_type(monitor.recv(timeout=SECOND), SocketEvent)
        assert_type(monitor.try_recv(), SocketEvent | None)
        assert_type(monitor.poll(10), bool)
        zmqcy.Poller().register(monitor, zmqcy.POLLIN)
        for event in monitor:
            assert_type(event.event, zmqcy.Event)
            assert_type(event.name, str)
            assert_type(event.value, int)
            assert_type(event.endpoint, str)
            assert_type(event.peer, str | None)
            assert_type(event.reason, str | None)
    socket.monitor("inproc://monitor", zmqcy.EVENT_ALL)
    socket.monitor(None)
    reader = socket.get_monitor_socket(zmqcy.EVENT_ALL, "inproc://monitor")
    assert_type(reader, zmqcy.Socket)
    assert_type(recv_monitor_message(reader)["endpoint"], bytes)
    socket.disable_monitor()
    assert_type(socket.pipes_stats(wait=SECOND), list[PipeStats])


async def asynchronous_monitors(socket: zmqcy.asyncio.Socket, other: zmqcy.anyio.Socket) -> None:
    async with socket.watch() as monitor, other.watch() as another:
        assert_type(monitor, AsyncMonitor)
        assert_type(await monitor.recv(timeout=1.5), SocketEvent)
        async for event in another:
            assert_type(event, SocketEvent)
    assert_type(await socket.pipes_stats(), list[PipeStats])
    assert_type((await other.pipes_stats(wait=50))[0].inbound, int)
    assert_type(socket.get_monitor_socket(), zmqcy.asyncio.Socket)
    assert_type(other.get_monitor_socket(), zmqcy.anyio.Socket)
    assert_type((await recv_monitor_message(socket.get_monitor_socket()))["event"], zmqcy.Event)


async def security(plain: zmqcy.Socket, asynchronous: zmqcy.asyncio.Socket, context: zmqcy.asyncio.Context) -> None:
    certificate = Certificate.generate({"name": "server"})
    assert_type(plain.serve_curve(certificate, "domain"), bytes)
    assert_type(asynchronous.use_curve(certificate.public, ("public", b"secret")), bytes)
    plain.serve_plain()
    asynchronous.use_plain("user", "password")
    assert_type(Certificate.load("server.key_secret").secret, bytes | None)

    async def decide(key: bytes) -> bool:
        return key == certificate.public

    policy = Policy(allow="10.0.0.0/8", plain={"user": "password"}, curve=decide, gssapi=ANY)
    with Authenticator(plain.context, curve=[certificate, "key"], domains={"inner": policy}) as authenticator:
        assert_type(authenticator.running, bool)
    async with Authenticator(context, plain=lambda user, password: user if password else None, curve="folder"):
        pass
