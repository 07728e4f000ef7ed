"""Exceptions, and functions that need neither context nor socket: versions, capabilities, keys, Z85."""

import copy
import ctypes
import errno
import os
import pickle
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import rows

import zmqcy
from zmqcy.errors import CLASSES, EFSM, EMTHREAD, ENOCOMPATPROTO, ETERM, HAUSNUMERO

# The other base classes of each exception, and its errno.
EXCEPTIONS = {
    zmqcy.Again: (errno.EAGAIN, BlockingIOError),
    zmqcy.TimedOut: (errno.EAGAIN, TimeoutError),
    zmqcy.InterruptedSystemCall: (errno.EINTR, InterruptedError),
    zmqcy.InvalidArgument: (errno.EINVAL, ValueError),
    zmqcy.ContextTerminated: (ETERM, OSError),
    zmqcy.StateError: (EFSM, OSError),
    zmqcy.IncompatibleProtocol: (ENOCOMPATPROTO, OSError),
    zmqcy.NoIOThread: (EMTHREAD, OSError),
    zmqcy.HostUnreachable: (errno.EHOSTUNREACH, OSError),
    zmqcy.NotSupported: (errno.ENOTSUP, NotImplementedError),
    zmqcy.SocketInUse: (errno.EBUSY, OSError),
    zmqcy.ForkedError: (errno.ECHILD, OSError),
    zmqcy.ZMQBindError: (errno.EADDRINUSE, OSError),
}
by_name = rows("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


# ---- classes


def test_every_class_is_exported_and_known_here():
    ours = {kind for kind in vars(zmqcy).values() if isinstance(kind, type) and issubclass(kind, zmqcy.ZMQError)}
    assert ours == {zmqcy.ZMQError, *EXCEPTIONS}


@by_name
def test_hierarchy(kind):
    assert issubclass(kind, zmqcy.ZMQError)
    assert issubclass(kind, OSError)
    assert issubclass(kind, EXCEPTIONS[kind][1])
    assert kind.__doc__


def test_hierarchy_of_timeouts():
    assert issubclass(zmqcy.TimedOut, zmqcy.Again)
    assert issubclass(zmqcy.TimedOut, BlockingIOError)
    assert not issubclass(zmqcy.Again, TimeoutError)


@rows(("number", "kind"), CLASSES.items(), ids=lambda each: getattr(each, "__name__", each))
def test_class_of_errno(number, kind):
    if kind is zmqcy.NotSupported:
        assert number in (errno.ENOTSUP, errno.EOPNOTSUPP)
    else:
        assert EXCEPTIONS[kind][0] == number


def test_every_class_but_two_belongs_to_an_errno():
    """TimedOut is an Again of a call with a timeout. ZMQBindError is raised by one method."""
    assert set(EXCEPTIONS) - set(CLASSES.values()) == {zmqcy.TimedOut, zmqcy.ZMQBindError}


def test_numbers_of_libzmq():
    assert HAUSNUMERO == 156384712
    assert [number - HAUSNUMERO for number in (EFSM, ENOCOMPATPROTO, ETERM, EMTHREAD)] == [51, 52, 53, 54]


# ---- messages


def test_text_names_call_endpoint_and_type(socket):
    first = socket(zmqcy.REP)
    first.bind("tcp://127.0.0.1:*")
    endpoint = first.last_endpoint
    with pytest.raises(zmqcy.ZMQError) as caught:
        socket(zmqcy.REP).bind(endpoint)
    error = caught.value
    assert type(error) is zmqcy.ZMQError
    assert str(error) == f"bind {endpoint} (REP): {os.strerror(errno.EADDRINUSE)}; {error.hint}"
    assert error.errno == zmqcy.EADDRINUSE == errno.EADDRINUSE
    assert error.strerror == os.strerror(errno.EADDRINUSE)
    assert (error.call, error.detail, error.socket_type) == ("bind", endpoint, "REP")
    assert error.args == (errno.EADDRINUSE, error.strerror)


def test_again(socket):
    with pytest.raises(zmqcy.Again) as caught:
        socket(zmqcy.PULL).recv(zmqcy.DONTWAIT)
    assert type(caught.value) is zmqcy.Again
    assert caught.value.errno == zmqcy.EAGAIN == errno.EAGAIN
    assert str(caught.value) == f"recv (PULL): {os.strerror(errno.EAGAIN)}; no message has arrived"
    with pytest.raises(BlockingIOError):
        socket(zmqcy.PUSH).send(b"", zmqcy.DONTWAIT)


@pytest.mark.parametrize("how", ["argument", "option"])
def test_timed_out(socket, how):
    pull = socket(zmqcy.PULL)
    if how == "option":
        pull.rcvtimeo = 20
    with pytest.raises(TimeoutError) as caught:
        pull.recv(timeout=20 if how == "argument" else None)
    assert type(caught.value) is zmqcy.TimedOut
    assert caught.value.errno == zmqcy.EAGAIN
    waited = re.fullmatch(
        r"recv \(PULL\): timed out after (\d+) ms( \(timeouts are in milliseconds\))?", str(caught.value)
    )
    assert waited and int(waited[1]) >= 20


def test_state_error(socket):
    with pytest.raises(zmqcy.StateError, match=r"^recv \(REQ\): ") as caught:
        socket(zmqcy.REQ).recv()
    assert caught.value.errno == zmqcy.EFSM == EFSM


def test_not_supported(socket):
    with pytest.raises(NotImplementedError, match=r"^send \(PULL\): ") as caught:
        socket(zmqcy.PULL).send(b"")
    assert caught.value.errno == zmqcy.ENOTSUP


def test_invalid_argument(socket):
    with pytest.raises(ValueError, match=r"^bind nowhere \(PUSH\): ") as caught:
        socket(zmqcy.PUSH).bind("nowhere")
    assert type(caught.value) is zmqcy.InvalidArgument
    assert caught.value.errno == zmqcy.EINVAL


def test_incompatible_protocol(socket):
    with pytest.raises(zmqcy.IncompatibleProtocol, match=r"^connect udp://127.0.0.1:9 \(PUSH\): ") as caught:
        socket(zmqcy.PUSH).connect("udp://127.0.0.1:9")
    assert caught.value.errno == zmqcy.ENOCOMPATPROTO


def test_unknown_transport(socket):
    with pytest.raises(zmqcy.ZMQError, match=r"^bind bogus://x \(PUSH\): ") as caught:
        socket(zmqcy.PUSH).bind("bogus://x")
    assert type(caught.value) is zmqcy.ZMQError
    assert caught.value.errno == zmqcy.EPROTONOSUPPORT


def test_no_io_thread():
    with zmqcy.Context(io_threads=0) as ctx, ctx.socket(zmqcy.PUSH, linger=0) as push:
        with pytest.raises(zmqcy.NoIOThread, match=r"^bind tcp://127.0.0.1:\* \(PUSH\): ") as caught:
            push.bind("tcp://127.0.0.1:*")
        assert caught.value.errno == zmqcy.EMTHREAD


def test_host_unreachable(socket):
    router = socket(zmqcy.ROUTER, router_mandatory=True)
    with pytest.raises(zmqcy.HostUnreachable, match=r"\(ROUTER\): ") as caught:
        router.send_multipart([b"nobody", b"message"])
    assert caught.value.errno == zmqcy.EHOSTUNREACH


def test_context_terminated(ctx, socket):
    pull = socket(zmqcy.PULL)
    ctx.shutdown()
    with pytest.raises(zmqcy.ContextTerminated, match=r"^recv \(PULL\): ") as caught:
        pull.recv()
    assert caught.value.errno == zmqcy.ETERM


def test_closed_socket(socket):
    push = socket(zmqcy.PUSH)
    push.close()
    with pytest.raises(zmqcy.ZMQError, match=r"^send \(PUSH\): the socket is closed$") as caught:
        push.send(b"")
    assert caught.value.errno == zmqcy.ENOTSOCK


def test_bind_error(socket):
    taken = socket(zmqcy.PULL)
    port = taken.bind_to_random_port("tcp://127.0.0.1")
    with pytest.raises(zmqcy.ZMQBindError, match=rf"^bind_to_random_port .*{port}.* \(PUSH\): ") as caught:
        socket(zmqcy.PUSH).bind_to_random_port("tcp://127.0.0.1", port, port + 1)
    assert caught.value.errno == zmqcy.EADDRINUSE


def test_endpoint_that_is_no_text(socket):
    """An endpoint is shown, whatever its bytes."""
    with pytest.raises(zmqcy.ZMQError, match=r"bind \\xff\\xfe \(PUSH\)"):
        socket(zmqcy.PUSH).bind(b"\xff\xfe")


# ---- errors that users create


@by_name
def test_made_by_hand(kind):
    number = EXCEPTIONS[kind][0]
    error = kind(number, call="send", detail="tcp://host:1", socket_type="PUSH")
    assert error.errno == number
    assert error.strerror == zmqcy.strerror(number)
    place = "send (PUSH)" if kind is zmqcy.TimedOut else "send tcp://host:1 (PUSH)"
    words = "timed out tcp://host:1" if kind is zmqcy.TimedOut else zmqcy.strerror(number)
    assert str(error) == f"{place}: {words}" + (f"; {error.hint}" if error.hint else "")
    assert error.args == (number, error.strerror)


@rows(
    ("words", "text"),
    [
        ({}, "broken"),
        ({"call": "term"}, "term: broken"),
        ({"detail": "x=1"}, "x=1: broken"),
        ({"call": "set", "detail": "x=1"}, "set x=1: broken"),
        ({"call": "recv", "socket_type": "REP"}, "recv (REP): broken"),
        ({"socket_type": "REP"}, "(REP): broken"),
    ],
)
def test_text(words, text):
    assert str(zmqcy.ZMQError(5, "broken", **words)) == text


@pytest.mark.skipif(sys.platform != "linux", reason="errno is found as glibc and musl have it")
def test_without_arguments():
    """Without arguments, the error is libzmq's last error in this thread, C's errno."""
    library = ctypes.CDLL(None)
    library.__errno_location.restype = ctypes.POINTER(ctypes.c_int)
    library.__errno_location()[0] = errno.EADDRINUSE
    number, error = zmqcy.zmq_errno(), zmqcy.ZMQError()
    assert number == zmqcy.EADDRINUSE
    assert error.errno == zmqcy.EADDRINUSE
    assert str(error) == error.strerror == os.strerror(errno.EADDRINUSE)
    assert (error.call, error.detail, error.socket_type) == (None, None, None)


def test_errno_alone():
    error = zmqcy.ZMQError(zmqcy.EFSM)
    assert error.errno == EFSM
    assert str(error) == error.strerror == zmqcy.strerror(EFSM)


def test_base_class_stays_itself():
    """OSError(EAGAIN) creates a BlockingIOError; ZMQError(EAGAIN) creates a ZMQError."""
    assert type(zmqcy.ZMQError(errno.EAGAIN)) is zmqcy.ZMQError
    assert type(zmqcy.Again(errno.EAGAIN)) is zmqcy.Again


@by_name
@rows("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(kind, protocol):
    error = kind(EXCEPTIONS[kind][0], call="send", detail="tcp://host:1", socket_type="PUSH")
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert again.args == error.args
    assert vars(again) == vars(error) == {"call": "send", "detail": "tcp://host:1", "socket_type": "PUSH"}
    assert str(again) == str(error)
    assert again.errno == error.errno


@by_name
@rows("duplicate", [copy.copy, copy.deepcopy])
def test_copy(kind, duplicate):
    error = kind(EXCEPTIONS[kind][0], "words", call="recv", socket_type="PULL")
    again = duplicate(error)
    assert again is not error
    assert type(again) is kind
    assert str(again) == str(error) == f"recv (PULL): {'timed out' if kind is zmqcy.TimedOut else 'words'}"


def test_pickle_of_one_that_was_raised(socket):
    with pytest.raises(zmqcy.TimedOut) as caught:
        socket(zmqcy.PULL).recv(timeout=1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is zmqcy.TimedOut
    assert str(again) == str(caught.value)


# ---- strerror and errno


@rows("number", zmqcy.Errno, ids=lambda number: number.name)
def test_strerror(number):
    text = zmqcy.strerror(number)
    assert text and "Unknown" not in text
    if number < HAUSNUMERO:
        assert text in (os.strerror(number), "Host unreachable")  # libzmq's own text
    assert zmqcy.ZMQError(number).strerror == text


def test_strerror_of_unknown():
    assert "1234567" in zmqcy.strerror(1234567)
    assert zmqcy.strerror(0) == os.strerror(0)


@rows("number", ["1", 1.5, None, b"1"])
def test_strerror_of_what_is_no_number(number):
    with pytest.raises(TypeError, match=re.escape(f"strerror: number must be an int, not {number!r}")):
        zmqcy.strerror(number)


def test_strerror_of_too_large():
    with pytest.raises(ValueError, match="strerror: number must be between"):
        zmqcy.strerror(1 << 40)


@rows("name", zmqcy.Errno.__members__)
def test_errno(name):
    number = getattr(zmqcy, name)
    if hasattr(errno, name):
        assert number == getattr(errno, name)
    else:
        assert number > HAUSNUMERO


# ---- versions and capabilities


def test_version():
    info = zmqcy.zmq_version_info()
    assert isinstance(info, tuple) and len(info) == 3
    assert all(type(number) is int for number in info)
    assert info >= (4, 2, 0)
    assert zmqcy.zmq_version() == "{}.{}.{}".format(*info)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", zmqcy.__version__)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the library that was loaded is found in /proc")
def test_version_is_that_of_the_library_in_this_process(run):
    run("""
        import ctypes, zmqcy
        with open("/proc/self/maps") as maps:
            [path] = {line.split()[-1] for line in maps if "libzmq" in line}
        numbers = [ctypes.c_int() for _ in range(3)]
        ctypes.CDLL(path).zmq_version(*(ctypes.byref(number) for number in numbers))
        assert zmqcy.zmq_version_info() == tuple(number.value for number in numbers)
    """)


@rows("capability", ["ipc", "curve", "gssapi", "pgm", "tipc", "norm", "vmci", "ws", "wss", "draft", "bogus", "", "IPC"])
def test_has(capability):
    answer = zmqcy.has(capability)
    assert type(answer) is bool
    if capability in ("bogus", "", "IPC"):
        assert not answer
    assert zmqcy.has(capability.encode()) is answer


@rows("transport", ["ipc", "vmci", "ws", "wss"])
def test_has_tells_which_transports_there_are(socket, transport, tmp_path):
    """libzmq reports a transport that it was built without by EPROTONOSUPPORT, and uses that only for this."""
    endpoint = f"ipc://{tmp_path}/x" if transport == "ipc" else f"{transport}://127.0.0.1:0"
    refused = None
    try:
        socket(zmqcy.PUB).bind(endpoint)
    except zmqcy.ZMQError as error:
        refused = error.errno
    assert zmqcy.has(transport) is (refused != zmqcy.EPROTONOSUPPORT)


@pytest.mark.skipif(zmqcy.has("draft"), reason="this libzmq has draft sockets")
@rows("name", ["SERVER", "CLIENT", "RADIO", "DISH", "GATHER", "SCATTER", "DGRAM", "PEER", "CHANNEL"])
def test_draft_sockets_without_draft(socket, name):
    with pytest.raises(zmqcy.NotSupported, match=f"^socket type={name}: "):
        socket(getattr(zmqcy, name))


@rows("capability", [1, None, ["ipc"]])
def test_has_takes_text(capability):
    with pytest.raises(TypeError, match="has: capability must be a str"):
        zmqcy.has(capability)


def test_has_with_nul():
    with pytest.raises(ValueError, match="has: capability contains a NUL"):
        zmqcy.has("ipc\0")


# ---- keys

with_curve = pytest.mark.skipif(not zmqcy.has("curve"), reason="this libzmq has no CURVE")


@with_curve
def test_curve_keypair():
    public, secret = zmqcy.curve_keypair()
    for key in (public, secret):
        assert type(key) is bytes
        assert len(key) == 40
        assert set(key.decode()) <= set(Z85)
        assert len(zmqcy.z85_decode(key)) == 32
    assert public != secret
    assert zmqcy.curve_keypair() != (public, secret)


@with_curve
@rows("kind", [bytes, bytes.decode], ids=["bytes", "str"])
def test_curve_public(kind):
    public, secret = zmqcy.curve_keypair()
    assert zmqcy.curve_public(kind(secret)) == public


@with_curve
def test_curve_public_of_reference():
    """The server's and the client's keys in zmq_curve(7)."""
    assert zmqcy.curve_public("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6") == b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    assert zmqcy.curve_public("D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs") == b"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


@with_curve
@rows("secret", [b"", b"x" * 39, b"x" * 41, "x" * 80])
def test_curve_public_of_wrong_length(secret):
    with pytest.raises(ValueError, match=f"curve_public: .* not {len(secret)}"):
        zmqcy.curve_public(secret)


@with_curve
def test_curve_public_of_wrong_characters():
    with pytest.raises(ValueError, match="curve_public"):
        zmqcy.curve_public('"' * 40)


@rows("secret", [None, 1, ["x" * 40]])
def test_curve_public_takes_text(secret):
    with pytest.raises(TypeError, match="curve_public: secret must be"):
        zmqcy.curve_public(secret)


# ---- Z85

REFERENCE = bytes.fromhex("864FD26FB559F75B")  # of RFC 32


def test_z85_reference():
    assert zmqcy.z85_encode(REFERENCE) == b"HelloWorld"
    assert zmqcy.z85_decode("HelloWorld") == REFERENCE
    assert zmqcy.z85_decode(b"HelloWorld") == REFERENCE


@rows("kind", [bytes, bytearray, memoryview])
def test_z85_of_buffers(kind):
    assert zmqcy.z85_encode(kind(REFERENCE)) == b"HelloWorld"


def test_z85_of_nothing():
    assert zmqcy.z85_encode(b"") == b""
    assert zmqcy.z85_decode(b"") == b""
    assert zmqcy.z85_decode("") == b""


@given(st.integers(0, 50).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words)))
def test_z85_round_trip(data):
    text = zmqcy.z85_encode(data)
    assert type(text) is bytes
    assert len(text) == len(data) * 5 // 4
    assert set(text.decode()) <= set(Z85)
    assert zmqcy.z85_decode(text) == data
    assert zmqcy.z85_decode(text.decode()) == data


@given(st.binary(min_size=4, max_size=4))
def test_z85_is_the_number_in_base_85(data):
    number, digits = int.from_bytes(data, "big"), ""
    for _ in range(5):
        number, digit = divmod(number, 85)
        digits = Z85[digit] + digits
    assert zmqcy.z85_encode(data).decode() == digits


@given(st.binary(max_size=99).filter(lambda data: len(data) % 4))
def test_z85_encode_of_wrong_length(data):
    with pytest.raises(ValueError, match=f"z85_encode: the length must be a multiple of 4, not {len(data)}"):
        zmqcy.z85_encode(data)


@given(st.text(Z85, max_size=99).filter(lambda text: len(text) % 5))
def test_z85_decode_of_wrong_length(text):
    with pytest.raises(ValueError, match=f"z85_decode: the length must be a multiple of 5, not {len(text)}"):
        zmqcy.z85_decode(text)


@given(st.integers(0, 9), st.characters(exclude_characters=Z85 + "\0", max_codepoint=127))
def test_z85_decode_of_wrong_character(place, character):
    text = "HelloWorld"[:place] + character + "HelloWorld"[place + 1 :]
    with pytest.raises(ValueError, match="z85_decode") as caught:
        zmqcy.z85_decode(text)
    assert f"the {len(text)} characters are not valid Z85" in str(caught.value)


def test_what_may_be_a_key_is_not_shown():
    for call in (zmqcy.curve_public, zmqcy.z85_decode, zmqcy.z85_encode):
        for value in ("hunter2", "hunter2\0" * 5, "hunter2~" * 5, b"hunter2~" * 5 + b"x", ["hunter2"], {"hunter2"}):
            with pytest.raises((TypeError, ValueError), match=call.__name__) as caught:
                call(value)
            assert "hunter2" not in str(caught.value)


@rows("text", ["%nSc1", "#####", "Hello#####"])
def test_z85_decode_of_too_large_number(text):
    assert zmqcy.z85_decode("%nSc0") == b"\xff" * 4
    with pytest.raises(ValueError, match="z85_decode"):
        zmqcy.z85_decode(text)


@rows("text", ["\xe9\xe9a", "\u20ac\u20ac\u20ac\u20ac\u20ac", b"\xff" * 5, b"\x80HeIo"])
def test_z85_decode_of_what_is_not_ascii(text):
    with pytest.raises(ValueError, match="z85_decode"):
        zmqcy.z85_decode(text)


def test_z85_decode_with_nul():
    with pytest.raises(ValueError, match="z85_decode: text contains a NUL"):
        zmqcy.z85_decode("Hell\0")


@rows("data", ["text", 4, None, [1, 2, 3, 4]])
def test_z85_encode_takes_bytes(data):
    with pytest.raises(TypeError, match="z85_encode: a bytes-like object is required"):
        zmqcy.z85_encode(data)


@rows("text", [5, None, ["Hello"]])
def test_z85_decode_takes_text(text):
    with pytest.raises(TypeError, match="z85_decode: text must be"):
        zmqcy.z85_decode(text)


def test_z85_encode_of_scattered_buffer():
    with pytest.raises(BufferError, match="z85_encode: the buffer is not contiguous"):
        zmqcy.z85_encode(memoryview(REFERENCE)[::2])


@rows("call, detail", [(5, None), (b"x", ["y"]), (object, 3.5)])
def test_what_an_error_tells_may_be_of_any_type(call, detail):
    assert str(zmqcy.ZMQError(1, "words", call=call, detail=detail)).endswith(": words")
