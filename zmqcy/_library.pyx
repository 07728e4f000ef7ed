"""Convert errors, arguments and timeouts, and wrap the functions of libzmq that need no context."""

from cpython.buffer cimport PyObject_CheckBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINTR, EINVAL, errno
from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t
from libc.string cimport strcpy

from zmqcy._system cimport longest_path, now, nsec
from zmqcy.libzmq cimport (
    ENOTSUP, zmq_curve_keypair, zmq_curve_public, zmq_errno as last_errno, zmq_has, zmq_strerror,
    zmq_version as libzmq_version, zmq_z85_decode, zmq_z85_encode)

from zmqcy import errors
from zmqcy.socket_types import SOCKET_TYPES

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object self, object name, object value) except -1


#: settings: dict[str, Any]
settings = {}
"""The namespace of the package, in which a program sets `exit_linger` and `COPY_THRESHOLD`."""


# --------------------------------------------------------------------------------------------------------------- errors

cdef object error(int number, str call, int socket_type, str detail=None, str text=None):
    """Return the exception for an errno: its class from the table, its message with call, detail and socket type."""
    cdef str kind = None if socket_type == NO_TYPE else type_name(socket_type)
    cls = errors.CLASSES.get(number, errors.ZMQError)
    return cls(number, text or strerror(number), call=call, detail=detail, socket_type=kind)


cdef int fail(str call, int socket_type, str detail) except -1:
    cdef int number = last_errno()
    raise error(number, call, socket_type, detail)


cdef int interrupted(int number) except -1:
    """Return whether to retry a call after EINTR. Runs the signal handlers, which may raise (PEP 475)."""
    if number != EINTR:
        return False
    PyErr_CheckSignals()
    return True


cdef object no_drafts(str call, int socket_type, str detail):
    """Return the exception for an operation that needs a libzmq with the draft API."""
    text = (
        "this libzmq was built without the draft API; install a wheel, which includes one with drafts, or build zmqcy "
        "with such a libzmq (ZMQCY_LIBZMQ=PREFIX pip install .)")
    return error(ENOTSUP, call, socket_type, detail, text)


cdef str type_name(int number):
    return type_of(number).name.decode() or str(number)


cdef int fill_types() except -1:
    cdef dict bits = {
        "draft": DRAFT, "thread_safe": THREAD_SAFE, "sends": SENDS, "receives": RECEIVES, "in_turn": IN_TURN,
        "drops_rest": DROPS_REST, "conflates": CONFLATES, "commands": COMMANDS, "datagrams": DATAGRAMS,
        "routing_ids": ROUTING_IDS, "groups": GROUPS}
    cdef Type *known
    for row in SOCKET_TYPES:
        known = type_of(row.number)
        strcpy(known.name, <bytes> row.name.encode())
        known.traits = sum([bits.get(trait, 0) for trait in row.traits])
        known.parts = row.parts
    return 0


fill_types()


# ---------------------------------------------------------------------------------------------- arguments and timeouts

cdef object to_integer(object value, str call, str name, object low, object high):
    """Convert an argument to an int between two bounds, or raise an error that names the call and the argument."""
    if type(value) is not int:
        try:
            value = value.__index__()
        except AttributeError:
            raise TypeError(f"{call}: {name} must be an int, not {value!r:.80}") from None
    if not low <= value <= high:
        raise ValueError(f"{call}: {name} must be between {low} and {high}, not {value}")
    return value


cdef int to_int(object value, str call, str name, int low=INT_MIN, int high=INT_MAX) except? -1:
    cdef int number
    if fits(value, &number, low, high):
        return number
    return to_integer(value, call, name, low, high)


cdef int to_flag_bits(object flags, str call) except -1:
    return to_int(flags, call, "flags", 0, 0xFFFF)


cdef object to_milliseconds(object time, str call):
    """Convert a timeout: milliseconds, a timedelta, or None (indefinitely). Return milliseconds, or -1 for None."""
    if time is None:
        return FOREVER
    if type(time) is int and time >= 0:
        return time
    if hasattr(time, "total_seconds"):
        if time.total_seconds() < 0:
            raise ValueError(f"{call}: a timeout cannot be negative, got {time!s}; use None to wait indefinitely")
        whole, part = divmod(time, type(time)(milliseconds=1))
        return whole + 1 if part else whole
    if isinstance(time, float):
        if time == float("inf"):
            return FOREVER
        if time >= 0 or time == FOREVER:
            return time
        raise ValueError(f"{call}: a timeout must be 0 or more, or -1 (indefinitely), not {time}")
    try:
        time = time.__index__()
    except AttributeError:
        raise TypeError(f"{call}: a timeout must be in milliseconds, a timedelta or None, not {time!r}") from None
    if time < -1:
        raise ValueError(f"{call}: a timeout must be 0 or more, or -1 (indefinitely), not {time}")
    return time


#: _Time: TypeAlias = float | timedelta | None
def after(time: _Time, call: str) -> str:
    """Return how long a call has waited, as text. Short times get a reminder of the unit: milliseconds."""
    milliseconds = to_milliseconds(time, call)
    unit = " (timeouts are in milliseconds)" if milliseconds < 60 else ""
    return f"after {milliseconds:.15g} ms{unit}"


def to_seconds(time: _Time, call: str) -> float | None:
    """Convert a timeout in milliseconds to seconds. Return None for an indefinite timeout."""
    milliseconds = to_milliseconds(time, call)
    return None if milliseconds == FOREVER else milliseconds / 1000


cdef object round_up(object milliseconds):
    return milliseconds if isinstance(milliseconds, int) else -int(-milliseconds // 1)


cdef nsec deadline_after(object timeout, str call) except -2:
    """Convert a timeout to a deadline: FOREVER, EXPIRED, or a time of the monotonic clock in nanoseconds."""
    cdef object milliseconds = to_milliseconds(timeout, call)
    if milliseconds == FOREVER:
        return FOREVER
    if milliseconds == 0:
        return EXPIRED
    if milliseconds > 1e12:  # 30 years; the sum below would overflow
        return FOREVER
    return now() + <nsec> (milliseconds * 1000000)


cdef nsec to_spin(object microseconds) except -1:
    """Convert `spin` from microseconds to nanoseconds."""
    if not isinstance(microseconds, (int, float)):
        raise TypeError(f"spin: must be a number of microseconds, not {microseconds!r:.80}")
    if not 0 <= microseconds <= 1e6:
        raise ValueError(f"spin: must be between 0 and 1,000,000 microseconds, not {microseconds}")
    return <nsec> (microseconds * 1000)


cdef int remaining(nsec deadline) noexcept nogil:
    """Return the milliseconds until a deadline, rounded up, as poll() takes them. -1: no deadline."""
    cdef nsec left
    if deadline == FOREVER:
        return -1
    if deadline == EXPIRED:
        return 0
    left = deadline - now()
    if left <= 0:
        return 0
    left = (left + 999999) // 1000000
    return <int> left if left < INT_MAX else INT_MAX


cdef int slice_of(nsec deadline) noexcept nogil:
    """Return the milliseconds until a deadline, at most SLICE."""
    cdef int left = remaining(deadline)
    return left if 0 <= left < SLICE else SLICE


cdef bytes c_string(object text, str call, str name):
    """Encode a string for libzmq. Reject NUL characters, which would truncate it. Errors do not show keys."""
    cdef bint is_key = call.startswith(("curve_", "z85_"))
    if isinstance(text, str):
        text = text.encode()
    elif not isinstance(text, bytes):
        raise TypeError(f"{call}: {name} must be a str, not {type(text).__name__ if is_key else f'{text!r:.80}'}")
    if b"\0" in text:
        raise ValueError(f"{call}: {name} contains a NUL character" + ("" if is_key else f": {text!r:.80}"))
    return text


cdef object to_buffer(object data, str call, object place):
    """Return bytes unchanged, and any other buffer as a memoryview."""
    if type(data) is bytes:
        return data
    where = "" if place is None else f"{place}: "
    if not PyObject_CheckBuffer(data):
        hint = "; use send_string() for text" if isinstance(data, str) else ""
        raise TypeError(f"{call}: {where}a bytes-like object is required, not {type(data).__name__} {data!r:.80}{hint}")
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError(f"{call}: {where}the buffer is not contiguous: {data!r:.80}; pass bytes() of it instead")
    return view


cdef int set_attribute(object owner, object name, object value) except -1:
    try:
        return PyObject_GenericSetAttr(owner, name, value)
    except AttributeError:
        if hasattr(type(owner), name):
            raise
        raise unknown_attribute(owner, name) from None


cdef object unknown_attribute(object owner, str name):
    """Return the AttributeError for an unknown attribute. It suggests the most similar known name.

    It has no `obj`: with it, Python would add a suggestion of its own to tracebacks.
    """
    import difflib
    names = [known for known in dir(type(owner)) if not known.startswith("_")]
    near = difflib.get_close_matches(name.lower(), names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name)


# -------------------------------------------------------------------------------- functions that need no context

#: IPC_PATH_MAX_LEN: int
IPC_PATH_MAX_LEN = longest_path


def zmq_errno() -> int:
    """Return the last errno that libzmq set in this thread."""
    return errno


def strerror(number: int) -> str:
    """Return the message for an errno of the system or of libzmq.

    Parameters
    ----------
    number : int
        The errno: a member of `zmqcy.Errno`, or any errno of the system.

    Returns
    -------
    str

    Examples
    --------
    >>> zmqcy.strerror(zmqcy.ETERM)
    'Context was terminated'
    """
    cdef int code = to_int(number, "strerror", "number")
    return zmq_strerror(code).decode("utf-8", "replace")


def zmq_version_info() -> tuple[int, int, int]:
    """Return the version of the loaded libzmq, such as ``(4, 3, 5)``."""
    cdef int major, minor, patch
    libzmq_version(&major, &minor, &patch)
    return major, minor, patch


# __init__.py refuses a libzmq that is too old to have zmq_has.
#: DRAFT_API: bool
DRAFT_API = zmq_version_info() >= (4, 2) and zmq_has(b"draft") != 0


def zmq_version() -> str:
    """Return the version of the loaded libzmq, such as ``'4.3.5'``."""
    return ".".join(map(str, zmq_version_info()))


#: PYZMQ: tuple[int, int, int]
PYZMQ = (27, 3, 0)


def pyzmq_version() -> str:
    """Return the version of pyzmq that zmqcy is compatible with, such as ``'27.3.0'``."""
    return ".".join(map(str, PYZMQ))


def pyzmq_version_info() -> tuple[int, int, int]:
    """Return the version of pyzmq that zmqcy is compatible with, such as ``(27, 3, 0)``."""
    return PYZMQ


def has(capability: str) -> bool:
    """Return whether the loaded libzmq has a capability.

    Parameters
    ----------
    capability : str
        ``"ipc"``, ``"curve"``, ``"gssapi"``, ``"pgm"``, ``"tipc"``, ``"norm"``, ``"vmci"``, ``"ws"``, ``"wss"`` or
        ``"draft"``.

    Returns
    -------
    bool
        False for an unknown name too.

    Examples
    --------
    >>> zmqcy.has("ipc")
    True
    """
    cdef bytes name = c_string(capability, "has", "capability")
    return zmq_has(name) != 0 or zmq_has(name.upper()) != 0  # libzmq has WS and WSS in capitals only


def curve_keypair() -> tuple[bytes, bytes]:
    """Generate a CURVE key pair.

    Returns
    -------
    tuple of bytes
        The public key and the secret key, as 40 Z85 characters each.

    Raises
    ------
    NotSupported
        This libzmq was built without CURVE.

    See Also
    --------
    curve_public : derive the public key from a secret key.

    Examples
    --------
    >>> public, secret = zmqcy.curve_keypair()
    """
    cdef char[41] public
    cdef char[41] secret
    check(zmq_curve_keypair(public, secret), "curve_keypair", NO_TYPE, None)
    return public[:40], secret[:40]


def curve_public(secret: bytes | str) -> bytes:
    """Derive the CURVE public key from a secret key.

    Parameters
    ----------
    secret : bytes or str
        The secret key, as 40 Z85 characters.

    Returns
    -------
    bytes
        The public key, as 40 Z85 characters.

    Raises
    ------
    ValueError
        `secret` does not have 40 characters, or is not Z85.
    NotSupported
        This libzmq was built without CURVE.

    See Also
    --------
    curve_keypair : generate a key pair.

    Examples
    --------
    >>> public, secret = zmqcy.curve_keypair()
    >>> zmqcy.curve_public(secret) == public
    True
    """
    cdef char[41] public
    cdef bytes text = c_string(secret, "curve_public", "secret")
    if len(text) != 40:
        raise ValueError(f"curve_public: a secret key must have 40 Z85 characters, not {len(text)}")
    check(zmq_curve_public(public, text), "curve_public", NO_TYPE, None)
    return public[:40]


def z85_encode(data: Buffer) -> bytes:
    """Encode binary data as Z85 text.

    Parameters
    ----------
    data : bytes-like
        The data. Its length must be a multiple of 4 bytes.

    Returns
    -------
    bytes
        5 characters for every 4 bytes.

    Raises
    ------
    ValueError
        The length is not a multiple of 4.

    See Also
    --------
    z85_decode : decode Z85 text.

    Examples
    --------
    >>> zmqcy.z85_encode(b"\\x86\\x4f\\xd2\\x6f\\xb5\\x59\\xf7\\x5b")
    b'HelloWorld'
    """
    if not PyObject_CheckBuffer(data):  # it may be a key: do not show it
        raise TypeError(f"z85_encode: a bytes-like object is required, not {type(data).__name__}")
    cdef bytes source = bytes(to_buffer(data, "z85_encode", None))
    cdef size_t size = len(source)
    if size % 4:
        raise ValueError(f"z85_encode: the length must be a multiple of 4, not {size}")
    cdef bytearray text = bytearray(size * 5 // 4 + 1)
    if zmq_z85_encode(text, <const uint8_t *> <const char *> source, size) is NULL:
        fail("z85_encode", NO_TYPE, None)
    return bytes(text[:size * 5 // 4])


def z85_decode(text: bytes | str) -> bytes:
    """Decode Z85 text to binary data.

    Parameters
    ----------
    text : bytes or str
        The text. Its length must be a multiple of 5 characters.

    Returns
    -------
    bytes
        4 bytes for every 5 characters.

    Raises
    ------
    ValueError
        The length is not a multiple of 5, or the text is not Z85.

    See Also
    --------
    z85_encode : encode binary data.

    Examples
    --------
    >>> zmqcy.z85_decode("HelloWorld").hex()
    '864fd26fb559f75b'
    """
    cdef bytes source = c_string(text, "z85_decode", "text")
    cdef size_t size = len(source)
    if size % 5:
        raise ValueError(f"z85_decode: the length must be a multiple of 5, not {size}")
    if not source:
        return b""
    cdef bytearray data = bytearray(size * 4 // 5)
    if zmq_z85_decode(<uint8_t *> <char *> data, source) is NULL:
        raise errors.InvalidArgument(EINVAL, f"the {size} characters are not valid Z85", call="z85_decode")
    return bytes(data)
