"""Show zmqcy at work: an echo, a million messages through a device, and speeds compared with pyzmq.

    python demo.py [--messages COUNT]

It exits with code 1 if a message is lost, repeated, changed, out of order or late.
"""

import argparse
import asyncio
import importlib
import multiprocessing
import platform
import signal
import struct
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from statistics import median

import zmqcy
from zmqcy.devices import Device

ANY_PORT = "tcp://127.0.0.1:*"
LIMIT = 60  # seconds that a message may take
TURNS = 5  # of each work with each library
NAMES = {"zmqcy": "zmqcy", "zmq": "pyzmq"}
SPAWN = multiprocessing.get_context("spawn")
NEXT = """
Next: docs/tutorial.md     sockets and patterns in half an hour
      docs/from-pyzmq.md   what changes for programs written for pyzmq
      docs/performance.md  careful measurements, which `make bench` repeats"""


class Failed(Exception):
    """A message was lost, repeated, changed, out of order or late."""


@contextmanager
def sockets(library, *kinds):
    """Make sockets of zmqcy or of pyzmq, whose names are the same."""
    with library.Context() as context, ExitStack() as stack:
        made = [stack.enter_context(context.socket(kind)) for kind in kinds]
        for socket in made:
            socket.rcvtimeo = socket.sndtimeo = socket.linger = LIMIT * 1000
        yield made


@contextmanager
def process(function, *arguments):
    """Run a function in another process, and wait for its end."""
    child = SPAWN.Process(target=function, args=arguments, daemon=True)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child inherits it: Ctrl-C is for the parent
    child.start()
    signal.signal(signal.SIGINT, handler)
    try:
        yield
        child.join(LIMIT)
        if child.exitcode != 0:
            raise Failed(f"{function.__name__} did not finish: exit code {child.exitcode}")
    finally:
        child.kill()


def numbered(count):
    """Return messages of eight bytes, each the number of its place."""
    return [struct.pack("<Q", place) for place in range(count)]


def check(messages, count):
    if messages != numbered(count):
        raise Failed(f"{len(set(messages)):,} of {count:,} messages arrived, or they are out of order")


def echo():
    print("An echo between two processes: REQ to REP over tcp", flush=True)
    with sockets(zmqcy, zmqcy.REQ) as [client]:
        client.bind(ANY_PORT)  # either side may bind: here the server connects
        with process(reply_all, "zmqcy", client.last_endpoint, 3):
            for word in ("hello", "from", "zmqcy"):
                client.send_string(word)
                print(f"    sent {word}, received {client.recv_string()}", flush=True)


def through_a_device(count):
    print(f"\n{count:,} messages of 8 bytes through a streamer device, between three processes", flush=True)
    device = Device(zmqcy.STREAMER, ANY_PORT, ANY_PORT, run_in="process")
    with device, sockets(zmqcy, zmqcy.PULL) as [receiver]:
        receiver.connect(device.endpoints["back"][0])
        with process(send_all, "zmqcy", device.endpoints["front"][0], count):
            rate = receive_all(receiver, count, show_progress)
    print(f"    all arrived, each once and in order: {rate:,.0f} messages/s")


def show_progress(percent):
    """Draw a bar in a terminal, or print four lines elsewhere."""
    if sys.stdout.isatty():
        print(f"\r    [{'#' * (percent // 5):20}] {percent} %", end="\n" if percent == 100 else "", flush=True)
    elif percent % 25 == 0:
        print(f"    {percent} %", flush=True)


def send_all(library, endpoint, count):
    with sockets(importlib.import_module(library), zmqcy.PUSH) as [sender]:
        sender.connect(endpoint)
        for message in numbered(count):
            sender.send(message)


def reply_all(library, endpoint, count):
    with sockets(importlib.import_module(library), zmqcy.REP) as [server]:
        server.connect(endpoint)
        for _ in range(count):
            server.send(server.recv())


def receive_all(receiver, count, progress=lambda percent: None):
    messages = [receiver.recv()]
    start = time.perf_counter()
    for percent in range(5, 101, 5):
        messages += [receiver.recv() for _ in range(count * percent // 100 - len(messages))]
        progress(percent)
    seconds = time.perf_counter() - start
    check(messages, count)
    return count / seconds


def one_way(library, count):
    with sockets(library, zmqcy.PULL) as [receiver]:
        port = receiver.bind_to_random_port("tcp://127.0.0.1")
        with process(send_all, library.__name__, f"tcp://127.0.0.1:{port}", count):
            return receive_all(receiver, count)


def round_trips(library, count):
    messages, replies = numbered(count), []
    with sockets(library, zmqcy.REQ) as [client]:
        port = client.bind_to_random_port("tcp://127.0.0.1")
        with process(reply_all, library.__name__, f"tcp://127.0.0.1:{port}", count + 1):
            client.send(b"the first one waits for the connection")
            client.recv()
            start = time.perf_counter()
            for message in messages:
                client.send(message)
                replies.append(client.recv())
            seconds = time.perf_counter() - start
    check(replies, count)
    return count / seconds


def tasks(library, count):
    async def send(sender):
        for message in messages:
            await sender.send(message)

    async def run():
        with sockets(importlib.import_module(f"{library.__name__}.asyncio"), zmqcy.PULL, zmqcy.PUSH) as [pull, push]:
            pull.bind("inproc://tasks")
            push.connect("inproc://tasks")
            start = time.perf_counter()
            sending = asyncio.create_task(send(push))
            received = [await pull.recv() for _ in messages]
            seconds = time.perf_counter() - start
            await sending
        check(received, count)
        return count / seconds

    messages = numbered(count)
    return asyncio.run(run())


def compare(count):
    libraries = [zmqcy]
    with suppress(ImportError):
        libraries.append(importlib.import_module("zmq"))
    print(f"\nMessages of 8 bytes per second, one per call: median of {TURNS} turns, and ratio (lowest to highest)")
    print(f"    {'':40}" + "".join(f"{NAMES[library.__name__]:>12}" for library in libraries))
    for text, work, part in [
        ("PUSH to PULL over tcp, two processes", one_way, 5),
        ("REQ to REP over tcp, round trips", round_trips, 500),
        ("PUSH to PULL in asyncio, two tasks", tasks, 50),
    ]:
        turns = [[work(library, max(count // part, 1)) for library in libraries] for _ in range(TURNS)]
        row = f"    {text:40}" + "".join(f"{median(rates):12,.0f}" for rates in zip(*turns, strict=True))
        ratios = [ours / theirs for ours, *others in turns for theirs in others]
        print(row + (f"  {median(ratios):5.1f} ({min(ratios):.1f} to {max(ratios):.1f})" if ratios else ""), flush=True)
    if len(libraries) == 2:
        print(f"    pyzmq {libraries[1].__version__} is on libzmq {libraries[1].zmq_version()}")
    else:
        print(f"    To compare with pyzmq, install it and run this again: {sys.executable} -m pip install pyzmq")


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="COUNT", help="1,000,000 by default")
    count = parser.parse_args().messages
    if count < 1:
        parser.error("--messages: at least 1")
    print(f"zmqcy {zmqcy.__version__}, Python {platform.python_version()}, libzmq {zmqcy.zmq_version()}\n", flush=True)
    try:
        echo()
        through_a_device(count)
        compare(count)
    except (Failed, zmqcy.TimedOut) as failure:
        sys.exit(f"failed: {failure}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    print(NEXT)


if __name__ == "__main__":
    main()
