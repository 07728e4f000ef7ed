"""Behaviors that programs rely on, as functions that run on pyzmq and on zmqcy.compat.

The asserts of each function hold on both, and its results are equal. Run this file to get the results as JSON.
"""

import asyncio
import contextlib
import copy
import faulthandler
import json
import logging
import os
import pickle
import sys
import threading
import warnings

import zmq

made = []  # the shadow of a context does not close these sockets


def pair(ctx, bound=zmq.PULL, connected=zmq.PUSH):
    first, second = ctx.socket(bound), ctx.socket(connected)
    made.extend([first, second])
    first.setsockopt(zmq.RCVTIMEO, 5000)
    second.RCVTIMEO = 5000
    port = first.bind_to_random_port("tcp://127.0.0.1")
    second.connect(f"tcp://127.0.0.1:{port}")
    return first, second


def options_by_any_name(ctx):
    push = ctx.socket(zmq.PUSH)
    push.LINGER = 7
    push.identity = b"me"
    push.hwm = 12
    found = [push.linger, push.getsockopt(zmq.LINGER), push.get(zmq.LINGER), push.IDENTITY, push.ROUTING_ID]
    found += [push.plain_username, push.ZAP_DOMAIN, push.ipv6, push.immediate, push.sndhwm, push.RCVHWM]
    return [repr(each) for each in (*found, push.type is zmq.SocketType.PUSH)]


def last_endpoint_is_bytes(ctx):
    push = ctx.socket(zmq.PUSH)
    push.bind("inproc://here")
    return [repr(push.last_endpoint), repr(push.LAST_ENDPOINT), repr(push.getsockopt(zmq.LAST_ENDPOINT))]


def bind_gives_the_socket(ctx):
    push = ctx.socket(zmq.PUSH)
    with push.bind("tcp://127.0.0.1:*") as bound:
        assert bound is push
    with push.bind("tcp://127.0.0.1:*") as again, push.connect("inproc://nobody") as connected:
        return again.last_endpoint != b"" and connected is push


def text_json_and_pickles(ctx):
    pull, push = pair(ctx)
    push.send_string("é", 0, True, "latin1")
    push.send_unicode("u")
    push.send_json({"a": [1, "é"]})
    push.send_json([1], indent=1)
    push.send_pyobj({1: (2, 3)})
    push.send_serialized(5, lambda number: [b"%d" % number, b"x"])
    found = [pull.recv_string(0, "latin1"), pull.recv_unicode(), pull.recv().decode(), pull.recv_json()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.append(repr(pull.recv_pyobj()))
    return [*found, pull.recv_serialized(lambda parts: repr(parts))]


def subscriptions_as_options(ctx):
    xpub, sub = pair(ctx, zmq.XPUB, zmq.SUB)
    sub.subscribe = b"a"
    sub.SUBSCRIBE = b"b"
    sub.subscribe("c")
    sub.setsockopt_string(zmq.SUBSCRIBE, "d")
    sub.unsubscribe(b"a")
    return [repr(xpub.recv()) for _ in range(5)]


def contexts_have_defaults(ctx):
    ctx.linger = 5
    ctx.setsockopt(zmq.SUBSCRIBE, b"all")
    ctx.RCVHWM = 3
    push, sub = ctx.socket(zmq.PUSH), ctx.socket(zmq.SUB)
    found = [push.linger, sub.rcvhwm, ctx.LINGER, ctx.getsockopt(zmq.RCVHWM), ctx.get(zmq.IO_THREADS), ctx.IO_THREADS]
    return [*found, {int(option): repr(value) for option, value in ctx.sockopts.items()}]


def no_such_attribute(ctx):
    push = ctx.socket(zmq.PUSH)
    for owner in (push, ctx):
        for attempt in (lambda: owner.nothing, lambda: setattr(owner, "nothing", 1)):  # noqa: B023
            try:
                attempt()
            except AttributeError:
                continue
            return False
    return not hasattr(ctx, "LINGER")


def shadows_and_copies(ctx):
    push = ctx.socket(zmq.PUSH)
    sockets = [
        zmq.Socket(push),
        zmq.Socket(shadow=push.underlying),
        zmq.Socket.shadow(push.underlying),
        copy.copy(push),
    ]
    assert all(each.underlying == push.underlying and each.type == zmq.PUSH for each in sockets)
    contexts = [zmq.Context(ctx), zmq.Context(shadow=ctx.underlying), zmq.Context.shadow(ctx), copy.copy(ctx)]
    return all(each.underlying == ctx.underlying for each in contexts)


def the_context_of_a_shadow(ctx):
    class Wrapper(zmq.Socket):
        def __init__(self, socket):
            super().__init__(shadow=socket.underlying)
            self.context = socket.context

    push = ctx.socket(zmq.PUSH)
    wrapper = Wrapper(push)
    found = [wrapper.context is ctx, zmq.Socket(push).context is ctx, zmq.Socket(shadow=push.underlying).context]
    wrapper.context = None
    return [*found, wrapper.context, push.context is ctx]


def methods_are_replaced(ctx):
    """Methods of one instance are replaced by a mock, by a wrapper, and restored."""
    from unittest import mock

    import zmq.asyncio

    asynchronous = zmq.asyncio.Context(ctx)
    sockets = [ctx.socket(zmq.PUSH), asynchronous.socket(zmq.PUSH)]
    found = []
    for owner, name in ((sockets[0], "send"), (sockets[1], "send_multipart"), (ctx, "socket"), (asynchronous, "term")):
        before = getattr(owner, name)
        with mock.patch.object(owner, name, return_value="mocked"):
            found.append(getattr(owner, name)(b"x"))
        assert getattr(owner, name) == before
        setattr(owner, name, lambda *arguments, before=before: before.__name__)
        found.append(getattr(owner, name)(b"x"))
        delattr(owner, name)
        assert getattr(owner, name) == before
    made.append(sockets[1])
    return found


def trackers_without_copies(ctx):
    pull, push = pair(ctx)
    found = [push.send(b"short", copy=False, track=True) is zmq._FINISHED_TRACKER]
    frame = zmq.Frame(b"again", copy=False, track=True)
    trackers = [push.send(frame, copy=False), push.send(frame, copy=False, track=True)]
    found += [tracker is frame.tracker for tracker in trackers]
    found += [pull.recv().decode() for _ in range(3)]
    found += [tracker.done for tracker in trackers]
    try:
        push.send(zmq.Frame(b"not tracked"), copy=False, track=True)
    except ValueError:
        found.append("ValueError")
    return found


def receives_that_wait(ctx):
    import zmq.asyncio

    async def main():
        pull, _ = pair(zmq.asyncio.Context(ctx))
        found = [len(pull._recv_futures), pull._get_loop() is asyncio.get_running_loop()]
        waiting = [asyncio.ensure_future(pull.recv()), asyncio.ensure_future(pull.poll(5000))]
        await asyncio.sleep(0)
        found.append(len(pull._recv_futures))
        for each in waiting:
            each.cancel()
        await asyncio.sleep(0.1)
        return [*found, len(pull._recv_futures)]

    return asyncio.run(main())


def closed_sockets_in_a_poller(ctx):
    """A poller with closed sockets polls the other sockets."""
    closed, last = ctx.socket(zmq.SUB), ctx.socket(zmq.SUB)
    pull, push = pair(ctx)
    poller = zmq.Poller()
    for socket in (closed, last, pull):
        poller.register(socket, zmq.POLLIN)
    closed.close()
    push.send(b"x")
    pull.poll(5000)
    found = [pull in dict(poller.poll(5000)), closed in poller, len(poller.sockets)]
    poller.modify(closed, zmq.POLLOUT)
    poller.unregister(closed)
    found += [closed in poller, len(poller.sockets)]
    last.close()
    poller.register(closed, zmq.POLLIN)
    return [*found, len(poller.sockets), pull in dict(poller.poll(5000))]


def the_class_of_the_sockets_of_one_context(ctx):
    import zmq.asyncio

    class Mine(zmq.asyncio.Context):
        _socket_class = zmq.asyncio.Socket

    found = []
    for kind, other in ((zmq.Context, zmq.asyncio.Socket), (zmq.asyncio.Context, zmq.Socket), (Mine, zmq.Socket)):
        before = kind._socket_class
        with kind() as context:
            context._socket_class = other
            with context.socket(zmq.PUSH) as socket:
                found.append(type(socket) is other and kind._socket_class is before)
            del context._socket_class
            with context.socket(zmq.PUSH) as socket:
                found.append(type(socket) is before)
    try:
        ctx._socket_clas = zmq.Socket
    except AttributeError:
        found.append("refused")
    return [*found, ctx._socket_class is zmq.Socket]


def one_context_a_process(ctx):
    class Mine(zmq.Context):
        pass

    shared = zmq.Context.instance()
    assert shared is zmq.Context.instance()
    found = [Mine.instance() is shared]
    shared.destroy(0)
    return [*found, zmq.Context.instance() is shared]


def subclasses(ctx):
    class Socket(zmq.Socket):
        extra = None

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.extra = "set"

    class Context(zmq.Context):
        _socket_class = Socket
        name = "none"

    with Context() as context:
        context.name = "some"
        made = context.socket(zmq.PUB)
        plain = context.socket(zmq.PUB, socket_class=zmq.Socket)
        found = [made.extra, context.name, type(made) is Socket, type(plain) is zmq.Socket]
        return [*found, context.socket(zmq.PUSH, copy_threshold=9).copy_threshold]


def polls(ctx):
    pull, push = pair(ctx)
    poller = zmq.Poller()
    poller.register(pull, zmq.POLLIN)
    poller.register(push)
    assert dict(poller.poll(5000)) == {push: zmq.POLLOUT}
    poller.modify(push, zmq.POLLIN)
    push.send(b"x")
    found = [int(events) for socket, events in poller.poll(5000)]
    poller.unregister(push)
    assert push not in poller and pull in poller
    found += [len(poller.sockets), pull.poll(5000), pull.poll(0, zmq.POLLOUT), len(zmq.select([pull], [], [], 5)[0])]
    return [*found, [int(events) for _, events in zmq.zmq_poll([(pull, zmq.POLLIN)], 5000)]]


def polls_of_files(ctx):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", 0) as writer:
        poller = zmq.Poller()
        poller.register(reader, zmq.POLLIN)
        poller.register(writer, 0)
        found = [poller.poll(0), writer in poller]
        writer.write(b"x")
        found.append([(what == reading, int(events)) for what, events in poller.poll(5000)])
        poller.register(reader, 0)
        return [*found, len(poller.sockets)]


def a_monitor_is_read_to_its_end(ctx):
    from zmq.utils.monitor import recv_monitor_message

    pull = ctx.socket(zmq.PULL)
    monitor = pull.get_monitor_socket(zmq.EVENT_LISTENING | zmq.EVENT_MONITOR_STOPPED)
    monitor.rcvtimeo = 5000
    pull.bind("tcp://127.0.0.1:*")
    pull.disable_monitor()
    found = [int(recv_monitor_message(monitor)["event"]) for _ in range(2)]
    again = pull.get_monitor_socket(addr="inproc://again")  # pyzmq's own name may still be in use
    found += [again is not monitor, monitor.closed]
    pull.disable_monitor()
    for each in (monitor, again):
        each.close()
    return found


def errors(ctx):
    rep = ctx.socket(zmq.REP)
    found = []
    for attempt in (
        lambda: rep.recv(zmq.NOBLOCK),
        lambda: rep.send(b""),
        lambda: rep.bind("nothing"),
        lambda: rep.unbind("tcp://127.0.0.1:1"),
        lambda: rep.getsockopt(9999),
        lambda: (rep.close(), rep.recv()),
        lambda: zmq.Socket(ctx, 999),
        lambda: zmq.MessageTracker(threading.Event()).wait(0.01),
    ):
        try:
            attempt()
        except zmq.ZMQBaseError as error:
            found.append(
                [int(getattr(error, "errno", 0) or 0), isinstance(error, zmq.Again), isinstance(error, zmq.ZMQError)]
            )
    return [*found, int(zmq.Again().errno), int(zmq.ContextTerminated().errno), zmq.ZMQError(zmq.EINVAL).errno]


def wrong_types(ctx):
    push = ctx.socket(zmq.PUSH)
    for attempt in (
        lambda: push.send("text"),
        lambda: push.send_string(b"bytes"),
        lambda: push.send_multipart(["text"]),
        lambda: push.setsockopt(zmq.IDENTITY, "text"),
        lambda: push.setsockopt(zmq.LINGER, b"bytes"),
        lambda: zmq.Frame("text"),
    ):
        try:
            attempt()
        except TypeError:
            continue
        return False
    return True


def messages_without_copies(ctx):
    pull, push = pair(ctx)
    tracker = push.send(bytearray(b"x" * 100_000), copy=False, track=True)
    assert isinstance(tracker, zmq.MessageTracker)
    frame = pull.recv(copy=False)
    tracker.wait(5)
    assert isinstance(frame, zmq.Frame) and zmq.Message is zmq.Frame
    assert frame.bytes == bytes(frame) == bytes(frame.buffer) == b"x" * 100_000 and not frame.more
    watched = zmq.MessageTracker(tracker, zmq.Frame(b"tracked", track=True))
    watched.wait(5)
    push.send_multipart([b"1", zmq.Frame(b"2")], copy=False)
    return [tracker.done, watched.done, zmq.MessageTracker().done, len(frame), repr(pull.recv_multipart())]


def monitors(ctx):
    from zmq.utils.monitor import parse_monitor_message, recv_monitor_message

    pull = ctx.socket(zmq.PULL)
    monitor = pull.get_monitor_socket()
    pull.bind("tcp://127.0.0.1:*")
    event = recv_monitor_message(monitor)
    try:
        parse_monitor_message([b"one"])
    except (RuntimeError, ValueError):
        pass
    else:
        return False
    pull.disable_monitor()
    return [event["event"] == zmq.EVENT_LISTENING, event["endpoint"] == pull.last_endpoint, sorted(event)]


def utilities(ctx):
    from zmq.utils import jsonapi, strtypes, z85
    from zmq.utils.interop import cast_int_addr
    from zmq.utils.win32 import allow_interrupt

    with allow_interrupt():
        found = [repr(jsonapi.dumps({"é": 1})), jsonapi.loads(b"[1]"), repr(z85.encode(b"12345678"))]
    found += [repr(z85.decode(z85.encode(b"1234"))), repr(strtypes.cast_bytes("é")), strtypes.u(b"x")]
    assert cast_int_addr(ctx.underlying) == ctx.underlying
    for attempt in (lambda: z85.encode(b"123"), lambda: z85.decode(b"1234")):
        try:
            attempt()
        except ValueError:
            found.append("ValueError")
    return [*found, len(z85.Z85CHARS), z85.Z85MAP[ord("a")]]


def decorators(ctx):
    from zmq.decorators import context, socket

    @context()
    @socket(zmq.PUB)
    @socket("named", zmq.SUB, copy_threshold=3)
    def plain(argument, ctx, pub, named=None):
        return [argument, pub.context is ctx, named.context is ctx, pub.type == zmq.PUB, named.copy_threshold, ctx, pub]

    @context("mine", io_threads=2)
    @socket("sock", zmq.PUB, context_name="mine")
    def by_name(mine, sock):
        return [sock.context is mine, mine.io_threads]

    @socket("sock", zmq.PUSH)
    def of_argument(given, sock):
        return sock.context is given

    *found, used, pub = plain("argument")
    try:
        socket(zmq.PUSH)(lambda made: 1 / 0)()
    except ZeroDivisionError:
        found.append("error")
    return [*found, used.closed, pub.closed, by_name(), of_argument(ctx), plain.__name__]


def log_handlers(ctx):
    from zmq.log.handlers import PUBHandler, TopicLogger

    pull, push = pair(ctx)
    handler = PUBHandler(push)
    logger = logging.getLogger("zmq.of.compat")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    logger.info("first %d", 1)
    handler.root_topic = "root"
    logger.warning("topic::second")
    handler.setFormatter(logging.Formatter("%(levelname)s! %(message)s"))
    handler.setFormatter(logging.Formatter("debug %(message)s"), logging.DEBUG)
    logger.error("third")
    logger.debug("fourth é")
    handler.setRootTopic("other")
    topics = TopicLogger("zmq.of.topics")
    topics.addHandler(handler)
    topics.log(logging.INFO, "subject", "fifth %s", "of topics")
    handler.root_topic = b"bytes"
    topics.log(logging.INFO, "subject", "sixth")
    logger.removeHandler(handler)
    return [handler.root_topic, *([part.decode() for part in pull.recv_multipart()] for _ in range(6))]


def devices(ctx):
    from zmq.devices import ThreadDevice, ThreadMonitoredQueue, ThreadProxy

    found = []
    for device in (
        ThreadDevice(zmq.STREAMER, zmq.PULL, zmq.PUSH),
        ThreadProxy(zmq.PULL, zmq.PUSH, zmq.PUSH),
        ThreadMonitoredQueue(zmq.PULL, zmq.PUSH, zmq.PUSH, in_prefix=b"I", out_prefix=b"O"),
    ):
        device.context_factory = lambda: ctx
        ends = [device.bind_in_to_random_port("tcp://127.0.0.1"), device.bind_out_to_random_port("tcp://127.0.0.1")]
        device.setsockopt_in(zmq.LINGER, 0)
        device.setsockopt_out(zmq.LINGER, 0)
        sockets = [ctx.socket(zmq.PUSH), ctx.socket(zmq.PULL)]
        if not isinstance(device, ThreadDevice) or hasattr(device, "bind_mon"):
            ends.append(device.bind_mon_to_random_port("tcp://127.0.0.1"))
            device.setsockopt_mon(zmq.LINGER, 0)
            sockets.append(ctx.socket(zmq.PULL))
        device.start()
        for socket, port in zip(sockets, ends, strict=True):
            socket.setsockopt(zmq.RCVTIMEO, 5000)
            socket.connect(f"tcp://127.0.0.1:{port}")
        sockets[0].send_multipart([b"1", b"2"])
        found.append([repr(socket.recv_multipart()) for socket in sockets[1:]])
        found.append([device.done, device.daemon, device.launcher.is_alive()])
    return found


def a_device_of_one_socket_answers(ctx):
    from zmq.devices import ThreadDevice

    device = ThreadDevice(zmq.QUEUE, zmq.REP, -1)
    device.context_factory = lambda: ctx
    port = device.bind_in_to_random_port("tcp://127.0.0.1")
    device.setsockopt_in(zmq.LINGER, 0)
    device.start()
    req = ctx.socket(zmq.REQ)
    req.setsockopt(zmq.RCVTIMEO, 5000)
    req.connect(f"tcp://127.0.0.1:{port}")
    answers = []
    for question in (b"1", b"2"):
        req.send(question)
        answers.append(req.recv().decode())
    req.close(0)
    return answers


def sockets_of_a_context_that_has_ended(ctx):
    own = zmq.Context()
    shadow = zmq.Context.shadow(own.underlying)
    own.term()
    found = []
    for context in (own, shadow):
        try:
            context.socket(zmq.PUB)
        except zmq.ZMQError as error:
            found.append([int(error.errno), isinstance(error, zmq.ContextTerminated)])
    return found


def a_device_ends_with_its_context(ctx):
    from zmq.devices import ThreadDevice

    own = zmq.Context()
    device = ThreadDevice(zmq.QUEUE, zmq.ROUTER, zmq.DEALER)
    device.context_factory = lambda: own
    device.bind_in("inproc://in")
    device.bind_out("inproc://out")
    device.start()
    req, rep = own.socket(zmq.REQ), own.socket(zmq.REP)
    req.connect("inproc://in")
    rep.connect("inproc://out")
    req.send(b"question")
    assert rep.recv() == b"question"
    rep.send(b"answer")
    answer = req.recv()
    req.close()
    rep.close()
    own.term()
    device.join(5)
    return [answer.decode(), device.done]


def a_steerable_proxy(ctx):
    from zmq.devices import ThreadProxySteerable

    device = ThreadProxySteerable(zmq.PULL, zmq.PUSH, zmq.PUB, zmq.PAIR)
    device.context_factory = lambda: ctx
    port = device.bind_in_to_random_port("tcp://127.0.0.1")
    out = device.bind_out_to_random_port("tcp://127.0.0.1")
    steering = device.bind_ctrl_to_random_port("tcp://127.0.0.1")
    device.start()
    push, pull, pair = ctx.socket(zmq.PUSH), ctx.socket(zmq.PULL), ctx.socket(zmq.PAIR)
    for socket, end in ((push, port), (pull, out), (pair, steering)):
        socket.connect(f"tcp://127.0.0.1:{end}")
    push.send(b"through")
    assert pull.recv() == b"through"
    pair.send(b"TERMINATE")
    device.join(5)
    return device.done


def monitored_queue_with_the_same_names(ctx):
    """The peers of a ROUTER on both sides address each other by routing id."""
    from zmq.devices import monitored_queue

    front, back, watch = ctx.socket(zmq.ROUTER), ctx.socket(zmq.ROUTER), ctx.socket(zmq.PUB)
    front.bind("inproc://front")
    back.bind("inproc://back")
    left, right = ctx.socket(zmq.DEALER), ctx.socket(zmq.DEALER)
    left.identity, right.identity = b"left", b"right"
    left.connect("inproc://front")
    right.connect("inproc://back")

    def forward():
        with contextlib.suppress(zmq.ContextTerminated):
            monitored_queue(front, back, watch)
        for socket in (front, back, watch):
            socket.close(0)

    thread = threading.Thread(target=forward)
    thread.start()
    left.send_multipart([b"right", b"hello"])
    found = [repr(right.recv_multipart())]
    right.send_multipart([b"left", b"world"])
    found.append(repr(left.recv_multipart()))
    for socket in (left, right):
        socket.close(0)
    ctx.term()
    thread.join(5)
    return found


def what_pickles(ctx):
    return [pickle.loads(pickle.dumps(each)) == each for each in (zmq.PUSH, zmq.LINGER, zmq.POLLIN)]


def asynchronous(ctx):
    import zmq.asyncio

    async def main():
        context = zmq.asyncio.Context(ctx)
        pull, push = pair(context)
        assert isinstance(pull, zmq.Socket) and issubclass(zmq.asyncio.Socket, zmq.Socket)
        assert isinstance(context, zmq.Context) and isinstance(zmq.asyncio.Poller(), zmq.Poller)
        found = [repr(pull.identity), repr(push.last_endpoint[:6]), pull.type == zmq.PULL]
        waiting = pull.recv_json()
        assert asyncio.isfuture(waiting) and not waiting.done()
        push.send_json({"begins": "without await"})
        found.append(await asyncio.wait_for(waiting, 5))
        sending = push.send_string("text")
        assert asyncio.isfuture(sending) and await sending is None
        found.append(await pull.recv_string())
        await push.send_pyobj((1, 2))
        found.append(repr(await pull.recv_pyobj()))
        await push.send_serialized(3, lambda number: [b"%d" % number])
        found.append(await pull.recv_serialized(lambda parts: int(parts[0])))
        await push.send_multipart([b"a", b"b"])
        found.append(await pull.poll(5000))
        found.append(repr(await pull.recv_multipart()))
        poller = zmq.asyncio.Poller()
        poller.register(pull, zmq.POLLIN)
        polling = poller.poll(5000)
        await push.send(b"polled")
        found.append([(socket is pull, int(events)) for socket, events in await polling])
        found.append(repr(await pull.recv()))
        buffer = bytearray(10)
        into = pull.recv_into(buffer)
        await push.send(b"into")
        found.append([await into, bytes(buffer[:4]).decode()])
        return found

    return asyncio.run(main())


def asynchronous_errors(ctx):
    import zmq.asyncio

    async def main():
        context = zmq.asyncio.Context.shadow(ctx)
        pull = context.socket(zmq.PULL)
        found = []
        pull.rcvtimeo = 10
        for flags in (0, zmq.NOBLOCK):
            try:
                await pull.recv(flags)
            except zmq.Again as error:
                found.append(int(error.errno))
        pull.rcvtimeo = -1
        made.append(pull)
        waiting = pull.recv()
        pull.close()
        found.append((await asyncio.wait([waiting], timeout=5))[0] == {waiting})
        found.append(waiting.cancelled() or waiting.exception() is not None)
        try:
            await pull.recv()
        except zmq.ZMQError as error:
            found.append(int(error.errno))
        return found

    return asyncio.run(main())


def asynchronous_kinds(ctx):
    import zmq.asyncio

    async def main():
        assert zmq.asyncio.Context.instance() is not zmq.Context.instance()
        assert zmq.asyncio.Context.instance() is zmq.asyncio.Context.instance()
        context = zmq.asyncio.Context()
        plain = context.socket(zmq.PUSH, socket_class=zmq.Socket)
        wrapped = [zmq.asyncio.Socket(plain), zmq.asyncio.Socket.from_socket(plain), zmq.asyncio.Socket.shadow(plain)]
        found = [type(plain) is zmq.Socket, *(each.underlying == plain.underlying for each in wrapped)]
        found.append(type(zmq.Socket.shadow(wrapped[0])) is zmq.Socket)
        context.destroy(0)
        return [*found, context.closed, plain.closed]

    found = asyncio.run(main())
    zmq.asyncio.Context.instance().destroy(0)
    zmq.Context.instance().destroy(0)
    return found


def streams(ctx):
    from tornado.ioloop import IOLoop
    from zmq.eventloop.zmqstream import ZMQStream

    async def main():
        pull, push = pair(ctx)
        receiving, sending = ZMQStream(pull), ZMQStream(push)
        assert isinstance(receiving.io_loop, IOLoop) and receiving.socket is pull and sending.bind == push.bind
        received, sent, closed = asyncio.Queue(), [], []

        async def received_next():
            return await asyncio.wait_for(received.get(), 5)

        receiving.on_recv(received.put_nowait)
        sending.on_send(lambda message, status: sent.append([repr(message), status]))
        sending.send(b"one")
        found = [sending.sending(), receiving.receiving(), sending.receiving()]
        sending.send_multipart([b"two", b"three"])
        sending.send_string("four")
        sending.send_json({"five": 5})
        sending.send_pyobj(6)
        found += [repr(await received_next()) for _ in range(4)]
        await received_next()
        found += [sent[:4], sending.sending()]
        receiving.on_recv_stream(lambda stream, message: received.put_nowait([stream, *message]), copy=False)
        sending.send(b"seven", callback=lambda message, status: sent.append("once"))
        stream, frame = await received_next()
        found += [stream is receiving, isinstance(frame, zmq.Frame), frame.bytes.decode(), sent[-1]]

        async def later(message):
            await asyncio.sleep(0)
            await received.put(message)

        receiving.on_recv(later)
        sending.send(b"eight")
        found.append(repr(await received_next()))
        receiving.stop_on_recv()
        sending.send(b"dropped")
        found.append(sending.flush())
        pull.poll(5000)
        found.append([receiving.flush(), receiving.receiving()])
        receiving.set_close_callback(lambda: closed.append("closed"))
        receiving.close()
        for attempt in (lambda: receiving.send(b""), lambda: receiving.on_recv(later)):
            try:
                attempt()
            except OSError as error:
                found.append(str(error))
        push.close()
        return [*found, closed, receiving.closed(), receiving.socket, pull.closed, sending.closed()]

    return asyncio.run(main())


def a_thousand_messages_by_a_stream(ctx):
    from zmq.eventloop.zmqstream import ZMQStream

    async def main():
        pull, push = pair(ctx)
        receiving, sending = ZMQStream(pull), ZMQStream(push)
        received, full = [], asyncio.Event()

        def take(message):
            received.append(int(message[0]))
            if len(received) == 3000:
                full.set()

        receiving.on_recv(take)
        for number in range(3000):
            sending.send(b"%d" % number)
        await asyncio.wait_for(full.wait(), 10)
        return received == list(range(3000))

    return asyncio.run(main())


def a_stream_of_an_asynchronous_socket(ctx):
    import zmq.asyncio
    from zmq.eventloop.zmqstream import ZMQStream

    async def main():
        socket = zmq.asyncio.Context(ctx).socket(zmq.PULL)
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            stream = ZMQStream(socket)
        found = [type(stream.socket) is zmq.Socket, [each.category.__name__ for each in given]]
        stream.close()
        return found

    return asyncio.run(main())


def a_loop_closes_the_sockets_of_its_streams(ctx):
    from tornado.ioloop import IOLoop
    from zmq.eventloop.zmqstream import ZMQStream

    pull, push = pair(ctx)
    loop = IOLoop(make_current=False)
    ZMQStream(pull, loop)
    loop.close(all_fds=True)
    push.close(0)
    return pull.closed


def futures_on_tornado(ctx):
    from tornado.ioloop import IOLoop
    from zmq.eventloop.future import Context, Poller

    async def main():
        pull, push = pair(Context(ctx))
        await push.send(b"x")
        poller = Poller()
        poller.register(pull, zmq.POLLIN)
        found = [int(events) for _, events in await poller.poll(5000)]
        return [*found, repr(await pull.recv())]

    return IOLoop(make_current=False).run_sync(main)


def coroutines_of_tornado(ctx):
    """`yield` of operations: completed, waiting, several, failed, and with a timeout."""
    import datetime

    from tornado import gen
    from tornado.ioloop import IOLoop
    from zmq.eventloop.future import Context

    @gen.coroutine
    def main():
        pull, push = pair(Context(ctx))
        yield push.send(b"1")
        found = [(yield pull.recv())]
        IOLoop.current().call_later(0.01, push.send, b"2")
        found.append((yield pull.recv()))
        waiting = [pull.recv_string(), pull.recv_multipart()]
        push.send(b"3")
        push.send_multipart([b"4", b"5"])
        found.append((yield waiting))
        failing = pull.recv_json()
        push.send(b"no JSON")
        try:
            yield failing
        except ValueError:
            found.append("ValueError")
        try:
            yield gen.with_timeout(datetime.timedelta(milliseconds=10), pull.recv())
        except gen.TimeoutError:
            found.append("TimeoutError")
        return [repr(each) for each in found]

    return IOLoop(make_current=False).run_sync(main)


def greenlets(ctx):
    import gevent
    import zmq.green

    with zmq.green.Context() as context:
        assert isinstance(context, zmq.Context) and zmq.green.Context.instance() is not zmq.Context.instance()
        pull, push = pair(context)
        assert isinstance(pull, zmq.Socket) and zmq.green.PUSH == zmq.PUSH
        turns, order = [], []

        def tick():
            while len(turns) < 1000:
                turns.append(1)
                gevent.sleep(0)

        def receive():
            order.append(["received", repr(pull.recv()), len(turns) == 1000])
            order.append(["parts", repr(pull.recv_multipart())])
            order.append(["json", pull.recv_json()])

        receiving, ticking = gevent.spawn(receive), gevent.spawn(tick)
        ticking.join()
        push.send(b"x")
        push.send_multipart([b"1", b"2"])
        push.send_json([3])
        gevent.joinall([receiving], timeout=5, raise_error=True)
        try:
            pull.recv(zmq.NOBLOCK)
        except zmq.Again:
            order.append("Again")
        poller = zmq.green.Poller()
        poller.register(pull, zmq.POLLIN)
        assert poller.poll(10) == [] and pull.poll(10) == 0
        polling = gevent.spawn(poller.poll, 5000)
        gevent.sleep(0)
        push.send(b"polled")
        order.append([int(events) for _, events in polling.get(timeout=5)])
        order.append(pull.poll(0))
        zmq.green.Context.instance().destroy(0)
        zmq.Context.instance().destroy(0)
        while made:
            made.pop().close(0)
        return order


def two_greenlets_in_a_socket(ctx):
    """One task waits to receive while another sends: the event of the answer is not lost."""
    import gevent
    import zmq.green

    with zmq.green.Context() as context:
        left, right = pair(context, zmq.PAIR, zmq.PAIR)

        def count(socket):
            return [int(socket.recv()) for _ in range(500)]

        def send(socket):
            for number in range(500):
                socket.send(b"%d" % number)

        counting = [gevent.spawn(count, each) for each in (left, right)]
        sending = [gevent.spawn(send, each) for each in (left, right)]
        gevent.joinall([*counting, *sending], timeout=10, raise_error=True)
        while made:
            made.pop().close(0)
        return [each.value == list(range(500)) for each in counting]


def a_green_device(ctx):
    import gevent
    import zmq.green

    with zmq.green.Context() as context:
        sockets = [context.socket(kind) for kind in (zmq.REQ, zmq.ROUTER, zmq.DEALER, zmq.REP)]
        req, front, back, rep = sockets
        front.bind("inproc://front")
        back.bind("inproc://back")
        req.connect("inproc://front")
        rep.connect("inproc://back")
        running = gevent.spawn(zmq.green.device, zmq.QUEUE, front, back)
        answering = gevent.spawn(lambda: rep.send(rep.recv().upper()))
        req.send(b"question")
        answer = gevent.spawn(req.recv).get(timeout=5)
        answering.join()
        running.kill()
        for socket in sockets:
            socket.close(0)
        return answer.decode()


BEHAVIOURS = {
    name: function for name, function in list(globals().items()) if getattr(function, "__module__", "") == __name__
    and name not in ("pair",)
}  # fmt: skip


def main():
    warnings.simplefilter("ignore")
    found = {}
    for name in sys.argv[1:] or BEHAVIOURS:
        faulthandler.dump_traceback_later(15, exit=True)
        ctx = zmq.Context()
        try:
            found[name] = BEHAVIOURS[name](ctx)
        except BaseException as error:
            found[name] = {"error": type(error).__name__, "text": str(error)}
        while made:
            made.pop().close(0)
        ctx.destroy(0)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
