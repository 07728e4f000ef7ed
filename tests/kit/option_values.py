"""Socket options by kind of value, with test values, and the socket types that support them."""

import pytest

import zmqcy
from zmqcy import SocketType
from zmqcy.options import SOCKET_OPTIONS

STABLE_TYPES = [kind for kind in SocketType if kind <= zmqcy.STREAM]
OPTIONS = {option.name: option for option in SOCKET_OPTIONS}
KINDS = {"int", "bool", "int64", "uint64", "fd", "duration", "bytes", "string", "key"}

# Options that the header lists as drafts, and that every build of libzmq has.
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

# The socket types that support an option, unless all do. (In libzmq a REP is also a ROUTER.)
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
    "heartbeat_ttl": [0, 100, 6_553_500],  # libzmq stores tenths of a second
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


def there(option):
    """Return whether the loaded libzmq has an option."""
    for part in ("curve", "gssapi", "vmci", "norm", "wss"):
        if option.name.startswith(part + "_") and not zmqcy.has(part):
            return False
    if option.number > 112 and zmqcy.zmq_version_info() < (4, 3, 5):
        return False
    return not option.draft or zmqcy.has("draft") or option.name in NO_DRAFTS_REALLY


def options(access="", kinds=KINDS, draft=None, missing=True):
    """Return socket options with some access, as test parameters. `missing`: also those that this libzmq lacks."""
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
    """Return the start of the error text for a refused value."""
    return f"{call} {option}={value!r:.80} ({SocketType(kind).name}): "
