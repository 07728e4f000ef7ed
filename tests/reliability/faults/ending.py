"""Programs that exit with open sockets and unsent messages."""

import signal
import subprocess
import sys
import textwrap
import time

from program import endpoint, joined, make, program, started

ENDING = "Exit and unsent messages"
HEAD = """
import asyncio, atexit, gc, os, signal, sys, threading, time
import {module} as zmq
url = {url!r}
"""
GOOD = "exit code 0, nothing on stderr"
OPEN = 'c = zmq.Context(); s = c.socket(zmq.PUSH); s.connect(url); s.send(b"x" * 1000)'


def ending(zmq, code, url="tcp://127.0.0.1:1", limit=6):
    """Run a program until it exits; return its exit code and stderr as text."""
    code = HEAD.format(module=zmq.__name__, url=url) + textwrap.dedent(code)
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return "hangs"
    last = done.stderr.strip().rpartition("\n")[2]
    code = done.returncode
    how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
    return f"{how}, {'stderr: ' + last[:80] if last else 'nothing on stderr'}"


def delivered(zmq, code):
    """Run a program that sends to a peer in this process; return how it exited, and whether its message arrived."""
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL")
    pull.bind("tcp://127.0.0.1:*")
    how = ending(zmq, code, endpoint(zmq, pull))
    return f"{how}; {'the message arrived' if pull.poll(500) and len(pull.recv()) == 1000 else 'the message is lost'}"


@program(
    ENDING,
    "Contexts and sockets are dropped in every order: sockets first, context first, neither, in a cycle, in a thread",
    GOOD,
    "test_exit.py::test_nothing_is_said_in_the_good_cases",
    "test_context.py::test_sockets_in_a_cycle_are_collected",
)
def every_order(zmq):
    codes = {
        "sockets first": "c = zmq.Context(); s = c.socket(zmq.PULL); del s; del c",
        "context first": "c = zmq.Context(); s = c.socket(zmq.PULL); del c; del s",
        "neither": "c = zmq.Context(); s = c.socket(zmq.PULL); p = zmq.Poller(); p.register(s)",
        "a cycle": "c = zmq.Context(); s = c.socket(zmq.PULL); l = [c, s]; l.append(l); del c, s, l",
        "a thread": """
            def work():
                c = zmq.Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
            t = threading.Thread(target=work); t.start(); t.join()""",
    }
    bad = {name: how for name, code in codes.items() if (how := ending(zmq, code)) != GOOD}
    return "; ".join(f"{name}: {how}" for name, how in bad.items()) or GOOD


@program(
    ENDING,
    "A daemon thread is blocked in recv",
    GOOD,
    "test_exit.py::test_a_daemon_thread_that_waits_does_not_hold_the_exit_up",
)
def daemon_thread(zmq):
    return ending(
        zmq,
        """
        c = zmq.Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
        t = threading.Thread(target=s.recv, daemon=True); t.start()
        while open(f"/proc/self/task/{t.native_id}/stat").read().rpartition(")")[2].split()[0] != "S": pass
        """,
    )


@program(
    ENDING,
    "An atexit handler creates a context and sends",
    f"{GOOD}; the message arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def atexit_handler(zmq):
    return delivered(zmq, f"@atexit.register\ndef work():\n    {OPEN}")


@program(
    ENDING,
    "The program exits right after a send; linger was not set",
    f"{GOOD}; the message arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def send_and_return(zmq):
    return delivered(zmq, OPEN)


@program(
    ENDING,
    "The same, with a context that a function has dropped",
    f"{GOOD}; the message arrived",
    "test_context.py::test_what_a_dropped_socket_has_queued_arrives",
)
def send_and_drop(zmq):
    return delivered(zmq, f"def work():\n    {OPEN}\nwork()")


@program(
    ENDING,
    "os._exit with an unsent message",
    "exit code 3, nothing on stderr",
    "test_exit.py::test_os_exit_waits_for_nothing",
)
def os_exit(zmq):
    return ending(zmq, f"{OPEN}; os._exit(3)")


@program(
    ENDING,
    "An uncaught exception, with open sockets",
    "exit code 1, stderr: RuntimeError: mine",
    "test_exit.py::test_an_unhandled_exception_keeps_its_exit_code",
)
def exception(zmq):
    return ending(zmq, "c = zmq.Context(); s = c.socket(zmq.PULL)\nraise RuntimeError('mine')")


@program(
    ENDING,
    "asyncio: a receive is pending at exit, with the event loop closed or not",
    GOOD,
    "test_aio_reliability.py::test_a_process_that_ends_with_operations_says_nothing",
)
def asyncio_loops(zmq):
    head = f"""
        from {zmq.__name__}.asyncio import Context
        c = Context(); s = c.socket(zmq.PULL); s.bind("tcp://127.0.0.1:*")
        async def work():
            global waiting
            waiting = s.recv()
            await asyncio.sleep(0)
        loop = asyncio.new_event_loop(); loop.run_until_complete(work())
        """
    closed = ending(zmq, head + "loop.close()")
    kept = ending(zmq, head)
    return closed if closed == kept else f"closed: {closed}; not closed: {kept}"


@program(
    ENDING,
    "An unsent message to an unreachable peer; linger was not set (`exit_linger` 1500 ms)",
    "exit code 0, stderr: zmqcy: dropped messages that could not be sent: PUSH tcp://127.0.0.1:1",
    "test_exit.py::test_a_peer_that_is_absent_is_waited_for_so_long_and_named",
)
def absent_peer(zmq):
    return ending(zmq, f"zmq.exit_linger = 1500; {OPEN}")


@program(
    ENDING,
    "An unsent message to an unreachable peer; linger 900 ms",
    f"{GOOD}; exits after 900 ms",
    "test_exit.py::test_a_linger_that_was_set_is_kept_to_the_letter",
)
def absent_peer_linger(zmq):
    start = time.monotonic()
    how = ending(zmq, f"{OPEN}; s.linger = 900")
    return f"{how}; exits {'after' if time.monotonic() - start > 0.9 else 'before'} 900 ms"


@program(
    ENDING,
    "An unsent message to a peer that has closed; linger was not set (`exit_linger` 100 ms)",
    GOOD,
    "test_exit.py::test_an_exit_linger_of_zero_drops_without_a_word",
)
def dead_peer(zmq):
    return ending(
        zmq,
        """
        zmq.exit_linger = 100
        c = zmq.Context(); a = c.socket(zmq.PULL); port = a.bind_to_random_port("tcp://127.0.0.1")
        s = c.socket(zmq.PUSH); s.connect(f"tcp://127.0.0.1:{port}"); s.send(b"1"); a.recv(); a.close()
        for i in range(100): s.send(b"never")
        """,
    )


@program(
    ENDING,
    "1,000 messages to a slow peer; linger was not set",
    f"{GOOD}; all messages arrived",
    "test_exit.py::test_what_was_sent_arrives",
)
def slow_peer(zmq):
    ctx = zmq.Context()
    pull = make(zmq, ctx, "PULL", rcvhwm=1, rcvbuf=4096)
    pull.bind("tcp://127.0.0.1:*")
    code = "c = zmq.Context(); s = c.socket(zmq.PUSH); s.connect(url)\nfor i in range(1000): s.send(b'x' * 1000)"
    waiting = started(ending, zmq, code, endpoint(zmq, pull))
    count = 0
    while pull.poll(1000):
        pull.recv()
        count += 1
        time.sleep(0.0002)  # a slow receiver
    return f"{joined(*waiting)[1:-1]}; {'all' if count == 1000 else count} messages arrived"


@program(
    ENDING,
    "The garbage collector frees a context with a message that cannot be sent",
    "the collector continues",
    "test_context.py::test_a_dropped_context_ends_in_the_background",
)
def dropped_and_collected(zmq):
    how = ending(
        zmq, f"{OPEN}; l = [s, c]; l.append(l); del s, c, l; gc.collect(); print('continued'); os._exit(0)", limit=3
    )
    return "the collector continues" if how == GOOD else how


@program(
    ENDING,
    "A coroutine drops a context with a message that cannot be sent",
    "the event loop continues",
    "test_aio_reliability.py::test_a_context_with_a_message_that_cannot_be_sent_is_dropped_without_blocking",
)
def dropped_in_a_loop(zmq):
    how = ending(
        zmq,
        f"""
        from {zmq.__name__}.asyncio import Context
        async def send():
            c = Context(); s = c.socket(zmq.PUSH); s.connect(url); await s.send(b"never")
        async def work():
            await send(); gc.collect(); await asyncio.sleep(0); os._exit(0)
        asyncio.run(work())""",
        limit=3,
    )
    return "the event loop continues" if how == GOOD else how


@program(
    ENDING,
    "The garbage collector frees a socket and its monitor in a reference cycle, 100 times",
    GOOD,
    "test_monitor.py::test_a_socket_and_its_watcher_go_in_a_cycle",
)
def monitored_in_a_cycle(zmq):
    return ending(
        zmq,
        """
        c = zmq.Context()
        for _ in range(100):
            s = c.socket(zmq.STREAM)
            s.linger = 0
            holder = [s.watch() if hasattr(s, "watch") else s.get_monitor_socket(), s]
            holder.append(holder)
            del holder, s
            gc.collect()
        c.term()
        """,
    )
