from collections.abc import Callable
from datetime import timedelta
from typing import Any

from typing_extensions import Unpack

from zmqcy import _aio, _poll
from zmqcy._poll import _Pollable
from zmqcy.context import AsyncContext
from zmqcy.socket import AsyncSocket, _SocketOptions

class Socket(AsyncSocket, _aio.FutureSocket): ...

class Context(AsyncContext):
    def socket(  # type: ignore[override]  # as in AsyncContext
        self, socket_type: int, socket_class: Callable[[Any, int], Any] | None = None, **options: Unpack[_SocketOptions]
    ) -> Socket: ...

class Poller(_poll.Poller):
    async def poll(  # type: ignore[override]
        self, timeout: float | timedelta | None = None
    ) -> list[tuple[_Pollable, int]]: ...
