"""Programs that pass unusual memory, addresses and contexts to a binding."""

import errno
import importlib
import os
import socket as system
import sys
import tempfile
from functools import partial

from program import LIMIT, endpoint, in_child_quietly, make, outcome, pair, program

ADDRESSES = "Memory and addresses"


@program(
    ADDRESSES,
    "A connected socket, which masks its data, sends a bytearray of 10,000 bytes over ws zero-copy (copy=False)",
    "it arrives unchanged; the bytearray is unchanged",
    "test_lending.py::test_what_is_lent_is_not_masked_in_place",
)
def masked_in_place(zmq):
    if not (zmq.has("ws") or zmq.has("WS")):
        return "skipped: this libzmq has no ws"
    ctx = zmq.Context()
    pull, push = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
    pull.bind("ws://127.0.0.1:*")
    push.connect(endpoint(zmq, pull).rstrip("/"))
    data = bytearray(b"x" * 10_000)
    push.send(data, copy=False)
    arrived = pull.recv() == b"x" * 10_000
    stayed = data == b"x" * 10_000
    arrives, stays = ("unchanged" if same else "changed" for same in (arrived, stayed))
    return f"it arrives {arrives}; the bytearray is {stays}"


@program(
    ADDRESSES,
    "A Frame of a subclass, of 0 to 100,000 bytes, is sent: alone, with copy=False, and as a part",
    "each arrives unchanged",
    "test_frames.py::test_a_frame_of_a_derived_class_is_sent_as_one",
)
def derived_frames(zmq):
    class Mine(zmq.Frame):
        """A subclass."""

    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    wrong = set()
    for size in (0, 1, 33, 34, 5000, 100_000):
        data = os.urandom(size)
        for send in (push.send, partial(push.send, copy=False), lambda frame: push.send_multipart([frame, b""])):
            said = outcome(send, Mine(data))
            if said.endswith("Error"):
                wrong.add(said)
            elif pull.recv_multipart()[0] != data:
                wrong.add("it arrives changed")
    return " and ".join(sorted(wrong)) or "each arrives unchanged"


@program(
    ADDRESSES,
    "Context.shadow gets a context of the other binding, which has its own libzmq, and a socket is created",
    "EFAULT",
    "test_interop.py::test_the_context_of_another_libzmq_is_refused",
)
def context_of_another_libzmq(zmq):
    try:
        other = importlib.import_module("zmq" if zmq.__name__ == "zmqcy" else "zmqcy")
    except ImportError:
        return "skipped: the other binding is not installed"
    with open("/proc/self/maps") as maps:
        if len({line.split()[-1] for line in maps if "libzmq" in line}) < 2:
            return "skipped: both use the same libzmq"

    def work():
        theirs = other.Context()
        used = theirs.socket(other.PULL)
        ours = zmq.Context.shadow(theirs.underlying).socket(zmq.PUSH)
        used.bind("inproc://x")
        ours.connect("inproc://x")
        ours.send(b"x")
        return f"created, and {used.recv()} arrived"

    return in_child_quietly(work)


@program(
    ADDRESSES,
    "bind to the ipc path of a regular file",
    "EADDRINUSE; the file still exists",
    "test_socket.py::test_a_bind_deletes_no_file",
)
def file_at_a_path(zmq):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/precious.txt"
        with open(path, "w") as file:
            file.write("precious")
        try:
            make(zmq, zmq.Context(), "REP").bind(f"ipc://{path}")
            said = "bound"
        except zmq.ZMQError as error:
            said = errno.errorcode[error.errno]
        return f"{said}; the file {'still exists' if os.path.isfile(path) else 'is deleted'}"


@program(
    ADDRESSES,
    "A DEALER and a PUSH connect to an unbound local port, and TCP connects the port to itself",
    "the DEALER receives its own message; the PUSH does not reconnect",
    "test_monitor.py::test_a_connection_to_itself_is_no_peer",
    "test_monitor.py::test_a_connection_to_itself_that_ends_at_once_is_told",
    "test_network.py::test_a_source_address_keeps_a_client_from_connecting_to_itself",
)
def connection_to_itself(zmq):
    ctx = zmq.Context()

    def connect(socket_type, **options):
        with system.create_server(("127.0.0.1", 0)) as one:
            port = one.getsockname()[1]
        client = make(zmq, ctx, socket_type, **options)
        monitor = client.get_monitor_socket()
        monitor.rcvtimeo = LIMIT
        client.connect(f"tcp://127.0.0.1:{port};127.0.0.1:{port}")
        return client, monitor

    dealer, _ = connect("DEALER")
    dealer.send(b"x")
    said = "the DEALER receives its own message" if dealer.recv() == b"x" else "the DEALER receives another message"
    _push, monitor = connect("PUSH", reconnect_ivl=1)
    while int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder) != zmq.EVENT_DISCONNECTED:
        pass
    monitor.rcvtimeo = 500
    again = outcome(monitor.recv_multipart)
    return f"{said}; the PUSH {'does not reconnect' if again in ('Again', 'TimedOut') else 'reconnects'}"


@program(ADDRESSES, "The SOCKS proxy of a client is down, and the client is closed", "SIGABRT")
def proxy_that_is_down(zmq):
    def work():
        ctx = zmq.Context()
        push = make(zmq, ctx, "PUSH")
        push.setsockopt(zmq.SOCKS_PROXY, b"127.0.0.1:1")
        monitor = push.get_monitor_socket()
        monitor.rcvtimeo = LIMIT
        push.connect("tcp://127.0.0.1:2")
        while int.from_bytes(monitor.recv_multipart()[0][:2], sys.byteorder) != zmq.EVENT_CONNECT_RETRIED:
            pass
        push.disable_monitor()
        push.close()
        ctx.term()
        return "success"

    return in_child_quietly(work).partition(" ")[0]
