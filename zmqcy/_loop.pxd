# Event loops of asyncio, and futures, for the modules above.

from cpython.object cimport PyObject

from zmqcy._system cimport nsec

cdef extern from "Python.h":
    int PYGEN_RETURN
    int PYGEN_NEXT


cdef class Loop:
    # An event loop of asyncio, and how much its sockets have done since it turned.
    cdef object __weakref__
    cdef readonly object loop
    cdef object selector   # what watches descriptors: the loop or, where it cannot, a thread of ours
    cdef object sign       # of its running, in the state of its thread
    cdef int count         # work since it turned that did not have to wait
    cdef int first         # the count when
    cdef nsec began        # the clock was started
    cdef int look          # the count at which to look at the clock again
    cdef bint armed        # `_turned` is to be called by the loop
    cdef object after_turn  # a deque of pairs of a function and an argument: what it calls
    cdef set attended      # weak references to the sockets whose events are read though nobody waits
    cdef bint ticking      # and the timer for that runs

    cdef bint long_run(self) except -1
    cdef dict readers      # by descriptor: lists of functions

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
