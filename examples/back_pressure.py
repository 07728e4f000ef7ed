"""Backpressure: a producer is faster than its worker. `await send` slows it down, so that its memory stays bounded.

    python back_pressure.py                           run both, as two processes
    python back_pressure.py worker WORK RESULTS       run only the worker
    python back_pressure.py producer WORK RESULTS     run only the producer, which binds both endpoints

The high-water marks limit each queue to a few messages. When the queues have reached them, a send waits. Other tasks of
the producer continue, and no message is lost. The worker returns the number of each message.
"""

import asyncio
import resource
import sys
from contextlib import suppress

import zmqcy
from zmqcy.asyncio import Context

COUNT = 300
SIZE = 1_000_000
MARK = 4  # messages in each queue
WORK_TIME = 0.002  # seconds
ANY_PORT = "tcp://127.0.0.1:*"


async def produce(work, sent):
    """Send as fast as the worker allows, then an empty message."""
    for number in range(COUNT):
        await work.send(number.to_bytes(4, "big") + bytes(SIZE))
        sent.append(number)
    await work.send(b"")


async def collect(results, sent):
    """Receive the results in order; return how many messages the worker was behind at most."""
    behind = 0
    for number in range(COUNT):
        result = int(await results.recv())
        if result != number:
            sys.exit(f"wrong: received {result} instead of {number}")
        behind = max(behind, len(sent) - number)
    return behind


async def produce_and_collect(work_url, results_url, with_worker):
    async with Context() as context:
        work = context.socket(zmqcy.PUSH, sndhwm=MARK, linger=1000)
        results = context.socket(zmqcy.PULL)
        urls = work.bind(work_url).endpoint, results.bind(results_url).endpoint
        worker = await with_worker(*urls)
        before = resident()
        sent: list[int] = []
        try:
            behind, _ = await asyncio.gather(collect(results, sent), produce(work, sent))
        except asyncio.CancelledError:
            if worker is not None:
                worker.terminate()
            raise
        print(f"{COUNT} messages of {SIZE // 1_000_000} MB, each processed once, in order")
        print(f"the worker was {behind} messages behind at most")
        print(f"the producer's memory grew by {resident() - before} MB at most")
    if worker is not None:
        await worker.wait()


def resident():
    """Return the peak memory of the process in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000


async def in_two_processes(*urls):
    return await asyncio.create_subprocess_exec(sys.executable, __file__, "worker", *urls)


async def elsewhere(*urls):
    print("work", urls[0], "results", urls[1], flush=True)


async def work(work_url, results_url):
    async with Context() as context:
        work, results = context.socket(zmqcy.PULL, rcvhwm=MARK), context.socket(zmqcy.PUSH, linger=1000)
        work.connect(work_url)
        results.connect(results_url)
        while message := await work.recv():
            await asyncio.sleep(WORK_TIME)
            await results.send(b"%d" % int.from_bytes(message[:4], "big"))


def main(arguments):
    match arguments:
        case []:
            return produce_and_collect(ANY_PORT, ANY_PORT, in_two_processes)
        case "producer", work_url, results_url:
            return produce_and_collect(work_url, results_url, elsewhere)
        case "worker", work_url, results_url:
            return work(work_url, results_url)
    sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
