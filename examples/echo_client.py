"""Send ten requests to the servers in turn, and print their replies.

    python echo_client.py [ENDPOINT ...]

Without endpoints it asks `echo_server.py` on its two ports: a REQ socket takes the next of its connections for each
request.
"""

import sys
from contextlib import suppress

import zmqcy

ENDPOINTS = ["tcp://127.0.0.1:5000", "tcp://127.0.0.1:6000"]


def main(endpoints):
    # Without linger, for a request that no server has taken is not worth a wait at the end.
    with zmqcy.Context() as context, context.socket(zmqcy.REQ, linger=0) as socket:
        for endpoint in endpoints or ENDPOINTS:
            socket.connect(endpoint)
        for number in range(10):
            socket.send_string(f"msg {number}")
            print("reply", socket.recv_string(), flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
