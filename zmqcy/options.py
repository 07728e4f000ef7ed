"""The table of options: one row an option, for sockets and for contexts, as zmq.h 4.3.5 has them.

Properties, `getsockopt` and `setsockopt`, the constants, the stubs and the reference page are all made from these rows.
To add an option, add its row.

Kinds, and what Python sees of them:

========= ======================================= =====================================
kind      a property takes                        a property gives
========= ======================================= =====================================
int       int (32 bits)                           int
bool      bool, or 0 and 1                        bool
int64     int                                     int
uint64    int, not negative                       int
fd        int                                     int
duration  int in the unit, timedelta, None (= -1) int in the unit, -1 for ever
bytes     bytes-like                              bytes
string    str, bytes, None (= unset)              str
key       32 raw bytes, or 40 of Z85 (bytes, str) 40 bytes of Z85
========= ======================================= =====================================
"""

from __future__ import annotations

from zmqcy.socket_types import SOCKET_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TypeAlias

    _Kind: TypeAlias = Literal["int", "bool", "int64", "uint64", "fd", "duration", "bytes", "string", "key"]
    _Access: TypeAlias = Literal["r", "w", "rw"]


class Option:
    """A row of the table.

    Attributes
    ----------
    number : int
        The option's number in zmq.h.
    name : str
        Its name in zmq.h, without ``ZMQ_`` and in lower case: the name of the property.
    kind : str
        One of the kinds in the table above.
    access : str
        ``"r"``, ``"w"`` or ``"rw"``.
    unit : str
        The unit of its value, or ``""``.
    text : str
        What it does.
    draft : bool
        Whether only a libzmq with draft sockets has it.
    """

    __slots__ = ("access", "draft", "kind", "name", "number", "text", "unit")

    def __init__(
        self, number: int, name: str, kind: _Kind, access: _Access, unit: str, text: str, draft: bool = False
    ) -> None:
        self.number = number
        self.name = name
        self.kind = kind
        self.access = access
        self.unit = unit
        self.text = text
        self.draft = draft

    def __repr__(self) -> str:
        return f"<Option {self.name} = {self.number}>"


SOCKET_OPTIONS: Final = (
    Option(4, "affinity", "uint64", "rw", "bitmap", "I/O threads that may serve its connections; 0 is all of them."),
    Option(5, "routing_id", "bytes", "rw", "", "Name under which a ROUTER peer knows this socket, 1 to 255 bytes."),
    Option(6, "subscribe", "bytes", "w", "", "Prefix of the messages that a SUB socket wants from now on."),
    Option(7, "unsubscribe", "bytes", "w", "", "Prefix that a SUB socket wants no more."),
    Option(8, "rate", "int", "rw", "kilobits/s", "Bound on the rate of multicast transports."),
    Option(9, "recovery_ivl", "duration", "rw", "ms", "How long a multicast receiver may be absent without loss."),
    Option(11, "sndbuf", "int", "rw", "bytes", "Send buffer of the kernel; -1 leaves the system's."),
    Option(12, "rcvbuf", "int", "rw", "bytes", "Receive buffer of the kernel; -1 leaves the system's."),
    Option(13, "rcvmore", "bool", "r", "", "Whether the part that was received last has parts after it."),
    Option(14, "fd", "fd", "r", "", "Descriptor, readable when `events` may have changed (edge-triggered)."),
    Option(15, "events", "int", "r", "bitmap", "What can be done now without waiting: POLLIN, POLLOUT."),
    Option(16, "type", "int", "r", "", "Type of the socket, one of SocketType."),
    Option(17, "linger", "duration", "rw", "ms", "How long unsent messages are kept after close; -1 is for ever."),
    Option(18, "reconnect_ivl", "duration", "rw", "ms", "Wait before a lost connection is tried again; -1 is never."),
    Option(19, "backlog", "int", "rw", "connections", "Length of the queue of connections not yet accepted."),
    Option(21, "reconnect_ivl_max", "duration", "rw", "ms", "Bound of the growing reconnect wait; 0: no growth."),
    Option(22, "maxmsgsize", "int64", "rw", "bytes", "Largest message from a peer, which is cut off else; -1: any."),
    Option(23, "sndhwm", "int", "rw", "messages", "How many messages wait to be sent, for each peer; 0: any number."),
    Option(24, "rcvhwm", "int", "rw", "messages", "How many messages wait to be received, from each peer; 0: any."),
    Option(25, "multicast_hops", "int", "rw", "hops", "Time-to-live of multicast packets."),
    Option(27, "rcvtimeo", "duration", "rw", "ms", "How long a receive waits; 0 not at all, -1 for ever."),
    Option(28, "sndtimeo", "duration", "rw", "ms", "How long a send waits; 0 not at all, -1 for ever."),
    Option(31, "ipv4only", "bool", "rw", "", "The reverse of `ipv6`; deprecated."),
    Option(32, "last_endpoint", "string", "r", "", "Endpoint of the last bind or connect, its wildcards resolved."),
    Option(33, "router_mandatory", "bool", "w", "", "ROUTER reports a message that has no such peer, not drops it."),
    Option(34, "tcp_keepalive", "int", "rw", "", "Keep-alive of TCP: 1 on, 0 off, -1 as the system has it."),
    Option(35, "tcp_keepalive_cnt", "int", "rw", "probes", "Unanswered keep-alives before the peer is given up."),
    Option(36, "tcp_keepalive_idle", "int", "rw", "s", "Silence before the first keep-alive; -1 as the system has."),
    Option(37, "tcp_keepalive_intvl", "int", "rw", "s", "Time between keep-alives; -1 as the system has it."),
    Option(38, "tcp_accept_filter", "string", "w", "", "Address or network that may connect; deprecated, see ZAP."),
    Option(39, "immediate", "bool", "rw", "", "Queue messages only for connections that are complete."),
    Option(40, "xpub_verbose", "bool", "w", "", "XPUB passes up every subscription, not only new ones."),
    Option(41, "router_raw", "bool", "w", "", "ROUTER speaks plain TCP; deprecated for STREAM."),
    Option(42, "ipv6", "bool", "rw", "", "Speak IPv6 beside IPv4."),
    Option(43, "mechanism", "int", "r", "", "Security mechanism in force, one of SecurityMechanism."),
    Option(44, "plain_server", "bool", "rw", "", "Ask peers for a user name and password."),
    Option(45, "plain_username", "string", "rw", "", "User name for a PLAIN server; None: no PLAIN."),
    Option(46, "plain_password", "string", "rw", "", "Password for a PLAIN server; None: no PLAIN."),
    Option(47, "curve_server", "bool", "rw", "", "Be the server of the CURVE handshake."),
    Option(48, "curve_publickey", "key", "rw", "", "The socket's own public key."),
    Option(49, "curve_secretkey", "key", "rw", "", "The socket's own secret key."),
    Option(50, "curve_serverkey", "key", "rw", "", "Public key of the server that a CURVE client trusts."),
    Option(51, "probe_router", "bool", "w", "", "Send an empty message to each new ROUTER peer."),
    Option(52, "req_correlate", "bool", "w", "", "REQ sends a request id and drops replies that lack it."),
    Option(53, "req_relaxed", "bool", "w", "", "REQ may send again before the reply has come."),
    Option(54, "conflate", "bool", "rw", "", "Keep only the newest message; for messages of one part."),
    Option(55, "zap_domain", "string", "rw", "", "Domain that the ZAP handler is asked about."),
    Option(56, "router_handover", "bool", "w", "", "A new peer takes over the routing id of an older one."),
    Option(57, "tos", "int", "rw", "", "Type-of-service byte of the IP packets."),
    Option(58, "ipc_filter_pid", "int", "w", "", "Process that may connect over ipc; deprecated, see ZAP."),
    Option(59, "ipc_filter_uid", "int", "w", "", "User that may connect over ipc; deprecated, see ZAP."),
    Option(60, "ipc_filter_gid", "int", "w", "", "Group that may connect over ipc; deprecated, see ZAP."),
    Option(61, "connect_routing_id", "bytes", "w", "", "Routing id that the next connect gives to its peer."),
    Option(62, "gssapi_server", "bool", "rw", "", "Be the server of the GSSAPI handshake."),
    Option(63, "gssapi_principal", "string", "rw", "", "Principal whose credentials the socket uses."),
    Option(64, "gssapi_service_principal", "string", "rw", "", "Principal of the server that a client connects to."),
    Option(65, "gssapi_plaintext", "bool", "rw", "", "Authenticate by GSSAPI, but do not encrypt."),
    Option(66, "handshake_ivl", "duration", "rw", "ms", "How long a handshake may take; 0: any time."),
    Option(68, "socks_proxy", "string", "rw", "", "SOCKS5 proxy as host:port; None: none."),
    Option(69, "xpub_nodrop", "bool", "w", "", "PUB and XPUB wait, or say Again, where they would drop."),
    Option(71, "xpub_manual", "bool", "w", "", "XPUB subscribes only what the program tells it to."),
    Option(72, "xpub_welcome_msg", "bytes", "w", "", "Message that an XPUB socket sends to each new subscriber."),
    Option(73, "stream_notify", "bool", "w", "", "STREAM reports connects and disconnects by empty messages."),
    Option(74, "invert_matching", "bool", "rw", "", "Deliver the messages that no subscription matches."),
    Option(75, "heartbeat_ivl", "duration", "rw", "ms", "Time between heartbeats; 0: none. Not for RADIO and DISH."),
    Option(76, "heartbeat_ttl", "duration", "rw", "ms", "How long the peer may wait for a sign of life."),
    Option(77, "heartbeat_timeout", "duration", "rw", "ms", "How long the reply to a heartbeat may take; -1: its ivl."),
    Option(78, "xpub_verboser", "bool", "w", "", "XPUB passes up every subscription and unsubscription."),
    Option(79, "connect_timeout", "duration", "rw", "ms", "How long a connect may take; 0: as the system has it."),
    Option(80, "tcp_maxrt", "duration", "rw", "ms", "How long unacknowledged data is sent again; 0: the system's."),
    Option(81, "thread_safe", "bool", "r", "", "Whether the type may be used from several threads."),
    Option(84, "multicast_maxtpdu", "int", "rw", "bytes", "Largest transport data unit of multicast."),
    Option(85, "vmci_buffer_size", "uint64", "rw", "bytes", "Buffer of a VMCI connection."),
    Option(86, "vmci_buffer_min_size", "uint64", "rw", "bytes", "Smallest buffer of a VMCI connection."),
    Option(87, "vmci_buffer_max_size", "uint64", "rw", "bytes", "Largest buffer of a VMCI connection."),
    Option(88, "vmci_connect_timeout", "duration", "rw", "ms", "How long a VMCI connect may take; -1: its default."),
    Option(89, "use_fd", "fd", "rw", "", "Listening descriptor that the next bind takes, and libzmq closes; -1: none."),
    Option(90, "gssapi_principal_nametype", "int", "rw", "", "Kind of name in `gssapi_principal`."),
    Option(91, "gssapi_service_principal_nametype", "int", "rw", "", "Kind of name in `gssapi_service_principal`."),
    Option(92, "bindtodevice", "string", "rw", "", "Network interface that carries the traffic."),
    Option(93, "zap_enforce_domain", "bool", "rw", "", "Refuse peers where no ZAP domain is set.", True),
    Option(94, "loopback_fastpath", "bool", "rw", "", "Fast loopback of Windows.", True),
    Option(95, "metadata", "string", "w", "", "Property X-key:value that the handshake tells the peer.", True),
    Option(96, "multicast_loop", "bool", "rw", "", "Deliver one's own multicast messages.", True),
    Option(97, "router_notify", "int", "rw", "bitmap", "ROUTER reports connects (1) and disconnects (2).", True),
    Option(98, "xpub_manual_last_value", "bool", "w", "", "xpub_manual, for caches of last values.", True),
    Option(99, "socks_username", "string", "rw", "", "User name for the SOCKS5 proxy.", True),
    Option(100, "socks_password", "string", "rw", "", "Password for the SOCKS5 proxy.", True),
    Option(101, "in_batch_size", "int", "rw", "bytes", "How much is read from a connection at a time.", True),
    Option(102, "out_batch_size", "int", "rw", "bytes", "How much is written to a connection at a time.", True),
    Option(103, "wss_key_pem", "string", "w", "", "Private key of a wss server, as PEM.", True),
    Option(104, "wss_cert_pem", "string", "w", "", "Certificate of a wss server, as PEM.", True),
    Option(105, "wss_trust_pem", "string", "w", "", "Certificates that a wss client trusts, as PEM.", True),
    Option(106, "wss_hostname", "string", "w", "", "Name that the certificate of a wss server must have.", True),
    Option(107, "wss_trust_system", "bool", "w", "", "Trust the system's certificates for wss.", True),
    Option(108, "only_first_subscribe", "bool", "w", "", "Only a message's first part may subscribe.", True),
    Option(109, "reconnect_stop", "int", "rw", "bitmap", "When not to reconnect, of ReconnectStop.", True),
    Option(110, "hello_msg", "bytes", "w", "", "Message that the socket sends on each new connection.", True),
    Option(111, "disconnect_msg", "bytes", "w", "", "Message that it receives when a peer goes.", True),
    Option(112, "priority", "int", "rw", "", "Priority of the packets (SO_PRIORITY).", True),
    Option(113, "busy_poll", "int", "w", "us", "How long the kernel polls the device (SO_BUSY_POLL).", True),
    Option(114, "hiccup_msg", "bytes", "w", "", "Message that it receives when a connection was lost.", True),
    Option(115, "xsub_verbose_unsubscribe", "bool", "w", "", "XSUB passes on every unsubscription.", True),
    Option(116, "topics_count", "int", "r", "topics", "How many topics are subscribed.", True),
    Option(117, "norm_mode", "int", "rw", "", "Congestion control of NORM, of NormMode.", True),
    Option(118, "norm_unicast_nack", "bool", "rw", "", "NORM receivers answer by unicast.", True),
    Option(119, "norm_buffer_size", "int", "rw", "kilobytes", "Buffer of a NORM stream.", True),
    Option(120, "norm_segment_size", "int", "rw", "bytes", "Largest payload of a NORM packet.", True),
    Option(121, "norm_block_size", "int", "rw", "segments", "Source segments in a NORM block.", True),
    Option(122, "norm_num_parity", "int", "rw", "segments", "Parity segments in a NORM block.", True),
    Option(123, "norm_num_autoparity", "int", "rw", "segments", "Parity segments sent unasked.", True),
    Option(124, "norm_push", "bool", "rw", "", "NORM replaces old data in its buffer by new.", True),
)
"""Options of sockets, by number."""

CONTEXT_OPTIONS: Final = (
    Option(1, "io_threads", "int", "rw", "threads", "I/O threads; to be set before the first socket."),
    Option(2, "max_sockets", "int", "rw", "sockets", "How many sockets may be open; to be set before the first."),
    Option(3, "socket_limit", "int", "r", "sockets", "The largest `max_sockets` that libzmq takes."),
    Option(3, "thread_priority", "int", "w", "", "Priority of the I/O threads; to be set before the first socket."),
    Option(4, "thread_sched_policy", "int", "w", "", "Scheduling policy of the I/O threads; likewise."),
    Option(5, "max_msgsz", "int", "rw", "bytes", "Largest message that may be sent, at most 2**31 - 1."),
    Option(6, "msg_t_size", "int", "r", "bytes", "Size of libzmq's own message structure."),
    Option(7, "thread_affinity_cpu_add", "int", "w", "", "CPU that the I/O threads may run on, from now on."),
    Option(8, "thread_affinity_cpu_remove", "int", "w", "", "CPU that they may run on no more."),
    Option(9, "thread_name_prefix", "int", "rw", "", "Number that the names of the I/O threads begin with."),
    Option(42, "ipv6", "bool", "rw", "", "Whether new sockets speak IPv6."),
    Option(70, "blocky", "bool", "rw", "", "Whether new sockets linger for ever, and term waits for them."),
    Option(10, "zero_copy_recv", "bool", "rw", "", "Received messages share the buffer that they came in.", True),
)
"""Options of contexts, by number; `socket_limit` is for reading what `thread_priority` is for writing."""


def _types_by_option(field: str) -> dict[int, set[str]]:
    numbers = {option.name: option.number for option in SOCKET_OPTIONS}
    found: dict[int, set[str]] = {}
    for row in SOCKET_TYPES:
        for name in getattr(row, field):
            found.setdefault(numbers[name], set()).add(row.name)
    return found


OWNERS = _types_by_option("options")
"""The types of sockets that have an option, where not all of them do: names of types, by the option's number."""

REFUSED = _types_by_option("refuses")
"""The types of sockets that refuse an option which all others have: names of types, by the option's number."""

ALIASES: Final = {
    "identity": "routing_id",
    "connect_rid": "connect_routing_id",
    "delay_attach_on_connect": "immediate",
    "fail_unroutable": "router_mandatory",
    "router_behavior": "router_mandatory",
}
"""Older names of socket options, as zmq.h has them: constants for all of them."""
