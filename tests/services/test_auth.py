"""Access control: CURVE, PLAIN and NULL over tcp, with accepted and refused peers, and the handler."""

import ast
import asyncio
import contextlib
import errno
import gc
import logging
import os
import re
import socket as system
import threading
import weakref
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from paths import KIT, ROOT
from rows import rows

import zmqcy
import zmqcy.asyncio
from zmqcy._message import _VOUCHER
from zmqcy.auth import ANY, Authenticator, Certificate, Policy

pytestmark = pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")

LIMIT = 10_000  # ms that something may take
ZAP = "inproc://zeromq.zap.01"
TCP = "tcp://127.0.0.1:*"
PAGE = ROOT / "docs" / "security.md"
SERVER, FRIEND, STRANGER = (Certificate.generate() if zmqcy.has("curve") else None for _ in range(3))
FAILED = (
    zmqcy.Event.HANDSHAKE_FAILED_AUTH
    | zmqcy.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmqcy.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmqcy.Event.HANDSHAKE_SUCCEEDED
)


class Server:
    """A bound PULL, and the handshake events of its monitor."""

    def __init__(self, socket, secure, **options):
        self.make = socket
        self.socket = socket(zmqcy.PULL, **options)
        secure(self.socket)
        self.events = self.socket.watch(FAILED)
        self.socket.bind(TCP)
        self.endpoint = self.socket.last_endpoint

    def client(self, secure, source="127.0.0.1", **options):
        """Return a PUSH that tries to connect, once."""
        client = self.make(zmqcy.PUSH, reconnect_ivl=-1, **options)
        secure(client)
        client.connect(self.endpoint.replace("tcp://", f"tcp://{source}:0;"))
        return client

    def serves(self, secure, **options):
        """Send a message with a client, and return the frame that arrives."""
        client = self.client(secure, **options)
        client.send(b"let me in")
        frame = self.socket.recv(copy=False)
        assert frame.bytes == b"let me in"
        assert self.events.recv(LIMIT).name == "HANDSHAKE_SUCCEEDED"
        client.close()
        return frame

    def refuses(self, secure, **options):
        """Try to connect a client, and return the event with the reason for its refusal. Then serve another one."""
        client = self.client(secure, **options)
        client.try_send(b"not for you")
        event = self.events.recv(LIMIT)
        assert event.name.startswith("HANDSHAKE_FAILED"), event
        client.close()
        assert self.socket.try_recv() is None
        return event


@pytest.fixture
def serve(socket):
    return lambda secure, **options: Server(socket, secure, **options)


def curve_server(socket):
    assert socket.serve_curve(SERVER) == SERVER.public


def curve_client(certificate=None, server=SERVER):
    return lambda socket: socket.use_curve(server, certificate)


def plain_server(socket):
    socket.serve_plain()


def plain_client(password="right", user="friend"):
    return lambda socket: socket.use_plain(user, password)


def null_server(socket):
    socket.zap_domain = "global"


def null_client(socket):
    pass


class Tap:
    """A tcp proxy that records the traffic."""

    def __init__(self, endpoint):
        self.address = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self.listener = system.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sent, self.received = [], []
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        client = self.listener.accept()[0]
        server = system.create_connection(self.address)
        self.ends = client, server
        for way in ((client, server, self.sent), (server, client, self.received)):
            self.threads.append(threading.Thread(target=self.copy, args=way))
            self.threads[-1].start()

    @staticmethod
    def copy(source, target, kept):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                kept.append(data)
                target.sendall(data)

    def close(self):
        self.threads[0].join()
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(system.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for end in (*self.ends, self.listener):
            end.close()


# ----------------------------------------------------------------------------------------- two lines for CURVE or PLAIN


def test_two_lines(socket):
    server, client = socket(zmqcy.REP), socket(zmqcy.REQ)
    public = server.serve_curve(zmqcy.curve_keypair()[1])
    own = client.use_curve(public)
    assert len(public) == len(own) == 40 and client.mechanism == server.mechanism == zmqcy.CURVE
    server.bind(TCP)
    with contextlib.closing(Tap(server.last_endpoint)) as tap:
        client.connect(tap.endpoint)
        client.send(b"a secret question")
        assert server.recv() == b"a secret question"
        server.send(b"a secret answer")
        assert client.recv() == b"a secret answer"
    wire = b"".join(tap.sent + tap.received)
    assert b"CURVE" in wire and b"secret" not in wire


def test_each_form_of_a_key(socket):
    raw = zmqcy.z85_decode(SERVER.secret)
    for form in (SERVER, SERVER.secret, SERVER.secret.decode(), raw, bytearray(raw)):
        assert socket(zmqcy.PULL).serve_curve(form) == SERVER.public
    for form in (FRIEND, (FRIEND.public, FRIEND.secret), [FRIEND.public.decode(), zmqcy.z85_decode(FRIEND.secret)]):
        assert socket(zmqcy.PULL).use_curve(SERVER.public.decode(), form) == FRIEND.public


@rows("attach", ["bind", "connect"])
@rows(
    "call, arguments",
    [
        ("serve_curve", lambda: (SERVER,)),
        ("serve_curve", lambda: (SERVER, "domain")),
        ("use_curve", lambda: (SERVER.public,)),
        ("serve_plain", lambda: ()),
        ("use_plain", lambda: ("user", "password")),
    ],
)
def test_too_late(socket, attach, call, arguments):
    late = socket(zmqcy.PULL)
    getattr(late, attach)("tcp://127.0.0.1:*" if attach == "bind" else "tcp://127.0.0.1:1")
    with pytest.raises(zmqcy.StateError, match=rf"{call} tcp://.*\(PULL\): .*before the first bind or connect"):
        getattr(late, call)(*arguments())
    assert late.mechanism == zmqcy.NULL
    late.close()
    with pytest.raises(zmqcy.ZMQError, match="the socket is closed"):
        getattr(late, call)(*arguments())


@rows("wrong", [b"", b"short", "x" * 41, "~" * 40, b"\xff" * 40, "ü" * 40])
def test_what_is_no_key(socket, wrong):
    """A wrong key is rejected before any option is set. The error does not show it, and the socket is unchanged."""
    each = socket(zmqcy.PULL)
    for call in (
        lambda: each.serve_curve(wrong),
        lambda: each.use_curve(wrong),
        lambda: each.use_curve(SERVER, (FRIEND.public, wrong)),
        lambda: each.use_curve(SERVER, (wrong, FRIEND.secret)),
    ):
        with pytest.raises(ValueError, match="must be a key of 40 characters of Z85 or 32 bytes") as caught:
            call()
        assert not wrong or repr(wrong) not in str(caught.value)
    with pytest.raises(ValueError, match="the keys are not a pair"):
        each.use_curve(SERVER, (FRIEND.public, STRANGER.secret))
    for keys in (FRIEND.secret, "hunter2", (FRIEND.secret,), {"secret": FRIEND.secret}, (1, 2, 3)):
        with pytest.raises(TypeError, match=r"use_curve: a public and a secret key are required, .*not \w+$"):
            each.use_curve(SERVER, keys)
    for wrong in (None, 7, Certificate(FRIEND.public)):
        with pytest.raises(TypeError, match="serve_curve: secret_key must be a key"):
            each.serve_curve(wrong)
    assert each.mechanism == zmqcy.NULL and not each.curve_server


def test_what_is_no_password(socket):
    each = socket(zmqcy.PUSH)
    for wrong, error in (
        (None, TypeError),
        (7, TypeError),
        ("", ValueError),
        ("s" * 256, ValueError),
        (b"", ValueError),
    ):
        for arguments, name in (((wrong, "right"), "username"), (("friend", wrong), "password")):
            with pytest.raises(error, match=f"use_plain: {name} must") as caught:
                each.use_plain(*arguments)
            assert "sss" not in str(caught.value)
    assert each.mechanism == zmqcy.NULL


def test_the_options_are_as_they_were(socket):
    each = socket(zmqcy.PULL, curve_server=True, curve_secretkey=SERVER.secret)
    assert each.curve_server is True and each.mechanism == zmqcy.CURVE
    each.plain_server = True
    assert each.plain_server is True and each.mechanism == zmqcy.PLAIN


# ------------------------------------------------------------------------------------------ accepted and rejected peers


def test_a_wrong_server_key(serve):
    server = serve(curve_server)
    event = server.refuses(curve_client(FRIEND, server=STRANGER.public))
    assert event.reason == "zmtp cryptographic"
    server.serves(curve_client(FRIEND))


def test_a_wrong_client_key(ctx, serve):
    with Authenticator(ctx, curve=[FRIEND]):
        server = serve(curve_server)
        for _ in range(3):
            event = server.refuses(curve_client(STRANGER))
            assert (event.value, event.reason) == (400, "authentication failed (400)")
            frame = server.serves(curve_client(FRIEND))
            assert frame.get("User-Id") == FRIEND.public.decode()
            assert frame.get("Peer-Address") == "127.0.0.1"


SERVERS = {"NULL": null_server, "PLAIN": plain_server, "CURVE": curve_server}
CLIENTS = {"NULL": lambda: null_client, "PLAIN": plain_client, "CURVE": lambda: curve_client(FRIEND)}


@rows("client", CLIENTS)
@rows("server", SERVERS)
def test_mechanisms(ctx, serve, server, client):
    with Authenticator(ctx, null=True, plain={"friend": "right"}, curve=[FRIEND]):
        bound = serve(SERVERS[server])
        if server != client:
            assert bound.refuses(CLIENTS[client]()).reason == "zmtp mechanism mismatch"
        bound.serves(CLIENTS[server]())


@rows("mechanism", SERVERS)
def test_nobody_by_default(ctx, serve, mechanism):
    with Authenticator(ctx):
        assert serve(SERVERS[mechanism]).refuses(CLIENTS[mechanism]()).value == 400


def test_a_wrong_password(ctx, serve):
    with Authenticator(ctx, plain={"friend": "right", "bytes": b"\xc3\xbc"}):
        server = serve(plain_server)
        for password, user in (("wrong", "friend"), ("right", "stranger"), ("right ", "friend"), ("r", "friend")):
            assert server.refuses(plain_client(password, user)).reason == "authentication failed (400)"
        assert server.serves(plain_client()).get("User-Id") == "friend"
        assert server.serves(plain_client("ü", "bytes")).get("User-Id") == "bytes"


def test_a_denied_address(ctx, serve):
    with Authenticator(ctx, plain={"friend": "right"}, allow="127.0.0.0/8", deny=["127.0.0.2", "127.1.0.0/16"]):
        server = serve(plain_server)
        for source in ("127.0.0.2", "127.1.2.3"):
            assert server.refuses(plain_client(), source=source).reason == "authentication failed (400)"
            server.serves(plain_client(), source="127.0.0.3")
    with Authenticator(ctx, null=True, allow=["127.0.0.2"]):
        server = serve(null_server)
        server.refuses(null_client)
        server.serves(null_client, source="127.0.0.2")


def test_ipc(ctx, socket, tmp_path):
    for allow, arrives in (("ipc", True), ("127.0.0.1", False)):
        with Authenticator(ctx, null=True, allow=allow):
            server, client = socket(zmqcy.PULL, zap_domain="global"), socket(zmqcy.PUSH, reconnect_ivl=-1)
            events = server.watch(FAILED)
            server.bind(f"ipc://{tmp_path}/{arrives}")
            client.connect(server.last_endpoint)
            assert (events.recv(LIMIT).name == "HANDSHAKE_SUCCEEDED") is arrives


def test_replay(ctx, serve, socket):
    """Recorded traffic of a client is useless: each handshake has its own keys."""
    with Authenticator(ctx, curve=[FRIEND]):
        server = serve(curve_server)
        client = socket(zmqcy.PUSH, reconnect_ivl=-1)
        client.use_curve(SERVER, FRIEND)
        with contextlib.closing(Tap(server.endpoint)) as tap:
            client.connect(tap.endpoint)
            client.send(b"pay 100")
            assert server.socket.recv() == b"pay 100"
            assert server.events.recv(LIMIT).name == "HANDSHAKE_SUCCEEDED"
        assert b"INITIATE" in b"".join(tap.sent)
        for pieces in ([b"".join(tap.sent)], tap.sent):
            with system.create_connection(tap.address, timeout=LIMIT / 1000) as raw:
                for piece in pieces:
                    raw.sendall(piece)
                event = server.events.recv(LIMIT)
                assert event.name == "HANDSHAKE_FAILED_PROTOCOL" and event.reason.startswith("zmtp")
                with contextlib.suppress(ConnectionResetError):
                    while raw.recv(4096):  # until the connection is closed
                        pass
            assert server.socket.try_recv() is None
        server.serves(curve_client(FRIEND))


# ------------------------------------------------------------------------------------------ missing and failed handlers


def test_no_handler(ctx, serve, socket):
    server = serve(plain_server)
    assert server.refuses(plain_client()).reason == "there is no ZAP handler to ask about the peer"
    with Authenticator(ctx, plain={"friend": "right"}):
        server.serves(plain_client())  # a handler may start after the servers
        server.refuses(plain_client("wrong"))
    server.refuses(plain_client())


def test_a_handler_that_dies(ctx, serve, socket):
    """The handler closes after it has received a request. The peer is rejected, and accepted by the next handler."""
    handler = socket(zmqcy.REP)
    handler.bind(ZAP)
    server = serve(curve_server, handshake_ivl=300)
    client = server.client(curve_client(FRIEND))
    assert handler.recv_multipart()[6] == zmqcy.z85_decode(FRIEND.public)
    handler.unbind(ZAP)
    handler.close()
    assert server.events.recv(LIMIT).reason == "the peer, or the ZAP handler, took longer than handshake_ivl"
    client.close()
    with Authenticator(ctx, curve=[FRIEND]):
        server.serves(curve_client(FRIEND))
        server.refuses(curve_client(STRANGER))


async def _later(result):
    await asyncio.sleep(0)
    return result() if callable(result) else result


def _raise(kind):
    raise kind("right")  # a careless rule: the password is in the exception's text


def _in_a_task(result):
    async def call():
        return result()

    return asyncio.ensure_future(call())  # its exceptions, KeyboardInterrupt too, are raised by the loop


FORMS = {"at once": lambda result: result(), "later": _later, "in a task": _in_a_task}


@pytest.mark.parametrize("kind", [KeyError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("form", FORMS)
def test_whatever_a_function_raises_is_a_refusal(ctx, serve, caplog, kind, form):
    def decide(username, password):
        if username == "bomb":
            return FORMS[form](lambda: _raise(kind))
        return username == "friend" and password == "right"

    caplog.set_level(logging.DEBUG, "zmqcy.auth")
    with Authenticator(ctx, plain=decide) as authenticator:
        server = serve(plain_server)
        for _ in range(2):
            event = server.refuses(plain_client(user="bomb"))
            assert (event.value, event.reason) == (500, "internal error (500)")
            assert authenticator.running
            assert server.serves(plain_client()).get("User-Id") == "friend"
            server.refuses(plain_client("wrong"))
    texts = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    wanted = rf"refused PLAIN from 127.0.0.1, domain '': {kind.__name__} was raised in test_auth.py:\d+"
    assert sum(bool(re.fullmatch(wanted, text)) for text in texts) == 2


def test_ctrl_c_in_a_function_is_for_the_loop_whose_it_is():
    """Ctrl-C rejects the peer, and still ends the program's loop."""
    loop = asyncio.new_event_loop()
    with zmqcy.Context() as ctx, contextlib.closing(loop):
        question = ctx.socket(zmqcy.DEALER, rcvtimeo=LIMIT, linger=0)

        async def begin():
            await Authenticator(ctx, plain=lambda *_: _raise(KeyboardInterrupt)).__aenter__()
            question.connect(ZAP)
            question.send_multipart([b"", b"1.0", b"7", b"", b"127.0.0.1", b"", b"PLAIN", b"name", b"password"])
            await asyncio.get_running_loop().create_future()

        task = loop.create_task(begin())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        assert question.recv_multipart()[3] == b"500"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)


# -------------------------------------------------------------------------------------------------- table of rules


class Loop:
    """An event loop in a thread, with an Authenticator that is not stopped."""

    def __init__(self, authenticator):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.call(authenticator.__aenter__())

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(LIMIT / 1000)

    async def cancel_all(self):
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def close(self):
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join()
            self.loop.close()


HANDLERS = [
    "never started",
    "started after `bind`",
    "running",
    "stopped",
    "event loop closed",
    "tasks cancelled",
]
ROWS = {
    ("NULL", "none"): (lambda socket: None, null_client),
    ("NULL", "set"): (null_server, null_client),
    ("PLAIN", "any"): (plain_server, plain_client()),
    ("CURVE", "none"): (curve_server, curve_client(FRIEND)),
    ("CURVE", "set"): (lambda socket: socket.serve_curve(SERVER, "global"), curve_client(FRIEND)),
}


def enters(server, secure, source):
    client = server.client(secure, source)
    event = server.events.recv(LIMIT)
    client.close()
    return event.name == "HANDSHAKE_SUCCEEDED"


def who_gets_in(serve, authenticator, row, handler):
    """Return a cell of the table: try an accepted and a refused peer."""
    secure, client = ROWS[row]
    with contextlib.ExitStack() as stack:
        if handler in ("event loop closed", "tasks cancelled"):
            loop = stack.enter_context(contextlib.closing(Loop(authenticator)))
        elif handler in ("running", "stopped"):
            stack.enter_context(authenticator)
        try:
            server = serve(secure)
        except zmqcy.StateError as error:
            assert "no Authenticator is running" in str(error)
            return "`bind` raises"
        if handler == "started after `bind`":
            stack.enter_context(authenticator)
        elif handler == "event loop closed":
            loop.close()
        elif handler == "tasks cancelled":
            loop.call(loop.cancel_all())
        elif handler == "stopped":
            authenticator.stop()
        found = [enters(server, client, source) for source in ("127.0.0.1", "127.0.0.9")]
        authenticator.stop()
    everyone = {"NULL": "everyone", "CURVE": "clients with the server's key"}
    return {(True, True): everyone.get(row[0]), (True, False): "by the rules", (False, False): "nobody"}[tuple(found)]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_who_gets_in(ctx, serve, caplog, row):
    """The table in the docs is correct."""
    cells = []
    for handler in HANDLERS:
        with zmqcy.Context(linger=0) as own:  # a new one: a context cannot lose its handler

            def make(kind, **options):
                return own.socket(kind, rcvtimeo=LIMIT, sndtimeo=LIMIT, **options)

            rules = {"null": True, "plain": {"friend": "right"}, "curve": ANY, "allow": "127.0.0.1"}
            authenticator = Authenticator(own, **rules)
            cells.append(who_gets_in(lambda secure: Server(make, secure), authenticator, row, handler))
    line = f"| {' | '.join([*row, *cells])} |"
    assert line in PAGE.read_text()
    asked = row != ("NULL", "none")
    assert ("the event loop of the Authenticator has ended" in caplog.text) is asked
    assert ("the Authenticator of the context was stopped" in caplog.text) is asked


def test_the_table_has_these_rows():
    head = f"| mechanism | `zap_domain` | {' | '.join(HANDLERS)} |"
    _, found, rest = PAGE.read_text().partition(head)
    assert found
    assert len([line for line in rest.partition("\n\n")[0].splitlines() if line.startswith("| ")]) == len(ROWS)


@pytest.mark.parametrize("attach", ["bind", "connect"])
@pytest.mark.parametrize(
    "secure",
    [
        null_server,
        lambda socket: socket.serve_curve(SERVER, "d"),
        lambda socket: [socket.serve_curve(SERVER), setattr(socket, "zap_domain", "d")],
        lambda socket: [setattr(socket, "zap_domain", "d"), socket.serve_curve(SERVER)],
        lambda socket: [setattr(socket, *each) for each in
                        {"curve_server": True, "curve_secretkey": SERVER.secret, "zap_domain": "d"}.items()],
        pytest.param(
            lambda socket: [setattr(socket, "zap_domain", "d"), setattr(socket, "gssapi_server", True)],
            marks=pytest.mark.skipif(not zmqcy.has("gssapi"), reason="this libzmq has no GSSAPI"),
        ),
    ],
    ids=["null", "serve_curve", "domain last", "domain first", "options", "gssapi"],
)  # fmt: skip
def test_what_expects_a_handler_is_refused_without_one(ctx, socket, secure, attach):
    late = socket(zmqcy.PULL)
    secure(late)
    endpoint = TCP if attach == "bind" else "tcp://127.0.0.1:1"
    for _ in range(2):  # before a start, and after a stop
        with pytest.raises(
            zmqcy.StateError, match=rf"{attach} tcp://.* zap_domain=.* \(PULL\): no Authenticator is run"
        ):
            getattr(late, attach)(endpoint)
        assert late.last_endpoint == ""
        late.bind("inproc://none")  # inproc connections need no authentication
        late.unbind("inproc://none")
        with Authenticator(zmqcy.Context.shadow(ctx)):  # a shadow of the context counts as the same context
            getattr(late, attach)(endpoint)
            getattr(late, "unbind" if attach == "bind" else "disconnect")(late.last_endpoint)
        late.close()
        late = socket(zmqcy.PULL)
        secure(late)


def test_clients_expect_no_handler(socket):
    for secure in (curve_client(FRIEND), plain_client()):
        client = socket(zmqcy.PUSH, zap_domain="d")
        secure(client)
        client.connect("tcp://127.0.0.1:1")


def test_only_what_libzmq_can_ask_may_be_a_handler(socket):
    """With another socket as handler, libzmq would abort the process at the next peer."""
    for kind in (zmqcy.PULL, zmqcy.PAIR, zmqcy.DEALER):
        with pytest.raises(
            zmqcy.InvalidArgument, match=r"bind inproc://zeromq.zap.01 .*only a REP, ROUTER or SERVER socket can be"
        ):
            socket(kind).bind(ZAP)


def test_a_peer_that_came_before_the_start_stays(ctx, serve):
    server = serve(curve_server)
    early = server.client(curve_client(STRANGER))
    early.send(b"early")
    assert server.socket.recv() == b"early"
    assert server.events.recv(LIMIT).name == "HANDSHAKE_SUCCEEDED"
    with Authenticator(ctx, curve=[FRIEND]):
        server.refuses(curve_client(STRANGER))
        early.send(b"still")
        assert server.socket.recv() == b"still"


def test_the_handler_of_a_context_does_not_keep_it():
    context = zmqcy.Context()
    with Authenticator(context) as authenticator:
        thread = authenticator._gate.thread
    gone = weakref.ref(context)
    del context, authenticator
    gc.collect()
    assert gone() is None
    thread.join(LIMIT / 1000)
    assert not thread.is_alive()


# ---------------------------------------------------------------------------------------------------------- user ids


def test_a_peer_cannot_name_its_user(run):
    """If the program has its own handler, zmqcy cannot know which peers were authenticated, and trusts User-Id."""
    run("""
        import sys
        sys.path.insert(0, sys.argv[1])
        import wire, zmqcy
        from zmqcy.auth import Authenticator

        def user(ctx, domain, admit=lambda: None):
            server = ctx.socket(zmqcy.PULL, rcvtimeo=10_000, **({"zap_domain": domain} if domain else {}))
            server.bind("tcp://127.0.0.1:*")
            names = wire.metadata(
                Socket_Type=b"PUSH", User_Id=b"root", Peer_Address=b"8.8.8.8", X_Zmqcy_Voucher=b"0" * 32, X_Name=b"me"
            )
            with wire.stranger(server.last_endpoint, wire.greeting() + wire.command(b"READY", names)) as peer:
                admit()
                answer = b""
                while b"READY" not in answer:
                    answer += peer.recv(1000)
                peer.sendall(wire.frame(b"hello"))
                frame = server.recv(copy=False)
            assert (frame.get("X-Name"), frame.get("Peer-Address")) == ("me", "127.0.0.1")
            try:
                return frame.get("User-Id")
            except zmqcy.InvalidArgument as error:
                return str(error)

        refusal = "get 'User-Id': no Authenticator was asked about the peer; start one before the socket is bound"
        with zmqcy.Context() as ctx:
            assert user(ctx, "") == refusal
            with Authenticator(ctx, null=True):
                assert user(ctx, "") == refusal
                assert user(ctx, "d") == ""
        with zmqcy.Context() as ctx:
            handler = ctx.socket(zmqcy.REP, rcvtimeo=10_000)
            handler.bind("inproc://zeromq.zap.01")

            def admit():
                handler.send_multipart([b"1.0", handler.recv_multipart()[1], b"200", b"OK", b"known", b""])

            assert user(ctx, "d", admit) == "known"
            assert user(ctx, "") == "root"
    """, KIT)  # fmt: skip


# --------------------------------------------------------------------------------------------------- slow decisions


def test_a_slow_function_holds_up_nobody(ctx, serve):
    async def decide(key):
        if key == STRANGER.public:
            asked.set()
            await asyncio.get_running_loop().create_future()  # indefinitely
        return "a friend"

    asked = threading.Event()
    with Authenticator(ctx, curve=decide):
        server = serve(curve_server)
        waiting = server.client(curve_client(STRANGER))
        assert asked.wait(LIMIT / 1000)
        assert server.serves(curve_client(FRIEND)).get("User-Id") == "a friend"
        waiting.close()


def test_nothing_secret_is_logged(ctx, serve, caplog):
    caplog.set_level(logging.DEBUG)
    with Authenticator(ctx, plain={"friend": "hunter2"}, curve=[FRIEND]):
        server, curve = serve(plain_server), serve(curve_server)
        server.serves(plain_client("hunter2"))
        server.refuses(plain_client("hunter3", "hunter2"))  # a user who has typed the password as the name
        curve.serves(curve_client(FRIEND))
        curve.refuses(curve_client(STRANGER))
    levels = [each.levelname for each in caplog.records if each.name == "zmqcy.auth"]
    assert levels == ["INFO", "WARNING", "INFO", "WARNING"]
    for secret in ("hunter2", "hunter3", SERVER.secret.decode(), FRIEND.secret.decode(), STRANGER.secret.decode()):
        assert secret not in caplog.text
    assert "accepted CURVE from 127.0.0.1, domain '': " in caplog.text
    assert "refused PLAIN from 127.0.0.1, domain '': the credentials are unknown or wrong" in caplog.text


# ------------------------------------------------------------------------------------------------------------- policies


def test_a_folder(ctx, serve, tmp_path, caplog):
    """A changed folder is read again: new peers are accepted, removed or replaced peers rejected."""
    with pytest.raises(FileNotFoundError):
        Policy(curve=tmp_path / "none")
    Certificate(FRIEND.public).save(tmp_path / "friend.key")
    os.mkfifo(tmp_path / "pipe.key")
    (tmp_path / "loop.key").symlink_to("loop.key")
    STRANGER.save_secret(tmp_path / "stranger.key_secret")  # other peers must not claim this name
    with Authenticator(ctx, curve=tmp_path):
        server = serve(curve_server)
        server.serves(curve_client(FRIEND))
        server.refuses(curve_client(STRANGER))
        Certificate(STRANGER.public).save(tmp_path / "stranger.key")
        server.serves(curve_client(STRANGER))
        (tmp_path / "broken.key").write_text("curve\n    public-key = 7\n")
        server.serves(curve_client(FRIEND))
        assert "a certificate is ignored" in caplog.text and "broken.key" in caplog.text
        Certificate(STRANGER.public).save(tmp_path / "friend.key", overwrite=True)
        server.refuses(curve_client(FRIEND))
        (tmp_path / "friend.key").unlink()
        server.serves(curve_client(STRANGER))
        (tmp_path / "stranger.key").unlink()
        server.refuses(curve_client(STRANGER))
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.rmdir()
        server.refuses(curve_client(FRIEND))
        assert "all peers with a key are refused" in caplog.text
        tmp_path.mkdir()
        Certificate(FRIEND.public).save(tmp_path / "friend.key")
        server.serves(curve_client(FRIEND))


def test_a_file_of_passwords(ctx, ask, tmp_path, caplog):
    path = tmp_path / "passwords"
    with pytest.raises(FileNotFoundError):
        Policy(plain=path)

    def write(text, mode=0o600):
        path.unlink(missing_ok=True)
        path.touch(mode)
        path.write_text(text)

    write("# ours\n\nfriend:right:too\nother: x \n", 0o644)
    with pytest.raises(PermissionError, match=r"other users can open these passwords \(mode 0644\)"):
        Policy(plain=path)
    path.chmod(0o600)
    with Authenticator(ctx, plain=str(path)):
        assert ask(b"PLAIN", b"friend", b"right:too") == (200, "friend")
        assert ask(b"PLAIN", b"other", b" x ") == (200, "other")
        assert ask(b"PLAIN", b"friend", b"right") == ask(b"PLAIN", b"", b"") == (400, "")
        write("friend:new\n")
        assert ask(b"PLAIN", b"friend", b"right:too") == (400, "")
        assert ask(b"PLAIN", b"friend", b"new") == (200, "friend")
        write("friend:new\nhunter2\n")
        assert ask(b"PLAIN", b"friend", b"new") == (400, "")
        assert f"{path}: line 2 does not have the form user:password" in caplog.text and "hunter2" not in caplog.text
        path.unlink()
        assert ask(b"PLAIN", b"friend", b"new") == (400, "")
        write("friend:new\n")
        assert ask(b"PLAIN", b"friend", b"new") == (200, "friend")


def test_domains(ctx, serve):
    inner = Policy(curve={FRIEND.public: "admin"})
    with Authenticator(ctx, curve=ANY, domains={"inner": inner}):
        outside, inside = serve(curve_server), serve(lambda socket: socket.serve_curve(SERVER, "inner"))
        outside.serves(curve_client(STRANGER))
        inside.refuses(curve_client(STRANGER))
        assert inside.serves(curve_client(FRIEND)).get("User-Id") == "admin"


@pytest.fixture
def ask(ctx, socket):
    """A function that asks the handler, as libzmq does, and returns the status and the user."""

    def ask(mechanism, *credentials, domain=b"", address=b"127.0.0.1"):
        question = socket(zmqcy.REQ)
        question.connect(ZAP)
        question.send_multipart([b"1.0", b"7", domain, address, b"", mechanism, *credentials])
        version, serial, status, _, user, metadata = question.recv_multipart()
        question.close()
        assert (version, serial, metadata) == (b"1.0", b"7", _VOUCHER if status == b"200" else b"")
        return int(status), user.decode()

    return ask


@rows(
    "rules, address, status",
    [
        ({}, "8.8.8.8", 200),
        ({"deny": "10.0.0.0/8"}, "10.1.2.3", 400),
        ({"deny": "10.0.0.0/8"}, "11.1.2.3", 200),
        ({"deny": "10.0.0.0/8"}, "::ffff:10.1.2.3", 400),  # IPv4 on a socket with ipv6=True
        ({"allow": ["10.0.0.0/8"]}, "::ffff:10.1.2.3", 200),
        ({"allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"]}, "10.1.2.3", 400),
        ({"allow": []}, "10.1.2.3", 400),
        ({"deny": "::ffff:10.0.0.0/104"}, "::ffff:10.1.2.3", 400),
        ({"deny": "::ffff:10.0.0.0/104"}, "10.1.2.3", 400),
        ({"allow": "::ffff:10.0.0.0/104"}, "11.1.2.3", 400),
        ({"allow": ["fe80::/10"]}, "fe80::1%eth0", 200),
        ({"deny": ["fe80::/10"]}, "fe80::1%eth0", 400),
        ({"allow": ["::1"]}, "::1", 200),
        ({"allow": ["::/0"]}, "127.0.0.1", 400),
        ({"deny": "ipc"}, "localhost:0:0:123", 400),
        ({"allow": "ipc"}, "localhost", 200),
        ({"allow": ["ipc"]}, "localhostile", 400),
        ({"allow": ["0.0.0.0/0", "::/0"]}, "", 400),  # an unreadable address is in no network
        ({"deny": ["10.0.0.0/8"]}, "", 400),
        ({"deny": ["10.0.0.0/8"]}, "10.0.0", 400),
    ],
)
def test_addresses(ctx, ask, rules, address, status):
    with Authenticator(ctx, null=True, **rules):
        assert ask(b"NULL", address=address.encode()) == (status, "")


def test_passwords_that_are_empty(ctx, ask):
    """A peer may send values that use_plain refuses: an empty name, or the password of no user."""
    with Authenticator(ctx, plain={"friend": "right", "": ""}):
        for name, password in ((b"stranger", b""), (b"friend", b""), (b"", b""), (b"", b"right")):
            assert ask(b"PLAIN", name, password) == (400, "")
        assert ask(b"PLAIN", b"friend", b"right") == (200, "friend")


def test_gssapi(ctx, ask):
    with Authenticator(ctx, gssapi=["me@REALM"]):
        assert ask(b"GSSAPI", b"me@REALM") == (200, "me@REALM")
        assert ask(b"GSSAPI", b"you@REALM") == (400, "")
    with Authenticator(ctx, gssapi=ANY):
        assert ask(b"GSSAPI", b"you@REALM") == (200, "you@REALM")
    with Authenticator(ctx, gssapi={"me@REALM": "me"}, domains={"d": Policy(gssapi=lambda principal: False)}):
        assert ask(b"GSSAPI", b"me@REALM") == (200, "me")
        assert ask(b"GSSAPI", b"me@REALM", domain=b"d") == (400, "")


@rows(
    "result, status, user",
    [
        (True, 200, "name"), ("else", 200, "else"), (False, 400, ""), (None, 400, ""), ("", 400, ""),
        (1, 500, ""), ([], 500, ""), (b"name", 500, ""), ("x" * 256, 500, ""), ("a\0b", 500, ""),
    ],
)  # fmt: skip
@rows("later", [False, True])
def test_what_a_function_may_return(ctx, ask, result, status, user, later):
    with Authenticator(ctx, plain=lambda *_: _later(result) if later else result):
        assert ask(b"PLAIN", b"name", b"password") == (status, user)


@rows(
    "rules, error, text",
    [
        ({"allow": "10.0.0.1/8"}, ValueError, "allow: 10.0.0.1/8 has host bits set"),
        ({"deny": ["localhost"]}, ValueError, "deny: 'localhost' does not appear to be"),
        ({"deny": 7}, TypeError, "deny must be addresses and networks, not 7"),
        ({"curve": ["short"]}, ValueError, "a key of curve must be a key"),
        ({"curve": 7}, TypeError, "int"),
        ({"gssapi": "me"}, TypeError, "gssapi must be a mapping, an iterable or a callable, not str"),
        ({"plain": [("a", "b")]}, TypeError, "plain must be a mapping or a callable, not list"),
    ],
)
def test_what_is_no_policy(ctx, rules, error, text):
    for make in (Policy, lambda **rules: Authenticator(ctx, **rules)):
        with pytest.raises(error, match=text):
            make(**rules)
    with pytest.raises(TypeError, match="domains must map str to Policy, not 'd' to dict$"):  # it may contain passwords
        Authenticator(ctx, domains={"d": rules})


# --------------------------------------------------------------------------------------------------- malformed requests


MALFORMED = [
    [],
    [b"1.0"],
    [b"1.0", b"7"],
    [b"2.0", b"7", b"", b"127.0.0.1", b"", b"NULL"],
    [b"", b"", b"", b"", b"", b""],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"MAGIC"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"null"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"\xff\xfe"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"NULL", b"more"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"PLAIN", b"name"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"PLAIN", b"\xff", b"\xff"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"CURVE"],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"CURVE", b"x" * 31],
    [b"1.0", b"7", b"", b"127.0.0.1", b"", b"CURVE", b"x" * 40],
]


@rows("frames", MALFORMED)
def test_a_malformed_request(ctx, ask, socket, frames):
    with Authenticator(ctx, null=True, plain=lambda *_: True, curve=ANY):
        question = socket(zmqcy.DEALER)
        question.connect(ZAP)
        question.send_multipart([b"", *frames])
        serial = frames[1] if len(frames) > 1 else b""
        assert question.recv_multipart() == [b"", b"1.0", serial, b"500", b"malformed request", b"", b""]
        question.send(b"no envelope")  # to which there is no answer
        question.send_multipart([b"", b"1.0", b"8", b"", b"", b"", b"NULL"])
        assert question.recv_multipart()[2:4] == [b"8", b"200"]
        assert ask(b"NULL") == (200, "")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(some.binary(max_size=40) | some.sampled_from([b"", b"1.0", b"NULL", b"CURVE", b"PLAIN"]), max_size=9))
def test_any_request(outlasting, frames):
    question = outlasting
    question.send_multipart([*frames, b"end"] if frames else [b"end"])
    question.send_multipart([b"", b"1.0", b"the last", b"", b"", b"", b"NULL"])
    while (answer := question.recv_multipart())[-6:][1] != b"the last":
        assert answer[-4] == b"500" or answer[-4] == b"400"
    assert answer[-4] == b"400"


@pytest.fixture
def outlasting(ctx, socket):
    question = socket(zmqcy.DEALER)
    with Authenticator(ctx):
        question.connect(ZAP)
        yield question


# ------------------------------------------------------------------------------------------------------- start and stop


def test_one_handler_a_context(ctx, ask):
    first, second = Authenticator(ctx, null=True), Authenticator(ctx)
    assert not first.running
    first.start()
    assert first.running
    with pytest.raises(zmqcy.StateError, match="start: it is running"):
        first.start()
    with pytest.raises(
        zmqcy.ZMQError, match="start inproc://zeromq.zap.01: the context has another ZAP handler"
    ) as caught:
        second.start()
    assert caught.value.errno == errno.EADDRINUSE and not second.running
    assert ask(b"NULL") == (200, "")
    first.stop()
    first.stop()
    assert not first.running
    with second:
        assert ask(b"NULL") == (400, "")
    with first:
        assert ask(b"NULL") == (200, "")


@pytest.mark.parametrize("end", ["term", "destroy", "shutdown"])
def test_the_context_ends_first(end):
    context = zmqcy.Context()
    authenticator = Authenticator(context)
    authenticator.start()
    getattr(context, end)()
    if end == "shutdown":
        context.term(timeout=LIMIT)  # the thread has closed its socket
    authenticator.stop()
    assert not authenticator.running
    assert not [each for each in threading.enumerate() if each.name == "zmqcy-authenticator"]
    with pytest.raises(zmqcy.ContextTerminated):
        authenticator.start()


@pytest.mark.parametrize("stops", [False, True])
def test_a_program_that_leaves_the_handler_alone_ends(run, stops):
    code = f"""
        import zmqcy
        from zmqcy.auth import Authenticator
        authenticator = Authenticator(null=True)
        authenticator.start()
        socket = zmqcy.Context.instance().socket(zmqcy.PULL)
        if {stops}:
            authenticator.stop()
    """
    assert run(code).stderr == ""


def test_a_forked_child_leaves_it_alone(run):
    code = """
        import os
        import zmqcy
        from zmqcy.auth import Authenticator
        context = zmqcy.Context()
        authenticator = Authenticator(context, null=True)
        authenticator.start()
        child = os.fork()
        if child == 0:
            authenticator.stop()
            try:
                authenticator.start()
            except zmqcy.ForkedError:
                with zmqcy.Context() as own, Authenticator(own):
                    os._exit(7)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        question = context.socket(zmqcy.REQ, rcvtimeo=10_000)
        question.connect("inproc://zeromq.zap.01")
        question.send_multipart([b"1.0", b"", b"", b"127.0.0.1", b"", b"NULL"])
        print(question.recv_multipart()[2])
        context.destroy()
    """
    assert run(code).stdout == "7\nb'200'\n"


# -------------------------------------------------------------------------------------------------------------- asyncio


def test_in_a_task():
    async def decide(username, password):
        await asyncio.sleep(0)
        return username if password == "right" else None

    async def main():
        async with zmqcy.asyncio.Context(linger=0) as ctx:
            async with Authenticator(ctx, plain=decide) as authenticator:
                assert authenticator.running
                with pytest.raises(zmqcy.StateError):
                    authenticator.start()
                server = ctx.socket(zmqcy.PULL)
                server.serve_plain()
                server.bind(TCP)
                for password, name in (("wrong", "HANDSHAKE_FAILED_AUTH"), ("right", "HANDSHAKE_SUCCEEDED")):
                    client = ctx.socket(zmqcy.PUSH, reconnect_ivl=-1)
                    client.use_plain("friend", password)
                    async with server.watch(FAILED) as events:
                        client.connect(server.last_endpoint)
                        assert (await events.recv(LIMIT)).name == name
                await client.send(b"x")
                assert (await server.recv(copy=False, timeout=LIMIT)).get("User-Id") == "friend"
                late = ctx.socket(zmqcy.PULL)
                late.serve_curve(SERVER, "domain")  # looks for the handler
            assert not authenticator.running
            async with Authenticator(ctx):  # is free again, at once
                pass
            async with authenticator:
                await ctx.aclose()
            assert not authenticator.running

    asyncio.run(asyncio.wait_for(main(), LIMIT / 1000))


def test_a_task_that_is_cancelled():
    async def hold(ctx, begun):
        async with Authenticator(ctx):
            begun.set()
            await asyncio.get_running_loop().create_future()

    async def main():
        with zmqcy.Context() as ctx:
            begun = asyncio.Event()
            task = asyncio.create_task(hold(ctx, begun))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with Authenticator(ctx):
                pass

    asyncio.run(asyncio.wait_for(main(), LIMIT / 1000))


def test_the_handler_outlives_what_goes_wrong(ctx, ask, monkeypatch, caplog):
    """An error in its own loop, such as MemoryError, does not end it: libzmq would accept all peers."""
    receive, failed = zmqcy.asyncio.Socket.recv_multipart, threading.Event()

    def scarce(self):
        if not failed.is_set():
            failed.set()
            raise MemoryError
        return receive(self)

    monkeypatch.setattr("zmqcy.auth.Socket.recv_multipart", scarce)
    with Authenticator(ctx, null=True) as authenticator:
        assert failed.wait(LIMIT / 1000)
        assert ask(b"NULL") == (200, "")
        assert authenticator.running
    assert "MemoryError" in caplog.text


@pytest.fixture
def pyzmq():
    """A function that creates a socket of pyzmq, which has its own libzmq."""
    zmq = pytest.importorskip("zmq")
    made = []

    def make(socket_type):
        made.append(context.socket(socket_type))
        made[-1].linger, made[-1].rcvtimeo, made[-1].sndtimeo = 0, LIMIT, LIMIT
        return made[-1]

    with zmq.Context() as context:
        yield make
        for each in made:
            each.close()


def test_a_client_of_pyzmq(ctx, serve, pyzmq):
    with Authenticator(ctx, curve=[FRIEND], plain={"friend": "right"}):
        server = serve(curve_server)
        for own, name in ((STRANGER, "HANDSHAKE_FAILED_AUTH"), (FRIEND, "HANDSHAKE_SUCCEEDED")):
            client = pyzmq(zmqcy.PUSH)
            client.reconnect_ivl = -1
            client.curve_serverkey, client.curve_publickey, client.curve_secretkey = (
                SERVER.public,
                own.public,
                own.secret,
            )
            client.connect(server.endpoint)
            assert server.events.recv(LIMIT).name == name
        client.send(b"from pyzmq")
        assert server.socket.recv(copy=False).get("User-Id") == FRIEND.public.decode()
        server, client = serve(plain_server), pyzmq(zmqcy.PUSH)
        client.plain_username, client.plain_password = b"friend", b"right"
        client.connect(server.endpoint)
        client.send(b"from pyzmq")
        assert server.socket.recv(copy=False).get("User-Id") == "friend"


def test_a_server_of_pyzmq(socket, pyzmq):
    server = pyzmq(zmqcy.PULL)
    server.curve_server, server.curve_secretkey = True, SERVER.secret
    server.bind(TCP)
    client = socket(zmqcy.PUSH)
    client.use_curve(SERVER.public)
    client.connect(server.last_endpoint.decode())
    client.send(b"to pyzmq")
    assert server.recv() == b"to pyzmq"


@pytest.mark.parametrize("number", range(3))
def test_the_programs_of_the_page_run(run, tmp_path, number):
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(programs) == 3
    assert run(programs[number], cwd=tmp_path, env={"PYTHONPATH": str(PAGE.parent.parent)}).stdout


def test_many_at_once(ctx, serve, socket):
    """Well-behaved peers are accepted while others try without a pause."""
    with Authenticator(ctx, curve=[FRIEND]):
        server = serve(curve_server)
        bad = [socket(zmqcy.PUSH, reconnect_ivl=1) for _ in range(5)]
        for each in bad:
            each.use_curve(SERVER, STRANGER)
            each.connect(server.endpoint)
        refused = served = 0
        deadline = monotonic() + LIMIT / 1000
        for number in range(10):
            good = server.client(curve_client(FRIEND))
            good.send(b"%d" % number)
            assert server.socket.recv() == b"%d" % number
            good.close()
        while served < 10 and monotonic() < deadline:
            event = server.events.recv(LIMIT)
            served += event.name == "HANDSHAKE_SUCCEEDED"
            refused += event.name == "HANDSHAKE_FAILED_AUTH"
        assert served == 10 and refused >= 1


# ---------------------------------------------------------------------------------------- received data is not executed


def test_nothing_executes_what_arrives():
    """No module calls functions that turn data into code, except those required by pyzmq's API (zmqcy.compat)."""
    package = Path(zmqcy.__file__).parent
    names = {"eval", "exec", "compile", "__import__", "pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
    found = []
    sources = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] != "compat"]
    assert len(sources) > 10
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used = {(node.module or "").partition(".")[0], *(alias.name for alias in node.names)}
            elif isinstance(node, ast.Name):
                used = {node.id}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                used = {node.value}  # for import_module and getattr
            else:
                continue
            found += [(path.name, node.lineno, name) for name in used & names]
    for path in package.glob("*.pyx"):  # ast cannot read them: search for calls and imports
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.partition("#")[0]
            calls = re.findall(r"(?<![.\w])(eval|exec|compile|__import__)\s*\(", code)
            imports = re.findall(r"\bc?import\b.*\b(pickle|marshal|shelve)\b|\bfrom (pickle|marshal|shelve)\b", code)
            found += [(path.name, number, name) for name in [*calls, *imports]]
    assert found == []
