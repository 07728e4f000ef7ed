from collections.abc import Callable
from typing import Any

from typing_extensions import Unpack

from zmqcy import _aio
from zmqcy.context import AsyncContext
from zmqcy.socket import AsyncPoller, AsyncSocket, _SocketOptions

class Socket(AsyncSocket, _aio.FutureSocket): ...

class Context(AsyncContext):
    def socket(  # type: ignore[override]  # as in AsyncContext
        self, socket_type: int, socket_class: Callable[[Any, int], Any] | None = None, **options: Unpack[_SocketOptions]
    ) -> Socket: ...

class Poller(AsyncPoller): ...
