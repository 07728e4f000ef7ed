"""Read and set options by their kind, and make them attributes.

The tables in `zmqcy.options` describe the options. The special cases here are for options that libzmq does not
validate, or whose value zmqcy must know.
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
    MOST_OPTIONS = 256    # greater than the number of any socket option
    ZMQ_CONFLATE = 54
    ZMQ_HEARTBEAT_IVL = 75
    ZMQ_ONLY_FIRST_SUBSCRIBE = 108
    THREAD_PRIORITY = 3   # a ContextOption; SOCKET_LIMIT, which is read only, has the same number
    THREAD_SCHED_POLICY = 4
    THREAD_AFFINITY_CPU_ADD = 7
    THREAD_AFFINITY_CPU_REMOVE = 8
    MOST_SOCKETS = 1 << 20  # Linux's limit of file descriptors per process; libzmq allocates a table of this size

cdef dict KINDS = {
    "int": c"i", "bool": c"b", "int64": c"l", "uint64": c"u", "fd": c"i", "duration": c"d", "bytes": c"y",
    "string": c"s", "key": c"k"}
cdef char[MOST_OPTIONS] kinds  # by the number of a socket option: the letter of its kind; 0: unknown option
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef set drafts = {option.number for option in SOCKET_OPTIONS if option.draft}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7
cdef dict context_option_names = {option.number: option.name for option in reversed(CONTEXT_OPTIONS)}


cdef char kind_of(object option) except -1:
    """Return the letter for the kind of an option."""
    return KINDS[option.kind]


for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = kind_of(_option)


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef str context_option_name(int number):
    return context_option_names.get(number) or f"option {number}"


cdef bytes whole_endpoint(bytes endpoint):
    """Return the last endpoint with its transport: libzmq omits ``udp://``."""
    return b"udp://" + endpoint if endpoint and b"://" not in endpoint else endpoint


cdef str shown(int number, object value):
    """Return the repr of a value for an error message. Secrets are not shown."""
    if not may_be_secret(number) or kinds[number] == c"b" and isinstance(value, int):
        return f"{value!r:.80}"
    return f"({len(value)} secret characters)" if isinstance(value, (str, bytes)) else type(value).__name__


cdef bint may_be_secret(int number):
    """Return whether a value may be a key or a password, possibly passed to the wrong option by mistake."""
    name = option_name(number)
    return "key" in name or "password" in name or name in ("curve_server", "plain_server")


# ------------------------------------------------------------------------------------------------------------- sockets

@no_gc_clear
cdef class SocketOptions:
    """Read and set the options of a socket."""

    def __cinit__(self):
        self.handle = Handle.__new__(Handle)

    cdef int current_events(self, str call) except -1:
        """Return ZMQ_EVENTS, with POLLIN if the handle holds a message."""
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
        """Return the value of a socket option, by its number.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`. A number that zmqcy does not know is read as int or, if that fails, as
            bytes.

        Returns
        -------
        int or bytes
            Strings are returned as bytes. The attribute with the name of the option returns str.

        Raises
        ------
        InvalidArgument
            This libzmq does not have the option, or the option cannot be read.

        See Also
        --------
        setsockopt : set an option.

        Examples
        --------
        >>> socket.getsockopt(zmqcy.RCVHWM), socket.rcvhwm
        (1000, 1000)
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
        """Set a socket option, by its number.

        Most options apply only to later calls of `bind` and `connect`.

        Parameters
        ----------
        option : int
            A member of `zmqcy.SocketOption`. A number that zmqcy does not know is set as int or as bytes, depending on
            the type of `value`.
        value : int, bytes-like, str, timedelta or None
            The new value, of the type that the table of options names.

        Raises
        ------
        InvalidArgument
            This libzmq does not have the option, or refuses the value.
        TypeError
            The value has the wrong type.
        ValueError
            The value is out of range for the integer type of the option.

        See Also
        --------
        getsockopt : read an option.

        Examples
        --------
        >>> socket.setsockopt(zmqcy.LINGER, 1000)  # the same as: socket.linger = 1000
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
                raise ValueError(f"{call}: {option_name(number)} contains a NUL character: {shown(number, value)}")
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
                why = "heartbeats close the connections of this socket type in libzmq; set tcp_keepalive instead"
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
        """Return the exception for an option that libzmq refuses, for example a draft option that it lacks."""
        text = None
        if code == EINVAL and number in drafts and not zmq_has(b"draft"):
            text = "Invalid argument (a draft option, and this libzmq was built without the draft API)"
        return error(code, call, self.handle.type, detail, text)

    def subscribe(self, topic: Buffer | str) -> None:
        """Subscribe to a topic (SUB).

        The socket receives the messages that start with `topic`. The call does not block: libzmq sends the
        subscription in the background, and messages published before it arrives are lost.

        Parameters
        ----------
        topic : bytes-like or str
            Prefix of the messages. A str is encoded as UTF-8. An empty prefix subscribes to all messages.

        Raises
        ------
        InvalidArgument
            The socket is not a SUB socket.

        See Also
        --------
        unsubscribe : remove a subscription.

        Examples
        --------
        >>> sub.subscribe("weather.")
        """
        with critical_section(lock_of(self)):
            self.set_option(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "subscribe")

    def unsubscribe(self, topic: Buffer | str) -> None:
        """Remove a subscription to a topic (SUB).

        A topic that was subscribed to n times needs n calls.

        Parameters
        ----------
        topic : bytes-like or str
            The prefix passed to `subscribe`.

        See Also
        --------
        subscribe : add a subscription.
        """
        with critical_section(lock_of(self)):
            self.set_option(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "unsubscribe")


# ------------------------------------------------------------------------------------------------------------ contexts

@no_gc_clear
cdef class ContextOptions:
    """Read and set the options of a context."""

    def __cinit__(self):
        self.handle = ContextHandle.__new__(ContextHandle)

    def get(self, option: int) -> int:
        """Return the value of a context option, by its number.

        Parameters
        ----------
        option : int
            A member of `zmqcy.ContextOption`.

        Returns
        -------
        int

        Raises
        ------
        InvalidArgument
            This libzmq does not have the option.
        ContextTerminated
            The context was terminated.

        See Also
        --------
        set : set a context option.

        Examples
        --------
        >>> ctx.get(zmqcy.IO_THREADS), ctx.io_threads
        (1, 1)
        """
        cdef int number = to_int(option, "get", "option")
        return read_option(self.handle, number, context_option_name(number))

    def set(self, option: int, value: int) -> None:
        """Set a context option, by its number.

        Parameters
        ----------
        option : int
            A member of `zmqcy.ContextOption`.
        value : int
            The new value.

        Raises
        ------
        InvalidArgument
            This libzmq does not have the option, or refuses the value.
        ContextTerminated
            The context was terminated.

        See Also
        --------
        get : read a context option.

        Examples
        --------
        >>> ctx.set(zmqcy.MAX_SOCKETS, 5000)  # the same as: ctx.max_sockets = 5000
        """
        cdef int number = to_int(option, "set", "option")
        cdef str name = context_option_name(number)
        cdef int setting = to_int(value, "set", name)
        set_option(self.handle, number, setting, name)


cdef int read_option(ContextHandle handle, int number, str name) except? -1:
    """Return the value of a context option. -1 can be a value or an error: errno decides."""
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
    """Set a context option. Refuse values that would make libzmq abort when it starts its threads later."""
    why = None
    if number == ZMQ_IO_THREADS and value > most_descriptors() // 2:
        why = f"each I/O thread needs two file descriptors, and the process may have {most_descriptors()}"
    elif number == ZMQ_MAX_SOCKETS and value > MOST_SOCKETS:
        why = f"the maximum is {MOST_SOCKETS}"
    elif number == THREAD_PRIORITY and value > highest_priority():
        why = f"the maximum is {highest_priority()}"
    elif number == THREAD_SCHED_POLICY and value >= 0 and not is_policy(value):
        why = "the system has no such scheduling policy"
    elif number == THREAD_AFFINITY_CPU_ADD and value >= min(most_processors(), MOST_PROCESSORS):
        why = f"the system has {most_processors()} processors"
    if why is not None:
        raise error(EINVAL, call, NO_TYPE, f"{name}={value}", why)
    check(zmq_ctx_set(ending.handle, number, value), call, NO_TYPE, f"{name}={value}")
    if THREAD_PRIORITY <= number <= THREAD_AFFINITY_CPU_REMOVE:
        note_schedule(ending, number, value)
    return 0


cdef void note_schedule(Ending *ending, int number, int value) noexcept:
    """Store the scheduling options, which libzmq cannot report."""
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
    """Make an option an attribute of sockets or contexts.

    Parameters
    ----------
    option : zmqcy.options.Option
        A row of the tables in `zmqcy.options`.
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
        draft = " Draft option: it needs a libzmq with the draft API, and may change." if option.draft else ""
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
