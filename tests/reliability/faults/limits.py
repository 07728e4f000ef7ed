"""Programs that reach a limit of file descriptors, memory, disk space or peers."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from program import (
    LONG,
    endpoint,
    in_child,
    in_child_quietly,
    make,
    pair,
    program,
    started,
    wait_until,
)

LIMITS = "Limits"


def take_descriptors(limit=80):
    """Use up all file descriptors; return them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    return taken


@program(
    LIMITS,
    "0 to 30 free file descriptors: a context and its first socket are created",
    "EMFILE or success",
    "test_context.py::test_no_descriptors_left",
)
def descriptors_of_a_context(zmq):
    def work(free):
        for fd in take_descriptors()[:free]:
            os.close(fd)
        zmq.Context().socket(zmq.PUSH)
        return "success"

    return " or ".join(sorted({in_child_quietly(work, free) for free in range(31)}))


def starved(zmq, call):
    """Make a call with 0 to 5 free file descriptors in a running context; return all outcomes."""

    def work(free):
        ctx = zmq.Context()
        listener, socket = make(zmq, ctx, "PULL"), make(zmq, ctx, "PUSH")
        listener.bind("tcp://127.0.0.1:*")
        taken = take_descriptors()
        for fd in taken[:free]:
            os.close(fd)
        try:
            call(ctx, socket, endpoint(zmq, listener))
        finally:
            for fd in taken[free:]:
                os.close(fd)
        socket.connect(endpoint(zmq, listener))
        socket.send(b"x")
        return "success" if listener.recv() == b"x" else "the message is lost"

    return " or ".join(sorted({in_child_quietly(work, free) for free in range(6)}))


@program(
    LIMITS,
    "0 to 5 free file descriptors in a running context: one more socket is created",
    "EMFILE or success",
    "test_context.py::test_no_descriptors_left",
)
def descriptors_of_a_socket(zmq):
    return starved(zmq, lambda ctx, socket, url: ctx.socket(zmq.PUSH))


@program(
    LIMITS,
    "The same: bind over tcp",
    "EMFILE or success",
    "test_context.py::test_an_endpoint_without_descriptors",
)
def descriptors_of_a_bind(zmq):
    return starved(zmq, lambda ctx, socket, url: socket.bind("tcp://127.0.0.1:*"))


@program(
    LIMITS,
    "The same: connect over tcp from a source address",
    "EMFILE or success",
    "test_context.py::test_an_endpoint_without_descriptors",
)
def descriptors_of_an_address(zmq):
    def call(ctx, socket, url):
        socket.connect(url.replace("tcp://", "tcp://127.0.0.1:0;"))
        time.sleep(0.2)  # libzmq's thread looks for the address

    return starved(zmq, call)


@program(LIMITS, "The same: bind over ipc", "EMFILE or success")
def descriptors_of_a_bind_of_ipc(zmq):
    def call(ctx, socket, url):
        socket.bind(f"ipc:///tmp/zmq-{os.getpid()}")
        os.unlink(f"/tmp/zmq-{os.getpid()}")

    return starved(zmq, call)


@program(
    LIMITS,
    "The same: connect and accept over tcp; file descriptors are free again a moment later",
    "success",
)
def descriptors_of_a_connect(zmq):
    def call(ctx, socket, url):
        socket.connect(url)
        time.sleep(0.2)  # for libzmq's thread, which tries and fails

    return starved(zmq, call)


@program(
    LIMITS,
    "No free file descriptor: a peer connects over ipc",
    "SIGABRT",
    "test_context.py::test_an_ipc_bind_warns_where_few_descriptors_are_left",
)
def descriptors_of_an_ipc_listener(zmq):
    def work():
        with tempfile.TemporaryDirectory() as folder:
            pull, push = pair(zmq, zmq.Context(), url=f"ipc://{folder}/first")
            push.send(b"x")
            pull.recv()  # all threads run
            peer = subprocess.Popen(
                [sys.executable, "-S", "-c", "import socket, sys; s = socket.socket(socket.AF_UNIX); input(); "
                 "s.connect(sys.argv[1]); input()", f"{folder}/first"], stdin=subprocess.PIPE,
            )  # fmt: skip
            take_descriptors()
            peer.stdin.write(b"\n")
            peer.stdin.flush()
            try:
                return "no crash" if pull.poll(2000) == 0 else "a message arrived"
            finally:
                peer.kill()

    return in_child_quietly(work).partition(" ")[0]


@program(
    LIMITS,
    "No memory for a message of 200 MB that arrives over tcp at a bound socket",
    "the message is lost; the next one arrives",
    "test_memory.py::test_a_message_without_memory_stays",
)
def no_memory(zmq):
    reader, writer = os.pipe()

    def work():
        ctx = zmq.Context()
        pull = make(zmq, ctx, "PULL")
        pull.bind("tcp://127.0.0.1:*")
        with open("/proc/self/statm") as statm:
            used = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, -1))
        os.write(writer, endpoint(zmq, pull).encode())
        return "the message is lost; the next one arrives" if pull.recv() == b"small" else "the message arrives"

    def feed():
        url = os.read(reader, 1000).decode()
        push = make(zmq, zmq.Context(), "PUSH", immediate=1, sndtimeo=1000)
        push.connect(url)
        push.send(bytes(200_000_000))
        while True:
            push.send(b"small")

    started(feed)
    return in_child_quietly(work)


@program(
    LIMITS,
    "A message larger than maxmsgsize",
    "the peer is disconnected; other peers are served",
    "test_options_effects.py::test_maxmsgsize",
)
def maxmsgsize(zmq):
    ctx = zmq.Context()
    pull, bad = pair(zmq, ctx, maxmsgsize=1000)
    good = make(zmq, ctx, "PUSH")
    good.connect(endpoint(zmq, pull))
    bad.send(bytes(2000))
    good.send(b"good")
    got = pull.recv()
    alone = got == b"good" and not pull.poll(200)
    return "the peer is disconnected; other peers are served" if alone else f"{len(got)} bytes"


@program(
    LIMITS,
    "More sockets than max_sockets",
    "EMFILE",
    "test_context.py::test_more_sockets_than_max_sockets",
)
def max_sockets(zmq):
    ctx = zmq.Context()
    ctx.set(zmq.MAX_SOCKETS, 3)
    sockets = []
    try:
        for _ in range(10):
            sockets.append(make(zmq, ctx, "PUSH"))
        return f"{len(sockets)} sockets"
    except zmq.ZMQError as error:
        return errno.errorcode[error.errno]


@program(
    LIMITS,
    "600 sockets connect over inproc to an unbound name and are closed, and the context is terminated",
    "success",
    "test_context.py::test_who_waits_for_a_name_of_inproc_is_let_go_in_the_end",
)
def names_that_nobody_binds(zmq):
    def end():
        ctx = zmq.Context()
        for _ in range(600):
            socket = make(zmq, ctx, "DEALER")
            socket.linger = 0
            socket.connect("inproc://nobody")
            socket.close()
        ctx.term()
        return "success"

    return in_child_quietly(end)


@program(
    LIMITS,
    "`max_sockets` is set to 0, or to 2,147,483,647, and the first socket is created",
    "EINVAL; EINVAL",
    "test_context.py::test_what_libzmq_could_not_start_its_threads_with",
)
def max_sockets_out_of_range(zmq):
    def first_socket(value):
        ctx = zmq.Context()
        ctx.set(zmq.MAX_SOCKETS, value)
        ctx.socket(zmq.PUSH)
        return "success"

    return "; ".join(in_child_quietly(first_socket, value) for value in (0, 2**31 - 1))


@program(
    LIMITS,
    "Options with which libzmq cannot start its threads: a million io_threads, processor 1,000",
    "io_threads: EINVAL; thread_affinity_cpu_add: EINVAL",
    "test_context.py::test_what_libzmq_could_not_start_its_threads_with",
)
def options_for_later(zmq):
    def first_socket(option, value):
        ctx = zmq.Context()
        ctx.set(getattr(zmq, option), value)
        ctx.socket(zmq.PUSH)
        return "success"

    options = {"io_threads": ("IO_THREADS", 1_000_000), "thread_affinity_cpu_add": ("THREAD_AFFINITY_CPU_ADD", 1000)}
    return "; ".join(f"{name}: {in_child_quietly(first_socket, *option)}" for name, option in options.items())


@program(
    LIMITS,
    "bind with use_fd set to a file",
    "EINVAL",
    "test_options_effects.py::test_use_fd_of_what_does_not_listen",
)
def file_for_a_listener(zmq):
    def bind():
        socket = make(zmq, zmq.Context(), "PULL", use_fd=os.open(os.devnull, os.O_RDONLY))
        socket.bind("tcp://127.0.0.1:*")
        return f"bound, {socket.poll(500)} events"  # a thread of libzmq uses it

    return in_child_quietly(bind)


@program(
    LIMITS,
    "ipc on a full disk (a small tmpfs)",
    "ENOSPC; the socket still works",
)
def full_disk(zmq):
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=3", "none", folder], capture_output=True, text=True
        )
        if mounted.returncode:
            return "skipped: a tmpfs cannot be mounted here"
        try:
            with contextlib.suppress(OSError):
                for i in range(10):
                    open(f"{folder}/{i}", "w").close()
            ctx = zmq.Context()
            pull = make(zmq, ctx, "PULL")
            try:
                pull.bind(f"ipc://{folder}/socket")
                said = "bound"
            except zmq.ZMQError as error:
                said = errno.errorcode[error.errno]
            pull.bind("tcp://127.0.0.1:*")
            push = make(zmq, ctx, "PUSH")
            push.connect(endpoint(zmq, pull))
            push.send(b"x")
            return f"{said}; the socket still works" if pull.recv() == b"x" else said
        finally:
            subprocess.run(["umount", folder], check=True)


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@program(
    LIMITS,
    "500 peers of one ROUTER (10,000 in the long form)",
    "each peer gets its reply",
)
def many_peers(zmq):
    each, processes = (2500, 4) if LONG else (250, 2)  # one process does not have enough file descriptors
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    reader, writer = os.pipe()
    with zmq.Context() as ctx:  # imports all names before the fork, where a child could hang on an import
        make(zmq, ctx, "DEALER").close()

    def work():
        url = os.read(reader, 40).decode().strip()
        ctx = zmq.Context()
        ctx.set(zmq.MAX_SOCKETS, each + 10)
        peers = [make(zmq, ctx, "DEALER", rcvtimeo=60_000) for _ in range(each)]
        for i, peer in enumerate(peers):
            peer.connect(url)
            peer.send(b"%d" % i)
        return all(peer.recv() == b"%d" % i for i, peer in enumerate(peers))

    with ThreadPoolExecutor(processes) as pool:
        children = [pool.submit(in_child, work, 120) for _ in range(processes)]
        router = make(zmq, zmq.Context(), "ROUTER", backlog=1000, rcvtimeo=60_000)
        router.bind("tcp://127.0.0.1:*")
        for _ in range(processes):
            os.write(writer, endpoint(zmq, router).encode().ljust(40))
        for _ in range(each * processes):
            router.send_multipart(router.recv_multipart())
        said = {child.result() for child in children}
    return "each peer gets its reply" if said == {"True"} else " and ".join(said)


@program(
    LIMITS,
    "20,000 sockets are created, bound and closed (1,000,000 in the long form)",
    "memory and file descriptors do not grow",
    "test_context.py::test_descriptors_are_given_back",
)
def many_sockets(zmq):
    ctx = zmq.Context()

    def work(count):
        for i in range(count):
            socket = ctx.socket(zmq.PULL)
            socket.bind(f"inproc://{i}")
            socket.close()
            if i % 500 == 0:  # libzmq's thread closes them later
                wait_until(lambda: len(os.listdir("/proc/self/fd")) < 50, "descriptors are given back")

    work(2000)
    before = resident()
    work(1_000_000 if LONG else 20_000)
    grown = resident() - before
    return "memory and file descriptors do not grow" if grown < 8_000_000 else f"memory grows by {grown / 1e6:.0f} MB"


@program(
    LIMITS,
    "Backpressure: 100,000 non-blocking sends of 10 KB to a peer that never reads",
    "Again; memory does not grow",
    "test_socket.py::test_at_the_high_water_mark_nothing_is_lost",
)
def never_reads(zmq):
    ctx = zmq.Context()
    _, push = pair(zmq, ctx, rcvhwm=100, sndhwm=100)  # the peer never reads
    message = bytes(10_000)

    def work(count):
        refused = 0
        for _ in range(count):
            try:
                push.send(message, zmq.DONTWAIT)
            except zmq.Again:
                refused += 1
        return refused

    while not work(10_000):
        pass
    before = resident()
    refused = work(100_000)
    grown = resident() - before
    said = "Again" if refused else "all were sent"
    return f"{said}; memory does not grow" if grown < 8_000_000 else f"{said}; memory grows by {grown / 1e6:.0f} MB"
