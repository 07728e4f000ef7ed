"""A model server with continuous batching: new requests join the batch, and each step makes one token per request.

    python engine_loop.py engine ENDPOINT                   binds; stop it with Ctrl-C
    python engine_loop.py client ENDPOINT REQUESTS [TOKENS] sends REQUESTS requests at once, for TOKENS tokens each (16)

A request is [number, number of tokens, prompt]. The prompt is an array of 32-bit integers, which is read in place. A
reply has several messages, [number, tokens], and ends with an empty one. The engine writes tokens into buffers, and
reuses a buffer when the tracker of its send is done. A sum stands in for the model.
"""

import sys
from array import array
from contextlib import suppress
from dataclasses import dataclass

import zmqcy

AT_ONCE = 32  # requests per step
PIECE = 8  # tokens per message
MODULUS = 50_000


class Buffers:
    """Buffers for sends. A buffer is reused when libzmq has released it."""

    def __init__(self):
        self.free = []
        self.made = 0

    def take(self):
        if self.free:
            return self.free.pop()
        self.made += 1
        return array("I", bytes(4 * PIECE))

    def lend(self, buffer, tracker):
        tracker.add_done_callback(lambda _: self.free.append(buffer))


@dataclass
class Request:
    address: list[zmqcy.Frame]  # the frames with routing id and number, sent back unchanged
    left: int
    last: int
    buffer: "array[int]"  # quoted, for Python before 3.12
    filled: int = 0


def admit(socket, buffers):
    """Read a request in place; return None if it is invalid."""
    peer, *parts = socket.recv_multipart(copy=False)
    try:
        number, tokens, prompt = parts
        last = sum(memoryview(prompt).cast("I")) % MODULUS
        return Request([peer, number], max(1, int(bytes(tokens))), last, buffers.take())
    except (ValueError, TypeError):
        return None


def step(request):
    """Make the next token."""
    request.last = request.buffer[request.filled] = (request.last * 31 + 7) % MODULUS
    request.filled += 1
    request.left -= 1


def run(socket):
    buffers, served = Buffers(), 0
    active: list[Request] = []
    try:
        while True:
            # When idle, wait; otherwise receive only queued requests that fit into the batch.
            while len(active) < AT_ONCE and socket.poll(0 if active else None):
                if request := admit(socket, buffers):
                    active.append(request)
            for request in active:
                step(request)
                if request.filled == PIECE or not request.left:
                    piece = memoryview(request.buffer)[: request.filled]
                    tracker = socket.send_multipart([*request.address, piece], copy=False, track=True)
                    buffers.lend(request.buffer, tracker)
                    request.buffer, request.filled = buffers.take(), 0
                if not request.left:
                    socket.send_multipart([*request.address, b""])
                    buffers.free.append(request.buffer)
                    served += 1
            active = [request for request in active if request.left]
    except KeyboardInterrupt:
        print(f"served {served}, buffers {buffers.made}")


def expected(prompt, tokens):
    last = sum(prompt) % MODULUS
    return [last := (last * 31 + 7) % MODULUS for _ in range(tokens)]


def ask(socket, count, tokens):
    prompts = {b"%d" % number: array("I", range(number, number + 100)) for number in range(count)}
    for number, prompt in prompts.items():
        socket.send_multipart([number, b"%d" % tokens, prompt])
    answers = {number: array("I") for number in prompts}
    pending = set(prompts)
    while pending:
        number, piece = socket.recv_multipart()
        answers[number].frombytes(piece)
        if not piece:
            pending.remove(number)
    right = sum(list(answers[number]) == expected(prompt, tokens) for number, prompt in prompts.items())
    print(f"{right} of {count} replies are correct")


def main(arguments):
    with zmqcy.Context(linger=1000) as context:
        match arguments:
            case "engine", url:
                # A ROUTER drops replies beyond the high-water mark, so it is larger than the number in flight.
                socket = context.socket(zmqcy.ROUTER, sndhwm=100_000, rcvhwm=2 * AT_ONCE)
                print("ready on", socket.bind(url).endpoint, flush=True)
                run(socket)
            case "client", url, count, *tokens:
                socket = context.socket(zmqcy.DEALER, rcvhwm=100_000)
                socket.connect(url)
                ask(socket, int(count), int(*tokens or [16]))
            case _:
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
