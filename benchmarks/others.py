"""Adapters for libraries that are not ZeroMQ: pynng, multiprocessing.Pipe and asyncio streams.

They have the names that peer.py and tasks.py use of a ZeroMQ library. `send` and `recv` are the methods of pynng and of
the pipe themselves, so the adapter adds no overhead per message.
"""

import asyncio
import socket
import struct
from functools import partial

LENGTH = struct.Struct("!I")


class Kinds:
    """Socket types by name, and a context that does nothing."""

    def __getattr__(self, name):
        if name.isupper():
            return name
        raise AttributeError(name)

    def Context(self):
        return self


class Nng(Kinds):
    def __init__(self, *calls):
        import pynng

        self.pynng = pynng
        self.calls = calls or ("send", "recv")

    def socket(self, kind):
        return NngSocket(getattr(self.pynng, kind.capitalize() + "0")(), *self.calls)


class NngSocket:
    def __init__(self, socket, send, recv):
        self.socket, self.send, self.recv = socket, getattr(socket, send), getattr(socket, recv)

    def bind(self, url):
        listener = self.socket.listen(url.replace("*", "0"))
        self.last_endpoint = f"tcp://{listener.local_address}" if url.startswith("tcp:") else url

    def connect(self, url):
        self.socket.dial(url, block=True)

    def subscribe(self, topic):
        self.socket.subscribe(topic)


class Pipe(Kinds):
    def socket(self, kind):
        return PipeSocket()


class PipeSocket:
    """A connection of multiprocessing over AF_UNIX, as Pipe() makes it."""

    def bind(self, url):
        from multiprocessing.connection import Listener

        self.last_endpoint = url
        self.listener = Listener(url.removeprefix("ipc://"), "AF_UNIX")

    def connect(self, url):
        from multiprocessing.connection import Client

        self.connection = Client(url.removeprefix("ipc://"), "AF_UNIX")

    def __getattr__(self, name):
        if name == "connection":
            self.connection = self.listener.accept()
            return self.connection
        if name not in ("send", "recv"):
            raise AttributeError(name)
        call = self.connection.send_bytes if name == "send" else self.connection.recv_bytes
        setattr(self, name, call)
        return call


class Streams(Kinds):
    def socket(self, kind):
        return StreamSocket()


class StreamSocket:
    """asyncio streams over tcp. A message is its length in four bytes, then its data."""

    connection = None

    def bind(self, url):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.last_endpoint = "tcp://127.0.0.1:{1}".format(*self.listener.getsockname())

    def connect(self, url):
        host, port = url.removeprefix("tcp://").split(":")
        self.connection = socket.create_connection((host, int(port)))

    async def open(self):
        if self.connection is None:
            self.listener.setblocking(False)
            self.connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.connection.setblocking(False)
        self.reader, self.writer = await asyncio.open_connection(sock=self.connection)

    async def send(self, data):
        self.writer.writelines((LENGTH.pack(len(data)), data))
        await self.writer.drain()

    async def recv(self):
        size = LENGTH.unpack(await self.reader.readexactly(4))[0]
        return await self.reader.readexactly(size)


LIBRARIES = {"pynng": Nng, "Pipe": Pipe}
ASYNCHRONOUS = {"pynng": partial(Nng, "asend", "arecv"), "streams": Streams}
