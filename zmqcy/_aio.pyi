from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, overload

from typing_extensions import Buffer, Self

from zmqcy._loop import _Future
from zmqcy._message import Frame, MessageTracker
from zmqcy._operations import QueuedSocket

class FutureSocket(QueuedSocket):
    @overload
    def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        track: Literal[False] = False,
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> _Future[None]: ...
    @overload
    def send(
        self,
        data: Buffer,
        flags: int,
        copy: bool | None,
        track: Literal[True],
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> _Future[MessageTracker]: ...
    @overload
    def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        *,
        track: Literal[True],
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> _Future[MessageTracker]: ...
    @overload
    def send(
        self,
        data: Buffer,
        flags: int = 0,
        copy: bool | None = None,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
        routing_id: int | None = None,
        group: str | None = None,
    ) -> _Future[MessageTracker | None]: ...
    def try_send(self, data: Buffer) -> bool: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        track: Literal[False] = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> _Future[None]: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int,
        copy: bool | None,
        track: Literal[True],
        *,
        timeout: float | timedelta | None = None,
    ) -> _Future[MessageTracker]: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        *,
        track: Literal[True],
        timeout: float | timedelta | None = None,
    ) -> _Future[MessageTracker]: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> _Future[MessageTracker | None]: ...
    def send_many(
        self, messages: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[int]: ...
    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[int]: ...
    @overload
    def recv(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> _Future[bytes]: ...
    @overload
    def recv(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> _Future[Frame]: ...
    @overload
    def recv(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> _Future[Frame]: ...
    @overload
    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> _Future[bytes | Frame]: ...
    def try_recv(self) -> bytes | None: ...
    def recv_into(
        self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[int]: ...
    @overload
    def recv_multipart(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> _Future[list[bytes]]: ...
    @overload
    def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> _Future[list[Frame]]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> _Future[list[Frame]]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> _Future[list[bytes] | list[Frame]]: ...
    def recv_multipart_into(
        self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[list[int]]: ...
    def recv_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[list[bytes]]: ...
    def recv_multipart_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> _Future[list[list[bytes]]]: ...
    def poll(self, timeout: float | timedelta | None = None, flags: int = ...) -> _Future[int]: ...
    def __aiter__(self) -> Self: ...
    def __anext__(self) -> _Future[bytes]: ...
