"""The state of asyncio event loops, and the future of an operation that completes at once.

Each call of an asynchronous socket tries at once. If the operation completes, the call returns a `Done`, a future that
is already finished. Awaiting it does not yield to the event loop. Each `Loop` counts such operations, so that other
tasks are not starved.
"""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from zmqcy._system cimport now

import weakref
from collections import deque

cdef extern from "_system.h":
    void iterate_by "zmqcy_iterate_by"(
        object type, int (*send)(PyObject *, PyObject *, PyObject **) except -1) noexcept
    void make_only_here "zmqcy_make_only_here"(object type) noexcept

cdef enum:
    LONGEST = 100000  # max nanoseconds of operations that complete at once, before the loop gets an iteration

# ---------------------------------------------------------------------------------------------------------- event loops

cdef double ATTENTION = 1  # seconds between two reads of the events of a socket that no task waits for
cdef object running_loop = None  # asyncio._get_running_loop, once asyncio is imported
cdef object loops = weakref.WeakValueDictionary()  # Loops by the id of their event loop, which they reference


cdef object current_loop():
    """Return the asyncio event loop that runs in this thread, or None."""
    global running_loop
    if running_loop is None:
        from asyncio import _get_running_loop
        running_loop = _get_running_loop
    return running_loop()


#: def call_soon(loop: AbstractEventLoop, function: Callable[[], object]) -> int: ...
cpdef int call_soon(object loop, object function) except -1:
    """Schedule a function in a loop, from any thread. Do nothing if the loop is closed. Return 0."""
    try:
        if current_loop() is loop:
            loop.call_soon(function)
        else:
            loop.call_soon_threadsafe(function)
    except RuntimeError:
        if not loop.is_closed():
            raise
    return 0


@cython.final
cdef class Loop:
    def __cinit__(self, loop):
        self.loop = self.selector = loop
        self.readers = {}
        self.attended = set()
        self.after_turn = deque()

    cdef bint long_run(self) except -1:
        """Return whether operations that completed at once have used up the time of this event-loop iteration."""
        cdef nsec elapsed
        if not self.armed:
            self.armed = True
            self.first = self.look = self.count
            self.began = now()
            self.loop.call_soon(self._turned)
            return False
        if self.count < self.look:
            return False
        elapsed = now() - self.began
        if elapsed >= LONGEST:
            return True
        # Read the clock again after about half of the remaining time, estimated from the work so far.
        self.look = self.count + min((LONGEST - elapsed) * (self.count - self.first) // (2 * elapsed + 2), 128) + 1
        return False

    def _turned(self):
        cdef Py_ssize_t left = len(self.after_turn)  # entries that are added meanwhile are for the next iteration
        self.armed = False
        self.count = 0
        try:
            while left:
                left -= 1
                function, argument = self.after_turn.popleft()
                function(argument)
        finally:
            if left:  # interrupted by Ctrl-C
                self.loop.call_soon(self._turned)

    cdef int add_reader(self, int fd, object callback) except -1:
        """Call a function while a file descriptor is readable. (asyncio accepts only one function for each.)"""
        if fd in self.readers:
            self.readers[fd].append(callback)
            return 0
        try:
            self.selector.add_reader(fd, self._ready, fd)
        except NotImplementedError:
            from zmqcy._watcher import Watcher
            self.selector = Watcher(self.loop)
            self.selector.add_reader(fd, self._ready, fd)
        self.readers[fd] = [callback]
        return 0

    cdef int remove_reader(self, int fd, object callback) except -1:
        cdef list callbacks = self.readers.get(fd)
        if callbacks is not None and callback in callbacks:
            callbacks.remove(callback)
            if not callbacks:
                del self.readers[fd]
                self.selector.remove_reader(fd)
        return 0

    def _ready(self, fd):
        cdef list callbacks = self.readers.get(fd)
        if callbacks is not None:
            for callback in callbacks if len(callbacks) == 1 else list(callbacks):
                callback()

    cdef int attend(self, object socket) except -1:
        """Read the events of a socket regularly. This keeps neither the socket nor the loop alive."""
        self.attended.add(weakref.ref(socket))
        if not self.ticking:
            self.ticking = True
            self.loop.call_later(ATTENTION, _tick, weakref.ref(self))
        return 0

    def _tick(self):
        for reference in list(self.attended):
            socket = reference()
            if socket is None or not socket._attended_by(self):
                self.attended.discard(reference)
        self.ticking = len(self.attended) > 0
        if self.ticking:
            self.loop.call_later(ATTENTION, _tick, weakref.ref(self))


def _tick(reference):
    cdef Loop loop = reference()
    if loop is not None:
        loop._tick()


cdef object event_loop(Loop loop):
    """Return the asyncio event loop in which an operation was started."""
    if loop is None:
        raise RuntimeError("get_loop: the operation was not started in an asyncio event loop")
    return loop.loop


cdef Loop loop_of(object running):
    cdef Loop loop = loops.get(id(running))
    if loop is None:
        loop = Loop(running)
        loops[id(running)] = loop
    return loop


def watch(int fd, callback: Callable[[], object]) -> tuple[object, int, Callable[[], object]]:
    """Call a function in the running loop while a file descriptor is readable. Return an argument for `unwatch`."""
    cdef Loop loop
    loop = loop_of(current_loop())
    loop.add_reader(fd, callback)
    return loop, fd, callback


def unwatch(watched: tuple[object, int, Callable[[], object]]) -> None:
    cdef Loop loop = watched[0]
    loop.remove_reader(watched[1], watched[2])


# ------------------------------------------------------------------------------------------------- completed futures

# mypy: disable-error-code="assignment, override, type-var"
# pyright: reportInvalidTypeArguments=false
# The type of the object that a call returns: a Done, an Operation or, if it failed at once, a Future of the loop.
# `asyncio.isfuture` returns True for all three, and its TypeIs is asyncio.Future. As a subclass of it, and not a
# protocol, the type is accepted by functions that take futures, such as asyncio.wait. It is covariant, as asyncio.Task
# is, because callers cannot set the result.
#: _T_co = TypeVar("_T_co", covariant=True)
#: @type_check_only
#: class _Future(Future[_T_co]):
#:     def set_result(self, result: Never, /) -> None: ...
#:     def set_exception(self, exception: Never, /) -> None: ...
#:     __iter__: None  # or `for part in socket.recv_multipart()` would pass without `await`
#: @final
#: class Done(_Future[_T_co]): ...
@cython.final
@cython.freelist(64)
cdef class Done:
    """The future of an operation that has completed at once. Awaiting it does not yield to the event loop."""

    _asyncio_future_blocking = False

    def done(self):
        """Return True."""
        return True

    def cancelled(self):
        """Return False."""
        return False

    def cancel(self, msg=None):
        """Return False: a completed operation cannot be cancelled."""
        return False

    def result(self):
        """Return the result."""
        return self.value

    def exception(self):
        """Return None."""
        return None

    def get_loop(self):
        """Return the event loop in which the operation was started."""
        return event_loop(self.loop)

    def add_done_callback(self, fn, /, *, context=None):
        """Call a function with this object in the next event-loop iteration."""
        event_loop(self.loop).call_soon(fn, self, context=context)

    def remove_done_callback(self, fn, /):
        """Return 0: callbacks are scheduled at once and cannot be removed."""
        return 0

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise NotImplementedError  # see define_future

    def __repr__(self):
        return f"<Done {self.value!r:.80}>"


cdef Done finished(Loop loop, object value):
    cdef Done done = Done.__new__(Done)
    done.loop = loop
    done.value = value
    return done


cdef int send_to_done(PyObject *done, PyObject *value, PyObject **result) except -1:
    result[0] = <PyObject *> (<Done> done).value
    Py_INCREF((<Done> done).value)
    return PYGEN_RETURN


cdef int define_future(object type, int (*send)(PyObject *, PyObject *, PyObject **) except -1) except -1:
    """Forbid Python code to create objects of a type and, unless `send` is NULL, set its `am_send` slot."""
    if send is not NULL:
        iterate_by(type, send)
    make_only_here(type)
    return 0


define_future(Done, send_to_done)
