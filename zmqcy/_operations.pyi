from typing import TypeVar, final

from typing_extensions import disjoint_base

from zmqcy._base import BaseSocket
from zmqcy._loop import _Future

_T_co = TypeVar("_T_co", covariant=True)

@disjoint_base
class Operation(_Future[_T_co]):
    @property
    def seconds(self) -> float | None: ...

@final
class Send(Operation[_T_co]):
    @property
    def sent(self) -> int: ...

@final
class Receive(Operation[_T_co]): ...

@final
class ReceiveInto(Operation[_T_co]): ...

@final
class Gather(Operation[_T_co]): ...

@final
class GatherInto(Operation[_T_co]): ...

@final
class Poll(Operation[_T_co]): ...

@disjoint_base
class QueuedSocket(BaseSocket): ...
