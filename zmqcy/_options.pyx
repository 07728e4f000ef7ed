"""Options: how one is read and set, by its kind, and what makes it an attribute.

A row of `zmqcy.options` has all that an option of libzmq needs. What is written here beside that is for options that
libzmq does not check, or whose value zmqcy has to know.
"""

from cython cimport critical_section, no_gc_clear
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from libc cimport errno
from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint64_t

from zmqcy._handle cimport ContextHandle, Ending, Handle, events_of
from zmqcy._library cimport (
    NO_TYPE, check, error, fits, interrupted, round_up, to_int, to_integer, to_milliseconds, type_name)
from zmqcy._system cimport drain, highest_priority, is_policy, most_descriptors, most_processors
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_EVENTS, ZMQ_FD, ZMQ_IO_THREADS, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_POLLIN,
    ZMQ_RCVMORE, zmq_ctx_get, zmq_ctx_set, zmq_errno as last_errno, zmq_getsockopt, zmq_has, zmq_setsockopt)

from zmqcy.options import CONTEXT_OPTIONS, REFUSED, SOCKET_OPTIONS

cdef enum:
    MOST_OPTIONS = 256    # above the largest number of an option of sockets
    ZMQ_CONFLATE = 54
    ZMQ_HEARTBEAT_IVL = 75
    ZMQ_ONLY_FIRST_SUBSCRIBE = 108
    THREAD_PRIORITY = 3   # of `ContextOption`; SOCKET_LIMIT has the same number, to read
    THREAD_SCHED_POLICY = 4
    THREAD_AFFINITY_CPU_ADD = 7
    THREAD_AFFINITY_CPU_REMOVE = 8
    MOST_SOCKETS = 1 << 20  # each takes a descriptor, and Linux gives no process more; libzmq has a table of them

cdef dict KINDS = {
    "int": c"i", "bool": c"b", "int64": c"l", "uint64": c"u", "fd": c"i", "duration": c"d", "bytes": c"y",
    "string": c"s", "key": c"k"}
cdef char[MOST_OPTIONS] kinds  # of the socket options, by number: the letter of its kind, 0 where there is none
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef set drafts = {option.number for option in SOCKET_OPTIONS if option.draft}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7
cdef dict context_option_names = {option.number: option.name for option in reversed(CONTEXT_OPTIONS)}


cdef char kind_of(object option) except -1:
    """Return the letter of an option's kind."""
    return KINDS[option.kind]


for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = kind_of(_option)


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef str context_option_name(int number):
    return context_option_names.get(number) or f"option {number}"


cdef bytes whole_endpoint(bytes endpoint):
    """Return the last endpoint as it can be connected to: libzmq leaves the transport out where that is udp."""
    return b"udp://" + endpoint if endpoint and b"://" not in endpoint else endpoint


cdef str shown(int number, object value):
    """Return a value for an error's text; a secret is not shown."""
    if not may_be_secret(number) or kinds[number] == c"b" and isinstance(value, int):
        return f"{value!r:.80}"
    return f"({len(value)} secret characters)" if isinstance(value, (str, bytes)) else type(value).__name__


cdef bint may_be_secret(int number):
    """Tell whether a value may be a key or a password, if only by mistake for another option."""
    name = option_name(number)
    return "key" in name or "password" in name or name in ("curve_server", "plain_server")


# ------------------------------------------------------------------------------------------------------------- sockets

@no_gc_clear
cdef class SocketOptions:
    """The options of a socket."""

    def __cinit__(self):
        self.handle = Handle.__new__(Handle)

    cdef int current_events(self, str call) except -1:
        """Return what can be done now: ZMQ_EVENTS, and POLLIN for a message that waits here."""
        cdef int events = 0
        cdef int number
        enter(self, call)
        while True:
            number = events_of(self.handle.socket, &events)
            if not interrupted(number):
                break
            enter(self, call)
        if number:
            raise error(number, call, self.handle.type)
        return events | ZMQ_POLLIN if self.handle.held is not NULL else events

    #: @overload
    #: def getsockopt(self, option: _IntOption | _DurationOption) -> int: ...
    #: @overload
    #: def getsockopt(self, option: _BytesOption | _StringOption | _KeyOption) -> bytes: ...
    #: @overload
    #: def getsockopt(self, option: int) -> int | bytes: ...
    def getsockopt(self, option):
        """Read an option.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`. A number that zmqcy does not know is read as an int or, failing that, as bytes.

        Returns
        -------
        int or bytes
            Strings come as bytes too; the property of the same name gives str.

        Raises
        ------
        InvalidArgument
            This libzmq has no such option, or it cannot be read.
        """
        cdef int number = to_int(option, "getsockopt", "option")
        with critical_section(lock_of(self)):
            return self.get_option(number, "getsockopt")

    #: @overload
    #: def setsockopt(self, option: _DurationOption, value: _Time) -> None: ...
    #: @overload
    #: def setsockopt(self, option: _StringOption, value: str | bytes | None) -> None: ...
    #: @overload
    #: def setsockopt(self, option: _KeyOption, value: bytes | str) -> None: ...
    #: @overload
    #: def setsockopt(self, option: int, value: int | Buffer) -> None: ...
    def setsockopt(self, option, value):
        """Set an option.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`. A number that zmqcy does not know is set as an int or bytes, as the value is.
        value : int, bytes-like or timedelta
            As the kind of the option demands.

        Raises
        ------
        InvalidArgument
            This libzmq has no such option, or refuses the value.
        TypeError
            The value is of another kind.
        ValueError
            The value does not fit the option's integer.
        """
        cdef int number = to_int(option, "setsockopt", "option")
        with critical_section(lock_of(self)):
            self.set_option(number, value, "setsockopt")

    cdef object get_option(self, int number, str call):
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef char[LONGEST_VALUE] text
        cdef int value = 0
        cdef int64_t int64 = 0
        cdef uint64_t uint64 = 0
        cdef size_t size
        enter(self, call)
        if kind == c'y' or kind == c's':
            size = sizeof(text)
            self.check_option(zmq_getsockopt(self.handle.socket, number, text, &size), call, number)
            if kind == c's' and size and text[size - 1] == 0:
                size -= 1
            if number == ZMQ_LAST_ENDPOINT:
                return whole_endpoint(text[:size])
            return text[:size]
        if kind == c'k':
            size = 41
            self.check_option(zmq_getsockopt(self.handle.socket, number, text, &size), call, number)
            return text[:40]
        if kind == c'l':
            size = sizeof(int64)
            self.check_option(zmq_getsockopt(self.handle.socket, number, &int64, &size), call, number)
            return int64
        if kind == c'u':
            size = sizeof(uint64)
            self.check_option(zmq_getsockopt(self.handle.socket, number, &uint64, &size), call, number)
            return uint64
        if number == ZMQ_EVENTS:
            if self.handle.signaler.poller is not NULL:
                drain(self.handle.signaler.fd)
            return self.current_events(call)
        if number == ZMQ_RCVMORE and (self.handle.held is not NULL or not self.handle.elsewhere):
            return self.handle.more
        if number == ZMQ_FD:
            self.handle.exposed = True
        size = sizeof(value)
        if zmq_getsockopt(self.handle.socket, number, &value, &size) >= 0:
            return value
        if kind == 0 and last_errno() == EINVAL:
            size = sizeof(text)
            if zmq_getsockopt(self.handle.socket, number, text, &size) >= 0:
                return text[:size]
        self.check_option(-1, call, number)

    cdef int check_option(self, int rc, str call, int number) except -1:
        if rc >= 0:
            return rc
        raise self.refusal(last_errno(), call, number, option_name(number))

    cdef int set_option(self, int number, object value, str call) except -1:
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef Py_buffer view
        cdef int setting = 0
        cdef int64_t int64 = 0
        cdef uint64_t uint64 = 0
        cdef int rc
        if kind == 0:
            kind = c'i' if isinstance(value, int) else c'y'
        if kind == c'y' or kind == c's' or kind == c'k':
            if value is None and kind == c's':
                enter(self, call)
                return self.check_set(zmq_setsockopt(self.handle.socket, number, NULL, 0), call, number, value)
            if kind != c'y' and isinstance(value, str):
                value = value.encode()
            if not PyObject_CheckBuffer(value):
                wanted = "bytes" if kind == c"y" else "str or bytes"
                raise TypeError(f"{call}: {option_name(number)} must be {wanted}, not {shown(number, value)}")
            if kind == c's' and b"\0" in bytes(value):
                raise ValueError(f"{call}: {option_name(number)} has a NUL character: {shown(number, value)}")
            PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
            try:
                enter(self, call)
                rc = zmq_setsockopt(self.handle.socket, number, view.buf, view.len)
                if rc >= 0:
                    return rc
                rc = last_errno()
                exception = self.refusal(rc, call, number, f"{option_name(number)}={shown(number, value)}")
            finally:
                PyBuffer_Release(&view)
            raise exception
        if kind == c'l':
            int64 = to_integer(value, call, option_name(number), -(1 << 63), (1 << 63) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.handle.socket, number, &int64, sizeof(int64))
        elif kind == c'u':
            uint64 = to_integer(value, call, option_name(number), 0, (1 << 64) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.handle.socket, number, &uint64, sizeof(uint64))
        else:
            if type(value) is int:
                pass
            elif isinstance(value, (str, bytes)) and may_be_secret(number):
                raise TypeError(f"{call}: {option_name(number)} must be an int, not {shown(number, value)}")
            elif kind == c'd':
                value = round_up(to_milliseconds(value, f"{call} {option_name(number)}"))
            if not fits(value, &setting):
                setting = to_int(value, call, option_name(number))
            enter(self, call)
            if number == ZMQ_HEARTBEAT_IVL and setting > 0 and type_name(self.handle.type) in REFUSED[number]:
                why = "libzmq's heartbeats end the connections of this type of socket: set tcp_keepalive instead"
                raise error(ENOTSUP, call, self.handle.type, f"{option_name(number)}={shown(number, value)}", why)
            rc = zmq_setsockopt(self.handle.socket, number, &setting, sizeof(setting))
            if number == ZMQ_HEARTBEAT_IVL and rc >= 0:
                self.handle.heartbeats = setting > 0
            if number == ZMQ_LINGER and rc >= 0:
                self.handle.linger_set = True
            elif number == ZMQ_CONFLATE and setting and rc >= 0:
                self.handle.check_messages()
            elif number == ZMQ_ONLY_FIRST_SUBSCRIBE and rc >= 0:
                self.handle.only_first = setting != 0
        return self.check_set(rc, call, number, value)

    cdef int check_set(self, int rc, str call, int number, object value) except -1:
        cdef int code
        if rc >= 0:
            return rc
        code = last_errno()
        raise self.refusal(code, call, number, f"{option_name(number)}={shown(number, value)}")

    cdef object refusal(self, int code, str call, int number, str detail):
        """Return the error for an option that libzmq does not take: it may be one that this libzmq lacks."""
        text = None
        if code == EINVAL and number in drafts and not zmq_has(b"draft"):
            text = "Invalid argument (a draft of libzmq, and this one was built without drafts)"
        return error(code, call, self.handle.type, detail, text)

    def subscribe(self, topic: Buffer | str) -> None:
        """Ask for the messages that begin with a topic (SUB).

        Parameters
        ----------
        topic : bytes-like or str
            A prefix; text is encoded as UTF-8. The empty one asks for all.
        """
        with critical_section(lock_of(self)):
            self.set_option(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "subscribe")

    def unsubscribe(self, topic: Buffer | str) -> None:
        """Take back one `subscribe` of the same topic.

        Parameters
        ----------
        topic : bytes-like or str
            As it was subscribed.
        """
        with critical_section(lock_of(self)):
            self.set_option(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "unsubscribe")


# ------------------------------------------------------------------------------------------------------------ contexts

@no_gc_clear
cdef class ContextOptions:
    """The options of a context."""

    def __cinit__(self):
        self.handle = ContextHandle.__new__(ContextHandle)

    def get(self, option: int) -> int:
        """Read an option of the context.

        Parameters
        ----------
        option : int
            One of `zmqcy.ContextOption`.

        Returns
        -------
        int

        Raises
        ------
        InvalidArgument
            This libzmq has no such option.
        ContextTerminated
            The context has ended.
        """
        cdef int number = to_int(option, "get", "option")
        return read_option(self.handle, number, context_option_name(number))

    def set(self, option: int, value: int) -> None:
        """Set an option of the context.

        Parameters
        ----------
        option : int
            One of `zmqcy.ContextOption`.
        value : int
            Its value.

        Raises
        ------
        InvalidArgument
            This libzmq has no such option, or refuses the value.
        ContextTerminated
            The context has ended.
        """
        cdef int number = to_int(option, "set", "option")
        cdef str name = context_option_name(number)
        cdef int setting = to_int(value, "set", name)
        set_option(self.handle, number, setting, name)


cdef int read_option(ContextHandle handle, int number, str name) except? -1:
    """Read an option of a context, whose value may be -1 as well as say that there is an error."""
    cdef int value
    with critical_section(handle):
        handle.enter("get")
        errno.errno = 0
        value = zmq_ctx_get(handle.ending.handle, number)
    return value if value == -1 and last_errno() == 0 else check(value, "get", NO_TYPE, name)


cdef int set_option(ContextHandle handle, int number, int value, str name) except -1:
    with critical_section(handle):
        handle.enter("set")
        return set_number(handle.ending, number, value, "set", name)


cdef int set_number(Ending *ending, int number, int value, str call, str name) except -1:
    """Set an option of a context, but for values that would let libzmq abort in the threads that it starts later."""
    why = None
    if number == ZMQ_IO_THREADS and value > most_descriptors() // 2:
        why = f"each takes two descriptors, of which the process may have {most_descriptors()}"
    elif number == ZMQ_MAX_SOCKETS and value > MOST_SOCKETS:
        why = f"it is at most {MOST_SOCKETS}"
    elif number == THREAD_PRIORITY and value > highest_priority():
        why = f"the highest priority is {highest_priority()}"
    elif number == THREAD_SCHED_POLICY and value >= 0 and not is_policy(value):
        why = "the system has no such policy"
    elif number == THREAD_AFFINITY_CPU_ADD and value >= min(most_processors(), MOST_PROCESSORS):
        why = f"the system has {most_processors()} processors"
    if why is not None:
        raise error(EINVAL, call, NO_TYPE, f"{name}={value}", why)
    check(zmq_ctx_set(ending.handle, number, value), call, NO_TYPE, f"{name}={value}")
    if THREAD_PRIORITY <= number <= THREAD_AFFINITY_CPU_REMOVE:
        note_schedule(ending, number, value)
    return 0


cdef void note_schedule(Ending *ending, int number, int value) noexcept:
    """Keep what libzmq does not tell again."""
    cdef int bit = 1 << value % 8
    if number == THREAD_PRIORITY:
        ending.schedule.priority = value
    elif number == THREAD_SCHED_POLICY:
        ending.schedule.policy = value
    elif number == THREAD_AFFINITY_CPU_ADD and not ending.schedule.allowed[value // 8] & bit:
        ending.schedule.allowed[value // 8] |= bit
        ending.schedule.processors += 1
    elif number == THREAD_AFFINITY_CPU_REMOVE and value < MOST_PROCESSORS and ending.schedule.allowed[value // 8] & bit:
        ending.schedule.allowed[value // 8] &= ~bit
        ending.schedule.processors -= 1


# -------------------------------------------------------------------------------------------------------- as attributes

#: _T_contra = TypeVar("_T_contra", contravariant=True)
#: @type_check_only
#: class _WriteOnly(Protocol[_T_contra]):  # no object fits `__get__`, so that reading one is an error
#:     def __get__(self, instance: Never, owner: Any, /) -> NoReturn: ...
#:     def __set__(self, instance: Any, value: _T_contra, /) -> None: ...

cdef class Property:
    """An option as an attribute: what the properties of sockets and of contexts share.

    Parameters
    ----------
    option : zmqcy.options.Option
        Its row of the table.
    """

    #: @property
    #: def name(self) -> str: ...
    #: @property
    #: def option(self) -> Option: ...
    def __init__(self, option: Option) -> None:
        self.option = option
        self.number = option.number
        self.kind = kind_of(option)
        self.name = option.name
        self.readable = "r" in option.access
        self.writable = "w" in option.access

    cdef str describe(self):
        option = self.option
        what = {"key": "bytes", "string": "str", "duration": "int", "int64": "int", "uint64": "int", "fd": "int"}
        unit = f", in {option.unit}" if option.unit else ""
        access = {"r": "; read only", "w": "; write only", "rw": ""}[option.access]
        draft = " A draft of libzmq: it may change." if option.draft else ""
        return f"{what.get(option.kind, option.kind)}{unit}{access}: {option.text}{draft}"

    cdef int unreadable(self) except -1:
        raise AttributeError(f"{self.name} cannot be read, only set")

    cdef int unwritable(self) except -1:
        raise AttributeError(f"{self.name} cannot be set, only read")

    def __delete__(self, instance: Any) -> NoReturn:
        raise AttributeError(f"{self.name} cannot be deleted")


cdef class ContextProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        value = read_option((<ContextOptions?> instance).handle, self.number, self.name)
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            self.unwritable()
        cdef int setting = to_int(value, "set", self.name)
        set_option((<ContextOptions?> instance).handle, self.number, setting, self.name)


cdef class SocketProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        with critical_section(lock_of(instance)):
            value = (<SocketOptions?> instance).get_option(self.number, "get")
        if self.kind == c"s":
            return value.decode("utf-8", "surrogateescape")
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance: Any, value: Any) -> None:
        if not self.writable:
            self.unwritable()
        with critical_section(lock_of(instance)):
            (<SocketOptions?> instance).set_option(self.number, value, "set")
