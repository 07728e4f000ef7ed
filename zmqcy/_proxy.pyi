from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, final

from typing_extensions import Buffer, disjoint_base

from zmqcy._base import BaseSocket

_Flow: TypeAlias = tuple[int, int, int, int, int]
_Filter: TypeAlias = Callable[
    [Literal["front_to_back", "back_to_front"], list[list[bytes]]], Sequence[Sequence[Buffer]]
]

@disjoint_base
class Hook: ...

@final
class Numbers:
    def read(self) -> tuple[_Flow, _Flow, int]: ...

def unfit(front: int, back: int) -> str | None: ...
def proxy(
    frontend: BaseSocket,
    backend: BaseSocket,
    capture: BaseSocket | None = None,
    *,
    filter: _Filter | Hook | None = None,
) -> None: ...
def proxy_steerable(
    frontend: BaseSocket,
    backend: BaseSocket,
    capture: BaseSocket | None = None,
    control: BaseSocket | None = None,
    *,
    filter: _Filter | Hook | None = None,
) -> None: ...
def counted_proxy(
    frontend: BaseSocket,
    backend: BaseSocket,
    capture: BaseSocket | None,
    control: BaseSocket | None,
    numbers: Numbers,
    filter: _Filter | Hook | None = None,
) -> None: ...
def device(device_type: int, frontend: BaseSocket, backend: BaseSocket) -> None: ...
