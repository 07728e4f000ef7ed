"""The names of pyzmq in ``import zmqcy as zmq``, with the same meaning, or the reason why one is missing."""

import importlib.util
import json
import subprocess
import sys

import pytest

import zmqcy

OTHERWISE = {
    "DraftFDWarning": "there are no thread-safe sockets whose FD could be missed",
    "Enum IntEnum IntFlag annotations os sys contextmanager _typing": "pyzmq's own imports",
    "HWM": "libzmq has no such option since version 3: `hwm`, `sndhwm`, `rcvhwm`",
    "PYZMQ_DRAFT_API": "DRAFT_API",
    "Stopwatch": "time.perf_counter; zmqcy.compat has it",
    "SyncContext SyncSocket": "Context and Socket; zmqcy.compat has them",
    "ZMQVersionError": "NotSupported, a NotImplementedError like it; zmqcy.compat has it",
    "_FINISHED_TRACKER _libs_on_path __revision__": "of pyzmq's own; zmqcy.compat has what others used",
    "backend sugar utils": "pyzmq's layers; zmqcy.compat has them",
    "get_includes get_library_dirs": "zmqcy brings no libzmq to compile against",
    "zmq_poll": "Poller, which keeps its items; zmqcy.compat has it",
}
REASONS = {name for names in OTHERWISE for name in names.split()}


def ask_pyzmq(code):
    """Run code after ``import zmq`` in a new process, and return its output, parsed as JSON."""
    if importlib.util.find_spec("zmq") is None:
        pytest.skip("pyzmq is not installed")
    command = [sys.executable, "-W", "ignore", "-c", f"import json, zmq, enum\nprint(json.dumps({code}))"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


def test_every_name_of_pyzmq_is_there_or_has_a_reason():
    names = {name for name in ask_pyzmq("dir(zmq)") if not hasattr(zmqcy, name)} - {"__annotations__"}
    assert names == REASONS


def test_numbers_are_the_same():
    numbers = ask_pyzmq("{n: getattr(zmq, n) for n in dir(zmq) if type(getattr(zmq, n)).__module__ == 'zmq.constants'}")
    assert len(numbers) > 240
    assert {name: number for name, number in numbers.items() if getattr(zmqcy, name, number) != number} == {}


def test_exceptions_descend_from_the_same():
    bases = ask_pyzmq("{n: [b.__name__ for b in c.__mro__] for n, c in vars(zmq).items() if isinstance(c, type)"
                      " and issubclass(c, Exception) and c is not zmq.DraftFDWarning}")  # fmt: skip
    for name, ours in ((name, getattr(zmqcy, name, None)) for name in bases):
        if ours is not None:
            assert set(bases[name]) <= {base.__name__ for base in ours.__mro__}, name


def test_modules_are_loaded_on_first_use(run):
    run("""
    import sys, zmqcy
    assert not {"zmqcy.constants", "zmqcy.compat"} & set(sys.modules)
    assert zmqcy.error.ZMQError is zmqcy.ZMQError and zmqcy.constants.PUSH is zmqcy.PUSH
    assert zmqcy.pyzmq_version() == ".".join(map(str, zmqcy.pyzmq_version_info()))
    """)


def test_errors_know_their_number():
    assert zmqcy.Again().errno == zmqcy.EAGAIN and zmqcy.ContextTerminated().errno == zmqcy.ETERM
    assert zmqcy.TimedOut().errno == zmqcy.EAGAIN and zmqcy.NotSupported().errno == zmqcy.ENOTSUP
    with pytest.raises(zmqcy.ZMQBaseError):
        raise zmqcy.NotDone


def test_a_context_shadows_another(ctx):
    shadows = [zmqcy.Context(ctx), zmqcy.Context(shadow=ctx), zmqcy.Context(shadow=ctx.underlying)]
    for number, shadow in enumerate(shadows):
        assert shadow.underlying == ctx.underlying
        with shadow.socket(zmqcy.PUSH, linger=0) as push, ctx.socket(zmqcy.PULL, rcvtimeo=5000) as pull:
            pull.bind(f"inproc://shadow{number}")
            push.connect(f"inproc://shadow{number}")
            push.send(b"through both")
            assert pull.recv() == b"through both"
    del shadow, shadows
    assert not ctx.closed
    with pytest.raises(TypeError, match="shadow"):
        zmqcy.Context(shadow="nothing")


def test_an_object_with_an_address_is_shadowed(socket, ctx):
    class Foreign:
        def __init__(self, of):
            self.underlying = of.underlying

    push = socket(zmqcy.PUSH)
    assert zmqcy.Socket.shadow(Foreign(push)).underlying == push.underlying
    assert zmqcy.Context.shadow(Foreign(ctx)).underlying == ctx.underlying


def test_pyzmq_takes_our_addresses():
    """The function that pyzmq's shadows call for the address of another object accepts zmqcy's objects."""
    code = "__import__('zmq.utils.interop').utils.interop.cast_int_addr(__import__('zmqcy').Context().underlying) > 0"
    assert ask_pyzmq(code) is True


def test_sockets_of_another_class(ctx):
    class Named(zmqcy.Socket):
        name = "nobody"

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.name = "somebody"

    class Contexts(zmqcy.Context):
        _socket_class = Named

    with ctx.socket(zmqcy.PUSH, socket_class=Named) as named, ctx.socket(zmqcy.PUSH) as plain:
        assert named.name == "somebody" and not hasattr(plain, "name")
    with Contexts(linger=0) as contexts:
        contexts.more = "an attribute"
        assert contexts.socket(zmqcy.PUB).name == "somebody" and contexts.socket(zmqcy.PUB).linger == 0


def test_hwm_sets_both(socket):
    pair = socket(zmqcy.PAIR, sndhwm=1)
    pair.hwm = 5
    assert (pair.sndhwm, pair.rcvhwm, pair.hwm, pair.get_hwm()) == (5, 5, 5, 5)
    pair.set_hwm(6)
    assert pair.rcvhwm == 6


def test_the_longest_path_of_ipc(socket, tmp_path):
    assert zmqcy.IPC_PATH_MAX_LEN > 90 and zmqcy.DRAFT_API is zmqcy.has("draft")
    with pytest.raises(zmqcy.ZMQError):
        socket(zmqcy.PUSH).bind("ipc://" + "x" * (zmqcy.IPC_PATH_MAX_LEN + 1))


def test_a_frame_gives_the_properties_of_its_connection(socket):
    pull, push = socket(zmqcy.PULL), socket(zmqcy.PUSH)
    pull.bind("tcp://127.0.0.1:*")
    push.connect(pull.last_endpoint)
    push.send(b"x")
    frame = pull.recv(copy=False)
    assert frame["Socket-Type"] == frame.get("Socket-Type") == "PUSH"
    with pytest.raises(TypeError, match="must be a str, not 0"):
        list(frame)
