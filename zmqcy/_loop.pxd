# The state of asyncio event loops, and completed futures, for other extension modules.

from cpython.object cimport PyObject

from zmqcy._system cimport nsec

cdef extern from "Python.h":
    int PYGEN_RETURN
    int PYGEN_NEXT


cdef class Loop:
    # An asyncio event loop, and how many operations have completed at once since its last iteration.
    cdef object __weakref__
    cdef readonly object loop
    cdef object selector   # watches file descriptors: the loop or, if it cannot, a `Watcher` with a thread
    cdef object sign       # the object in the thread's state that shows that the loop runs
    cdef int count         # work that completed at once in this iteration
    cdef int first         # `count` at the time `began`
    cdef nsec began        # when the clock was started
    cdef int look          # the `count` at which the clock is read again
    cdef bint armed        # the loop will call `_turned`
    cdef object after_turn  # a deque of pairs (function, argument), which `_turned` calls
    cdef set attended      # weak references to sockets whose events are read regularly although no task waits
    cdef bint ticking      # the timer for `attended` runs

    cdef bint long_run(self) except -1
    cdef dict readers      # lists of functions, by file descriptor

    cdef int add_reader(self, int fd, object callback) except -1
    cdef int remove_reader(self, int fd, object callback) except -1
    cdef int attend(self, object socket) except -1


cdef class Done:
    cdef object value
    cdef Loop loop


cdef object current_loop()
cdef object event_loop(Loop loop)
cdef Loop loop_of(object running)
cpdef int call_soon(object loop, object function) except -1
cdef Done finished(Loop loop, object value)
cdef int define_future(object type, int (*send)(PyObject *, PyObject *, PyObject **) except -1) except -1
