"""What becomes of calls of libzmq and of the system that fail: an error that says so, and nothing lost.

shim.c, preloaded, makes the first, the second, ... call of a function fail in each step of faulty.py.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from memory import INSTRUMENTED

import zmqcy

HERE = Path(__file__).resolve().parent
FAILURES = {  # function: the errno that it may have, how often at least it is to fail
    ("zmq_ctx_new", "ENOMEM"): 1,
    ("zmq_ctx_set", "EINVAL"): 2,
    ("zmq_ctx_get", "EINVAL"): 2,
    ("zmq_ctx_term", "EINTR"): 1,
    ("zmq_socket", "EMFILE"): 5,
    ("zmq_bind", "EADDRINUSE"): 5,
    ("zmq_connect", "EINVAL"): 3,
    ("zmq_unbind", "ENOENT"): 1,
    ("zmq_disconnect", "ENOENT"): 1,
    ("zmq_setsockopt", "EINVAL"): 10,
    ("zmq_socket_monitor", "EINVAL"): 1,
    ("zmq_msg_init_size", "ENOMEM"): 5,
    ("zmq_msg_init_data", "ENOMEM"): 5,
    ("zmq_msg_send", "EINTR"): 10,
    ("zmq_send", "EINTR"): 5,
    ("zmq_msg_recv", "EINTR"): 50,
    ("zmq_msg_recv", "ENOMEM"): 50,
    ("poll", "EINTR"): 1,
    ("poll", "ENOMEM"): 1,
    ("epoll_create1", "EMFILE"): 1,
    ("epoll_ctl", "ENOSPC"): 20,
    ("malloc", "ENOMEM"): 10,
    ("calloc", "ENOMEM"): 1,
    ("realloc", "ENOMEM"): 3,
    ("zmq_curve_keypair", "ENOTSUP"): 1,
    ("epoll_wait", "EBADF"): 1,
}
if zmqcy.has("draft"):  # what tells of a thread-safe socket
    FAILURES |= {("zmq_poller_new", "EMFILE"): 3, ("zmq_poller_add", "ENOMEM"): 3, ("zmq_poller_fd", "EINVAL"): 3}
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the shim is preloaded as Linux does it"),
    pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer has its own malloc"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the shim is compiled by gcc"),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    target = tmp_path_factory.mktemp("shim") / "shim.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", HERE / "shim.c", "-o", target, "-ldl", "-Wl,--no-as-needed"]
    if prefix := os.environ.get("ZMQCY_LIBZMQ"):  # the one that zmqcy was built with
        flags = [f"-I{prefix}/include", f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-lzmq"]
    else:
        found = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libzmq"], capture_output=True, text=True, check=True
        )
        flags = found.stdout.split()
    if zmqcy.has("draft"):
        flags.append("-DZMQ_BUILD_DRAFT_API")
    subprocess.run([*command, *flags], check=True)
    return target


@pytest.mark.parametrize(("function", "error"), FAILURES, ids=lambda each: each)
def test_a_call_that_fails(shim, function, error):
    import errno

    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", HERE / "faulty.py", function, str(getattr(errno, error))],
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    failed, _raised = map(int, done.stdout.split())
    assert failed >= FAILURES[function, error]
