"""What plain and asynchronous sockets share: the handle and its end, endpoints, options.

Every call of libzmq goes through the gate (`check`), which turns an errno into an exception, and every call on a socket
begins with one check (`enter`).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EBUSY, ECHILD, EINVAL, EMFILE, ENOTSOCK
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zmqcy._context cimport (
    BUSY, CLOSED, ENDED, FORKED, HELD, SHADOW, WATCHED, Context, Link, Property, SocketRecord, Stats, Watch, delist,
    enlist, insert, kind_of, note_last, spare_descriptors)
from zmqcy._library cimport (
    LAST_TYPE, NO_TYPE, c_string, check, error, interrupted, round_up, set_attribute, to_int, to_integer,
    to_milliseconds, to_spin, type_name)
from zmqcy._message cimport BIG, default_threshold, to_threshold
from zmqcy._system cimport epoll_remove, is_foreign, probe_descriptors
from zmqcy._transfer cimport events_of
from zmqcy.libzmq cimport (
    ENOTSUP, ETERM, ZMQ_EVENTS, ZMQ_FD, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_POLLIN, ZMQ_RCVMORE,
    ZMQ_STREAM, ZMQ_TYPE, zmq_bind, zmq_close, zmq_connect, zmq_ctx_get, zmq_disconnect, zmq_errno as last_errno,
    zmq_fd_t, zmq_getsockopt, zmq_has, zmq_msg_close, zmq_msg_init, zmq_msg_more, zmq_msg_t, zmq_setsockopt, zmq_socket,
    zmq_socket_monitor, zmq_unbind)

from zmqcy import errors
from zmqcy.options import SOCKET_OPTIONS

cdef enum:
    LONGEST_VALUE = 4096  # bytes of the longest option value that is read
    MOST_OPTIONS = 256    # above the largest number of an option
    SPARE = 4             # descriptors for a look at the interfaces, a listener and its first connection


cdef void forget(SocketRecord *record) noexcept:
    """Let those who watch a socket read its events again, which may change."""
    cdef Watch *watch
    cdef Link *link = record.watches
    record.state &= ~WATCHED
    while link is not NULL:
        watch = <Watch *> link.owner
        link = link.following
        if watch.unread is not NULL and watch.of_poller.place is NULL:
            insert(&watch.of_poller, watch.unread)
        watch.tell(watch.of_poller.owner)

cdef void withdraw(SocketRecord *record) noexcept:
    """Take a socket out of the epoll sets of pollers before its descriptor is closed, by us or behind our back.

    A set would keep a descriptor of which a forked child has a copy; and the number may soon be another socket's.
    """
    cdef Watch *watch
    cdef Link *link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.epoll >= 0:
            epoll_remove(watch.epoll, record.fd)
            watch.epoll = -1
        link = link.following
    forget(record)


cdef class BaseSocket:
    """What plain and asynchronous sockets share: bind and connect, options, close.

    Parameters
    ----------
    context : Context
        The context that serves it.
    type : int
        One of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument
        There is no such type.
    NotSupported
        The type is a draft, and this libzmq has none.
    ZMQError
        EMFILE: `max_sockets` of the context are open, or the process has no descriptor left.
    ContextTerminated
        The context has ended.
    """

    def __cinit__(self):
        self.record.state = CLOSED
        self.record.owner = <void *> self
        self.record.fd = -1
        self.record.type = -1
        self.held_more = ASK

    def __init__(self, context, type):
        if not isinstance(context, Context):
            raise TypeError(f"Socket: context must be a Context, not {context!r:.80}")
        self.open(context, type)

    cdef int open(self, Context context, object type) except -1:
        cdef int number = to_int(type, "socket", "type")
        cdef void *handle
        if self.record.handle is not NULL:
            raise RuntimeError("Socket: already initialised")
        context.enter("socket")
        if ZMQ_STREAM < number <= LAST_TYPE and not zmq_has(b"draft"):
            raise error(ENOTSUP, "socket", NO_TYPE, f"type={type_name(number)}", "this libzmq has no draft sockets")
        self.set_threshold(default_threshold())
        spare_descriptors(context)
        handle = zmq_socket(context.ending.handle, number)
        if handle is NULL:
            code = last_errno()
            detail = f"type={type_name(number)}"
            if code == EMFILE:
                detail += f" max_sockets={zmq_ctx_get(context.ending.handle, ZMQ_MAX_SOCKETS)}"
            raise error(code, "socket", NO_TYPE, detail)
        self.record.handle = handle
        self.record.type = number
        self.owner = context
        self.record.spin = context.spin_bound
        self.record.eager = self.record.spin != 0
        enlist(&self.record, context.ending)
        self.find_descriptor()
        self.record.state = 0

    def __dealloc__(self):
        cdef zmq_msg_t msg
        while self.record.state & HELD:
            <void> zmq_msg_init(&msg)
            self.unhold(&msg)
            <void> zmq_msg_close(&msg)
        if not self.record.state & (CLOSED | FORKED):
            delist(&self.record)
            if not self.is_shadow:
                self.close_handle()
        if self.record.ending is not NULL and not self.record.ending.forked:
            self.record.ending.owners -= 1
        Py_XDECREF(self.monitor_end)

    cdef bint is_gone(self) noexcept:
        """Tell whether it was closed, by itself or by the socket of ours that it is a shadow of."""
        if self.record.state & SHADOW and not self.record.state & CLOSED:
            if (<BaseSocket> self.origin).record.state & CLOSED:
                self.let_go()
        return self.record.state & CLOSED != 0

    cdef void let_go(self) noexcept:
        """Use the handle no more: it will be closed, or was by the socket that this is a shadow of."""
        withdraw(&self.record)
        self.closing()
        delist(&self.record)
        self.record.state |= CLOSED

    cdef void closing(self) noexcept:
        """Do what must be done before the handle is closed."""

    cdef void close_handle(self) noexcept:
        note_last(&self.record)
        if self.monitor_end is not NULL:  # soon it may read no more, and a thread of libzmq would wait for it
            <void> zmq_socket_monitor(self.record.handle, NULL, 0)
        <void> zmq_close(self.record.handle)

    cdef void find_descriptor(self) noexcept:
        cdef zmq_fd_t fd
        cdef size_t size = sizeof(fd)
        if zmq_getsockopt(self.record.handle, ZMQ_FD, &fd, &size) == 0:
            self.record.fd = <int> fd

    @classmethod
    def shadow(cls, address):
        """Wrap a socket that something else made, and leave it open when the wrapper goes.

        Parameters
        ----------
        address : int or object
            The address of libzmq's socket, or an object that has it as `underlying`.

        Returns
        -------
        Socket
            `close` on it closes the socket of both.

        Raises
        ------
        ZMQError
            ENOTSOCK: the socket was closed, or made by another libzmq of this process, as wheels of pyzmq bring one.
        """
        cdef BaseSocket self = cls.__new__(cls)
        cdef int number = 0
        cdef size_t size = sizeof(int)
        self.origin = address
        if isinstance(address, BaseSocket):
            enter(address, "shadow")
            self.record.handle = (<BaseSocket> address).record.handle
        else:
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a socket is a positive int, not {address!r}")
            self.record.handle = <void *> <size_t> address
            if is_foreign(self.record.handle, <void *> zmq_getsockopt):
                raise error(ENOTSOCK, "shadow", NO_TYPE, hex(address), "the socket was made by another libzmq")
        handle = <size_t> self.record.handle
        check(zmq_getsockopt(self.record.handle, ZMQ_TYPE, &number, &size), "shadow", NO_TYPE, hex(handle))
        self.record.type = number
        self.is_shadow = self.shared = True
        self.set_threshold(default_threshold())
        enlist(&self.record, NULL)
        self.find_descriptor()
        self.record.state = SHADOW if isinstance(self.origin, BaseSocket) else 0
        return self

    cdef int enter_slowly(self, str call) except -1:
        """Let others forget what the call may change, and raise what forbids the call."""
        if self.record.state & WATCHED:
            forget(&self.record)
        if not self.is_gone() and self.record.state & SHADOW:
            forget(&(<BaseSocket> self.origin).record)
        if not self.record.state & (BUSY | CLOSED | FORKED):
            return 0
        if self.record.state & ENDED:
            raise error(ETERM, call, self.record.type)
        if self.record.state & CLOSED:
            raise error(ENOTSOCK, call, self.record.type, None, "the socket is closed")
        if self.record.state & FORKED:
            raise error(ECHILD, call, self.record.type, None, "the socket was made before the fork: make one here")
        raise error(EBUSY, call, self.record.type, None, "another thread is in a call on this socket")

    # ---- what was received and waits

    cdef int hold(self, zmq_msg_t *parts, int count) except -1:
        """Keep parts that could not be handed over, in front of what the next receives get."""
        cdef int kept = self.held_count - self.held_first
        cdef zmq_msg_t *held = <zmq_msg_t *> calloc(count + kept, sizeof(zmq_msg_t))
        if held is NULL:
            raise MemoryError()
        memcpy(held, parts, count * sizeof(zmq_msg_t))  # libzmq moves messages by value too
        if kept:
            memcpy(held + count, self.held + self.held_first, kept * sizeof(zmq_msg_t))
        free(self.held)
        self.held = held
        self.held_first = 0
        self.held_count = count + kept
        self.record.state |= HELD
        forget(&self.record)
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first of the kept parts into an initialised message."""
        memcpy(msg, self.held + self.held_first, sizeof(zmq_msg_t))
        self.held_more = zmq_msg_more(msg)
        self.held_first += 1
        if self.held_first == self.held_count:
            free(self.held)
            self.held = NULL
            self.held_first = self.held_count = 0
            self.record.state &= ~HELD

    # ---- waiting

    cdef int current_events(self, str call) except -1:
        """Return what can be done now: ZMQ_EVENTS, and POLLIN for a message that waits here."""
        cdef int events = 0
        cdef int number
        enter(self, call)
        while True:
            number = events_of(self.record.handle, &events)
            if not interrupted(number):
                break
            enter(self, call)
        if number:
            raise error(number, call, self.record.type)
        return events | ZMQ_POLLIN if self.record.state & HELD else events

    # ---- endpoints

    cdef int on_endpoint(self, str call, object endpoint) except -1:
        """Make one of the four calls that take an endpoint, without the GIL: they may look up names."""
        cdef bytes text = c_string(endpoint, call, "endpoint")
        cdef const char *address = text
        port = text.rpartition(b":")[2]
        if not text.startswith((b"inproc:", b"ipc:")) and port.isdigit() and int(port) > 65535:
            # libzmq would take it modulo 65536
            raise error(EINVAL, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        cdef int (*function)(void *, const char *) noexcept nogil
        cdef int number
        if call == "bind" or call == "connect" and b";" in text:
            # libzmq looks up the interfaces, and aborts if there is no descriptor for that
            if not text.startswith(b"inproc:") and probe_descriptors(SPARE) < SPARE:
                raise error(EMFILE, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        if call == "bind":
            function = zmq_bind
        elif call == "connect":
            function = zmq_connect
        elif call == "unbind":
            function = zmq_unbind
        else:
            function = zmq_disconnect
        while True:
            enter(self, call)
            self.record.state |= BUSY
            self.record.inside = True
            with nogil:
                number = 0 if function(self.record.handle, address) >= 0 else last_errno()
                self.record.inside = False
            self.record.state &= ~BUSY
            if not interrupted(number):
                break
        if number:
            raise error(number, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        self.networked |= not text.startswith(b"inproc:")
        return 0

    def bind(self, endpoint):
        """Accept connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            ``tcp://127.0.0.1:5555``, ``tcp://*:*`` (`last_endpoint` tells the port), ``ipc:///path`` or
            ``inproc://name``.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EADDRINUSE: it is taken. EADDRNOTAVAIL, ENODEV: the machine has no such address. EPROTONOSUPPORT: this
            libzmq has no such transport. EMFILE: the process has fewer than four descriptors left.
        IncompatibleProtocol
            The transport does not go with the type of the socket.
        ValueError
            The endpoint has a NUL character.
        """
        self.on_endpoint("bind", endpoint)

    def unbind(self, endpoint):
        """Accept no more connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            As `last_endpoint` had it after the bind.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not bound there.
        """
        self.on_endpoint("unbind", endpoint)

    def connect(self, endpoint):
        """Connect to an endpoint; the connection is made, and made again when it breaks, in the background.

        Parameters
        ----------
        endpoint : str
            ``tcp://host:port``, ``ipc:///path``, ``inproc://name``.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EPROTONOSUPPORT: this libzmq has no such transport.
        IncompatibleProtocol
            The transport does not go with the type of the socket.
        ValueError
            The endpoint has a NUL character.
        """
        self.on_endpoint("connect", endpoint)

    def disconnect(self, endpoint):
        """End a connection that `connect` made.

        Parameters
        ----------
        endpoint : str
            As it was connected.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not connected there.
        """
        self.on_endpoint("disconnect", endpoint)

    def close(self, linger=None):
        """Close the socket. What it has queued is sent in the background, for as long as its linger says.

        Closing a closed socket does nothing.

        Parameters
        ----------
        linger : int or timedelta, optional
            Milliseconds; 0 drops what is queued. By default as the option is set.

        Raises
        ------
        SocketInUse
            Another thread is in a call on this socket.
        """
        if self.is_gone():
            return
        if not self.record.state & FORKED:  # the parent's is left to the parent
            enter(self, "close")
            if self.record.state & SHADOW:
                enter(self.origin, "close")
            if linger is not None:
                try:
                    self.setsockopt(ZMQ_LINGER, linger)
                except errors.ContextTerminated:
                    pass  # libzmq takes no option any more; the socket is closed all the same
            self.let_go()
            if self.record.state & SHADOW:
                (<BaseSocket> self.origin).close()
            else:
                self.close_handle()
        self.record.state |= CLOSED

    @property
    def context(self):
        """Context: the context that serves the socket; None for a shadow."""
        return self.owner

    @property
    def closed(self):
        """bool: whether the socket was closed."""
        return self.is_gone()

    @property
    def spin(self):
        """float: for how many microseconds a call that waits for an answer tries again before its thread sleeps.

        An answer is what is received after something was sent. Only while the waits of this socket are short: an idle
        one sleeps at once. 0 turns it off.
        """
        return self.record.spin / 1000

    @spin.setter
    def spin(self, microseconds):
        self.record.spin = to_spin(microseconds)
        self.record.eager = self.record.spin != 0

    cdef void set_threshold(self, size_t size) noexcept:
        self.threshold = size
        self.quick_size = min(size, <size_t> BIG)

    @property
    def copy_threshold(self):
        """int: from how many bytes on a send lends libzmq the memory of bytes instead of copying it."""
        return self.threshold

    @copy_threshold.setter
    def copy_threshold(self, size):
        self.set_threshold(to_threshold(size, "copy_threshold"))

    @property
    def stats(self):
        """SocketStats: what went through the socket since it was made; its own counts, which are cheap to read."""
        from zmqcy.stats import SocketStats
        cdef Stats *stats = &self.record.stats
        return SocketStats(
            stats.messages_sent, stats.bytes_sent, stats.messages_received, stats.bytes_received, stats.waits,
            stats.would_blocks)

    @property
    def underlying(self):
        """int: the address of libzmq's socket, for `shadow`."""
        enter(self, "underlying")
        self.shared = True
        withdraw(&self.record)
        return <size_t> self.record.handle

    def fileno(self):
        """Return the descriptor that becomes readable when `events` may have changed.

        It is edge-triggered: read `events` first, and again after each operation on the socket.

        Returns
        -------
        int
        """
        enter(self, "fileno")
        if self.record.fd < 0:
            raise error(ENOTSUP, "fileno", self.record.type)
        return self.record.fd

    def _monitor(self, endpoint, events, end):
        """Have libzmq write events to an endpoint. The object that reads there is kept until `_unmonitor`."""
        cdef bytes text = c_string(endpoint, "monitor", "addr")
        cdef int wanted = to_int(events, "monitor", "events", 0, 0xFFFF)
        enter(self, "monitor")
        rc = zmq_socket_monitor(self.record.handle, text, wanted)
        check(rc, "monitor", self.record.type, text.decode("utf-8", "backslashreplace"))
        if end is not None:
            Py_INCREF(end)
            self.monitor_end = <PyObject *> end

    def _unmonitor(self):
        """Have libzmq write no more events, and return the object that was kept. Another thread may be in a call."""
        # libzmq has a lock for its monitor, and touches nothing else of the socket.
        if not self.record.state & (CLOSED | FORKED):
            <void> zmq_socket_monitor(self.record.handle, NULL, 0)
        return self._take_monitor_end()

    def _take_monitor_end(self):
        end = None if self.monitor_end is NULL else <object> self.monitor_end
        Py_XDECREF(self.monitor_end)
        self.monitor_end = NULL
        return end

    @property
    def _monitor_end(self):
        return None if self.monitor_end is NULL else <object> self.monitor_end

    # ---- options

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
        return self.get_option(number, "getsockopt")

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
            self.check_option(zmq_getsockopt(self.record.handle, number, text, &size), call, number)
            if kind == c's' and size and text[size - 1] == 0:
                size -= 1
            return text[:size]
        if kind == c'k':
            size = 41
            self.check_option(zmq_getsockopt(self.record.handle, number, text, &size), call, number)
            return text[:40]
        if kind == c'l':
            size = sizeof(int64)
            self.check_option(zmq_getsockopt(self.record.handle, number, &int64, &size), call, number)
            return int64
        if kind == c'u':
            size = sizeof(uint64)
            self.check_option(zmq_getsockopt(self.record.handle, number, &uint64, &size), call, number)
            return uint64
        if number == ZMQ_EVENTS:
            return self.current_events(call)
        if number == ZMQ_RCVMORE and self.held_more != ASK:
            return self.held_more
        size = sizeof(value)
        if zmq_getsockopt(self.record.handle, number, &value, &size) >= 0:
            return value
        if kind == 0 and last_errno() == EINVAL:
            size = sizeof(text)
            if zmq_getsockopt(self.record.handle, number, text, &size) >= 0:
                return text[:size]
        self.check_option(-1, call, number)

    cdef int check_option(self, int rc, str call, int number) except -1:
        return check(rc, call, self.record.type, option_name(number)) if rc < 0 else rc

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
                return self.check_set(zmq_setsockopt(self.record.handle, number, NULL, 0), call, number, value)
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
                rc = zmq_setsockopt(self.record.handle, number, view.buf, view.len)
                if rc >= 0:
                    return rc
                exception = error(last_errno(), call, self.record.type, f"{option_name(number)}={shown(number, value)}")
            finally:
                PyBuffer_Release(&view)
            raise exception
        if kind == c'l':
            int64 = to_integer(value, call, option_name(number), -(1 << 63), (1 << 63) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &int64, sizeof(int64))
        elif kind == c'u':
            uint64 = to_integer(value, call, option_name(number), 0, (1 << 64) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &uint64, sizeof(uint64))
        else:
            if type(value) is int:
                pass
            elif kind == c'd':
                value = round_up(to_milliseconds(value, f"{call} {option_name(number)}"))
            if type(value) is int and INT_MIN <= value <= INT_MAX:
                setting = value
            else:
                setting = to_int(value, call, option_name(number))
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &setting, sizeof(setting))
            if number == ZMQ_LINGER and rc >= 0:
                self.record.linger_set = True
        return self.check_set(rc, call, number, value)

    cdef int check_set(self, int rc, str call, int number, object value) except -1:
        return check(rc, call, self.record.type, f"{option_name(number)}={shown(number, value)}") if rc < 0 else rc

    def subscribe(self, topic):
        """Ask for the messages that begin with a topic (SUB).

        Parameters
        ----------
        topic : bytes-like or str
            A prefix; text is encoded as UTF-8. The empty one asks for all.
        """
        self.set_option(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "subscribe")

    def unsubscribe(self, topic):
        """Take back one `subscribe` of the same topic.

        Parameters
        ----------
        topic : bytes-like or str
            As it was subscribed.
        """
        self.set_option(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "unsubscribe")

    def __repr__(self):
        cdef char[256] endpoint
        cdef size_t size = sizeof(endpoint)
        words = [f"{type(self).__module__}.{type(self).__qualname__}"]
        words.append(type_name(self.record.type) if self.record.type >= 0 else "uninitialised")
        if self.record.state & CLOSED:
            words.append("closed")
        elif not self.record.state & (BUSY | FORKED):
            endpoint[0] = 0
            if zmq_getsockopt(self.record.handle, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 and endpoint[0]:
                words.append((<bytes> endpoint).decode("utf-8", "replace"))
        return f"<{' '.join(words)}>"

    def __reduce__(self):
        raise TypeError("Socket: a socket cannot be pickled or copied; send its endpoint, or shadow() it here")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)


# -------------------------------------------------------------------------------------------------------------- options

cdef char[MOST_OPTIONS] kinds  # of the socket options, by number: the letter of its kind, 0 where there is none
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7

for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = kind_of(_option)


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef str shown(int number, object value):
    """Return a value for an error's text; a secret is not shown."""
    name = option_name(number)
    if isinstance(value, (int, float)) or not ("secret" in name or "password" in name):
        return f"{value!r:.80}"
    return f"({len(value)} secret characters)" if isinstance(value, (str, bytes)) else type(value).__name__


cdef class SocketProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        value = (<BaseSocket?> instance).get_option(self.number, "get")
        if self.kind == c"s":
            return value.decode("utf-8", "surrogateescape")
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        (<BaseSocket?> instance).set_option(self.number, value, "set")

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")
