"""Socket options: every row of the table, setting and reading, durations."""

import re
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from option_values import KINDS, NO_DRAFTS_REALLY, OPTIONS, TYPES, options, owner_types, refused, there, values
from rows import rows
from zmq_h import PATH, SECTIONS

import zmqcy
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS

WITHOUT_NONE = ["zap_domain", "gssapi_principal", "gssapi_service_principal"]  # strings that cannot be unset
FOR_EVER = ["linger", "reconnect_ivl", "rcvtimeo", "sndtimeo"]  # durations that may be -1


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
    for name in ("BLOCKY", "NOBLOCK"):  # a context option; a flag of send
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
    """Set and read each option as attribute and by number."""
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
    """The attribute exists, and libzmq rejects it."""
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
    """Their documentation must not require has("draft"), because these options need no drafts."""
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
    if option.name in ("plain_username", "plain_password"):  # libzmq keeps the text, but no longer uses PLAIN
        assert one.mechanism == zmqcy.NULL
    elif "r" in option.access:
        assert getattr(one, option.name) == ""


@rows("option", options("w", {"string"}))
@rows("value", ["a\0b", b"a\0b", "\0", b"a\0"])
def test_nul_in_string(socket, option, value):
    """libzmq would truncate the string at the NUL."""
    one = socket(owner_types(option)[0])
    with pytest.raises(ValueError, match=f"^set: {option.name} contains a NUL"):
        setattr(one, option.name, value)
    with pytest.raises(ValueError, match=f"^setsockopt: {option.name} contains a NUL"):
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
@example(routing_id=b"abcd")  # as long as an int
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
    elif option.name == "heartbeat_ttl":  # libzmq's unit is 0.1 s
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
    """Only -1 and -1.0 mean indefinitely."""
    push = socket(zmqcy.PUSH, sndtimeo=5)
    with pytest.raises(ValueError, match=r"^set sndtimeo"):
        push.sndtimeo = value
    assert push.sndtimeo == 5
    push.sndtimeo = -1.0
    assert push.sndtimeo == -1


# ---- get, set, getsockopt and setsockopt


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
        with pytest.raises(TypeError, match=f"setsockopt_string: value must be a str, not {type(value).__name__}$"):
            push.setsockopt_string(zmqcy.ROUTING_ID, value)


def test_subscribe_takes_text_and_bytes(pair):
    pub, sub = pair(zmqcy.XPUB, zmqcy.SUB)
    for topic in ("text", b"bytes", bytearray(b"array"), memoryview(b"view"), "", b"\0\xff"):
        raw = topic.encode() if isinstance(topic, str) else bytes(topic)
        sub.subscribe(topic)
        assert pub.recv() == b"\1" + raw
        sub.unsubscribe(topic)
        assert pub.recv() == b"\0" + raw
