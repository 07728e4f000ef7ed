"""Helpers of the programs of this folder: they run steps in order, and report the result of each."""

import importlib.metadata
import json
import socket
import sys
import time
import traceback

import zmq


def until(condition, what, seconds=20):
    """Wait until `condition` returns a true value; return it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)
    return value


def free_ports(count):
    """Return the numbers of free ports. All are taken before the first is released."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def run(*steps, argument=None):
    """Run the steps in order; print a line of JSON for each: its name and its error, or "".

    Each step gets the return value of the step before.
    """
    side = "zmqcy" if zmq.Context.__module__.startswith("zmqcy") else "pyzmq"
    print(json.dumps({"side": side, "pyzmq": importlib.metadata.version("pyzmq")}), flush=True)
    for step in steps:
        name = step.__name__.replace("_", " ")
        try:
            argument = step(argument)
        except Exception as error:
            traceback.print_exc()
            print(json.dumps({"step": name, "wrong": f"{type(error).__name__}: {error}"}), flush=True)
            if argument is None:
                sys.exit(1)
        else:
            print(json.dumps({"step": name, "wrong": ""}), flush=True)
