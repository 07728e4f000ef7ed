# How a message goes out and comes in, for the other extension modules. None instead of a message, and 0 instead of a
# number, say with QUIET and PROBE that it would wait.

from libc.errno cimport EAGAIN

from zmqcy._base cimport BaseSocket
from zmqcy._message cimport Frame, MessageTracker
from zmqcy._system cimport nsec
from zmqcy._transfer cimport lose
from zmqcy.libzmq cimport ZMQ_DONTWAIT, ZMQ_SNDMORE, zmq_errno as last_errno, zmq_send

cdef enum:
    # Beside ZMQ_DONTWAIT:
    QUIET = 1 << 30  # return instead of raising Again
    PROBE = 1 << 29  # the same, and do not count it: the caller waits


cdef class Socket(BaseSocket):
    pass


cdef inline bint put_quickly(BaseSocket socket, const char *data, size_t size, int flags) noexcept:
    # Send one part that is short at once, if that can be. Comes after `enter`.
    if size >= socket.quick_size:
        return False
    if zmq_send(socket.record.handle, data, size, flags & ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0:
        if socket.record.begun and last_errno() == EAGAIN:
            lose(&socket.record, flags & ZMQ_SNDMORE != 0)
        return False
    socket.record.asked = True
    socket.record.begun = flags & ZMQ_SNDMORE
    socket.record.stats.bytes_sent += size
    socket.record.stats.messages_sent += not flags & ZMQ_SNDMORE
    return True


cdef Frame to_addressed(BaseSocket socket, object data, object routing_id, object group, object copy, str call)
cdef list to_message(object parts, str call)
cdef list to_messages(object messages, bint nested, object flags, str call, list ends)
cdef list ONE_EACH  # the ends of messages of one part
cdef Py_ssize_t put_parts(
    BaseSocket socket, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
    str call) except -1
cdef int would_block(BaseSocket socket, int flags, nsec waited, str call) except -1
cdef nsec deadline_of(BaseSocket socket, object timeout, int option, str call) except -2

cdef object to_target(object buffer, str call, object place)
cdef list to_targets(object buffers, str call)
cdef size_t to_room(object target, object nbytes, str call) except? 0
cdef object fetch(BaseSocket socket, int flags, object copy, object timeout, str call)
cdef object fetch_into(BaseSocket socket, object target, size_t room, int flags, object timeout, str call)
cdef list fetch_multipart_into(BaseSocket socket, list targets, int flags, object timeout, str call)
cdef list gather(
    BaseSocket socket, Py_ssize_t limit, bint whole, bint nested, bint framed, int flags, object timeout, str call)
