"""Effects of socket options."""

import os
import re
import socket as sockets

import pytest
from option_values import OPTIONS
from rows import rows

import zmqcy

# ---- CURVE keys


@pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")
@rows("name", ["curve_publickey", "curve_secretkey", "curve_serverkey"])
@rows("form", ["raw", "Z85", "str", "bytearray"])
def test_key(socket, name, form):
    key, _ = zmqcy.curve_keypair()
    given = {"raw": zmqcy.z85_decode(key), "Z85": key, "str": key.decode(), "bytearray": bytearray(key)}[form]
    push = socket(zmqcy.PUSH, **{name: given})
    assert getattr(push, name) == key
    other = socket(zmqcy.PUSH)
    other.setsockopt(OPTIONS[name].number, given)
    assert other.getsockopt(OPTIONS[name].number) == key
    assert other.mechanism == zmqcy.CURVE


@pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")
def test_keys_carry_messages(pair):
    public, secret = zmqcy.curve_keypair()
    mine, my_secret = zmqcy.curve_keypair()
    pull, push = pair(
        zmqcy.PULL,
        zmqcy.PUSH,
        {"curve_server": True, "curve_secretkey": zmqcy.z85_decode(secret)},
        {"curve_serverkey": public, "curve_publickey": mine.decode(), "curve_secretkey": my_secret},
    )
    push.send(b"secret")
    assert pull.recv() == b"secret"


# ---- effects


def test_router_mandatory(pair):
    router, dealer = pair(zmqcy.ROUTER, zmqcy.DEALER, connected_options={"routing_id": b"me"})
    router.send_multipart([b"nobody", b"dropped"])
    router.router_mandatory = True
    with pytest.raises(zmqcy.HostUnreachable):
        router.send_multipart([b"nobody", b"message"])
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"me", b"hello"]
    router.send_multipart([b"me", b"message"])
    assert dealer.recv() == b"message"


def test_router_handover(socket):
    router = socket(zmqcy.ROUTER, router_handover=True)
    router.bind("tcp://127.0.0.1:*")
    for text in (b"first", b"second"):
        dealer = socket(zmqcy.DEALER, routing_id=b"me")
        dealer.connect(router.last_endpoint)
        dealer.send(text)
        assert router.recv_multipart() == [b"me", text]
    router.send_multipart([b"me", b"reply"])
    assert dealer.recv() == b"reply"


@pytest.mark.parametrize("nodrop", [True, False])
def test_xpub_nodrop(pair, nodrop):
    """At the high-water mark, the socket reports backpressure instead of dropping the message."""
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB, {"sndhwm": 2, "sndbuf": 4096}, {"rcvhwm": 2, "rcvbuf": 4096})
    pub.xpub_nodrop = nodrop
    sub.subscribe(b"")
    assert pub.recv() == b"\1"
    text = bytes(1 << 16)
    sent = 0
    while sent < 2_000 and pub.try_send(text + b"%d" % sent):
        sent += 1
    if nodrop:
        assert 0 < sent < 2_000
        for number in range(sent):
            assert sub.recv() == text + b"%d" % number
        assert pub.poll(10_000, zmqcy.POLLOUT)
    else:
        assert sent == 2_000


@pytest.mark.parametrize("kind", [zmqcy.DEALER, zmqcy.REQ, zmqcy.ROUTER], ids=lambda kind: kind.name)
def test_probe_router(pair, kind):
    router, prober = pair(zmqcy.ROUTER, kind, connected_options={"probe_router": True, "routing_id": b"me"})
    assert router.recv_multipart() == [b"me", b""]
    router.send_multipart([b"me", b"", b"hello"] if kind == zmqcy.REQ else [b"me", b"hello"])
    if kind == zmqcy.DEALER:
        assert prober.recv() == b"hello"


def test_req_relaxed(pair):
    rep, req = pair(zmqcy.REP, zmqcy.REQ, connected_options={"req_correlate": True})
    req.send(b"first")
    with pytest.raises(zmqcy.StateError):
        req.send(b"second")
    req.req_relaxed = True
    assert rep.recv() == b"first"
    req.send(b"second")
    rep.send(b"reply to first")
    assert rep.recv(timeout=10_000) == b"second"
    rep.send(b"reply to second")
    assert req.recv() == b"reply to second"


def test_req_correlate(pair):
    router, req = pair(zmqcy.ROUTER, zmqcy.REQ, connected_options={"req_correlate": True, "routing_id": b"me"})
    req.send(b"request")
    peer, request_id, empty, text = router.recv_multipart()
    assert (peer, len(request_id), empty, text) == (b"me", 4, b"", b"request")
    router.send_multipart([peer, b"none", b"", b"wrong"])
    router.send_multipart([peer, request_id, b"", b"right"])
    assert req.recv() == b"right"


def test_conflate(socket):
    """The queue keeps only the newest message."""
    push = socket(zmqcy.PUSH)
    push.bind("inproc://newest")
    pull = socket(zmqcy.PULL, conflate=True)
    pull.connect("inproc://newest")
    for number in range(100):
        push.send(b"%d" % number)
    assert pull.recv() == b"99"
    assert pull.try_recv() is None
    push.send(b"again")
    assert pull.recv() == b"again"


@pytest.mark.parametrize("verbose", [True, False])
def test_xpub_verbose(socket, url, verbose):
    pub = socket(zmqcy.XPUB, xpub_verbose=verbose)
    pub.bind(url)
    subs = {b"one": socket(zmqcy.SUB), b"two": socket(zmqcy.SUB)}
    for name, sub in subs.items():
        sub.connect(pub.last_endpoint)
        sub.subscribe(b"common")
        sub.subscribe(name)
        heard = [pub.recv()]
        while heard[-1] != b"\1" + name:
            heard.append(pub.recv())
        assert heard == ([b"\1common"] if verbose or name == b"one" else []) + [b"\1" + name]


@pytest.mark.parametrize("verboser", [True, False])
def test_xpub_verboser(socket, url, verboser):
    """XPUB receives each unsubscription, not only the last one of a topic."""
    pub = socket(zmqcy.XPUB, xpub_verboser=verboser)
    pub.bind(url)
    first, second = subs = [socket(zmqcy.SUB), socket(zmqcy.SUB)]
    for name, sub in zip((b"one", b"two"), subs, strict=True):
        sub.connect(pub.last_endpoint)
        sub.subscribe(b"common")
        sub.subscribe(name)
        while pub.recv() != b"\1" + name:
            pass
    first.unsubscribe(b"common")
    first.unsubscribe(b"one")
    assert [pub.recv() for _ in range(2 if verboser else 1)] == ([b"\0common"] if verboser else []) + [b"\0one"]
    second.unsubscribe(b"common")
    assert pub.recv() == b"\0common"


def test_xpub_manual(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB, {"xpub_manual": True})
    sub.subscribe(b"A")
    assert pub.recv() == b"\1A"
    pub.setsockopt(zmqcy.SUBSCRIBE, b"B")
    pub.send(b"A of no use: nobody was subscribed to it")
    sub.subscribe(b"B")
    assert pub.recv() == b"\1B"
    pub.send(b"B1")
    assert sub.recv() == b"B1"


def test_xpub_welcome_msg(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB, {"xpub_welcome_msg": b"W"})
    sub.subscribe(b"W")
    assert pub.recv() == b"\1W"
    assert sub.recv() == b"W"


def test_invert_matching(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB, {"invert_matching": True}, {"invert_matching": True})
    sub.subscribe(b"A")
    assert pub.recv() == b"\1A"
    for text in (b"A1", b"B1", b"A2", b"B2"):
        pub.send(text)
    assert [sub.recv(), sub.recv()] == [b"B1", b"B2"]


def test_connect_routing_id(socket):
    """The ROUTER can send to the peer before it has received a message."""
    dealer = socket(zmqcy.DEALER)
    dealer.bind("tcp://127.0.0.1:*")
    router = socket(zmqcy.ROUTER, router_mandatory=True)
    router.connect_routing_id = b"peer"
    router.connect(dealer.last_endpoint)
    router.send_multipart([b"peer", b"hello"])
    assert dealer.recv() == b"hello"
    dealer.send(b"reply")
    assert router.recv_multipart() == [b"peer", b"reply"]


@pytest.mark.parametrize("notify", [True, False])
def test_stream_notify(socket, notify):
    stream = socket(zmqcy.STREAM, stream_notify=notify)
    stream.bind("tcp://127.0.0.1:*")
    port = int(stream.last_endpoint.rpartition(":")[2])
    with sockets.create_connection(("127.0.0.1", port), timeout=10) as client:
        if notify:
            peer, text = stream.recv_multipart()
            assert text == b""
        client.sendall(b"hello")
        sender, text = stream.recv_multipart()
        assert text == b"hello"
        assert not notify or sender == peer
        stream.send_multipart([sender, b"reply"])
        assert client.recv(100) == b"reply"
    if notify:
        assert stream.recv_multipart() == [peer, b""]


def test_router_raw(socket):
    router = socket(zmqcy.ROUTER, router_raw=True, router_mandatory=True)
    router.bind("tcp://127.0.0.1:*")
    port = int(router.last_endpoint.rpartition(":")[2])
    with sockets.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"hello")
        peer, text = router.recv_multipart()
        while not text:
            peer, text = router.recv_multipart()
        assert text == b"hello"
        router.send_multipart([peer, b"reply"])
        assert client.recv(100) == b"reply"


def test_immediate(socket):
    """With immediate=True, messages are queued only for completed connections."""
    with sockets.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # never listens
        endpoint = f"tcp://127.0.0.1:{unheard.getsockname()[1]}"
        queuing = socket(zmqcy.PUSH)
        queuing.connect(endpoint)
        assert queuing.try_send(b"waits")
        picky = socket(zmqcy.PUSH, immediate=True)
        picky.connect(endpoint)
        assert not picky.try_send(b"refused")
        with pytest.raises(zmqcy.Again):
            picky.send(b"refused", zmqcy.DONTWAIT)
    pull = socket(zmqcy.PULL)
    pull.bind("tcp://127.0.0.1:*")
    picky.connect(pull.last_endpoint)
    picky.send(b"taken", timeout=10_000)
    assert pull.recv() == b"taken"


def test_maxmsgsize(socket):
    """A peer that sends a larger message is disconnected. After it reconnects, smaller messages arrive."""
    pull = socket(zmqcy.PULL, maxmsgsize=100)
    pull.bind("tcp://127.0.0.1:*")
    push = socket(zmqcy.PUSH, reconnect_ivl=1)
    push.connect(pull.last_endpoint)
    push.send(bytes(100))
    assert pull.recv() == bytes(100)
    push.send(bytes(101))
    heard = None
    for _ in range(1_000):
        push.send(b"fits")
        if pull.poll(10):
            heard = pull.recv()
            break
    assert heard == b"fits"


@pytest.mark.parametrize("name", ["ipc_filter_uid", "ipc_filter_gid", "ipc_filter_pid"])
def test_ipc_filter_lets_its_own_in(socket, tmp_path, name):
    value = {"ipc_filter_uid": os.getuid, "ipc_filter_gid": os.getgid, "ipc_filter_pid": os.getpid}[name]()
    pull = socket(zmqcy.PULL, **{name: value})
    pull.bind(f"ipc://{tmp_path}/x")
    push = socket(zmqcy.PUSH)
    push.connect(pull.last_endpoint)
    push.send(b"let in")
    assert pull.recv() == b"let in"


def test_use_fd(socket):
    """The next bind uses this listening file descriptor."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        pull = socket(zmqcy.PULL, use_fd=os.dup(listener.fileno()))
        pull.bind(endpoint)
    push = socket(zmqcy.PUSH)
    push.connect(endpoint)
    push.send(b"through it")
    assert pull.recv() == b"through it"


def test_use_fd_is_closed_by_libzmq(run):
    """Callers pass ownership with `detach`, because another file may get the same number after the close."""
    run("""
        import errno, os, socket, time, zmqcy
        listener = socket.create_server(("127.0.0.1", 0))
        number = listener.detach()
        with zmqcy.Context(linger=0) as context:
            pull = context.socket(zmqcy.PULL, use_fd=number)
            pull.bind("tcp://127.0.0.1:*")
            os.fstat(number)
        try:
            os.fstat(number)
        except OSError as error:
            assert error.errno == errno.EBADF
        else:
            raise AssertionError("it is open")
    """)


@pytest.mark.parametrize("what", ["nothing", "file", "silent", "local", "taken"])
def test_use_fd_of_what_does_not_listen(run, what):
    """Without the check, libzmq would abort in its I/O thread."""
    done = run("""
        import os, socket, sys, zmqcy
        listener = socket.create_server(("127.0.0.1", 0))
        local = socket.socket(socket.AF_UNIX)
        local.bind("\\0zmqcy-use-fd-%d" % os.getpid())
        local.listen()
        silent = socket.socket()
        file = open("/dev/null")
        taken = {"nothing": 999, "file": file.fileno(), "silent": silent.fileno(), "local": local.fileno()}
        with zmqcy.Context() as ctx:
            pull = ctx.socket(zmqcy.PULL, use_fd=taken.get(sys.argv[1], listener.detach()))
            if sys.argv[1] == "taken":
                pull.bind("tcp://127.0.0.1:*")
            before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
            for _ in range(10):
                try:
                    pull.bind("tcp://127.0.0.1:*")
                except zmqcy.InvalidArgument as error:
                    refused = error
            print(refused)
            if before:
                assert len(os.listdir("/proc/self/fd")) == len(before)
    """, what)  # fmt: skip
    words = "was used by another bind; pass a new file descriptor"
    if what != "taken":
        words = "must be a listening socket of this transport"
    assert re.fullmatch(rf"bind tcp://127\.0\.0\.1:\* use_fd=\d+ \(PULL\): use_fd {words}\n", done.stdout)


def test_high_water_marks(socket):
    """Over inproc, the limit is the sum of both high-water marks."""
    pull = socket(zmqcy.PULL, rcvhwm=3)
    pull.bind("inproc://marks")
    push = socket(zmqcy.PUSH, sndhwm=4)
    push.connect("inproc://marks")
    sent = 0
    while push.try_send(b""):
        sent += 1
    assert sent == 7
