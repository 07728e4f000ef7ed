"""Peers that leave in the middle of messages."""

import threading
from contextlib import contextmanager, suppress

import zmqcy


@contextmanager
def peers_that_leave(sender, kind):
    """Let peer after peer connect to a bound socket and leave after three messages; the last one takes the rest.

    Gives the list of what they take: a message is a list of the first bytes of its parts. Closes the sender.
    """
    stop, got = threading.Event(), []
    endpoint = sender.last_endpoint

    def take(peer):
        got.append([part[:1] for part in peer.recv_multipart()])

    def run():
        with zmqcy.Context(linger=0) as context:
            while not stop.is_set():
                with context.socket(kind, rcvtimeo=200) as peer, suppress(zmqcy.Again):
                    peer.connect(endpoint)
                    for _ in range(3):
                        take(peer)
            with context.socket(kind, rcvtimeo=500) as last:
                last.connect(endpoint)
                with suppress(zmqcy.Again):
                    while True:
                        take(last)
                sender.close()  # before its peer: libzmq may abort where both go in the middle of a message

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield got
    finally:
        stop.set()
        thread.join()
