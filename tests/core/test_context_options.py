"""Context options, and socket defaults set on a context."""

import os
import re
from pathlib import Path

import pytest
from option_values import STABLE_TYPES, options, values
from rows import rows

import zmqcy
from zmqcy.options import CONTEXT_OPTIONS


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
    """Socket types with the option get the default. Other types ignore it."""
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
    """Other types ignore the default. The type with the option rejects the value."""
    setattr(ctx, name, -9)
    ctx.socket(zmqcy.PAIR)
    with pytest.raises(zmqcy.InvalidArgument, match=f"{name}=-9"):
        ctx.socket(kind)


@pytest.mark.parametrize("value", ["0", None, 1.5])
def test_default_of_wrong_type(ctx, value):
    """The error is raised when the default is set or, at the latest, for the first socket."""
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
    assert caught.value.name == name
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
    """zmq_ctx_get returns either the value or -1 for an error."""
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
    """libzmq's threads set their names after they have started."""
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
