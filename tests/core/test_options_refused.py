"""Rejected values, names and numbers of options, and the texts of the errors."""

import re
from datetime import timedelta

import pytest
from option_values import KEY, OPTIONS, options, owner_types, refused, there, values
from rows import rows

import zmqcy

SECRETS = ["plain_password", "curve_secretkey", "socks_password"]  # error messages do not show their values
# Error messages do not show these values either: they may be a secret that was set by mistake.
NOT_SHOWN = [*SECRETS, "curve_server", "plain_server", "curve_publickey", "curve_serverkey", "wss_key_pem"]


# ---- rejected values

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
        elif not isinstance(value, str):  # the methods accept str
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
    """The error names call, option and value. It is not an OverflowError or struct.error."""
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
    """Error messages end up in logs."""
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


@rows(
    ("statement", "ending"),
    [
        ("push.Linger = 0", "Socket has no attribute 'Linger'; did you mean 'linger'?"),
        ("ctx.Linger = 0", "Context has no attribute 'Linger'; did you mean 'linger'?"),
        ("ctx.max_socket", "Context has no attribute 'max_socket'; did you mean 'max_sockets'?"),
        ("ctx.rcvtimeo", "rcvtimeo has no default on this Context; set it first"),
    ],
)
def test_traceback_has_one_suggestion(run, statement, ending):
    """Python suggests a name too, after the text of the error, if the error has `obj`."""
    code = f"import zmqcy\nwith zmqcy.Context() as ctx, ctx.socket(zmqcy.PUSH, linger=0) as push:\n    {statement}"
    assert run(code, check=False).stderr.endswith(f"\nAttributeError: {ending}\n")


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
