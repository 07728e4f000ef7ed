"""A chat: rooms are topics, a server hands on what it is sent.

    python chat.py server IN OUT              it binds to both; Ctrl-C ends it
    python chat.py join IN OUT ROOM NAME      lines of stdin are said; those of the room are printed

A client pushes what it says to IN, and subscribes to its room at OUT. The server's socket there is an XPUB with
`xpub_verbose`: it learns of each subscription, and says so in the room. A client that hears that is in the room, and
misses nothing from then on.
"""

import sys
import threading
from contextlib import suppress

import zmqcy

PART = b"\0"  # ends the name of a room, so that a room "a" does not hear what is said in "ab"


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
            if len(message) == 3 and message[0].endswith(PART):  # else it is none of our clients
                said.send_multipart(message)
        if said in ready:
            event = said.recv()
            if event[:1] == b"\x01":
                said.send_multipart([event[1:], b"", b"somebody is at the door"])


def listen(context, url, room, inside):
    """Print what is said in a room, until the context ends."""
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
        say("is here")
        for line in sys.stdin:
            say(line.rstrip("\n"))
        say("has gone")


def main(arguments):
    with zmqcy.Context() as context:
        match arguments:
            case "server", incoming, outgoing:
                serve(context, incoming, outgoing)
            case "join", incoming, outgoing, room, name:
                try:
                    join(context, incoming, outgoing, room, name)
                finally:
                    context.shutdown()  # wakes the thread that listens
            case _:
                sys.exit(__doc__ or "wrong arguments: see the head of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
