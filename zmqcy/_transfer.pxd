# What moves messages and waits, for the other extension modules.

from zmqcy._context cimport Signaler, SocketRecord
from zmqcy._system cimport nsec, pollfd
from zmqcy.libzmq cimport zmq_msg_more, zmq_msg_t


cdef enum:
    LOST = -1  # what was sent of a message is dropped, and so is the part that was to be sent


cdef struct Part:
    # A part that is to be sent: bytes to be copied or, where `message` is not NULL, a message that was made of them.
    const char *data
    size_t size
    zmq_msg_t *message
    int flags              # ZMQ_SNDMORE or 0
    bint last              # of those that go together or not at all


cdef struct Batch:
    Part *parts
    Py_ssize_t count       # of parts
    Py_ssize_t following   # the first part that has not been sent
    Py_ssize_t sent        # messages, or runs of parts that go together


cdef struct Catch:
    # Parts that were received, and how many are wanted.
    zmq_msg_t *parts
    Py_ssize_t count
    Py_ssize_t room
    bint grown             # `parts` was allocated
    bint more              # of the same message follow
    bint parted            # some message has several parts
    Py_ssize_t taken       # since the beginning: parts or, if `whole`, messages
    Py_ssize_t limit
    bint whole


cdef int make_signaler(Signaler *signaler, void *handle) noexcept nogil
cdef int events_of(void *handle, int *events) noexcept nogil
cdef int sleep_on(
    pollfd *items, unsigned long count, int milliseconds, nsec spin, bint *eager, SocketRecord *record,
    int wanted) noexcept nogil
cdef int wait_on(SocketRecord *record, short wanted, nsec deadline) noexcept nogil
cdef int wait_for(SocketRecord *record, short wanted, nsec deadline) noexcept nogil
cdef int take_back(void *handle, int type, Py_ssize_t left) noexcept nogil
cdef void lose(SocketRecord *record, Py_ssize_t left) noexcept nogil
cdef int transmit(SocketRecord *record, Batch *batch, nsec deadline) noexcept nogil
cdef int receive(SocketRecord *record, zmq_msg_t *msg, nsec deadline) noexcept nogil
cdef int make_room(Catch *haul, Py_ssize_t room) noexcept nogil
cdef int catch_more(void *handle, Catch *haul) noexcept nogil


cdef inline void caught(Catch *haul) noexcept nogil:
    # Count the part that was just received.
    haul.more = zmq_msg_more(&haul.parts[haul.count])
    haul.parted |= haul.more
    haul.taken += not haul.whole or not haul.more
    haul.count += 1
