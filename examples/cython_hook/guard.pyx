"""A device hook in C. It drops requests that are too large, and appends a `!` to the others."""

from libc.stdint cimport uint64_t

from zmqcy cimport DROP, FORWARD, FRONT_TO_BACK, Direction, Hook
from zmqcy.libzmq cimport zmq_errno, zmq_msg_close, zmq_msg_data, zmq_msg_init_size, zmq_msg_size, zmq_msg_t


cdef struct Limits:
    size_t largest
    uint64_t dropped


cdef int look(void *user, zmq_msg_t *parts, int *count, Direction direction) noexcept nogil:
    cdef Limits *limits = <Limits *> user
    cdef zmq_msg_t marked
    cdef zmq_msg_t *last = &parts[count[0] - 1]  # the first part may be a routing id
    cdef size_t i, size = zmq_msg_size(last)
    if direction != FRONT_TO_BACK:
        return FORWARD
    if size > limits.largest:
        limits.dropped += 1
        return DROP
    if zmq_msg_init_size(&marked, size + 1) < 0:
        return zmq_errno()  # stops the device; the message is returned to its source
    for i in range(size):
        (<char *> zmq_msg_data(&marked))[i] = (<char *> zmq_msg_data(last))[i]
    (<char *> zmq_msg_data(&marked))[size] = c"!"
    <void> zmq_msg_close(last)
    last[0] = marked  # messages are moved by value
    return FORWARD


cdef class Guard(Hook):
    cdef Limits limits

    def __cinit__(self, largest):
        self.limits.largest = largest
        self.function = look
        self.user = &self.limits

    @property
    def dropped(self):
        return self.limits.dropped
