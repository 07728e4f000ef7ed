"""Rivals that are not ZeroMQ, for peer.py: pynng, and for context multiprocessing's pipe and asyncio's streams.

pynng and the pipe get the few names by which peer.py uses a ZeroMQ library. Their own methods are what is called for
a message, so that nothing of ours is measured.
"""

import asyncio
import struct
import time

from peer import round_trips, say

LENGTH = struct.Struct("!I")


class Kinds:
    """The types of sockets, by name, and a context that does nothing."""

    def __getattr__(self, name):
        if name.isupper():
            return name
        raise AttributeError(name)

    def Context(self):
        return self


class Nng(Kinds):
    def __init__(self):
        import pynng

        self.pynng = pynng

    def socket(self, kind):
        return NngSocket(getattr(self.pynng, kind.capitalize() + "0")())


class NngSocket:
    def __init__(self, socket):
        self.socket, self.send, self.recv = socket, socket.send, socket.recv

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
    """A connection of multiprocessing over AF_UNIX, which is what Pipe() makes."""

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
    """asyncio's streams over tcp; a message is its length in four bytes, and itself."""

    def run(self, work, plan):
        asyncio.run(self.main(getattr(self, work), plan))

    async def main(self, work, plan):
        if plan.where[0] == ">":
            host, port = plan.where.removeprefix(">tcp://").split(":")
            return await work(plan, *await asyncio.open_connection(host, port))
        connected = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *ends: connected.set_result(ends), "127.0.0.1", 0)
        say("tcp://127.0.0.1:{1}".format(*server.sockets[0].getsockname()))
        return await work(plan, *await connected)

    async def push(self, plan, reader, writer):
        data = b"x" * plan.size
        while True:
            await send(writer, data)

    async def pull(self, plan, reader, writer):
        await recv(reader)
        for seconds in (plan.seconds / 10, plan.seconds):
            if seconds == plan.seconds:
                say("start")
            start = now = time.perf_counter()
            count = 0
            while now - start < seconds:
                for _ in range(10):
                    await recv(reader)
                count += 10
                now = time.perf_counter()
        say(f"rate={count / (now - start):.3f} count={count}")

    async def rep(self, plan, reader, writer):
        while True:
            await send(writer, await recv(reader))

    async def req(self, plan, reader, writer):
        data = b"x" * plan.size
        times = []
        for seconds in (plan.seconds / 10, plan.seconds):
            if seconds == plan.seconds:
                say("start")
            times.clear()
            start = last = now = time.perf_counter()
            while now - start < seconds:
                await send(writer, data)
                await recv(reader)
                now = time.perf_counter()
                times.append(now - last)
                last = now
        round_trips(times, now - start)


async def send(writer, data):
    writer.write(LENGTH.pack(len(data)))
    writer.write(data)
    await writer.drain()


async def recv(reader):
    size = LENGTH.unpack(await reader.readexactly(4))[0]
    return await reader.readexactly(size)


LIBRARIES = {"pynng": Nng, "Pipe": Pipe, "streams": Streams}
