"""Sockets for coroutines of asyncio, on any event loop of it."""

from zmqcy import _aio
from zmqcy.context import Context as _Context
from zmqcy.socket import BaseSocket


class Socket(BaseSocket, _aio.Socket):
    __slots__ = ()


class Context(_Context):
    __slots__ = ()
    _socket_class = Socket
