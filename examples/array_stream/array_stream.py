"""Send NumPy arrays from one process to another without copies in Python.

    python array_stream.py receiver ENDPOINT            binds
    python array_stream.py sender ENDPOINT [COUNT]      sends 100 pictures by default

A message has two parts: type and shape of the array as JSON, and its memory. The sender has two arrays. It fills one
while the other is being sent. The tracker of a send completes when libzmq has released the memory. The receiver makes
an array on the memory of the message.
"""

import json
import sys
from contextlib import suppress

import numpy

import zmqcy

SHAPE = 480, 640, 3
QUEUE = 4  # messages; each is 0.9 MB


def send_array(socket, array, **more):
    """Send an array zero-copy; return a tracker. Do not write to the array until it is done."""
    head = json.dumps({"dtype": array.dtype.str, "shape": array.shape, **more}).encode()
    if not array.flags.c_contiguous:
        array = numpy.ascontiguousarray(array)
    return socket.send_multipart([head, array], copy=False, track=True)


def recv_array(socket):
    """Receive an array and its metadata; None after the last one. The array uses the memory of the message."""
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
    """Check each picture; return the number of pictures and bytes."""
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
                print(f"{count} pictures, {size} bytes, all correct")
            case "sender", url, *count:
                send(context, url, int(*count or [100]))
            case _:
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
