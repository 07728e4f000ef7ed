# C declarations of contexts.

from zmqcy._handle cimport ContextHandle
from zmqcy._options cimport ContextOptions
from zmqcy._system cimport nsec


cdef class Context(ContextOptions):
    cdef object __weakref__
    cdef readonly bint _is_shadow
    cdef nsec spin_bound   # default of new sockets


cdef bint has_batch_sizes  # whether libzmq has the options in_batch_size and out_batch_size


cdef int prepare_threads(ContextHandle context) except -1
