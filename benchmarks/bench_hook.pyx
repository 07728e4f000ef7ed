"""A hook that does nothing, to measure the overhead of a hook. bench_device.py builds it."""

from zmqcy._proxy cimport FORWARD, Direction, Hook
from zmqcy.libzmq cimport zmq_msg_t


cdef int look(void *user, zmq_msg_t *parts, int *count, Direction direction) noexcept nogil:
    return FORWARD


cdef class Nothing(Hook):
    def __cinit__(self):
        self.function = look
