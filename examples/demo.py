"""Show zmqcy at work: an echo, a million messages through a device, and what a second is good for.

    python demo.py [--messages COUNT]

It ends with exit code 1 if anything is lost, repeated, changed, out of order or late.
"""

import argparse
import multiprocessing
import platform
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import zmqcy

HERE = Path(__file__).resolve().parent
ANY_PORT = "tcp://127.0.0.1:*"
LIMIT = 60  # seconds that anything may take
SPAWN = multiprocessing.get_context("spawn")


class Failed(Exception):
    """Something did not go as it must."""


# ------------------------------------------------------------------------------------------- the echo, by two scripts


@contextmanager
def echo_server(*endpoints):
    """Run the server; give the lines in which it says that it is ready, or why it is not, and the process."""
    command = [sys.executable, HERE / "echo_server.py", *endpoints]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        late = threading.Timer(LIMIT, process.kill)
        late.start()
        try:
            assert process.stdout  # a pipe, as asked for
            yield [process.stdout.readline().strip() for _ in range(2)], process
        finally:
            late.cancel()
            process.kill()


def echo():
    print("An echo between two processes, on two ports")
    with echo_server() as (lines, process):
        refused = [line for line in lines if "Address already in use" in line]
        if not refused:
            return converse(lines, process)
    print(f"    {refused[0]}: so it takes two free ports")
    with echo_server(ANY_PORT, ANY_PORT) as (lines, process):
        converse(lines, process)


def converse(lines, server):
    """Let the client talk to the server, and show what both printed."""
    show("server", lines)
    if not all(line.startswith("ready on ") for line in lines):
        show("server", server.stdout.read().splitlines())
        raise Failed("the server did not start")
    command = [sys.executable, HERE / "echo_client.py", *(line.removeprefix("ready on ") for line in lines)]
    client = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    replies = client.stdout.splitlines()
    if client.returncode or len(replies) != 10:
        show("client", replies)
        raise Failed(f"the client ended with exit code {client.returncode}")
    for number, reply in enumerate(replies):
        got = server.stdout.readline().strip()
        show("server", [got])
        show("client", [reply])
        if (got, reply) != (f"got msg {number}", f"reply msg {number}"):
            raise Failed("the echo is not what was sent")


def show(name, lines):
    for line in lines:
        print(f"    {name}: {line}", flush=True)


# ------------------------------------------------------------------------------------- processes that share a pipe each


class Child:
    """A function that runs in a process of its own; it ends when this end of its pipe is closed."""

    def __init__(self, function, *arguments):
        self.pipe, pipe = SPAWN.Pipe()
        self.name = function.__name__
        self.process = SPAWN.Process(target=run, args=(pipe, function, *arguments), daemon=True)
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is not for the child: it ends with its pipe
        self.process.start()
        signal.signal(signal.SIGINT, handler)
        pipe.close()

    def answer(self):
        """Return the next thing that the function has to tell."""
        if not self.pipe.poll(LIMIT):
            raise Failed(f"{self.name} said nothing for {LIMIT} s")
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise Failed(f"{self.name} ended") from None
        if isinstance(answer, Failed):
            raise answer
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.pipe.close()
        self.process.join(5)
        self.process.kill()


def run(pipe, function, *arguments):
    """Be such a process: run the function, and end its context when the other end of the pipe is closed."""
    with suppress(zmqcy.ContextTerminated, BrokenPipeError), zmqcy.Context() as context:
        threading.Thread(target=end_with, args=(pipe, context), daemon=True).start()
        try:
            function(pipe, context, *arguments)
        except Failed as failure:
            pipe.send(failure)
        pipe.poll(None)


def end_with(pipe, context):
    pipe.poll(None)  # nothing is ever sent this way, so this is its end
    context.shutdown()


# ------------------------------------------------------------------------------------------------------- what they run


def sender(pipe, context, endpoint, count):
    connect_and_send(context, endpoint, count)


def streamer(pipe, context, endpoint):
    with context.socket(zmqcy.PULL) as frontend, context.socket(zmqcy.PUSH) as backend:
        backend.connect(endpoint)
        pipe.send(frontend.bind(ANY_PORT).endpoint)
        zmqcy.device(zmqcy.STREAMER, frontend, backend)


def receiver(pipe, context, count):
    with context.socket(zmqcy.PULL) as socket:
        pipe.send(socket.bind(ANY_PORT).endpoint)
        pipe.send(receive_all(socket, count))


def replier(pipe, context):
    with context.socket(zmqcy.REP) as socket:
        pipe.send(socket.bind(ANY_PORT).endpoint)
        for message in socket:
            socket.send(message)


def numbered(count):
    """Return messages of eight bytes, each the little-endian number of its place."""
    return [struct.pack("<Q", number) for number in range(count)]


def connect_and_send(context, endpoint, count):
    """Send the messages, and an empty one as the last."""
    messages = numbered(count)
    with context.socket(zmqcy.PUSH) as socket:
        socket.connect(endpoint)
        for message in messages:
            socket.send(message)
        socket.send(b"")


def receive_all(socket, count):
    """Receive what is sent, compare it with what it has to be, and return how many messages came in a second."""
    messages = [socket.recv()]
    start = time.perf_counter()
    messages.extend(iter(socket.recv, b""))
    seconds = time.perf_counter() - start
    check(messages, numbered(count))
    return count / seconds


def check(messages, expected):
    if messages != expected:
        right = sum(a == b for a, b in zip(messages, expected, strict=False))
        raise Failed(f"{len(messages):,} messages came of {len(expected):,}, {right:,} of them in their place")


# --------------------------------------------------------------------------------------------------------- the figures


def stream(count):
    print(f"\n{count:,} messages of 8 bytes through a streamer device, between three processes", flush=True)
    with (
        Child(receiver, count) as last,
        Child(streamer, last.answer()) as device,
        Child(sender, device.answer(), count),
    ):
        rate = last.answer()  # the sender stays until then
    print(f"    all came, once each, in order and unchanged: {rate:,.0f} messages/s")


def tcp(count):
    with Child(receiver, count) as last, Child(sender, last.answer(), count):
        return last.answer()


def two_threads(count):
    with ThreadPoolExecutor(1) as pool, zmqcy.Context() as context, context.socket(zmqcy.PULL) as socket:
        socket.bind("inproc://threads")
        sent = pool.submit(connect_and_send, context, "inproc://threads", count)
        rate = receive_all(socket, count)
        sent.result()
    return rate


def one_thread(count):
    messages, received = numbered(count), []
    with zmqcy.Context() as context, context.socket(zmqcy.PAIR) as a, context.socket(zmqcy.PAIR) as b:
        a.bind("inproc://thread")
        b.connect("inproc://thread")
        start = time.perf_counter()
        for message in messages:
            a.send(message)
            received.append(b.recv())
        seconds = time.perf_counter() - start
    check(received, messages)
    return count / seconds


def round_trips(count):
    messages, replies = numbered(count), []
    with Child(replier) as server, zmqcy.Context() as context, context.socket(zmqcy.REQ) as socket:
        socket.rcvtimeo = LIMIT * 1000
        socket.connect(server.answer())
        socket.send(b"is the connection there?")
        socket.recv()
        start = time.perf_counter()
        for message in messages:
            socket.send(message)
            replies.append(socket.recv())
        seconds = time.perf_counter() - start
    check(replies, messages)
    return count / seconds


def table(count):
    print("\nOne message of 8 bytes a call, one run each (`make bench` measures with care)")
    for text, work, share, unit in [
        ("PUSH to PULL over tcp, two processes", tcp, 1, "messages/s"),
        ("PUSH to PULL over inproc, two threads", two_threads, 1, "messages/s"),
        ("PAIR to PAIR over inproc, one thread", one_thread, 1, "messages/s"),
        ("REQ to REP over tcp, two processes", round_trips, 100, "round trips/s"),
    ]:
        print(f"    {text:40}{work(max(count // share, 1)):12,.0f} {unit}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=1_000_000, metavar="COUNT", help="a million by default")
    count = parser.parse_args().messages
    if count < 1:
        parser.error("--messages: one at least")
    print(f"zmqcy {zmqcy.__version__}, Python {platform.python_version()}, libzmq {zmqcy.zmq_version()}\n", flush=True)
    try:
        echo()
        stream(count)
        table(count)
    except (Failed, subprocess.TimeoutExpired, zmqcy.TimedOut) as failure:
        sys.exit(f"failed: {failure}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
