"""A chat. Rooms are topics, and a server forwards messages.

    python chat.py server IN OUT              binds both; stop it with Ctrl-C
    python chat.py join IN OUT ROOM NAME      sends lines of stdin; prints the messages of the room

A client pushes its messages to IN, and subscribes to its room at OUT. The server's XPUB socket at OUT has
`xpub_verbose`, so it receives each subscription. The server then publishes a greeting in that room. A client that
receives it has joined, and misses no later message.
"""

import sys
import threading
from contextlib import suppress

import zmqcy

PART = b"\0"  # ends the name of a room, so that room "a" does not receive messages of room "ab"


def serve(context, incoming, outgoing):
    heard = context.socket(zmqcy.PULL, maxmsgsize=10_000)
    said = context.socket(zmqcy.XPUB, xpub_verbose=True)
    print("ready on", heard.bind(incoming).endpoint, said.bind(outgoing).endpoint, flush=True)
    poller = zmqcy.Poller()
    poller.register(heard, zmqcy.POLLIN)
    poller.register(said, zmqcy.POLLIN)
    while True:
        ready = [socket for socket, _ in poller.poll()]
        if heard in ready:
            message = heard.recv_multipart()
            if len(message) == 3 and message[0].endswith(PART):  # otherwise it is not from our client
                said.send_multipart(message)
        if said in ready:
            event = said.recv()
            if event[:1] == b"\x01":
                said.send_multipart([event[1:], b"", b"a client has joined"])


def listen(context, url, room, inside):
    """Print the messages of a room, until the context is terminated."""
    with suppress(zmqcy.ContextTerminated), context.socket(zmqcy.SUB) as socket:
        socket.subscribe(room)
        socket.connect(url)
        while True:
            _, name, text = socket.recv_multipart()
            if name:
                print(f"{name.decode(errors='replace')}: {text.decode(errors='replace')}", flush=True)
            inside.set()


def join(context, incoming, outgoing, room, name):
    room = room.encode() + PART
    inside = threading.Event()
    threading.Thread(target=listen, args=[context, outgoing, room, inside]).start()
    with context.socket(zmqcy.PUSH, linger=1000) as socket:
        socket.connect(incoming)

        def say(text):
            socket.send_multipart([room, name.encode(), text.encode()])

        inside.wait()
        say("joined")
        for line in sys.stdin:
            say(line.rstrip("\n"))
        say("left")


def main(arguments):
    with zmqcy.Context() as context:
        match arguments:
            case "server", incoming, outgoing:
                serve(context, incoming, outgoing)
            case "join", incoming, outgoing, room, name:
                try:
                    join(context, incoming, outgoing, room, name)
                finally:
                    context.shutdown()  # wakes the receiving thread
            case _:
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
