"""Echo each request, on two endpoints at once. Stop it with Ctrl-C.

    python echo_server.py [ENDPOINT ...]

By default it listens on the TCP ports 5000 and 6000 of this machine. With port `*` the system chooses a free port.
"""

import sys
from contextlib import suppress

import zmqcy

ENDPOINTS = ["tcp://127.0.0.1:5000", "tcp://127.0.0.1:6000"]


def main(endpoints):
    with zmqcy.Context() as context, context.socket(zmqcy.REP) as socket:
        for endpoint in endpoints or ENDPOINTS:
            try:
                bound = socket.bind(endpoint)
            except zmqcy.ZMQError as error:
                sys.exit(str(error))
            print("ready on", bound.endpoint, flush=True)
        for message in socket:
            print("got", message.decode(errors="replace"), flush=True)
            socket.send(message)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
