from typing import TypeVar, final

from typing_extensions import disjoint_base

from zmqcy._base import BaseSocket
from zmqcy._loop import _Future

_T_co = TypeVar("_T_co", covariant=True)

@final
class Operation(_Future[_T_co]):
    @property
    def sent(self) -> int: ...
    @property
    def seconds(self) -> float | None: ...

@disjoint_base
class QueuedSocket(BaseSocket): ...
