"""Hints: programs that fail, and the advice in the error."""

import errno
import os
import pickle
import re
import socket as system

import pytest

import zmqcy
from zmqcy.errors import EFSM
from zmqcy.hints import HINTS, hint_for

HERE = "tcp://127.0.0.1:*"


def bind(endpoint, **options):
    return lambda socket: socket(zmqcy.REP, **options).bind(endpoint)


def connect(endpoint, **options):
    return lambda socket: socket(zmqcy.REQ, **options).connect(endpoint)


def on(kind, call, *arguments, **options):
    return lambda socket: getattr(socket(kind), call)(*arguments, **options)


def two_requests(socket):
    request = socket(zmqcy.REQ)
    request.bind("inproc://requests")
    reply = socket(zmqcy.REP)
    reply.connect("inproc://requests")
    request.send(b"one")
    request.send(b"two")


def two_receives(socket):
    reply = socket(zmqcy.REP)
    reply.bind("inproc://receives")
    request = socket(zmqcy.REQ)
    request.connect("inproc://receives")
    request.send(b"one")
    reply.recv()
    reply.recv()


def twice(endpoint):
    def binds(socket):
        first = socket(zmqcy.REP)
        first.bind(endpoint)
        socket(zmqcy.REP).bind(first.last_endpoint)

    return binds


def without_threads(socket):
    with zmqcy.Context(io_threads=0) as ctx, ctx.socket(zmqcy.PULL) as pull:
        pull.bind(HERE)


CASES = [
    (
        on(zmqcy.PUSH, "recv"),
        "recv (PUSH): Operation not supported; a PUSH socket only sends; receive with a PULL socket",
    ),
    (on(zmqcy.PUB, "recv_multipart"), "a PUB socket only sends; receive with a SUB or XSUB socket"),
    (on(zmqcy.PULL, "send", b""), "a PULL socket only receives; send with a PUSH socket"),
    (on(zmqcy.SUB, "send_many", [b""]), "a SUB socket only receives; send with a PUB or XPUB socket"),
    (on(zmqcy.REQ, "recv"), "no request was sent; call send first"),
    (two_requests, "the reply to the last request has not been received; call recv first, or set req_relaxed=True"),
    (two_receives, "the reply to the last request has not been sent; call send first"),
    (on(zmqcy.REP, "send", b""), "no request was received; call recv first"),
    (bind("127.0.0.1:5555"), "an endpoint has the form TRANSPORT://ADDRESS, such as tcp://127.0.0.1:5555"),
    (connect("localhost"), "an endpoint has the form TRANSPORT://ADDRESS, such as tcp://127.0.0.1:5555"),
    (bind("inproc://"), "the name after inproc:// is missing"),
    (connect(HERE), "connect needs a port number; use `last_endpoint` of the bound socket"),
    (bind("tcp://127.0.0.1"), "the port is missing, as in tcp://127.0.0.1:5555"),
    (connect("tcp://127.0.0.1:"), "the port is missing, as in tcp://127.0.0.1:5555"),
    (bind("tcp://127.0.0.1:http"), "the port must be * or a number from 1 to 65535, not http"),
    (bind("tcp://127.0.0.1:70000"), "the port must be * or a number from 1 to 65535, not 70000"),
    (bind("tcp://127.0.0.1:-1"), "the port must be * or a number from 1 to 65535, not -1"),
    (connect("tcp://127.0.0.1:70000"), "the port must be a number from 1 to 65535, not 70000"),
    (connect("http://127.0.0.1:80"), "this libzmq supports only inproc, ipc, tcp, udp"),
    (bind("udp://127.0.0.1:5555"), "only RADIO, DISH, DGRAM sockets support udp"),
    (bind("tcp://[::1]:*"), "to bind to an IPv6 address, set ipv6=True on the socket first"),
    (bind("tcp://::1:*"), "to bind to an IPv6 address, set ipv6=True on the socket first"),
    (bind("tcp://no.invalid:*"), "this machine has no network interface no.invalid; bind to an IP address"),
    (bind("tcp://no.invalid:*"), ", or * for all interfaces, such as tcp://127.0.0.1:*; host names need libzmq 4.3.5"),
    (bind("tcp://192.0.2.1:5555"), "no interface of this machine has the address 192.0.2.1; bind to *"),
    (twice(HERE), re.compile("another socket uses port ([0-9]+); `ss -ltnp 'sport = :\\1'` shows its process")),
    (twice("inproc://name"), "another socket of this context is bound to inproc://name"),
    (bind("ipc:///tmp/no/such/folder"), "the directory of /tmp/no/such/folder does not exist; create it"),
    (bind("ipc://" + "x" * 200), f"the maximum length of an ipc path is {zmqcy.IPC_PATH_MAX_LEN} bytes"),
    (on(zmqcy.REP, "unbind", HERE), "the socket is not bound to this endpoint; pass the value that `last_endpoint`"),
    (on(zmqcy.REP, "disconnect", HERE), "the socket is not connected to this endpoint; pass the endpoint that"),
    (without_threads, "Context(io_threads=0) supports only inproc; make the context with io_threads=1"),
    (on(zmqcy.PULL, "subscribe", b""), "only SUB sockets have subscriptions"),
    (on(zmqcy.PULL, "setsockopt", zmqcy.SUBSCRIBE, b""), "only SUB sockets have subscriptions"),
    (lambda socket: socket(zmqcy.DEALER, routing_id=b"x" * 256), "a routing id must have 1 to 255 bytes"),
    (lambda socket: socket(60), "the type must be a member of zmqcy.SocketType"),
    (lambda socket: socket(zmqcy.ROUTER, router_mandatory=True).send_multipart([b"x", b""]),
     "no connected peer has the routing id in the first part"),
    (on(zmqcy.PULL, "recv", zmqcy.DONTWAIT), "recv (PULL): Resource temporarily unavailable; no message has arrived"),
    (on(zmqcy.PUSH, "send", b"", zmqcy.DONTWAIT), "no peer is connected, or the peers have reached their high"),
]  # fmt: skip
# These errors need another user, or a transport that few builds of libzmq have.
OTHERS = [
    (errno.EACCES, "bind", "tcp://127.0.0.1:80", "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
    (errno.EACCES, "bind", "ipc:///root/x", "this user may not create the file /root/x"),
    (errno.EPERM, "bind", "ipc:///proc/x", "this user may not create the file /proc/x"),
    (zmqcy.errors.ENOCOMPATPROTO, "connect", "pgm://x", "only PUB, SUB, XPUB and XSUB sockets support this transport"),
]


@pytest.mark.parametrize(("program", "text"), CASES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_program_that_fails(socket, program, text):
    with pytest.raises(zmqcy.ZMQError) as caught:
        program(socket)
    error = caught.value
    assert error.strerror == zmqcy.strerror(error.errno)
    assert str(error).endswith(f"{error.strerror}; {error.hint}")
    if isinstance(text, str):
        assert text in str(error)
    else:
        assert text.match(error.hint)


@pytest.mark.parametrize(("number", "call", "endpoint", "text"), OTHERS)
def test_what_takes_another_machine(number, call, endpoint, text):
    assert text in str(zmqcy.ZMQError(number, call=call, detail=endpoint, socket_type="REP"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_port_that_the_user_may_not_have(run):
    done = run("""
        import os, zmqcy
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
            low = int(file.read())
        os.setuid(65534)
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.REP) as rep:
            try:
                rep.bind("tcp://127.0.0.1:81") if low > 81 else rep.bind("ipc:///root/x")
            except zmqcy.ZMQError as error:
                print(error.hint)
    """)
    assert done.stdout.startswith(("ports below 1024 need root", "this user may not create the file /root/x"))


def test_each_row_is_shown(socket):
    """No earlier row matches every error of a later row."""
    shown = {
        hint_for(zmqcy.ZMQError(number, call=call, detail=detail, socket_type="REP"))
        for number, call, detail, _ in OTHERS
    }
    for program, _ in CASES:
        with pytest.raises(zmqcy.ZMQError) as caught:
            program(socket)
        shown.add(caught.value.hint)
    pattern = {row: re.sub(r"\\\{\w+\\\}", ".*", re.escape(row.text)) for row in HINTS}
    assert [row.text for row in HINTS if not any(re.fullmatch(pattern[row], hint) for hint in shown)] == []


def test_an_error_with_words_of_its_own_has_no_hint(socket):
    closed = socket(zmqcy.PULL)
    closed.close()
    with pytest.raises(zmqcy.ZMQError, match=r"^recv \(PULL\): the socket is closed$") as caught:
        closed.recv()
    assert caught.value.hint is None
    assert str(zmqcy.ZMQError(EFSM)) == zmqcy.strerror(EFSM)
    assert str(zmqcy.ZMQError()) and str(zmqcy.ZMQError(errno.EIO, "words", call="send")) == "send: words"


def test_a_hint_outlives_a_pickle(socket):
    with pytest.raises(zmqcy.StateError) as caught:
        socket(zmqcy.REQ).recv()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_timeout_says_its_unit_where_it_was_short(socket):
    pull = socket(zmqcy.PULL)
    with pytest.raises(
        zmqcy.TimedOut, match=r"^recv \(PULL\): timed out after \d+ ms \(timeouts are in milliseconds\)$"
    ):
        pull.recv(timeout=5)
    with pytest.raises(zmqcy.TimedOut, match=r"^recv \(PULL\): timed out after \d+ ms$"):
        pull.recv(timeout=80)
    with pytest.raises(zmqcy.TimedOut, match=r"^send \(PUSH\): timed out after \d+ ms; no peer is connected, or"):
        socket(zmqcy.PUSH).send(b"", timeout=80)


def test_a_port_that_another_process_has(socket):
    with system.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(zmqcy.ZMQError, match=f"another socket uses port {port}; "):
            socket(zmqcy.REP).bind(f"tcp://127.0.0.1:{port}")
