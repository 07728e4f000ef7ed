# The path of a message, for the other extension modules, which inline the first attempts. None instead of a message,
# and 0 instead of a number, say with QUIET and PROBE that it would wait.

from zmqcy._base cimport NativeSocket, enter
from zmqcy._handle cimport Handle, Signaler, Stats, count
from zmqcy._message cimport Frame, MessageTracker, new_frame, take
from zmqcy._system cimport nsec, pollfd
from zmqcy.libzmq cimport (
    ZMQ_DONTWAIT, ZMQ_SNDMORE, zmq_errno as last_errno, zmq_msg_close, zmq_msg_init, zmq_msg_more, zmq_msg_recv,
    zmq_msg_size, zmq_msg_t, zmq_send)


cdef enum:
    # Flags in addition to ZMQ_DONTWAIT:
    QUIET = 1 << 30  # return instead of raising Again
    PROBE = 1 << 29  # the same, and do not count it: the caller waits
    LOST = -1        # what was sent of a message is dropped, and so is the part that was to be sent


cdef struct Part:
    # A part that is to be sent: bytes to be copied or, where `message` is not NULL, a message that was made of them.
    const char *data
    size_t size
    zmq_msg_t *message
    bint last              # of those that go together or not at all


cdef struct Batch:
    Part *parts
    Py_ssize_t count       # of parts
    Py_ssize_t following   # the first part that has not been sent
    Py_ssize_t sent        # messages, or runs of parts that go together
    Py_ssize_t counted     # of them, by the counters of the socket
    size_t size            # bytes of the others that were sent
    int more               # ZMQ_SNDMORE: the last one goes on after these parts; 0 otherwise


cdef struct Wanted:
    # How much to receive at once. It never ends within a message.
    Py_ssize_t most        # parts or, if `whole`, messages
    Py_ssize_t most_bytes  # after which no other message begins
    bint whole
    bint nested            # return a list for each message
    bint framed            # return Frames


cdef struct Catch:
    # Parts that were received, and how many are wanted.
    zmq_msg_t *parts
    Py_ssize_t count
    Py_ssize_t room        # more than FEW: `parts` was allocated
    bint more              # of the same message follow
    bint parted            # some message has several parts
    Wanted wanted          # what is still to come


cdef int sleep_on(
    pollfd *items, unsigned long length, int milliseconds, nsec spin, bint *eager, Handle handle,
    int wanted) noexcept nogil
cdef int send_whole(
    void *socket, int traits, int *begun, Part *parts, zmq_msg_t *messages, Py_ssize_t length, int more,
    bint tried) noexcept nogil
cdef void find_full(Handle handle, int more) noexcept nogil


cdef inline Wanted one_message(bint framed) noexcept:
    return Wanted(1, 1, True, False, framed)


cdef inline void caught(Catch *haul, size_t size) noexcept nogil:
    # Count the part of so many bytes that was just received.
    haul.more = zmq_msg_more(&haul.parts[haul.count])
    haul.parted |= haul.more
    haul.wanted.most -= not haul.wanted.whole or not haul.more
    haul.wanted.most_bytes -= size
    haul.count += 1


cdef inline bint is_enough(const Catch *haul) noexcept nogil:
    return not haul.more and (haul.wanted.most <= 0 or haul.wanted.most_bytes <= 0)


cdef Frame to_addressed(NativeSocket socket, object data, object routing_id, object group, object copy, str call)
cdef list to_message(object parts, str call)
cdef list to_messages(object messages, bint nested, object flags, str call, list ends)
cdef list ONE_EACH  # the ends of messages of one part
cdef Py_ssize_t put_parts(
    NativeSocket socket, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
    str call) except -1
cdef Py_ssize_t put_part(
    NativeSocket socket, object data, int flags, object copy, MessageTracker tracker, object timeout,
    str call) except -1
cdef int would_block(NativeSocket socket, int flags, nsec waited, str call) except -1
cdef nsec deadline_of(NativeSocket socket, object timeout, int option, str call) except -2

cdef object to_target(object buffer, str call, object place)
cdef list to_targets(object buffers, str call)
cdef size_t to_room(object target, object nbytes, str call) except? 0
cdef object fetch_into(NativeSocket socket, object target, size_t room, int flags, object timeout, str call)
cdef list fetch_multipart_into(NativeSocket socket, list targets, int flags, object timeout, str call)
cdef Wanted to_wanted(object limit, object max_bytes, bint nested, str call) except *
cdef list gather(NativeSocket socket, Wanted wanted, int flags, object timeout, str call)
cdef int complete(
    NativeSocket socket, Batch *batch, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1
cdef int carry_out(
    Handle handle, Batch *batch, zmq_msg_t *msg, short wanted, nsec deadline, bint waiting) noexcept
cdef object put_tracked(
    NativeSocket socket, object message, int flags, object copy, object track, object timeout, str call)
cdef object put_many(NativeSocket socket, object messages, bint nested, object flags, object timeout, str call)
cdef object keep_waiting(NativeSocket socket, zmq_msg_t *msg, str call)


cdef inline bint put_quickly(NativeSocket socket, const char *data, size_t size, int flags) noexcept:
    # Send one part that is short at once, if that can be. Comes after `enter`.
    if size >= socket.handle.quick_size:
        return False
    if zmq_send(socket.handle.socket, data, size, flags & ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0:
        find_full(socket.handle, flags & ZMQ_SNDMORE)
        return False
    cdef Stats *stats = &socket.handle.stats
    cdef int exclusive = socket.handle.exclusive
    socket.handle.asked = True
    socket.handle.begun = flags & ZMQ_SNDMORE
    count(exclusive, &stats.bytes_sent, size)
    count(exclusive, &stats.messages_sent, not flags & ZMQ_SNDMORE)
    return True


cdef inline void count_in(NativeSocket socket, size_t size, bint more) noexcept:
    cdef Stats *stats = &socket.handle.stats
    cdef int exclusive = socket.handle.exclusive
    socket.handle.more = more
    count(exclusive, &stats.bytes_received, size)
    count(exclusive, &stats.messages_received, not more)


cdef inline int get(NativeSocket socket, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
    # Receive one part into an initialised message. Return 1, or 0 where it would wait and the flags have QUIET.
    enter(socket, call)
    if socket.handle.held is not NULL:
        socket.handle.unhold(msg)
        return 1
    if socket.handle.asked and socket.handle.answers_soon and not flags & ZMQ_DONTWAIT:
        if socket.handle.stats.messages_received % 32:  # or it finds out whether that is still so
            return complete(socket, NULL, msg, flags, timeout, call, 0)
    if zmq_msg_recv(msg, socket.handle.socket, ZMQ_DONTWAIT) >= 0:
        socket.handle.asked = socket.handle.answers_soon = False
        return 1
    return complete(socket, NULL, msg, flags, timeout, call, last_errno())


cdef inline object keep(NativeSocket socket, zmq_msg_t *msg, str call):
    # Make bytes of a part that was received, and close it; where there is no memory, it waits.
    cdef size_t size = zmq_msg_size(msg)
    data = take(msg, size)
    if data is None:
        return keep_waiting(socket, msg, call)
    count_in(socket, size, zmq_msg_more(msg))
    <void> zmq_msg_close(msg)
    return data


cdef inline object fetch(NativeSocket socket, int flags, object copy, object timeout, str call):
    # Receive one part as bytes or, without `copy`, as a Frame. None: it would wait, and the flags have QUIET.
    cdef zmq_msg_t msg
    cdef Frame frame
    if copy is not True and not copy:
        frame = new_frame(socket.frames)
        if not get(socket, &frame.msg, flags, timeout, call):
            return None
        count_in(socket, zmq_msg_size(&frame.msg), zmq_msg_more(&frame.msg))
        return frame
    <void> zmq_msg_init(&msg)
    return keep(socket, &msg, call) if get(socket, &msg, flags, timeout, call) else None
