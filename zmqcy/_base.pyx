"""Define the base class of plain and asynchronous sockets: endpoints, close, monitors.

Every call of libzmq goes through `check`, which converts an errno to an exception. Every method of a socket starts with
`enter`, which checks the state of the socket.
"""

cimport cython
from cython cimport critical_section
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.errno cimport EADDRINUSE, EAGAIN, EBUSY, EINVAL, EMFILE, ENOENT, ENOTSOCK
from libc.stdint cimport int64_t, uint32_t

from zmqcy._context cimport Context, has_batch_sizes, prepare_threads
from zmqcy._handle cimport (
    BUSY, CLOSED, ENDED, FORKED, FREE_THREADED, WATCHED, ContextHandle, Handle, Signaler, Stats, Watch, come_out,
    enter_slowly, events_of, go_inside, handle_with, is_inside, lock_lists, make_signaler, own_socket, remove,
    unlock_lists)
from zmqcy._library cimport (
    CONFLATES, DATAGRAMS, DRAFT, GROUPS, NO_TYPE, RECEIVES, c_string, check, error, interrupted, no_drafts,
    set_attribute, to_int, to_integer, to_spin, type_name, type_of)
from zmqcy._message cimport (
    BIG, Frame, default_threshold, keep_memory, may_keep_memory, to_threshold, trust_users)
from zmqcy._options cimport LONGEST_VALUE, SocketOptions, lock_of, whole_endpoint
from zmqcy._system cimport counted, free_descriptors, is_foreign
from zmqcy.libzmq cimport (
    EFSM, ENOTSUP, ZMQ_FD, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_PAIR, ZMQ_ROUTER, ZMQ_TYPE, zmq_bind,
    zmq_close, zmq_connect, zmq_connect_peer, zmq_ctx_get, zmq_disconnect, zmq_disconnect_peer, zmq_errno as last_errno,
    zmq_fd_t, zmq_getsockopt, zmq_has, zmq_join, zmq_leave, zmq_setsockopt, zmq_socket, zmq_socket_monitor,
    zmq_socket_monitor_pipes_stats, zmq_socket_monitor_versioned, zmq_unbind, zmq_version)

from types import MethodDescriptorType
from weakref import ref

from zmqcy import errors
from zmqcy.socket_types import in_words, types_with

cdef extern from "Python.h":
    object PyDescr_NewMethod(PyTypeObject *type, PyMethodDef *method)

cdef enum:
    ZMQ_IPV6 = 42
    ZMQ_MECHANISM = 43
    ZMQ_CURVE_SERVER = 47
    ZMQ_CONFLATE = 54
    ZMQ_ZAP_DOMAIN = 55
    ZMQ_GSSAPI_SERVER = 62
    ZMQ_USE_FD = 89
    ZMQ_ZAP_ENFORCE_DOMAIN = 93
    ZMQ_IN_BATCH_SIZE = 101
    ZMQ_OUT_BATCH_SIZE = 102
    ZMQ_PLAIN = 1
    ZMQ_CURVE = 2
    ZMQ_GSSAPI = 3
    EVENT_PIPES_STATS = 0x10000
    BATCH_SIZE = 98304    # bytes; measured: with 64 and 128 KiB, messages of 16 KB are slower
    FEW_LEFT = 64
    SPARE = 4             # file descriptors for listing the interfaces, a listener and its first connection


#: import socket
def connection_of(int fd) -> socket.socket:
    """Return a Python socket for a duplicate of a file descriptor. Raise OSError if it is not a socket."""
    import os
    import socket
    copy = os.dup(fd)
    try:
        return socket.socket(fileno=copy)
    except BaseException:  # socket() owns the file descriptor only if it succeeds
        os.close(copy)
        raise


cdef void tune(void *socket) noexcept:
    """Set the number of bytes that libzmq reads and writes per system call to BATCH_SIZE."""
    cdef int size = BATCH_SIZE
    <void> zmq_setsockopt(socket, ZMQ_IN_BATCH_SIZE, &size, sizeof(size))
    <void> zmq_setsockopt(socket, ZMQ_OUT_BATCH_SIZE, &size, sizeof(size))


def own_methods(cls: type) -> None:
    """Copy the C methods of the base classes into a socket class.

    CPython 3.11 and newer call a C method fastest if the exact class of the object defines it.
    """
    cdef dict found = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base))
    for name, method in found.items():
        if type(method) is MethodDescriptorType and not name.startswith("_"):
            setattr(cls, name, PyDescr_NewMethod(<PyTypeObject *> cls, (<PyMethodDescrObject *> method).d_method))


cdef bytes ZAP = b"inproc://zeromq.zap.01"  # endpoint of the ZAP handler (RFC 27)
cdef dict handlers = {}  # by the address of a context that has or had an Authenticator: whether it is running
cdef dict given_away = {}  # by file descriptor passed to a bind (use_fd): its number, device and inode


def _note_handler(size_t context, running):
    """Store whether a context has a running Authenticator. None: the context has ended."""
    if running is None:
        handlers.pop(context, None)
    else:
        handlers[context] = running


cdef bint is_number(bytes text) except -1:
    return text.removeprefix(b"-").isdigit()


cdef int warn_of_descriptors() except -1:
    import warnings
    warnings.warn(
        f"bind (ipc): the process has fewer than {FEW_LEFT} file descriptors left; libzmq aborts the process if none "
        "is left when a peer connects over ipc; raise the limit (ulimit -n), or bind to tcp",
        RuntimeWarning, stacklevel=2)
    return 0


cdef int open_signaler(Signaler *signaler, Handle handle, str call) except -1:
    """Make a file descriptor that is readable when the events of a thread-safe socket may have changed."""
    if signaler.poller is not NULL:
        return 0
    if handle.state & (CLOSED | FORKED):
        return enter_slowly(handle, call)
    if handle.foreign:  # the poller must be destroyed before the socket, which the other library closes
        why = "a shadow of a thread-safe socket that another library made has no file descriptor"
        raise error(ENOTSUP, call, handle.type, None, why)
    cdef int number = make_signaler(signaler, handle.socket)
    if number:
        raise error(number, call, handle.type)
    return 0


cdef bint has_handler(void *context, str call, int type) except -1:
    """Return whether a context has a ZAP handler: bind a socket to its endpoint for a moment."""
    cdef int code = 0
    cdef const char *address = ZAP
    # A ROUTER: libzmq aborts if a handshake in that moment finds a type other than ROUTER or REP here.
    cdef void *probe = own_socket(context, ZMQ_ROUTER)
    if probe is NULL:
        check(-1, call, type, None)
    if zmq_bind(probe, address) < 0:
        code = last_errno()
    else:
        <void> zmq_unbind(probe, address)  # zmq_close alone would release the name later, in a thread of libzmq
    <void> zmq_close(probe)
    if code and code != EADDRINUSE:
        raise error(code, call, type, None)
    return code != 0


@cython.no_gc_clear  # it is in a list of its handle, and keeps the handle until it has left the list
cdef class NativeSocket(SocketOptions):
    """Base class of plain and asynchronous sockets: bind and connect, options, close.

    Parameters
    ----------
    context : Context
        The context of the socket.
    type : int
        A member of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument
        The type is unknown.
    NotSupported
        The type is a draft, and this libzmq has no draft API.
    ZMQError
        EMFILE: `max_sockets` sockets are open, or the process has no file descriptor left.
    ContextTerminated
        The context was terminated.
    """

    def __init__(self, context: Context, type: int) -> None:
        if not isinstance(context, Context):
            raise TypeError(f"Socket: context must be a Context, not {context!r:.80}")
        self.open(context, type)

    cdef int open(self, Context context, object type) except -1:
        cdef int number = to_int(type, "socket", "type")
        cdef ContextHandle shared = context.handle
        cdef void *socket
        cdef size_t threshold
        shared.enter("socket")
        if type_of(number).traits & DRAFT and not zmq_has(b"draft"):
            raise no_drafts("socket", NO_TYPE, f"type={type_name(number)}")
        threshold = default_threshold()
        with critical_section(self, shared):
            if self.handle.socket is not NULL:
                raise RuntimeError("Socket: already initialised; __init__ cannot be called twice")
            shared.enter("socket")
            prepare_threads(shared)
            socket = zmq_socket(shared.ending.handle, number)
            if socket is NULL:
                code = last_errno()
                detail, text = f"type={type_name(number)}", None
                if code == EMFILE and free_descriptors(1):
                    detail += f" max_sockets={zmq_ctx_get(shared.ending.handle, ZMQ_MAX_SOCKETS)}"
                elif code == EMFILE:
                    text = "no file descriptor is left; raise the limit (ulimit -n)"
                raise error(code, "socket", NO_TYPE, detail, text)
            if not shared.untuned:
                if has_batch_sizes:
                    tune(socket)
                may_keep_memory()
            self.handle.socket = socket
            self.handle.set_type(number)
            self.handle.context = shared
            self.owner = context
            self.handle.spin = context.spin_bound
            self.set_threshold(threshold)
            self.handle.join(&self.user, self)
            self.handle.enlist(shared.ending)
            self.find_descriptor()
            self.handle.eager = self.handle.spin != 0 and self.handle.fd >= 0
            self.handle.state = 0

    def __dealloc__(self):
        if self.handle is not None:
            self.handle.leave(&self.user)

    def _closing(self):
        """Wake the tasks and threads that wait for the file descriptor, before it is closed."""
        self._leave()

    def _leave(self):
        """Called by `_closing`. Overridden by subclasses whose waits are in Python."""

    cdef void find_descriptor(self) noexcept:
        cdef zmq_fd_t fd
        cdef size_t size = sizeof(fd)
        if zmq_getsockopt(self.handle.socket, ZMQ_FD, &fd, &size) == 0:
            self.handle.fd = <int> fd
        elif last_errno() == EINVAL:  # a thread-safe type: other threads may change its events at any time
            self.handle.elsewhere = True
            self.handle.exclusive = 0

    cdef int descriptor(self, str call) except -1:
        """Return the file descriptor that becomes readable when the events may have changed."""
        if self.handle.fd >= 0:
            return self.handle.fd
        open_signaler(&self.handle.signaler, self.handle, call)
        return self.handle.signaler.fd

    @classmethod
    def shadow(cls, address: int | _HasUnderlying) -> Self:
        """Wrap an existing libzmq socket, for example one of another library, without owning it.

        The end of the wrapper leaves the socket open. `close` closes it for both owners.

        Parameters
        ----------
        address : int or object
            Address of the libzmq socket, or an object with this address as its attribute `underlying`. The address is
            not validated: a wrong number can crash the process.

        Returns
        -------
        Socket

        Raises
        ------
        ZMQError
            ENOTSOCK: the socket is closed, or belongs to another copy of libzmq in this process, such as the one in
            pyzmq's wheels.

        Examples
        --------
        >>> shadow = zmqcy.Socket.shadow(socket.underlying)
        """
        cdef NativeSocket self = cls.__new__(cls)
        self._adopt(address)
        return self

    def _make_frames(self, cls):
        """Set the class of received frames. Its instances are made without `__init__`."""
        if not issubclass(cls, Frame):
            raise TypeError(f"the class must be a subclass of Frame, not {cls!r}")
        self.frames = cls

    def _adopt(self, address):
        """Make this object a shadow."""
        cdef int number = 0
        cdef size_t size = sizeof(int)
        cdef void *socket = NULL
        cdef Handle handle
        cdef bint known = False
        if isinstance(address, NativeSocket):
            handle = (<NativeSocket> address).handle
        else:
            keeper = address
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a socket must be a positive int, not {address!r}")
            socket = <void *> <size_t> address
            handle = handle_with(socket, &known)
            if known and handle is None:
                raise error(ENOTSOCK, "shadow", NO_TYPE, hex(address), "the socket is closed")
            if not known and is_foreign(socket, <void *> zmq_getsockopt):
                raise error(ENOTSOCK, "shadow", NO_TYPE, hex(address), "the socket was made by another libzmq")
        if handle is not None:
            with critical_section(self, handle):
                if self.handle.socket is not NULL:
                    raise RuntimeError("Socket: already initialised; __init__ cannot be called twice")
                if handle.state & (CLOSED | FORKED):
                    enter_slowly(handle, "shadow")
                handle.join(&self.user, self)
                if FREE_THREADED:
                    self.origin = self.handle  # another thread may be in its critical section
                self.handle = handle
            return
        with critical_section(self, self.handle):
            if self.handle.socket is not NULL:
                raise RuntimeError("Socket: already initialised; __init__ cannot be called twice")
            check(zmq_getsockopt(socket, ZMQ_TYPE, &number, &size), "shadow", NO_TYPE, hex(<size_t> socket))
            self.handle.socket = socket
            self.handle.set_type(number)
            self.handle.foreign = self.handle.elsewhere = True
            self.origin = keeper
            if self.conflates():
                self.handle.check_messages()
            self.set_threshold(default_threshold())
            self.handle.join(&self.user, self)
            if self.handle.enlist(NULL):
                self.find_descriptor()
                self.handle.state = 0
                return
            self.handle.leave(&self.user)
            self.handle.socket = NULL
        self._adopt(keeper)  # another thread has made a handle for the socket meanwhile

    # ---- waiting

    cdef int attend(self) except -1:
        """Schedule regular calls of `catch_up`. Overridden by asynchronous sockets."""
        return 0

    cdef void catch_up(self) noexcept:
        """Read the events, so that libzmq frees the state of disconnected peers, which it keeps until the next call."""
        cdef int events
        if self.handle.exposed or self.handle.state & (BUSY | CLOSED | FORKED):
            return
        if self.handle.state & WATCHED:
            self.handle.forget()
        if not self.handle.state & (BUSY | CLOSED | FORKED):  # `forget` may have let another thread in
            <void> events_of(self.handle.socket, &events)

    def _catch_up(self):
        """Call `catch_up`, from any thread, unless a poller or an event loop watches the socket."""
        with critical_section(lock_of(self)):
            if self.handle.watches is NULL:
                self.catch_up()

    cdef int remember_events(self, Watch *watch, str call) except -1:
        """Return the events, for a watch that remembers them until it is told to forget them.

        Other watches that remember the same events are not told: otherwise two watches would wake each other forever.
        """
        cdef int events = 0
        with critical_section(lock_of(self)):
            if (
                self.handle.remembered < 0 or self.handle.held is not NULL
                or self.handle.state & (BUSY | CLOSED | FORKED)
            ):
                events = self.current_events(call)
            elif events_of(self.handle.socket, &events) or events != self.handle.remembered:
                self.handle.forget()
                events = self.current_events(call)
            lock_lists()
            remove(&watch.of_poller)
            unlock_lists()
            if not self.handle.elsewhere:
                self.handle.state |= WATCHED
                self.handle.remembered = events
            return events

    def _is_busy(self):
        """Return whether another thread is in a call on the socket."""
        with critical_section(lock_of(self)):
            return self.handle.state & BUSY or is_inside(self.handle)

    def _note_end(self, bint ends=True):
        """Mark the socket as closed by its context. Undo that if the close has failed."""
        with critical_section(lock_of(self)):
            if ends:
                self.handle.state |= ENDED
            else:
                self.handle.state &= ~ENDED

    # ---- endpoints

    cdef int64_t on_endpoint(self, str call, object endpoint) except -1:
        """Make one of the five calls with an endpoint, without the GIL: they may resolve host names."""
        cdef bytes text = c_string(endpoint, call, "endpoint")
        cdef const char *address = text
        port = text.rpartition(b":")[2]
        if not text.startswith((b"inproc:", b"ipc:")) and is_number(port) and not 0 <= int(port) <= 65535:
            # libzmq would use the port modulo 65536
            raise error(EINVAL, call, self.handle.type, text.decode("utf-8", "backslashreplace"))
        cdef int (*function)(void *, const char *) noexcept nogil
        cdef int number
        cdef uint32_t peer = 0
        if call == "bind" or call in ("connect", "connect_peer") and b";" in text:
            # libzmq lists the interfaces, and aborts if no file descriptor is left for that
            if not text.startswith(b"inproc:") and free_descriptors(SPARE) < SPARE:
                raise error(EMFILE, call, self.handle.type, text.decode("utf-8", "backslashreplace"))
        if call in ("bind", "connect", "connect_peer"):
            if not text.startswith((b"inproc:", b"udp:")):
                self.check_handler(call, text)
            elif call == "bind" and text == ZAP and type_name(self.handle.type) not in types_with("zap_server"):
                asked = in_words(types_with("zap_server"), "or")
                why = f"only a {asked} socket can be a ZAP handler; libzmq aborts the process at any other type"
                raise error(EINVAL, call, self.handle.type, text.decode(), why)
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
            go_inside(self.handle)
            with nogil:
                if function is NULL:
                    peer = zmq_connect_peer(self.handle.socket, address)
                    number = 0 if peer else last_errno()
                else:
                    number = 0 if function(self.handle.socket, address) >= 0 else last_errno()
                come_out(self.handle)
            self.handle.state &= ~self.handle.exclusive
            if not interrupted(number):
                break
        if number:
            why = None
            if call == "unbind" and number == ENOENT and self.handle.datagram and text.startswith(b"udp:"):
                number, why = ENOTSUP, "libzmq cannot unbind a udp endpoint; close the socket instead"
            raise error(number, call, self.handle.type, text.decode("utf-8", "backslashreplace"), why)
        if not text.startswith(b"inproc:"):
            self.handle.networked = True
            if self.handle.context is not None and not self.handle.context.untuned:
                keep_memory()
            self.attend()
        if self.handle.context is not None and text.startswith(b"inproc:"):
            if call == "bind":
                self.note_name(text)
                if text == ZAP and <size_t> self.handle.ending.handle not in handlers:
                    trust_users()
            elif call == "unbind":
                self.lose_name(text)
            elif call == "connect":
                self.handle.context.note_connect(text)
        if listener is not None:
            given_away[listener[0]] = listener
        if text.startswith(b"udp:"):
            self.handle.datagram = True
            self.handle.check_messages()
        return peer

    cdef int check_path(self, bytes endpoint) except -1:
        """Raise if libzmq would delete a file to bind to its path. libzmq deletes any file there, not only sockets."""
        import os
        import stat
        if endpoint[6:7] in (b"*", b"@"):  # a file chosen by libzmq, or an abstract socket
            return 0
        try:
            mode = os.lstat(endpoint[6:]).st_mode
        except OSError:
            return 0
        if stat.S_ISSOCK(mode):
            return 0
        what = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "a file"
        why = f"Address already in use (by {what}, which libzmq would delete; bind to another path)"
        raise error(EADDRINUSE, "bind", self.handle.type, endpoint.decode("utf-8", "backslashreplace"), why)

    cdef int check_datagrams(self, bytes endpoint) except -1:
        """Raise or warn if a datagram could make libzmq abort the process."""
        cdef int ipv6 = 0
        cdef size_t size = sizeof(ipv6)
        text = endpoint.decode("utf-8", "backslashreplace")
        enter(self, "bind")
        if self.handle.traits & DATAGRAMS:
            if zmq_getsockopt(self.handle.socket, ZMQ_IPV6, &ipv6, &size) == 0 and ipv6:
                why = "with ipv6 libzmq aborts the process at the first datagram of such a socket; set ipv6=False"
                raise error(ENOTSUP, "bind", self.handle.type, text, why)
        elif self.handle.traits & (GROUPS | RECEIVES) == GROUPS | RECEIVES:
            if self.handle.long_groups:
                raise error(EINVAL, "bind", self.handle.type, text, long_group("a joined group"))
            host = text[6:].rpartition(":")[0]
            is_local = (host.startswith("127.") or host in ("[::1]", "lo")) and ";" not in host  # ";": multicast
            if can_be_killed() and not is_local:
                import warnings
                warnings.warn(
                    f"bind {text} ({type_name(self.handle.type)}): any host that can send a datagram to this address "
                    "can crash the process with one byte of 128 or more, a bug of this libzmq. Use tcp, a loopback "
                    "address or a firewall",
                    RuntimeWarning, stacklevel=2)
        return 0

    cdef int check_handler(self, str call, bytes endpoint) except -1:
        """Raise if the socket has a ZAP domain and no ZAP handler runs: libzmq would accept every peer."""
        cdef char[LONGEST_VALUE] domain
        cdef size_t length = sizeof(domain)
        cdef size_t size = sizeof(int)
        cdef int mechanism = 0
        cdef int asks = 1
        enter(self, call)
        if zmq_getsockopt(self.handle.socket, ZMQ_ZAP_DOMAIN, domain, &length) < 0 or length < 2:
            return 0
        if zmq_getsockopt(self.handle.socket, ZMQ_MECHANISM, &mechanism, &size) < 0 or mechanism == ZMQ_PLAIN:
            return 0  # a PLAIN server accepts no peer without a handler
        if mechanism == ZMQ_CURVE:
            <void> zmq_getsockopt(self.handle.socket, ZMQ_CURVE_SERVER, &asks, &size)
        elif mechanism == ZMQ_GSSAPI:
            <void> zmq_getsockopt(self.handle.socket, ZMQ_GSSAPI_SERVER, &asks, &size)
        if not asks:
            return 0
        detail = f"{endpoint.decode('utf-8', 'backslashreplace')} zap_domain={domain[:length - 1]!r}"
        if self.handle.ending is NULL:
            why = "a shadow has no context in which to look for a ZAP handler"
            raise error(ENOTSUP, call, self.handle.type, detail, why)
        running = handlers.get(<size_t> self.handle.ending.handle)
        if running or running is None and has_handler(self.handle.ending.handle, call, self.handle.type):
            # If libzmq has this draft option, it refuses peers when the handler of another library stops.
            <void> zmq_setsockopt(self.handle.socket, ZMQ_ZAP_ENFORCE_DOMAIN, &asks, sizeof(asks))
            return 0
        why = "no Authenticator is running, so libzmq would accept every peer; start one first"
        self._without_handler(error(EFSM, call, self.handle.type, detail, why))

    def _without_handler(self, refusal):
        """Raise the error. Overridden by compat, which only warns, as pyzmq does."""
        raise refusal

    cdef int note_name(self, bytes name) except -1:
        """Store that the socket is bound to an inproc name."""
        if self.handle.context is not None:
            if self.handle.names is None:
                self.handle.names = set()
            self.handle.names.add(name)
            self.handle.context.note_bind(name)
        return 0

    cdef int lose_name(self, bytes name) except -1:
        if self.handle.names is not None:
            self.handle.names.discard(name)
            self.handle.context.note_unbind((name,))
        return 0

    cdef tuple check_listener(self, str endpoint):
        """Raise if the file descriptor of `use_fd` is unusable for a bind: libzmq would abort in its I/O thread.

        Return the file descriptor with its device and inode, or None if `use_fd` is not set.
        """
        cdef int fd = -1
        cdef size_t size = sizeof(fd)
        enter(self, "bind")
        if zmq_getsockopt(self.handle.socket, ZMQ_USE_FD, &fd, &size) < 0 or fd < 0:
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
            why = "use_fd must be a listening socket of this transport"
        elif given_away.get(fd) == identity:
            why = "use_fd was used by another bind; pass a new file descriptor"
        else:
            return identity
        raise error(EINVAL, "bind", self.handle.type, f"{endpoint} use_fd={fd}", why)

    def bind(self, endpoint: str) -> object:
        """Bind the socket to an endpoint, and accept connections there.

        The call does not wait for peers. A socket may have several endpoints. Set options before the call: most of them
        apply only to later calls of `bind` and `connect`.

        Parameters
        ----------
        endpoint : str
            ``tcp://127.0.0.1:5555``, ``ipc:///path`` or ``inproc://name``. The port ``*`` selects a free port, and the
            address ``*`` all interfaces. A stale socket file at the path is replaced.

        Returns
        -------
        Endpoint
            Its attribute `endpoint` is the endpoint with wildcards resolved. As a context manager it unbinds at the
            end.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EADDRINUSE: the address is in use, or the path is a file that is not a socket. EADDRNOTAVAIL, ENODEV: this
            machine does not have the address. EPROTONOSUPPORT: this libzmq does not have the transport. EMFILE: fewer
            than four file descriptors are left.
        IncompatibleProtocol
            The socket type does not support the transport.
        StateError
            `zap_domain` is set, and no Authenticator is running.
        ValueError
            The endpoint contains a NUL character.

        See Also
        --------
        connect : connect to an endpoint.
        bind_to_random_port : bind to a free TCP port, and return its number.
        unbind : stop accepting connections.

        Examples
        --------
        >>> bound = socket.bind("tcp://127.0.0.1:*")
        >>> bound.endpoint == socket.last_endpoint  # such as tcp://127.0.0.1:41123
        True
        """
        with critical_section(lock_of(self)):
            self.on_endpoint("bind", endpoint)

    def unbind(self, endpoint: str) -> None:
        """Stop accepting connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            The endpoint with wildcards resolved: the value of `last_endpoint` after the bind.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not bound to the endpoint.
        NotSupported
            The endpoint is udp, which libzmq cannot unbind: close the socket instead.

        See Also
        --------
        bind : bind to an endpoint.

        Examples
        --------
        >>> bound = socket.bind("tcp://127.0.0.1:*")
        >>> socket.unbind(bound.endpoint)
        """
        with critical_section(lock_of(self)):
            self.on_endpoint("unbind", endpoint)

    def connect(self, endpoint: str) -> object:
        """Connect the socket to an endpoint.

        The call does not wait for the connection. libzmq connects in the background, and reconnects when the connection
        is lost. The peer may bind later. A socket may connect to several endpoints.

        Parameters
        ----------
        endpoint : str
            ``tcp://host:port``, ``ipc:///path`` or ``inproc://name``.

        Returns
        -------
        Endpoint
            As a context manager it disconnects at the end.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EPROTONOSUPPORT: this libzmq does not have the transport.
        IncompatibleProtocol
            The socket type does not support the transport.
        StateError
            `zap_domain` is set, and no Authenticator is running.
        ValueError
            The endpoint contains a NUL character.

        See Also
        --------
        bind : accept connections at an endpoint.
        disconnect : close the connection.
        watch : wait until a peer is connected.

        Examples
        --------
        >>> connected = client.connect("tcp://127.0.0.1:5555")
        >>> client.send(b"hello")  # queued until the connection is made
        """
        with critical_section(lock_of(self)):
            self.on_endpoint("connect", endpoint)

    def disconnect(self, endpoint: str) -> None:
        """Close a connection made by `connect`. libzmq does not reconnect it.

        Parameters
        ----------
        endpoint : str
            The endpoint that was passed to `connect`.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not connected to the endpoint.

        See Also
        --------
        connect : connect to an endpoint.
        """
        with critical_section(lock_of(self)):
            self.end_reading(endpoint)
            self.on_endpoint("disconnect", endpoint)
            feed = self._feed
            if feed is not None:
                feed.disconnected(endpoint)

    def connect_peer(self, endpoint: str) -> int:
        """Connect to an endpoint, and return the routing id of the peer (PEER).

        Parameters
        ----------
        endpoint : str
            The endpoint, as for `connect`.

        Returns
        -------
        int
            The `routing_id` of the peer, for `send`.

        Raises
        ------
        NotSupported
            The socket is not a PEER socket, or this libzmq has no draft API.
        InvalidArgument
            The endpoint is malformed.
        ValueError
            The endpoint contains a NUL character.

        See Also
        --------
        disconnect_peer : disconnect a peer by its routing id.

        Examples
        --------
        >>> peer = socket.connect_peer("tcp://127.0.0.1:5555")
        >>> socket.send(b"hello", routing_id=peer)
        """
        with critical_section(lock_of(self)):
            if <void *> zmq_connect_peer is NULL:
                raise no_drafts("connect_peer", self.handle.type, None)
            return self.on_endpoint("connect_peer", endpoint)

    def disconnect_peer(self, routing_id: int) -> None:
        """Disconnect a peer by its routing id (SERVER, PEER).

        Parameters
        ----------
        routing_id : int
            The value returned by `connect_peer`, or the `routing_id` of a Frame from the peer.

        Raises
        ------
        HostUnreachable
            No peer has this routing id.
        NotSupported
            The socket type has no routing ids, or this libzmq lacks the call.

        See Also
        --------
        connect_peer : connect, and get a routing id.
        """
        cdef uint32_t peer = to_integer(routing_id, "disconnect_peer", "routing_id", 0, 0xFFFFFFFF)
        with critical_section(lock_of(self)):
            enter(self, "disconnect_peer")
            if <void *> zmq_disconnect_peer is NULL:
                raise no_drafts("disconnect_peer", self.handle.type, None)
            rc = zmq_disconnect_peer(self.handle.socket, peer)
            check(rc, "disconnect_peer", self.handle.type, f"routing_id={peer}")

    cdef int on_group(self, str call, object group) except -1:
        cdef bytes name = c_string(group, call, "group")
        cdef bint is_long = len(name) > MOST_OF_DATAGRAM_GROUP
        enter(self, call)
        if is_long and self.handle.datagram and call == "join":
            raise error(EINVAL, call, self.handle.type, f"group={group!r:.80}", long_group("the group name"))
        if <void *> zmq_join is NULL or <void *> zmq_leave is NULL:
            raise no_drafts(call, self.handle.type, None)
        if call == "join":
            rc = zmq_join(self.handle.socket, name)
        else:
            rc = zmq_leave(self.handle.socket, name)
        check(rc, call, self.handle.type, f"group={group!r:.80}")
        if is_long:
            self.handle.long_groups += 1 if call == "join" else -1
        return 0

    def join(self, group: str) -> None:
        """Join a group: receive the messages that are sent to it (DISH).

        Parameters
        ----------
        group : str
            Name of the group: at most 255 bytes, over udp at most 127 bytes.

        Raises
        ------
        InvalidArgument
            The socket has already joined the group, or the name is too long.
        NotSupported
            The socket is not a DISH socket, or this libzmq has no draft API.

        See Also
        --------
        leave : leave a group.

        Examples
        --------
        >>> dish.join("weather")
        >>> radio.send(b"sunny", group="weather")
        """
        with critical_section(lock_of(self)):
            self.on_group("join", group)

    def leave(self, group: str) -> None:
        """Leave a group: stop receiving its messages (DISH).

        Parameters
        ----------
        group : str
            Name of the group.

        Raises
        ------
        InvalidArgument
            The socket has not joined the group.
        NotSupported
            The socket is not a DISH socket, or this libzmq has no draft API.

        See Also
        --------
        join : join a group.
        """
        with critical_section(lock_of(self)):
            self.on_group("leave", group)

    def close(self, linger: _Time = None) -> None:
        """Close the socket.

        The call does not block. libzmq sends the queued messages in the background, for up to `linger` milliseconds.
        Closing a closed socket has no effect. The end of a ``with`` block closes the socket.

        Parameters
        ----------
        linger : int or timedelta, optional
            Time to keep unsent messages, in milliseconds. 0: drop them. -1: keep them indefinitely. Default: the
            `linger` option.

        Raises
        ------
        SocketInUse
            Another thread is in a call on this socket.

        See Also
        --------
        Context.destroy : close all sockets, and wait until their messages are sent.

        Examples
        --------
        >>> socket.close(linger=0)
        >>> socket.closed
        True
        """
        with critical_section(lock_of(self)):
            self.end_reading(None)
            if self.handle.state & CLOSED:
                return
            if self.handle.state & FORKED:  # the parent closes its own socket
                self.handle.state |= CLOSED
                return self._end_feed()
            enter(self, "close")
            if linger is not None:
                try:
                    self.set_option(ZMQ_LINGER, linger, "setsockopt")
                except errors.ContextTerminated:
                    pass  # the terminated context refuses options; close the socket nevertheless
            # Check again: converting the linger may have run Python code. From here on no other thread may get in.
            if self.handle.state & BUSY or is_inside(self.handle):
                raise error(EBUSY, "close", self.handle.type, None, "another thread is in a call on this socket")
            try:
                self.handle.close()
            finally:
                self._end_feed()

    @property
    def context(self) -> Context | None:
        """Context or None: the context of the socket. None for a shadow."""
        return self.owner

    @property
    def closed(self) -> bool:
        """bool: whether the socket is closed."""
        with critical_section(lock_of(self)):
            return self.handle.state & CLOSED != 0

    @property
    def spin(self) -> float:
        """float: how long a call that waits for a reply spins before its thread sleeps, in microseconds. 0: never.

        The default is the `spin` of the context: 100. A reply is a message received after a send. A socket spins only
        while its waits are short, so an idle socket uses no CPU time.
        """
        return self.handle.spin / 1000

    @spin.setter
    def spin(self, microseconds: float) -> None:
        self.handle.spin = to_spin(microseconds)
        self.handle.eager = self.handle.spin != 0 and self.handle.fd >= 0

    cdef void set_threshold(self, size_t size) noexcept:
        self.handle.threshold = size
        if self.handle.quick_size:
            self.handle.quick_size = max(<size_t> 1, min(size, <size_t> BIG))

    cdef bint conflates(self) noexcept:
        cdef int value = 0
        cdef size_t size = sizeof(int)
        if not self.handle.traits & CONFLATES:  # these types ignore the option
            return False
        return zmq_getsockopt(self.handle.socket, ZMQ_CONFLATE, &value, &size) >= 0 and value != 0

    @property
    def copy_threshold(self) -> int:
        """int: minimum size of `bytes` that are sent zero-copy, in bytes. Default: `zmqcy.COPY_THRESHOLD` (16 KiB)."""
        return self.handle.threshold

    @copy_threshold.setter
    def copy_threshold(self, size: int) -> None:
        self.set_threshold(to_threshold(size, "copy_threshold"))

    @property
    def stats(self) -> SocketStats:
        """SocketStats: counters of the socket since it was created. May be read from any thread.

        Examples
        --------
        >>> socket.stats.messages_sent
        0
        """
        from zmqcy.stats import SocketStats
        cdef Stats *stats = &self.handle.stats
        return SocketStats(
            counted(&stats.messages_sent), counted(&stats.bytes_sent), stats.messages_received, stats.bytes_received,
            counted(&stats.waits), stats.would_blocks)

    @property
    def underlying(self) -> int:
        """int: address of the libzmq socket, for `shadow`."""
        with critical_section(lock_of(self)):
            enter(self, "underlying")
            self.handle.elsewhere = self.handle.exposed = True
            self.handle.withdraw()
            return <size_t> self.handle.socket

    def fileno(self) -> int:
        """Return a file descriptor that becomes readable when `events` may have changed.

        The file descriptor is edge-triggered: read `events` before you wait for it, and again after each operation on
        the socket.

        Returns
        -------
        int

        See Also
        --------
        poll : wait for the socket.
        zmqcy.Poller : wait for several sockets.
        """
        with critical_section(lock_of(self)):
            enter(self, "fileno")
            self.handle.exposed = True
            return self.descriptor("fileno")

    def _descriptor(self):
        """Return the value of `fileno`, for callers that do not rely on every edge."""
        with critical_section(lock_of(self)):
            enter(self, "fileno")
            return self.descriptor("fileno")

    # ---- libzmq's monitor of a socket: the part that needs the handle. zmqcy.monitor has the rest, and the feed.

    @property
    def _handle(self):
        return self.handle

    @property
    def _feed(self):
        with critical_section(lock_of(self)):
            feed = None if self.handle.feed is NULL else <object> self.handle.feed
        return feed

    def _monitor(self, endpoint, events, feed):
        """Start the monitor: libzmq writes events to an endpoint."""
        cdef bytes text = c_string(endpoint, "monitor", "addr")
        cdef int wanted = 0xFFFF if events is None else to_int(events, "monitor", "events", 0, 0xFFFF)
        with critical_section(lock_of(self)):
            enter(self, "monitor")
            if self.handle.feed is not NULL:
                self._unmonitor()
                enter(self, "monitor")  # the end of a feed may run Python code
            rc = zmq_socket_monitor(self.handle.socket, text, wanted)
            check(rc, "monitor", self.handle.type, text.decode("utf-8", "backslashreplace"))
            self.keep_feed(text, feed)

    def _ask_pipes(self, bytes endpoint, feed):
        """Make each connection of the socket write its queue lengths to an endpoint."""
        with critical_section(lock_of(self)):
            enter(self, "pipes_stats")
            if <void *> zmq_socket_monitor_versioned is NULL or <void *> zmq_socket_monitor_pipes_stats is NULL:
                raise no_drafts("pipes_stats", self.handle.type, None)
            # libzmq iterates over its connections without the lock that protects them in thread-safe sockets.
            if is_inside(self.handle):
                raise error(EBUSY, "pipes_stats", self.handle.type, None, "another thread is in a call on this socket")
            rc = zmq_socket_monitor_versioned(self.handle.socket, endpoint, EVENT_PIPES_STATS, 2, ZMQ_PAIR)
            check(rc, "pipes_stats", self.handle.type, None)
            self.keep_feed(endpoint, feed)
            if zmq_socket_monitor_pipes_stats(self.handle.socket) < 0 and last_errno() != EAGAIN:  # no connections
                check(-1, "pipes_stats", self.handle.type, None)

    cdef int keep_feed(self, bytes address, object feed) except -1:
        """Keep a feed alive until libzmq stops writing events. None: libzmq writes until the socket is closed."""
        self.note_name(address)
        if feed is not None:
            feed.address = address
            if feed.pair is not None:
                with critical_section(lock_of(<NativeSocket?> feed.pair)):
                    (<NativeSocket> feed.pair).handle.reads = ref(feed)
            Py_INCREF(feed)
            self.handle.feed = <PyObject *> feed
        return 0

    cdef int stop_monitor(self) except -1:
        feed = self._feed
        self.handle.stop_monitor()
        if feed is not None and feed.address is not None:
            self.lose_name(feed.address)
        return 0

    @property
    def _heartbeats(self):
        return self.handle.heartbeats

    def _unmonitor(self):
        """Stop the monitor. Another thread may be in a call on the socket."""
        with critical_section(lock_of(self)):
            # libzmq locks its monitor, and touches nothing else of the socket.
            if not self.handle.state & (CLOSED | FORKED):
                self.stop_monitor()
            self._end_feed()

    def _end_feed(self):
        """Drop the feed, after libzmq has stopped writing to it."""
        with critical_section(lock_of(self)):
            feed = None if self.handle.feed is NULL else <object> self.handle.feed
            Py_XDECREF(self.handle.feed)
            self.handle.feed = NULL
        if feed is not None:
            feed.ended()

    cdef int end_reading(self, object endpoint) except -1:
        """End the monitor that this socket reads: libzmq's thread would wait for the reader indefinitely."""
        feed = None if self.handle.reads is None else self.handle.reads()
        if feed is not None:
            feed.lose_reader(endpoint)
        return 0

    def __repr__(self):
        cdef char[256] endpoint
        cdef size_t size = sizeof(endpoint)
        with critical_section(lock_of(self)):
            words = [f"{type(self).__module__}.{type(self).__qualname__}"]
            words.append(type_name(self.handle.type) if self.handle.type >= 0 else "uninitialised")
            if self.handle.state & CLOSED:
                words.append("closed")
            elif not self.handle.state & (BUSY | FORKED):
                endpoint[0] = 0
                if zmq_getsockopt(self.handle.socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 and endpoint[0]:
                    words.append(whole_endpoint(endpoint).decode("utf-8", "replace"))
            return f"<{' '.join(words)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Socket: cannot be pickled or copied; pass its endpoint, or use shadow() in this process")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)


cdef str long_group(str what):
    return f"{what} has more than {MOST_OF_DATAGRAM_GROUP} bytes, which crashes receivers over udp; use a shorter name"


cdef bint can_be_killed() noexcept:
    """Return whether libzmq reads the length of a datagram's group as negative: with signed char, up to 4.3.5."""
    cdef signed char negative = -1
    cdef char length = <char> negative
    cdef int major = 0, minor = 0, patch = 0
    zmq_version(&major, &minor, &patch)
    return length < 0 and (major, minor, patch) <= (4, 3, 5)
