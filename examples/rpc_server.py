"""Answer requests, many at a time: a ROUTER socket and a task for each request. Ctrl-C or SIGTERM ends it.

    python rpc_server.py [ENDPOINT]

A request is two parts, a number and `[method, arguments]` as JSON. Its answer has the same number, and
`{"result": ...}` or `{"error": ...}`. Each is sent when it is ready, so a slow request holds up no other one.
`rpc_client.py` asks.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress

import zmqcy
from zmqcy.asyncio import Context

ENDPOINT = "tcp://127.0.0.1:5555"
AT_ONCE = 2_000  # requests in hand; more of them wait in the queues of the sockets
GRACE = 1  # seconds that requests in hand get when the server ends


class Methods:
    """What can be asked for."""

    def __init__(self):
        self.meetings = {}

    async def divide(self, dividend, divisor):
        return dividend / divisor

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    async def meet(self, place, count):
        """Answer when so many requests are at a place: to each of them, how many had been there before."""
        there = self.meetings.setdefault(place, [])
        there.append(asyncio.get_running_loop().create_future())
        before = len(there) - 1
        if len(there) == count:
            for each in self.meetings.pop(place):
                each.set_result(None)
        await there[before]
        return before


async def answer(socket, methods, request):
    *peer, number, body = request
    try:
        name, arguments = json.loads(body)
        if name.startswith("_") or not hasattr(methods, name):
            raise LookupError(f"no method {name}")
        reply = json.dumps({"result": await getattr(methods, name)(*arguments)})
    except Exception as error:  # the client's to know, whatever it is
        reply = json.dumps({"error": f"{type(error).__name__}: {error}"})
    except asyncio.CancelledError:
        reply = json.dumps({"error": "the server ends"})
    await socket.send_multipart([*peer, number, reply.encode()])


async def take(socket, answering):
    """Take requests until cancelled, which loses none: who is cancelled while he waits for one has not taken it."""
    methods, room = Methods(), asyncio.Semaphore(AT_ONCE)

    def done(task):
        answering.discard(task)
        room.release()

    while True:
        await room.acquire()
        task = asyncio.create_task(answer(socket, methods, await socket.recv_multipart()))
        answering.add(task)
        task.add_done_callback(done)


async def finish(answering):
    """Give the requests in hand some time, and tell those who ask for more."""
    if answering:
        _, late = await asyncio.wait(answering, timeout=GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def main(endpoint=ENDPOINT):
    # The end of the context waits until the answers are sent, but for a second at most: a client may be gone.
    async with Context(linger=1000) as context:
        socket = context.socket(zmqcy.ROUTER)
        try:
            bound = socket.bind(endpoint)
        except zmqcy.ZMQError as error:
            sys.exit(str(error))
        answering: set[asyncio.Task[None]] = set()
        taking = asyncio.create_task(take(socket, answering))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, taking.cancel)
        print("ready on", bound.endpoint, flush=True)
        with suppress(asyncio.CancelledError):
            await taking
        await finish(answering)
        print("ended", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
