"""Options of sockets and contexts: every row of the table, how values are refused, and what options do."""

import os
import re
import socket as sockets
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rows import rows
from zmq_h import PATH, SECTIONS

import zmqcy
from zmqcy import SocketType
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS

STABLE_TYPES = [kind for kind in SocketType if kind <= zmqcy.STREAM]
OPTIONS = {option.name: option for option in SOCKET_OPTIONS}
KINDS = {"int", "bool", "int64", "uint64", "fd", "duration", "bytes", "string", "key"}

# Options that the header counts among its drafts and that libzmq has in every build.
NO_DRAFTS_REALLY = {
    "zap_enforce_domain",
    "loopback_fastpath",
    "metadata",
    "multicast_loop",
    "xpub_manual_last_value",
    "socks_username",
    "socks_password",
    "only_first_subscribe",
    "reconnect_stop",
}
NO_DRAFTS_REALLY |= {"topics_count"} if zmqcy.zmq_version_info() >= (4, 3, 5) else set()

# The types of sockets that have an option, where not every type has it. (To libzmq a REP is a ROUTER too.)
TYPES = {
    "subscribe": [zmqcy.SUB],
    "unsubscribe": [zmqcy.SUB],
    "router_mandatory": [zmqcy.ROUTER],
    "router_raw": [zmqcy.ROUTER],
    "router_handover": [zmqcy.ROUTER],
    "router_notify": [zmqcy.ROUTER],
    "probe_router": [zmqcy.ROUTER, zmqcy.DEALER, zmqcy.REQ],
    "req_correlate": [zmqcy.REQ],
    "req_relaxed": [zmqcy.REQ],
    "connect_routing_id": [zmqcy.ROUTER, zmqcy.STREAM],
    "stream_notify": [zmqcy.STREAM],
    "xpub_verbose": [zmqcy.XPUB, zmqcy.PUB],
    "xpub_verboser": [zmqcy.XPUB, zmqcy.PUB],
    "xpub_nodrop": [zmqcy.XPUB, zmqcy.PUB],
    "xpub_manual": [zmqcy.XPUB, zmqcy.PUB],
    "xpub_manual_last_value": [zmqcy.XPUB, zmqcy.PUB],
    "xpub_welcome_msg": [zmqcy.XPUB, zmqcy.PUB],
    "only_first_subscribe": [zmqcy.XPUB, zmqcy.PUB, zmqcy.XSUB],
    "xsub_verbose_unsubscribe": [zmqcy.XSUB],
    "topics_count": [zmqcy.XPUB, zmqcy.PUB, zmqcy.XSUB, zmqcy.SUB],
}

KEY = b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
VALUES = {
    "int": [0, 1, 7, 100_000],
    "bool": [True, False],
    "int64": [-1, 0, 1, 1 << 40, (1 << 63) - 1],
    "uint64": [0, 1, 1 << 40, (1 << 64) - 1],
    "fd": [3, -1],
    "duration": [0, 1, 2_000, (1 << 31) - 1],
    "bytes": [b"a", b"\0\xff", bytes(range(255))],
    "string": ["a", "name", "\u00fc\u20ac", "a" * 255],
    "key": [KEY, b"0" * 40],
}
VALUES_OF = {
    "rate": [1, 100_000],
    "sndbuf": [-1, 0, 4096],
    "rcvbuf": [-1, 0, 4096],
    "multicast_hops": [1, 255],
    "multicast_maxtpdu": [1, 1500],
    "tcp_keepalive": [-1, 0, 1],
    "tcp_keepalive_cnt": [-1, 0, 5],
    "tcp_keepalive_idle": [-1, 0, 5],
    "tcp_keepalive_intvl": [-1, 0, 5],
    "tcp_accept_filter": ["127.0.0.1", "10.0.0.0/8", None],
    "heartbeat_ttl": [0, 100, 6_553_500],  # libzmq keeps tenths of a second
    "gssapi_principal_nametype": [0, 1, 2],
    "gssapi_service_principal_nametype": [0, 1, 2],
    "bindtodevice": ["lo", "eth0"],
    "metadata": ["X-key:value"],
    "norm_mode": [0, 1, 4],
    "in_batch_size": [1, 65536],
    "out_batch_size": [1, 65536],
    "norm_buffer_size": [1, 2048],
    "norm_segment_size": [1, 1400],
    "norm_block_size": [1, 16],
    "busy_poll": [0],
    "reconnect_stop": [0, 1],
    "router_notify": [0, 1, 3],
}
FOR_EVER = ["linger", "reconnect_ivl", "rcvtimeo", "sndtimeo"]  # durations that may be -1
SECRETS = ["plain_password", "curve_secretkey", "socks_password"]  # texts of errors do not show them
# Nor these, which a secret may be set to by mistake.
NOT_SHOWN = [*SECRETS, "curve_server", "plain_server", "curve_publickey", "curve_serverkey", "wss_key_pem"]
WITHOUT_NONE = ["zap_domain", "gssapi_principal", "gssapi_service_principal"]  # strings that cannot be unset


def there(option):
    """Tell whether the libzmq that is loaded has an option."""
    for part in ("curve", "gssapi", "vmci", "norm", "wss"):
        if option.name.startswith(part + "_") and not zmqcy.has(part):
            return False
    if option.number > 112 and zmqcy.zmq_version_info() < (4, 3, 5):
        return False
    return not option.draft or zmqcy.has("draft") or option.name in NO_DRAFTS_REALLY


def options(access="", kinds=KINDS, draft=None, missing=True):
    """Return the options of sockets that have some access, as parameters named after them; `missing`: in libzmq too."""
    rows = (
        option
        for option in SOCKET_OPTIONS
        if set(access) <= set(option.access) and option.kind in kinds and draft in (None, option.draft)
        if missing or there(option)
    )
    return [pytest.param(option, id=option.name) for option in rows]


def values(option):
    return VALUES_OF.get(option.name, VALUES[option.kind])


def owner_types(option):
    return TYPES.get(option.name, STABLE_TYPES)


def refused(call, option, value, kind):
    """Return the start of the text for a value that libzmq refuses."""
    return f"{call} {option}={value!r:.80} ({SocketType(kind).name}): "


# ---- the table


def test_table_is_consistent():
    numbers = [option.number for option in SOCKET_OPTIONS]
    assert numbers == sorted(set(numbers))
    assert len(OPTIONS) == len(SOCKET_OPTIONS)
    names = [option.name for option in CONTEXT_OPTIONS]
    assert len(names) == len(set(names))
    for option in SOCKET_OPTIONS + CONTEXT_OPTIONS:
        assert option.name == option.name.lower()
        assert option.kind in KINDS
        assert option.access in ("r", "w", "rw")
        assert option.text.endswith(".")
        assert repr(option) == f"<Option {option.name} = {option.number}>"
    for option in SOCKET_OPTIONS:
        assert option.kind != "duration" or option.unit in ("ms", "s")


with_header = pytest.mark.skipif(PATH is None, reason="there is no zmq.h")


def of_header(*sections):
    found = {}
    for section in sections:
        found |= SECTIONS.get(section, {})
    return found


@with_header
def test_socket_options_are_those_of_header():
    header = of_header("Socket options", "DRAFT Socket options", "Deprecated options and aliases")
    for name in ("BLOCKY", "NOBLOCK"):  # of contexts; of send
        header.pop(name)
    aliases = {alias.upper(): OPTIONS[name].number for alias, name in ALIASES.items()}
    ours = {option.name.upper(): option.number for option in SOCKET_OPTIONS}
    assert header.items() <= (ours | aliases).items()
    newest = max(header.values())
    assert {name for name, number in ours.items() if number <= newest} <= header.keys()


@with_header
def test_drafts_are_those_of_header():
    stable = of_header("Socket options", "Deprecated options and aliases")
    drafts = of_header("DRAFT Socket options")
    for option in SOCKET_OPTIONS:
        if option.name.upper() in stable:
            assert not option.draft, option
        if option.name.upper() in drafts:
            assert option.draft, option


@with_header
def test_context_options_are_those_of_header():
    header = of_header("Context options", "DRAFT Context options") | {"IPV6": 42, "BLOCKY": 70}
    ours = {option.name.upper(): option.number for option in CONTEXT_OPTIONS}
    assert header.items() <= ours.items()
    assert ours.keys() - header.keys() <= {"ZERO_COPY_RECV"}


@rows("option", options())
def test_constant(option):
    constant = getattr(zmqcy, option.name.upper())
    assert constant is zmqcy.SocketOption(option.number)
    assert constant.name == option.name.upper()


@rows("option", CONTEXT_OPTIONS, ids=lambda option: option.name)
def test_constant_of_context(option):
    assert zmqcy.ContextOption[option.name.upper()] == option.number
    assert getattr(zmqcy, option.name.upper()) == option.number


@rows("option", options())
def test_documented(option):
    text = getattr(zmqcy.Socket, option.name).__doc__
    assert text and text.strip()
    assert option.unit in text
    if option.name not in ("subscribe", "unsubscribe"):
        assert option.text in text
        assert ("read only" in text) == (option.access == "r")
        assert ("write only" in text) == (option.access == "w")


@rows("option", CONTEXT_OPTIONS, ids=lambda option: option.name)
def test_documented_of_context(option):
    text = getattr(zmqcy.Context, option.name).__doc__
    assert text and option.text in text
    assert option.unit in text


@rows("option", [each for each in options("w") if each.id != "ipv6"])
def test_documented_default_of_context(option):
    text = getattr(zmqcy.Context, option.name).__doc__
    assert text and option.text in text


def test_units_of_defaults_of_context():
    missing = [
        option.name
        for option in SOCKET_OPTIONS
        if "w" in option.access and option.unit not in getattr(zmqcy.Context, option.name).__doc__
    ]
    assert missing == []


# ---- setting and reading


@rows("option", options("rw", missing=False))
def test_round_trip(socket, option):
    """Set as attribute and by number, read as attribute and by number."""
    for value in values(option):
        one = socket(owner_types(option)[0])
        setattr(one, option.name, value)
        assert getattr(one, option.name) == value
        assert type(getattr(one, option.name)) is type(value)
        raw = value.encode() if isinstance(value, str) else value
        assert one.getsockopt(option.number) == raw
        other = socket(owner_types(option)[0])
        other.setsockopt(option.number, raw)
        assert getattr(other, option.name) == value
        third = socket(owner_types(option)[0], **{option.name: value})
        assert getattr(third, option.name) == value


@rows("option", options("r", missing=False))
def test_readable_on_every_type(socket, option):
    expected = {"bool": bool, "bytes": bytes, "string": str, "key": bytes}.get(option.kind, int)
    for kind in owner_types(option):
        one = socket(kind)
        value = getattr(one, option.name)
        assert type(value) is expected
        raw = one.getsockopt(option.number)
        assert type(raw) is {bool: int, str: bytes}.get(expected, expected)
        assert one.get(getattr(zmqcy, option.name.upper())) == raw


@rows("option", [each for each in options("w", missing=False) if "r" not in OPTIONS[each.id].access])
def test_write_only(socket, option):
    for kind in owner_types(option):
        for value in values(option):
            one = socket(kind)
            if option.name == "unsubscribe":
                one.subscribe(value)
            if option.name == "subscribe":
                one.subscribe(value)
            elif option.name == "unsubscribe":
                one.unsubscribe(value)
            else:
                setattr(one, option.name, value)
                with pytest.raises(AttributeError, match=f"{option.name} cannot be read"):
                    getattr(one, option.name)
            socket(kind).setsockopt(option.number, value)
        with pytest.raises(zmqcy.InvalidArgument, match=rf"^getsockopt {option.name} \({kind.name}\): "):
            one.getsockopt(option.number)


@rows("option", [each for each in options("r") if "w" not in OPTIONS[each.id].access])
def test_read_only(socket, option):
    one = socket(owner_types(option)[0])
    value = 1
    with pytest.raises(AttributeError, match=f"{option.name} cannot be set"):
        setattr(one, option.name, value)
    with pytest.raises(zmqcy.InvalidArgument, match=re.escape(f"setsockopt {option.name}=")):
        one.setsockopt(option.number, b"1" if option.kind == "string" else 1)


@rows("option", [each for each in options() if each.id in TYPES])
def test_option_of_another_type(socket, option):
    one = socket(zmqcy.PAIR)
    if "w" in option.access:
        value = values(option)[-1]
        text = re.escape(refused("setsockopt", option.name, value, zmqcy.PAIR))
        with pytest.raises(zmqcy.InvalidArgument, match=text):
            one.setsockopt(option.number, value)
    else:
        with pytest.raises(zmqcy.InvalidArgument, match=f"{option.name} .PAIR.: "):
            one.getsockopt(option.number)


@pytest.mark.skipif(zmqcy.has("draft"), reason="this libzmq has draft sockets")
@rows("option", [each for each in options(draft=True) if each.id not in NO_DRAFTS_REALLY])
def test_draft_without_draft(socket, option):
    """The property is there, and libzmq refuses it."""
    one = socket(owner_types(option)[0])
    assert option.name in dir(one)
    if "r" in option.access:
        with pytest.raises(zmqcy.InvalidArgument, match=f"^get {option.name} "):
            getattr(one, option.name)
        with pytest.raises(zmqcy.InvalidArgument, match=f"^getsockopt {option.name} "):
            one.getsockopt(option.number)
    if "w" in option.access:
        value = values(option)[-1]
        with pytest.raises(zmqcy.InvalidArgument, match=f"^set {option.name}=") as caught:
            setattr(one, option.name, value)
        assert isinstance(caught.value, ValueError)
        assert caught.value.errno == zmqcy.EINVAL


def test_documentation_of_what_every_build_has():
    """Who is told to ask has("draft") first would do without options that are there."""
    misleading = [name for name in sorted(NO_DRAFTS_REALLY) if "has('draft')" in getattr(zmqcy.Socket, name).__doc__]
    assert misleading == []


@rows("option", [each for each in options(draft=False) if not there(OPTIONS[each.id])])
def test_option_of_what_was_not_built_in(socket, option):
    with pytest.raises(zmqcy.InvalidArgument, match=f"^get {option.name} "):
        getattr(socket(zmqcy.PUSH), option.name)


@rows("option", [each for each in options("w", {"string"}, missing=False) if each.id != "metadata"])
def test_string_is_unset_by_none(socket, option):
    one = socket(owner_types(option)[0])
    if option.name in WITHOUT_NONE:
        with pytest.raises(zmqcy.InvalidArgument, match=f"^set {option.name}=None "):
            setattr(one, option.name, None)
        return
    setattr(one, option.name, values(option)[0])
    setattr(one, option.name, None)
    if option.name in ("plain_username", "plain_password"):  # libzmq keeps the words, and asks for them no more
        assert one.mechanism == zmqcy.NULL
    elif "r" in option.access:
        assert getattr(one, option.name) == ""


@rows("option", options("w", {"string"}))
@rows("value", ["a\0b", b"a\0b", "\0", b"a\0"])
def test_nul_in_string(socket, option, value):
    """libzmq would cut the string there."""
    one = socket(owner_types(option)[0])
    with pytest.raises(ValueError, match=f"^set: {option.name} has a NUL"):
        setattr(one, option.name, value)
    with pytest.raises(ValueError, match=f"^setsockopt: {option.name} has a NUL"):
        one.setsockopt(option.number, value)


@rows("option", options("rw", {"string"}, draft=False, missing=False))
def test_string_as_bytes(socket, option):
    one = socket(zmqcy.PUSH)
    setattr(one, option.name, b"words")
    assert getattr(one, option.name) == "words"
    assert one.getsockopt(option.number) == b"words"


def test_string_that_is_no_utf8(socket):
    push = socket(zmqcy.PUSH, zap_domain=b"\xff\xfe")
    assert push.getsockopt(zmqcy.ZAP_DOMAIN) == b"\xff\xfe"
    assert push.zap_domain.encode("utf-8", "surrogateescape") == b"\xff\xfe"


@rows("kind", [bytes, bytearray, memoryview])
def test_bytes_from_any_buffer(socket, kind):
    dealer = socket(zmqcy.DEALER, routing_id=kind(b"name"))
    assert dealer.routing_id == b"name"
    dealer.setsockopt(zmqcy.ROUTING_ID, kind(b"other"))
    assert dealer.getsockopt(zmqcy.IDENTITY) == b"other"


def test_identity_is_routing_id(socket):
    dealer = socket(zmqcy.DEALER, identity=b"one")
    assert dealer.routing_id == dealer.identity == b"one"


@rows("name", ["plain_server", "curve_server"])
def test_mechanism(socket, name):
    push = socket(zmqcy.PUSH)
    assert push.mechanism == zmqcy.NULL
    if name == "curve_server" and not zmqcy.has("curve"):
        pytest.skip("this libzmq has no CURVE")
    setattr(push, name, True)
    assert push.mechanism == {"plain_server": zmqcy.SecurityMechanism.PLAIN, "curve_server": zmqcy.CURVE}[name]
    setattr(push, name, False)
    assert push.mechanism == zmqcy.NULL


def test_reading_what_cannot_be_set(pair):
    bound, connected = pair(zmqcy.PAIR, zmqcy.PAIR)
    assert bound.type == connected.type == zmqcy.PAIR
    assert bound.fd == bound.fileno() >= 0
    assert not bound.thread_safe
    assert connected.last_endpoint == bound.last_endpoint
    assert connected.getsockopt(zmqcy.LAST_ENDPOINT) == bound.last_endpoint.encode()
    connected.send_multipart([b"first", b"second"])
    assert bound.poll(10_000) == zmqcy.POLLIN
    assert bound.events & zmqcy.POLLIN
    assert bound.recv() == b"first"
    assert bound.rcvmore is True
    assert bound.getsockopt(zmqcy.RCVMORE) == 1
    assert bound.recv() == b"second"
    assert bound.rcvmore is False
    assert not bound.events & zmqcy.POLLIN


def test_ipv4only_is_the_reverse_of_ipv6(socket):
    push = socket(zmqcy.PUSH, ipv6=True)
    assert push.ipv4only is False
    push.ipv4only = True
    assert push.ipv6 is False


INTEGERS = {
    "affinity": st.integers(0, (1 << 64) - 1),
    "maxmsgsize": st.integers(-(1 << 63), (1 << 63) - 1),
    "sndhwm": st.integers(0, (1 << 31) - 1),
    "rcvhwm": st.integers(0, (1 << 31) - 1),
    "sndbuf": st.integers(-1, (1 << 31) - 1),
    "backlog": st.integers(0, (1 << 31) - 1),
    "tos": st.integers(0, (1 << 31) - 1),
    "rate": st.integers(1, (1 << 31) - 1),
    "linger": st.integers(-1, (1 << 31) - 1),
    "rcvtimeo": st.integers(-1, (1 << 31) - 1),
    "heartbeat_ivl": st.integers(0, (1 << 31) - 1),
    "use_fd": st.integers(-1, (1 << 31) - 1),
}
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@rows("name", INTEGERS)
def test_any_integer(socket, name):
    pair = socket(zmqcy.PAIR)

    @settings(max_examples=30)
    @given(INTEGERS[name])
    def check(value):
        setattr(pair, name, value)
        assert getattr(pair, name) == pair.getsockopt(OPTIONS[name].number) == value

    check()
    pair.linger = 0


@many
@given(routing_id=st.binary(min_size=1, max_size=255))
@example(routing_id=b"\0")
@example(routing_id=b"abcd")  # of the size of an int
@example(routing_id=b"\0" * 8)
def test_any_routing_id(ctx, routing_id):
    with ctx.socket(zmqcy.DEALER, linger=0) as dealer:
        dealer.routing_id = routing_id
        assert dealer.routing_id == dealer.getsockopt(zmqcy.ROUTING_ID) == routing_id


@rows("routing_id", [b"", b"a" * 256])
def test_routing_id_of_wrong_length(socket, routing_id):
    with pytest.raises(zmqcy.InvalidArgument, match=r"^set routing_id=b'"):
        socket(zmqcy.DEALER).routing_id = routing_id


def test_routing_id_is_what_router_sees(pair):
    router, dealer = pair(zmqcy.ROUTER, zmqcy.DEALER, connected_options={"routing_id": b"\1me"})
    dealer.send(b"hello")
    assert router.recv_multipart() == [b"\1me", b"hello"]


@rows("values", [(1, True), (0, False), (True, True), (False, False)], ids=lambda values: f"{values[0]!r}")
def test_bool_takes_0_and_1(socket, values):
    push = socket(zmqcy.PUSH)
    push.immediate = values[0]
    assert push.immediate is values[1]
    assert type(push.getsockopt(zmqcy.IMMEDIATE)) is int


# ---- durations


@rows("option", options("rw", {"duration"}, missing=False))
def test_duration_as_timedelta(socket, option):
    push = socket(zmqcy.PUSH)
    setattr(push, option.name, timedelta(minutes=2))
    assert getattr(push, option.name) == 120_000
    push.setsockopt(option.number, timedelta(seconds=1))
    assert getattr(push, option.name) == 1_000
    setattr(push, option.name, timedelta(0))
    assert getattr(push, option.name) == 0


@rows("option", options("rw", {"duration"}, missing=False))
@rows("value", [None, -1, float("inf")])
def test_duration_for_ever(socket, option, value):
    push = socket(zmqcy.PUSH)
    if option.name in FOR_EVER:
        setattr(push, option.name, value)
        assert getattr(push, option.name) == -1
    elif option.name == "heartbeat_ttl":  # libzmq counts tenths of a second
        setattr(push, option.name, value)
        assert getattr(push, option.name) == 0
    else:
        with pytest.raises(zmqcy.InvalidArgument, match=f"^set {option.name}="):
            setattr(push, option.name, value)
    push.linger = 0


@rows(
    ("value", "milliseconds"),
    [(1.5, 2), (2.0, 2), (0.0, 0), (timedelta(microseconds=1), 1), (timedelta(microseconds=1500), 2)],
)
def test_duration_is_rounded_up(socket, value, milliseconds):
    push = socket(zmqcy.PUSH, sndtimeo=value)
    assert push.sndtimeo == milliseconds


@many
@given(milliseconds=st.integers(0, (1 << 31) - 1))
@example(milliseconds=16_100)
@example(milliseconds=1_009)
def test_timedelta_is_exact(socket, milliseconds):
    push = socket(zmqcy.PUSH, sndtimeo=timedelta(milliseconds=milliseconds))
    assert push.sndtimeo == milliseconds
    push.close()


@rows("value", [timedelta(milliseconds=-1), timedelta(days=-1), float("nan")])
def test_duration_that_is_none(socket, value):
    with pytest.raises(ValueError, match=r"^set sndtimeo: "):
        socket(zmqcy.PUSH).sndtimeo = value


@rows("value", [-2, -2.0, -1000])
def test_negative_duration(socket, value):
    """-1 alone is for ever, and a float of it."""
    push = socket(zmqcy.PUSH, sndtimeo=5)
    with pytest.raises(ValueError, match=r"^set sndtimeo"):
        push.sndtimeo = value
    assert push.sndtimeo == 5
    push.sndtimeo = -1.0
    assert push.sndtimeo == -1


# ---- values that are refused

WRONG_TYPES = {
    "int": ["1", b"1", 1.5, None, [], object()],
    "fd": ["1", None, 1.0],
    "bool": ["yes", None, 0.5, []],
    "int64": ["1", None, 1.5],
    "uint64": ["1", None, 1.5],
    "duration": ["1", b"1", [], object(), 1j],
    "bytes": [1, None, 1.5, "text", ["a"]],
    "string": [1, 1.5, ["a"], object()],
    "key": [1, 1.5, None, [KEY]],
}


@rows("option", options("w"))
def test_wrong_type(socket, option):
    one = socket(owner_types(option)[0])
    for value in WRONG_TYPES[option.kind]:
        shown = "" if option.name in NOT_SHOWN else re.escape(f"{value!r:.80}")
        with pytest.raises(TypeError, match=rf"^setsockopt:? {option.name}.*{shown}"):
            one.setsockopt(option.number, value)
        if option.name not in ("subscribe", "unsubscribe"):
            with pytest.raises(TypeError, match=rf"^set:? {option.name}.*{shown}"):
                setattr(one, option.name, value)
        elif not isinstance(value, str):  # which the methods take
            with pytest.raises(TypeError, match=rf"^{option.name}: .*{shown}"):
                getattr(one, option.name)(value)


def test_scattered_buffer(socket):
    with pytest.raises(BufferError):
        socket(zmqcy.DEALER).routing_id = memoryview(b"abcdef")[::2]


OUT_OF_RANGE = {
    "int": [1 << 31, -(1 << 31) - 1, 10**400],
    "fd": [1 << 31, -(1 << 31) - 1],
    "bool": [1 << 31, 1 << 64],
    "int64": [1 << 63, -(1 << 63) - 1, 10**400],
    "uint64": [1 << 64, -1, 10**400],
    "duration": [1 << 31, 1 << 40, 10**400, -(1 << 31) - 1, timedelta(days=30), 1e300],
}


@rows("option", options("w", OUT_OF_RANGE.keys()))
def test_out_of_range(socket, option):
    """It names call, option and value; OverflowError and struct.error are nothing that a user is to know."""
    one = socket(owner_types(option)[0])
    for value in OUT_OF_RANGE[option.kind]:
        for call, act in (
            ("set", lambda value: setattr(one, option.name, value)),
            ("setsockopt", lambda value: one.setsockopt(option.number, value)),
        ):
            with pytest.raises(ValueError, match=rf"^{call}:? {option.name}.*\d") as caught:
                act(value)
            assert not isinstance(caught.value, zmqcy.ZMQError)


REFUSED = {
    "sndhwm": [-1, -(1 << 31)],
    "rcvhwm": [-1],
    "rate": [0, -1],
    "recovery_ivl": [-1],
    "sndbuf": [-2],
    "rcvbuf": [-2],
    "linger": [-2],
    "reconnect_ivl": [-2],
    "reconnect_ivl_max": [-1],
    "backlog": [-1],
    "multicast_hops": [0],
    "multicast_maxtpdu": [0],
    "rcvtimeo": [-2],
    "sndtimeo": [-2],
    "tcp_keepalive": [2, -2],
    "tcp_keepalive_cnt": [-2],
    "immediate": [2, -1],
    "ipv6": [2],
    "conflate": [2],
    "plain_server": [2],
    "plain_username": ["", "a" * 256],
    "plain_password": [""],
    "zap_domain": [""],
    "tos": [-1],
    "handshake_ivl": [-1],
    "heartbeat_ivl": [-1],
    "heartbeat_ttl": [-100, 6_553_600],
    "heartbeat_timeout": [-1],
    "connect_timeout": [-1],
    "tcp_maxrt": [-1],
    "use_fd": [-2],
    "bindtodevice": ["a" * 17],
    "tcp_accept_filter": ["nonsense"],
    "routing_id": [b"", b"a" * 256],
    "curve_publickey": [b"", b"a" * 31, b"a" * 33, b"a" * 39, b'"' * 40],
    "curve_secretkey": [b"a" * 31],
    "curve_serverkey": [b"a" * 31],
    "gssapi_principal": ["a" * 256],
    "gssapi_principal_nametype": [-1, 3],
}


@rows(
    ("name", "value"),
    [(name, value) for name, refusals in REFUSED.items() for value in refusals],
    ids=lambda each: f"{each!r:.12}",
)
def test_refused_by_libzmq(socket, name, value):
    option = OPTIONS[name]
    if not there(option):
        pytest.skip(f"this libzmq has no {name}")
    push = socket(zmqcy.PUSH)
    before = getattr(push, name) if "r" in option.access else None
    for call, act in (
        ("set", lambda: setattr(push, name, value)),
        ("setsockopt", lambda: push.setsockopt(option.number, value)),
    ):
        with pytest.raises(zmqcy.InvalidArgument) as caught:
            act()
        error = caught.value
        assert isinstance(error, zmqcy.ZMQError) and isinstance(error, ValueError)
        assert error.errno == zmqcy.EINVAL
        if name in NOT_SHOWN and not isinstance(value, int):
            assert str(error).startswith(f"{call} {name}=({len(value)} secret characters) (PUSH): ")
        else:
            raw = value.encode() if isinstance(value, str) else value
            texts = (refused(call, name, value, zmqcy.PUSH), refused(call, name, raw, zmqcy.PUSH))
            assert str(error).startswith(texts)
        assert (error.call, error.socket_type) == (call, "PUSH")
    if "r" in option.access:
        assert getattr(push, name) == before


@rows("name", SECRETS)
@rows("value", ["hunter2\0", b"hunter2\0", b"hunter2" * 40, "hunter2" * 40, ["hunter2"]])
def test_secrets_are_not_shown(socket, name, value):
    """Texts of errors end up in logs."""
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        setattr(socket(zmqcy.PUSH), name, value)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown_where_they_are_set_by_mistake(socket):
    push = socket(zmqcy.PUSH)
    for name in NOT_SHOWN:
        for value in ("hunter2" * 40, b"hunter2\0", 42424242):
            with pytest.raises((ValueError, TypeError, zmqcy.ZMQError), match=name) as caught:
                setattr(push, name, value)
            if not (isinstance(value, int) and name.endswith("server")):
                assert "hunter2" not in str(caught.value) and "4242" not in str(caught.value)


# ---- unknown names and numbers


@rows("value", [1, b"x"])
@rows("number", [9999, 255, 256, 10, -1, (1 << 31) - 1])
def test_unknown_number(socket, number, value):
    push = socket(zmqcy.PUSH)
    with pytest.raises(zmqcy.InvalidArgument, match=rf"^setsockopt option {number}={value!r} \(PUSH\): "):
        push.setsockopt(number, value)
    with pytest.raises(zmqcy.InvalidArgument, match=rf"^getsockopt option {number} \(PUSH\): "):
        push.getsockopt(number)


def test_unknown_number_with_wrong_type(socket):
    push = socket(zmqcy.PUSH)
    for value in (None, 1.5, "text"):
        with pytest.raises(TypeError, match=r"^setsockopt:? option 9999"):
            push.setsockopt(9999, value)
    with pytest.raises(ValueError, match="option 9999"):
        push.setsockopt(9999, 1 << 40)


@rows("call", ["getsockopt", "setsockopt"])
def test_number_that_is_none(socket, call):
    push = socket(zmqcy.PUSH)
    more = () if call == "getsockopt" else (1,)
    for option in ("linger", None, 1.5, b"17"):
        with pytest.raises(TypeError, match=re.escape(f"{call}: option must be an int, not {option!r}")):
            getattr(push, call)(option, *more)
    with pytest.raises(ValueError, match=f"^{call}: option must be between"):
        getattr(push, call)(1 << 31, *more)


@rows(
    ("name", "nearest"),
    [
        ("rcvhmw", "rcvhwm"),
        ("RCVHWM", "rcvhwm"),
        ("lingr", "linger"),
        ("routingid", "routing_id"),
        ("recieve", "recv"),  # codespell:ignore recieve
    ],
)
def test_setting_an_unknown_attribute(socket, name, nearest):
    push = socket(zmqcy.PUSH)
    with pytest.raises(AttributeError, match=f"'{name}'") as caught:
        setattr(push, name, 1)
    if nearest != "recv":
        assert f"{nearest!r}" in str(caught.value)
    assert caught.value.name == name
    assert caught.value.obj is push
    with pytest.raises(AttributeError):
        getattr(push, name)


def test_setting_an_attribute_like_no_other(socket):
    with pytest.raises(AttributeError, match=r"has no attribute 'zzzzzz'$"):
        socket(zmqcy.PUSH).zzzzzz = 1


def test_unknown_option_of_a_new_socket(ctx):
    with pytest.raises(AttributeError, match="'rcvhwm'"):
        ctx.socket(zmqcy.PULL, rcvhmw=1)
    assert ctx._open_sockets() == []


def test_reading_an_unknown_attribute(socket):
    push = socket(zmqcy.PUSH)
    with pytest.raises(AttributeError, match="'rcvhmw'") as caught:
        push.rcvhmw  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("rcvhmw", push)
    assert not hasattr(push, "rcvhmw")


def test_traceback_of_unknown_attribute_suggests_the_nearest(run):
    done = run(
        """
        import zmqcy
        with zmqcy.Context() as ctx, ctx.socket(zmqcy.PUSH, linger=0) as push:
            push.rcvhmw
        """,
        check=False,
    )
    assert done.returncode == 1
    assert "AttributeError: 'Socket' object has no attribute 'rcvhmw'" in done.stderr
    assert "Did you mean: 'rcvhwm'?" in done.stderr


@rows("name", ["linger", "router_mandatory"])
def test_options_are_not_deleted(socket, name):
    with pytest.raises(AttributeError, match=f"{name} cannot be deleted"):
        delattr(socket(zmqcy.ROUTER), name)


def test_subclass_may_have_attributes_of_its_own(ctx):
    class Named(zmqcy.Socket):
        pass

    with Named(ctx, zmqcy.PUSH) as push:
        push.label = "mine"
        assert push.label == "mine"
        push.linger = 0
        assert push.linger == 0


@rows("name", ["linger", "sndhwm", "affinity", "routing_id", "zap_domain", "curve_publickey"])
def test_closed_socket(socket, name):
    push = socket(zmqcy.PUSH)
    push.close()
    with pytest.raises(zmqcy.ZMQError, match=r"^get \(PUSH\): ") as caught:
        getattr(push, name)
    assert caught.value.errno == zmqcy.ENOTSOCK
    with pytest.raises(zmqcy.ZMQError, match=r"^set \(PUSH\): ") as caught:
        setattr(push, name, values(OPTIONS[name])[0])
    assert caught.value.errno == zmqcy.ENOTSOCK


def test_terminated_context(ctx, socket):
    push = socket(zmqcy.PUSH)
    ctx.shutdown()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^get( events)? \(PUSH\): "):
        push.events  # noqa: B018
    with pytest.raises(zmqcy.ContextTerminated, match=r"^get linger \(PUSH\): "):
        push.linger  # noqa: B018
    with pytest.raises(zmqcy.ContextTerminated, match=r"^set linger=0 \(PUSH\): "):
        push.linger = 0


# ---- calls beside the attributes


def test_get_and_set(socket):
    push = socket(zmqcy.PUSH)
    push.set(zmqcy.SNDHWM, 5)
    assert push.get(zmqcy.SNDHWM) == push.getsockopt(zmqcy.SNDHWM) == push.sndhwm == 5
    push.setsockopt(23, 6)
    assert push.get(23) == 6


def test_string_forms(socket):
    dealer = socket(zmqcy.DEALER)
    dealer.setsockopt_string(zmqcy.ROUTING_ID, "\u00fc")
    assert dealer.routing_id == "\u00fc".encode()
    assert dealer.getsockopt_string(zmqcy.ROUTING_ID) == "\u00fc"
    dealer.set_string(zmqcy.ROUTING_ID, "\u00fc", "latin-1")
    assert dealer.routing_id == b"\xfc"
    assert dealer.get_string(zmqcy.ROUTING_ID, encoding="latin-1") == "\u00fc"
    with pytest.raises(UnicodeDecodeError):
        dealer.get_string(zmqcy.ROUTING_ID)
    dealer.setsockopt_string(zmqcy.ZAP_DOMAIN, "here")
    assert dealer.getsockopt_string(zmqcy.ZAP_DOMAIN) == dealer.zap_domain == "here"


def test_string_forms_of_a_subscription(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB)
    sub.setsockopt_string(zmqcy.SUBSCRIBE, "\u00fc")
    assert pub.recv() == b"\1" + "\u00fc".encode()
    sub.setsockopt_string(zmqcy.UNSUBSCRIBE, "\u00fc")
    assert pub.recv() == b"\0" + "\u00fc".encode()


def test_string_forms_are_for_strings(socket):
    push = socket(zmqcy.PUSH)
    with pytest.raises(TypeError, match=r"^getsockopt_string: .*(linger|17|LINGER)"):
        push.getsockopt_string(zmqcy.LINGER)
    for value in (b"bytes", 1, None):
        with pytest.raises(TypeError, match=f"setsockopt_string: a str is required, not {type(value).__name__}$"):
            push.setsockopt_string(zmqcy.ROUTING_ID, value)


def test_subscribe_takes_text_and_bytes(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB)
    for topic in ("text", b"bytes", bytearray(b"array"), memoryview(b"view"), "", b"\0\xff"):
        raw = topic.encode() if isinstance(topic, str) else bytes(topic)
        sub.subscribe(topic)
        assert pub.recv() == b"\1" + raw
        sub.unsubscribe(topic)
        assert pub.recv() == b"\0" + raw


# ---- keys


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


# ---- what options do


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
    """At the high-water mark it says so instead of dropping."""
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
    """Only the newest of those that wait is kept."""
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
    """Each unsubscription is heard of too, not only the last of a topic."""
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
    """The peer can be sent to before it has sent anything."""
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
    """Without a complete connection there is nowhere to queue a message; else it waits for one."""
    with sockets.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # and never listens
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
    """A peer that sends more is cut off; it connects again, and what fits arrives. (A handshake has to fit too.)"""
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
    """The next bind takes a descriptor that listens already."""
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        pull = socket(zmqcy.PULL, use_fd=os.dup(listener.fileno()))
        pull.bind(endpoint)
    push = socket(zmqcy.PUSH)
    push.connect(endpoint)
    push.send(b"through it")
    assert pull.recv() == b"through it"


def test_use_fd_is_closed_by_libzmq(run):
    """So it is handed over by `detach`: its number may soon be another file's."""
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
    """libzmq would abort in its thread."""
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
    words = "was taken by another bind" if what == "taken" else "is no socket that listens for this transport"
    assert re.fullmatch(rf"bind tcp://127\.0\.0\.1:\* use_fd=\d+ \(PULL\): use_fd {words}\n", done.stdout)


def test_high_water_marks(socket):
    """Over inproc the two add up."""
    pull = socket(zmqcy.PULL, rcvhwm=3)
    pull.bind("inproc://marks")
    push = socket(zmqcy.PUSH, sndhwm=4)
    push.connect("inproc://marks")
    sent = 0
    while push.try_send(b""):
        sent += 1
    assert sent == 7


# ---- contexts


@rows("kind", STABLE_TYPES, ids=lambda kind: kind.name)
@rows("how", ["attribute", "setsockopt", "constructor"])
def test_default_of_context(kind, how):
    if how == "constructor":
        with zmqcy.Context(linger=7) as ctx:
            assert ctx.linger == 7
            assert ctx.socket(kind).linger == 7
        return
    with zmqcy.Context() as ctx:
        before = ctx.socket(kind)
        if how == "attribute":
            ctx.linger = 7
        else:
            ctx.setsockopt(zmqcy.LINGER, 7)
        assert ctx.linger == ctx.getsockopt(zmqcy.LINGER) == 7
        assert before.linger != 7
        assert ctx.socket(kind).linger == 7
        assert ctx.socket(kind, linger=0).linger == 0


@rows("option", [each for each in options("w", missing=False) if each.id != "ipv6"])
def test_default_for_the_types_that_have_it(option):
    """A type that does not have the option goes without; one that has it takes it."""
    value = values(option)[0]
    with zmqcy.Context() as ctx:
        setattr(ctx, option.name, value)
        assert getattr(ctx, option.name) == value
        for kind in STABLE_TYPES:
            socket = ctx.socket(kind)
            if "r" in option.access:
                assert getattr(socket, option.name) == value


def test_default_of_a_few_types_takes_effect(ctx):
    ctx.router_mandatory = True
    ctx.linger = 0
    router = ctx.socket(zmqcy.ROUTER)
    with pytest.raises(zmqcy.HostUnreachable):
        router.send_multipart([b"nobody", b""])
    ctx.setsockopt(zmqcy.SUBSCRIBE, b"")
    pub = ctx.socket(zmqcy.PUB)
    pub.bind("inproc://all")
    sub = ctx.socket(zmqcy.SUB)
    sub.connect("inproc://all")
    pub.send(b"heard")
    assert sub.recv(timeout=10_000) == b"heard"


def test_default_that_is_refused(ctx):
    ctx.linger = -9
    with pytest.raises(zmqcy.InvalidArgument, match=r"linger=-9 \(PUSH\): "):
        ctx.socket(zmqcy.PUSH)
    assert ctx._open_sockets() == []


@pytest.mark.parametrize(
    ("name", "kind"), [("router_mandatory", zmqcy.ROUTER), ("xpub_nodrop", zmqcy.XPUB), ("req_relaxed", zmqcy.REQ)]
)
def test_default_that_is_refused_by_the_type_that_has_it(ctx, name, kind):
    """The other types go without; this one says that the value is wrong."""
    setattr(ctx, name, -9)
    ctx.socket(zmqcy.PAIR)
    with pytest.raises(zmqcy.InvalidArgument, match=f"{name}=-9"):
        ctx.socket(kind)


@pytest.mark.parametrize("value", ["0", None, 1.5])
def test_default_of_wrong_type(ctx, value):
    """It is found out when it is set or, at the latest, with the first socket."""
    with pytest.raises(TypeError, match=f"sndhwm must be an int, not {value!r}"):
        ctx.sndhwm = value
        ctx.socket(zmqcy.PUSH)


def test_default_is_deleted(ctx):
    ctx.rcvhwm = 5
    assert ctx.socket(zmqcy.PULL).rcvhwm == 5
    del ctx.rcvhwm
    assert ctx.socket(zmqcy.PULL).rcvhwm == 1000
    with pytest.raises(AttributeError, match="rcvhwm has no default"):
        ctx.rcvhwm  # noqa: B018
    with pytest.raises(AttributeError, match="rcvhwm"):
        del ctx.rcvhwm
    with pytest.raises(KeyError):
        ctx.getsockopt(zmqcy.RCVHWM)


def test_default_that_was_never_set(ctx):
    with pytest.raises(AttributeError, match="sndhwm has no default"):
        ctx.sndhwm  # noqa: B018
    assert not hasattr(ctx, "sndhwm")
    assert getattr(ctx, "sndhwm", None) is None


def test_defaults_are_of_one_context(ctx):
    ctx.linger = 3
    with zmqcy.Context() as other:
        with other.socket(zmqcy.PUSH) as push:
            assert push.linger == -1
        assert not hasattr(other, "linger")


@rows(("name", "nearest"), [("lingr", "linger"), ("io_thread", "io_threads"), ("RCVHWM", "rcvhwm")])
def test_unknown_attribute_of_context(ctx, name, nearest):
    with pytest.raises(AttributeError, match=f"'{name}'.*{nearest!r}") as caught:
        getattr(ctx, name)
    assert (caught.value.name, caught.value.obj) == (name, ctx)
    with pytest.raises(AttributeError, match=f"'{name}'.*{nearest!r}"):
        setattr(ctx, name, 1)
    with pytest.raises(AttributeError, match=f"'{name}'.*{nearest!r}"):
        zmqcy.Context(**{name: 1})


@rows("name", ["fd", "type", "events", "last_endpoint", "rcvmore"])
def test_default_of_what_is_only_read(ctx, name):
    with pytest.raises(AttributeError, match=name):
        setattr(ctx, name, 1)


@rows("option", ["linger", "17", None, 1.5, b"17"])
def test_default_of_what_is_no_option(ctx, option):
    with pytest.raises(TypeError, match=re.escape(repr(option))):
        ctx.setsockopt(option, 1)


def test_unknown_default_by_number(ctx):
    ctx.setsockopt(9999, 1)
    with pytest.raises(zmqcy.InvalidArgument, match="option 9999=1"):
        ctx.socket(zmqcy.PUSH)


CONTEXT_VALUES = {
    "io_threads": [0, 1, 3],
    "max_sockets": [1, 100],
    "max_msgsz": [0, 1000, (1 << 31) - 1],
    "thread_name_prefix": [0, 7],
    "ipv6": [True, False],
    "blocky": [False, True],
    "zero_copy_recv": [False, True],
    "thread_priority": [1],
    "thread_sched_policy": [0],
    "thread_affinity_cpu_add": [0, os.cpu_count() - 1],
}
WRITABLE = [option for option in CONTEXT_OPTIONS if "w" in option.access]


@rows("option", WRITABLE, ids=lambda option: option.name)
def test_context_option(option):
    if option.name == "thread_affinity_cpu_remove":
        ctx = zmqcy.Context(thread_affinity_cpu_add=0)
        ctx.thread_affinity_cpu_remove = 0
        with pytest.raises(zmqcy.InvalidArgument, match=r"^set thread_affinity_cpu_remove=0: "):
            ctx.thread_affinity_cpu_remove = 0
        return
    number = zmqcy.ContextOption[option.name.upper()]
    for value in CONTEXT_VALUES[option.name]:
        ctx = zmqcy.Context(**{option.name: value})
        other = zmqcy.Context()
        other.set(number, value)
        if "r" in option.access:
            assert getattr(ctx, option.name) == getattr(other, option.name) == value
            assert type(getattr(ctx, option.name)) is type(value)
            assert ctx.get(number) == value
        else:
            with pytest.raises(AttributeError, match=f"{option.name} cannot be read"):
                getattr(ctx, option.name)
        for refusal in ("1", None, 1.5):
            with pytest.raises(TypeError, match=re.escape(f"set: {option.name} must be an int, not {refusal!r}")):
                setattr(ctx, option.name, refusal)
            with pytest.raises(TypeError, match=r"^set: .* must be an int"):
                ctx.set(number, refusal)
        with pytest.raises(ValueError, match=f"^set: {option.name} must be between"):
            setattr(ctx, option.name, 1 << 31)


@rows("name", ["io_threads", "max_sockets", "max_msgsz", "ipv6", "blocky", "thread_priority"])
def test_context_option_refused(ctx, name):
    with pytest.raises(zmqcy.InvalidArgument, match=f"^set {name}=-1: "):
        setattr(ctx, name, -1)
    with pytest.raises(zmqcy.InvalidArgument, match=f"^Context io_threads=-1: |^set {name}=-1: "):
        zmqcy.Context(**{name: -1})


@rows("name", ["socket_limit", "msg_t_size"])
def test_context_option_that_is_only_read(ctx, name):
    assert getattr(ctx, name) > 0
    with pytest.raises(AttributeError, match=f"{name} cannot be set"):
        setattr(ctx, name, 1)


def test_context_option_whose_value_looks_like_an_error(ctx):
    """zmq_ctx_get returns the value, and -1 for an error."""
    try:
        ctx.thread_name_prefix = -1
    except ValueError:
        return
    assert ctx.thread_name_prefix == -1


def test_unknown_context_option(ctx):
    with pytest.raises(zmqcy.InvalidArgument, match=r"^get option 999: "):
        ctx.get(999)
    with pytest.raises(zmqcy.InvalidArgument, match=r"^set option 999=1: "):
        ctx.set(999, 1)
    for option in ("io_threads", None, 1.5):
        with pytest.raises(TypeError, match=re.escape(f"get: option must be an int, not {option!r}")):
            ctx.get(option)
        with pytest.raises(TypeError, match=re.escape(f"set: option must be an int, not {option!r}")):
            ctx.set(option, 1)


def test_context_with_threads():
    with pytest.raises(zmqcy.InvalidArgument, match=r"^Context io_threads=-1: "):
        zmqcy.Context(-1)
    with pytest.raises(TypeError, match=r"^Context: io_threads must be an int, not '1'"):
        zmqcy.Context("1")
    with zmqcy.Context(3) as ctx:
        assert ctx.io_threads == ctx.get(zmqcy.IO_THREADS) == 3


def test_no_io_threads_are_enough_for_inproc():
    with zmqcy.Context(io_threads=0) as ctx:
        assert ctx.io_threads == 0
        pull = ctx.socket(zmqcy.PULL)
        pull.bind("inproc://here")
        push = ctx.socket(zmqcy.PUSH)
        push.connect("inproc://here")
        push.send(b"message")
        assert pull.recv(timeout=10_000) == b"message"
        with pytest.raises(zmqcy.NoIOThread):
            pull.bind("tcp://127.0.0.1:*")


def test_max_sockets():
    with zmqcy.Context(max_sockets=2) as ctx:
        first, second = ctx.socket(zmqcy.PUSH), ctx.socket(zmqcy.PUSH)
        with pytest.raises(zmqcy.ZMQError, match="max_sockets=2") as caught:
            ctx.socket(zmqcy.PUSH)
        assert caught.value.errno == zmqcy.EMFILE
        assert not first.closed and not second.closed


@pytest.mark.parametrize(("blocky", "linger"), [(True, -1), (False, 0)])
def test_blocky(blocky, linger):
    with zmqcy.Context(blocky=blocky) as ctx:
        assert ctx.socket(zmqcy.PUSH).linger == linger


def test_ipv6_of_new_sockets(ctx):
    ctx.ipv6 = True
    assert ctx.socket(zmqcy.PUSH).ipv6 is True
    ctx.ipv6 = False
    assert ctx.socket(zmqcy.PUSH).ipv6 is False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="names of threads are read in /proc")
def test_thread_name_prefix(run):
    """The names are given by the threads themselves, once they run."""
    done = run("""
        import pathlib, time, zmqcy
        with zmqcy.Context(thread_name_prefix=321) as ctx, ctx.socket(zmqcy.PUSH):
            deadline = time.monotonic() + 10
            names = []
            while time.monotonic() < deadline and sum(name.startswith("321/") for name in names) < 2:
                names = [path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
        print(*names)
    """)
    assert done.stdout.count("321/ZMQbg/") == 2


def test_options_of_an_ended_context():
    ctx = zmqcy.Context()
    ctx.term(timeout=10_000)
    with pytest.raises(zmqcy.ContextTerminated):
        ctx.io_threads  # noqa: B018
    with pytest.raises(zmqcy.ContextTerminated):
        ctx.max_sockets = 5
    with pytest.raises(zmqcy.ContextTerminated):
        ctx.get(zmqcy.IO_THREADS)
