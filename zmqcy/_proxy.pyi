from typing import TypeAlias, final

from zmqcy._base import BaseSocket

_Flow: TypeAlias = tuple[int, int, int, int, int]

@final
class Numbers:
    def read(self) -> tuple[_Flow, _Flow, int]: ...

def proxy(frontend: BaseSocket, backend: BaseSocket, capture: BaseSocket | None = None) -> None: ...
def proxy_steerable(
    frontend: BaseSocket, backend: BaseSocket, capture: BaseSocket | None = None, control: BaseSocket | None = None
) -> None: ...
def counted_proxy(
    frontend: BaseSocket, backend: BaseSocket, capture: BaseSocket | None, control: BaseSocket | None, numbers: Numbers
) -> None: ...
def device(device_type: int, frontend: BaseSocket, backend: BaseSocket) -> None: ...
