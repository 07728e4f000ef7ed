"""Programs that use sockets and contexts from several threads."""

import os
import threading
import time

from program import LIMIT, blocked, joined, make, outcome, pair, program, started

THREADS = "Threads"


@program(
    THREADS,
    "Four threads send on one socket, and four receive on another, without a lock",
    "each sent message arrived once and complete; other calls raised SocketInUse",
    "test_threads.py::test_many_threads_without_a_lock_lose_and_double_nothing",
    "test_threads.py::test_many_receivers_without_a_lock_tear_and_double_nothing",
)
def shared_sockets(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx, rcvhwm=0, sndhwm=0)
    sent, got, refused = [], [], set()
    ended = threading.Event()

    def send(number):
        for i in range(1000):
            message = b"%d-%d" % (number, i)
            try:
                push.send_multipart([message, message])
                sent.append(message)
            except zmq.ZMQError as error:
                refused.add(type(error).__name__)

    def receive():
        while not (ended.is_set() and len(got) >= len(sent)) and time.monotonic() < deadline:
            try:
                got.append(pull.recv_multipart())
            except zmq.Again:
                pass
            except zmq.ZMQError as error:
                refused.add(type(error).__name__)

    pull.rcvtimeo = 50
    deadline = time.monotonic() + LIMIT / 1000
    senders = [threading.Thread(target=send, args=[i]) for i in range(4)]
    receivers = [threading.Thread(target=receive) for _ in range(4)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders:
        thread.join()
    ended.set()
    for thread in receivers:
        thread.join()
    whole = sorted(message[0] for message in got if len(message) == 2 and message[0] == message[1])
    if len(whole) != len(got) or whole != sorted(sent):
        return f"{len(sent)} messages sent, {len(got)} arrived, {len(whole)} of them complete"
    others = f"other calls raised {' or '.join(sorted(refused))}" if refused else "no call raised"
    return f"each sent message arrived once and complete; {others}"


@program(
    THREADS,
    "A socket is closed while another thread is blocked in recv",
    "close: SocketInUse; recv: b'x'",
    "test_threads.py::test_a_second_thread_is_refused",
)
def close_while_blocked(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    waiting = blocked(pull.recv)
    closed = outcome(pull.close).replace("None", "done")
    push.send(b"x")
    received = joined(*waiting)
    push.close()
    return f"close: {closed}; recv: {received}"


@program(
    THREADS,
    "A context is terminated while a thread is blocked in recv",
    "recv: ContextTerminated; term: done",
    "test_context.py::test_term_wakes_who_waits",
    "test_context.py::test_shutdown_wakes_who_waits_and_lets_the_rest_fail",
)
def term_while_blocked(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL", rcvtimeo=-1)

    def work():
        try:
            return pull.recv()
        finally:
            pull.close()

    waiting = blocked(work)
    ended = joined(*started(ctx.term)).replace("None", "done")
    return f"recv: {joined(*waiting)}; term: {ended}"


@program(
    THREADS,
    "One thread changes a poller while another thread polls it, 300 times",
    "calls that met the other thread raised SocketInUse",
    "test_poll_errors.py::test_poller_in_two_threads",
    "test_poll_errors.py::test_many_threads_on_one_poller",
)
def poller_changed(zmq):
    ctx = zmq.Context()
    first, _ = pair(zmq, ctx)
    others = [make(zmq, ctx, "PULL") for _ in range(20)]
    poller = zmq.Poller()
    poller.register(first, zmq.POLLIN)
    outcomes, ended = set(), threading.Event()

    def work():
        while not ended.is_set():
            outcomes.add(outcome(poller.poll, 1))

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(15):
        for other in others:
            outcomes.add(outcome(poller.register, other, zmq.POLLIN))
        for other in others:
            outcomes.add(outcome(poller.unregister, other))
    ended.set()
    thread.join()
    raised = sorted(outcomes - {"None", "[]", "KeyError"})  # unregister after a refused register
    return f"calls that met the other thread raised {' and '.join(raised)}" if raised else "all succeeded"


@program(
    THREADS,
    "Eight threads create, use and close sockets of one context",
    "all messages arrived",
    "test_context.py::test_many_contexts_in_many_threads",
)
def shared_context(zmq):
    ctx = zmq.Context()

    def work():
        for _ in range(25):
            a, b = pair(zmq, ctx)
            b.send(b"x")
            assert a.recv() == b"x"
            a.close()
            b.close()
        return "all messages arrived"

    threads = [started(work) for _ in range(8)]
    outcomes = {joined(*each) for each in threads}
    ctx.term()
    return " and ".join(sorted(outcomes)).strip("'")


@program(
    THREADS,
    "Eight threads read, send and drop one frame at the same time",
    "every copy is correct",
    "test_frames.py::test_frames_across_threads",
    "test_frames.py::test_a_frame_is_sent_by_many_threads",
)
def shared_frame(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    data = os.urandom(100_000)
    push.send(data)
    frame = pull.recv(copy=False)

    def work(frame, number):
        a, b = pair(zmq, ctx, url=f"inproc://{number}")
        for _ in range(50):
            b.send(frame, copy=False)
            if bytes(a.recv(copy=False)) != data or bytes(frame) != data:
                return "a copy is wrong"
        return "every copy is correct"

    threads = [started(work, frame, number) for number in range(8)]
    del frame
    return " and ".join({joined(*each) for each in threads}).strip("'")


@program(
    THREADS,
    "Several threads use a socket in turn, with a lock",
    "all messages arrived",
    "test_threads.py::test_a_socket_goes_from_thread_to_thread",
)
def moved_socket(zmq):
    ctx = zmq.Context()
    pull, push = pair(zmq, ctx)
    lock = threading.Lock()

    def work():
        for _ in range(200):
            with lock:
                push.send(b"x")

    threads = [started(work) for _ in range(5)]
    count = sum(pull.recv() == b"x" for _ in range(1000))
    for each in threads:
        joined(*each)
    return "all messages arrived" if count == 1000 else f"{count} messages arrived"
