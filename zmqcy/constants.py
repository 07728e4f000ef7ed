"""Define the constants of zmq.h, grouped in enums. Each member is also a name in `zmqcy`, such as ``zmqcy.PUSH``."""

from __future__ import annotations

import errno as _errno
from enum import Enum, IntEnum, IntFlag

from zmqcy import errors, socket_types
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS


class DeviceType(IntEnum):
    """Device types, for `device`."""

    STREAMER = 1
    FORWARDER = 2
    QUEUE = 3


class Flag(IntFlag):
    """Flags of send and receive calls."""

    DONTWAIT = 1
    SNDMORE = 2
    NOBLOCK = DONTWAIT


class PollEvent(IntFlag):
    """Events of a socket or file descriptor, for polling."""

    POLLIN = 1
    POLLOUT = 2
    POLLERR = 4
    POLLPRI = 8


class SecurityMechanism(IntEnum):
    """Security mechanisms: values of the option `mechanism`."""

    NULL = 0
    PLAIN = 1
    CURVE = 2
    GSSAPI = 3


class MessageOption(IntEnum):
    """Message properties, for `Frame.get`."""

    MORE = 1
    SRCFD = 2
    SHARED = 3


class Event(IntFlag):
    """Connection events, as reported by a monitor."""

    CONNECTED = 0x0001
    CONNECT_DELAYED = 0x0002
    CONNECT_RETRIED = 0x0004
    LISTENING = 0x0008
    BIND_FAILED = 0x0010
    ACCEPTED = 0x0020
    ACCEPT_FAILED = 0x0040
    CLOSED = 0x0080
    CLOSE_FAILED = 0x0100
    DISCONNECTED = 0x0200
    MONITOR_STOPPED = 0x0400
    HANDSHAKE_FAILED_NO_DETAIL = 0x0800
    HANDSHAKE_SUCCEEDED = 0x1000
    HANDSHAKE_FAILED_PROTOCOL = 0x2000
    HANDSHAKE_FAILED_AUTH = 0x4000
    ALL = 0xFFFF
    ALL_V1 = 0xFFFF
    PIPES_STATS = 0x10000
    ALL_V2 = 0x1FFFF


class ProtocolError(IntEnum):
    """Protocol errors: values of the event HANDSHAKE_FAILED_PROTOCOL."""

    ZMTP_UNSPECIFIED = 0x10000000
    ZMTP_UNEXPECTED_COMMAND = 0x10000001
    ZMTP_INVALID_SEQUENCE = 0x10000002
    ZMTP_KEY_EXCHANGE = 0x10000003
    ZMTP_MALFORMED_COMMAND_UNSPECIFIED = 0x10000011
    ZMTP_MALFORMED_COMMAND_MESSAGE = 0x10000012
    ZMTP_MALFORMED_COMMAND_HELLO = 0x10000013
    ZMTP_MALFORMED_COMMAND_INITIATE = 0x10000014
    ZMTP_MALFORMED_COMMAND_ERROR = 0x10000015
    ZMTP_MALFORMED_COMMAND_READY = 0x10000016
    ZMTP_MALFORMED_COMMAND_WELCOME = 0x10000017
    ZMTP_INVALID_METADATA = 0x10000018
    ZMTP_CRYPTOGRAPHIC = 0x11000001
    ZMTP_MECHANISM_MISMATCH = 0x11000002
    ZAP_UNSPECIFIED = 0x20000000
    ZAP_MALFORMED_REPLY = 0x20000001
    ZAP_BAD_REQUEST_ID = 0x20000002
    ZAP_BAD_VERSION = 0x20000003
    ZAP_INVALID_STATUS_CODE = 0x20000004
    ZAP_INVALID_METADATA = 0x20000005
    WS_UNSPECIFIED = 0x30000000


class GSSAPINameType(IntEnum):
    """Name types of GSSAPI principals."""

    NT_HOSTBASED = 0
    NT_USER_NAME = 1
    NT_KRB5_PRINCIPAL = 2


class ReconnectStop(IntFlag):
    """Conditions under which a socket does not reconnect: flags of the draft option `reconnect_stop`."""

    CONN_REFUSED = 0x1
    HANDSHAKE_FAILED = 0x2
    AFTER_DISCONNECT = 0x4


class RouterNotify(IntFlag):
    """Notifications that a ROUTER socket receives about peers: flags of the draft option `router_notify`."""

    CONNECT = 1
    DISCONNECT = 2


class NormMode(IntEnum):
    """Congestion control of NORM: values of the draft option `norm_mode`."""

    FIXED = 0
    CC = 1
    CCL = 2
    CCE = 3
    CCE_ECNONLY = 4


_types = {row.name: row.number for row in socket_types.SOCKET_TYPES}
SocketType = IntEnum(  # type: ignore[misc]  # constants.pyi has the members
    "SocketType", _types | {alias: _types[name] for alias, name in socket_types.ALIASES.items()}, module=__name__
)
SocketType.__doc__ = "Socket types, for `Context.socket`."

_rows = {option.name.upper(): option.number for option in SOCKET_OPTIONS}
SocketOption = IntEnum(  # type: ignore[misc]
    "SocketOption",
    {**_rows, **{alias.upper(): _rows[name.upper()] for alias, name in ALIASES.items()}},
    module=__name__,
)
SocketOption.__doc__ = "Socket options, for `Socket.getsockopt` and `Socket.setsockopt`."

ContextOption = IntEnum(  # type: ignore[misc]
    "ContextOption", {option.name.upper(): option.number for option in CONTEXT_OPTIONS}, module=__name__
)
ContextOption.__doc__ = "Context options, for `Context.get` and `Context.set`."

# Where the system lacks one of these errnos, libzmq defines a number: HAUSNUMERO plus this offset (see zmq.h).
_made_up = {
    "ENOTSUP": 1,
    "EPROTONOSUPPORT": 2,
    "ENOBUFS": 3,
    "ENETDOWN": 4,
    "EADDRINUSE": 5,
    "EADDRNOTAVAIL": 6,
    "ECONNREFUSED": 7,
    "EINPROGRESS": 8,
    "ENOTSOCK": 9,
    "EMSGSIZE": 10,
    "EAFNOSUPPORT": 11,
    "ENETUNREACH": 12,
    "ECONNABORTED": 13,
    "ECONNRESET": 14,
    "ENOTCONN": 15,
    "ETIMEDOUT": 16,
    "EHOSTUNREACH": 17,
    "ENETRESET": 18,
}
_plain = ("EAGAIN", "EFAULT", "EINTR", "EINVAL", "EMFILE", "ENODEV", "ENOENT", "ENOMEM", "EPROTO")
Errno = IntEnum(  # type: ignore[misc]
    "Errno",
    {name: getattr(_errno, name, errors.HAUSNUMERO + offset) for name, offset in _made_up.items()}
    | {name: getattr(_errno, name) for name in _plain}
    | {name: getattr(errors, name) for name in ("EFSM", "ENOCOMPATPROTO", "ETERM", "EMTHREAD")},
    module=__name__,
)
Errno.__doc__ = "Error numbers: those defined by libzmq, and those of the system that libzmq uses."

ENUMS: tuple[tuple[type[Enum], str], ...] = (
    (SocketType, ""),
    (SocketOption, ""),
    (ContextOption, ""),
    (DeviceType, ""),
    (Flag, ""),
    (PollEvent, ""),
    (SecurityMechanism, ""),
    (MessageOption, ""),
    (Event, "EVENT_"),
    (ProtocolError, "PROTOCOL_ERROR_"),
    (GSSAPINameType, "GSSAPI_"),
    (ReconnectStop, "RECONNECT_STOP_"),
    (RouterNotify, "NOTIFY_"),
    (NormMode, "NORM_"),
    (Errno, ""),
)
"""Enums, each with the prefix of its members' names in `zmqcy`."""

IO_THREADS_DFLT = 1
MAX_SOCKETS_DFLT = 1023
THREAD_PRIORITY_DFLT = -1
THREAD_SCHED_POLICY_DFLT = -1
POLLITEMS_DFLT = 16
GROUP_MAX_LENGTH = 255
CURRENT_EVENT_VERSION = 1
CURRENT_EVENT_VERSION_DRAFT = 2
MSG_PROPERTY_ROUTING_ID = "Routing-Id"
MSG_PROPERTY_SOCKET_TYPE = "Socket-Type"
MSG_PROPERTY_USER_ID = "User-Id"
MSG_PROPERTY_PEER_ADDRESS = "Peer-Address"

for _enum, _prefix in ENUMS:
    for _name, _member in _enum.__members__.items():
        globals().setdefault(_prefix + _name, _member)  # IPV6 is the socket option, not the context option

_not_ours = ("ALIASES", "CONTEXT_OPTIONS", "SOCKET_OPTIONS", "ENUMS", "Enum", "IntEnum", "IntFlag")
__all__ = [_name for _name in globals() if _name[0].isupper() and _name not in _not_ours]
