"""Contexts, and how they end: with the program, with the process, and in a forked child."""

from cython cimport critical_section
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc cimport errno
from libc.errno cimport EAGAIN, ECHILD, EINTR, EINVAL, EMFILE, ENOMEM, ENOTSOCK
from libc.limits cimport INT_MAX
from libc.stdio cimport fprintf, snprintf, stderr
from libc.stdlib cimport calloc, free

from zmqcy._library cimport (
    FOREVER, NO_TYPE, SECOND, c_type_name, check, deadline_after, error, fail, interrupted, set_attribute, slice_of,
    to_int, to_milliseconds, to_spin, unknown_attribute)
from zmqcy._system cimport (
    add, at_fork, block_signals, close_descriptor, free_descriptors, highest_priority, is_foreign_context, is_policy,
    most_descriptors, most_processors, nap, now, nsec, poke, probe_threads, replace, restore_signals, sigset, swap,
    teach_malloc, try_schedule)
from zmqcy.libzmq cimport (
    ETERM, ZMQ_IO_THREADS, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_PAIR, ZMQ_POLLIN, ZMQ_PULL, ZMQ_SUB,
    zmq_bind, zmq_close, zmq_ctx_get, zmq_ctx_new, zmq_ctx_set, zmq_ctx_shutdown, zmq_ctx_term, zmq_errno as last_errno,
    zmq_getsockopt, zmq_poller_destroy, zmq_setsockopt, zmq_socket)

import atexit
import weakref

from zmqcy import _library, errors
from zmqcy.options import CONTEXT_OPTIONS

cdef enum:
    THREAD_PRIORITY = 3    # of `ContextOption`; SOCKET_LIMIT has the same number, to read
    THREAD_SCHED_POLICY = 4
    THREAD_AFFINITY_CPU_ADD = 7
    THREAD_AFFINITY_CPU_REMOVE = 8
    MOST_PROCESSORS = 1024  # bits of a cpu_set_t
    MANY_SOCKETS = 100      # of `max_sockets`, from which on nobody misses one
    MOST_SOCKETS = 1 << 20  # each takes a descriptor, and Linux gives no process more; libzmq has a table of them
    DEFAULT_SPIN = 100000  # nanoseconds: twice a round trip between two processes that are awake

cdef extern from "Python.h":
    int Py_AtExit(void (*func)() noexcept) noexcept

cdef extern from "pythread.h":
    void *PyThread_allocate_lock() noexcept nogil
    void PyThread_free_lock(void *lock) noexcept nogil
    int PyThread_acquire_lock(void *lock, int wait) noexcept nogil
    int PyThread_acquire_lock_timed(void *lock, long long microseconds, int interruptible) noexcept nogil
    void PyThread_release_lock(void *lock) noexcept nogil
    unsigned long PyThread_start_new_thread(void (*func)(void *) noexcept nogil, void *arg) noexcept
    unsigned long PYTHREAD_INVALID_THREAD_ID
    int PY_LOCK_ACQUIRED


cdef void *LATE = <void *> -1  # instead of a waker: nobody would write to it any more
cdef bint malloc_taught = False


# ---------------------------------------------------------------------------------------------------- fork and the end

cdef Ending *endings = NULL  # of all contexts of this process
cdef SocketRecord *strays = NULL  # the sockets that are shadows, and belong to no context of ours
cdef nsec exit_linger = 10 * <nsec> SECOND
forks = 0
lists = NULL


cdef PyObject *reference_to(PyObject *owner) except? NULL:
    """Return what `alive` needs in addition to the object."""
    if not FREE_THREADED:
        return NULL
    reference = weakref.ref(<object> owner)
    Py_INCREF(reference)
    return <PyObject *> reference


cdef int enlist(SocketRecord *record, Ending *ending, SocketRecord *original) except -1:
    """Put a socket in front of the list of its context, of what it is a shadow of, or of the strays."""
    cdef SocketRecord **head
    if original is not NULL:
        head = &original.shadows
    elif ending is not NULL:
        head = &ending.sockets
    else:
        head = &strays
    record.reference = reference_to(record.owner)
    lock_lists()
    record.ending = ending
    record.head = head
    record.previous = NULL
    record.following = head[0]
    if head[0] is not NULL:
        head[0].previous = record
    head[0] = record
    if ending is not NULL:
        ending.owners += 1
    unlock_lists()
    return 0


cdef bint delist(SocketRecord *record) noexcept:
    """Take a socket that is about to be closed out of its list. Return whether it was there: who finds it closes it."""
    cdef bint found
    lock_lists()
    found = take_out(record)
    unlock_lists()
    return found


cdef bint take_out(SocketRecord *record) noexcept:
    if record.head is NULL:
        return False
    if record.following is not NULL:
        record.following.previous = record.previous
    if record.previous is not NULL:
        record.previous.following = record.following
    else:
        record.head[0] = record.following
    record.previous = record.following = NULL
    record.head = NULL
    return True


cdef object socket_with(void *handle, bint *known):
    """Return the socket that has a handle, and is no shadow of another one of ours.

    None: it is not `known`, or its object is about to go.
    """
    cdef Ending *ending
    cdef SocketRecord *record = NULL
    lock_lists()
    ending = endings
    while record is NULL and ending is not NULL:
        record = find(ending.sockets, handle)
        ending = ending.next
    if record is NULL:
        record = find(strays, handle)
    known[0] = record is not NULL
    found = None if record is NULL else alive(record.owner, record.reference)
    unlock_lists()
    return found


cdef SocketRecord *find(SocketRecord *record, void *handle) noexcept:
    while record is not NULL and record.handle is not handle:
        record = record.following
    return record


cdef void close_dying(Ending *ending) noexcept:
    """Close the sockets whose objects are about to go: what runs meanwhile may be what ends the context."""
    cdef SocketRecord *record
    cdef SocketRecord copy
    cdef list kept
    while True:
        kept = []
        lock_lists()
        record = ending.sockets
        while record is not NULL:
            owner = alive(record.owner, record.reference)
            if owner is None:
                break
            kept.append(owner)
            record = record.following
        if record is not NULL:
            take_out(record)
            record.state |= CLOSED
            if record.signaler.poller is not NULL:
                <void> zmq_poller_destroy(&record.signaler.poller)
            copy = record[0]
        unlock_lists()
        if record is NULL:
            return
        note_last(&copy)
        <void> zmq_close(copy.handle)


cdef void disown(SocketRecord *record) noexcept nogil:
    while record is not NULL:
        record.state |= FORKED
        disown(record.shadows)
        record = record.following


cdef void after_fork_in_child() noexcept nogil:
    """Mark all that was the parent's: neither its sockets nor its threads are ours."""
    global endings, forks, lists, strays
    cdef Ending *ending = endings
    forks += 1
    lists = NULL
    while ending is not NULL:
        ending.forked = True
        disown(ending.sockets)
        ending = ending.next
    disown(strays)
    endings = NULL
    strays = NULL


cdef bint has_finished(Ending *ending) noexcept nogil:
    return add(&ending.finished, 0) != 0


cdef Ending *new_ending(void *handle, Context owner) except NULL:
    """Register a context, and free what is left of those that are gone."""
    global endings
    cdef Ending *ending
    cdef Ending **link = &endings
    cdef PyObject *reference = reference_to(<PyObject *> owner)
    lock_lists()
    while link[0] is not NULL:
        ending = link[0]
        if ending.owners == 0 and (has_finished(ending) if ending.started else ending.foreign):
            link[0] = ending.next
            PyThread_acquire_lock(ending.done, 1)  # its thread has let go of the lock, too
            PyThread_release_lock(ending.done)
            PyThread_free_lock(ending.done)
            free(ending)
        else:
            link = &ending.next
    ending = <Ending *> calloc(1, sizeof(Ending))
    if ending is not NULL:
        ending.done = PyThread_allocate_lock()
    if ending is NULL or ending.done is NULL:
        unlock_lists()
        free(ending)
        Py_XDECREF(reference)
        raise MemoryError("Context")
    ending.handle = handle
    ending.owner = <PyObject *> owner
    ending.reference = reference
    ending.schedule.policy = ending.schedule.priority = -1
    ending.owners = 1
    ending.next = endings
    endings = ending
    unlock_lists()
    return ending


cdef Context context_with(void *handle):
    """Return the context that has a handle, and is no shadow of another one of ours. None: it is not known."""
    cdef Ending *ending = NULL
    cdef Ending *each
    lock_lists()
    each = endings
    while each is not NULL and (ending is NULL or ending.foreign):
        if each.handle is handle and not has_finished(each) and not (each.foreign and each.owner is NULL):
            ending = each
        each = each.next
    found = None if ending is NULL else alive(ending.owner, ending.reference)
    unlock_lists()
    if ending is not NULL and found is None:
        raise error(ETERM, "shadow", NO_TYPE)
    return found


cdef void run_ending(void *argument) noexcept nogil:
    """End a context in a thread without Python: zmq_ctx_term takes no timeout, and may wait for ever."""
    cdef Ending *ending = <Ending *> argument
    cdef void *done = ending.done
    cdef size_t waker
    while zmq_ctx_term(ending.handle) < 0 and last_errno() == EINTR:
        pass
    add(&ending.finished, 1)
    waker = <size_t> swap(&ending.waker, LATE)
    if waker:
        poke(<int> (waker - 1))
        <void> close_descriptor(<int> (waker - 1))
    PyThread_release_lock(done)


cdef bint start_ending(Ending *ending) noexcept:
    """Start the thread that ends a context, once. Return whether it runs."""
    cdef sigset mask
    cdef unsigned long thread
    if ending.started:
        return True
    if ending.keeper is not NULL:
        <void> zmq_close(ending.keeper)
        ending.keeper = NULL
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
        waiting |= ending.started and not (has_finished(ending) or ending.abandoned)
        ending = ending.next
    if waiting:
        wait_at_exit(now())


cdef void close_at_exit(Ending *ending) noexcept:
    """Close what is still open, so that the context can end."""
    cdef SocketRecord *record = ending.sockets
    cdef int linger = 0
    cdef int naps = 0
    cdef size_t size
    while record is not NULL:
        # The interpreter is gone, but not the memory of an object that still refers to an open socket.
        if is_inside(record):  # a daemon thread waits in it
            zmq_ctx_shutdown(ending.handle)
            while is_inside(record) and naps < 200:
                nap()
                naps += 1
            if is_inside(record):
                return
        note_last(record)
        size = sizeof(int)
        <void> zmq_getsockopt(record.handle, ZMQ_LINGER, &linger, &size)
        if linger == FOREVER and not record.linger_set:
            linger = FOREVER if exit_linger == FOREVER else <int> min(exit_linger // 1000000, INT_MAX)
            <void> zmq_setsockopt(record.handle, ZMQ_LINGER, &linger, sizeof(int))
        <void> zmq_close(record.handle)
        record = record.following
    ending.sockets = NULL
    if not ending.foreign:
        start_ending(ending)


cdef void wait_at_exit(nsec start) noexcept:
    """Wait for the contexts that have messages left; after a second, say so."""
    cdef Ending *ending = endings
    cdef nsec deadline, limit
    cdef char[64] most
    cdef bint told = False
    while ending is not NULL:
        limit = FOREVER if FOREVER in (ending.linger, exit_linger) else max(ending.linger, exit_linger)
        deadline = FOREVER if limit == FOREVER else start + limit
        while ending.started and not has_finished(ending) and not ending.abandoned:
            if PyThread_acquire_lock_timed(ending.done, 50000, 0) == PY_LOCK_ACQUIRED:
                PyThread_release_lock(ending.done)
                break
            if deadline != FOREVER and now() > deadline:
                if told:
                    fprintf(stderr, b"zmqcy: gave up messages that could not be sent: %s\n", ending.last)
                break
            if not told and now() - start > SECOND:
                told = True
                if exit_linger == FOREVER:
                    snprintf(most, sizeof(most), b"without end (zmqcy.exit_linger is -1)")
                else:
                    snprintf(most, sizeof(most), b"%g s at most (zmqcy.exit_linger)", <double> exit_linger / SECOND)
                fprintf(
                    stderr,
                    b"zmqcy: exit waits for messages not yet sent: %s. It waits %s where no linger was set; "
                    b"linger=0 on a socket drops them, Ctrl-C ends the wait.\n",
                    ending.last, most)
        ending = ending.next


cdef void note_last(SocketRecord *record) noexcept:
    """Note of a socket that is about to be closed what the end of the process must know: its name and its linger."""
    cdef Ending *ending = record.ending
    cdef char[200] endpoint
    cdef size_t size = sizeof(endpoint)
    cdef int linger = 0
    if ending is NULL:
        return
    if record.type != ZMQ_PULL and record.type != ZMQ_SUB:  # which send nothing
        endpoint[0] = 0
        <void> zmq_getsockopt(record.handle, ZMQ_LAST_ENDPOINT, endpoint, &size)
        snprintf(ending.last, sizeof(ending.last), b"%s %s", c_type_name(record.type), endpoint)
    if record.linger_set and ending.linger != FOREVER:  # which is honoured to the letter
        size = sizeof(int)
        <void> zmq_getsockopt(record.handle, ZMQ_LINGER, &linger, &size)
        ending.linger = FOREVER if linger == FOREVER else max(ending.linger, <nsec> linger * 1000000)


def read_exit_linger():
    """Take note of `zmqcy.exit_linger`, while there is still a Python to read it."""
    global exit_linger
    limit = to_milliseconds(_library.settings.get("exit_linger", 10000), "exit_linger")
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

    @critical_section
    def __init__(self, io_threads=1):
        global malloc_taught
        cdef void *handle
        cdef int threads = to_int(io_threads, "Context", "io_threads")
        if self.ending is not NULL:
            raise RuntimeError("Context: already initialised")
        if not malloc_taught:
            malloc_taught = True
            teach_malloc()
        handle = zmq_ctx_new()
        if handle is NULL:
            fail("Context", NO_TYPE, None)
        self.spin_bound = DEFAULT_SPIN
        self.ending = new_ending(handle, self)
        set_number(self.ending, ZMQ_IO_THREADS, threads, "Context", "io_threads")

    def __del__(self):
        if self.original is None:
            self._has_ended()

    def __dealloc__(self):
        cdef PyObject *reference = NULL
        if self.ending is NULL or self.ending.forked:
            return
        if self.ending.owner is <PyObject *> self:
            lock_lists()
            reference = self.ending.reference
            self.ending.owner = self.ending.reference = NULL
            unlock_lists()
            Py_XDECREF(reference)
        if not self.is_shadow:
            self.let_waiting_go()
            start_ending(self.ending)
        lock_lists()
        self.ending.owners -= 1
        unlock_lists()

    cdef int enter(self, str call) except -1:
        if self.ending is NULL:
            raise error(ENOTSOCK, call, NO_TYPE, "of a Context that was not initialised")
        if self.ending.forked:
            raise error(ECHILD, call, NO_TYPE, None, "the context was made before the fork: make one in this process")
        if self.ending.started:
            raise error(ETERM, call, NO_TYPE)
        return 0

    @property
    def closed(self):
        """bool: whether the context has ended."""
        return self.ending is NULL or self.ending.forked or has_finished(self.ending)

    @property
    def spin(self):
        """float: the `spin` of new sockets, in microseconds."""
        return self.spin_bound / 1000

    @spin.setter
    def spin(self, microseconds):
        self.spin_bound = to_spin(microseconds)

    @property
    @critical_section
    def underlying(self):
        """int: the address of libzmq's context, for `shadow`."""
        self.enter("underlying")
        return <size_t> self.ending.handle

    @classmethod
    def shadow(cls, address):
        """Wrap a context that something else made, and leave it alive when the wrapper goes.

        `with` closes the sockets that the wrapper has made, and leaves the context alive too. `term` and `destroy` end
        it.

        Parameters
        ----------
        address : int or object
            The address of libzmq's context, or an object that has it as `underlying`. It is believed: a number that
            is the address of no context may end the process.

        Returns
        -------
        Context

        Raises
        ------
        ContextTerminated
            The context has ended.
        ZMQError
            EFAULT: the context was made by another libzmq of this process, as wheels of pyzmq bring one.
        """
        cdef Context self = cls.__new__(cls)
        self._adopt(address)
        return self

    @critical_section
    def _adopt(self, address, keeping=True):
        """Be a shadow. One that is not `keeping` a context of ours alive treats it like a foreign one."""
        cdef Context original
        cdef void *handle = NULL
        if isinstance(address, Context):
            original = (<Context> address).root()
        else:
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a context is a positive int, not {address!r}")
            handle = <void *> <size_t> address
            original = context_with(handle) if keeping else None
        if self.ending is not NULL:
            raise RuntimeError("Context: already initialised")
        if original is not None:
            original.enter("shadow")
            lock_lists()
            original.ending.owners += 1
            unlock_lists()
            self.ending = original.ending
            self.original = original
        else:
            if is_foreign_context(handle, <void *> zmq_ctx_get):  # which would end in abort()
                raise error(errno.EFAULT, "shadow", NO_TYPE, hex(address), "the context was made by another libzmq")
            self.ending = new_ending(handle, self)
            self.ending.foreign = True
        self.is_shadow = True
        self.spin_bound = DEFAULT_SPIN

    cdef Context root(self):
        """Return what this is a shadow of, where that is a context of ours; else this."""
        return self if self.original is None else self.original

    @property
    def _is_shadow(self):
        return self.is_shadow

    @critical_section
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
        return read_option(self.ending.handle, number, option_name(number))

    @critical_section
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
        cdef str name = option_name(number)
        cdef int setting = to_int(value, "set", name)
        self.enter("set")
        set_number(self.ending, number, setting, "set", name)

    @critical_section
    def shutdown(self):
        """Wake every call that waits in a socket of this context, and let each further one fail.

        The sockets stay to be closed. May be called from any thread, and again.
        """
        if self.original is not None:
            return self.original.shutdown()
        if self.ending is NULL or self.ending.forked or self.ending.started:
            return
        self.let_waiting_go()
        check(zmq_ctx_shutdown(self.ending.handle), "shutdown", NO_TYPE, None)

    @critical_section
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
        if self.original is not None:
            return self.original.term(timeout)
        if self.closed:
            return
        deadline = deadline_after(timeout, "term")
        self.drop_ends()
        self.begin_end()
        warning = now() + SECOND
        while True:
            limit = deadline if ending.warned else warning if deadline == FOREVER else min(deadline, warning)
            microseconds = 1000 * slice_of(limit)
            with nogil:
                got = PyThread_acquire_lock_timed(ending.done, microseconds, 1)
            if got == PY_LOCK_ACQUIRED:
                PyThread_release_lock(ending.done)
                return
            try:
                interrupted(EINTR)
            except BaseException:
                ending.abandoned = True
                raise
            if deadline != FOREVER and now() >= deadline:
                raise errors.TimedOut(EAGAIN, call="term", detail=self._name_open() or f"timeout={timeout}")
            elif not ending.warned and now() >= warning:
                ending.warned = True
                self.warn_open()

    # A socket that has connected over inproc to a name that nobody has bound stays in libzmq after its close, until
    # somebody binds it or the context ends. The end needs a place among `max_sockets` for each such connection, beside
    # those of the sockets that wait, and aborts where there is none. So one socket, made in time, lets all of them go.

    @critical_section
    cdef int note_bind(self, bytes name) except -1:
        """Take note that a name of inproc is bound: who waited for it does so no more."""
        if self.original is not None:
            return self.original.note_bind(name)
        if self.bound is None:
            self.bound = set()
        self.bound.add(name)
        if self.waiting is not None:
            self.waiting.discard(name)
        return 0

    @critical_section
    cdef int note_unbind(self, object names) except -1:
        if self.original is not None:
            return self.original.note_unbind(names)
        if self.bound is not None:
            self.bound.difference_update(names)
        return 0

    @critical_section
    cdef int note_connect(self, bytes name) except -1:
        """Take note that a connection waits for a name of inproc, where it does."""
        cdef int none = 0
        if self.original is not None:
            return self.original.note_connect(name)
        if self.bound is not None and name in self.bound:
            return 0
        if self.waiting is None:
            self.waiting = set()
        self.waiting.add(name)
        if self.ending.keeper is not NULL or self.ending.foreign or self.ending.started:
            return 0
        if zmq_ctx_get(self.ending.handle, ZMQ_MAX_SOCKETS) >= MANY_SOCKETS:
            self.ending.keeper = zmq_socket(self.ending.handle, ZMQ_PAIR)
            if self.ending.keeper is not NULL:
                <void> zmq_setsockopt(self.ending.keeper, ZMQ_LINGER, &none, sizeof(none))
        return 0

    cdef int let_waiting_go(self) except -1:
        """Let the connections go that wait for a name of inproc: the context is about to end."""
        cdef const char *address
        if self.waiting is not None and self.ending.keeper is not NULL and not self.ending.started:
            for name in self.waiting:
                address = name
                <void> zmq_bind(self.ending.keeper, address)
            self.waiting = None
        return 0

    @critical_section
    def _keep_end(self, end):
        """Keep a socket that nobody waits for any more: a thread of libzmq would wait for ever to write to it."""
        if self.original is not None:
            return self.original._keep_end(end)
        kept = self.ends or []
        self.ends = [end]
        for each in kept:
            if each.events & ZMQ_POLLIN:
                each.close(0)
            else:
                self.ends.append(each)

    cdef int drop_ends(self) except -1:
        """Close the sockets that were kept: the context ends, and with it what libzmq would write."""
        kept, self.ends = self.ends, None
        for end in kept or ():
            end.close(0)
        return 0

    @critical_section
    def _end_soon(self):
        """Begin to end the context. Return a socket that is readable once it has ended, or None: it has."""
        if self.original is not None:
            return self.original._end_soon()
        if self.closed:
            return None
        self.drop_ends()
        if self.woken is None:
            import socket
            woken, waker = socket.socketpair()
            self.begin_end()
            # The thread that ends it may outlive this object, so that the descriptor is given to it.
            if replace(&self.ending.waker, NULL, <void *> (<size_t> waker.fileno() + 1)):
                waker.detach()
                self.woken = woken
            else:  # it has ended meanwhile
                woken.close()
                waker.close()
                return None
        return self.woken.dup()  # each task watches its own

    @critical_section
    def _has_ended(self):
        if self.original is not None:
            return self.original._has_ended()
        if self.woken is not None:
            self.woken.close()
            self.woken = None

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
        cdef int naps
        if self.original is not None:
            return self.original.destroy(linger)
        if self.closed:
            return
        while not self.end_unless_open():
            sockets = self._all_sockets()
            for socket in sockets:
                if socket._is_busy():
                    self.shutdown()
                    naps = 0
                    while socket._is_busy() and naps < 1000:
                        with nogil:
                            nap()
                        naps += 1
                socket.close(linger)
                socket._note_end()
            if not sockets:  # another thread is about to drop the last ones
                with nogil:
                    nap()
        self.term()

    @critical_section
    cdef bint end_unless_open(self) except -1:
        """Begin to end the context unless it has open sockets; none is made in between. Return whether it ends."""
        close_dying(self.ending)
        if self.ending.sockets is not NULL:
            return False
        self.begin_end()
        return True

    cdef int begin_end(self) except -1:
        """Start the thread that ends the context."""
        close_dying(self.ending)
        self.let_waiting_go()
        if not start_ending(self.ending):
            raise error(ENOMEM, "term", NO_TYPE, "no thread could be started")
        return 0

    def _all_sockets(self):
        """Return those that are not closed, but for any that other threads are about to drop."""
        cdef list sockets = []
        cdef SocketRecord *record
        lock_lists()
        record = self.ending.sockets if self.ending is not NULL else NULL
        while record is not NULL:
            sockets.append(alive(record.owner, record.reference))
            record = record.following
        unlock_lists()
        return [socket for socket in sockets if socket is not None]

    def _open_sockets(self):
        """Return the sockets of this context that are not closed, those that its shadows have made too."""
        cdef list ends = self.root().ends or []
        return [socket for socket in self._all_sockets() if socket not in ends]

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


cdef int read_option(void *handle, int number, str name) except? -1:
    """Read an option of a context, whose value may be -1 as well as say that there is an error."""
    cdef int value
    errno.errno = 0
    value = zmq_ctx_get(handle, number)
    return value if value == -1 and last_errno() == 0 else check(value, "get", NO_TYPE, name)


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


cdef int prepare_threads(Context context) except -1:
    """Raise where libzmq would abort as it starts its threads, which it does with the first socket.

    The GIL is kept, short as this is: another thread could end the context meanwhile, and free it. Without a GIL this
    is the critical section of the context.
    """
    cdef Ending *ending = context.ending
    cdef sigset mask
    cdef int threads, need, got, code
    if ending.running:
        return 0
    threads = zmq_ctx_get(ending.handle, ZMQ_IO_THREADS)
    need = 2 * threads + 8
    got = free_descriptors(need)
    if got < need:
        raise error(EMFILE, "socket", NO_TYPE, f"io_threads={threads}", f"needs {need} descriptors, and {got} are left")
    need = threads + 1  # one ends sockets
    block_signals(&mask)
    got = probe_threads(need)
    code = try_schedule(&ending.schedule) if got == need and is_scheduled(ending) else 0
    restore_signals(&mask)
    if got < need:
        raise error(ENOMEM, "socket", NO_TYPE, f"io_threads={threads}", f"needs {need} threads, {got} can be started")
    if code:
        raise error(code, "socket", NO_TYPE, describe_schedule(ending))
    ending.running = True
    return 0


cdef bint is_scheduled(Ending *ending) noexcept nogil:
    return ending.schedule.policy >= 0 or ending.schedule.priority >= 0 or ending.schedule.processors > 0


cdef str describe_schedule(Ending *ending):
    cdef int i
    words = []
    if ending.schedule.policy >= 0:
        words.append(f"thread_sched_policy={ending.schedule.policy}")
    if ending.schedule.priority >= 0:
        words.append(f"thread_priority={ending.schedule.priority}")
    allowed = [i for i in range(MOST_PROCESSORS) if ending.schedule.allowed[i // 8] >> i % 8 & 1]
    words += [f"thread_affinity_cpu_add={i}" for i in allowed]
    return " ".join(words)


# ------------------------------------------------------------------------------------------------ options as attributes

cdef dict KINDS = {
    "int": c"i", "bool": c"b", "int64": c"l", "uint64": c"u", "fd": c"i", "duration": c"d", "bytes": c"y",
    "string": c"s", "key": c"k"}
cdef dict option_names = {option.number: option.name for option in reversed(CONTEXT_OPTIONS)}


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef char kind_of(object option) except -1:
    """Return the letter of an option's kind."""
    return KINDS[option.kind]


cdef class Property:
    """An option as an attribute: what the properties of sockets and of contexts share.

    Parameters
    ----------
    option : zmqcy.options.Option
        Its row of the table.
    """

    def __init__(self, option):
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


cdef class ContextProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        with critical_section(instance):
            (<Context?> instance).enter("get")
            value = read_option((<Context> instance).ending.handle, self.number, self.name)
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        cdef int setting = to_int(value, "set", self.name)
        with critical_section(instance):
            (<Context?> instance).enter("set")
            set_number((<Context> instance).ending, self.number, setting, "set", self.name)

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")


if at_fork(after_fork_in_child) or Py_AtExit(end_process) < 0:
    raise ImportError("zmqcy: the handlers for fork and exit could not be registered")
atexit.register(read_exit_linger)
