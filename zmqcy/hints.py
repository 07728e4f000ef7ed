"""The table of hints: what an error of libzmq means for a call on a type of socket, and what to do about it.

It is read when an error is shown, so that errors that a program catches cost nothing.
"""

from __future__ import annotations

import errno
import re

from zmqcy import _library
from zmqcy.socket_types import SOCKET_TYPES, in_words, types_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from zmqcy.errors import ZMQError

EFSM, ENOCOMPATPROTO, EMTHREAD = (156384712 + number for number in (51, 52, 54))  # as zmq.h has them
TYPES = {row.name: row for row in SOCKET_TYPES}
RECEIVE = "recv*"
SEND = "send*"
TRANSPORTS = "inproc", "ipc", "tcp", "udp", "ws", "wss", "tipc", "pgm", "epgm", "norm", "vmci"
ALWAYS = "inproc", "ipc", "tcp", "udp"  # in every libzmq


class Row:
    """A row of the table.

    Attributes
    ----------
    errno : int
        The error's number.
    calls : str
        The calls that it is for, with spaces between them. A ``*`` at the end stands for any end.
    text : str
        The hint. ``{type}``, ``{peers}``, ``{detail}`` and the groups of `pattern` stand for what the error is about.
    types : collection of str
        The types of socket that it is for; (): all.
    pattern : str
        A regular expression that the detail of the error must match: the endpoint, the option or the argument.
    """

    __slots__ = ("calls", "errno", "pattern", "text", "types")

    def __init__(self, errno: int, calls: str, text: str, types: Collection[str] = (), pattern: str = ""):
        self.errno = errno
        self.calls = re.compile("|".join(f"({call.replace('*', '.*')})" for call in calls.split()))
        self.text = text
        self.types = types
        self.pattern = re.compile(pattern, re.DOTALL)

    def fill(self, error: ZMQError) -> str | None:
        """Return the hint for an error; None where the row is for others."""
        kind, detail = error.socket_type or "", str(error.detail or "")
        if not self.calls.fullmatch(error.call or "") or (self.types and kind not in self.types):
            return None
        found = self.pattern.match(detail)
        if found is None:
            return None
        peers = in_words(TYPES[kind].partners, "or") if kind in TYPES else ""
        words = {name: value or "" for name, value in found.groupdict().items()}
        return self.text.format(type=kind, peers=peers, detail=detail, transports=_transports(), **words)


def _transports() -> str:
    return ", ".join(name for name in TRANSPORTS if name in ALWAYS or _library.has(name))


_ONLY_SENDS = TYPES.keys() - types_with("receives")
_ONLY_RECEIVES = TYPES.keys() - types_with("sends")
_DATAGRAMS = ", ".join([*types_with("groups"), *types_with("datagrams")])
_NET = r"(?P<start>(tcp|ws|wss|udp|tipc)://)"
_V6 = r"(?P<start>(tcp|ws|wss|udp)://)(?P<host>\[[^]]*\]|[0-9a-fA-F]*:[0-9a-fA-F:]*)(?P<port>:[^:]*)$"

HINTS = (
    # A socket that only sends, or only receives.
    Row(errno.ENOTSUP, RECEIVE, "a {type} socket only sends; receive with a {peers} socket", _ONLY_SENDS),
    Row(errno.ENOTSUP, SEND, "a {type} socket only receives; send with a {peers} socket", _ONLY_RECEIVES),
    # REQ and REP out of turn.
    Row(EFSM, RECEIVE, "a REQ socket receives a reply to a request; call send first", ["REQ"]),
    Row(
        EFSM,
        SEND,
        "the reply to the last request has not been received; call recv first, or set req_relaxed=True to send anyway",
        ["REQ"],
    ),
    Row(EFSM, RECEIVE, "the last request has no reply yet; call send first", ["REP"]),
    Row(EFSM, SEND, "a REP socket replies to a request; call recv first", ["REP"]),
    # Endpoints.
    Row(
        errno.EINVAL,
        "bind connect*",
        "an endpoint is TRANSPORT://ADDRESS, such as tcp://127.0.0.1:5555",
        (),
        "(?!.*://)",
    ),
    Row(errno.EINVAL, "bind connect*", "the name after inproc:// is missing", (), "inproc://$"),
    Row(
        errno.EINVAL,
        "connect*",
        "connect needs a port number; `last_endpoint` of the bound socket has it",
        (),
        _NET + r".*:[*0]$",
    ),
    Row(errno.EINVAL, "bind connect*", "the port is missing, as in {start}127.0.0.1:5555", (), _NET + r"[^:]*:?/?$"),
    Row(
        errno.EINVAL,
        "bind",
        "a port is * or a number from 1 to 65535, not {port}",
        (),
        _NET + r".*:(?P<port>[^:/]*)/?$",
    ),
    Row(errno.EINVAL, "connect*", "a port is a number from 1 to 65535, not {port}", (), _NET + r".*:(?P<port>[^:]*)$"),
    Row(errno.EPROTONOSUPPORT, "bind connect*", "this libzmq has the transports {transports}", (), ".*://"),
    Row(ENOCOMPATPROTO, "bind connect*", f"udp is for {_DATAGRAMS} sockets", (), "udp://"),
    Row(
        ENOCOMPATPROTO,
        "bind connect*",
        "this transport is for PUB, SUB, XPUB and XSUB sockets",
        (),
        "(pgm|epgm|norm)://",
    ),
    Row(errno.ENODEV, "bind", "to bind to an IPv6 address, set ipv6=True on the socket first", (), _V6),
    Row(
        errno.ENODEV,
        "bind",
        "{host} is no network interface of this machine; bind to an IP address, an interface, or * for all interfaces, "
        "as in {start}127.0.0.1{port}; host names need libzmq 4.3.5",
        (),
        _NET + r"(?P<host>.*)(?P<port>:[^:]*)$",
    ),
    Row(
        errno.EADDRNOTAVAIL,
        "bind",
        "no interface of this machine has the address {host}; bind to * for all interfaces",
        (),
        _NET + r"(?P<host>.*):[^:]*$",
    ),
    Row(
        errno.EADDRINUSE,
        "bind",
        "another socket has port {port}; `ss -ltnp 'sport = :{port}'` shows its process, and port * takes a free one",
        (),
        r"(tcp|ws|wss)://.*:(?P<port>\d+)/?$",
    ),
    Row(errno.EADDRINUSE, "bind", "another socket of this context is bound to {detail}", (), "inproc://"),
    Row(
        errno.EACCES,
        "bind",
        "ports below 1024 need root or CAP_NET_BIND_SERVICE; bind to a higher port",
        (),
        r"(tcp|ws|wss)://.*:\d{1,4}/?$",
    ),
    Row(errno.EACCES, "bind", "this user cannot create the file {path}", (), "ipc://(?P<path>.*)"),
    Row(errno.EPERM, "bind", "this user cannot create the file {path}", (), "ipc://(?P<path>.*)"),
    Row(errno.ENOENT, "bind", "the folder of {path} does not exist", (), "ipc://(?P<path>.*)"),
    Row(
        errno.ENAMETOOLONG, "bind connect*", f"an ipc path has {_library.IPC_PATH_MAX_LEN} bytes at most", (), "ipc://"
    ),
    Row(
        errno.ENOENT,
        "unbind",
        "the socket is not bound to this endpoint; give the text of `last_endpoint` after the bind",
    ),
    Row(errno.ENOENT, "disconnect", "the socket is not connected to this endpoint; give the text that `connect` got"),
    Row(EMTHREAD, "bind connect*", "Context(io_threads=0) has inproc alone; make the context with io_threads=1"),
    # Arguments.
    Row(errno.EINVAL, "subscribe unsubscribe", "only SUB sockets have subscriptions"),
    Row(errno.EINVAL, "set setsockopt", "only SUB sockets have subscriptions", (), "(un)?subscribe="),
    Row(errno.EINVAL, "set setsockopt", "a routing id has 1 to 255 bytes", (), "(connect_)?routing_id="),
    Row(errno.EINVAL, "socket", "the types of sockets are those of zmqcy.SocketType", (), "type="),
    # Messages.
    Row(errno.EHOSTUNREACH, SEND, "no connected peer has the routing id in the first part", ["ROUTER"]),
    Row(errno.EAGAIN, RECEIVE, "no message has arrived"),
    Row(errno.EAGAIN, SEND, "no peer is connected, or the peers have reached their high-water marks (HWM)"),
)
"""For each error the first row that fits counts."""


def hint_for(error: ZMQError) -> str | None:
    """Return what the table has for an error; None where it has nothing, or the error has words of its own."""
    if error.errno is None or error.strerror != _library.strerror(error.errno):
        return None
    return next((hint for row in HINTS if row.errno == error.errno and (hint := row.fill(error))), None)
