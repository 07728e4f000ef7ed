"""Monitors: the events of real peers over tcp and ipc, in typed and raw monitors."""

import contextlib
import errno
import gc
import itertools
import os
import select
import signal
import socket as system
import threading
from time import monotonic

import pytest
from aio import FLAVOURS, Task, caught
from aio import until as until_true
from anyio import create_task_group

import zmqcy
from zmqcy import Event
from zmqcy.monitor import _ends, parse_monitor_message, recv_monitor_message

LIMIT = 10_000  # ms that an event may take


def until(monitor, name):
    """Return the events up to the first one with a name."""
    events = [monitor.recv(LIMIT)]
    while events[-1].name != name:
        events.append(monitor.recv(LIMIT))
    return events


@pytest.fixture(params=["ipc", "tcp"])
def url(request, tmp_path):
    return f"ipc://{tmp_path}/test" if request.param == "ipc" else "tcp://127.0.0.1:*"


def test_both_sides(socket, url):
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    with server.watch() as serving, client.watch() as asking:
        server.bind(url)
        assert serving.recv(LIMIT).name == "LISTENING"
        client.connect(server.last_endpoint)
        accepted, shaken = until(serving, "HANDSHAKE_SUCCEEDED")
        connected = until(asking, "HANDSHAKE_SUCCEEDED")[-2]
        assert (accepted.name, connected.name) == ("ACCEPTED", "CONNECTED")
        assert accepted.event is Event.ACCEPTED and accepted.value > 0 and accepted.reason is None
        assert accepted.endpoint == shaken.endpoint == connected.endpoint == server.last_endpoint
        if url.startswith("tcp"):
            assert f"tcp://{connected.peer}" == server.last_endpoint
            assert accepted.peer.startswith("127.0.0.1:") and accepted.peer != connected.peer
        else:
            assert accepted.peer is connected.peer is None
        client.close()
        assert until(serving, "DISCONNECTED")[-1].endpoint == server.last_endpoint
        assert [event.name for event in asking] == ["MONITOR_STOPPED"]


def test_the_end(socket, url):
    """A closed listener is reported; a client retries, and reports when."""
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH, reconnect_ivl=1)
    serving, asking = server.watch(), client.watch()
    server.bind(url)
    client.connect(server.last_endpoint)
    until(asking, "HANDSHAKE_SUCCEEDED")
    endpoint = server.last_endpoint
    server.unbind(endpoint)
    assert until(serving, "CLOSED")[-1].endpoint == endpoint
    server.close()
    assert [event.name for event in serving][-1] == "MONITOR_STOPPED"
    assert until(asking, "DISCONNECTED")
    assert until(asking, "CONNECT_RETRIED")[-1].value >= 1
    server = socket(zmqcy.PULL)
    server.bind(endpoint)
    until(asking, "HANDSHAKE_SUCCEEDED")


def test_bind_failed(socket):
    first, second = socket(zmqcy.PULL), socket(zmqcy.PULL)
    first.bind("tcp://127.0.0.1:*")
    with second.watch(Event.BIND_FAILED) as monitor:
        with pytest.raises(zmqcy.ZMQError, match="Address already in use"):
            second.bind(first.last_endpoint)
        failed = monitor.recv(LIMIT)
    assert failed.value == errno.EADDRINUSE and failed.reason == "Address already in use"


def test_curve_refuses(socket):
    """Without its ZAP handler the server reports "no reason"; the client reports a wrong server key."""
    public, secret = zmqcy.curve_keypair()
    server = socket(zmqcy.PULL, curve_server=True, curve_secretkey=secret)
    server.bind("tcp://127.0.0.1:*")
    plain = socket(zmqcy.PUSH)
    with server.watch() as monitor:
        plain.connect(server.last_endpoint)
        failed = until(monitor, "HANDSHAKE_FAILED_PROTOCOL")[-1]
        assert failed.value is zmqcy.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
        assert failed.reason == "zmtp mechanism mismatch"
        plain.close()
        client = socket(
            zmqcy.PUSH, curve_serverkey=zmqcy.curve_keypair()[0], curve_publickey=public, curve_secretkey=secret
        )
        client.connect(server.last_endpoint)
        while True:
            failed = until(monitor, "HANDSHAKE_FAILED_PROTOCOL")[-1]
            if failed.value != zmqcy.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
                break
        assert failed.value is zmqcy.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC


def test_zap_refuses(ctx, socket):
    """The client reports the status of the handler."""
    public, secret = zmqcy.curve_keypair()
    handler = socket(zmqcy.REP)
    handler.bind("inproc://zeromq.zap.01")

    def refuse():
        version, number, *_ = handler.recv_multipart()
        handler.send_multipart([version, number, b"400", b"no", b"", b""])

    thread = threading.Thread(target=refuse)
    thread.start()
    server = socket(zmqcy.PULL, curve_server=True, curve_secretkey=secret, zap_domain="test")
    server.bind("tcp://127.0.0.1:*")
    keys = zmqcy.curve_keypair()
    client = socket(
        zmqcy.PUSH, curve_serverkey=public, curve_publickey=keys[0], curve_secretkey=keys[1], reconnect_ivl=-1
    )
    with client.watch() as monitor:
        client.connect(server.last_endpoint)
        failed = until(monitor, "HANDSHAKE_FAILED_AUTH")[-1]
    thread.join()
    assert failed.value == 400 and failed.reason == "authentication failed (400)"


def test_a_stranger(socket):
    server = socket(zmqcy.PULL)
    server.bind("tcp://127.0.0.1:*")
    port = int(server.last_endpoint.rpartition(":")[2])
    with server.watch() as monitor, system.create_connection(("127.0.0.1", port)) as stranger:
        accepted = monitor.recv(LIMIT)
        assert accepted.name == "ACCEPTED" and accepted.peer == f"127.0.0.1:{stranger.getsockname()[1]}"
        stranger.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NONSENSE" + bytes(60))
        failed = next(event for event in monitor if event.name.startswith("HANDSHAKE_FAILED"))
        assert failed.reason


def test_each_gets_what_it_asked_for(socket, url):
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    everything, again = server.watch(), server.watch()
    some = server.watch(Event.LISTENING | Event.HANDSHAKE_SUCCEEDED)
    server.bind(url)
    client.connect(server.last_endpoint)
    assert [event.name for event in until(some, "HANDSHAKE_SUCCEEDED")] == ["LISTENING", "HANDSHAKE_SUCCEEDED"]
    assert until(again, "HANDSHAKE_SUCCEEDED") == until(everything, "HANDSHAKE_SUCCEEDED")
    assert some.try_recv() is None
    again.close()
    some.close()
    client.close()
    assert until(everything, "DISCONNECTED")  # this monitor continues after the others are closed


@pytest.mark.parametrize("events", [0, -1, Event.ALL_V2, "ALL"])
def test_what_is_no_event(socket, events):
    with pytest.raises(ValueError, match="watch: events must be one or several of Event.ALL, not"):
        socket(zmqcy.PULL).watch(events)


def test_time_outs(socket):
    monitor = socket(zmqcy.PULL).watch()
    with pytest.raises(zmqcy.TimedOut, match=r"^recv: timed out after 1 ms \(timeouts are in milliseconds\)$"):
        monitor.recv(1)
    with pytest.raises(zmqcy.TimedOut):
        monitor.recv(0)
    assert monitor.try_recv() is None
    assert monitor.poll(1) is False
    with pytest.raises(ValueError, match="recv"):
        monitor.recv(-3)


def test_in_a_poller(socket, url):
    """The file descriptor is readable while there are events, also if another monitor has read them."""
    server = socket(zmqcy.PULL)
    first, second = server.watch(), server.watch()
    poller = zmqcy.Poller()
    poller.register(first, zmqcy.POLLIN)
    poller.register(second, zmqcy.POLLIN)
    assert poller.poll(0) == []
    server.bind(url)
    assert first.recv(LIMIT).name == "LISTENING"
    assert poller.poll(LIMIT) == [(second, zmqcy.POLLIN)]
    assert second.poll(0)
    assert second.recv(0).name == "LISTENING"
    assert poller.poll(0) == []
    server.close()
    assert len(poller.poll(LIMIT)) == 2
    assert [event.name for event in second][-1] == "MONITOR_STOPPED"


def test_threads(socket, url):
    """Monitors in several threads, and two threads in one monitor: all events, each once."""
    server = socket(zmqcy.PULL)
    shared, own = server.watch(Event.ACCEPTED), server.watch(Event.ACCEPTED)
    got = {"a": [], "b": [], "own": []}

    def take(monitor, name):
        got[name].extend(monitor)

    threads = [threading.Thread(target=take, args=each) for each in [(shared, "a"), (shared, "b"), (own, "own")]]
    for thread in threads:
        thread.start()
    with server.watch(Event.HANDSHAKE_SUCCEEDED) as here:
        server.bind(url)
        clients = [socket(zmqcy.PUSH) for _ in range(20)]
        for client in clients:
            client.connect(server.last_endpoint)
            assert here.recv(LIMIT)
    server.close()
    for thread in threads:
        thread.join(LIMIT / 1000)
        assert not thread.is_alive()
    assert len(got["a"] + got["b"]) == len(got["own"]) == 20
    assert sorted(got["a"] + got["b"]) == sorted(got["own"])


def test_closed_while_others_wait(socket):
    server = socket(zmqcy.PULL)
    monitor = server.watch()
    errors = []

    def wait():
        try:
            while True:
                monitor.recv()
        except zmqcy.ZMQError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    deadline = monotonic() + 10
    while monitor._waiting < 3 and monotonic() < deadline:
        pass
    monitor.close()
    for thread in threads:
        thread.join(LIMIT / 1000)
    assert [str(error) for error in errors] == ["recv: the monitor was closed"] * 3
    with pytest.raises(zmqcy.ZMQError, match="fileno: the monitor was closed"):
        monitor.fileno()
    monitor.close()
    assert list(monitor) == []
    server.bind("tcp://127.0.0.1:*")  # no call waits for a reader that has stopped reading


def test_the_end_of_the_context(ctx, socket):
    monitor = socket(zmqcy.PULL).watch()
    threading.Timer(0.01, ctx.shutdown).start()
    assert list(monitor) == []
    with pytest.raises(zmqcy.ContextTerminated, match="recv: Context was terminated"):
        monitor.recv()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_watched_context_ends(at_once):
    """The sockets that read monitors do not block it."""
    ctx = zmqcy.Context(linger=0)
    server, client = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PUSH)
    monitors = [server.watch(), server.watch(), client.watch()]
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint)
    until(monitors[0], "HANDSHAKE_SUCCEEDED")
    if at_once:
        ctx.destroy()
    else:
        server.close()
        client.close()
        ctx.term(timeout=LIMIT)
    assert [event.name for event in monitors[1]][:3] == ["LISTENING", "ACCEPTED", "HANDSHAKE_SUCCEEDED"]
    assert all(monitor._hub.pair.closed for monitor in monitors)


def test_what_nobody_holds(ctx, socket):
    """A dropped monitor takes no events. A monitor keeps its socket alive."""
    server = socket(zmqcy.PULL)
    monitor = server.watch()
    server.watch()
    before = len(ctx._open_sockets())
    del monitor
    gc.collect()
    assert len(ctx._open_sockets()) == before - 1
    server.bind("tcp://127.0.0.1:*")
    monitor = server.watch()
    del server
    gc.collect()
    assert not monitor.socket.closed
    del monitor
    gc.collect()
    assert ctx._open_sockets() == []


def test_raw(ctx, socket, url):
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    reader = socket(zmqcy.PAIR, rcvhwm=0)
    reader.connect("inproc://raw")
    server.monitor("inproc://raw", zmqcy.EVENT_LISTENING | zmqcy.EVENT_ACCEPTED)
    server.bind(url)
    client.connect(server.last_endpoint)
    listening, accepted = recv_monitor_message(reader), recv_monitor_message(reader)
    assert (listening["event"], accepted["event"]) == (Event.LISTENING, Event.ACCEPTED)
    assert listening["endpoint"] == server.last_endpoint.encode() and listening["value"] > 0
    server.monitor(None)
    client.close()
    with pytest.raises(zmqcy.Again):
        recv_monitor_message(reader, zmqcy.DONTWAIT)
    with pytest.raises(zmqcy.ZMQError, match="monitor tcp://127.0.0.1:1 .PULL.: Protocol not supported"):
        server.monitor("tcp://127.0.0.1:1")


def test_the_monitor_socket(socket, url):
    server = socket(zmqcy.PULL)
    reader = server.get_monitor_socket()
    assert type(reader) is zmqcy.Socket and reader.type == zmqcy.PAIR
    assert server.get_monitor_socket() is reader
    server.bind(url)
    assert recv_monitor_message(reader)["event"] == Event.LISTENING
    with pytest.raises(zmqcy.StateError, match="watch: the socket has a monitor socket"):
        server.watch()
    server.disable_monitor()
    assert reader.closed
    server.disable_monitor()
    with server.watch(), pytest.raises(zmqcy.StateError, match="get_monitor_socket .PULL.: the socket is watched"):
        server.get_monitor_socket()
    reader = server.get_monitor_socket(Event.ALL, "inproc://mine")
    server.close()
    events = [recv_monitor_message(reader)["event"]]
    while events[-1] != Event.MONITOR_STOPPED:
        events.append(recv_monitor_message(reader)["event"])
    reader.close()


def test_a_reader_that_goes(ctx, socket):
    """`bind`, connections and close do not wait for the reader."""
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    server.get_monitor_socket().close()
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint)
    client.send(b"message")
    assert server.recv() == b"message"
    another = socket(zmqcy.PULL)
    another.get_monitor_socket()
    del another
    client.send(b"message")
    assert server.recv() == b"message"


@pytest.mark.parametrize("parts", [[], [b"123456"], [b"12345", b""], [b"123456", b"", b""]])
def test_what_is_no_message_of_a_monitor(parts):
    with pytest.raises(ValueError, match="parse_monitor_message: not a message of a monitor"):
        parse_monitor_message(parts)


@pytest.mark.parametrize(
    "code",
    [
        "a.disable_monitor()",
        "a.monitor(None)",
        "a.monitor('inproc://n'); a.monitor('inproc://o'); a.disable_monitor()",
        "a.disable_monitor(); b = a.get_monitor_socket(); b.disconnect(b.last_endpoint); a.close(); b.close()",
        "a.disable_monitor(); b = a.get_monitor_socket(); b.disconnect(b.last_endpoint); del a, b",
        "a.close()",
    ],
)
def test_a_monitor_that_nobody_reads_is_ended(run, code):
    """libzmq sends the reader a last event, and waits for a reader."""
    run("""
        import sys, zmqcy
        ctx = zmqcy.Context()
        a = ctx.socket(zmqcy.PULL)
        a.monitor("inproc://m")
        exec(sys.argv[1])
        a = None
        ctx.term(5000)
    """, code, timeout=20)  # fmt: skip


def test_who_reads_a_monitor_is_told_of_its_end(ctx, socket):
    server, reader = socket(zmqcy.PULL), socket(zmqcy.PAIR)
    reader.connect("inproc://m")
    server.monitor("inproc://m")
    server.disable_monitor()
    assert recv_monitor_message(reader)["event"] is Event.MONITOR_STOPPED


def test_a_shadow(socket):
    with pytest.raises(zmqcy.NotSupported, match="a shadow has no context"):
        zmqcy.Socket.shadow(socket(zmqcy.PULL)).watch()


def leave_to_a_shadow(ctx, shadows):
    server = ctx.socket(zmqcy.PULL)
    reader = server.get_monitor_socket()
    shadows.append(zmqcy.Socket.shadow(server))
    del server
    gc.collect()
    reader.close()


def close_a_shadow_of_the_reader(ctx, shadows):
    shadows.append(ctx.socket(zmqcy.PULL))
    zmqcy.Socket.shadow(shadows[0].get_monitor_socket()).close()


@pytest.mark.parametrize("end", [leave_to_a_shadow, close_a_shadow_of_the_reader])
def test_a_reader_that_goes_where_there_are_shadows(ctx, end):
    """No call waits for the reader, whichever object has the monitored socket, and whichever closes the reader."""
    left = []
    end(ctx, left)
    left[0].bind("tcp://127.0.0.1:*")
    left[0].close()


def test_closed(socket):
    server = socket(zmqcy.PULL)
    server.close()
    for call in (server.watch, server.get_monitor_socket, lambda: server.monitor("inproc://closed")):
        with pytest.raises(zmqcy.ZMQError, match="the socket is closed"):
            call()


def test_ready_clients(socket, url):
    """The guide on waiting for peers: watch first, then bind, and count handshakes."""
    push = socket(zmqcy.PUSH)
    with push.watch(Event.HANDSHAKE_SUCCEEDED) as monitor:
        push.bind(url)
        pulls = [socket(zmqcy.PULL) for _ in range(5)]
        for pull in pulls:
            pull.connect(push.last_endpoint)
        for _ in pulls:
            monitor.recv(LIMIT)
    push.send_many([b"message"] * 10)
    for pull in pulls:  # each has its share
        assert [pull.recv(), pull.recv()] == [b"message"] * 2


def test_slow_joiners(socket, url):
    """Messages published after an XPUB has received the subscription all arrive."""
    for _ in range(20):
        news = socket(zmqcy.XPUB)
        with news.watch(Event.HANDSHAKE_SUCCEEDED) as monitor:
            news.bind(url)
            reader = socket(zmqcy.SUB, subscribe=b"a")
            reader.connect(news.last_endpoint)
            monitor.recv(LIMIT)
        assert news.recv() == b"\x01a"
        news.send_many([b"a%d" % i for i in range(100)])
        assert [reader.recv() for _ in range(100)] == [b"a%d" % i for i in range(100)]
        reader.close()
        news.close()


def test_beside_a_thread_that_receives(socket, url):
    """A monitor may be read and closed while another thread is in a call on the socket."""
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    got = []
    with server.watch() as monitor:
        server.bind(url)
        thread = threading.Thread(target=lambda: got.append(server.recv()))
        thread.start()
        endpoint = monitor.recv(LIMIT).endpoint
        client.connect(endpoint)
        assert until(monitor, "HANDSHAKE_SUCCEEDED")
    client.send(b"message")
    thread.join(LIMIT / 1000)
    assert got == [b"message"]


def test_ctrl_c(socket):
    monitor = socket(zmqcy.PULL).watch()
    threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        monitor.recv(LIMIT)


def test_the_end_of_the_process(socket, run):
    """An open monitor blocks no messages, and causes no warning."""
    server = socket(zmqcy.PULL)
    server.bind("tcp://127.0.0.1:*")
    code = """
        import sys, zmqcy
        client = zmqcy.Context.instance().socket(zmqcy.PUSH)
        monitor, another = client.watch(), client.watch()
        reader = zmqcy.Context.instance().socket(zmqcy.PAIR)
        client.connect(sys.argv[1])
        monitor.fileno()
        client.send_many([bytes(1000)] * 500)
    """
    done = run(code, server.last_endpoint)
    assert done.stderr == ""
    assert [server.recv() for _ in range(500)] == [bytes(1000)] * 500


def test_a_forked_child(socket, run):
    code = """
        import os, zmqcy
        from zmqcy import Event
        ctx = zmqcy.Context()
        server, another = ctx.socket(zmqcy.PULL), ctx.socket(zmqcy.PULL)
        monitor, other = server.watch(), another.watch()
        child = os.fork()
        if not child:
            try:
                monitor.recv(0)
            except zmqcy.ForkedError:
                monitor.close()
                server.close()
                another.close()
                os._exit(7 if list(other) == [] else 8)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        server.bind("tcp://127.0.0.1:*")
        assert monitor.recv(5000).name == "LISTENING"
        server.close()
        another.close()
        assert [event.name for event in monitor][-1] == "MONITOR_STOPPED"
        ctx.term(timeout=5000)
    """
    run(code)


def test_more_events_than_are_read_at_a_time(socket, monkeypatch):
    """A monitor with an event behind many others wakes again, although the PAIR's file descriptor is not readable."""
    monkeypatch.setattr("zmqcy.monitor._MOST", 5)
    server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    monitors = [server.watch(Event.ACCEPTED) for _ in range(3)]
    assert monitors[0].try_recv() is None
    for _ in range(40):
        with server.bind("tcp://127.0.0.1:*"):
            pass
    server.bind("tcp://127.0.0.1:*")
    client.connect(server.last_endpoint)
    client.send(b"it is connected")
    server.recv()
    poller = zmqcy.Poller()
    poller.register(monitors[0], zmqcy.POLLIN)
    while (event := monitors[0].try_recv()) is None:
        assert poller.poll(LIMIT) == [(monitors[0], zmqcy.POLLIN)]
    assert event.name == "ACCEPTED"
    assert poller.poll(0) == []
    assert monitors[1].recv(LIMIT).name == "ACCEPTED"
    assert monitors[2].poll(LIMIT) and monitors[2].try_recv().name == "ACCEPTED"
    assert [monitor.try_recv() for monitor in monitors] == [None] * 3


ENDLESS = """
import asyncio, os, resource, subprocess, sys, zmqcy, zmqcy.asyncio
from zmqcy import Event

STRANGERS = '''
import socket, sys
address = "127.0.0.1", int(sys.stdin.readline())
connections = [socket.create_connection(address) for _ in range(100)]
sys.stdin.read()
'''

def served(context):
    strangers = subprocess.Popen([sys.executable, "-c", STRANGERS], stdin=subprocess.PIPE, text=True)
    server = context.socket(zmqcy.REP)
    monitor, quiet = server.watch(), server.watch(Event.HANDSHAKE_SUCCEEDED)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    quiet.fileno()
    most = len(os.listdir("/proc/self/fd")) + 10
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    strangers.stdin.write(f"{port}\\n")
    strangers.stdin.flush()
    return server, monitor, quiet, strangers
"""
PLAIN = """
context = zmqcy.Context()
server, monitor, quiet, strangers = served(context)
print({monitor.recv(10_000).name for _ in range(1000)})
assert quiet.try_recv() is None
assert not quiet.poll(100)
try:
    quiet.recv(100)
except zmqcy.TimedOut:
    print("nothing")
server.close()
assert [event.name for event in monitor][-1] == "MONITOR_STOPPED"
context.term()
strangers.communicate()
"""
ASYNCHRONOUS = """
turns = 0

async def turn():
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)

async def main():
    async with zmqcy.asyncio.Context() as context:
        server, monitor, quiet, strangers = served(context)
        task = asyncio.create_task(turn())
        print({(await monitor.recv(10_000)).name for _ in range(1000)})
        before, count = turns, 0
        async for event in monitor:
            count += 1
            if count == 1000:
                break
        assert turns > before
        try:
            await quiet.recv(100)
        except zmqcy.TimedOut:
            print("nothing")
        try:
            await asyncio.wait_for(quiet.recv(), 0.1)
        except asyncio.TimeoutError:
            print("cancelled")
        task.cancel()
        server.close()
        assert [event.name async for event in monitor][-1] == "MONITOR_STOPPED"
    strangers.communicate()

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("code, words", [(PLAIN, ["nothing"]), (ASYNCHRONOUS, ["nothing", "cancelled"])])
def test_events_without_end(run, code, words):
    """Without free file descriptors libzmq retries accept without a pause, and reports each attempt."""
    names, *said = run(ENDLESS + code, timeout=120).stdout.splitlines()  # all events so far are read
    assert "ACCEPT_FAILED" in names
    assert said == words


# Each loop over one transport, and each module over both.
on_each_loop = pytest.mark.parametrize(
    "flavour, url", [*zip(FLAVOURS, itertools.cycle(["ipc", "tcp"]), strict=False)], indirect=True
)


class TestAsynchronous:
    @on_each_loop
    async def test_both_sides(self, flavour, socket, url):
        server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
        async with server.watch() as serving, client.watch(Event.HANDSHAKE_SUCCEEDED) as asking:
            server.bind(url)
            client.connect(server.last_endpoint)
            assert (await asking.recv(LIMIT)).endpoint == server.last_endpoint
            names = [(await serving.recv()).name for _ in range(3)]
            assert names == ["LISTENING", "ACCEPTED", "HANDSHAKE_SUCCEEDED"]
            assert serving.try_recv() is None
            error = await caught(serving.recv(1))
            assert isinstance(error, zmqcy.TimedOut) and str(error).startswith("recv: timed out after 1 ms")
            assert isinstance(await caught(serving.recv(0)), zmqcy.TimedOut)
            client.close()
            assert (await serving.recv(LIMIT)).name == "DISCONNECTED"
        assert serving.closed and "the monitor was closed" in str(await caught(serving.recv()))

    @on_each_loop
    async def test_iteration(self, flavour, socket, url):
        """Waiting tasks get all events, and end when the socket is closed."""
        server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
        names = [[], [], []]

        async def take(monitor, names):
            async for event in monitor:
                names.append(event.name)

        async with create_task_group() as group:
            for monitor, into in zip([server.watch(), server.watch(), client.watch()], names, strict=True):
                await waiting_in(group, monitor, take, monitor, into)
            server.bind(url)
            client.connect(server.last_endpoint)
            await client.send(b"message")
            assert await server.recv() == b"message"
            await until_true(lambda: "HANDSHAKE_SUCCEEDED" in names[1])
            await client.aclose()
            await until_true(lambda: "DISCONNECTED" in names[1])
            server.close()
        assert names[0] == names[1]
        assert names[0] == ["LISTENING", "ACCEPTED", "HANDSHAKE_SUCCEEDED", "DISCONNECTED", "MONITOR_STOPPED"]
        assert names[2][-1] == "MONITOR_STOPPED" and "HANDSHAKE_SUCCEEDED" in names[2]

    @on_each_loop
    async def test_the_end_of_a_watched_socket(self, flavour, socket, url):
        """`aclose` waits until all messages are sent, although a monitor was in use."""
        server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH, linger=-1)
        monitor = client.watch()
        server.bind(url)
        client.connect(server.last_endpoint)
        for _ in range(100):
            await client.send(bytes(10_000))
        async with create_task_group() as group:
            task = Task(group, client.aclose)
            for _ in range(100):
                assert await server.recv() == bytes(10_000)
            await until_true(lambda: task.ended)
        assert task.error is None and client.closed
        assert [event.name async for event in monitor][-1] == "MONITOR_STOPPED"
        reader = server.get_monitor_socket(Event.MONITOR_STOPPED)
        await server.aclose()
        assert (await recv_monitor_message(reader))["event"] is Event.MONITOR_STOPPED
        reader.close()

    @on_each_loop
    async def test_cancelled(self, flavour, socket, url):
        server = socket(zmqcy.PULL)
        monitor = server.watch()
        async with create_task_group() as group:
            task = await waiting_in(group, monitor, monitor.recv)
            error = await caught(monitor.recv())
            assert isinstance(error, zmqcy.SocketInUse) and "another task waits in this monitor" in str(error)
            server.bind(url)
            task.cancel()
        assert task.result is None
        assert (await monitor.recv(LIMIT)).name == "LISTENING"

    async def test_closed_while_a_task_waits(self, flavour, socket):
        server = socket(zmqcy.PULL)
        monitor = server.watch()
        async with create_task_group() as group:
            task = await waiting_in(group, monitor, monitor.recv)
            monitor.close()
        assert "the monitor was closed" in str(task.error)
        assert [event async for event in monitor] == []

    async def test_the_end_of_the_context(self, flavour, ctx, socket):
        monitor = socket(zmqcy.PULL).watch()
        async with create_task_group() as group:
            task = await waiting_in(group, monitor, monitor.recv)
            ctx.shutdown()
        assert isinstance(task.error, zmqcy.ContextTerminated)
        assert [event async for event in monitor] == []

    async def test_more_events_than_are_read_at_a_time(self, flavour, socket, monkeypatch):
        monkeypatch.setattr("zmqcy.monitor._MOST", 5)
        server, client = socket(zmqcy.PULL), socket(zmqcy.PUSH)
        monitor = server.watch(Event.ACCEPTED)
        assert monitor.try_recv() is None
        for _ in range(40):
            with server.bind("tcp://127.0.0.1:*"):
                pass
        server.bind("tcp://127.0.0.1:*")
        client.connect(server.last_endpoint)
        await client.send(b"it is connected")
        await server.recv()
        assert (await monitor.recv(LIMIT)).name == "ACCEPTED"
        assert isinstance(await caught(monitor.recv(1)), zmqcy.TimedOut)

    @on_each_loop
    async def test_raw(self, flavour, socket, url):
        server = socket(zmqcy.PULL)
        reader = server.get_monitor_socket()
        assert type(reader) is flavour.Socket
        server.bind(url)
        message = await recv_monitor_message(reader)
        assert message["event"] is Event.LISTENING and message["endpoint"] == server.last_endpoint.encode()
        server.disable_monitor()

    @on_each_loop
    async def test_in_a_poller(self, flavour, socket, url):
        server = socket(zmqcy.PULL)
        monitor = server.watch()
        poller = flavour.Poller()
        poller.register(monitor, zmqcy.POLLIN)
        assert await poller.poll(0) == []
        server.bind(url)
        assert await poller.poll(LIMIT) == [(monitor, zmqcy.POLLIN)]
        assert monitor.try_recv().name == "LISTENING"


async def waiting_in(group, monitor, function, *arguments):
    """Start a task, and return it when it waits in a monitor."""
    task = Task(group, function, *arguments)
    await until_true(lambda: monitor._waiting or task.ended)
    assert not task.ended, (task.result, task.error)
    return task


# ---- peers


def test_wait_for_peers(socket, url):
    server = socket(zmqcy.PUSH)
    with server.watch() as monitor:
        server.bind(url)
        assert monitor.peers == 0
        monitor.wait_peers(0, 0)
        with pytest.raises(
            zmqcy.TimedOut,
            match=r"^wait_peers: timed out after 10 ms \(timeouts are in milliseconds\) with 0 of 1 peers",
        ):
            monitor.wait_connected(10)
        clients = [socket(zmqcy.PULL) for _ in range(3)]
        thread = threading.Thread(target=lambda: [each.connect(server.last_endpoint) for each in clients])
        thread.start()
        monitor.wait_peers(3, LIMIT)
        thread.join()
        assert monitor.peers == 3
        clients.pop().close()
        deadline = monotonic() + 10
        while monitor.peers != 2 and monotonic() < deadline:
            monitor.try_recv()
        monitor.wait_peers(2, timeout=0)
        with pytest.raises(zmqcy.TimedOut, match="2 of 3 peers"):
            monitor.wait_peers(3, timeout=0)


def test_peers_of_who_connects(socket, url):
    server, client = socket(zmqcy.PUSH), socket(zmqcy.PULL)
    server.bind(url)
    with client.watch(zmqcy.Event.CLOSED) as monitor:  # whatever it asks for itself
        for _ in range(2):
            client.connect(server.last_endpoint)
            monitor.wait_connected(LIMIT)
            assert monitor.peers == 1
            client.disconnect(server.last_endpoint)
            assert monitor.peers == 0


def test_a_stranger_is_no_peer(socket):
    server = socket(zmqcy.PUSH)
    with server.watch() as monitor:
        server.bind("tcp://127.0.0.1:*")
        with system.create_connection(("127.0.0.1", int(server.last_endpoint.rpartition(":")[2]))):
            until(monitor, "ACCEPTED")
            assert monitor.peers == 0


def stats_of_descriptors():
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # libzmq's threads close theirs
            yield os.fstat(int(fd))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_a_descriptor_that_has_passed_to_a_file_is_no_peer_and_is_not_kept(tmp_path):
    """The connection of an event may be closed, and its file descriptor reused, before the event is read."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        for _ in range(5):
            assert _ends(file.fileno(), "1", True) == (None, None)
        assert sum(os.path.samestat(path.stat(), found) for found in stats_of_descriptors()) == 1


@pytest.mark.parametrize(("n", "error"), [("1", TypeError), (True, ValueError), (-1, ValueError), (None, TypeError)])
def test_a_bad_number_of_peers(socket, n, error):
    with socket(zmqcy.PUSH).watch() as monitor, pytest.raises(error, match="^wait_peers: n must be a number of peers"):
        monitor.wait_peers(n, 0)


def test_who_waits_for_peers_sees_the_end(socket):
    server = socket(zmqcy.PUSH)
    monitor = server.watch()
    timer = threading.Timer(0.05, server.close)
    timer.start()
    with pytest.raises(zmqcy.ZMQError) as ended:
        monitor.wait_peers(1, LIMIT)
    assert ended.value.errno == errno.ENOTSOCK
    timer.join()


async def test_tasks_wait_for_peers(flavour, ctx):
    server, client = ctx.socket(zmqcy.PUSH, linger=0), ctx.socket(zmqcy.PULL, linger=0)
    async with server.watch() as monitor:
        server.bind("tcp://127.0.0.1:*")
        with pytest.raises(zmqcy.TimedOut, match="^wait_peers: timed out after .* with 0 of 1 peers"):
            await monitor.wait_peers(timeout=10)
        client.connect(server.last_endpoint)
        await monitor.wait_connected(LIMIT)
        assert monitor.peers == 1


IN_A_CYCLE = """
import gc, types, zmqcy
context = zmqcy.Context()
for _ in range(100):
    socket = context.socket(zmqcy.STREAM)
    holder = types.SimpleNamespace(all=[socket.watch(), socket])
    holder.itself = holder
    del holder, socket
    gc.collect()
print("all gone")
"""


def test_a_socket_and_its_watcher_go_in_a_cycle(run):
    # The garbage collector clears weak references first, so the finalizer of the monitor finds no socket to unmonitor.
    assert run(IN_A_CYCLE).stdout == "all gone\n"


def refuses_to_be_made_again(monitor):
    """Check that `__init__` of a monitor raises, and neither leaks nor closes a file descriptor."""
    before = os.listdir("/proc/self/fd")
    for socket in (monitor.socket, None):
        with pytest.raises(RuntimeError, match=f"^{type(monitor).__name__}: already initialised$"):
            monitor.__init__(socket, 1)
    assert os.listdir("/proc/self/fd") == before
    monitor.socket.bind("tcp://127.0.0.1:*")
    assert monitor.try_recv().event == Event.LISTENING


def test_a_watcher_is_made_once(socket):
    refuses_to_be_made_again(socket(zmqcy.PAIR).watch())


async def test_a_watcher_of_tasks_is_made_once(flavour, ctx):
    refuses_to_be_made_again(ctx.socket(zmqcy.PAIR).watch())


def test_what_is_read_of_a_watched_socket_has_libzmq_forget_the_peer(socket):
    """Unless the events are read, libzmq keeps 12 KB per disconnected peer until the next call on the socket."""
    pub = socket(zmqcy.PUB)
    pub.bind("tcp://127.0.0.1:*")
    waits = select.poll()
    waits.register(pub._descriptor(), select.POLLIN)
    deadline = monotonic() + 20
    with pub.watch(zmqcy.Event.DISCONNECTED) as watcher:
        while True:
            assert monotonic() < deadline
            with socket(zmqcy.SUB) as peer:
                peer.connect(pub.last_endpoint)
                assert waits.poll(10_000)
            watcher.recv(10_000)
            if not waits.poll(0):
                break


# ---- connections of a socket to itself


def own_port():
    """Return a free endpoint, and a source port that makes TCP connect the port to itself."""
    with system.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    return f"tcp://127.0.0.1:{port};127.0.0.1:{port}"


def test_a_connection_to_itself_is_no_peer(socket):
    one = socket(zmqcy.DEALER)  # libzmq then takes its own handshake for a peer's
    with one.watch() as monitor:
        one.connect(endpoint := own_port())
        connected = until(monitor, "HANDSHAKE_SUCCEEDED")[-2]
        assert connected.name == "CONNECTED"
        assert connected.reason.startswith("connected to itself: nothing listens")
        assert monitor.peers == 0
        with pytest.raises(zmqcy.TimedOut, match=f"0 of 1 peers, {endpoint} connected to itself"):
            monitor.wait_connected(0)
        one.disconnect(endpoint)
        server = socket(zmqcy.DEALER)
        server.bind("tcp://127.0.0.1:*")
        one.connect(server.last_endpoint)
        monitor.wait_connected(LIMIT)
        assert monitor.peers == 1


def test_a_connection_to_itself_that_ends_at_once_is_told(socket):
    one = socket(zmqcy.PUSH)  # a type that is no partner of itself: libzmq does not retry
    with one.watch() as monitor:
        one.connect(own_port())
        assert "to itself" in until(monitor, "DISCONNECTED")[-1].reason
        with pytest.raises(zmqcy.TimedOut, match="to itself"):
            monitor.wait_connected(0)


async def test_a_task_waits_for_no_connection_to_itself(flavour, socket):
    one = socket(zmqcy.DEALER)
    async with one.watch() as monitor:
        one.connect(own_port())
        while (await monitor.recv(LIMIT)).name != "HANDSHAKE_SUCCEEDED":
            pass
        with pytest.raises(zmqcy.TimedOut, match="to itself"):
            await monitor.wait_connected(0)


def test_events_through_a_proxy_have_its_address_and_no_reason(run):
    done = run("""
        import os, threading, zmqcy
        from socket import create_server
        proxy = create_server(("127.0.0.1", 0))

        def refuse():
            while True:
                connection = proxy.accept()[0]
                connection.recv(100)
                connection.sendall(b"\\5\\0")
                connection.recv(100)
                connection.sendall(b"\\5\\5\\0\\1" + bytes(6))  # connection refused

        threading.Thread(target=refuse, daemon=True).start()
        place = f"127.0.0.1:{proxy.getsockname()[1]}"
        one = zmqcy.Context().socket(zmqcy.PUSH, socks_proxy=place)
        monitor = one.watch()
        one.connect("tcp://10.9.9.9:5555")
        events = [monitor.recv(10_000) for _ in range(3)]
        assert [event.name for event in events] == ["CONNECT_DELAYED", "CLOSED", "CONNECT_RETRIED"]
        assert {event.endpoint for event in events} == {f"tcp://{place}"}
        assert {event.reason for event in events} == {None}
        print("seen", flush=True)
        os._exit(0)  # to close the socket would end the process: see docs/reliability.md
    """)  # fmt: skip
    assert (done.stdout, done.stderr) == ("seen\n", "")
