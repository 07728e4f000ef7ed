"""What plain and asynchronous sockets share: the handle and its end, endpoints, options.

Every call of libzmq goes through the gate (`check`), which turns an errno into an exception, and every call on a socket
begins with one check (`enter`).
"""

cimport cython
from cython cimport critical_section
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EADDRINUSE, EAGAIN, EBUSY, ECHILD, EINVAL, EMFILE, ENOENT, ENOTSOCK
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zmqcy._context cimport (
    BUSY, CLOSED, ENDED, FORKED, HELD, SHADOW, WATCHED, Context, Link, Property, Signaler, SocketRecord, Stats, Watch,
    alive, come_out, delist, enlist, go_inside, insert, is_inside, kind_of, lock_lists, note_last, prepare_threads,
    remove, socket_with, unlock_lists)
from zmqcy._library cimport (
    LAST_TYPE, NO_TYPE, c_string, check, error, interrupted, no_drafts, round_up, set_attribute, to_int, to_integer,
    to_milliseconds, to_spin, type_name)
from zmqcy._message cimport BIG, Frame, default_threshold, to_threshold, trust_users
from zmqcy._system cimport counted, drain, epoll_remove, free_descriptors, is_foreign
from zmqcy.libzmq cimport (
    EFSM, ENOTSUP, ETERM, ZMQ_DEALER, ZMQ_DGRAM, ZMQ_DISH, ZMQ_EVENTS, ZMQ_FD, ZMQ_LAST_ENDPOINT, ZMQ_LINGER,
    ZMQ_MAX_SOCKETS, ZMQ_PAIR, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_PUB, ZMQ_PUSH, ZMQ_RADIO, ZMQ_RCVMORE, ZMQ_REP, ZMQ_ROUTER,
    ZMQ_SERVER, ZMQ_STREAM, ZMQ_TYPE, ZMQ_XSUB, zmq_bind, zmq_close, zmq_connect, zmq_connect_peer, zmq_ctx_get,
    zmq_disconnect, zmq_disconnect_peer, zmq_errno as last_errno, zmq_fd_t, zmq_getsockopt, zmq_has, zmq_join,
    zmq_leave, zmq_msg_close, zmq_msg_init, zmq_msg_more, zmq_msg_t, zmq_poller_add, zmq_poller_destroy, zmq_poller_fd,
    zmq_poller_new, zmq_setsockopt, zmq_socket, zmq_socket_monitor, zmq_socket_monitor_pipes_stats,
    zmq_socket_monitor_versioned, zmq_unbind, zmq_version)

from zmqcy import errors
from zmqcy.options import SOCKET_OPTIONS

cdef extern from "Python.h":
    void PyErr_SetObject(object type, object value) noexcept
    void PyErr_WriteUnraisable(object where) noexcept

cdef enum:
    NOT_READ = -1         # of the events
    LONGEST_VALUE = 4096  # bytes of the longest option value that is read
    MOST_OPTIONS = 256    # above the largest number of an option
    ZMQ_IPV6 = 42
    ZMQ_MECHANISM = 43
    ZMQ_CURVE_SERVER = 47
    ZMQ_CONFLATE = 54
    ZMQ_ZAP_DOMAIN = 55
    ZMQ_GSSAPI_SERVER = 62
    ZMQ_HEARTBEAT_IVL = 75
    ZMQ_USE_FD = 89
    ZMQ_ZAP_ENFORCE_DOMAIN = 93
    ZMQ_ONLY_FIRST_SUBSCRIBE = 108
    ZMQ_PLAIN = 1
    ZMQ_CURVE = 2
    ZMQ_GSSAPI = 3
    EVENT_PIPES_STATS = 0x10000
    FEW_LEFT = 64
    SPARE = 4             # descriptors for a look at the interfaces, a listener and its first connection


def connection_of(int fd):
    """Return a socket of Python's on a copy of a descriptor, or raise OSError where that is no socket."""
    import os
    import socket
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except BaseException:  # it takes the descriptor only where it succeeds
        os.close(copy)
        raise


cdef bytes ZAP = b"inproc://zeromq.zap.01"  # where RFC 27 has the handler
cdef dict handlers = {}  # by the address of a context: whether an Authenticator decides, where there is or was one
cdef dict given_away = {}  # descriptors that binds have taken, with the device and inode of what they were


def _note_handler(size_t context, running):
    """Take note whether an Authenticator decides for a context; None: it has ended."""
    if running is None:
        handlers.pop(context, None)
    else:
        handlers[context] = running


cdef void forget(SocketRecord *record) noexcept:
    """Let those who watch a socket read its events again, which may change."""
    cdef Watch *watch
    cdef Link *link
    cdef bint wanted = False
    record.state &= ~WATCHED
    record.remembered = NOT_READ
    lock_lists()
    record.round += 1
    link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        link = link.following
        if watch.unread is not NULL and watch.of_poller.place is NULL:
            insert(&watch.of_poller, watch.unread)
        wanted |= watch.wanted is NULL or watch.wanted[0]
    unlock_lists()
    while wanted:
        wanted = tell_next(record)


cdef bint tell_next(SocketRecord *record) noexcept:
    """Tell one of those who want to be told in this round. Return whether there was one.

    It may run any code, by which others come and go.
    """
    cdef Watch *watch = NULL
    cdef Link *link
    cdef object listener
    lock_lists()
    link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.round != record.round and (watch.wanted is NULL or watch.wanted[0]):
            break
        link = link.following
    if link is NULL:
        unlock_lists()
        return False
    watch.round = record.round
    tell = watch.tell
    listener = alive(watch.listener, watch.reference)
    unlock_lists()
    if listener is not None:
        tell(listener)
    return True


cdef int warn_of_descriptors() except -1:
    import warnings
    warnings.warn(
        f"bind (ipc): the process has fewer than {FEW_LEFT} file descriptors left, and libzmq ends it when a peer "
        "connects over ipc and none is left: raise the limit (ulimit -n), or bind to tcp", RuntimeWarning, stacklevel=2)
    return 0


cdef void silence(SocketRecord *record) noexcept:
    """Let nobody have a descriptor of a thread-safe socket any more, which is about to be closed."""
    cdef Link *link
    lock_lists()
    link = record.watches
    while link is not NULL:
        close_signaler(&(<Watch *> link.owner).signaler, record)
        link = link.following
    unlock_lists()
    close_signaler(&record.signaler, record)


cdef int make_signaler(Signaler *signaler, void *handle) noexcept nogil:
    """Have a descriptor that tells of a thread-safe socket what comes from now on. Return 0 or an errno."""
    cdef void *poller
    cdef zmq_fd_t fd = 0
    cdef int number
    if <void *> zmq_poller_new is NULL or <void *> zmq_poller_fd is NULL:
        return ENOTSUP
    poller = zmq_poller_new()
    if (
        poller is NULL or zmq_poller_add(poller, handle, NULL, <short> (ZMQ_POLLIN | ZMQ_POLLOUT)) < 0
        or zmq_poller_fd(poller, &fd) < 0
    ):
        number = last_errno()
        if poller is not NULL:
            <void> zmq_poller_destroy(&poller)
        return number
    signaler.poller = poller
    signaler.fd = <int> fd
    return 0


cdef int open_signaler(Signaler *signaler, BaseSocket socket, str call) except -1:
    """Have a descriptor that is readable when the events of a thread-safe socket may have changed."""
    if signaler.poller is not NULL:
        return 0
    if socket.is_shadow:  # its end would come too late
        raise error(ENOTSUP, call, socket.record.type, None, "a shadow of a thread-safe socket has no descriptor")
    cdef int number = make_signaler(signaler, socket.record.handle)
    if number:
        raise error(number, call, socket.record.type)
    return 0


cdef void close_signaler(Signaler *signaler, SocketRecord *record) noexcept:
    # A forked child keeps it: libzmq would wait for a lock that a thread of the parent may have had.
    if signaler.poller is not NULL and not record.state & (FORKED | CLOSED):
        <void> zmq_poller_destroy(&signaler.poller)
    signaler.poller = NULL


cdef void withdraw(SocketRecord *record) noexcept:
    """Take a socket out of the epoll sets of pollers before its descriptor is closed, by us or behind our back.

    A set would keep a descriptor of which a forked child has a copy; and the number may soon be another socket's.
    """
    cdef Watch *watch
    cdef Link *link
    lock_lists()
    link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.epoll >= 0:
            epoll_remove(watch.epoll, record.fd)
            watch.epoll = -1
        link = link.following
    unlock_lists()
    forget(record)


cdef bint has_handler(void *context, str call, int type) except -1:
    """Tell whether a context has a handler of ZAP, by taking its name for a moment."""
    cdef int none = 0
    cdef int code = 0
    cdef const char *address = ZAP
    # A ROUTER: libzmq would abort if it asked any but this and REP in that moment.
    cdef void *probe = zmq_socket(context, ZMQ_ROUTER)
    if probe is NULL:
        check(-1, call, type, None)
    <void> zmq_setsockopt(probe, ZMQ_LINGER, &none, sizeof(none))
    if zmq_bind(probe, address) < 0:
        code = last_errno()
    else:
        <void> zmq_unbind(probe, address)  # at once: a thread of libzmq carries a close out later
    <void> zmq_close(probe)
    if code and code != EADDRINUSE:
        raise error(code, call, type, None)
    return code != 0


@cython.no_gc_clear  # a shadow stands in a list of its origin, which it keeps until it has left that
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
        self.record.owner = <PyObject *> self
        self.record.fd = -1
        self.record.remembered = NOT_READ
        self.record.type = -1
        self.record.exclusive = BUSY
        self.held_more = ASK

    @critical_section
    def __init__(self, context, type):
        if not isinstance(context, Context):
            raise TypeError(f"Socket: context must be a Context, not {context!r:.80}")
        self.open(context, type)

    cdef int open(self, Context context, object type) except -1:
        cdef int number = to_int(type, "socket", "type")
        cdef Context root = context.root()
        cdef void *handle
        if self.record.handle is not NULL:
            raise RuntimeError("Socket: already initialised")
        context.enter("socket")
        if ZMQ_STREAM < number <= LAST_TYPE and not zmq_has(b"draft"):
            raise no_drafts("socket", NO_TYPE, f"type={type_name(number)}")
        self.datagram = number == ZMQ_DGRAM
        if number == ZMQ_DGRAM or number == ZMQ_XSUB:
            self.check_messages()
        self.set_threshold(default_threshold())
        with critical_section(root):
            context.enter("socket")
            prepare_threads(root)
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
            enlist(&self.record, context.ending, NULL)
        self.find_descriptor()
        self.record.eager = self.record.spin != 0 and self.record.fd >= 0
        self.record.state = 0

    def __dealloc__(self):
        cdef zmq_msg_t msg
        while self.record.state & HELD:
            <void> zmq_msg_init(&msg)
            self.unhold(&msg)
            <void> zmq_msg_close(&msg)
        if not self.record.state & (CLOSED | FORKED) and delist(&self.record):
            close_signaler(&self.record.signaler, &self.record)
            if not self.is_shadow:
                self.close_handle()
        if self.record.ending is not NULL and not self.record.ending.forked:
            lock_lists()
            self.record.ending.owners -= 1
            unlock_lists()
        Py_XDECREF(self.feed)
        Py_XDECREF(self.record.reference)

    cdef list shadows(self):
        """Return the sockets that have the handle of this one."""
        cdef list shadows = []
        cdef SocketRecord *record
        lock_lists()
        record = self.record.shadows
        while record is not NULL:
            shadows.append(alive(record.owner, record.reference))
            record = record.following
        unlock_lists()
        return [shadow for shadow in shadows if shadow is not None]

    cdef void let_go(self) noexcept:
        """Use the handle no more, nor let a shadow use it: it is about to be closed."""
        cdef BaseSocket shadow
        self.record.state |= BUSY  # until it is closed: what follows may run any code
        for shadow in self.shadows():
            with critical_section(shadow):
                if not shadow.record.state & CLOSED:
                    shadow.let_go()
        withdraw(&self.record)
        self.closing()
        silence(&self.record)
        delist(&self.record)
        if self.names is not None:
            self.owner.note_unbind(self.names)
        self.record.state |= CLOSED
        self.record.state &= ~BUSY

    cdef void closing(self) noexcept:
        """Do what must be done before the handle is closed."""
        try:
            self._leave()
        except Exception as exception:
            PyErr_SetObject(type(exception), exception)
            PyErr_WriteUnraisable(self)

    def _leave(self):
        """Let those go who wait for the descriptor, which is about to be closed: for subclasses that wait in Python."""

    cdef void close_handle(self) noexcept:
        note_last(&self.record)
        if self.feed is not NULL and (<object> self.feed).pair is not None:
            self.stop_monitor()  # soon its PAIR may read no more, and a thread of libzmq would wait for it
        <void> zmq_close(self.record.handle)

    cdef void stop_monitor(self) noexcept:
        """Have libzmq write no more events.

        It says so to the PAIR that reads them, and waits until there is one. So one of ours is there meanwhile; where
        there is another one, libzmq turns it away.
        """
        cdef void *reader = NULL
        cdef int none = 0
        cdef bytes address = None if self.feed is NULL else (<object> self.feed).address
        cdef BaseSocket first = <BaseSocket> self.origin if isinstance(self.origin, BaseSocket) else self
        if address is not None and first.record.ending is not NULL:
            reader = zmq_socket(first.record.ending.handle, ZMQ_PAIR)
            if reader is not NULL:
                <void> zmq_setsockopt(reader, ZMQ_LINGER, &none, sizeof(none))
                <void> zmq_connect(reader, <const char *> address)
        <void> zmq_socket_monitor(self.record.handle, NULL, 0)
        if reader is not NULL:
            <void> zmq_close(reader)
        self.lose_name(address)

    cdef void find_descriptor(self) noexcept:
        cdef zmq_fd_t fd
        cdef size_t size = sizeof(fd)
        if zmq_getsockopt(self.record.handle, ZMQ_FD, &fd, &size) == 0:
            self.record.fd = <int> fd
        elif last_errno() == EINVAL:  # a thread-safe type, whose events others may change at any time
            self.shared = True
            self.record.exclusive = 0

    cdef int descriptor(self, str call) except -1:
        """Return the descriptor that becomes readable when the events may have changed."""
        if self.record.fd >= 0:
            return self.record.fd
        open_signaler(&self.record.signaler, self, call)
        return self.record.signaler.fd

    @classmethod
    def shadow(cls, address):
        """Wrap a socket that something else made, and leave it open when the wrapper goes.

        Parameters
        ----------
        address : int or object
            The address of libzmq's socket, or an object that has it as `underlying`. It is believed: a number that is
            the address of no socket may end the process.

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
        self._adopt(address)
        return self

    def _make_frames(self, cls):
        """Have a class of frames, of which each is an instance that `__init__` has not seen."""
        if not issubclass(cls, Frame):
            raise TypeError(f"a class of frames is required, not {cls!r}")
        self.frames = cls

    @critical_section
    def _adopt(self, address):
        """Be a shadow."""
        cdef int number = 0
        cdef size_t size = sizeof(int)
        cdef BaseSocket original = None
        cdef void *handle
        cdef bint known = False
        if self.record.handle is not NULL:
            raise RuntimeError("Socket: already initialised")
        self.origin = address
        if isinstance(address, BaseSocket):
            original = address
            enter(original, "shadow")
            if original.record.state & SHADOW:
                original = original.origin
            handle = original.record.handle
        else:
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a socket is a positive int, not {address!r}")
            handle = <void *> <size_t> address
            original = socket_with(handle, &known)
            if known and original is None:
                raise error(ENOTSOCK, "shadow", NO_TYPE, hex(address), "the socket is closed")
            if not known and is_foreign(handle, <void *> zmq_getsockopt):
                raise error(ENOTSOCK, "shadow", NO_TYPE, hex(address), "the socket was made by another libzmq")
        if original is not None:
            enter(original, "shadow")
            original.exposed = True
            self.origin = original
        check(zmq_getsockopt(handle, ZMQ_TYPE, &number, &size), "shadow", NO_TYPE, hex(<size_t> handle))
        self.record.handle = handle
        self.record.type = number
        self.is_shadow = self.shared = True
        if number == ZMQ_XSUB or self.conflates():
            self.check_messages()
        self.set_threshold(default_threshold())
        enlist(&self.record, NULL, NULL if original is None else &original.record)
        self.find_descriptor()
        self.record.state = 0 if original is None else SHADOW

    cdef int enter_slowly(self, str call) except -1:
        """Let others forget what the call may change, and raise what forbids the call."""
        while self.record.state & WATCHED:  # again, where another thread has read them meanwhile
            forget(&self.record)
        if self.record.state & (SHADOW | CLOSED) == SHADOW:
            with critical_section(self.origin):
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

    cdef int attend(self) except -1:
        """Have `catch_up` called now and then, if there is somebody to do that."""
        return 0

    cdef void catch_up(self) noexcept:
        """Have libzmq forget the peers that have gone, of which it keeps something until somebody uses the socket."""
        cdef int events
        if not self.exposed and not self.record.state & (BUSY | CLOSED | FORKED | SHADOW):
            if self.record.state & WATCHED:
                forget(&self.record)
            <void> events_of(self.record.handle, &events)

    @critical_section
    def _catch_up(self):
        """Catch up, in whatever thread: where a poller may sleep, or somebody waits in a loop, they do."""
        if self.record.watches is NULL:
            self.catch_up()

    @critical_section
    cdef int remember_events(self, Watch *watch, str call) except -1:
        """Return the events to who remembers them until it is told to forget them.

        Others who remember the same ones need not be told of the look: two would wake each other without end.
        """
        cdef int events = 0
        if self.record.remembered == NOT_READ or self.record.state & (BUSY | CLOSED | FORKED | SHADOW | HELD):
            events = self.current_events(call)
        elif events_of(self.record.handle, &events) or events != self.record.remembered:
            forget(&self.record)
            events = self.current_events(call)
        lock_lists()
        remove(&watch.of_poller)
        unlock_lists()
        if not self.shared:
            self.record.state |= WATCHED
            self.record.remembered = events
        return events

    @critical_section
    def _is_busy(self):
        """Tell whether another thread is in a call, on this or on a shadow of it."""
        cdef BaseSocket shadow
        if self.record.state & BUSY or is_inside(&self.record):
            return True
        for shadow in self.shadows():
            if shadow.record.state & BUSY or is_inside(&shadow.record):
                return True
        return False

    @critical_section
    def _note_end(self):
        """Take note that the context has closed the socket."""
        self.record.state |= ENDED

    # ---- endpoints

    cdef int64_t on_endpoint(self, str call, object endpoint) except -1:
        """Make one of the five calls that take an endpoint, without the GIL: they may look up names."""
        cdef bytes text = c_string(endpoint, call, "endpoint")
        cdef const char *address = text
        port = text.rpartition(b":")[2]
        if not text.startswith((b"inproc:", b"ipc:")) and port.isdigit() and int(port) > 65535:
            # libzmq would take it modulo 65536
            raise error(EINVAL, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        cdef int (*function)(void *, const char *) noexcept nogil
        cdef int number
        cdef uint32_t peer = 0
        if call == "bind" or call in ("connect", "connect_peer") and b";" in text:
            # libzmq looks up the interfaces, and aborts if there is no descriptor for that
            if not text.startswith(b"inproc:") and free_descriptors(SPARE) < SPARE:
                raise error(EMFILE, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        if call in ("bind", "connect", "connect_peer"):
            if not text.startswith((b"inproc:", b"udp:")):
                self.check_handler(call, text)
            elif call == "bind" and text == ZAP and self.record.type not in (ZMQ_REP, ZMQ_ROUTER, ZMQ_SERVER):
                why = "libzmq asks a REP or ROUTER socket here about peers, and ends the process at any other type"
                raise error(EINVAL, call, self.record.type, text.decode(), why)
        listener = None
        if call == "bind":
            if not text.startswith(b"inproc:"):
                listener = self.check_listener(text.decode("utf-8", "backslashreplace"))
            if text.startswith(b"ipc://"):
                if free_descriptors(FEW_LEFT) < FEW_LEFT:
                    warn_of_descriptors()
                if listener is None:
                    self.check_path(text)
            if text.startswith(b"udp:"):
                self.check_datagrams(text)
            function = zmq_bind
        elif call == "connect":
            function = zmq_connect
        elif call == "connect_peer":
            function = NULL
        elif call == "unbind":
            function = zmq_unbind
        else:
            function = zmq_disconnect
        while True:
            enter(self, call)
            go_inside(&self.record)
            with nogil:
                if function is NULL:
                    peer = zmq_connect_peer(self.record.handle, address)
                    number = 0 if peer else last_errno()
                else:
                    number = 0 if function(self.record.handle, address) >= 0 else last_errno()
                come_out(&self.record)
            self.record.state &= ~BUSY
            if not interrupted(number):
                break
        if number:
            why = None
            if call == "unbind" and number == ENOENT and self.datagram and text.startswith(b"udp:"):
                number, why = ENOTSUP, "libzmq keeps a udp endpoint until the socket is closed"
            raise error(number, call, self.record.type, text.decode("utf-8", "backslashreplace"), why)
        if not text.startswith(b"inproc:"):
            self.networked = True
            self.attend()
        if self.owner is not None and text.startswith(b"inproc:"):
            if call == "bind":
                self.note_name(text)
                if text == ZAP and <size_t> self.record.ending.handle not in handlers:
                    trust_users()
            elif call == "unbind":
                self.lose_name(text)
            elif call == "connect":
                self.owner.note_connect(text)
        if listener is not None:
            given_away[listener[0]] = listener
        if text.startswith(b"udp:"):
            self.datagram = True
            self.check_messages()
        return peer

    cdef int check_path(self, bytes endpoint) except -1:
        """Raise where libzmq would delete a file to bind to its path: it does so with all that lies there."""
        import os
        import stat
        if endpoint[6:7] in (b"*", b"@"):  # a name of libzmq's choice, or no file
            return 0
        try:
            mode = os.lstat(endpoint[6:]).st_mode
        except OSError:
            return 0
        if stat.S_ISSOCK(mode):
            return 0
        what = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "a file"
        why = f"Address already in use (by {what}, which is not a socket: libzmq would delete it; bind to another path)"
        raise error(EADDRINUSE, "bind", self.record.type, endpoint.decode("utf-8", "backslashreplace"), why)

    cdef int check_datagrams(self, bytes endpoint) except -1:
        """Raise, or warn, where a datagram would make libzmq end the process."""
        cdef int ipv6 = 0
        cdef size_t size = sizeof(ipv6)
        text = endpoint.decode("utf-8", "backslashreplace")
        enter(self, "bind")
        if self.record.type == ZMQ_DGRAM:
            if zmq_getsockopt(self.record.handle, ZMQ_IPV6, &ipv6, &size) == 0 and ipv6:
                why = "with ipv6 libzmq ends the process at the first datagram of a DGRAM socket: set ipv6=False"
                raise error(ENOTSUP, "bind", self.record.type, text, why)
        elif self.record.type == ZMQ_DISH:
            if self.long_groups:
                raise error(EINVAL, "bind", self.record.type, text, long_group("a group that it has joined"))
            host = text[6:].rpartition(":")[0]
            is_local = (host.startswith("127.") or host in ("[::1]", "lo")) and ";" not in host  # multicast is for all
            if can_be_killed() and not is_local:
                import warnings
                warnings.warn(
                    f"bind {text} (DISH): any host that can send a datagram to this address can end the process, by "
                    "one byte of 128 or more: an error of this libzmq. Use tcp, or a loopback address, or a firewall",
                    RuntimeWarning, stacklevel=2)
        return 0

    cdef int check_handler(self, str call, bytes endpoint) except -1:
        """Raise where the socket has a domain of ZAP and nobody to ask: libzmq would let every peer in."""
        cdef char[LONGEST_VALUE] domain
        cdef size_t length = sizeof(domain)
        cdef size_t size = sizeof(int)
        cdef int mechanism = 0
        cdef int asks = 1
        cdef BaseSocket first = <BaseSocket> self.origin if isinstance(self.origin, BaseSocket) else self
        enter(self, call)
        if zmq_getsockopt(self.record.handle, ZMQ_ZAP_DOMAIN, domain, &length) < 0 or length < 2:
            return 0
        if zmq_getsockopt(self.record.handle, ZMQ_MECHANISM, &mechanism, &size) < 0 or mechanism == ZMQ_PLAIN:
            return 0  # a server of PLAIN lets nobody in then
        if mechanism == ZMQ_CURVE:
            <void> zmq_getsockopt(self.record.handle, ZMQ_CURVE_SERVER, &asks, &size)
        elif mechanism == ZMQ_GSSAPI:
            <void> zmq_getsockopt(self.record.handle, ZMQ_GSSAPI_SERVER, &asks, &size)
        if not asks:
            return 0
        detail = f"{endpoint.decode('utf-8', 'backslashreplace')} zap_domain={domain[:length - 1]!r}"
        if first.record.ending is NULL:
            why = "a shadow has no context in which to look for a handler of ZAP"
            raise error(ENOTSUP, call, self.record.type, detail, why)
        running = handlers.get(<size_t> first.record.ending.handle)
        if running or running is None and has_handler(first.record.ending.handle, call, self.record.type):
            # Where this libzmq has the option: it then refuses peers if the handler of another program part goes.
            <void> zmq_setsockopt(self.record.handle, ZMQ_ZAP_ENFORCE_DOMAIN, &asks, sizeof(asks))
            return 0
        why = "no Authenticator is running, without which libzmq lets every peer in: start one before"
        self._without_handler(error(EFSM, call, self.record.type, detail, why))

    def _without_handler(self, refusal):
        """Refuse to bind or connect; compat does as pyzmq does."""
        raise refusal

    cdef int note_name(self, bytes name) except -1:
        """Take note that a name of inproc is the socket's, as long as it is open."""
        if self.owner is not None:
            if self.names is None:
                self.names = set()
            self.names.add(name)
            self.owner.note_bind(name)
        return 0

    cdef int lose_name(self, bytes name) except -1:
        if self.names is not None:
            self.names.discard(name)
            self.owner.note_unbind((name,))
        return 0

    cdef tuple check_listener(self, str endpoint):
        """Raise where the descriptor of `use_fd` is not what a bind can take: libzmq would abort in its thread.

        Return the descriptor, and the device and inode of what it is, or None if there is none.
        """
        cdef int fd = -1
        cdef size_t size = sizeof(fd)
        enter(self, "bind")
        if zmq_getsockopt(self.record.handle, ZMQ_USE_FD, &fd, &size) < 0 or fd < 0:
            return None
        import os
        import socket
        try:
            with connection_of(fd) as listener:
                is_local = listener.family == socket.AF_UNIX
                fits = is_local if endpoint.startswith("ipc:") else listener.family in (socket.AF_INET, socket.AF_INET6)
                fits &= listener.type == socket.SOCK_STREAM
                fits &= listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
            found = os.fstat(fd)
            identity = fd, found.st_dev, found.st_ino
        except OSError:
            fits = False
        if not fits:
            why = "use_fd is no socket that listens for this transport"
        elif given_away.get(fd) == identity:
            why = "use_fd was taken by another bind"
        else:
            return identity
        raise error(EINVAL, "bind", self.record.type, f"{endpoint} use_fd={fd}", why)

    @critical_section
    def bind(self, endpoint):
        """Accept connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            ``tcp://127.0.0.1:5555``, ``tcp://*:*`` (`last_endpoint` tells the port), ``ipc:///path`` or
            ``inproc://name``. A socket that lies at the path is replaced.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EADDRINUSE: it is taken, or a file that is not a socket lies at the path. EADDRNOTAVAIL, ENODEV: the machine
            has no such address. EPROTONOSUPPORT: this libzmq has no such transport. EMFILE: the process has
            fewer than four descriptors left.
        IncompatibleProtocol
            The transport does not go with the type of the socket.
        ValueError
            The endpoint has a NUL character.
        """
        self.on_endpoint("bind", endpoint)

    @critical_section
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
        NotSupported
            It is bound there over udp, which libzmq cannot undo: close the socket.
        """
        self.on_endpoint("unbind", endpoint)

    @critical_section
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

    @critical_section
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
        self.end_reading(endpoint)
        self.on_endpoint("disconnect", endpoint)
        feed = self._feed
        if feed is not None:
            feed.disconnected(endpoint)

    @critical_section
    def connect_peer(self, endpoint):
        """Connect to an endpoint, and tell by which number messages for that peer are sent (PEER).

        Parameters
        ----------
        endpoint : str
            As `connect` takes it.

        Returns
        -------
        int
            The `routing_id` of the peer, for `send`.

        Raises
        ------
        NotSupported
            The socket is no PEER, or this libzmq has no draft sockets.
        InvalidArgument
            The endpoint is malformed.
        ValueError
            The endpoint has a NUL character.
        """
        if <void *> zmq_connect_peer is NULL:
            raise no_drafts("connect_peer", self.record.type, None)
        return self.on_endpoint("connect_peer", endpoint)

    @critical_section
    def disconnect_peer(self, routing_id):
        """End the connection to a peer (SERVER, PEER).

        Parameters
        ----------
        routing_id : int
            As `connect_peer` returned it, or a Frame from that peer has it.

        Raises
        ------
        HostUnreachable
            There is no such peer.
        NotSupported
            The type of the socket has no such peers, or this libzmq lacks the call.
        """
        cdef uint32_t peer = to_integer(routing_id, "disconnect_peer", "routing_id", 0, 0xFFFFFFFF)
        enter(self, "disconnect_peer")
        if <void *> zmq_disconnect_peer is NULL:
            raise no_drafts("disconnect_peer", self.record.type, None)
        check(
            zmq_disconnect_peer(self.record.handle, peer), "disconnect_peer", self.record.type, f"routing_id={peer}")

    cdef int on_group(self, str call, object group) except -1:
        cdef bytes name = c_string(group, call, "group")
        cdef bint is_long = len(name) > MOST_OF_DATAGRAM_GROUP
        enter(self, call)
        if is_long and self.datagram and call == "join":
            raise error(EINVAL, call, self.record.type, f"group={group!r:.80}", long_group("the name of a group"))
        if <void *> zmq_join is NULL or <void *> zmq_leave is NULL:
            raise no_drafts(call, self.record.type, None)
        if call == "join":
            rc = zmq_join(self.record.handle, name)
        else:
            rc = zmq_leave(self.record.handle, name)
        check(rc, call, self.record.type, f"group={group!r:.80}")
        if is_long:
            self.long_groups += 1 if call == "join" else -1
        return 0

    @critical_section
    def join(self, group):
        """Ask for the messages that are sent to a group (DISH).

        Parameters
        ----------
        group : str
            Its name, of up to 255 bytes; over udp, 127.

        Raises
        ------
        InvalidArgument
            The socket has joined it already, or the name is too long.
        NotSupported
            The socket is no DISH, or this libzmq has no draft sockets.
        """
        self.on_group("join", group)

    @critical_section
    def leave(self, group):
        """Want the messages that are sent to a group no more (DISH).

        Parameters
        ----------
        group : str
            As it was joined.

        Raises
        ------
        InvalidArgument
            The socket has not joined it.
        NotSupported
            The socket is no DISH, or this libzmq has no draft sockets.
        """
        self.on_group("leave", group)

    @critical_section
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
        self.end_reading(None)
        if self.record.state & CLOSED:
            return
        if not self.record.state & FORKED:  # the parent's is left to the parent
            enter(self, "close")
            if self.record.state & SHADOW:
                return self.origin.close(linger)
            if self._is_busy():
                raise error(EBUSY, "close", self.record.type, None, "another thread is in a call on this socket")
            if linger is not None:
                try:
                    self.set_option(ZMQ_LINGER, linger, "setsockopt")
                except errors.ContextTerminated:
                    pass  # libzmq takes no option any more; the socket is closed all the same
            self.let_go()
            self.close_handle()
        self.record.state |= CLOSED
        self._end_feed()

    @property
    def context(self):
        """Context: the context that serves the socket; None for a shadow."""
        return self.owner

    @property
    @critical_section
    def closed(self):
        """bool: whether the socket was closed."""
        return self.record.state & CLOSED != 0

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
        self.record.eager = self.record.spin != 0 and self.record.fd >= 0

    cdef void set_threshold(self, size_t size) noexcept:
        self.threshold = size
        self.quick_size = 0 if self.checked else min(size, <size_t> BIG)

    cdef void check_messages(self) noexcept:
        """Have each message checked before it is sent, which none is that is sent quickly."""
        self.checked = True
        self.quick_size = 0

    cdef bint conflates(self) noexcept:
        cdef int value = 0
        cdef size_t size = sizeof(int)
        if self.record.type not in (ZMQ_PUSH, ZMQ_PUB, ZMQ_DEALER):  # or it sends nothing, or libzmq ignores the option
            return False
        return zmq_getsockopt(self.record.handle, ZMQ_CONFLATE, &value, &size) >= 0 and value != 0

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
            counted(&stats.messages_sent), counted(&stats.bytes_sent), stats.messages_received, stats.bytes_received,
            counted(&stats.waits), stats.would_blocks)

    @property
    @critical_section
    def underlying(self):
        """int: the address of libzmq's socket, for `shadow`."""
        enter(self, "underlying")
        self.shared = self.exposed = True
        withdraw(&self.record)
        return <size_t> self.record.handle

    @critical_section
    def fileno(self):
        """Return the descriptor that becomes readable when `events` may have changed.

        It is edge-triggered: read `events` first, and again after each operation on the socket.

        Returns
        -------
        int
        """
        enter(self, "fileno")
        self.exposed = True
        return self.descriptor("fileno")

    @critical_section
    def _descriptor(self):
        """Return what `fileno` does, for those who do not rely on each of its edges."""
        enter(self, "fileno")
        return self.descriptor("fileno")

    # ---- the monitor that libzmq has for a socket: what needs the handle. zmqcy.monitor has the rest, and the feed.

    @property
    @critical_section
    def _feed(self):
        return None if self.feed is NULL else <object> self.feed

    @critical_section
    def _monitor(self, endpoint, events, feed):
        """Have libzmq write events to an endpoint."""
        cdef bytes text = c_string(endpoint, "monitor", "addr")
        cdef int wanted = 0xFFFF if events is None else to_int(events, "monitor", "events", 0, 0xFFFF)
        enter(self, "monitor")
        if self.feed is not NULL:
            self._unmonitor()
        rc = zmq_socket_monitor(self.record.handle, text, wanted)
        check(rc, "monitor", self.record.type, text.decode("utf-8", "backslashreplace"))
        self.keep_feed(text, feed)

    @critical_section
    def _ask_pipes(self, bytes endpoint, feed):
        """Have each connection of the socket write its numbers to an endpoint."""
        enter(self, "pipes_stats")
        if <void *> zmq_socket_monitor_versioned is NULL or <void *> zmq_socket_monitor_pipes_stats is NULL:
            raise no_drafts("pipes_stats", self.record.type, None)
        # libzmq walks through its list of connections without the lock that thread-safe sockets have for it.
        if is_inside(&self.record):
            raise error(EBUSY, "pipes_stats", self.record.type, None, "another thread is in a call on this socket")
        rc = zmq_socket_monitor_versioned(self.record.handle, endpoint, EVENT_PIPES_STATS, 2, ZMQ_PAIR)
        check(rc, "pipes_stats", self.record.type, None)
        self.keep_feed(endpoint, feed)
        if zmq_socket_monitor_pipes_stats(self.record.handle) < 0 and last_errno() != EAGAIN:  # there are none
            check(-1, "pipes_stats", self.record.type, None)

    cdef int keep_feed(self, bytes address, object feed) except -1:
        """Keep the feed until libzmq writes no more, of which it is told. None: libzmq writes until it has closed."""
        self.note_name(address)
        if feed is not None:
            feed.address = address
            Py_INCREF(feed)
            self.feed = <PyObject *> feed
        return 0

    @critical_section
    def _unmonitor(self):
        """Have libzmq write no more events. Another thread may be in a call."""
        # libzmq has a lock for its monitor, and touches nothing else of the socket.
        if not self.record.state & (CLOSED | FORKED):
            self.stop_monitor()
        self._end_feed()

    @critical_section
    def _end_feed(self):
        """Let the feed go, to which libzmq writes no more."""
        feed = self._feed
        Py_XDECREF(self.feed)
        self.feed = NULL
        if feed is not None:
            feed.ended()

    cdef int end_reading(self, object endpoint) except -1:
        """End the monitor that this socket reads, there or anywhere: a thread of libzmq would wait for it."""
        feed = None if self._reads is None else self._reads()
        if feed is not None:
            feed.lose_reader(endpoint)
        return 0

    # ---- options

    @critical_section
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

    @critical_section
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
        self.exposed |= number == ZMQ_FD
        cdef int64_t int64 = 0
        cdef uint64_t uint64 = 0
        cdef size_t size
        enter(self, call)
        if kind == c'y' or kind == c's':
            size = sizeof(text)
            self.check_option(zmq_getsockopt(self.record.handle, number, text, &size), call, number)
            if kind == c's' and size and text[size - 1] == 0:
                size -= 1
            if number == ZMQ_LAST_ENDPOINT:
                return whole_endpoint(text[:size])
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
            if self.record.signaler.poller is not NULL:
                drain(self.record.signaler.fd)
            return self.current_events(call)
        if number == ZMQ_RCVMORE and (self.record.state & HELD or self.held_more != ASK):
            return self.record.more if self.record.state & HELD else self.held_more
        size = sizeof(value)
        if zmq_getsockopt(self.record.handle, number, &value, &size) >= 0:
            return value
        if kind == 0 and last_errno() == EINVAL:
            size = sizeof(text)
            if zmq_getsockopt(self.record.handle, number, text, &size) >= 0:
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
                rc = last_errno()
                exception = self.refusal(rc, call, number, f"{option_name(number)}={shown(number, value)}")
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
            elif isinstance(value, (str, bytes)) and may_be_secret(number):
                raise TypeError(f"{call}: {option_name(number)} must be an int, not {shown(number, value)}")
            elif kind == c'd':
                value = round_up(to_milliseconds(value, f"{call} {option_name(number)}"))
            if type(value) is int and INT_MIN <= value <= INT_MAX:
                setting = value
            else:
                setting = to_int(value, call, option_name(number))
            enter(self, call)
            if number == ZMQ_HEARTBEAT_IVL and setting > 0 and self.record.type in (ZMQ_RADIO, ZMQ_DISH):
                why = "libzmq's heartbeats end the connections of RADIO and DISH: set tcp_keepalive instead"
                raise error(ENOTSUP, call, self.record.type, f"{option_name(number)}={shown(number, value)}", why)
            rc = zmq_setsockopt(self.record.handle, number, &setting, sizeof(setting))
            if number == ZMQ_HEARTBEAT_IVL and rc >= 0:
                self._heartbeats = setting > 0
            if number == ZMQ_LINGER and rc >= 0:
                self.record.linger_set = True
            elif number == ZMQ_CONFLATE and setting and rc >= 0:
                self.check_messages()
            elif number == ZMQ_ONLY_FIRST_SUBSCRIBE and rc >= 0:
                self.only_first = setting != 0
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
        return error(code, call, self.record.type, detail, text)

    @critical_section
    def subscribe(self, topic):
        """Ask for the messages that begin with a topic (SUB).

        Parameters
        ----------
        topic : bytes-like or str
            A prefix; text is encoded as UTF-8. The empty one asks for all.
        """
        self.set_option(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "subscribe")

    @critical_section
    def unsubscribe(self, topic):
        """Take back one `subscribe` of the same topic.

        Parameters
        ----------
        topic : bytes-like or str
            As it was subscribed.
        """
        self.set_option(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "unsubscribe")

    @critical_section
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
                words.append(whole_endpoint(endpoint).decode("utf-8", "replace"))
        return f"<{' '.join(words)}>"

    def __reduce__(self):
        raise TypeError("Socket: a socket cannot be pickled or copied; send its endpoint, or shadow() it here")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)


# -------------------------------------------------------------------------------------------------------------- options

cdef char[MOST_OPTIONS] kinds  # of the socket options, by number: the letter of its kind, 0 where there is none
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef set drafts = {option.number for option in SOCKET_OPTIONS if option.draft}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7

for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = kind_of(_option)


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef bytes whole_endpoint(bytes endpoint):
    """Return the last endpoint as it can be connected to: libzmq leaves the transport out where that is udp."""
    return b"udp://" + endpoint if endpoint and b"://" not in endpoint else endpoint


cdef str long_group(str what):
    return f"{what} has more than {MOST_OF_DATAGRAM_GROUP} bytes: over udp it would end the process of a receiver"


cdef bint can_be_killed() noexcept:
    """Tell whether libzmq takes the length of a datagram's group for negative: where char is, up to 4.3.5."""
    cdef signed char negative = -1
    cdef char length = <char> negative
    cdef int major = 0, minor = 0, patch = 0
    zmq_version(&major, &minor, &patch)
    return length < 0 and (major, minor, patch) <= (4, 3, 5)


cdef str shown(int number, object value):
    """Return a value for an error's text; a secret is not shown."""
    if not may_be_secret(number) or kinds[number] == c"b" and isinstance(value, int):
        return f"{value!r:.80}"
    return f"({len(value)} secret characters)" if isinstance(value, (str, bytes)) else type(value).__name__


cdef bint may_be_secret(int number):
    """Tell whether a value may be a key or a password, if only by mistake for another option."""
    name = option_name(number)
    return "key" in name or "password" in name or name in ("curve_server", "plain_server")


cdef class SocketProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        with critical_section(instance):
            value = (<BaseSocket?> instance).get_option(self.number, "get")
        if self.kind == c"s":
            return value.decode("utf-8", "surrogateescape")
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        with critical_section(instance):
            (<BaseSocket?> instance).set_option(self.number, value, "set")

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")
