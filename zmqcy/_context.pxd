# The C side of contexts.

from zmqcy._handle cimport Ending
from zmqcy._system cimport nsec


cdef class Context:
    cdef object __weakref__
    cdef Ending *ending
    cdef bint is_shadow
    cdef Context original  # what a shadow is of, where that is a context of ours
    cdef nsec spin_bound   # of new sockets
    cdef bint unchecked    # whether the first socket finds out what libzmq's threads need
    cdef object woken      # the other end of the waker
    cdef list ends         # sockets that libzmq will write to when others are gone
    cdef set bound         # names of inproc that its sockets have
    cdef set waiting       # those that its sockets have connected to, and nobody had bound

    cdef int enter(self, str call) except -1
    cdef Context root(self)
    cdef int warn_open(self) except -1
    cdef int note_bind(self, bytes name) except -1
    cdef int note_connect(self, bytes name) except -1
    cdef int note_unbind(self, object names) except -1
    cdef int let_waiting_go(self) except -1
    cdef bint end_unless_open(self) except -1
    cdef int begin_end(self) except -1
    cdef int drop_ends(self) except -1


cdef int prepare_threads(Context context) except -1
cdef char kind_of(object option) except -1


cdef class Property:
    cdef int number
    cdef char kind
    cdef bint readable
    cdef bint writable
    cdef readonly str name
    cdef readonly object option

    cdef str describe(self)
    cdef int unreadable(self) except -1
    cdef int unwritable(self) except -1
