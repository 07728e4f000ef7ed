"""What the programs of this folder share: they do one thing after another, and say how each went."""

import importlib.metadata
import json
import socket
import sys
import time
import traceback

import zmq


def until(condition, what, seconds=20):
    """Return what `condition` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return value


def free_ports(count):
    """Return numbers of ports that nobody has. All are taken before the first is let go."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run(*deeds, argument=None):
    """Do each, in order, and print a line of JSON for each: its name, and what went wrong with it, if anything.

    Each gets what the one before returned.
    """
    side = "zmqcy" if zmq.Context.__module__.startswith("zmqcy") else "pyzmq"
    print(json.dumps({"side": side, "pyzmq": importlib.metadata.version("pyzmq")}), flush=True)
    for deed in deeds:
        name = deed.__name__.replace("_", " ")
        try:
            argument = deed(argument)
        except Exception as error:
            traceback.print_exc()
            print(json.dumps({"deed": name, "wrong": f"{type(error).__name__}: {error}"}), flush=True)
            if argument is None:
                sys.exit(1)
        else:
            print(json.dumps({"deed": name, "wrong": ""}), flush=True)
