"""Devices: forwarding, and how they end."""

import ctypes
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest
from rows import rows
from waits import until_in_use

import zmqcy


class Running:
    """A device in a thread, and the exception that ended it."""

    def __init__(self, function, *arguments):
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(function, *arguments))
        self.thread.start()

    def _run(self, function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            self.error = error

    def join(self):
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.error


@pytest.fixture
def device():
    """A function that runs a device over new sockets of its own context, and returns the endpoints of its two sides."""
    context = zmqcy.Context(linger=0)
    running = []

    # last_endpoint must be read before the device uses the sockets
    def start(front, back, function=None, front_options=(), back_options=(), capture=None):
        sockets = [context.socket(front, **dict(front_options)), context.socket(back, **dict(back_options))]
        if capture is not None:
            sockets.append(context.socket(capture))
        for each in sockets:
            each.bind("tcp://127.0.0.1:*")
        endpoints = [each.last_endpoint for each in sockets]
        running.append(Running(function or zmqcy.proxy, *sockets))
        start.running = running[-1]
        start.sockets = sockets
        return endpoints

    start.context = context
    yield start
    context.shutdown()
    for each in running:
        each.join()
    context.destroy()


def connected(socket, kind, endpoint, **options):
    made = socket(kind, **options)
    made.connect(endpoint)
    return made


def test_streamer(device, socket):
    front, back = device(zmqcy.PULL, zmqcy.PUSH, lambda a, b: zmqcy.device(zmqcy.STREAMER, a, b))
    pull, push = connected(socket, zmqcy.PULL, back), connected(socket, zmqcy.PUSH, front)
    total = 5000
    sender = threading.Thread(target=lambda: [push.send(b"%d" % i) for i in range(total)])
    sender.start()
    assert [pull.recv() for _ in range(total)] == [b"%d" % i for i in range(total)]
    sender.join()


def test_queue(device, socket):
    front, back = device(zmqcy.ROUTER, zmqcy.DEALER, lambda a, b: zmqcy.device(zmqcy.QUEUE, a, b))
    workers = [connected(socket, zmqcy.REP, back, rcvtimeo=-1) for _ in range(3)]
    stop = threading.Event()

    def work(rep):
        while not stop.is_set():
            if rep.poll(50):
                rep.send(b"re: " + rep.recv())

    threads = [threading.Thread(target=work, args=[rep]) for rep in workers]
    for thread in threads:
        thread.start()
    clients = [connected(socket, zmqcy.REQ, front) for _ in range(4)]
    for i in range(100):
        for number, client in enumerate(clients):
            client.send(b"%d %d" % (i, number))
        for number, client in enumerate(clients):
            assert client.recv() == b"re: %d %d" % (i, number)
    stop.set()
    for thread in threads:
        thread.join()


def test_forwarder_passes_subscriptions_and_messages(device, socket):
    front, back = device(zmqcy.XSUB, zmqcy.XPUB, lambda a, b: zmqcy.device(zmqcy.FORWARDER, a, b))
    publisher = connected(socket, zmqcy.XPUB, front)
    subscriber = connected(socket, zmqcy.SUB, back)
    subscriber.subscribe(b"topic")
    assert publisher.recv() == b"\x01topic"
    publisher.send_multipart([b"other", b"no"])
    publisher.send_multipart([b"topic", b"yes"])
    assert subscriber.recv_multipart() == [b"topic", b"yes"]


def test_forwarder_of_sub_and_pub(device, socket):
    front, back = device(zmqcy.SUB, zmqcy.PUB, front_options={"linger": 0})
    publisher, subscriber = connected(socket, zmqcy.PUB, front), connected(socket, zmqcy.SUB, back)
    subscriber.subscribe(b"")
    # The device's SUB has no subscription: nothing is forwarded, and the device runs.
    publisher.send(b"x")
    with pytest.raises(zmqcy.Again):
        subscriber.recv(timeout=100)
    assert device.running.thread.is_alive()


def test_messages_stay_whole(device, socket):
    front, back = device(zmqcy.DEALER, zmqcy.DEALER)
    a, b = connected(socket, zmqcy.DEALER, front), connected(socket, zmqcy.DEALER, back)
    for count in (1, 2, 3, 4, 5, 9, 40):
        parts = [b"%d" % i * i for i in range(count)]
        a.send_multipart(parts)
        assert b.recv_multipart() == parts
        b.send_multipart(parts[::-1])
        assert a.recv_multipart() == parts[::-1]


def test_big_messages(device, socket):
    front, back = device(zmqcy.PULL, zmqcy.PUSH)
    pull, push = connected(socket, zmqcy.PULL, back), connected(socket, zmqcy.PUSH, front)
    for size in (65535, 65536, 10_000_000):
        push.send_multipart([b"x" * size, b"y" * size])
        assert pull.recv_multipart() == [b"x" * size, b"y" * size]


@pytest.mark.parametrize(("kind", "peer"), [(zmqcy.ROUTER, zmqcy.DEALER), (zmqcy.REP, zmqcy.REQ)])
def test_the_same_socket_twice(device, socket, kind, peer):
    """Each message returns to its sender: with the routing id of a DEALER, or as the reply to a REQ."""
    context = device.context
    both = context.socket(kind)
    both.bind("tcp://127.0.0.1:*")
    endpoint = both.last_endpoint
    running = Running(zmqcy.proxy, both, both)
    client = connected(socket, peer, endpoint, routing_id=b"me")
    for message in ([b"to myself"], [b"two", b"parts"]):
        client.send_multipart(message)
        assert client.recv_multipart() == message
    context.shutdown()
    assert isinstance(running.join(), zmqcy.ContextTerminated)


def test_the_high_water_mark_is_felt_on_the_other_side(device, socket):
    """Without a peer behind the device its sender is blocked, and later no message is missing."""
    front, back = device(zmqcy.PULL, zmqcy.PUSH, None, {"rcvhwm": 2}, {"sndhwm": 2})
    push = connected(socket, zmqcy.PUSH, front, sndhwm=2)
    data = b"x" * 200_000
    count = 0
    with pytest.raises(zmqcy.TimedOut):
        while count < 1000:
            push.send(data, timeout=200)
            count += 1
    assert count < 1000
    pull = connected(socket, zmqcy.PULL, back)
    assert [len(pull.recv()) for _ in range(count)] == [len(data)] * count
    push.send(b"last")
    assert pull.recv() == b"last"


def test_a_full_side_costs_no_cpu(device, socket):
    front, _ = device(zmqcy.PULL, zmqcy.PUSH, None, {"rcvhwm": 2}, {"sndhwm": 2})
    push = connected(socket, zmqcy.PUSH, front, sndhwm=2)
    with pytest.raises(zmqcy.TimedOut):
        for _ in range(1000):
            push.send(b"x" * 200_000, timeout=200)
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.2


@pytest.mark.parametrize("capture", [zmqcy.PUSH, zmqcy.PUB, zmqcy.PAIR, zmqcy.DEALER])
def test_capture(device, socket, capture):
    front, back, copy = device(zmqcy.ROUTER, zmqcy.DEALER, capture=capture)
    listener = connected(socket, {zmqcy.PUSH: zmqcy.PULL, zmqcy.PUB: zmqcy.SUB}.get(capture, capture), copy)
    if capture == zmqcy.PUB:
        listener.subscribe(b"")
        time.sleep(0.3)  # a PUB does not report its subscribers
    req, rep = connected(socket, zmqcy.REQ, front, routing_id=b"me"), connected(socket, zmqcy.REP, back)
    req.send_multipart([b"question", b"part"])
    assert rep.recv_multipart() == [b"question", b"part"]
    rep.send(b"answer")
    assert req.recv() == b"answer"
    assert listener.recv_multipart() == [b"me", b"", b"question", b"part"]
    assert listener.recv_multipart() == [b"me", b"", b"answer"]


def test_a_capture_that_is_full_holds_the_rest_up_and_loses_nothing(device, socket):
    front, back, copy = device(zmqcy.PULL, zmqcy.PUSH, capture=zmqcy.PUSH)
    pull, push = connected(socket, zmqcy.PULL, back), connected(socket, zmqcy.PUSH, front)
    push.send(b"1")
    with pytest.raises(zmqcy.TimedOut):
        pull.recv(timeout=100)  # the capture has no peer yet
    listener = connected(socket, zmqcy.PULL, copy)
    push.send(b"2")
    assert [pull.recv(), pull.recv()] == [b"1", b"2"]
    assert [listener.recv(), listener.recv()] == [b"1", b"2"]


# ---- shutdown


@pytest.mark.parametrize("end", ["shutdown", "term"])
@pytest.mark.parametrize("function", [zmqcy.proxy, zmqcy.proxy_steerable])
def test_the_end_of_the_context_ends_a_device(end, function):
    context = zmqcy.Context()
    a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
    a.bind("inproc://front")
    b.bind("inproc://back")
    running = Running(function, a, b)
    if end == "shutdown":
        context.shutdown()
    else:
        with pytest.raises(zmqcy.TimedOut):
            context.term(timeout=300)
    error = running.join()
    assert isinstance(error, zmqcy.ContextTerminated)
    assert str(error).startswith(f"{function.__name__} <zmqcy.socket.Socket PULL inproc://front> and <")
    a.close()
    b.close()
    context.term()


def test_ctrl_c_ends_a_device(run):
    for busy in ("idle", "busy"):
        done = run(
            """
            import os, signal, sys, threading, time, zmqcy
            context = zmqcy.Context(linger=0)
            a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
            a.bind("inproc://front")
            b.bind("inproc://back")
            stop = threading.Event()
            def traffic():
                push, pull = context.socket(zmqcy.PUSH), context.socket(zmqcy.PULL)
                push.connect("inproc://front")
                pull.connect("inproc://back")
                while not stop.is_set():
                    for _ in range(100):
                        push.try_send(b"x")
                    while pull.try_recv():
                        pass
                push.close()
                pull.close()
            thread = threading.Thread(target=traffic)
            if sys.argv[1] == "busy":
                thread.start()
            sent = []
            def interrupt():
                sent.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)
            threading.Timer(0.5, interrupt).start()
            try:
                zmqcy.proxy(a, b)
            except KeyboardInterrupt:
                print("interrupted", time.monotonic() - sent[0] < 10)
            stop.set()
            if sys.argv[1] == "busy":
                thread.join()
            context.destroy()
            """,
            busy,
        )
        assert done.stdout == "interrupted True\n"
        assert done.stderr == ""


def test_a_signal_handler_that_returns_lets_the_device_go_on(socket):
    context = zmqcy.Context(linger=0)
    a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
    a.bind("inproc://front")
    b.bind("inproc://back")
    calls = []

    def handler(*_):
        calls.append(1)
        if len(calls) == 20:
            context.shutdown()

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        with pytest.raises(zmqcy.ContextTerminated):
            zmqcy.proxy(a, b)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(calls) >= 20
    context.destroy()


@pytest.mark.parametrize("parts", [[b"one"], [b"one", b"two", b"three"]])
def test_a_message_under_way_goes_back_to_its_socket(parts):
    """A device that is interrupted while its target is full holds a message: the next receive gets it."""
    context = zmqcy.Context(linger=0)
    a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
    a.bind("inproc://front")
    b.bind("inproc://back")  # without a peer it accepts nothing
    push = context.socket(zmqcy.PUSH)
    push.connect("inproc://front")
    push.send_multipart(parts)
    push.send(b"next")

    class Broken(Exception):
        pass

    def handler(*_):
        raise Broken

    previous = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Broken):
            zmqcy.proxy(a, b)
        assert a.poll(0) == zmqcy.POLLIN
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Broken):
            zmqcy.proxy(a, b)  # again: it begins with the message that it has returned
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert a.recv_multipart() == parts
    assert a.recv_multipart() == [b"next"]
    context.destroy()


def test_a_device_begins_with_the_rest_of_a_message(socket):
    context = zmqcy.Context(linger=0)
    a, b, push, pull = (context.socket(kind) for kind in (zmqcy.PULL, zmqcy.PUSH, zmqcy.PUSH, zmqcy.PULL))
    a.bind("inproc://front")
    b.bind("inproc://back")
    push.connect("inproc://front")
    pull.connect("inproc://back")
    push.send_multipart([b"12345", b"b", b"c"])
    with pytest.raises(zmqcy.ZMQError, match="into a buffer"):
        a.recv_into(bytearray(1))
    running = Running(zmqcy.proxy, a, b)
    assert pull.recv_multipart(timeout=5000) == [b"12345", b"b", b"c"]
    context.shutdown()
    running.join()
    context.destroy()


def test_closed_sockets(ctx):
    a, b = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
    b.close()
    for arguments in ((a, b), (b, a), (a, a, b)):
        with pytest.raises(zmqcy.ZMQError, match="proxy .*the socket is closed") as caught:
            zmqcy.proxy(*arguments)
        assert caught.value.errno == zmqcy.ENOTSOCK
    assert a.poll(0) == 0  # no thread uses the socket any more


def test_the_sockets_of_a_device_are_in_use(device):
    device(zmqcy.PULL, zmqcy.PUSH)
    for each in device.sockets:
        until_in_use(each.poll, 0)
        with pytest.raises(zmqcy.SocketInUse, match="close"):
            each.close()


@pytest.mark.parametrize(
    ("types", "text"),
    [
        ((zmqcy.PUSH, zmqcy.PUSH), "no message can pass between PUSH and PUSH"),
        ((zmqcy.PULL, zmqcy.SUB), "no message can pass between PULL and SUB"),
        ((zmqcy.REQ, zmqcy.REP), "a device cannot forward a REQ socket, .*; use ROUTER"),
        ((zmqcy.DEALER, zmqcy.REP), "a device cannot forward a REP socket, .*; use ROUTER"),
        ((zmqcy.PULL, zmqcy.PUSH, zmqcy.PULL), "capture socket must be a PAIR, PUB, DEALER, PUSH or XPUB"),
        ((zmqcy.PULL, zmqcy.PUSH, zmqcy.PAIR, zmqcy.PUSH), "control socket must be a PAIR, SUB, REP, DEALER or PULL"),
        ((zmqcy.PULL, zmqcy.PUSH, zmqcy.PAIR, zmqcy.REQ), "control socket must be a PAIR, SUB, REP, DEALER or PULL"),
    ],
    ids=lambda value: ":".join(each.name for each in value) if isinstance(value, tuple) else "",
)
def test_types_between_which_nothing_goes(ctx, types, text):
    with pytest.raises(zmqcy.InvalidArgument, match=f"proxy_steerable .*{types[-1].name}.*: .*{text}"):
        zmqcy.proxy_steerable(*[ctx.socket(each) for each in types])


@rows(("kind", "error"), [(0, ValueError), (4, ValueError), ("STREAMER", TypeError)])
def test_devices_that_are_none(ctx, kind, error):
    with pytest.raises(error, match="device: device_type must be"):
        zmqcy.device(kind, ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH))


@rows("bad", [None, 5, "socket"])
def test_what_is_no_socket(ctx, bad):
    a, b = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
    for call, function, arguments in (
        ("proxy: frontend", zmqcy.proxy, (bad, b)),
        ("proxy: backend", zmqcy.proxy, (a, bad)),
        ("device: frontend", zmqcy.device, (zmqcy.STREAMER, bad, b)),
        ("proxy_steerable: backend", zmqcy.proxy_steerable, (a, bad)),
        ("proxy: capture", zmqcy.proxy, (a, b, bad or 1)),
        ("proxy_steerable: control", zmqcy.proxy_steerable, (a, b, None, bad or 1)),
    ):
        with pytest.raises(TypeError, match=f"{call} must be a Socket, not "):
            function(*arguments)


# ---- control socket


@pytest.fixture(params=[zmqcy.REP, zmqcy.PAIR])
def steered(request, device, socket):
    """A streamer with a control socket: sender, receiver, and a function that sends a command."""
    context = device.context
    sockets = [context.socket(kind) for kind in (zmqcy.PULL, zmqcy.PUSH, request.param)]
    for each in sockets:
        each.bind("tcp://127.0.0.1:*")
    endpoints = [each.last_endpoint for each in sockets]
    running = Running(zmqcy.proxy_steerable, sockets[0], sockets[1], None, sockets[2])
    control = connected(socket, zmqcy.REQ if request.param == zmqcy.REP else zmqcy.PAIR, endpoints[2])

    def command(word):
        control.send(word)
        if request.param == zmqcy.REP or word == b"STATISTICS":
            return control.recv_multipart()
        return None

    push, pull = connected(socket, zmqcy.PUSH, endpoints[0]), connected(socket, zmqcy.PULL, endpoints[1])
    return push, pull, command, running


def test_pause_and_resume(steered):
    push, pull, command, _ = steered
    push.send(b"1")
    assert pull.recv() == b"1"
    command(b"PAUSE")
    command(b"STATISTICS")  # answered: so PAUSE is obeyed
    push.send(b"2")
    with pytest.raises(zmqcy.TimedOut):
        pull.recv(timeout=200)
    command(b"RESUME")
    assert pull.recv() == b"2"


def test_terminate(steered):
    push, pull, command, running = steered
    push.send(b"1")
    assert pull.recv() == b"1"
    answer = command(b"TERMINATE")
    assert answer in (None, [b""])
    assert running.join() is None


def test_statistics(steered):
    push, pull, command, _ = steered
    push.send(b"12345")
    push.send_multipart([b"1", b"22", b"333"])
    assert pull.recv_multipart() == [b"12345"]
    assert pull.recv_multipart() == [b"1", b"22", b"333"]
    numbers = [struct.unpack("=Q", part)[0] for part in command(b"STATISTICS")]
    assert numbers == [2, 11, 0, 0, 0, 0, 2, 11]


def zmq_proxy_steerable(front, back, capture, control):
    """Forward with zmq_proxy_steerable of the libzmq that zmqcy has loaded."""
    library = ctypes.CDLL(zmqcy._proxy.__file__, use_errno=True)
    handles = [ctypes.c_void_p(each.underlying) for each in (front, back, control)]
    if library.zmq_proxy_steerable(*handles[:2], None, handles[2]):
        raise zmqcy.ZMQError(ctypes.get_errno())


needs_steering = pytest.mark.skipif(
    zmqcy.zmq_version_info() != (4, 3, 4) or not hasattr(ctypes.CDLL(zmqcy._proxy.__file__), "zmq_proxy_steerable"),
    reason="that of libzmq 4.3.4 is compared with; 4.3.5 counts parts",
)
CONTROLS = {
    zmqcy.PAIR: zmqcy.PAIR, zmqcy.DEALER: zmqcy.DEALER, zmqcy.REP: zmqcy.REQ, zmqcy.PULL: zmqcy.PUSH,
    zmqcy.SUB: zmqcy.XPUB,
}  # fmt: skip


@needs_steering
@pytest.mark.parametrize("control", CONTROLS, ids=lambda kind: kind.name)
def test_the_control_words_are_those_of_libzmq(device, socket, control):
    """The same commands have the same effect, and the same traffic gives the same eight counters."""

    def observe(function):
        steering = device.context.socket(control)
        steering.bind(f"inproc://{function.__name__}")
        if control == zmqcy.SUB:
            steering.subscribe(b"")
        front, back = device(zmqcy.ROUTER, zmqcy.DEALER, lambda a, b: function(a, b, None, steering))
        running = device.running
        client = connected(socket, zmqcy.DEALER, front, routing_id=b"12345")
        worker = connected(socket, zmqcy.DEALER, back)
        command = device.context.socket(CONTROLS[control], rcvtimeo=10_000, sndtimeo=10_000)
        command.connect(f"inproc://{function.__name__}")
        if control == zmqcy.SUB:
            assert command.recv() == b"\x01"
        answers = control in (zmqcy.PAIR, zmqcy.DEALER, zmqcy.REP)

        def statistics():
            command.send(b"STATISTICS")
            parts = command.recv_multipart()
            assert [len(part) for part in parts] == [8] * 8
            return [int.from_bytes(part, sys.byteorder) for part in parts]

        def pass_on(message):
            client.send(message)
            return worker.poll(200) != 0 and worker.recv_multipart()[1:] == [message]

        seen = []
        for parts in ([b"1"], [b"22", b"333"], [b"", b"4444", b""]):
            client.send_multipart(parts)
            seen.append(worker.recv_multipart())
        for _ in range(2):
            worker.send_multipart([b"12345", b"back", b"x"])
            seen.append(client.recv_multipart())
        if answers:
            seen.append(statistics())
        if control != zmqcy.REP:  # libzmq does not answer these, and then accepts no other command
            command.send(b"PAUSE")
            deadline = time.monotonic() + 10
            while pass_on(b"word"):  # messages that arrived before PAUSE was executed
                assert time.monotonic() < deadline
            command.send(b"RESUME")
            seen.append(worker.recv_multipart())
        if answers:
            before = statistics()
            client.send(b"xyz")
            seen.append(worker.recv_multipart())
            seen.append([now - then for then, now in zip(before, statistics(), strict=True)])
        else:
            running.thread.join(0)
            assert running.thread.is_alive()
        command.send(b"TERMINATE")
        seen.append(running.join())
        return seen

    ours, theirs = observe(zmqcy.proxy_steerable), observe(zmq_proxy_steerable)
    assert ours == theirs
    assert ours[-1] is None
    if control in (zmqcy.PAIR, zmqcy.DEALER, zmqcy.REP):
        assert ours[5] == [3, 25, 2, 20, 2, 20, 3, 25]


@pytest.fixture
def obeying(device):
    """A function that runs a streamer with a control socket, and returns sockets connected to it and to both sides."""

    def start(kind):
        control = device.context.socket(kind)
        control.bind("inproc://control")
        if kind == zmqcy.SUB:
            control.subscribe(b"")
        return device(zmqcy.PULL, zmqcy.PUSH, lambda a, b: zmqcy.proxy_steerable(a, b, None, control))

    def connect(kind):
        made = device.context.socket(kind, rcvtimeo=10_000, sndtimeo=10_000)
        made.connect("inproc://control")
        return made

    start.connect = connect
    start.running = lambda: device.running
    return start


@pytest.mark.parametrize("control", [zmqcy.PULL, zmqcy.SUB])
def test_statistics_over_a_control_socket_that_cannot_answer_are_ignored(obeying, socket, control):
    front, back = obeying(control)
    command = obeying.connect(CONTROLS[control])
    if control == zmqcy.SUB:
        assert command.recv() == b"\x01"
    command.send(b"STATISTICS")
    push, pull = connected(socket, zmqcy.PUSH, front), connected(socket, zmqcy.PULL, back)
    push.send(b"1")
    assert pull.recv() == b"1"
    command.send(b"TERMINATE")
    assert obeying.running().join() is None


@pytest.mark.parametrize("control", [zmqcy.PAIR, zmqcy.DEALER, zmqcy.REP])
def test_a_controller_that_asks_and_goes_stops_nothing(obeying, socket, control):
    front, back = obeying(control)
    push, pull = connected(socket, zmqcy.PUSH, front), connected(socket, zmqcy.PULL, back)
    for i in range(50):
        leaving = obeying.connect(CONTROLS[control])
        leaving.try_send(b"STATISTICS")  # a PAIR refuses it until it has noticed the end of the last one
        leaving.close(0)
        push.send(b"%d" % i)
        assert pull.recv() == b"%d" % i
    deadline = time.monotonic() + 10
    while obeying.running().thread.is_alive():
        assert time.monotonic() < deadline
        with obeying.connect(CONTROLS[control]) as last:
            last.try_send(b"TERMINATE")
            obeying.running().thread.join(0.05)
    assert obeying.running().join() is None


@pytest.mark.parametrize("control", [zmqcy.PAIR, zmqcy.DEALER, zmqcy.REP, zmqcy.PULL])
def test_a_command_of_several_parts_is_ignored(obeying, socket, control):
    front, back = obeying(control)
    command = obeying.connect(CONTROLS[control])
    for parts in ([b"TERMINATE", b"x"], [b"x", b"TERMINATE"], [b"PAUSE", b"", b"TERMINATE"]):
        command.send_multipart(parts)
        if control == zmqcy.REP:
            assert command.recv_multipart() == [b""]
    push, pull = connected(socket, zmqcy.PUSH, front), connected(socket, zmqcy.PULL, back)
    push.send(b"1")
    assert pull.recv() == b"1"
    command.send(b"TERMINATE")
    assert obeying.running().join() is None


def test_drain(steered):
    push, pull, command, running = steered
    push.send(b"1")
    assert pull.recv() == b"1"
    command(b"PAUSE")
    assert command(b"DRAIN") in (None, [b""])
    assert running.join() is None


def test_statistics_of_the_way_back_alone(device, socket):
    control = device.context.socket(zmqcy.PAIR)
    control.bind("inproc://control")
    front, back = device(zmqcy.PUSH, zmqcy.PULL, lambda a, b: zmqcy.proxy_steerable(a, b, None, control))
    push, pull = connected(socket, zmqcy.PUSH, back), connected(socket, zmqcy.PULL, front)
    push.send(b"12345")
    assert pull.recv() == b"12345"
    with device.context.socket(zmqcy.PAIR, rcvtimeo=10_000) as command:
        command.connect("inproc://control")
        command.send(b"STATISTICS")
        numbers = [struct.unpack("=Q", part)[0] for part in command.recv_multipart()]
    assert numbers == [0, 0, 1, 5, 1, 5, 0, 0]


def test_an_unknown_command_changes_nothing(steered):
    push, pull, command, _ = steered
    command(b"JUMP")
    push.send(b"1")
    assert pull.recv() == b"1"


def test_idle_devices_cost_no_cpu():
    context = zmqcy.Context(linger=0)
    running = []
    for i in range(20):
        a, b = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
        a.bind(f"inproc://front-{i}")
        b.bind(f"inproc://back-{i}")
        running.append(Running(zmqcy.proxy, a, b))
    before = time.process_time()
    time.sleep(1)
    assert time.process_time() - before < 0.2
    context.shutdown()
    for each in running:
        each.join()
    context.destroy()


def test_a_device_in_a_process_ends_by_sigint():
    code = """
import zmqcy
context = zmqcy.Context()
pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
pull.bind("tcp://127.0.0.1:*")
print(pull.last_endpoint, flush=True)
zmqcy.proxy(pull, push)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("tcp://")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert process.returncode in (-signal.SIGINT, 130)
