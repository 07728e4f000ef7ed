"""Programs that are wrong: mypy and pyright find an error in each marked line, mypy with its words, and in no other."""

# mypy: enable-error-code="unused-awaitable"
# pyright: reportUnusedCallResult=true

import asyncio

import zmqcy
import zmqcy.anyio
import zmqcy.asyncio
from zmqcy.auth import ANY, Authenticator, Policy
from zmqcy.devices import Device


def names() -> None:
    print(zmqcy.PUSCH)  # error: Module has no attribute "PUSCH"
    print(zmqcy.SocketType.PUSCH)  # error: has no attribute "PUSCH"
    zmqcy.PUSH = zmqcy.PULL  # error: Cannot assign to final name "PUSH"
    print(zmqcy.IntEnum)  # error: Module has no attribute "IntEnum"
    zmqcy.exit_linger = "for ever"  # error: [assignment]


def contexts() -> None:
    zmqcy.Context(lingr=0)  # error: Unexpected keyword argument "lingr"
    zmqcy.Context(linger="0")  # error: [arg-type]
    zmqcy.Context(io_threads=None)  # error: [arg-type]
    context = zmqcy.Context()
    context.lingr = 0  # error: has no attribute "lingr"
    context.socket(zmqcy.PUSH, rcvhwn=3)  # error: Unexpected keyword argument "rcvhwn"
    context.socket(zmqcy.PUSH, rcvhwm=b"3")  # error: No overload variant
    context.socket(zmqcy.PUSH, last_endpoint="inproc://a")  # error: Unexpected keyword argument "last_endpoint"
    context.socket("PUSH")  # error: No overload variant
    context.socket_limit = 3  # error: read-only
    print(context.thread_sched_policy)  # error: "__get__" of "_WriteOnly"
    context.set(zmqcy.MAX_SOCKETS, "3")  # error: [arg-type]
    context.term("1")  # error: [arg-type]
    context.closed = True  # error: read-only


def messages(socket: zmqcy.Socket) -> None:
    socket.send("text")  # error: [call-overload]
    socket.send(3)  # error: [call-overload]
    socket.send(b"", timeout="1")  # error: [call-overload]
    socket.send(b"", 0, 10)  # error: [call-overload]
    socket.send(b"", flags=None)  # error: [call-overload]
    socket.try_send("text")  # error: expected "Buffer"
    socket.send_multipart(b"one")  # error: expected "Iterable[Buffer]"
    socket.send_multipart(["a", "b"])  # error: expected "Buffer"
    socket.send_multipart("text")  # error: expected "Iterable[Buffer]"
    text: str = socket.recv()  # error: [assignment]
    size = len(socket.try_recv())  # error: [arg-type]
    socket.send_many(b"one")  # error: expected "Iterable[Buffer]"
    socket.send_many([1])  # error: expected "Buffer"
    socket.send_multipart_many([b"one"])  # error: expected "Iterable[Buffer]"
    socket.recv_many()[0].encode()  # error: "bytes" has no attribute "encode"
    socket.recv_many("1")  # error: [arg-type]
    socket.recv(copy=False).decode()  # error: "Frame" has no attribute "decode"
    socket.send(b"").wait()  # error: "None" has no attribute "wait"
    socket.copy_threshold = None  # error: [assignment]
    zmqcy.MessageTracker(1)  # error: [arg-type]
    socket.recv_into("text")  # error: expected "Buffer"
    for part in socket.recv_multipart():
        part.encode()  # error: "bytes" has no attribute "encode"
    socket.send_string(b"bytes")  # error: expected "str"
    socket.send_string("text", group=b"bytes")  # error: expected "str | None"
    socket.send_json(1, routing_id="peer")  # error: expected "int | None"
    socket.send_serialized(3, lambda n: n)  # error: Incompatible return value
    socket.poll("1")  # error: [arg-type]
    print(text, size)


def overloads(socket: zmqcy.Socket, texts: list[str], copy: bool, track: bool) -> None:
    whole: bytes = socket.recv(copy=False)  # error: [assignment]
    parts: list[bytes] = socket.recv_multipart(0, False)  # error: [assignment]
    socket.recv(copy=copy).decode()  # error: [union-attr]
    socket.send(b"", track=track).wait()  # error: [union-attr]
    socket.send([b"a", b"b"])  # error: [call-overload]
    socket.send_multipart(texts)  # error: [arg-type]
    socket.send_multipart([b"a"], copy="yes")  # error: [call-overload]
    socket.send_many(texts)  # error: [arg-type]
    socket.recv_many(copy=False)  # error: [call-arg]
    socket.recv_serialized(lambda parts: parts[0].bytes)  # error: "bytes" has no attribute "bytes"
    socket.recv_multipart_into(bytearray(10))  # error: [arg-type]
    print(whole, parts)


def endpoints(context: zmqcy.Context, socket: zmqcy.Socket) -> None:
    socket.bind(5555)  # error: expected "str"
    with socket.connect("inproc://a") as endpoint:
        endpoint.send(b"")  # error: "Endpoint" has no attribute "send"
    zmqcy.Socket("PUSH", zmqcy.PUSH)  # error: expected "Context"
    socket.context.term()  # error: [union-attr]
    socket.close(linger="0")  # error: [arg-type]


def options(socket: zmqcy.Socket) -> None:
    socket.rcvhwm = "3"  # error: [assignment]
    socket.rcvhwm = None  # error: [assignment]
    socket.ipv6 = None  # error: [assignment]
    socket.linger = "0"  # error: [assignment]
    socket.routing_id = "me"  # error: variable has type "Buffer"
    socket.plain_username = 3  # error: [assignment]
    socket.curve_publickey = None  # error: [assignment]
    socket.last_endpoint = "inproc://a"  # error: read-only
    socket.events = 3  # error: read-only
    socket.xpub_verbose = b""  # error: [assignment]
    verbose: bool = socket.xpub_verbose  # error: "__get__" of "_WriteOnly"
    socket.subscribe = b""  # error: Cannot assign to a method
    socket.subscribe(3)  # error: [arg-type]
    print(socket.rcvhvm)  # error: has no attribute "rcvhvm"
    socket.rcvhvm = 3  # error: has no attribute "rcvhvm"
    socket.setsockopt(zmqcy.LINGER, "0")  # error: No overload variant
    socket.setsockopt(zmqcy.ROUTING_ID, "me")  # error: No overload variant
    socket.setsockopt("LINGER", 0)  # error: No overload variant
    socket.getsockopt("LINGER")  # error: No overload variant
    name: str = socket.getsockopt(zmqcy.LAST_ENDPOINT)  # error: [assignment]
    print(verbose, name)


def polls(socket: zmqcy.Socket) -> None:
    poller = zmqcy.Poller()
    poller.register("socket")  # error: [arg-type]
    poller.register(socket, "POLLIN")  # error: [arg-type]
    poller.poll("1")  # error: [arg-type]
    for ready, _ in poller.poll():
        ready.recv()  # error: [union-attr]
    zmqcy.select(iter([socket]), [], [])  # error: No overload variant
    zmqcy.select(["socket"], [], [])  # error: [type-var]


def takes_bytes(message: bytes) -> None: ...


def takes_plain(socket: zmqcy.Socket) -> None: ...


def takes_asynchronous(socket: zmqcy.asyncio.Socket) -> None: ...


async def forgotten(socket: zmqcy.asyncio.Socket) -> None:
    takes_bytes(socket.recv())  # error: [arg-type]
    message: bytes = socket.recv()  # error: [assignment]
    socket.recv().decode()  # error: has no attribute "decode"
    print(len(socket.recv_multipart()))  # error: [arg-type]
    for part in socket.recv_multipart():  # error: "None" not callable
        print(part)
    takes_bytes(*socket.recv_multipart())  # error: [arg-type]
    for each in socket:  # error: has no attribute "__iter__"
        print(each)
    number = 1 + socket.poll()  # error: Unsupported operand types
    json = socket.recv_json()["key"]  # error: is not indexable
    socket.send(b"").wait()  # error: has no attribute "wait"
    socket.recv_string().upper()  # error: has no attribute "upper"
    socket.send(b"")  # error: must be used
    socket.send_string("text")  # error: must be used
    socket.aclose()  # error: must be used
    await socket.try_send(b"")  # error: Incompatible types in "await"
    print(message, number, json)


async def asynchronous_messages(socket: zmqcy.asyncio.Socket) -> None:
    text: str = await socket.recv()  # error: [assignment]
    frame: bytes = await socket.recv(copy=False)  # error: [assignment]
    (await socket.recv(copy=False)).decode()  # error: "Frame" has no attribute "decode"
    parts: list[bytes] = await socket.recv_multipart(copy=False)  # error: [assignment]
    await socket.send("text")  # error: [call-overload]
    await socket.send([b"a", b"b"])  # error: [call-overload]
    await socket.send_many(["text"])  # error: expected "Buffer"
    await socket.recv_many(copy=False)  # error: [call-arg]
    await socket.send_multipart(b"one")  # error: expected "Iterable[Buffer]"
    (await socket.send(b"")).wait()  # error: "None" has no attribute "wait"
    await socket.recv(timeout="1")  # error: [call-overload]
    await socket.send_string(b"bytes")  # error: expected "str"
    socket.recv().set_result(b"")  # error: expected "Never"
    pending: asyncio.Future[str] = socket.recv()  # error: [assignment]
    await asyncio.create_task(socket.recv())  # error: [arg-type]
    with socket.recv() as message:  # error: has no attribute "__enter__"
        print(message)
    print(text, frame, parts, pending)


async def sockets_of_the_other_kind(
    plain: zmqcy.Socket, asynchronous: zmqcy.asyncio.Socket, foreign: zmqcy.anyio.Socket
) -> None:
    takes_plain(asynchronous)  # error: expected "zmqcy.socket.Socket"
    takes_plain(foreign)  # error: expected "zmqcy.socket.Socket"
    takes_asynchronous(plain)  # error: expected "zmqcy.asyncio.Socket"
    takes_asynchronous(foreign)  # error: expected "zmqcy.asyncio.Socket"
    await plain.recv()  # error: Incompatible types in "await"
    async for message in plain:  # error: has no attribute "__aiter__"
        print(message)
    async with plain:  # error: has no attribute "__aenter__"
        pass
    await plain.aclose()  # error: has no attribute "aclose"


async def asynchronous_contexts(context: zmqcy.asyncio.Context, plain: zmqcy.Context) -> None:
    takes_plain(context.socket(zmqcy.PUSH))  # error: expected "zmqcy.socket.Socket"
    takes_asynchronous(plain.socket(zmqcy.PUSH))  # error: expected "zmqcy.asyncio.Socket"
    context.socket(zmqcy.PUSH, rcvhwn=3)  # error: Unexpected keyword argument "rcvhwn"
    context.socket(zmqcy.PUSH, linger="0")  # error: [arg-type]
    zmqcy.asyncio.Context(lingr=0)  # error: Unexpected keyword argument "lingr"
    with zmqcy.asyncio.Context.instance() as same:
        takes_plain(same.socket(zmqcy.PUSH))  # error: expected "zmqcy.socket.Socket"
    async with plain:  # error: has no attribute "__aenter__"
        pass
    context.aclose()  # error: must be used
    await context.aclose("1")  # error: [arg-type]


async def asynchronous_polls(poller: zmqcy.asyncio.Poller, foreign: zmqcy.anyio.Poller) -> None:
    for ready, _ in poller.poll():  # error: has no attribute "__iter__"
        print(ready)
    poller.poll()  # error: must be used
    foreign.poll(0)  # error: must be used
    await poller.poll("1")  # error: [arg-type]
    for ready, _ in await poller.poll():
        await ready.recv()  # error: [union-attr]


async def coroutines(socket: zmqcy.anyio.Socket) -> None:
    takes_bytes(socket.recv())  # error: [arg-type]
    socket.send(b"")  # error: must be used
    socket.recv().cancel()  # error: has no attribute "cancel"
    text: str = await socket.recv()  # error: [assignment]
    (await socket.recv(copy=False)).decode()  # error: "Frame" has no attribute "decode"
    await socket.send("text")  # error: [call-overload]
    print(text)


def devices(frontend: zmqcy.Socket) -> None:
    zmqcy.proxy(frontend)  # error: Missing positional argument "backend"
    zmqcy.proxy(frontend, 3)  # error: [arg-type]
    zmqcy.proxy(frontend, frontend, filter="module:function")  # error: [arg-type]
    zmqcy.proxy(frontend, frontend, filter=lambda messages: messages)  # error: [arg-type]
    zmqcy.proxy(frontend, frontend, filter=lambda direction, messages: None)  # error: [arg-type]
    zmqcy.device("QUEUE", frontend, frontend)  # error: [arg-type]
    device = Device("QUEUE", "tcp://*:1", "tcp://*:2")  # error: [arg-type]
    device.stop(timeout="1")  # error: [arg-type]
    Device(zmqcy.QUEUE, "tcp://*:1", "tcp://*:2", {})  # error: Too many positional arguments


class Both(zmqcy.Context, zmqcy.Socket):  # error: incompatible disjoint bases
    pass


async def monitors(plain: zmqcy.Socket, asynchronous: zmqcy.asyncio.Socket) -> None:
    plain.watch("CONNECTED")  # error: [arg-type]
    async for event in plain.watch():  # error: has no attribute "__aiter__"
        print(event)
    for each in asynchronous.watch():  # error: has no attribute "__iter__"
        print(each)
    plain.pipes_stats(wait=None)  # error: [arg-type]
    print(asynchronous.pipes_stats()[0])  # error: is not indexable
    print(asynchronous.watch().recv().name)  # error: has no attribute "name"
    asynchronous.watch().poll()  # error: has no attribute "poll"


def security(socket: zmqcy.Socket) -> None:
    socket.serve_curve()  # error: Missing positional argument "secret_key"
    socket.use_plain("user", None)  # error: [arg-type]
    Policy("10.0.0.0/8")  # error: Too many positional arguments
    Policy(plain=["user"])  # error: [arg-type]
    Authenticator(domains={"inner": {"curve": ANY}})  # error: [dict-item]
