"""A client for `rpc_server.py`, with many requests in flight on one socket.

    python rpc_client.py [ENDPOINT]

A request and its reply have the same number. So each task gets its own reply, in any order.
"""

import asyncio
import itertools
import json
import sys
from contextlib import suppress

import zmqcy
from zmqcy.asyncio import Context

ENDPOINT = "tcp://127.0.0.1:5555"
MANY = 1_000


class RemoteError(Exception):
    """An error at the server."""


class Client:
    """Send requests from any number of tasks, and pass each reply to its task, in any order."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count()
        self.waiting = {}  # a future for each number
        self.reading = asyncio.ensure_future(self.read())

    async def call(self, method, *arguments, timeout=10):
        """Call a method of the server. Raise TimeoutError if no reply arrives within `timeout` seconds."""
        number = b"%d" % next(self.numbers)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(self.ask(number, method, arguments, answer), timeout)
        finally:
            del self.waiting[number]  # a later reply is ignored

    async def ask(self, number, method, arguments, answer):
        # This waits while the queues are full. A request that is cancelled meanwhile was not sent.
        await self.socket.send_multipart([number, json.dumps([method, arguments]).encode()])
        return await answer

    async def read(self):
        while True:
            number, body = await self.socket.recv_multipart()
            answer = self.waiting.get(number)
            if answer is None or answer.done():
                continue
            reply = json.loads(body)
            if "error" in reply:
                answer.set_exception(RemoteError(reply["error"]))
            else:
                answer.set_result(reply["result"])

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        self.socket.close()


async def main(endpoint=ENDPOINT):
    # linger=0: do not wait at exit for a request that no server has received.
    async with Context(linger=0) as context:
        socket = context.socket(zmqcy.DEALER)
        socket.connect(endpoint)
        async with Client(socket) as client:
            places = await asyncio.gather(*(client.call("meet", "here", MANY) for _ in range(MANY)))
            print(f"{MANY:,} requests in flight:", "all replied" if sorted(places) == [*range(MANY)] else places)

            first = asyncio.ensure_future(client.call("meet", "there", 2))
            await asyncio.sleep(0)  # lets the task send its request
            print("the second reply arrives before the first:", await client.call("divide", 6, 3))
            await client.call("meet", "there", 2)
            print("the first reply:", await first)

            try:
                await client.call("divide", 1, 0)
            except RemoteError as error:
                print("server error:", error)
            try:
                await client.call("sleep", 60, timeout=0.1)
            except asyncio.TimeoutError:
                print("timed out")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:2]))
