"""Count primes in a pipeline: a ventilator, a streamer device, workers, and a sink.

    python pipeline.py [LIMIT]

The ventilator splits the numbers below LIMIT (100,000 by default) into chunks. The streamer distributes them among
the workers, and the sink adds up their results. A sieve checks the sum. Each part is a thread, over inproc. To use
processes or machines instead, change only the endpoints to tcp.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import zmqcy

CHUNK = 5_000
WORKERS = 4


def ventilate(context, limit):
    with context.socket(zmqcy.PUSH) as socket:
        socket.connect("inproc://chunks")
        for start in range(0, limit, CHUNK):
            socket.send_json([start, min(start + CHUNK, limit)])


def stream(frontend, backend):
    with suppress(zmqcy.ContextTerminated):
        zmqcy.device(zmqcy.STREAMER, frontend, backend)


def work(context):
    with context.socket(zmqcy.PULL) as chunks, context.socket(zmqcy.PUSH) as results:
        chunks.connect("inproc://work")
        results.connect("inproc://results")
        with suppress(zmqcy.ContextTerminated):
            while True:
                results.send_json(sum(map(is_prime, range(*chunks.recv_json()))))


def is_prime(number):
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def sieve(limit):
    """Count the primes below a limit with the sieve of Eratosthenes."""
    prime = bytearray([1]) * limit
    prime[:2] = bytes(min(2, limit))
    for number in range(2, int(limit**0.5) + 1):
        if prime[number]:
            prime[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return sum(prime)


def main(limit=100_000):
    # The context exits first, which stops the streamer and the workers. Then the pool has no threads to wait for.
    with ThreadPoolExecutor(WORKERS + 2) as pool, zmqcy.Context() as context:
        frontend, backend = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
        sink = context.socket(zmqcy.PULL)
        frontend.bind("inproc://chunks")
        backend.bind("inproc://work")
        sink.bind("inproc://results")
        pool.submit(stream, frontend, backend)
        for _ in range(WORKERS):
            pool.submit(work, context)
        pool.submit(ventilate, context, limit)
        chunks = len(range(0, limit, CHUNK))
        primes = sum(sink.recv_json() for _ in range(chunks))
    print(f"{chunks} chunks, {WORKERS} workers: {primes} primes below {limit}")
    if primes != sieve(limit):
        sys.exit(f"wrong: the sieve finds {sieve(limit)}")
    print("the sieve agrees")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*map(int, sys.argv[1:2]))
