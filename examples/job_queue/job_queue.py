"""A job queue with acknowledgements. A job without a result in time is given to another worker.

    python job_queue.py broker CLIENTS WORKERS [SECONDS]    binds; repeats a job after SECONDS (5)
    python job_queue.py worker WORKERS [SECONDS]            takes SECONDS per job (0)
    python job_queue.py client CLIENTS JOB...               prints the result of each job

A worker requests one job at a time. Its result is also its next request. So no job is queued at a slow or dead
worker. If a worker is only slow, a job may run twice; then the first result counts.
"""

import itertools
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import zmqcy


@dataclass
class Job:
    client: bytes
    number: bytes  # assigned by the client
    body: bytes
    deadline: float = 0.0  # for the result of the current worker


class Broker:
    def __init__(self, context, clients, workers, seconds):
        self.clients, self.workers = context.socket(zmqcy.ROUTER), context.socket(zmqcy.ROUTER)
        self.workers.router_mandatory = True  # a send to a disconnected worker raises, instead of dropping the job
        self.urls = self.clients.bind(clients).endpoint, self.workers.bind(workers).endpoint
        self.seconds = seconds
        self.names = itertools.count()
        self.jobs: dict[bytes, Job] = {}  # unfinished jobs by name
        self.waiting: deque[bytes] = deque()  # names of jobs without a worker
        self.idle: deque[bytes] = deque()  # routing ids of workers

    def serve(self):
        poller = zmqcy.Poller()
        poller.register(self.clients, zmqcy.POLLIN)
        poller.register(self.workers, zmqcy.POLLIN)
        while True:
            ready = [socket for socket, _ in poller.poll(self.seconds * 250)]
            if self.clients in ready:
                for client, *parts in self.clients.recv_multipart_many(100):
                    if len(parts) == 2:  # otherwise it is not from our client
                        self.accept(Job(client, *parts))
            if self.workers in ready:
                for worker, *finished in self.workers.recv_multipart_many(100):
                    self.idle.append(worker)
                    if len(finished) == 2:
                        self.finish(*finished)
            self.take_back()
            self.deal()

    def accept(self, job):
        name = b"%d" % next(self.names)
        self.jobs[name] = job
        self.waiting.append(name)

    def finish(self, name, result):
        if job := self.jobs.pop(name, None):  # None: another worker was faster
            self.clients.send_multipart([job.client, job.number, result])

    def take_back(self):
        now = time.monotonic()
        for name, job in self.jobs.items():
            if 0 < job.deadline < now:
                print("retry", job.body.decode(), flush=True)
                job.deadline = 0.0
                self.waiting.appendleft(name)

    def deal(self):
        while self.idle and self.waiting:
            if (job := self.jobs.get(self.waiting[0])) is None:  # a late result has arrived
                self.waiting.popleft()
                continue
            with suppress(zmqcy.HostUnreachable):  # the next worker gets the job
                self.workers.send_multipart([self.idle.popleft(), self.waiting[0], job.body])
                job.deadline = time.monotonic() + self.seconds
                self.waiting.popleft()


def work(context, url, seconds):
    socket = context.socket(zmqcy.DEALER)
    socket.connect(url)
    socket.send(b"")  # ready
    while True:
        name, body = socket.recv_multipart()
        print("got", body.decode(), flush=True)
        time.sleep(seconds)  # replace this with the work
        socket.send_multipart([name, body.upper()])


def ask(context, url, bodies):
    socket = context.socket(zmqcy.DEALER)
    socket.connect(url)
    socket.send_multipart_many([[b"%d" % number, body.encode()] for number, body in enumerate(bodies)])
    results = dict(socket.recv_multipart() for _ in bodies)
    for number in range(len(bodies)):
        print(results[b"%d" % number].decode())


def main(arguments):
    with zmqcy.Context(linger=1000) as context:
        match arguments:
            case "broker", clients, workers, *seconds:
                broker = Broker(context, clients, workers, float(*seconds or [5]))
                print("ready on", *broker.urls, flush=True)
                broker.serve()
            case "worker", url, *seconds:
                work(context, url, float(*seconds or [0]))
            case "client", url, *bodies if bodies:
                ask(context, url, bodies)
            case _:
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
