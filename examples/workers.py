"""Clients and workers with a queue device between them: neither knows how many there are of the other.

    python workers.py [CLIENTS [WORKERS]]

Each client asks five times, by default there are three of them and two workers. The ROUTER of the queue remembers who
asked, its DEALER deals the requests to the workers in turn, and each reply finds its way back.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import zmqcy

REQUESTS = 5


def queue(frontend, backend):
    with suppress(zmqcy.ContextTerminated):
        zmqcy.device(zmqcy.QUEUE, frontend, backend)


def work(context, name):
    with context.socket(zmqcy.REP) as socket:
        socket.connect("inproc://workers")
        for request in socket:  # until the context ends
            socket.send_string(f"{request.decode()}: answered by {name}")


def ask(context, name):
    with context.socket(zmqcy.REQ) as socket:
        socket.connect("inproc://clients")
        replies = []
        for number in range(REQUESTS):
            socket.send_string(f"{name}, request {number}")
            replies.append(socket.recv_string())
    return replies


def main(clients=3, workers=2):
    # The context goes first, and takes the queue and the workers with it; then the pool has no thread to wait for.
    with ThreadPoolExecutor(clients + workers + 1) as pool, zmqcy.Context() as context:
        frontend, backend = context.socket(zmqcy.ROUTER), context.socket(zmqcy.DEALER)
        frontend.bind("inproc://clients")
        backend.bind("inproc://workers")
        pool.submit(queue, frontend, backend)
        for number in range(workers):
            pool.submit(work, context, f"worker {number}")
        asking = [pool.submit(ask, context, f"client {number}") for number in range(clients)]
        for client in asking:
            print(*client.result(), sep="\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(*map(int, sys.argv[1:3]))
