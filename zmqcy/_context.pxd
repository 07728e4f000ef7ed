# The C side of contexts.

from zmqcy._handle cimport ContextHandle
from zmqcy._system cimport nsec


cdef class Context:
    cdef object __weakref__
    cdef ContextHandle handle
    cdef readonly bint _is_shadow
    cdef nsec spin_bound   # of new sockets

    cdef int warn_open(self) except -1


cdef int prepare_threads(ContextHandle context) except -1
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
