from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, overload

from typing_extensions import Buffer, Self

from zmqcy._base import BaseSocket
from zmqcy._message import Frame, MessageTracker

class PlainSocket(BaseSocket):
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
    ) -> None: ...
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
    ) -> MessageTracker: ...
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
    ) -> MessageTracker: ...
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
    ) -> MessageTracker | None: ...
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
    ) -> None: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int,
        copy: bool | None,
        track: Literal[True],
        *,
        timeout: float | timedelta | None = None,
    ) -> MessageTracker: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        *,
        track: Literal[True],
        timeout: float | timedelta | None = None,
    ) -> MessageTracker: ...
    @overload
    def send_multipart(
        self,
        parts: Iterable[Buffer],
        flags: int = 0,
        copy: bool | None = None,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> MessageTracker | None: ...
    def send_many(
        self, messages: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    @overload
    def recv(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> bytes: ...
    @overload
    def recv(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> Frame: ...
    @overload
    def recv(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> Frame: ...
    @overload
    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> bytes | Frame: ...
    def try_recv(self) -> bytes | None: ...
    def recv_into(
        self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: float | timedelta | None = None
    ) -> int: ...
    @overload
    def recv_multipart(
        self,
        flags: int = 0,
        copy: Literal[True] = True,
        track: bool = False,
        *,
        timeout: float | timedelta | None = None,
    ) -> list[bytes]: ...
    @overload
    def recv_multipart(
        self, flags: int, copy: Literal[False], track: bool = False, *, timeout: float | timedelta | None = None
    ) -> list[Frame]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, *, copy: Literal[False], track: bool = False, timeout: float | timedelta | None = None
    ) -> list[Frame]: ...
    @overload
    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: float | timedelta | None = None
    ) -> list[bytes] | list[Frame]: ...
    def recv_multipart_into(
        self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[int]: ...
    def recv_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[bytes]: ...
    def recv_multipart_many(
        self, limit: int = 1000, *, flags: int = 0, timeout: float | timedelta | None = None
    ) -> list[list[bytes]]: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    def poll(self, timeout: float | timedelta | None = None, flags: int = ...) -> int: ...
