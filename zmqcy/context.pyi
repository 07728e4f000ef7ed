from _thread import RLock
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, overload, type_check_only

from typing_extensions import Buffer, Self, Unpack

from zmqcy import _context
from zmqcy._context import _HasUnderlying, _WriteOnly
from zmqcy.socket import AsyncSocket, Socket, _SocketOptions

_Made = TypeVar("_Made")

@type_check_only
class _ContextOptions(TypedDict, total=False):
    identity: Buffer
    spin: float
    check_limits: bool
    # generated: begin keywords
    max_sockets: int
    thread_priority: int
    thread_sched_policy: int
    max_msgsz: int
    thread_affinity_cpu_add: int
    thread_affinity_cpu_remove: int
    thread_name_prefix: int
    ipv6: bool
    blocky: bool
    zero_copy_recv: bool
    affinity: int
    routing_id: Buffer
    subscribe: Buffer
    unsubscribe: Buffer
    rate: int
    recovery_ivl: float | timedelta | None
    sndbuf: int
    rcvbuf: int
    linger: float | timedelta | None
    reconnect_ivl: float | timedelta | None
    backlog: int
    reconnect_ivl_max: float | timedelta | None
    maxmsgsize: int
    sndhwm: int
    rcvhwm: int
    multicast_hops: int
    rcvtimeo: float | timedelta | None
    sndtimeo: float | timedelta | None
    ipv4only: bool
    router_mandatory: bool
    tcp_keepalive: int
    tcp_keepalive_cnt: int
    tcp_keepalive_idle: int
    tcp_keepalive_intvl: int
    tcp_accept_filter: str | bytes | None
    immediate: bool
    xpub_verbose: bool
    router_raw: bool
    plain_server: bool
    plain_username: str | bytes | None
    plain_password: str | bytes | None
    curve_server: bool
    curve_publickey: bytes | str
    curve_secretkey: bytes | str
    curve_serverkey: bytes | str
    probe_router: bool
    req_correlate: bool
    req_relaxed: bool
    conflate: bool
    zap_domain: str | bytes | None
    router_handover: bool
    tos: int
    ipc_filter_pid: int
    ipc_filter_uid: int
    ipc_filter_gid: int
    connect_routing_id: Buffer
    gssapi_server: bool
    gssapi_principal: str | bytes | None
    gssapi_service_principal: str | bytes | None
    gssapi_plaintext: bool
    handshake_ivl: float | timedelta | None
    socks_proxy: str | bytes | None
    xpub_nodrop: bool
    xpub_manual: bool
    xpub_welcome_msg: Buffer
    stream_notify: bool
    invert_matching: bool
    heartbeat_ivl: float | timedelta | None
    heartbeat_ttl: float | timedelta | None
    heartbeat_timeout: float | timedelta | None
    xpub_verboser: bool
    connect_timeout: float | timedelta | None
    tcp_maxrt: float | timedelta | None
    multicast_maxtpdu: int
    vmci_buffer_size: int
    vmci_buffer_min_size: int
    vmci_buffer_max_size: int
    vmci_connect_timeout: float | timedelta | None
    use_fd: int
    gssapi_principal_nametype: int
    gssapi_service_principal_nametype: int
    bindtodevice: str | bytes | None
    zap_enforce_domain: bool
    loopback_fastpath: bool
    metadata: str | bytes | None
    multicast_loop: bool
    router_notify: int
    xpub_manual_last_value: bool
    socks_username: str | bytes | None
    socks_password: str | bytes | None
    in_batch_size: int
    out_batch_size: int
    wss_key_pem: str | bytes | None
    wss_cert_pem: str | bytes | None
    wss_trust_pem: str | bytes | None
    wss_hostname: str | bytes | None
    wss_trust_system: bool
    only_first_subscribe: bool
    reconnect_stop: int
    hello_msg: Buffer
    disconnect_msg: Buffer
    priority: int
    busy_poll: int
    hiccup_msg: Buffer
    xsub_verbose_unsubscribe: bool
    norm_mode: int
    norm_unicast_nack: bool
    norm_buffer_size: int
    norm_segment_size: int
    norm_block_size: int
    norm_num_parity: int
    norm_num_autoparity: int
    norm_push: bool
    # generated: end

_instances_lock: RLock

class Context(_context.Context):
    def __init__(
        self,
        io_threads: int | _context.Context = 1,
        shadow: int | _HasUnderlying | None = None,
        *,
        tuned: bool | None = None,
        **options: Unpack[_ContextOptions],
    ) -> None: ...
    @property
    def tuned(self) -> bool: ...
    @classmethod
    def instance(cls, io_threads: int = 1) -> Self: ...
    @overload
    def socket(self, socket_type: int, socket_class: None = None, **options: Unpack[_SocketOptions]) -> Socket: ...
    @overload
    def socket(
        self, socket_type: int, socket_class: Callable[[Self, int], _Made], **options: Unpack[_SocketOptions]
    ) -> _Made: ...
    def getsockopt(self, option: int) -> Any: ...
    def setsockopt(self, option: int, value: float | Buffer | str | timedelta | None) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    # generated: begin properties
    @property
    def io_threads(self) -> int: ...
    @io_threads.setter
    def io_threads(self, value: int) -> None: ...
    @property
    def max_sockets(self) -> int: ...
    @max_sockets.setter
    def max_sockets(self, value: int) -> None: ...
    @property
    def socket_limit(self) -> int: ...
    thread_priority: _WriteOnly[int]
    thread_sched_policy: _WriteOnly[int]
    @property
    def max_msgsz(self) -> int: ...
    @max_msgsz.setter
    def max_msgsz(self, value: int) -> None: ...
    @property
    def msg_t_size(self) -> int: ...
    thread_affinity_cpu_add: _WriteOnly[int]
    thread_affinity_cpu_remove: _WriteOnly[int]
    @property
    def thread_name_prefix(self) -> int: ...
    @thread_name_prefix.setter
    def thread_name_prefix(self, value: int) -> None: ...
    @property
    def ipv6(self) -> bool: ...
    @ipv6.setter
    def ipv6(self, value: bool) -> None: ...
    @property
    def blocky(self) -> bool: ...
    @blocky.setter
    def blocky(self, value: bool) -> None: ...
    @property
    def zero_copy_recv(self) -> bool: ...
    @zero_copy_recv.setter
    def zero_copy_recv(self, value: bool) -> None: ...
    # generated: end

    # Defaults of the sockets that are made from now on; what was given is what is read.
    # generated: begin defaults
    affinity: int
    routing_id: Buffer
    subscribe: Buffer
    unsubscribe: Buffer
    rate: int
    recovery_ivl: float | timedelta | None
    sndbuf: int
    rcvbuf: int
    linger: float | timedelta | None
    reconnect_ivl: float | timedelta | None
    backlog: int
    reconnect_ivl_max: float | timedelta | None
    maxmsgsize: int
    sndhwm: int
    rcvhwm: int
    multicast_hops: int
    rcvtimeo: float | timedelta | None
    sndtimeo: float | timedelta | None
    ipv4only: bool
    router_mandatory: bool
    tcp_keepalive: int
    tcp_keepalive_cnt: int
    tcp_keepalive_idle: int
    tcp_keepalive_intvl: int
    tcp_accept_filter: str | bytes | None
    immediate: bool
    xpub_verbose: bool
    router_raw: bool
    plain_server: bool
    plain_username: str | bytes | None
    plain_password: str | bytes | None
    curve_server: bool
    curve_publickey: bytes | str
    curve_secretkey: bytes | str
    curve_serverkey: bytes | str
    probe_router: bool
    req_correlate: bool
    req_relaxed: bool
    conflate: bool
    zap_domain: str | bytes | None
    router_handover: bool
    tos: int
    ipc_filter_pid: int
    ipc_filter_uid: int
    ipc_filter_gid: int
    connect_routing_id: Buffer
    gssapi_server: bool
    gssapi_principal: str | bytes | None
    gssapi_service_principal: str | bytes | None
    gssapi_plaintext: bool
    handshake_ivl: float | timedelta | None
    socks_proxy: str | bytes | None
    xpub_nodrop: bool
    xpub_manual: bool
    xpub_welcome_msg: Buffer
    stream_notify: bool
    invert_matching: bool
    heartbeat_ivl: float | timedelta | None
    heartbeat_ttl: float | timedelta | None
    heartbeat_timeout: float | timedelta | None
    xpub_verboser: bool
    connect_timeout: float | timedelta | None
    tcp_maxrt: float | timedelta | None
    multicast_maxtpdu: int
    vmci_buffer_size: int
    vmci_buffer_min_size: int
    vmci_buffer_max_size: int
    vmci_connect_timeout: float | timedelta | None
    use_fd: int
    gssapi_principal_nametype: int
    gssapi_service_principal_nametype: int
    bindtodevice: str | bytes | None
    zap_enforce_domain: bool
    loopback_fastpath: bool
    metadata: str | bytes | None
    multicast_loop: bool
    router_notify: int
    xpub_manual_last_value: bool
    socks_username: str | bytes | None
    socks_password: str | bytes | None
    in_batch_size: int
    out_batch_size: int
    wss_key_pem: str | bytes | None
    wss_cert_pem: str | bytes | None
    wss_trust_pem: str | bytes | None
    wss_hostname: str | bytes | None
    wss_trust_system: bool
    only_first_subscribe: bool
    reconnect_stop: int
    hello_msg: Buffer
    disconnect_msg: Buffer
    priority: int
    busy_poll: int
    hiccup_msg: Buffer
    xsub_verbose_unsubscribe: bool
    norm_mode: int
    norm_unicast_nack: bool
    norm_buffer_size: int
    norm_segment_size: int
    norm_block_size: int
    norm_num_parity: int
    norm_num_autoparity: int
    norm_push: bool
    # generated: end
    identity: Buffer

class AsyncContext(Context):
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exception: object) -> None: ...
    async def aclose(self, timeout: float | timedelta | None = None) -> None: ...
    def socket(  # type: ignore[override]  # no asynchronous socket is a plain one
        self, socket_type: int, socket_class: Callable[[Any, int], Any] | None = None, **options: Unpack[_SocketOptions]
    ) -> AsyncSocket: ...
