"""Contexts and sockets: what wraps libzmq's handles, and the path of a message.

A call on a socket meets one check (`enter`), tries with ZMQ_DONTWAIT while it holds the GIL, and only where that says
EAGAIN and the caller may wait lets go of the GIL and waits on the socket's descriptor. Every other call of libzmq goes
through the gate (`check`), which turns an errno into an exception.
"""

cimport cython
from cpython.buffer cimport PyBUF_CONTIG, PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EBUSY, ECHILD, EINTR, EINVAL, EMFILE, EMSGSIZE, ENOMEM, ENOTSOCK, errno
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t, uint64_t, uint8_t
from libc.stdio cimport fprintf, snprintf, stderr
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zmqcy.libzmq cimport (
    ENOTSUP, ETERM, ZMQ_DEALER, ZMQ_DONTWAIT, ZMQ_EVENTS, ZMQ_FD, ZMQ_IO_THREADS, ZMQ_LAST_ENDPOINT, ZMQ_LINGER,
    ZMQ_MAX_SOCKETS, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_PULL, ZMQ_PUSH, ZMQ_RCVTIMEO, ZMQ_REQ, ZMQ_SNDMORE, ZMQ_SNDTIMEO,
    ZMQ_STREAM, ZMQ_SUB, ZMQ_TYPE, zmq_bind, zmq_close, zmq_connect, zmq_ctx_get, zmq_ctx_new, zmq_ctx_set,
    zmq_ctx_shutdown, zmq_ctx_term, zmq_curve_keypair, zmq_curve_public, zmq_disconnect, zmq_errno as last_errno,
    zmq_fd_t, zmq_getsockopt, zmq_has, zmq_msg_close, zmq_msg_data, zmq_msg_init, zmq_msg_init_size, zmq_msg_more,
    zmq_msg_move, zmq_msg_recv, zmq_msg_send, zmq_msg_size, zmq_msg_t, zmq_poll, zmq_pollitem_t, zmq_send,
    zmq_setsockopt, zmq_socket, zmq_strerror, zmq_unbind, zmq_version as libzmq_version, zmq_z85_decode,
    zmq_z85_encode)

import atexit
import sys

from zmqcy import errors
from zmqcy.options import CONTEXT_OPTIONS, SOCKET_OPTIONS

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) noexcept
    void PyErr_Clear()
    int PyObject_GenericSetAttr(object self, object name, object value) except -1
    int Py_AtExit(void (*func)() noexcept) noexcept
    int Py_IsInitialized() noexcept

cdef extern from *:
    """
    static const char *const zmqcy_types[] = {
        "PAIR", "PUB", "SUB", "REQ", "REP", "DEALER", "ROUTER", "PULL", "PUSH", "XPUB", "XSUB", "STREAM", "SERVER", "CLIENT",
        "RADIO", "DISH", "GATHER", "SCATTER", "DGRAM", "PEER", "CHANNEL"};
    """
    const char *const *type_names "zmqcy_types"  # in C, for an error or an exit in which nothing can be imported

cdef extern from "pythread.h":
    void *PyThread_allocate_lock() noexcept nogil
    void PyThread_free_lock(void *lock) noexcept nogil
    int PyThread_acquire_lock(void *lock, int wait) noexcept nogil
    int PyThread_acquire_lock_timed(void *lock, long long microseconds, int interruptible) noexcept nogil
    void PyThread_release_lock(void *lock) noexcept nogil
    unsigned long PyThread_start_new_thread(void (*func)(void *) noexcept nogil, void *arg) noexcept
    unsigned long PYTHREAD_INVALID_THREAD_ID
    int PY_LOCK_ACQUIRED
    int PY_LOCK_INTR

cdef enum:
    FOREVER = -1
    EXPIRED = 0           # a deadline that has passed: do not wait at all
    SECOND = 1000000000   # in nanoseconds
    BIG = 65536           # bytes from which on a copy is made without the GIL
    LONGEST_VALUE = 4096  # bytes of the longest option value that is read
    LAST_TYPE = 20        # CHANNEL, a draft as all from SERVER on


# --------------------------------------------------------------------------------------------------------------- errors

cdef object error(int number, str call, Socket socket, str detail=None, str text=None):
    """Return the exception for an errno, with the words that tell where it happened."""
    cdef str kind = type_name(socket.type_number) if socket is not None and socket.type_number >= 0 else None
    cls = errors.CLASSES.get(number, errors.ZMQError)
    return cls(number, text or strerror(number), call=call, detail=detail, socket_type=kind)


cdef inline int check(int rc, str call, Socket socket, object detail) except -1:
    """The gate: pass on what a call of libzmq returned, or raise for its errno."""
    if rc < 0:
        return fail(call, socket, detail)
    return rc


cdef int fail(str call, Socket socket, object detail) except -1:
    cdef int number = last_errno()
    raise error(number, call, socket, None if detail is None else str(detail))


cdef int interrupted(int number) except -1:
    """Tell whether a call is to be made again: it met a signal, and no handler raised (PEP 475)."""
    if number != EINTR:
        return False
    PyErr_CheckSignals()
    return True


cdef object round_up(object milliseconds):
    return milliseconds if isinstance(milliseconds, int) else -int(-milliseconds // 1)


cdef int spare_descriptors(Context context) except -1:
    """Raise where a new socket would find no descriptors: libzmq aborts when its first threads get none."""
    cdef int need, got
    if not context.ending.running:
        need = min(64, 2 * zmq_ctx_get(context.ending.handle, ZMQ_IO_THREADS) + 8)
        got = probe_descriptors(need)
        if got < need:
            raise error(EMFILE, "socket", None, f"needs {need} descriptors, and {got} are left")
        context.ending.running = True
    return 0


cdef str type_name(int number):
    return type_names[number].decode() if 0 <= number <= LAST_TYPE else str(number)


# ------------------------------------------------------------------------------------------------- arguments and times

cdef object to_integer(object value, str call, str name, object low, object high):
    """Convert an argument to an int between two bounds, or say which argument of which call it was."""
    if type(value) is not int:
        try:
            value = value.__index__()
        except AttributeError:
            raise TypeError(f"{call}: {name} must be an int, not {value!r:.80}") from None
    if not low <= value <= high:
        raise ValueError(f"{call}: {name} must be between {low} and {high}, not {value}")
    return value


cdef int to_int(object value, str call, str name, int low=INT_MIN, int high=INT_MAX) except? -1:
    return to_integer(value, call, name, low, high)


cdef inline int to_flags(object flags, str call) except -1:
    if flags is 0:
        return 0
    return to_int(flags, call, "flags", 0, 0xFFFF)


cdef object to_milliseconds(object time, str call):
    """Convert a time: an int or float of milliseconds, a timedelta, or None for ever. Return milliseconds, or -1."""
    if time is None:
        return FOREVER
    if hasattr(time, "total_seconds"):
        time = time.total_seconds() * 1000
        if time < 0:
            raise ValueError(f"{call}: a time cannot be negative: {time} ms")
    if isinstance(time, float):
        if time != time:
            raise ValueError(f"{call}: a time cannot be nan")
        if time == float("inf"):
            return FOREVER
        return time if time >= 0 else FOREVER
    try:
        time = time.__index__()
    except AttributeError:
        raise TypeError(f"{call}: a time is a number of milliseconds, a timedelta or None, not {time!r}") from None
    if time < -1:
        raise ValueError(f"{call}: a time is -1 (for ever), 0 or more, not {time}")
    return time


cdef nsec deadline_after(object timeout, str call) except -2:
    """Return the moment at which a timeout ends: FOREVER, EXPIRED, or a time of the monotonic clock."""
    cdef object milliseconds = to_milliseconds(timeout, call)
    if milliseconds == FOREVER:
        return FOREVER
    if milliseconds == 0:
        return EXPIRED
    if milliseconds > 1e12:  # thirty years: the sum below must fit
        return FOREVER
    return now() + <nsec> (milliseconds * 1000000)


cdef int remaining(nsec deadline) noexcept nogil:
    """Return the milliseconds until a deadline, rounded up, in the form that poll() takes."""
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


# -------------------------------------------------------------------------------------------------- waiting, in plain C

cdef int events_of(void *handle, int *events) noexcept nogil:
    """Read ZMQ_EVENTS, which also makes libzmq look at its commands now. Return 0 or an errno."""
    cdef size_t size = sizeof(int)
    if zmq_getsockopt(handle, ZMQ_EVENTS, events, &size) < 0:
        return last_errno()
    return 0


cdef int wait_on(void *handle, int fd, short events, nsec deadline) noexcept nogil:
    """Wait until the socket may have changed. Return 0, EAGAIN at the deadline, EINTR, or another errno.

    The descriptor is edge-triggered: only who has just seen the operation fail, after libzmq had looked at its
    commands, may wait on it.
    """
    cdef pollfd item
    cdef zmq_pollitem_t safe
    cdef int rc, left = remaining(deadline)
    if left == 0:
        return EAGAIN
    if fd >= 0:
        item.fd = fd
        item.events = POLLIN
        rc = poll(&item, 1, left)
        if rc < 0:
            return errno
    else:  # a thread-safe socket has no descriptor
        safe.socket = handle
        safe.events = events
        rc = zmq_poll(&safe, 1, left)
        if rc < 0:
            return last_errno()
    if rc == 0 and remaining(deadline) == 0:
        return EAGAIN
    return 0


cdef int transmit(void *handle, int fd, zmq_msg_t *msg, int flags, nsec deadline) noexcept nogil:
    """Send a message, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; then it is not sent."""
    cdef int number, events
    while True:
        if zmq_msg_send(msg, handle, flags | ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number != EAGAIN:
            return number
        # A send without waiting looks at libzmq's commands only once a millisecond or so: room that the peer has made
        # since then is not seen until ZMQ_EVENTS is read.
        number = events_of(handle, &events)
        if number:
            return number
        if zmq_msg_send(msg, handle, flags | ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number == EAGAIN:
            number = wait_on(handle, fd, ZMQ_POLLOUT, deadline)
        if number:
            return number


cdef int receive(void *handle, int fd, zmq_msg_t *msg, nsec deadline) noexcept nogil:
    """Receive a message, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; then none was taken."""
    cdef int number
    while True:
        if zmq_msg_recv(msg, handle, ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number == EAGAIN:
            number = wait_on(handle, fd, ZMQ_POLLIN, deadline)
        if number:
            return number


# ---------------------------------------------------------------------------------------------------- fork and the end

cdef unsigned int generation = 0  # how many forks lie between the first process and this one
cdef Ending *endings = NULL       # of all contexts of this process
cdef nsec exit_linger = 10 * <nsec> SECOND


cdef void after_fork_in_child() noexcept nogil:
    global generation, endings
    generation += 1
    endings = NULL  # the parent's: neither its sockets nor its threads are ours


cdef unsigned int current_generation() noexcept:
    return generation


cdef Ending *new_ending(void *handle) except NULL:
    """Register a context, and free what is left of those that are gone."""
    global endings
    cdef Ending *ending
    cdef Ending **link = &endings
    while link[0] is not NULL:
        ending = link[0]
        if ending.owners == 0 and (ending.finished or ending.foreign):
            link[0] = ending.next
            PyThread_free_lock(ending.done)
            free(ending)
        else:
            link = &ending.next
    ending = <Ending *> calloc(1, sizeof(Ending))
    if ending is not NULL:
        ending.done = PyThread_allocate_lock()
    if ending is NULL or ending.done is NULL:
        free(ending)
        raise MemoryError("Context")
    ending.handle = handle
    ending.owners = 1
    ending.next = endings
    endings = ending
    return ending


cdef void run_ending(void *argument) noexcept nogil:
    """End a context in a thread without Python: zmq_ctx_term takes no timeout, and may wait for ever."""
    cdef Ending *ending = <Ending *> argument
    cdef void *done = ending.done
    while zmq_ctx_term(ending.handle) < 0 and last_errno() == EINTR:
        pass
    ending.finished = True
    PyThread_release_lock(done)


cdef bint start_ending(Ending *ending) noexcept:
    """Start the thread that ends a context, once. Return whether it runs."""
    cdef sigset mask
    cdef unsigned long thread
    if ending.started:
        return True
    PyThread_acquire_lock(ending.done, 0)
    block_signals(&mask)  # the thread inherits the mask: signals are for the threads that wait for it
    thread = PyThread_start_new_thread(run_ending, ending)
    restore_signals(&mask)
    ending.started = thread != PYTHREAD_INVALID_THREAD_ID
    if not ending.started:
        PyThread_release_lock(ending.done)
    return ending.started


cdef void end_process() noexcept:
    """End every context when the interpreter is gone; its sockets keep what they owe within their linger."""
    cdef Ending *ending = endings
    cdef bint waiting = False
    while ending is not NULL:
        if not ending.started:
            close_at_exit(ending)
        waiting |= ending.started and not (ending.finished or ending.abandoned)
        ending = ending.next
    if waiting:
        wait_at_exit(now())


cdef void close_at_exit(Ending *ending) noexcept:
    """Close what is still open, so that the context can end."""
    cdef PyObject *item = <PyObject *> ending.sockets
    cdef Socket socket
    cdef int linger, naps = 0
    cdef size_t size
    while item is not NULL:
        # No reference is taken or dropped here: the interpreter is gone, the memory of the object is not.
        if (<Socket> item).inside:  # a daemon thread waits in it
            zmq_ctx_shutdown(ending.handle)
            while (<Socket> item).inside and naps < 200:
                nap()
                naps += 1
            if (<Socket> item).inside:
                return
        describe(item, ending)
        size = sizeof(int)
        if (<Socket> item).linger_set:
            remember_linger(item, ending)
        elif zmq_getsockopt((<Socket> item).handle, ZMQ_LINGER, &linger, &size) == 0 and linger == FOREVER:
            linger = FOREVER if exit_linger == FOREVER else <int> min(exit_linger // 1000000, INT_MAX)
            <void> zmq_setsockopt((<Socket> item).handle, ZMQ_LINGER, &linger, sizeof(int))
        <void> zmq_close((<Socket> item).handle)
        item = <PyObject *> (<Socket> item).following
    ending.sockets = NULL
    if not ending.foreign:
        start_ending(ending)


cdef void wait_at_exit(nsec start) noexcept:
    """Wait for the contexts that have messages left; after a second, say so."""
    cdef Ending *ending = endings
    cdef nsec deadline, limit
    cdef bint told = False
    while ending is not NULL:
        limit = FOREVER if FOREVER in (ending.linger, exit_linger) else max(ending.linger, exit_linger)
        deadline = FOREVER if limit == FOREVER else start + limit
        while ending.started and not ending.finished and not ending.abandoned:
            if PyThread_acquire_lock_timed(ending.done, 50000, 0) == PY_LOCK_ACQUIRED:
                PyThread_release_lock(ending.done)
                break
            if deadline != FOREVER and now() > deadline:
                if told:
                    fprintf(stderr, b"zmqcy: gave up messages that could not be sent: %s\n", ending.last)
                break
            if not told and now() - start > SECOND:
                told = True
                fprintf(
                    stderr,
                    b"zmqcy: exit waits for messages not yet sent: %s. It waits %.0f s at most (zmqcy.exit_linger) "
                    b"where no linger was set; linger=0 on a socket drops them, Ctrl-C ends the wait.\n",
                    ending.last, <double> exit_linger / SECOND)
        ending = ending.next


cdef void describe(PyObject *item, Ending *ending) noexcept:
    """Note the type and endpoint of a socket that is about to be closed."""
    cdef char[200] endpoint
    cdef size_t size = sizeof(endpoint)
    cdef int number = (<Socket> item).type_number
    if number == ZMQ_PULL or number == ZMQ_SUB:  # they send nothing
        return
    endpoint[0] = 0
    <void> zmq_getsockopt((<Socket> item).handle, ZMQ_LAST_ENDPOINT, endpoint, &size)
    cdef const char *kind = b"socket"
    if 0 <= number <= LAST_TYPE:
        kind = type_names[number]
    snprintf(ending.last, sizeof(ending.last), b"%s %s", kind, endpoint)


cdef void remember_linger(PyObject *item, Ending *ending) noexcept:
    """Keep the longest linger that a user set: at exit it is honoured to the letter."""
    cdef int linger = 0
    cdef size_t size = sizeof(int)
    if ending.linger == FOREVER or zmq_getsockopt((<Socket> item).handle, ZMQ_LINGER, &linger, &size) < 0:
        return
    if linger == FOREVER:
        ending.linger = FOREVER
    elif <nsec> linger * 1000000 > ending.linger:
        ending.linger = <nsec> linger * 1000000


def read_exit_linger():
    """Take note of `zmqcy.exit_linger`, while there is still a Python to read it."""
    global exit_linger
    limit = to_milliseconds(getattr(sys.modules.get("zmqcy"), "exit_linger", 10000), "exit_linger")
    exit_linger = FOREVER if limit == FOREVER else <nsec> (min(limit, 1e12) * 1000000)


# ------------------------------------------------------------------------------------------------------------- contexts

cdef class Context:
    """A context: libzmq's I/O threads, and the sockets that they serve. It may be used from several threads.

    Parameters
    ----------
    io_threads : int, default 1
        How many threads move messages; 0 is enough for inproc.

    Raises
    ------
    InvalidArgument
        `io_threads` is negative.
    """

    def __init__(self, io_threads=1):
        cdef void *handle
        cdef int threads = to_int(io_threads, "Context", "io_threads")
        if self.ending is not NULL:
            raise RuntimeError("Context: already initialised")
        handle = zmq_ctx_new()
        if handle is NULL:
            fail("Context", None, None)
        if zmq_ctx_set(handle, ZMQ_IO_THREADS, threads) < 0:
            exception = error(last_errno(), "Context", None, f"io_threads={threads}")
            <void> zmq_ctx_term(handle)
            raise exception
        self.generation = generation
        self.ending = new_ending(handle)

    def __dealloc__(self):
        if self.ending is NULL or self.generation != generation:
            return
        self.ending.owners -= 1
        if not self.is_shadow:
            start_ending(self.ending)

    cdef int enter(self, str call) except -1:
        if self.ending is NULL:
            raise error(ENOTSOCK, call, None, "of a Context that was not initialised")
        if self.generation != generation:
            raise error(ECHILD, call, None)
        if self.ending.started:
            raise error(ETERM, call, None)
        return 0

    @property
    def closed(self):
        """bool: whether the context has ended."""
        return self.ending is NULL or self.generation != generation or self.ending.finished

    @property
    def underlying(self):
        """int: the address of libzmq's context, for `shadow`."""
        self.enter("underlying")
        return <size_t> self.ending.handle

    @classmethod
    def shadow(cls, address):
        """Wrap a context that something else made, and leave it alive when the wrapper goes.

        Parameters
        ----------
        address : int or object
            The address of libzmq's context, or an object that has it as `underlying`.

        Returns
        -------
        Context
        """
        cdef Context self = cls.__new__(cls)
        address = getattr(address, "underlying", address)
        if not isinstance(address, int) or address <= 0:
            raise TypeError(f"shadow: the address of a context is a positive int, not {address!r}")
        self.generation = generation
        self.is_shadow = True
        self.ending = new_ending(<void *> <size_t> address)
        self.ending.foreign = True
        return self

    def get(self, option):
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
        self.enter("get")
        return check(zmq_ctx_get(self.ending.handle, number), "get", None, context_option_name(number))

    def set(self, option, value):
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
        self.enter("set")
        check(zmq_ctx_set(self.ending.handle, number, setting), "set", None, f"{name}={value}")

    def shutdown(self):
        """Wake every call that waits in a socket of this context, and let each further one fail.

        The sockets stay to be closed. May be called from any thread, and again.
        """
        if self.ending is NULL or self.generation != generation or self.ending.started:
            return
        check(zmq_ctx_shutdown(self.ending.handle), "shutdown", None, None)

    def term(self, timeout=None):
        """End the context: wait until its sockets are closed and what they owe is sent, or their linger is over.

        After a second with open sockets a RuntimeWarning names them. Calls in other threads end with
        ContextTerminated. Ending an ended context does nothing.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default for ever.

        Raises
        ------
        TimedOut
            It has not ended within `timeout`; call again to wait on.
        """
        cdef Ending *ending = self.ending
        cdef nsec deadline, warning, limit
        cdef long long microseconds
        cdef int got
        if self.closed:
            return
        deadline = deadline_after(timeout, "term")
        if not start_ending(ending):
            raise error(ENOMEM, "term", None, "no thread could be started")
        self.generation = generation
        warning = now() + SECOND
        while True:
            limit = deadline if ending.warned else warning if deadline == FOREVER else min(deadline, warning)
            microseconds = -1 if limit == FOREVER else max(0, (limit - now() + 999) // 1000)
            with nogil:
                got = PyThread_acquire_lock_timed(ending.done, microseconds, 1)
            if got == PY_LOCK_ACQUIRED:
                PyThread_release_lock(ending.done)
                return
            if got == PY_LOCK_INTR:
                try:
                    interrupted(EINTR)
                except BaseException:
                    ending.abandoned = True
                    raise
            elif deadline != FOREVER and now() >= deadline:
                raise errors.TimedOut(EAGAIN, call="term", detail=self._name_open() or f"timeout={timeout}")
            elif not ending.warned and now() >= warning:
                ending.warned = True
                self.warn_open()

    def destroy(self, linger=None):
        """Close every open socket of the context, then end it.

        Parameters
        ----------
        linger : int or timedelta, optional
            Milliseconds that the sockets keep unsent messages; by default as each was set.

        Raises
        ------
        SocketInUse
            Another thread did not leave a socket within a second after `shutdown` had woken it.
        """
        cdef Socket socket
        cdef int naps
        if self.closed:
            return
        for socket in self._open_sockets():
            if socket.state & BUSY:
                self.shutdown()
                naps = 0
                with nogil:
                    while socket.state & BUSY and naps < 1000:
                        nap()
                        naps += 1
            socket.close(linger)
        self.term()

    def _open_sockets(self):
        """Return the sockets of this context that are not closed."""
        cdef list sockets = []
        cdef PyObject *item = <PyObject *> self.ending.sockets if self.ending is not NULL else NULL
        while item is not NULL:
            sockets.append(<Socket> item)
            item = <PyObject *> (<Socket> item).following
        return sockets

    def _name_open(self):
        """Return the open sockets in words: type, endpoint, and where each was made if tracemalloc runs."""
        import tracemalloc
        names = []
        for socket in self._open_sockets():
            made = tracemalloc.get_object_traceback(socket) if tracemalloc.is_tracing() else None
            names.append(f"{socket!r} made at {made[len(made) - 1]}" if made else repr(socket))
        return ", ".join(names)

    cdef int warn_open(self) except -1:
        import warnings
        names = self._name_open()
        if names:
            warnings.warn(f"Context.term waits for open sockets: {names}", RuntimeWarning, stacklevel=2)
        return 0

    def __repr__(self):
        state = "closed" if self.closed else f"{len(self._open_sockets())} sockets"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state} at {id(self):#x}>"

    def __reduce__(self):
        raise TypeError("Context: a context cannot be pickled or copied; make one in each process, or shadow() it")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __getattr__(self, name):
        known = getattr(type(self), name, None)  # whose getter raised AttributeError, and has the better words for it
        if hasattr(known, "__get__"):
            return known.__get__(self, type(self))
        raise unknown_attribute(self, name)


cdef int set_attribute(object owner, object name, object value) except -1:
    try:
        return PyObject_GenericSetAttr(owner, name, value)
    except AttributeError:
        if hasattr(type(owner), name):
            raise
        raise unknown_attribute(owner, name) from None


cdef object unknown_attribute(object owner, str name):
    """Return the AttributeError for a name that is not there, with the nearest one that is."""
    import difflib
    names = [known for known in dir(type(owner)) if not known.startswith("_")]
    near = difflib.get_close_matches(name.lower(), names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name, obj=owner)


# -------------------------------------------------------------------------------------------------------------- sockets

cdef inline int enter(Socket socket, str call) except -1:
    if socket.state & (BUSY | CLOSED) or socket.generation != generation:
        return socket.refuse(call)
    socket.operations += 1
    return 0


cdef int admit(Socket socket, str call) except -1:
    return enter(socket, call)


cdef inline object take(zmq_msg_t *msg):
    """Make bytes of a message, at their final size and filled once, and close it. None: no memory; the message stays."""
    cdef size_t size = zmq_msg_size(msg)
    cdef PyObject *data
    cdef char *target
    if size < BIG:
        data = new_bytes(<const char *> zmq_msg_data(msg), size)
    else:
        data = new_bytes(NULL, size)
        if data is not NULL:
            target = PyBytes_AS_STRING(<object> data)
            with nogil:
                memcpy(target, zmq_msg_data(msg), size)
    if data is NULL:
        PyErr_Clear()
        return None
    <void> zmq_msg_close(msg)
    result = <object> data
    Py_DECREF(result)
    return result


cdef object to_buffer(object data, str call, object place):
    """Return bytes as they are, and a memoryview of any other buffer."""
    if type(data) is bytes:
        return data
    where = "" if place is None else f"part {place}: "
    if not PyObject_CheckBuffer(data):
        hint = "; send_string() encodes text" if isinstance(data, str) else ""
        raise TypeError(f"{call}: {where}a bytes-like object is required, not {type(data).__name__} {data!r:.80}{hint}")
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError(f"{call}: {where}the buffer is not contiguous: {data!r:.80}; send bytes() of it")
    return view


cdef inline const char *start_of(object data):
    if type(data) is bytes:
        return PyBytes_AS_STRING(data)
    return <const char *> PyMemoryView_GET_BUFFER(data).buf


cdef inline size_t size_of(object data):
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    return PyMemoryView_GET_BUFFER(data).len


cdef object c_string(object text, str call, str name):
    """Encode a string for libzmq, which ends it at its first NUL."""
    if isinstance(text, str):
        text = text.encode()
    elif not isinstance(text, bytes):
        raise TypeError(f"{call}: {name} must be a str, not {text!r:.80}")
    if b"\0" in text:
        raise ValueError(f"{call}: {name} has a NUL character: {text!r:.80}")
    return text


cdef int send_part(void *handle, const char *data, size_t size, int flags) noexcept:
    """Send a part after the first, which never waits. Return 0 or an errno."""
    cdef int rc
    if size < BIG:
        rc = zmq_send(handle, data, size, flags)
    else:
        with nogil:
            rc = zmq_send(handle, data, size, flags)
    return 0 if rc >= 0 else last_errno()


cdef int take_back(void *handle, int type_number, Py_ssize_t left) noexcept nogil:
    """Return EAGAIN once a message can be sent anew whose peer went away after its first parts; 0 if it counts as sent.

    libzmq has dropped those parts. PUSH and DEALER also drop the rest of it, which must be handed to them; a REQ socket
    awaits the reply to such a message, as when the peer goes a moment later.
    """
    if type_number == ZMQ_REQ:
        return 0
    if type_number == ZMQ_PUSH or type_number == ZMQ_DEALER:
        while left > 0:
            left -= 1
            if zmq_send(handle, b"", 0, ZMQ_DONTWAIT | (ZMQ_SNDMORE if left else 0)) < 0 and last_errno() != EINTR:
                return last_errno()
    return EAGAIN


cdef class Socket:
    """A socket: what sends and receives messages, each a run of bytes or several of them.

    One thread at a time may use it; a second one gets SocketInUse. It may go from thread to thread.

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
        self.state = CLOSED
        self.generation = generation
        self.fd = -1
        self.type_number = -1

    def __init__(self, context, type):
        if not isinstance(context, Context):
            raise TypeError(f"Socket: context must be a Context, not {context!r:.80}")
        self.open(context, type)

    cdef int open(self, Context context, object type) except -1:
        cdef int number = to_int(type, "socket", "type")
        cdef void *handle
        if self.handle is not NULL:
            raise RuntimeError("Socket: already initialised")
        context.enter("socket")
        if ZMQ_STREAM < number <= LAST_TYPE and not zmq_has(b"draft"):
            raise error(ENOTSUP, "socket", None, f"type={type_name(number)}", "this libzmq has no draft sockets")
        spare_descriptors(context)
        handle = zmq_socket(context.ending.handle, number)
        if handle is NULL:
            code = last_errno()
            detail = f"type={type_name(number)}"
            if code == EMFILE:
                detail += f" max_sockets={zmq_ctx_get(context.ending.handle, ZMQ_MAX_SOCKETS)}"
            raise error(code, "socket", None, detail)
        self.handle = handle
        self.type_number = number
        self.owner = context
        self.ending = context.ending
        self.ending.owners += 1
        self.following = self.ending.sockets
        if self.following is not NULL:
            (<Socket> self.following).previous = <void *> self
        self.ending.sockets = <void *> self
        self.find_descriptor()
        self.state = 0

    def __dealloc__(self):
        cdef zmq_msg_t msg
        while self.state & HELD:
            <void> zmq_msg_init(&msg)
            self.unhold(&msg)
            <void> zmq_msg_close(&msg)
        if not self.state & CLOSED and not self.is_shadow:
            self.release()
        if self.ending is not NULL and self.generation == generation:
            self.ending.owners -= 1

    cdef void release(self) noexcept:
        """Close the handle, and forget it in the context; in a forked child only forget."""
        self.state |= CLOSED
        self.operations += 1
        if self.generation != generation:
            return
        if self.ending is not NULL:
            if self.following is not NULL:
                (<Socket> self.following).previous = self.previous
            if self.previous is not NULL:
                (<Socket> self.previous).following = self.following
            elif self.ending.sockets is <void *> self:
                self.ending.sockets = self.following
            self.previous = self.following = NULL
            describe(<PyObject *> self, self.ending)
            if self.linger_set:
                remember_linger(<PyObject *> self, self.ending)
        <void> zmq_close(self.handle)

    cdef void find_descriptor(self) noexcept:
        cdef zmq_fd_t fd
        cdef size_t size = sizeof(fd)
        if zmq_getsockopt(self.handle, ZMQ_FD, &fd, &size) == 0:
            self.fd = <int> fd

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
        """
        cdef Socket self = cls.__new__(cls)
        cdef int number = 0
        cdef size_t size = sizeof(int)
        self.origin = address
        address = getattr(address, "underlying", address)
        if not isinstance(address, int) or address <= 0:
            raise TypeError(f"shadow: the address of a socket is a positive int, not {address!r}")
        self.handle = <void *> <size_t> address
        check(zmq_getsockopt(self.handle, ZMQ_TYPE, &number, &size), "shadow", None, hex(address))
        self.type_number = number
        self.is_shadow = self.shared = True
        self.find_descriptor()
        self.state = 0
        return self

    cdef int refuse(self, str call) except -1:
        """Raise what `enter` found."""
        if self.state & CLOSED:
            raise error(ENOTSOCK, call, self, None, "the socket is closed")
        if self.generation != generation:
            raise error(ECHILD, call, self, None, "the socket was made before the fork: make one in this process")
        raise error(EBUSY, call, self, None, "another thread is in a call on this socket")

    # ---- sending

    cdef int put(self, const char *data, size_t size, int flags, object timeout, str call) except -1:
        """Send one part. Return 1, or 0 where it would wait and the flags have QUIET."""
        enter(self, call)
        if size < BIG and zmq_send(self.handle, data, size, flags & ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0:
            return 1
        return self.put_slowly(data, size, flags, timeout, call)

    cdef int put_slowly(self, const char *data, size_t size, int flags, object timeout, str call) except -1:
        """Send one part that is big, or was refused once: it is copied one time, however long it waits."""
        cdef zmq_msg_t msg
        if zmq_msg_init_size(&msg, size) < 0:
            return fail(call, self, f"size={size}")
        if size < BIG:
            memcpy(zmq_msg_data(&msg), data, size)
        else:
            with nogil:
                memcpy(zmq_msg_data(&msg), data, size)
        try:
            return self.send_message(&msg, flags, timeout, call)
        finally:
            <void> zmq_msg_close(&msg)

    cdef int send_message(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        """Send a message, waiting where that is allowed. Return 1, or 0 for QUIET; else the message is not sent."""
        cdef nsec deadline = EXPIRED
        cdef nsec start = 0
        cdef int number
        enter(self, call)
        number = transmit(self.handle, self.fd, msg, flags & ~QUIET, EXPIRED)
        if (number == EAGAIN or number == EINTR) and not flags & ZMQ_DONTWAIT:
            deadline = self.deadline_of(timeout, ZMQ_SNDTIMEO, call)
            start = now()
        while number:
            if number == EAGAIN:
                if deadline == EXPIRED or remaining(deadline) == 0:
                    return self.would_block(flags, start, call)
            elif not interrupted(number):
                raise error(number, call, self)
            enter(self, call)  # a signal handler may have closed the socket
            self.state |= BUSY
            self.inside = True
            with nogil:
                number = transmit(self.handle, self.fd, msg, flags & ~QUIET, deadline)
                self.inside = False
            self.state &= ~BUSY
        return 1

    cdef int would_block(self, int flags, nsec waited, str call) except -1:
        if flags & QUIET:
            return 0
        if waited:
            raise errors.TimedOut(
                EAGAIN, strerror(EAGAIN), call=call, detail=f"after {(now() - waited) // 1000000} ms",
                socket_type=type_name(self.type_number))
        raise error(EAGAIN, call, self)

    cdef nsec deadline_of(self, object timeout, int option, str call) except -2:
        """Return when a call's own timeout ends or, where it has none, the socket's."""
        cdef int milliseconds = FOREVER
        cdef size_t size = sizeof(int)
        if timeout is not None:
            return deadline_after(timeout, call)
        check(zmq_getsockopt(self.handle, option, &milliseconds, &size), call, self, None)
        return deadline_after(milliseconds, call)

    cdef int put_parts(self, list parts, int flags, object timeout) except -1:
        """Send parts as one message, whole or not at all: only the first may have to wait."""
        cdef Py_ssize_t count = len(parts), i
        cdef int sent, more, number = 0
        cdef object part
        while True:
            part = parts[0]
            more = ZMQ_SNDMORE if count > 1 else 0
            sent = self.put(start_of(part), size_of(part), flags | more, timeout, "send_multipart")
            if not sent or count == 1:
                return sent
            self.state |= BUSY  # nobody may put a part of his own between ours while a big one is copied
            i = 1
            while i < count:
                part = parts[i]
                more = ZMQ_SNDMORE if i < count - 1 else flags & ZMQ_SNDMORE
                number = send_part(self.handle, start_of(part), size_of(part), more | ZMQ_DONTWAIT)
                if number == 0:
                    i += 1
                elif number != EINTR:
                    break
            if number == EAGAIN:
                number = take_back(self.handle, self.type_number, count - 1 - i)
            self.state &= ~BUSY
            if number != EAGAIN:
                break
        if number:
            raise error(number, "send_multipart", self)
        return 1

    def send(self, data, flags=0, *, timeout=None):
        """Send a message, or one part of it. Waits where no peer can take it.

        Parameters
        ----------
        data : bytes-like
            The message. It is copied, and may change once the call is back.
        flags : int, default 0
            `SNDMORE`: more parts of the same message follow. `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.

        Raises
        ------
        Again
            It would have to wait, and may not; TimedOut where a time was given. Nothing was sent.
        StateError
            The type of the socket does not let it send now.
        HostUnreachable
            ROUTER with `router_mandatory`: no such peer.
        NotSupported
            The type of the socket does not send.
        ContextTerminated
            The context has ended.
        SocketInUse
            Another thread is in a call on this socket.
        TypeError, BufferError
            `data` is not bytes-like, or not contiguous.
        """
        cdef int f = to_flags(flags, "send")
        if type(data) is not bytes:
            data = to_buffer(data, "send", None)
        self.put(start_of(data), size_of(data), f, timeout, "send")

    def try_send(self, data):
        """Send a message if that needs no waiting.

        Parameters
        ----------
        data : bytes-like
            The message.

        Returns
        -------
        bool
            Whether it was sent.
        """
        if type(data) is not bytes:
            data = to_buffer(data, "try_send", None)
        return self.put(start_of(data), size_of(data), ZMQ_DONTWAIT | QUIET, None, "try_send") == 1

    def send_multipart(self, parts, flags=0, *, timeout=None):
        """Send a message of several parts. All are checked before the first goes; it is sent whole or not at all.

        Parameters
        ----------
        parts : iterable of bytes-like
            The parts, one at least.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.

        Raises
        ------
        Again
            It would have to wait, and may not; TimedOut where a time was given. Nothing was sent.
        TypeError, BufferError
            A part is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            There are no parts.
        """
        cdef int f = to_flags(flags, "send_multipart")
        cdef list items
        cdef Py_ssize_t i
        if isinstance(parts, (bytes, str, bytearray, memoryview)):
            raise TypeError(f"send_multipart: parts must be a list of buffers, not one: {parts!r:.80}")
        items = list(parts)
        if not items:
            raise ValueError("send_multipart: a message has one part at least")
        for i in range(len(items)):
            if type(items[i]) is not bytes:
                items[i] = to_buffer(items[i], "send_multipart", i)
        self.put_parts(items, f, timeout)

    # ---- receiving

    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        """Receive one part into an initialised message. Return 1, or 0 where it would wait and the flags have QUIET."""
        enter(self, call)
        if self.state & HELD:
            self.unhold(msg)
            return 1
        if zmq_msg_recv(msg, self.handle, ZMQ_DONTWAIT) >= 0:
            return 1
        return self.get_slowly(msg, flags, timeout, call)

    cdef int get_slowly(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        cdef nsec deadline = EXPIRED
        cdef nsec start = 0
        cdef int number = last_errno()
        if (number == EAGAIN or number == EINTR) and not flags & ZMQ_DONTWAIT:
            deadline = self.deadline_of(timeout, ZMQ_RCVTIMEO, call)
            start = now()
        while number:
            if number == EAGAIN:
                if deadline == EXPIRED or remaining(deadline) == 0:
                    return self.would_block(flags, start, call)
            elif not interrupted(number):
                raise error(number, call, self)
            enter(self, call)  # a signal handler may have closed the socket
            self.state |= BUSY
            self.inside = True
            with nogil:
                number = receive(self.handle, self.fd, msg, deadline)
                self.inside = False
            self.state &= ~BUSY
        return 1

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
        self.state |= HELD
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first of the kept parts into an initialised message."""
        memcpy(msg, self.held + self.held_first, sizeof(zmq_msg_t))
        self.held_first += 1
        if self.held_first == self.held_count:
            free(self.held)
            self.held = NULL
            self.held_first = self.held_count = 0
            self.state &= ~HELD

    def recv(self, flags=0, *, timeout=None):
        """Receive a message, or one part of it. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        bytes
            The part; `rcvmore` tells whether another one follows.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        StateError
            The type of the socket does not let it receive now.
        NotSupported
            The type of the socket does not receive.
        ContextTerminated
            The context has ended.
        SocketInUse
            Another thread is in a call on this socket.
        MemoryError
            The message does not fit into memory; it stays for the next receive.
        """
        cdef zmq_msg_t msg
        cdef int f = to_flags(flags, "recv")
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv")
        data = take(&msg)
        if data is None:
            self.hold(&msg, 1)
            raise MemoryError(f"recv: no memory for {zmq_msg_size(self.held)} bytes; the message waits")
        return data

    def try_recv(self):
        """Receive a message if one is there.

        Returns
        -------
        bytes or None
            None: there is none.
        """
        cdef zmq_msg_t msg
        <void> zmq_msg_init(&msg)
        if not self.get(&msg, ZMQ_DONTWAIT | QUIET, None, "try_recv"):
            return None
        data = take(&msg)
        if data is None:
            self.hold(&msg, 1)
            raise MemoryError(f"try_recv: no memory for {zmq_msg_size(self.held)} bytes; the message waits")
        return data

    def recv_into(self, buffer, *, nbytes=0, flags=0, timeout=None):
        """Receive a message, or one part of it, into a buffer. Waits for one.

        Parameters
        ----------
        buffer : writable bytes-like
            Where it is copied to.
        nbytes : int, default 0
            How much of the buffer may be used; 0 is all of it.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        int
            The size of the message in bytes.

        Raises
        ------
        ZMQError
            EMSGSIZE: the message does not fit. It stays for the next receive.
        TypeError, BufferError
            `buffer` is no buffer, cannot be written, or is not contiguous.
        ValueError
            `nbytes` is negative, or more than the buffer has.
        """
        cdef Py_buffer view
        cdef zmq_msg_t msg
        cdef int f = to_flags(flags, "recv_into")
        cdef size_t size, room
        cdef bint fits
        if not PyObject_CheckBuffer(buffer):
            raise TypeError(f"recv_into: a writable buffer is required, not {buffer!r:.80}")
        try:
            PyObject_GetBuffer(buffer, &view, PyBUF_CONTIG)
        except BufferError as exception:
            raise BufferError(f"recv_into: {exception}: {buffer!r:.80}") from None
        try:
            if not isinstance(nbytes, int) or not 0 <= nbytes <= view.len:
                raise ValueError(f"recv_into: nbytes must be an int from 0 to {view.len}, not {nbytes!r}")
            room = nbytes or view.len
            <void> zmq_msg_init(&msg)
            self.get(&msg, f, timeout, "recv_into")
            size = zmq_msg_size(&msg)
            fits = size <= room
            if not fits:
                self.hold(&msg, 1)
                raise error(EMSGSIZE, "recv_into", self, f"a message of {size} bytes into a buffer of {room}")
            if size < BIG:
                memcpy(view.buf, zmq_msg_data(&msg), size)
            else:
                with nogil:
                    memcpy(view.buf, zmq_msg_data(&msg), size)
            <void> zmq_msg_close(&msg)
            return size
        finally:
            PyBuffer_Release(&view)

    def recv_multipart(self, flags=0, *, timeout=None):
        """Receive a message with all its parts. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of bytes
            The parts, one at least.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        MemoryError
            The parts do not fit into memory; the message is dropped, and the next one comes whole.
        """
        cdef zmq_msg_t msg
        cdef list parts = []
        cdef int number, more
        cdef int f = to_flags(flags, "recv_multipart")
        cdef bint whole = True
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv_multipart")
        self.state |= BUSY  # nobody may take a part of ours while a big one is copied
        number = 0
        while True:
            more = zmq_msg_more(&msg)
            part = take(&msg) if whole else None
            if part is None:
                whole = False
                <void> zmq_msg_close(&msg)
            else:
                parts.append(part)
            if not more:
                break
            <void> zmq_msg_init(&msg)
            if self.state & HELD:
                self.unhold(&msg)
                continue
            while True:
                number = 0 if zmq_msg_recv(&msg, self.handle, ZMQ_DONTWAIT) >= 0 else last_errno()
                if number != EINTR:
                    break
            if number:
                break
        self.state &= ~BUSY
        if number:
            raise error(number, "recv_multipart", self)
        if not whole:
            raise MemoryError("recv_multipart: no memory for the parts of a message")
        return parts

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.recv()
        except errors.ContextTerminated:
            raise StopIteration from None

    # ---- waiting

    cdef int current_events(self, str call) except -1:
        """Return what can be done now: ZMQ_EVENTS, and POLLIN for a message that waits here."""
        cdef int events = 0
        cdef int number
        enter(self, call)
        while True:
            number = events_of(self.handle, &events)
            if not interrupted(number):
                break
            enter(self, call)
        if number:
            raise error(number, call, self)
        return events | ZMQ_POLLIN if self.state & HELD else events

    def poll(self, timeout=None, flags=1):
        """Wait until the socket can send or receive.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.
        flags : int, default POLLIN
            What to wait for: `POLLIN`, `POLLOUT` or both.

        Returns
        -------
        int
            Which of them is possible; 0 when the time is up.
        """
        cdef int wanted = to_flags(flags, "poll")
        cdef nsec deadline = deadline_after(timeout, "poll")
        cdef int events, number
        while True:
            events = self.current_events("poll") & wanted
            if events or remaining(deadline) == 0:
                return events
            self.state |= BUSY
            self.inside = True
            with nogil:
                number = wait_on(self.handle, self.fd, <short> wanted, deadline)
                self.inside = False
            self.state &= ~BUSY
            if number and number != EAGAIN and not interrupted(number):
                raise error(number, "poll", self)

    # ---- endpoints

    cdef int on_endpoint(self, str call, object endpoint) except -1:
        """Make one of the four calls that take an endpoint, without the GIL: they may look up names."""
        cdef bytes text = c_string(endpoint, call, "endpoint")
        cdef const char *address = text
        port = text.rpartition(b":")[2]
        if not text.startswith((b"inproc:", b"ipc:")) and port.isdigit() and int(port) > 65535:
            raise error(EINVAL, call, self, text.decode("utf-8", "backslashreplace"))  # libzmq takes it modulo 65536
        cdef int (*function)(void *, const char *) noexcept nogil
        cdef int number
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
            self.state |= BUSY
            self.inside = True
            with nogil:
                number = 0 if function(self.handle, address) >= 0 else last_errno()
                self.inside = False
            self.state &= ~BUSY
            if not interrupted(number):
                break
        if number:
            raise error(number, call, self, text.decode("utf-8", "backslashreplace"))
        return 0

    def bind(self, endpoint):
        """Accept connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            ``tcp://127.0.0.1:5555``, ``tcp://*:*`` (`last_endpoint` tells the port), ``ipc:///path``, ``inproc://name``.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EADDRINUSE: it is taken. EADDRNOTAVAIL, ENODEV: the machine has no such address. EPROTONOSUPPORT: this libzmq
            has no such transport.
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
        if self.state & CLOSED:
            return
        if self.generation == generation:
            enter(self, "close")
            if linger is not None:
                try:
                    self.setsockopt(ZMQ_LINGER, linger)
                except errors.ContextTerminated:
                    pass  # libzmq takes no option any more; the socket is closed all the same
        self.release()

    @property
    def context(self):
        """Context: the context that serves the socket; None for a shadow."""
        return self.owner

    @property
    def closed(self):
        """bool: whether the socket was closed."""
        return bool(self.state & CLOSED)

    @property
    def underlying(self):
        """int: the address of libzmq's socket, for `shadow`."""
        enter(self, "underlying")
        self.shared = True
        return <size_t> self.handle

    def fileno(self):
        """Return the descriptor that becomes readable when `events` may have changed.

        It is edge-triggered: read `events` first, and again after each operation on the socket.

        Returns
        -------
        int
        """
        enter(self, "fileno")
        if self.fd < 0:
            raise error(ENOTSUP, "fileno", self)
        return self.fd

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
        OverflowError
            The value does not fit the option's integer.
        """
        cdef int number = to_int(option, "setsockopt", "option")
        self.set_option(number, value, "setsockopt")

    cdef object get_option(self, int number, str call):
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef char[LONGEST_VALUE] text
        cdef int value = 0
        cdef int64_t signed = 0
        cdef uint64_t unsigned = 0
        cdef size_t size
        enter(self, call)
        if kind == c'y' or kind == c's':
            size = sizeof(text)
            self.check_option(zmq_getsockopt(self.handle, number, text, &size), call, number)
            if kind == c's' and size and text[size - 1] == 0:
                size -= 1
            return text[:size]
        if kind == c'k':
            size = 41
            self.check_option(zmq_getsockopt(self.handle, number, text, &size), call, number)
            return text[:40]
        if kind == c'l':
            size = sizeof(signed)
            self.check_option(zmq_getsockopt(self.handle, number, &signed, &size), call, number)
            return signed
        if kind == c'u':
            size = sizeof(unsigned)
            self.check_option(zmq_getsockopt(self.handle, number, &unsigned, &size), call, number)
            return unsigned
        if number == ZMQ_EVENTS:
            return self.current_events(call)
        size = sizeof(value)
        if zmq_getsockopt(self.handle, number, &value, &size) >= 0:
            return value
        if kind == 0 and last_errno() == EINVAL:
            size = sizeof(text)
            if zmq_getsockopt(self.handle, number, text, &size) >= 0:
                return text[:size]
        self.check_option(-1, call, number)

    cdef int check_option(self, int rc, str call, int number) except -1:
        return check(rc, call, self, option_name(number)) if rc < 0 else rc

    cdef int set_option(self, int number, object value, str call) except -1:
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef Py_buffer view
        cdef int setting = 0
        cdef int64_t signed = 0
        cdef uint64_t unsigned = 0
        cdef int rc
        if kind == 0:
            kind = c'i' if isinstance(value, int) else c'y'
        if kind == c'y' or kind == c's' or kind == c'k':
            if value is None and kind == c's':
                enter(self, call)
                return self.check_set(zmq_setsockopt(self.handle, number, NULL, 0), call, number, value)
            if kind != c'y' and isinstance(value, str):
                value = value.encode()
            if not PyObject_CheckBuffer(value):
                raise TypeError(f"{call}: {option_name(number)} must be bytes, not {value!r:.80}")
            if kind == c's' and b"\0" in bytes(value):
                raise ValueError(f"{call}: {option_name(number)} has a NUL character: {shown(number, value)}")
            PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
            try:
                enter(self, call)
                rc = zmq_setsockopt(self.handle, number, view.buf, view.len)
                if rc >= 0:
                    return rc
                exception = error(last_errno(), call, self, f"{option_name(number)}={shown(number, value)}")
            finally:
                PyBuffer_Release(&view)
            raise exception
        if kind == c'l':
            signed = to_integer(value, call, option_name(number), -(1 << 63), (1 << 63) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.handle, number, &signed, sizeof(signed))
        elif kind == c'u':
            unsigned = to_integer(value, call, option_name(number), 0, (1 << 64) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.handle, number, &unsigned, sizeof(unsigned))
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
            rc = zmq_setsockopt(self.handle, number, &setting, sizeof(setting))
            if number == ZMQ_LINGER and rc >= 0:
                self.linger_set = True
        return self.check_set(rc, call, number, value)

    cdef int check_set(self, int rc, str call, int number, object value) except -1:
        return check(rc, call, self, f"{option_name(number)}={shown(number, value)}") if rc < 0 else rc

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
        words.append(type_name(self.type_number) if self.type_number >= 0 else "uninitialised")
        if self.state & CLOSED:
            words.append("closed")
        elif not self.state & BUSY and self.generation == generation:
            endpoint[0] = 0
            if zmq_getsockopt(self.handle, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 and endpoint[0]:
                words.append((<bytes> endpoint).decode("utf-8", "replace"))
        return f"<{' '.join(words)}>"

    def __reduce__(self):
        raise TypeError("Socket: a socket cannot be pickled or copied; send its endpoint, or shadow() it in this process")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)


# -------------------------------------------------------------------------------------------------------------- options

cdef enum:
    MOST_OPTIONS = 256

cdef char[MOST_OPTIONS] kinds  # of the socket options, by number: a letter of KINDS, 0 where there is none
cdef dict KINDS = {
    "int": c"i", "bool": c"b", "int64": c"l", "uint64": c"u", "fd": c"i", "duration": c"d", "bytes": c"y", "string": c"s",
    "key": c"k"}
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef dict context_option_names = {option.number: option.name for option in reversed(CONTEXT_OPTIONS)}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7

for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = KINDS[_option.kind]


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef str shown(int number, object value):
    """Return a value for an error's text; a secret is not shown."""
    name = option_name(number)
    return f"({len(value)} secret characters)" if "secret" in name or "password" in name else f"{value!r:.80}"


cdef str context_option_name(int number):
    return context_option_names.get(number) or f"option {number}"


cdef class Property:
    """An option as an attribute: what the properties of sockets and of contexts share.

    Parameters
    ----------
    option : zmqcy.options.Option
        Its row of the table.
    """

    cdef int number
    cdef char kind
    cdef bint readable
    cdef bint writable
    cdef readonly str name
    cdef readonly object option

    def __init__(self, option):
        self.option = option
        self.number = option.number
        self.kind = KINDS[option.kind]
        self.name = option.name
        self.readable = "r" in option.access
        self.writable = "w" in option.access

    cdef str describe(self):
        option = self.option
        what = {"key": "bytes", "string": "str", "duration": "int", "int64": "int", "uint64": "int", "fd": "int"}
        unit = f", in {option.unit}" if option.unit else ""
        access = {"r": "; read only", "w": "; write only", "rw": ""}[option.access]
        draft = " Draft: has('draft') tells whether this libzmq has it." if option.draft else ""
        return f"{what.get(option.kind, option.kind)}{unit}{access}: {option.text}{draft}"

    cdef int unreadable(self) except -1:
        raise AttributeError(f"{self.name} cannot be read, only set")

    cdef int unwritable(self) except -1:
        raise AttributeError(f"{self.name} cannot be set, only read")


cdef class SocketProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        value = (<Socket?> instance).get_option(self.number, "get")
        if self.kind == c"s":
            return value.decode("utf-8", "surrogateescape")
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        (<Socket?> instance).set_option(self.number, value, "set")

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")


cdef class ContextProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        (<Context?> instance).enter("get")
        value = check(zmq_ctx_get((<Context> instance).ending.handle, self.number), "get", None, self.name)
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        cdef int setting = to_int(value, "set", self.name)
        (<Context?> instance).enter("set")
        check(zmq_ctx_set((<Context> instance).ending.handle, self.number, setting), "set", None, f"{self.name}={value!r}")

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")


# ---------------------------------------------------------------------------------------------------- the rest of libzmq

def zmq_errno():
    """Return the errno that libzmq met last in this thread."""
    return errno


def strerror(number):
    """Return an errno in words, those of libzmq included.

    Parameters
    ----------
    number : int
        An errno.

    Returns
    -------
    str
    """
    cdef int code = to_int(number, "strerror", "number")
    return zmq_strerror(code).decode("utf-8", "replace")


def zmq_version_info():
    """Return the version of the libzmq that is loaded as three ints."""
    cdef int major, minor, patch
    libzmq_version(&major, &minor, &patch)
    return major, minor, patch


def zmq_version():
    """Return the version of the libzmq that is loaded, as ``'4.3.5'``."""
    return ".".join(map(str, zmq_version_info()))


def has(capability):
    """Tell whether the libzmq that is loaded has a capability.

    Parameters
    ----------
    capability : str
        ``"ipc"``, ``"curve"``, ``"gssapi"``, ``"pgm"``, ``"tipc"``, ``"norm"``, ``"vmci"``, ``"ws"``, ``"wss"``, ``"draft"``.

    Returns
    -------
    bool
    """
    cdef bytes name = c_string(capability, "has", "capability")
    return zmq_has(name) != 0


def curve_keypair():
    """Make a pair of CURVE keys.

    Returns
    -------
    tuple of bytes
        The public and the secret key, 40 characters of Z85 each.

    Raises
    ------
    NotSupported
        This libzmq has no CURVE.
    """
    cdef char[41] public
    cdef char[41] secret
    check(zmq_curve_keypair(public, secret), "curve_keypair", None, None)
    return public[:40], secret[:40]


def curve_public(secret):
    """Return the public key of a secret key.

    Parameters
    ----------
    secret : bytes or str
        40 characters of Z85.

    Returns
    -------
    bytes
        40 characters of Z85.

    Raises
    ------
    ValueError
        `secret` is no such key.
    NotSupported
        This libzmq has no CURVE.
    """
    cdef char[41] public
    cdef bytes text = c_string(secret, "curve_public", "secret")
    if len(text) != 40:
        raise ValueError(f"curve_public: a secret key has 40 characters of Z85, not {len(text)}")
    check(zmq_curve_public(public, text), "curve_public", None, None)
    return public[:40]


def z85_encode(data):
    """Encode binary data as Z85 text.

    Parameters
    ----------
    data : bytes-like
        A multiple of 4 bytes.

    Returns
    -------
    bytes
        5 characters for each 4 bytes.

    Raises
    ------
    ValueError
        The length is no multiple of 4.
    """
    cdef bytes source = bytes(to_buffer(data, "z85_encode", None))
    cdef size_t size = len(source)
    if size % 4:
        raise ValueError(f"z85_encode: the length must be a multiple of 4, not {size}")
    cdef bytearray text = bytearray(size * 5 // 4 + 1)
    if zmq_z85_encode(text, <const uint8_t *> <const char *> source, size) is NULL:
        fail("z85_encode", None, None)
    return bytes(text[:size * 5 // 4])


def z85_decode(text):
    """Decode Z85 text.

    Parameters
    ----------
    text : bytes or str
        A multiple of 5 characters.

    Returns
    -------
    bytes
        4 bytes for each 5 characters.

    Raises
    ------
    ValueError
        The length is no multiple of 5, or a character is not of Z85.
    """
    cdef bytes source = c_string(text, "z85_decode", "text")
    cdef size_t size = len(source)
    if size % 5:
        raise ValueError(f"z85_decode: the length must be a multiple of 5, not {size}")
    if not source:
        return b""
    cdef bytearray data = bytearray(size * 4 // 5)
    if zmq_z85_decode(<uint8_t *> <char *> data, source) is NULL:
        raise errors.InvalidArgument(EINVAL, "not Z85", call="z85_decode", detail=repr(text))
    return bytes(data)


if at_fork(after_fork_in_child) or Py_AtExit(end_process) < 0:
    raise ImportError("zmqcy: the handlers for fork and exit could not be registered")
atexit.register(read_exit_linger)
