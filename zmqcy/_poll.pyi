from collections.abc import Collection
from datetime import timedelta
from typing import TypeAlias, TypeVar, overload

from _typeshed import HasFileno
from typing_extensions import disjoint_base

from zmqcy.socket import BaseSocket

_Pollable: TypeAlias = BaseSocket | int | HasFileno
_T = TypeVar("_T", bound=_Pollable)

@disjoint_base
class Poller:
    def __init__(self) -> None: ...
    @property
    def sockets(self) -> list[tuple[_Pollable, int]]: ...
    def register(self, socket: _Pollable, flags: int = ...) -> None: ...
    def modify(self, socket: _Pollable, flags: int = ...) -> None: ...
    def unregister(self, socket: _Pollable) -> None: ...
    def poll(self, timeout: float | timedelta | None = None) -> list[tuple[_Pollable, int]]: ...
    def __len__(self) -> int: ...
    def __contains__(self, socket: object, /) -> bool: ...

@overload
def select(
    rlist: Collection[_T], wlist: Collection[_T], xlist: Collection[_T], timeout: float | timedelta | None = None
) -> tuple[list[_T], list[_T], list[_T]]: ...
@overload
def select(  # type: ignore[overload-cannot-match]  # mypy finds no _T for a list of several kinds
    rlist: Collection[_Pollable],
    wlist: Collection[_Pollable],
    xlist: Collection[_Pollable],
    timeout: float | timedelta | None = None,
) -> tuple[list[_Pollable], list[_Pollable], list[_Pollable]]: ...
