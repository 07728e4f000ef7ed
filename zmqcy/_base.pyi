import socket
from datetime import timedelta
from typing import Literal, NoReturn, TypeAlias, overload

from typing_extensions import Buffer, Self, disjoint_base

from zmqcy._context import Context, _HasUnderlying
from zmqcy.constants import SocketOption
from zmqcy.stats import SocketStats

# generated: begin kinds
_DurationOption: TypeAlias = Literal[
    SocketOption.RECOVERY_IVL,
    SocketOption.LINGER,
    SocketOption.RECONNECT_IVL,
    SocketOption.RECONNECT_IVL_MAX,
    SocketOption.RCVTIMEO,
    SocketOption.SNDTIMEO,
    SocketOption.HANDSHAKE_IVL,
    SocketOption.HEARTBEAT_IVL,
    SocketOption.HEARTBEAT_TTL,
    SocketOption.HEARTBEAT_TIMEOUT,
    SocketOption.CONNECT_TIMEOUT,
    SocketOption.TCP_MAXRT,
    SocketOption.VMCI_CONNECT_TIMEOUT,
]
_BytesOption: TypeAlias = Literal[
    SocketOption.ROUTING_ID,
    SocketOption.SUBSCRIBE,
    SocketOption.UNSUBSCRIBE,
    SocketOption.CONNECT_ROUTING_ID,
    SocketOption.XPUB_WELCOME_MSG,
    SocketOption.HELLO_MSG,
    SocketOption.DISCONNECT_MSG,
    SocketOption.HICCUP_MSG,
    SocketOption.IDENTITY,
    SocketOption.CONNECT_RID,
]
_StringOption: TypeAlias = Literal[
    SocketOption.LAST_ENDPOINT,
    SocketOption.TCP_ACCEPT_FILTER,
    SocketOption.PLAIN_USERNAME,
    SocketOption.PLAIN_PASSWORD,
    SocketOption.ZAP_DOMAIN,
    SocketOption.GSSAPI_PRINCIPAL,
    SocketOption.GSSAPI_SERVICE_PRINCIPAL,
    SocketOption.SOCKS_PROXY,
    SocketOption.BINDTODEVICE,
    SocketOption.METADATA,
    SocketOption.SOCKS_USERNAME,
    SocketOption.SOCKS_PASSWORD,
    SocketOption.WSS_KEY_PEM,
    SocketOption.WSS_CERT_PEM,
    SocketOption.WSS_TRUST_PEM,
    SocketOption.WSS_HOSTNAME,
]
_KeyOption: TypeAlias = Literal[
    SocketOption.CURVE_PUBLICKEY,
    SocketOption.CURVE_SECRETKEY,
    SocketOption.CURVE_SERVERKEY,
]
_IntOption: TypeAlias = Literal[
    SocketOption.AFFINITY,
    SocketOption.RATE,
    SocketOption.SNDBUF,
    SocketOption.RCVBUF,
    SocketOption.RCVMORE,
    SocketOption.FD,
    SocketOption.EVENTS,
    SocketOption.TYPE,
    SocketOption.BACKLOG,
    SocketOption.MAXMSGSIZE,
    SocketOption.SNDHWM,
    SocketOption.RCVHWM,
    SocketOption.MULTICAST_HOPS,
    SocketOption.IPV4ONLY,
    SocketOption.ROUTER_MANDATORY,
    SocketOption.TCP_KEEPALIVE,
    SocketOption.TCP_KEEPALIVE_CNT,
    SocketOption.TCP_KEEPALIVE_IDLE,
    SocketOption.TCP_KEEPALIVE_INTVL,
    SocketOption.IMMEDIATE,
    SocketOption.XPUB_VERBOSE,
    SocketOption.ROUTER_RAW,
    SocketOption.IPV6,
    SocketOption.MECHANISM,
    SocketOption.PLAIN_SERVER,
    SocketOption.CURVE_SERVER,
    SocketOption.PROBE_ROUTER,
    SocketOption.REQ_CORRELATE,
    SocketOption.REQ_RELAXED,
    SocketOption.CONFLATE,
    SocketOption.ROUTER_HANDOVER,
    SocketOption.TOS,
    SocketOption.IPC_FILTER_PID,
    SocketOption.IPC_FILTER_UID,
    SocketOption.IPC_FILTER_GID,
    SocketOption.GSSAPI_SERVER,
    SocketOption.GSSAPI_PLAINTEXT,
    SocketOption.XPUB_NODROP,
    SocketOption.XPUB_MANUAL,
    SocketOption.STREAM_NOTIFY,
    SocketOption.INVERT_MATCHING,
    SocketOption.XPUB_VERBOSER,
    SocketOption.THREAD_SAFE,
    SocketOption.MULTICAST_MAXTPDU,
    SocketOption.VMCI_BUFFER_SIZE,
    SocketOption.VMCI_BUFFER_MIN_SIZE,
    SocketOption.VMCI_BUFFER_MAX_SIZE,
    SocketOption.USE_FD,
    SocketOption.GSSAPI_PRINCIPAL_NAMETYPE,
    SocketOption.GSSAPI_SERVICE_PRINCIPAL_NAMETYPE,
    SocketOption.ZAP_ENFORCE_DOMAIN,
    SocketOption.LOOPBACK_FASTPATH,
    SocketOption.MULTICAST_LOOP,
    SocketOption.ROUTER_NOTIFY,
    SocketOption.XPUB_MANUAL_LAST_VALUE,
    SocketOption.IN_BATCH_SIZE,
    SocketOption.OUT_BATCH_SIZE,
    SocketOption.WSS_TRUST_SYSTEM,
    SocketOption.ONLY_FIRST_SUBSCRIBE,
    SocketOption.RECONNECT_STOP,
    SocketOption.PRIORITY,
    SocketOption.BUSY_POLL,
    SocketOption.XSUB_VERBOSE_UNSUBSCRIBE,
    SocketOption.TOPICS_COUNT,
    SocketOption.NORM_MODE,
    SocketOption.NORM_UNICAST_NACK,
    SocketOption.NORM_BUFFER_SIZE,
    SocketOption.NORM_SEGMENT_SIZE,
    SocketOption.NORM_BLOCK_SIZE,
    SocketOption.NORM_NUM_PARITY,
    SocketOption.NORM_NUM_AUTOPARITY,
    SocketOption.NORM_PUSH,
    SocketOption.DELAY_ATTACH_ON_CONNECT,
    SocketOption.FAIL_UNROUTABLE,
    SocketOption.ROUTER_BEHAVIOR,
]
# generated: end

def connection_of(fd: int) -> socket.socket: ...

@disjoint_base
class BaseSocket:
    def __init__(self, context: Context, type: int) -> None: ...
    @property
    def context(self) -> Context | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def underlying(self) -> int: ...
    @property
    def spin(self) -> float: ...
    @spin.setter
    def spin(self, microseconds: float) -> None: ...
    @classmethod
    def shadow(cls, address: int | _HasUnderlying) -> Self: ...
    @property
    def copy_threshold(self) -> int: ...
    @copy_threshold.setter
    def copy_threshold(self, size: int) -> None: ...
    @property
    def stats(self) -> SocketStats: ...
    def bind(self, endpoint: str) -> object: ...  # None here; the Socket of users gives an Endpoint
    def unbind(self, endpoint: str) -> None: ...
    def connect(self, endpoint: str) -> object: ...
    def disconnect(self, endpoint: str) -> None: ...
    def connect_peer(self, endpoint: str) -> int: ...
    def disconnect_peer(self, routing_id: int) -> None: ...
    def join(self, group: str) -> None: ...
    def leave(self, group: str) -> None: ...
    def close(self, linger: float | timedelta | None = None) -> None: ...
    def fileno(self) -> int: ...
    @overload
    def getsockopt(self, option: _IntOption | _DurationOption) -> int: ...
    @overload
    def getsockopt(self, option: _BytesOption | _StringOption | _KeyOption) -> bytes: ...
    @overload
    def getsockopt(self, option: int) -> int | bytes: ...
    @overload
    def setsockopt(self, option: _DurationOption, value: float | timedelta | None) -> None: ...
    @overload
    def setsockopt(self, option: _StringOption, value: str | bytes | None) -> None: ...
    @overload
    def setsockopt(self, option: _KeyOption, value: bytes | str) -> None: ...
    @overload
    def setsockopt(self, option: int, value: int | Buffer) -> None: ...
    def subscribe(self, topic: Buffer | str) -> None: ...
    def unsubscribe(self, topic: Buffer | str) -> None: ...
    def __reduce__(self) -> NoReturn: ...
