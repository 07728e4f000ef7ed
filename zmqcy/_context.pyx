"""Contexts, and options as attributes."""

from cython cimport critical_section
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc cimport errno
from libc.errno cimport EAGAIN, ECHILD, EINVAL, EMFILE, ENOMEM, ENOTSOCK

from zmqcy._handle cimport (
    Ending, close_dying, context_with, end_within, has_finished, lock_lists, new_ending, sockets_of, start_ending,
    unlock_lists)
from zmqcy._library cimport (
    FOREVER, NO_TYPE, SECOND, check, deadline_after, error, fail, interrupted, set_attribute, slice_of, to_int, to_spin,
    unknown_attribute)
from zmqcy._system cimport (
    block_signals, highest_priority, is_foreign_context, is_policy, most_descriptors, most_processors, nap, now, nsec,
    free_descriptors, probe_threads, replace, restore_signals, sigset, teach_malloc, try_schedule)
from zmqcy.libzmq cimport (
    ETERM, ZMQ_IO_THREADS, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_PAIR, ZMQ_POLLIN, zmq_bind, zmq_ctx_get, zmq_ctx_new,
    zmq_ctx_set, zmq_ctx_shutdown, zmq_errno as last_errno, zmq_setsockopt, zmq_socket)

from zmqcy import errors
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

cdef bint malloc_taught = False


def _teach_malloc():
    """Let malloc keep the memory of large messages, once."""
    global malloc_taught
    if not malloc_taught:
        malloc_taught = True
        teach_malloc()


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
        cdef void *handle
        cdef int threads = to_int(io_threads, "Context", "io_threads")
        if self.ending is not NULL:
            raise RuntimeError("Context: already initialised")
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
    def check_limits(self):
        """bool: whether the first socket raises where the process lacks threads or file descriptors for libzmq."""
        return not self.root().unchecked

    @check_limits.setter
    def check_limits(self, value):
        self.root().unchecked = not value

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
        cdef int number
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
                number = end_within(ending, microseconds)
            if number == 0:
                return
            try:
                interrupted(number)
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
        if self.ending.handles is not NULL:
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
        return [] if self.ending is NULL else sockets_of(self.ending)

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
    if ending.running or context.unchecked:
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
