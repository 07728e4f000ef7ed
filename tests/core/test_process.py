"""The claims of docs/process.md on process-wide effects, and ways to opt out that no other file tests."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_the_import_changes_nothing(run):
    done = run("""
        import os, signal

        def state():
            # No SigQ: it counts the pending signals of all processes of the user.
            masks = [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
            handlers = [signal.getsignal(number) for number in signal.valid_signals()]
            return os.listdir("/proc/self/task"), os.listdir("/proc/self/fd"), masks, handlers

        before = state()
        import zmqcy
        print(state() == before)
    """)
    assert done.stdout == "True\n"


@pytest.mark.parametrize(
    ("options", "use", "env", "learns"),
    [
        ({}, "bind('tcp://127.0.0.1:*')", {}, True),
        ({}, "connect('ipc:///tmp/zmqcy-nobody')", {}, True),
        ({}, "bind('inproc://here')", {}, False),
        ({}, "fileno()", {}, False),
        ({}, "send(bytes(65_535))", {}, False),
        ({}, "send(bytes(65_536))", {}, True),
        ({}, "send_multipart([bytes(16_384)] * 4)", {}, True),
        ({"tuned": False}, "send(bytes(65_536))", {}, False),
        ({"tuned": False}, "bind('tcp://127.0.0.1:*')", {}, False),
        ({}, "bind('tcp://127.0.0.1:*')", {"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
    ],
)
def test_malloc_keeps_memory_once_a_socket_meets_a_network(run, options, use, env, learns):
    """A large message has the same effect. A context with tuned=False does not change malloc.

    malloc maps a block of 8 MiB at first. After zmqcy has freed a larger block, malloc takes it from the heap.
    """
    done = run("""
        import ctypes, sys, zmqcy

        class MallInfo(ctypes.Structure):
            names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
            _fields_ = [(name, ctypes.c_int) for name in names.split()]

        libc = ctypes.CDLL(None)
        if not hasattr(libc, "mallinfo"):
            sys.exit("no glibc")
        libc.mallinfo.restype = MallInfo
        libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
        with zmqcy.Context(**eval(sys.argv[1]), linger=0) as context:
            if sys.argv[2].startswith("send"):
                pull, push = context.socket(zmqcy.PULL), context.socket(zmqcy.PUSH)
                pull.bind("inproc://large")
                push.connect("inproc://large")
                eval("push." + sys.argv[2])
                pull.recv_multipart()
            else:
                eval("context.socket(zmqcy.PULL)." + sys.argv[2])
            before = libc.mallinfo().hblks
            libc.malloc(8 << 20)
            print(libc.mallinfo().hblks - before)
    """, options, use, check=False, env=env)  # fmt: skip
    if "no glibc" in done.stderr:
        pytest.skip("about the malloc of glibc")
    assert done.stdout == ("0\n" if learns else "1\n"), done.stderr


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("by", ["context", "shadow"])
def test_a_context_that_does_not_check_limits(run, by, checks):
    """Without the check, a limit of 64 file descriptors is enough."""
    done = run("""
        import os, resource, sys, zmqcy, zmqcy._base
        by, checks = sys.argv[1], eval(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        context = zmqcy.Context()
        shadow = zmqcy.Context.shadow(context)
        (context if by == "context" else shadow).check_limits = checks
        assert context.check_limits is shadow.check_limits is checks
        taken = [os.dup(0)]
        while taken[-1] < 63:
            taken.append(os.dup(0))
        for fd in taken[-9:]:
            os.close(fd)
        try:
            context.socket(8).close()
            print("made")
        except zmqcy.ZMQError as error:
            print(error)
    """, by, checks)  # fmt: skip
    text = "socket io_threads=1: libzmq needs 10 file descriptors, but only 9 are left; raise the limit (ulimit -n)"
    assert done.stdout == (f"{text}\n" if checks else "made\n")


def test_threads_of_libzmq_and_of_the_end_take_no_signals(run):
    done = run("""
        import os, signal, threading, zmqcy
        zmqcy.exit_linger = 0
        ours = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        context = zmqcy.Context()
        socket = context.socket(zmqcy.PUSH)
        socket.connect("tcp://127.0.0.1:1")
        socket.send(b"kept for a while")
        socket.close(linger=300)
        try:
            context.term(timeout=1)
        except zmqcy.TimedOut:
            pass
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == ours
        wanted = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1}
        for thread in os.listdir("/proc/self/task"):
            status = open(f"/proc/self/task/{thread}/status").read()
            mask = int(status.split("SigBlk:")[1].split()[0], 16)
            print(thread == str(os.getpid()), all(mask >> number - 1 & 1 for number in wanted))
    """)
    assert sorted(done.stdout.splitlines()) == ["False True"] * 3 + ["True False"]


def test_a_wait_in_an_event_loop_spins_or_sleeps(run):
    done = run("""
        import asyncio, resource, zmqcy, zmqcy.asyncio

        async def sleeps(spin):
            with zmqcy.asyncio.Context(spin=spin, linger=0) as context:
                a, b = context.socket(zmqcy.PAIR), context.socket(zmqcy.PAIR)
                a.bind("inproc://spin")
                b.connect("inproc://spin")
                await a.send(b"?")
                before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
                try:
                    await a.recv(timeout=50)
                except zmqcy.TimedOut:
                    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

        for spin in (1_000_000, 0):
            print(min(asyncio.run(sleeps(spin)) for _ in range(3)) == 0)
    """)
    assert done.stdout == "True\nFalse\n"
