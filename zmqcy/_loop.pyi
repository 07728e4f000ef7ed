from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from typing import TypeVar, final, type_check_only

from typing_extensions import Never

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
