# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false
# Where the sockets of the core have futures, these have coroutines.

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, overload

from typing_extensions import Buffer, Unpack

from zmqcy import _aio
from zmqcy._message import Frame, MessageTracker
from zmqcy.context import AsyncContext
from zmqcy.socket import AsyncPoller, AsyncSocket, _SocketOptions

class Socket(AsyncSocket, _aio.FutureSocket):
    @overload
    async def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        track: Literal[False] = False,
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> None: ...
    @overload
    async def send(
        self,
        data: Buffer,
        flags: int,
        copy: bool | None,
        track: Literal[True],
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker: ...
    @overload
    async def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        *,
        track: Literal[True],
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker: ...
    @overload
    async def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> MessageTracker | None: ...
    @overload
    async def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        track: Literal[False] = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> None: ...
    @overload
    async def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int,
        copy: bool | None,
        track: Literal[True],
        *,
        timeout: float | timedelta | None = None,
    ) -> MessageTracker: ...
    @overload
    async def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        *,
        track: Literal[True],
        timeout: float | timedelta | None = None,
    ) -> MessageTracker: ...
    @overload
    async def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> MessageTracker | None: ...
    async def send_many(
        self, messages: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    async def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    @overload
    async def recv(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> bytes: ...
    @overload
    async def recv(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> Frame: ...
    @overload
    async def recv(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> Frame: ...
    @overload
    async def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> bytes | Frame: ...
    async def recv_into(
        self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    @overload
    async def recv_multipart(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> list[bytes]: ...
    @overload
    async def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> list[Frame]: ...
    @overload
    async def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> list[Frame]: ...
    @overload
    async def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> list[bytes] | list[Frame]: ...
    async def recv_multipart_into(
        self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[int]: ...
    async def recv_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[bytes]: ...
    async def recv_multipart_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[list[bytes]]: ...
    async def poll(self, timeout: float | timedelta | None = None, flags: int = ...) -> int: ...
    async def __anext__(self) -> bytes: ...

class Context(AsyncContext):
    def socket(
        self, socket_type: int, socket_class: Callable[[Any, int], Any] | None = None, **options: Unpack[_SocketOptions]
    ) -> Socket: ...

class Poller(AsyncPoller): ...
