"""`zmq.decorators`: pass a new context or socket to each call of a function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from zmqcy.compat.core import Context

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _passing(name: str | None, make: Callable[[tuple[Any, ...], dict[str, Any]], Any]) -> Callable[[_Function], Any]:
    """Return a decorator that passes the result of `make` by name, or as the next positional argument."""

    def decorate(function: _Function) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with make(args, kwargs) as made:
                if name is None:
                    return function(*args, made, **kwargs)
                return function(*args, **{**kwargs, name: made})

        return call

    return decorate


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str | None, tuple[Any, ...]]:
    if args and isinstance(args[0], str):
        return args[0], args[1:]
    name: str | None = kwargs.pop("name", None)
    return name, args


def context(*args: Any, **kwargs: Any) -> Callable[[_Function], Any]:
    """Pass a new context to each call of a function, and terminate it after the call.

    Parameters
    ----------
    *args
        The name of the keyword argument, then arguments of Context. Without a name the context is the next positional
        argument.
    **kwargs
        Arguments of Context; or ``name``.
    """
    name, args = _split(args, kwargs)
    return _passing(name, lambda *_: Context(*args, **kwargs))


def socket(*args: Any, **kwargs: Any) -> Callable[[_Function], Any]:
    """Pass a new socket to each call of a function, and close it after the call.

    Its context is the argument with the name `context_name`, the first context among the positional arguments, or the
    global context.

    Parameters
    ----------
    *args
        The name of the keyword argument, then arguments of Context.socket. Without a name the socket is the next
        positional argument.
    **kwargs
        Arguments of Context.socket; or ``name``, ``context_name``.
    """
    name, args = _split(args, kwargs)
    context_name = kwargs.pop("context_name", "context")

    @contextmanager
    def make(given: tuple[Any, ...], named: dict[str, Any]) -> Iterator[Any]:
        contexts = (each for each in (named.get(context_name), *given) if isinstance(each, Context))
        with (next(contexts, None) or Context.instance()).socket(*args, **kwargs) as made:
            yield made

    return _passing(name, make)
