"""Constants: the names and numbers of zmq.h, compared with the header, as enums and as plain names."""

import enum
import errno
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from rows import rows
from zmq_h import CONSTANTS, PATH, SECTIONS

import zmqcy
from zmqcy import constants
from zmqcy.constants import ENUMS

ERRNO_SECTION = "On Windows platform some of the standard POSIX errnos are not defined"
# Values that differ in older headers: the old and the new value. Drafts may change.
CORRECTED = {
    "RECONNECT_STOP_AFTER_DISCONNECT": (0x3, 0x4),  # 4.3.5: its own bit instead of the other two combined
    "GROUP_MAX_LENGTH": (15, 255),  # 4.3.3
}
# Old name in the header: new name of the same number.
ALIASES = {
    "XREQ": "DEALER",
    "XREP": "ROUTER",
    "UPSTREAM": "PULL",
    "DOWNSTREAM": "PUSH",
    "NOBLOCK": "DONTWAIT",
    "IDENTITY": "ROUTING_ID",
    "CONNECT_RID": "CONNECT_ROUTING_ID",
    "DELAY_ATTACH_ON_CONNECT": "IMMEDIATE",
    "FAIL_UNROUTABLE": "ROUTER_MANDATORY",
    "ROUTER_BEHAVIOR": "ROUTER_MANDATORY",
    "EVENT_ALL_V1": "EVENT_ALL",
}
# Enum: the sections of the header with its members.
SECTIONS_OF = {
    "SocketType": ("Socket types", "DRAFT Socket types"),
    "DeviceType": ("Deprecated aliases",),
    "Flag": ("Send/recv options",),
    "PollEvent": ("Deprecated I/O multiplexing. Prefer using zmq_poller API", "I/O multiplexing"),
    "SecurityMechanism": ("Security mechanisms",),
    "MessageOption": ("Message options", "Deprecated Message options"),
    "GSSAPINameType": ("GSSAPI principal name types",),
    "ReconnectStop": ("DRAFT ZMQ_RECONNECT_STOP options",),
    "RouterNotify": ("Router notify options",),
    "NormMode": ("DRAFT ZMQ_NORM_MODE options",),
}
PREFIXES = {each.__name__: prefix for each, prefix in ENUMS}

with_header = pytest.mark.skipif(PATH is None, reason="there is no zmq.h")


def members():
    return [(each, prefix, name) for each, prefix in ENUMS for name in each.__members__]


@with_header
def test_header_was_read():
    assert len(CONSTANTS) > 150
    assert CONSTANTS["PUSH"] == 8
    assert CONSTANTS["EVENT_ALL"] == 0xFFFF
    assert CONSTANTS["ETERM"] == 156384765


@rows("name", sorted(set(CONSTANTS) - set(SECTIONS.get(ERRNO_SECTION, ()))))
def test_constant_of_header(name):
    old, new = CORRECTED.get(name, (None, None))
    assert getattr(zmqcy, name) == (new if CONSTANTS[name] == old else CONSTANTS[name])


@rows("name", sorted(SECTIONS.get(ERRNO_SECTION, ())))
def test_errno_of_header(name):
    """The header defines an errno only if the system does not."""
    assert getattr(zmqcy, name) == getattr(errno, name, CONSTANTS[name])


@with_header
@rows("name", sorted(SECTIONS_OF))
def test_enum_has_what_header_has(name):
    """Each member is in the header under its name, except for aliases and members newer than the header."""
    there = {}
    for section in SECTIONS_OF[name]:
        there |= SECTIONS.get(section, {})
    there.pop("POLLITEMS_DFLT", None)
    prefix = PREFIXES[name]
    ours = {prefix + member for member in getattr(zmqcy, name).__members__} - ALIASES.keys()
    assert ours >= there.keys() - ALIASES.keys()
    if there:
        newest = max(there.values())
        assert {each for each in ours if getattr(zmqcy, each) <= newest} <= there.keys()


@with_header
def test_events_and_protocol_errors_are_those_of_header():
    ours = {"EVENT_" + name for name in zmqcy.Event.__members__}
    assert ours == {name for name in CONSTANTS if name.startswith("EVENT_")} | (
        {"EVENT_PIPES_STATS", "EVENT_ALL_V1", "EVENT_ALL_V2"} if "EVENT_PIPES_STATS" not in CONSTANTS else set()
    )
    ours = {"PROTOCOL_ERROR_" + name for name in zmqcy.ProtocolError.__members__}
    assert {name for name in CONSTANTS if name.startswith("PROTOCOL_ERROR_")} <= ours


@rows(("alias", "name"), ALIASES.items())
def test_alias(alias, name):
    assert getattr(zmqcy, alias) is getattr(zmqcy, name)


def test_alias_belongs_to_enum():
    assert zmqcy.SocketType.XREQ is zmqcy.SocketType.DEALER
    assert zmqcy.SocketType.UPSTREAM is zmqcy.SocketType.PULL
    assert zmqcy.Flag.NOBLOCK is zmqcy.Flag.DONTWAIT
    assert zmqcy.SocketOption.IDENTITY is zmqcy.SocketOption.ROUTING_ID


def test_plain_name_is_the_member():
    assert zmqcy.PUSH is zmqcy.SocketType.PUSH
    assert zmqcy.LINGER is zmqcy.SocketOption.LINGER
    assert zmqcy.IO_THREADS is zmqcy.ContextOption.IO_THREADS
    assert zmqcy.EVENT_CONNECTED is zmqcy.Event.CONNECTED
    assert zmqcy.POLLIN is zmqcy.PollEvent.POLLIN


@rows(("kind", "prefix", "name"), members(), ids=[f"{each.__name__}.{name}" for each, _, name in members()])
def test_every_member_has_its_plain_name(kind, prefix, name):
    plain = getattr(zmqcy, prefix + name)
    if kind is zmqcy.ContextOption and name == "IPV6":  # also a socket option, with the same number
        kind = zmqcy.SocketOption
    assert plain is kind[name]


def test_same_number_of_ipv6():
    assert zmqcy.ContextOption.IPV6 == zmqcy.SocketOption.IPV6 == 42


@rows("kind", [each for each, _ in ENUMS], ids=lambda kind: kind.__name__)
def test_enum(kind):
    assert getattr(zmqcy, kind.__name__) is kind
    assert issubclass(kind, int)
    assert kind.__module__ == "zmqcy.constants"
    assert kind.__doc__ and "number of" not in kind.__doc__ and "enumeration" not in kind.__doc__
    for member in kind:
        assert pickle.loads(pickle.dumps(member)) is member
        assert kind(int(member)) is member


@rows(
    "kind",
    [zmqcy.Flag, zmqcy.PollEvent, zmqcy.Event, zmqcy.ReconnectStop, zmqcy.RouterNotify],
    ids=lambda k: k.__name__,
)
def test_flags_combine(kind):
    first, second, *_ = kind
    assert isinstance(first | second, kind)
    assert first | second == int(first) | int(second)


def test_bits_of_flags_are_distinct():
    for kind in (zmqcy.Flag, zmqcy.PollEvent, zmqcy.ReconnectStop, zmqcy.RouterNotify):
        values = [int(member) for member in kind]
        assert all(value & (value - 1) == 0 for value in values)
        assert len(set(values)) == len(values)


def test_constants_are_numbers_that_calls_take(socket):
    assert socket(zmqcy.SocketType.PUSH).type == socket(8).type == zmqcy.PUSH == 8


def test_unknown_name():
    with pytest.raises(AttributeError, match="PUSHH") as caught:
        zmqcy.PUSHH  # noqa: B018
    assert caught.value.name == "PUSHH"
    assert not hasattr(zmqcy, "no_such_thing")
    assert not hasattr(zmqcy, "ZMQ_PUSH")


def test_unknown_name_suggests_the_nearest(run):
    done = run("import zmqcy\nzmqcy.POLLN", check=False)
    assert done.returncode == 1
    assert "has no attribute 'POLLN'" in done.stderr
    assert "Did you mean: 'POLLIN'?" in done.stderr


def test_import_of_unknown_name():
    with pytest.raises(ImportError, match="RCVHMW"):
        from zmqcy import RCVHMW  # noqa: F401


def test_dir_lists_everything():
    names = dir(zmqcy)
    assert names == sorted(names)
    assert {"Context", "Socket", "Poller", "select", "ZMQError", "PUSH", "LINGER", "SocketType", "EAGAIN"} <= set(names)
    for name in names:
        getattr(zmqcy, name)


def test_dir_in_fresh_process(run):
    """dir() lists constants before their first use, and does not change them."""
    done = run("""
        import zmqcy
        names = dir(zmqcy)
        assert "PUSH" in names and "SocketType" in names, names
        assert all(hasattr(zmqcy, name) for name in names)
        assert zmqcy.PUSH is zmqcy.SocketType.PUSH
        print(len(names))
    """)
    assert int(done.stdout) > 250


def test_only_what_users_are_to_see():
    """The module does not export its own imports."""
    foreign = {
        name
        for name in constants.__all__
        if getattr(constants, name) in (enum.Enum, enum.IntEnum, enum.IntFlag)
        or isinstance(getattr(constants, name), tuple)
    }
    assert foreign == set()


def test_star_import(run):
    run("""
        from zmqcy import *
        assert Context and Socket and Poller and ZMQError
        assert PUSH is SocketType.PUSH
        assert LINGER == 17 and POLLIN == 1 and EAGAIN
        names = set(globals())
        assert not names & {"Enum", "IntEnum", "IntFlag", "annotations", "import_module"}, names
    """)


@pytest.mark.parametrize("order", ["EADDRINUSE", "SocketOption", "EVENT_ALL_V2"])
def test_any_name_may_be_the_first(run, order):
    run(f"import zmqcy; assert zmqcy.{order}; assert zmqcy.PUSH is zmqcy.SocketType.PUSH; from zmqcy import PULL, Flag")


def run_isolated(code):
    """Import zmqcy in a process without site-packages, and run code. `loaded` contains the modules that it imported."""
    folder = str(Path(zmqcy.__file__).parent.parent)
    lines = [
        "import sys",
        f"sys.path.insert(0, {folder!r})",
        "before = set(sys.modules)",
        "import zmqcy",
        "loaded = sorted(set(sys.modules) - before)",
        code,
    ]
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_is_light():
    loaded = run_isolated("print(*loaded)").split()
    assert "zmqcy._socket" in loaded
    heavy = {"enum", "re", "asyncio", "threading", "typing", "json", "logging", "inspect", "random", "tracemalloc"}
    assert heavy.isdisjoint(loaded)
    assert "zmqcy.constants" not in loaded


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_import_starts_no_thread():
    assert run_isolated("import os; print(len(os.listdir('/proc/self/task')))").strip() == "1"


def test_import_makes_no_context():
    assert run_isolated("print(zmqcy.context._instances)").strip() == "{}"


def test_messages_names_are_text():
    assert zmqcy.MSG_PROPERTY_ROUTING_ID == "Routing-Id"
    assert zmqcy.MSG_PROPERTY_PEER_ADDRESS == "Peer-Address"


def test_defaults_of_contexts(ctx):
    """A new context has the defaults of the header."""
    assert ctx.io_threads == zmqcy.IO_THREADS_DFLT
    assert ctx.max_sockets == zmqcy.MAX_SOCKETS_DFLT
