"""Contexts."""

from cython cimport critical_section
from libc cimport errno
from libc.errno cimport EAGAIN, EMFILE, ENOMEM

from zmqcy._handle cimport ContextHandle, Ending, context_with, end_within, new_ending, sockets_of
from zmqcy._library cimport (
    FOREVER, NO_TYPE, SECOND, deadline_after, error, fail, interrupted, no_drafts, set_attribute, slice_of, to_int,
    to_spin, unknown_attribute)
from zmqcy._options cimport MOST_PROCESSORS, ContextOptions, set_number
from zmqcy._system cimport (
    block_signals, is_foreign_context, nap, now, nsec, free_descriptors, probe_threads, restore_signals, sigset,
    try_schedule)
from zmqcy.libzmq cimport ZMQ_IO_THREADS, zmq_ctx_get, zmq_ctx_new, zmq_has

from zmqcy import errors
from zmqcy._library import after, zmq_version_info

cdef enum:
    DEFAULT_SPIN = 100000  # nanoseconds: twice a round trip between two processes that are awake

has_batch_sizes = zmq_has(b"draft") and zmq_version_info() >= (4, 3, 3)

#: @type_check_only
#: class _HasUnderlying(Protocol):
#:     @property
#:     def underlying(self) -> int: ...

# ------------------------------------------------------------------------------------------------------------- contexts

cdef class Context(ContextOptions):
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
    def __init__(self, io_threads: int = 1) -> None:
        cdef void *handle
        cdef int threads = to_int(io_threads, "Context", "io_threads")
        if self.handle.ending is not NULL:
            raise RuntimeError("Context: already initialised")
        handle = zmq_ctx_new()
        if handle is NULL:
            fail("Context", NO_TYPE, None)
        self.spin_bound = DEFAULT_SPIN
        self.handle.ending = new_ending(handle, self.handle)
        set_number(self.handle.ending, ZMQ_IO_THREADS, threads, "Context", "io_threads")

    @property
    def closed(self) -> bool:
        """bool: whether the context has ended."""
        return self.handle.is_closed()

    @property
    def spin(self) -> float:
        """float: the `spin` of new sockets, in microseconds."""
        return self.spin_bound / 1000

    @spin.setter
    def spin(self, microseconds: float) -> None:
        self.spin_bound = to_spin(microseconds)

    @property
    def check_limits(self) -> bool:
        """bool: whether the first socket raises where the process lacks threads or file descriptors for libzmq."""
        return not self.handle.unchecked

    @check_limits.setter
    def check_limits(self, value: bool) -> None:
        self.handle.unchecked = not value

    @property
    def tuned(self) -> bool:
        """bool: whether new sockets read and write 96 KiB at a time; libzmq's own 8 KiB without drafts, or if False."""
        return has_batch_sizes and not self.handle.untuned

    @tuned.setter
    def tuned(self, value: bool) -> None:
        if value and not has_batch_sizes:
            raise no_drafts("Context", NO_TYPE, "tuned=True")
        self.handle.untuned = not value

    @property
    @critical_section
    def underlying(self) -> int:
        """int: the address of libzmq's context, for `shadow`."""
        self.handle.enter("underlying")
        return <size_t> self.handle.ending.handle

    @classmethod
    def shadow(cls, address: int | _HasUnderlying) -> Self:
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
        cdef ContextHandle handle = None
        cdef void *context = NULL
        if isinstance(address, Context):
            handle = (<Context> address).handle
        else:
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a context is a positive int, not {address!r}")
            context = <void *> <size_t> address
            if keeping:
                handle = context_with(context)
        if self.handle.ending is not NULL:
            raise RuntimeError("Context: already initialised")
        if handle is not None:
            handle.enter("shadow")
            self.handle = handle
        else:
            if is_foreign_context(context, <void *> zmq_ctx_get):  # which would end in abort()
                raise error(errno.EFAULT, "shadow", NO_TYPE, hex(address), "the context was made by another libzmq")
            self.handle.ending = new_ending(context, self.handle)
            self.handle.ending.foreign = True
        self._is_shadow = True
        self.spin_bound = DEFAULT_SPIN

    def shutdown(self) -> None:
        """Wake every call that waits in a socket of this context, and let each further one fail.

        The sockets stay to be closed. May be called from any thread, and again.
        """
        self.handle.shutdown()

    @critical_section
    def term(self, timeout: _Time = None) -> None:
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
        cdef Ending *ending = self.handle.ending
        cdef nsec deadline, warning, limit
        cdef long long microseconds
        cdef int number
        if self.closed:
            return
        deadline = deadline_after(timeout, "term")
        self.handle.drop_ends()
        self.handle.begin_end()
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
                names = self._name_open()
                detail = after(timeout, "term") + (f"; these sockets are open: {names}" if names else "")
                raise errors.TimedOut(EAGAIN, call="term", detail=detail)
            elif not ending.warned and now() >= warning:
                ending.warned = True
                self.warn_open()

    def destroy(self, linger: _Time = None) -> None:
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
        if self.closed:
            return
        while not self.handle.end_unless_open():
            sockets = self._all_sockets()
            for socket in sockets:
                if socket._is_busy():
                    self.shutdown()
                    naps = 0
                    while socket._is_busy() and naps < 1000:
                        with nogil:
                            nap()
                        naps += 1
                socket._note_end()  # before: another thread may use the socket as soon as it is closed
                try:
                    socket.close(linger)
                except BaseException:
                    socket._note_end(False)
                    raise
            if not sockets:  # another thread is about to drop the last ones
                with nogil:
                    nap()
        self.term()

    def _all_sockets(self):
        """Return those that are not closed, but for any that other threads are about to drop."""
        return [] if self.handle.ending is NULL else sockets_of(self.handle.ending)

    def _open_sockets(self):
        """Return the sockets of this context that are not closed, those that its shadows have made too."""
        with critical_section(self.handle):
            ends = list(self.handle.ends or ())
        return [socket for socket in self._all_sockets() if socket not in ends]

    def _end_soon(self):
        return self.handle.end_soon()

    def _has_ended(self):
        self.handle.has_ended()

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

    def __reduce__(self) -> NoReturn:
        raise TypeError("Context: a context cannot be pickled or copied; make one in each process, or shadow() it")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __getattr__(self, name):
        known = getattr(type(self), name, None)  # whose getter raised AttributeError, and has the better words for it
        if hasattr(known, "__get__"):
            return known.__get__(self, type(self))
        raise unknown_attribute(self, name)


cdef int prepare_threads(ContextHandle context) except -1:
    """Raise where libzmq would abort as it starts its threads, which it does with the first socket.

    The GIL is kept, short as this is: another thread could end the context meanwhile, and free it. Without a GIL this
    is the critical section of the handle.
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
