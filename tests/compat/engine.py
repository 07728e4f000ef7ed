"""A front end and its engine, as in model servers: one with asyncio, the other with threads.

``engine.py front ipc|tcp FOLDER COMMAND...`` starts the engine with COMMAND, and prints the result as JSON. Buffers are
sent zero-copy, and reused when their trackers are done. Each has a checksum.
"""

import asyncio
import json
import queue
import random
import socket as sockets
import subprocess
import sys
import threading
import zlib
from collections import deque

import zmq
import zmq.asyncio

REQUESTS = 150
LIMIT = 20_000  # ms
SIZES = (0, 8, 1000, 70_000, 500_000, 2_000_000)
CAPACITY = 3_000_000  # bytes of a buffer: more than three sizes in a row
AT_ONCE = 16  # max requests without an answer
READY, ADD, END = b"\x00", b"\x01", b"\x02"


class Buffers:
    """Bytearrays that are sent zero-copy, and reused when libzmq has released them."""

    def __init__(self):
        self.free = []
        self.lent = deque()
        self.made = self.taken_again = 0

    def take(self):
        while self.lent and self.lent[-1][0].done:
            self.free.append(self.lent.pop()[1])
        if not self.free:
            self.made += 1
            return bytearray(CAPACITY)
        self.taken_again += 1
        return self.free.pop()

    def lend(self, tracker, buffer):
        if tracker.done:
            self.free.append(buffer)
        else:
            self.lent.appendleft((tracker, buffer))

    def wait(self):
        for tracker, _ in self.lent:
            tracker.wait(LIMIT / 1000)
            assert tracker.done


def fill(buffer, size, seed):
    """Write unique content to a buffer, and return the view to send and its checksum."""
    view = memoryview(buffer)[:size]
    pattern = random.Random(seed).randbytes(1021)
    for start in range(0, size, len(pattern)):
        view[start : start + len(pattern)] = pattern[: size - start]
    return view, zlib.crc32(view)


# ---- the engine: threads that receive, process and send


def receive(context, addresses, work):
    with context.socket(zmq.DEALER) as requests, context.socket(zmq.SUB) as news:
        requests.setsockopt(zmq.IDENTITY, b"engine-0")
        requests.connect(addresses["requests"])
        news.setsockopt(zmq.SUBSCRIBE, b"")
        news.connect(addresses["news"])
        requests.send_multipart((READY, json.dumps({"pid": 0}).encode()))
        poller = zmq.Poller()
        poller.register(requests, zmq.POLLIN)
        poller.register(news, zmq.POLLIN)
        while True:
            for ready, _ in poller.poll():
                kind, *frames = ready.recv_multipart(copy=False)
                if bytes(kind.buffer) == END:
                    work.put(None)
                    return
                work.put((ready is news, frames))


def answer(context, addresses, answers):
    buffers = Buffers()
    with context.socket(zmq.PUSH) as socket:
        socket.linger = LIMIT
        socket.connect(addresses["answers"])
        while (found := answers.get()) is not None:
            head, parts = found
            size = sum(part.nbytes for part in parts)
            buffer = buffers.take()
            view = memoryview(buffer)[:size]
            start = 0
            for part in parts:
                view[start : start + part.nbytes] = part
                start += part.nbytes
            del parts, found  # the frames of the request, in libzmq's memory
            head["crc"] = zlib.crc32(view)
            buffers.lend(socket.send_multipart((json.dumps(head).encode(), view), copy=False, track=True), buffer)
            del view
        buffers.wait()
        socket.send_multipart([json.dumps({"end": True, "again": buffers.taken_again}).encode()])


def engine(addresses):
    context = zmq.Context(io_threads=2)
    work, answers = queue.Queue(), queue.Queue()
    threads = [
        threading.Thread(target=receive, args=(context, addresses, work)),
        threading.Thread(target=answer, args=(context, addresses, answers)),
    ]
    for thread in threads:
        thread.start()
    while (found := work.get()) is not None:
        is_news, (head, *parts) = found
        head = json.loads(bytes(head.buffer))
        views = [part.buffer for part in parts]
        sums = [zlib.crc32(view) for view in views]
        answers.put(({"id": head["id"], "news": is_news, "good": sums == head["crc"]}, views))
    answers.put(None)
    for thread in threads:
        thread.join()
    context.term()


# ---- the front end


class Sentinel:
    """An object with a file descriptor that shows the end of the engine's process."""

    def __init__(self, socket):
        self.socket = socket

    def fileno(self):
        return self.socket.fileno()


async def front(transport, folder, command):
    def place(name):
        return f"ipc://{folder}/{name}" if transport == "ipc" else "tcp://127.0.0.1:*"

    context = zmq.asyncio.Context(io_threads=2)
    plain = zmq.Context(context)  # in the same libzmq: for sockets without coroutines
    requests, answers, news = context.socket(zmq.ROUTER), context.socket(zmq.PULL), plain.socket(zmq.XPUB)
    requests.setsockopt(zmq.ROUTER_MANDATORY, 1)
    for socket, name in ((requests, "requests"), (answers, "answers"), (news, "news")):
        socket.bind(place(name))
    addresses = {
        "requests": requests.last_endpoint.decode(),
        "answers": answers.last_endpoint.decode(),
        "news": news.getsockopt(zmq.LAST_ENDPOINT).decode(),
    }
    ours, theirs = sockets.socketpair()
    process = subprocess.Popen([*command, __file__, "engine", json.dumps(addresses)], pass_fds=[theirs.fileno()])
    theirs.close()

    # Before the event loop: the engine's hello, with a plain shadow of the asynchronous socket.
    shadow = zmq.Socket.shadow(requests)
    sentinel = Sentinel(ours)
    poller = zmq.Poller()
    poller.register(shadow, zmq.POLLIN)
    poller.register(news, zmq.POLLIN)
    poller.register(sentinel, zmq.POLLIN)
    waiting = {shadow, news}
    while waiting:
        ready = dict(poller.poll(LIMIT))
        assert ready and sentinel.fileno() not in ready and sentinel not in ready, "the engine did not start"
        for each in waiting & set(ready):
            if each is shadow:
                identity, kind, _ = shadow.recv_multipart()
                assert kind == READY
            else:
                assert news.recv() == b"\x01"
            poller.unregister(each)
            waiting.remove(each)

    buffers, of_news, found = Buffers(), Buffers(), {"bad": 0, "answers": 0, "news": 0}
    expected, room = {}, asyncio.Semaphore(AT_ONCE)

    async def ask():
        for number in range(REQUESTS):
            await room.acquire()
            # The largest part last: pyzmq tracks only the last part, and copies small parts.
            sizes = sorted(SIZES[(number + i) % len(SIZES)] for i in range(1 + number % 3))
            buffer = buffers.take()
            views, start = [], 0
            for size in sizes:
                view, _ = fill(memoryview(buffer)[start:], size, f"{number} {start}")
                views.append(view)
                start += size
            expected[number] = zlib.crc32(memoryview(buffer)[:start])
            head = json.dumps({"id": number, "crc": [zlib.crc32(view) for view in views]}).encode()
            message = (identity, ADD, head, *views)
            buffers.lend(await requests.send_multipart(message, copy=False, track=True), buffer)
            del views, view, message
            if number % 10 == 0:
                tell(-1 - number)

    def tell(number):
        buffer = of_news.take()
        view, crc = fill(buffer, 100_000, number)
        expected[number] = crc
        head = json.dumps({"id": number, "crc": [crc]}).encode()
        of_news.lend(news.send_multipart((ADD, head, view), copy=False, track=True), buffer)

    async def take():
        while True:
            frames = await answers.recv_multipart(copy=False)
            head = json.loads(bytes(frames[0].buffer))
            if "end" in head:
                found["taken again by the engine"] = head["again"] > 0
                return
            good = head["good"] and head["crc"] == expected.pop(head["id"]) == zlib.crc32(frames[1].buffer)
            found["bad"] += not good
            found["news" if head["news"] else "answers"] += 1
            if not head["news"]:
                room.release()
            if found["news"] + found["answers"] == REQUESTS + (REQUESTS + 9) // 10:
                await requests.send_multipart((identity, END))

    await asyncio.wait_for(asyncio.gather(ask(), take()), LIMIT / 1000)
    await asyncio.get_running_loop().run_in_executor(None, buffers.wait)
    of_news.wait()
    found["left"] = len(expected)
    found["taken again"] = buffers.taken_again > 0
    found["the end is seen"] = sentinel.fileno() in dict(poller.poll(LIMIT))
    found["exit code"] = process.wait(LIMIT / 1000)
    del shadow
    for socket in (requests, answers, news):
        socket.close(0)
    context.term()
    ours.close()
    return found


# ---- trackers


def trackers(transport, folder):
    """Hold a message back, and check that libzmq keeps its buffer until then."""
    context = zmq.Context()
    push, pull = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    push.linger = pull.linger = 0
    push.sndtimeo = pull.rcvtimeo = LIMIT
    pull.bind(f"ipc://{folder}/held" if transport == "ipc" else "tcp://127.0.0.1:*")
    address = pull.last_endpoint.decode()
    pull.unbind(address)
    push.connect(address)  # no socket is bound there
    buffer = bytearray(b"x" * 100_000)
    tracker = push.send_multipart([b"head", buffer], copy=False, track=True)
    held = [tracker.done]
    try:
        tracker.wait(0.01)
    except zmq.NotDone as error:
        held.append(type(error).__name__)
    pull.bind(address)
    head, body = pull.recv_multipart(copy=False)
    tracker.wait(LIMIT / 1000)
    buffer[:] = b"y" * 100_000  # libzmq is done with it
    view = body.buffer
    pull.close()
    push.close()
    context.term()
    good = view == b"x" * 100_000 == body.bytes and bytes(head) == b"head"  # the frames outlive the context
    return [*held, tracker.done, good, len(view), head.more, body.more]


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    if role == "engine":
        engine(json.loads(rest[0]))
    elif role == "front":
        print(json.dumps(asyncio.run(front(rest[0], rest[1], rest[2:]))))
    else:
        print(json.dumps(trackers(*rest)))
