"""Event loops of asyncio as sockets need them, and the future of what did not have to wait.

A call tries at once. Where that ends the operation it returns a `Done`, a future that has always been finished:
awaiting it does not go to the loop. So that the loop turns all the same, each `Loop` counts such operations.
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
    LONGEST = 100000  # nanoseconds that work may take which does not wait, before the loop turns

# ---------------------------------------------------------------------------------------------------------- event loops

cdef double ATTENTION = 1  # seconds between two looks at a socket that nobody waits for
cdef object running_loop = None  # asyncio's function of that purpose, once it is imported
cdef object loops = weakref.WeakValueDictionary()  # by id of the loop, which each of them keeps


cdef object current_loop():
    """Return the event loop of asyncio that runs in this thread, or None."""
    global running_loop
    if running_loop is None:
        from asyncio import _get_running_loop
        running_loop = _get_running_loop
    return running_loop()


#: def call_soon(loop: AbstractEventLoop, function: Callable[[], object]) -> int: ...
cpdef int call_soon(object loop, object function) except -1:
    """Have a function called by a loop, from whatever thread this is; by a closed one nothing is."""
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
        """Tell whether operations that did not wait have kept the loop from turning for long enough."""
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
        # At half of the way that is left, by what the work has taken so far.
        self.look = self.count + min((LONGEST - elapsed) * (self.count - self.first) // (2 * elapsed + 2), 128) + 1
        return False

    def _turned(self):
        cdef Py_ssize_t left = len(self.after_turn)  # what comes meanwhile is for the next turn
        self.armed = False
        self.count = 0
        try:
            while left:
                left -= 1
                function, argument = self.after_turn.popleft()
                function(argument)
        finally:
            if left:  # Ctrl-C
                self.loop.call_soon(self._turned)

    cdef int add_reader(self, int fd, object callback) except -1:
        """Have a function called while a descriptor is readable; a loop itself takes but one for each."""
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
        """Read the events of a socket now and then. That keeps neither it nor the loop from their end."""
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
    """Return the loop of asyncio in which an operation was made."""
    if loop is None:
        raise RuntimeError("the operation is of no event loop of asyncio")
    return loop.loop


cdef Loop loop_of(object running):
    cdef Loop loop = loops.get(id(running))
    if loop is None:
        loop = Loop(running)
        loops[id(running)] = loop
    return loop


def watch(int fd, callback: Callable[[], object]) -> tuple[object, int, Callable[[], object]]:
    """Have a function called by the running loop while a descriptor is readable. Return what `unwatch` takes."""
    cdef Loop loop
    loop = loop_of(current_loop())
    loop.add_reader(fd, callback)
    return loop, fd, callback


def unwatch(watched: tuple[object, int, Callable[[], object]]) -> None:
    cdef Loop loop = watched[0]
    loop.remove_reader(watched[1], watched[2])


# -------------------------------------------------------------------------------------------------- what has ended

# mypy: disable-error-code="assignment, override, type-var"
# pyright: reportInvalidTypeArguments=false
# What an operation returns: a Done, an Operation or, where it failed at once, a Future of the loop. `asyncio.isfuture`
# is true of all three, and asyncio.Future is the type of what it is true of. By it, and not by a protocol, they fit
# where futures are asked for, as in asyncio.wait. It is covariant as asyncio.Task is: nobody can set the result.
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
    """A future that was finished from the beginning: what an operation returns that did not have to wait."""

    _asyncio_future_blocking = False

    def done(self):
        """Return True."""
        return True

    def cancelled(self):
        """Return False."""
        return False

    def cancel(self, msg=None):
        """Return False: what is done cannot be cancelled."""
        return False

    def result(self):
        """Return the result."""
        return self.value

    def exception(self):
        """Return None."""
        return None

    def get_loop(self):
        """Return the event loop in which the operation was made."""
        return event_loop(self.loop)

    def add_done_callback(self, fn, /, *, context=None):
        """Have a function called by the loop soon, with this object."""
        event_loop(self.loop).call_soon(fn, self, context=context)

    def remove_done_callback(self, fn, /):
        """Return 0: no callback waits here."""
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
    """Let nobody else make objects of a type and, unless `send` is NULL, have it await them, as `am_send` does."""
    if send is not NULL:
        iterate_by(type, send)
    make_only_here(type)
    return 0


define_future(Done, send_to_done)
