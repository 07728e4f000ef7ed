"""Send ten requests to one or more servers, and print the replies.

    python echo_client.py [ENDPOINT ...]

By default it connects to both ports of `echo_server.py`. A REQ socket sends requests to its servers round-robin.
"""

import sys
from contextlib import suppress

import zmqcy

ENDPOINTS = ["tcp://127.0.0.1:5000", "tcp://127.0.0.1:6000"]


def main(endpoints):
    # linger=0: do not wait at exit for a request that no server has received.
    with zmqcy.Context() as context, context.socket(zmqcy.REQ, linger=0) as socket:
        for endpoint in endpoints or ENDPOINTS:
            socket.connect(endpoint)
        for number in range(10):
            socket.send_string(f"msg {number}")
            print("reply", socket.recv_string(), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
