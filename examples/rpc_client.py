"""Ask `rpc_server.py`, with many requests in flight on one socket.

    python rpc_client.py [ENDPOINT]

Each request has a number, which its answer has too. A task that asks waits for its own answer and for no other.
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
    """What went wrong at the server."""


class Client:
    """Sends requests from any number of tasks, and gives each its answer, in whatever order they come."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count()
        self.waiting = {}  # a future for each number
        self.reading = asyncio.ensure_future(self.read())

    async def call(self, method, *arguments, timeout=10):
        """Return what the server's method returns. TimeoutError: there is no answer after so many seconds."""
        number = b"%d" % next(self.numbers)
        answer = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(self.ask(number, method, arguments, answer), timeout)
        finally:
            del self.waiting[number]  # an answer that comes later is for nobody

    async def ask(self, number, method, arguments, answer):
        # Where the queues are full this waits. A request that is given up meanwhile has not been sent.
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
    # Without linger, for a request that no server has taken is not worth a wait at the end.
    async with Context(linger=0) as context:
        socket = context.socket(zmqcy.DEALER)
        socket.connect(endpoint)
        async with Client(socket) as client:
            places = await asyncio.gather(*(client.call("meet", "here", MANY) for _ in range(MANY)))
            print(f"{MANY:,} requests in flight:", "all answered" if sorted(places) == [*range(MANY)] else places)

            first = asyncio.ensure_future(client.call("meet", "there", 2))
            await asyncio.sleep(0)  # it is sent
            print("the second is answered before the first:", await client.call("divide", 6, 3))
            await client.call("meet", "there", 2)
            print("and the first when it is ready:", await first)

            try:
                await client.call("divide", 1, 0)
            except RemoteError as error:
                print("an error of the server:", error)
            try:
                await client.call("sleep", 60, timeout=0.1)
            except asyncio.TimeoutError:
                print("no answer in time")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:2]))
