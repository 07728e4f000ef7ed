"""A server of a model: requests come in while others are worked on, all of them move one step at a time.

    python engine_loop.py engine ENDPOINT                   it binds; Ctrl-C ends it
    python engine_loop.py client ENDPOINT REQUESTS [TOKENS] ask for so many answers at a time, of so many tokens (16)

A request is [number, how many tokens, prompt], the last as 32-bit numbers, and is read where libzmq has put it. An
answer comes in pieces, [number, tokens], and ends with an empty one. The engine writes them into buffers that it uses
again as soon as the tracker of a send says that libzmq has let go of them. In place of a model there is a sum.
"""

import sys
from array import array
from contextlib import suppress
from dataclasses import dataclass

import zmqcy

AT_ONCE = 32  # requests in a step
PIECE = 8  # tokens that are sent together
MODULUS = 50_000


class Buffers:
    """Memory for what is sent, used again when libzmq has let go of it."""

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
    address: list[zmqcy.Frame]  # the frames of peer and number, sent back as they came
    left: int
    last: int
    buffer: "array[int]"  # quoted, for Python before 3.12
    filled: int = 0


def admit(socket, buffers):
    """Read a request without a copy. Return None where it is none that we know."""
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
            # With nothing to do it waits; else it takes what has come, as far as there is room.
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
    print(f"{right} of {count} answers are right")


def main(arguments):
    with zmqcy.Context(linger=1000) as context:
        match arguments:
            case "engine", url:
                # An answer that finds no room at its client would be dropped: the mark is above what is in flight.
                socket = context.socket(zmqcy.ROUTER, sndhwm=100_000, rcvhwm=2 * AT_ONCE)
                print("ready on", socket.bind(url).endpoint, flush=True)
                run(socket)
            case "client", url, count, *tokens:
                socket = context.socket(zmqcy.DEALER, rcvhwm=100_000)
                socket.connect(url)
                ask(socket, int(count), int(*tokens or [16]))
            case _:
                sys.exit(__doc__ or "wrong arguments: see the head of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
