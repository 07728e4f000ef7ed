"""An RPC server that handles many requests concurrently, with a ROUTER socket and one task per request.

    python rpc_server.py [ENDPOINT]

A request has two parts: a number, and `[method, arguments]` as JSON. The reply has the same number, and
`{"result": ...}` or `{"error": ...}`. Each reply is sent when it is ready, so a slow request does not block others.
`rpc_client.py` is the client. Stop the server with Ctrl-C or SIGTERM.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress

import zmqcy
from zmqcy.asyncio import Context

ENDPOINT = "tcp://127.0.0.1:5555"
AT_ONCE = 2_000  # requests that are processed at once; more requests wait in the queues of the sockets
GRACE = 1  # seconds that running requests get when the server stops


class Methods:
    """The methods that clients can call."""

    def __init__(self):
        self.meetings = {}

    async def divide(self, dividend, divisor):
        return dividend / divisor

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)

    async def meet(self, place, count):
        """Reply when `count` requests are at a place. Each gets the number of requests that were there before it."""
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
    except Exception as error:  # sent to the client
        reply = json.dumps({"error": f"{type(error).__name__}: {error}"})
    except asyncio.CancelledError:
        reply = json.dumps({"error": "the server is shutting down"})
    await socket.send_multipart([*peer, number, reply.encode()])


async def take(socket, answering):
    """Receive requests until cancelled. Cancellation loses none: a cancelled receive has received nothing."""
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
    """Wait for the running requests; after GRACE seconds, cancel them and send errors."""
    if answering:
        _, late = await asyncio.wait(answering, timeout=GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def main(endpoint=ENDPOINT):
    # At exit the context waits for unsent replies, for one second at most, as a client may have disconnected.
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
        print("stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))
