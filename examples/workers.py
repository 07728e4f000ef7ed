"""Clients and workers with a queue device between them. Neither side knows how many peers the other side has.

    python workers.py [CLIENTS [WORKERS]]

By default there are three clients and two workers. Each client sends five requests. The ROUTER socket of the queue
adds the routing id of the client to a request. The DEALER socket sends requests to the workers round-robin. The
ROUTER socket sends each reply to its client.
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
        for request in socket:  # until the context is terminated
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
    # The context exits first, which stops the queue and the workers. Then the pool has no threads to wait for.
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
