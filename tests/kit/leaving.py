"""Peers that disconnect in the middle of messages."""

import threading
from contextlib import contextmanager, suppress

import zmqcy


@contextmanager
def peers_that_leave(sender, kind):
    """Connect several peers in turn to a bound socket. Each disconnects after three messages; the last gets the rest.

    Yield the list of received messages, each a list of the first bytes of its parts. Close the sender.
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
                sender.close()  # before its peer: libzmq may abort if both close in the middle of a message

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield got
    finally:
        stop.set()
        thread.join()
