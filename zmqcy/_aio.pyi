from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Literal, TypeVar, final, overload, type_check_only

from typing_extensions import Buffer, Never, Self, disjoint_base

from zmqcy._base import BaseSocket
from zmqcy._message import Frame, MessageTracker

_T_co = TypeVar("_T_co", covariant=True)

def call_soon(loop: AbstractEventLoop, function: Callable[[], object]) -> int: ...
def watch(fd: int, callback: Callable[[], object]) -> tuple[object, int, Callable[[], object]]: ...
def unwatch(watched: tuple[object, int, Callable[[], object]]) -> None: ...

# What an operation returns: a Done, an Operation or, where it failed at once, a Future of the loop. `asyncio.isfuture`
# is true of all three, and asyncio.Future is the type of what it is true of. By it, and not by a protocol, they fit
# where futures are asked for, as in asyncio.wait. It is covariant as asyncio.Task is: nobody can set the result.
@type_check_only
class _Future(Future[_T_co]):  # type: ignore[type-var]
    def set_result(self, result: Never, /) -> None: ...  # type: ignore[override]
    def set_exception(self, exception: Never, /) -> None: ...  # type: ignore[override]
    __iter__: None  # type: ignore[assignment]  # or `for part in socket.recv_multipart()` would pass without `await`

@final
class Done(_Future[_T_co]): ...

@final
class Operation(_Future[_T_co]):
    @property
    def sent(self) -> int: ...
    @property
    def seconds(self) -> float | None: ...

@disjoint_base
class Socket(BaseSocket):
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
