"""Arrays of NumPy from one process to another without a copy in Python.

    python array_stream.py receiver ENDPOINT            it binds
    python array_stream.py sender ENDPOINT [COUNT]      100 pictures by default

A message has two parts: what the array is, as JSON, and its memory. The sender has two arrays and fills one while the
other is on its way: the tracker of a send says when libzmq has let go of the memory. The receiver looks at the message
where libzmq has put it, as an array.
"""

import json
import sys
from contextlib import suppress

import numpy

import zmqcy

SHAPE = 480, 640, 3
QUEUE = 4  # messages; each is 0.9 MB


def send_array(socket, array, **more):
    """Send an array, and return a tracker: do not write to the array until it is done."""
    head = json.dumps({"dtype": array.dtype.str, "shape": array.shape, **more}).encode()
    if not array.flags.c_contiguous:
        array = numpy.ascontiguousarray(array)
    return socket.send_multipart([head, array], copy=False, track=True)


def recv_array(socket):
    """Receive an array and what was sent with it; None is the end. The memory is that of the message."""
    head, *frames = socket.recv_multipart(copy=False)
    if not frames:
        return None
    told = json.loads(bytes(head))
    array = numpy.frombuffer(frames[0], dtype=told.pop("dtype")).reshape(told.pop("shape"))
    return array, told


def send(context, url, count):
    with context.socket(zmqcy.PUSH, sndhwm=QUEUE) as socket:
        socket.connect(url)
        buffers = [numpy.empty(SHAPE, numpy.uint8) for _ in range(2)]
        trackers: list[zmqcy.MessageTracker | None] = [None, None]
        for number in range(count):
            turn = number % 2
            if tracker := trackers[turn]:
                tracker.wait(30)
            buffers[turn].fill(number % 256)  # a camera
            trackers[turn] = send_array(socket, buffers[turn], number=number)
        socket.send_multipart([b""])
        for tracker in trackers:
            if tracker:
                tracker.wait(30)


def receive(context, url):
    """Check each picture, and return how many there were and how many bytes."""
    count = size = 0
    with context.socket(zmqcy.PULL, rcvhwm=QUEUE) as socket:
        print("ready on", socket.bind(url).endpoint, flush=True)
        while (received := recv_array(socket)) is not None:
            array, told = received
            if told["number"] != count or not (array == count % 256).all():
                sys.exit(f"picture {count} is wrong")
            count += 1
            size += array.nbytes
    return count, size


def main(arguments):
    with zmqcy.Context(linger=10_000) as context:
        match arguments:
            case "receiver", url:
                count, size = receive(context, url)
                print(f"{count} pictures, {size} bytes, all of them right")
            case "sender", url, *count:
                send(context, url, int(*count or [100]))
            case _:
                sys.exit(__doc__ or "wrong arguments: see the head of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
