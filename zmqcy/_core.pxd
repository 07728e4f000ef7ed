# Sending and receiving, for the other extension modules, which inline the first attempts. With QUIET and PROBE a
# function returns None instead of a message, or 0 instead of a number, if the call would block.

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
    PROBE = 1 << 29  # as QUIET, without counting it in `would_blocks`: the caller waits
    LOST = -1        # libzmq has dropped the parts already sent; the next part is dropped too


cdef struct Part:
    # A part to send: bytes to copy or, if `message` is not NULL, a message that already contains them.
    const char *data
    size_t size
    zmq_msg_t *message
    bint last              # of its message


cdef struct Batch:
    Part *parts
    Py_ssize_t count       # of parts
    Py_ssize_t following   # the first part that has not been sent
    Py_ssize_t sent        # messages that were sent
    Py_ssize_t counted     # sent messages that the socket's counters already include
    size_t size            # bytes of the sent messages that are not yet counted
    int more               # ZMQ_SNDMORE if a later call sends the rest of the last message; otherwise 0


cdef struct Wanted:
    # The bounds of a batch. A batch ends only at the end of a message.
    Py_ssize_t most        # max parts or, if `whole`, messages
    Py_ssize_t most_bytes  # no further message is received after this many bytes
    bint whole
    bint nested            # return a list for each message
    bint framed            # return Frames


cdef struct Catch:
    # Received parts, and how many are still wanted.
    zmq_msg_t *parts
    Py_ssize_t count
    Py_ssize_t room        # capacity of `parts`, which is on the heap if larger than FEW
    bint more              # the last part is followed by another part of its message
    bint parted            # some message has several parts
    Wanted wanted          # the remaining bounds


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
    # Record the part of `size` bytes that was just received.
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
cdef list ONE_EACH  # passed as `ends`: each message has one part
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
    # Try to send one short part without blocking. Return whether it was sent. Call `enter` first.
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
    # Receive one part into an initialised message. Return 1, or 0 if the call would block and the flags have QUIET.
    enter(socket, call)
    if socket.handle.held is not NULL:
        socket.handle.unhold(msg)
        return 1
    if socket.handle.asked and socket.handle.answers_soon and not flags & ZMQ_DONTWAIT:
        if socket.handle.stats.messages_received % 32:  # every 32nd receive tests again whether answers are fast
            return complete(socket, NULL, msg, flags, timeout, call, 0)
    if zmq_msg_recv(msg, socket.handle.socket, ZMQ_DONTWAIT) >= 0:
        socket.handle.asked = socket.handle.answers_soon = False
        return 1
    return complete(socket, NULL, msg, flags, timeout, call, last_errno())


cdef inline object keep(NativeSocket socket, zmq_msg_t *msg, str call):
    # Convert a received part to bytes, and close it. If there is no memory, hold it for the next receive.
    cdef size_t size = zmq_msg_size(msg)
    data = take(msg, size)
    if data is None:
        return keep_waiting(socket, msg, call)
    count_in(socket, size, zmq_msg_more(msg))
    <void> zmq_msg_close(msg)
    return data


cdef inline object fetch(NativeSocket socket, int flags, object copy, object timeout, str call):
    # Receive one part as bytes or, if `copy` is false, as a Frame. None: it would block, and the flags have QUIET.
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
