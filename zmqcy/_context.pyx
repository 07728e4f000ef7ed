"""Define the C part of contexts: creation, end, and the checks before libzmq starts its threads."""

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
    DEFAULT_SPIN = 100000  # nanoseconds: two round trips between two running processes

has_batch_sizes = zmq_has(b"draft") and zmq_version_info() >= (4, 3, 3)

#: @type_check_only
#: class _HasUnderlying(Protocol):
#:     @property
#:     def underlying(self) -> int: ...

# ------------------------------------------------------------------------------------------------------------- contexts

cdef class Context(ContextOptions):
    """Own the I/O threads of libzmq, and create sockets. Contexts are thread-safe.

    Parameters
    ----------
    io_threads : int, default 1
        Number of I/O threads. 0 is enough for inproc.

    Raises
    ------
    InvalidArgument
        `io_threads` is negative, or too large for the process.
    """

    @critical_section
    def __init__(self, io_threads: int = 1) -> None:
        cdef void *handle
        cdef int threads = to_int(io_threads, "Context", "io_threads")
        if self.handle.ending is not NULL:
            raise RuntimeError("Context: already initialised; __init__ cannot be called twice")
        handle = zmq_ctx_new()
        if handle is NULL:
            fail("Context", NO_TYPE, None)
        self.spin_bound = DEFAULT_SPIN
        self.handle.ending = new_ending(handle, self.handle)
        set_number(self.handle.ending, ZMQ_IO_THREADS, threads, "Context", "io_threads")

    @property
    def closed(self) -> bool:
        """bool: whether the context was terminated."""
        return self.handle.is_closed()

    @property
    def spin(self) -> float:
        """float: default `spin` of new sockets, in microseconds. Default 100."""
        return self.spin_bound / 1000

    @spin.setter
    def spin(self, microseconds: float) -> None:
        self.spin_bound = to_spin(microseconds)

    @property
    def check_limits(self) -> bool:
        """bool: whether creating the first socket checks that the process has enough threads and file descriptors.

        Without the check (False), libzmq aborts the process if they are missing. Default True.
        """
        return not self.handle.unchecked

    @check_limits.setter
    def check_limits(self, value: bool) -> None:
        self.handle.unchecked = not value

    @property
    def tuned(self) -> bool:
        """bool: whether new sockets read and write up to 96 KiB per system call instead of libzmq's 8 KiB.

        It is always False if libzmq has no draft API.
        """
        return has_batch_sizes and not self.handle.untuned

    @tuned.setter
    def tuned(self, value: bool) -> None:
        if value and not has_batch_sizes:
            raise no_drafts("Context", NO_TYPE, "tuned=True")
        self.handle.untuned = not value

    @property
    @critical_section
    def underlying(self) -> int:
        """int: address of the libzmq context, for `shadow`."""
        self.handle.enter("underlying")
        return <size_t> self.handle.ending.handle

    @classmethod
    def shadow(cls, address: int | _HasUnderlying) -> Self:
        """Wrap an existing libzmq context, for example one of another library, without owning it.

        The end of the wrapper does not terminate the context. Neither does the end of a ``with`` block, which closes
        only the sockets made by the wrapper. `term` and `destroy` do terminate it.

        Parameters
        ----------
        address : int or object
            Address of the libzmq context, or an object with this address as its attribute `underlying`. The address is
            not validated: a wrong number can crash the process.

        Returns
        -------
        Context

        Raises
        ------
        ContextTerminated
            The context was terminated.
        ZMQError
            EFAULT: the context belongs to another copy of libzmq in this process, such as the one in pyzmq's wheels.

        Examples
        --------
        >>> shadow = zmqcy.Context.shadow(ctx.underlying)
        """
        cdef Context self = cls.__new__(cls)
        self._adopt(address)
        return self

    @critical_section
    def _adopt(self, address, keeping=True):
        """Make this object a shadow. If `keeping` is False, it does not keep a zmqcy context alive."""
        cdef ContextHandle handle = None
        cdef void *context = NULL
        if isinstance(address, Context):
            handle = (<Context> address).handle
        else:
            address = getattr(address, "underlying", address)
            if not isinstance(address, int) or address <= 0:
                raise TypeError(f"shadow: the address of a context must be a positive int, not {address!r}")
            context = <void *> <size_t> address
            if keeping:
                handle = context_with(context)
        if self.handle.ending is not NULL:
            raise RuntimeError("Context: already initialised; __init__ cannot be called twice")
        if handle is not None:
            handle.enter("shadow")
            self.handle = handle
        else:
            if is_foreign_context(context, <void *> zmq_ctx_get):  # libzmq would abort()
                raise error(errno.EFAULT, "shadow", NO_TYPE, hex(address), "the context was made by another libzmq")
            self.handle.ending = new_ending(context, self.handle)
            self.handle.ending.foreign = True
        self._is_shadow = True
        self.spin_bound = DEFAULT_SPIN

    def shutdown(self) -> None:
        """Wake all blocked calls on the sockets of this context, and make all later calls fail.

        The calls raise `ContextTerminated`. The sockets must still be closed. The call does not block. It may be called
        from any thread, and more than once.

        See Also
        --------
        term : terminate the context.
        destroy : close the sockets and terminate the context.
        """
        self.handle.shutdown()

    @critical_section
    def term(self, timeout: _Time = None) -> None:
        """Terminate the context (graceful shutdown).

        The call blocks until all sockets are closed, and their messages are sent or their `linger` has expired.
        Blocked calls in other threads raise `ContextTerminated`. If sockets are still open after one second, or have
        unsent messages and no `linger`, a RuntimeWarning names them. A second call has no effect.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. Default: wait indefinitely.

        Raises
        ------
        TimedOut
            The context did not end within `timeout`. It continues to end in the background: call `term` again to wait
            longer.

        See Also
        --------
        destroy : close the sockets first.
        shutdown : only wake blocked calls.
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
                reason = self._explain()
                detail = after(timeout, "term") + (f"; it waits for {reason}" if reason else "")
                raise errors.TimedOut(EAGAIN, call="term", detail=detail)
            elif not ending.warned and now() >= warning:
                ending.warned = True
                self._warn("term")

    def destroy(self, linger: _Time = None) -> None:
        """Close all sockets of the context, and terminate it.

        The call blocks until all messages are sent, or the `linger` of their sockets has expired. The end of a ``with``
        block calls `destroy`.

        Parameters
        ----------
        linger : int or timedelta, optional
            Time to keep unsent messages, in milliseconds. Default: the `linger` option of each socket.

        Raises
        ------
        SocketInUse
            Another thread was still in a call on a socket one second after `shutdown` had woken it.

        See Also
        --------
        term : terminate without closing the sockets.
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
                socket._note_end()  # before the close: another thread may call the socket as soon as it is closed
                try:
                    socket.close(linger)
                except BaseException:
                    socket._note_end(False)
                    raise
            if not sockets:  # another thread is dropping the last sockets
                with nogil:
                    nap()
        self.term()

    def _all_sockets(self):
        """Return the open sockets, except those that other threads are dropping."""
        return [] if self.handle.ending is NULL else sockets_of(self.handle.ending)

    def _open_sockets(self):
        """Return the open sockets of this context, including those made by its shadows."""
        with critical_section(self.handle):
            ends = list(self.handle.ends or ())
        return [socket for socket in self._all_sockets() if socket not in ends]

    def _end_soon(self):
        return self.handle.end_soon()

    def _has_ended(self):
        self.handle.has_ended()

    def _name_open(self):
        """Describe the open sockets: type, endpoint, and the user's line that made it if tracemalloc has its frame."""
        import os.path
        import tracemalloc
        package = os.path.dirname(errors.__file__)
        names = []
        for socket in self._open_sockets():
            name = repr(socket)
            for frame in reversed(tracemalloc.get_object_traceback(socket) or ()):
                if os.path.dirname(frame.filename) != package:
                    name += f" made at {frame}"
                    break
            names.append(name)
        return ", ".join(names)

    def _explain(self):
        """Describe why the context does not end: open sockets, or unsent messages of sockets without a linger."""
        names = self._name_open()
        if names:
            return f"open sockets; close them: {names}"
        if self.handle.ending.unlimited:
            last = self.handle.ending.last[:].decode("utf-8", "replace")
            return f"unsent messages: {last}; start the peer, or set linger to the maximum time to wait in milliseconds"
        return ""

    def _warn(self, call):
        """Warn that a call does not return, and why."""
        import warnings
        reason = self._explain()
        if reason:
            warnings.warn(f"Context.{call} waits for {reason}", RuntimeWarning, stacklevel=2)

    def __repr__(self):
        state = "closed" if self.closed else f"{len(self._open_sockets())} sockets"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state} at {id(self):#x}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Context: cannot be pickled or copied; make one per process, or use shadow() in this process")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __getattr__(self, name):
        known = getattr(type(self), name, None)  # its getter raised AttributeError: call it again for its message
        if hasattr(known, "__get__"):
            return known.__get__(self, type(self))
        raise unknown_attribute(self, name)


cdef int prepare_threads(ContextHandle context) except -1:
    """Raise if libzmq would abort when it starts its threads, which it does with the first socket.

    The GIL is not released: another thread could terminate and free the context meanwhile. Without a GIL the critical
    section of the handle prevents that.
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
        why = f"libzmq needs {need} file descriptors, but only {got} are left; raise the limit (ulimit -n)"
        raise error(EMFILE, "socket", NO_TYPE, f"io_threads={threads}", why)
    need = threads + 1  # the I/O threads, and the reaper thread, which closes sockets
    block_signals(&mask)
    got = probe_threads(need)
    code = try_schedule(&ending.schedule) if got == need and is_scheduled(ending) else 0
    restore_signals(&mask)
    if got < need:
        why = f"libzmq needs {need} threads, but only {got} can be started; raise the limit (ulimit -u)"
        raise error(ENOMEM, "socket", NO_TYPE, f"io_threads={threads}", why)
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
