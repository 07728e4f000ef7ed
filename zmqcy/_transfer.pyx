"""Moving messages and waiting, in plain C: what a socket does without the GIL.

Nothing here knows of Python. A function returns 0 or an errno; EAGAIN says that the time is up, EINTR that the caller
is to look for signals and to call again.
"""

from libc.errno cimport EAGAIN, EHOSTUNREACH, EINTR, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from zmqcy._context cimport Signaler, SocketRecord
from zmqcy._library cimport remaining, slice_of
from zmqcy._system cimport POLLIN, count_up, drain, now, nsec, poll, pollfd, yield_processor
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_DEALER, ZMQ_DGRAM, ZMQ_DONTWAIT, ZMQ_EVENTS, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_PUSH, ZMQ_REQ, ZMQ_SNDMORE,
    zmq_errno as last_errno, zmq_fd_t, zmq_getsockopt, zmq_msg_close, zmq_msg_copy, zmq_msg_init, zmq_msg_recv,
    zmq_msg_send, zmq_msg_t, zmq_poller_add, zmq_poller_destroy, zmq_poller_fd, zmq_poller_new, zmq_send)

cdef enum:
    SIGNAL_CHECK = 100000000  # nanoseconds
    SHORT_WAIT = 4            # times the spin: a wait that was no longer makes the next one try first


cdef int events_of(void *handle, int *events) noexcept nogil:
    """Read ZMQ_EVENTS, which also makes libzmq look at its commands now. Return 0 or an errno."""
    cdef size_t size = sizeof(int)
    if zmq_getsockopt(handle, ZMQ_EVENTS, events, &size) < 0:
        return last_errno()
    return 0


cdef int make_signaler(Signaler *signaler, void *handle) noexcept nogil:
    """Have a descriptor that tells of a thread-safe socket what comes from now on. Return 0 or an errno."""
    cdef void *poller
    cdef zmq_fd_t fd = 0
    cdef int number
    if <void *> zmq_poller_new is NULL or <void *> zmq_poller_fd is NULL:
        return ENOTSUP
    poller = zmq_poller_new()
    if (
        poller is NULL or zmq_poller_add(poller, handle, NULL, <short> (ZMQ_POLLIN | ZMQ_POLLOUT)) < 0
        or zmq_poller_fd(poller, &fd) < 0
    ):
        number = last_errno()
        if poller is not NULL:
            <void> zmq_poller_destroy(&poller)
        return number
    signaler.poller = poller
    signaler.fd = <int> fd
    return 0


cdef int sleep_on(
        pollfd *items, unsigned long count, int milliseconds, nsec spin, bint *eager, SocketRecord *record,
        int wanted) noexcept nogil:
    """Wait as poll() does, with a time of 0 or more; `record`: for some of the events of one socket.

    Where the last wait was short, it is tried for a while before the thread sleeps, for to be woken costs more than
    that; `sched_yield` lets libzmq's own threads run meanwhile. Of a single socket the events are read then, which the
    call that waits would do next.
    """
    cdef nsec start, limit, spent = 0
    cdef int rc, events
    if spin == 0:
        return poll(items, count, milliseconds)
    start = now()
    limit = min(spin, <nsec> milliseconds * 1000000) if eager[0] else 0
    while spent < limit:
        yield_processor()
        if record is NULL:
            rc = poll(items, count, 0)
            if rc:
                return rc
        elif events_of(record.handle, &events) or events & wanted:
            return 1
        spent = now() - start
    rc = poll(items, count, max(0, milliseconds - <int> (spent // 1000000)))
    eager[0] = now() - start < SHORT_WAIT * spin
    return rc


cdef int wait_on(SocketRecord *record, short wanted, nsec deadline) noexcept nogil:
    """Wait until the socket may have changed. Return 0, EAGAIN at the deadline, EINTR (look for signals), or an errno.

    The descriptor is edge-triggered: only who has just seen the operation fail, after libzmq had looked at its
    commands, may wait on it. In a thread-safe socket each thread that waits has a descriptor of its own, in its own
    `record`: if two shared one, the first could take the news from the second, which would sleep on a message.
    """
    cdef pollfd item
    cdef nsec spin
    cdef int rc, left = slice_of(deadline)
    if left == 0:
        return EAGAIN
    count_up(&record.stats.waits, 1)
    if record.fd >= 0:
        item.fd = record.fd
        item.events = POLLIN
        # Who waits for an answer may spin. Who waits for room, or for what streams in, leaves the processor to those
        # who make it: to spin there costs up to a fifth of the throughput.
        spin = record.spin if record.asked and wanted & ZMQ_POLLIN else 0
        rc = sleep_on(&item, 1, left, spin, &record.eager, record, wanted)
        if rc < 0:
            return errno
    elif record.signaler.poller is NULL:  # what came before there is one has told nobody
        return make_signaler(&record.signaler, record.handle)
    else:
        item.fd = record.signaler.fd
        item.events = POLLIN
        rc = poll(&item, 1, left)
        if rc < 0:
            return errno
        if rc:
            drain(item.fd)
    if rc == 0:
        return EAGAIN if remaining(deadline) == 0 else EINTR
    return 0


cdef int wait_for(SocketRecord *record, short wanted, nsec deadline) noexcept nogil:
    """Wait as `wait_on` does, after some events were not there."""
    cdef int events = 0
    cdef int number = wait_on(record, wanted, deadline)
    if number == 0 and record.fd < 0:
        number = events_of(record.handle, &events)
        if number == 0 and not events & wanted:
            number = wait_on(record, wanted, deadline)
    return number


cdef int give_part(void *handle, Part *part, bint alone) noexcept nogil:
    """Send a part without waiting. Return 0 or an errno."""
    cdef zmq_msg_t copy
    cdef int number = 0
    if part.message is NULL:
        if zmq_send(handle, part.data, part.size, part.flags | ZMQ_DONTWAIT) < 0:
            number = last_errno()
    elif alone:
        if zmq_msg_send(part.message, handle, part.flags | ZMQ_DONTWAIT) < 0:
            number = last_errno()
    else:  # the message may have to be sent again
        <void> zmq_msg_init(&copy)
        if zmq_msg_copy(&copy, part.message) < 0:
            return last_errno()
        if zmq_msg_send(&copy, handle, part.flags | ZMQ_DONTWAIT) < 0:
            number = last_errno()
            <void> zmq_msg_close(&copy)
    return number


cdef int take_back(void *handle, int type_number, Py_ssize_t left) noexcept nogil:
    """Return EAGAIN once a message can be sent anew whose peer went away after its first parts; 0 if it counts as sent.

    libzmq has dropped those parts. PUSH, DEALER and REQ also drop the rest of it, which must be handed to them; a REQ
    socket then awaits the reply to such a message, as when the peer goes a moment later.
    """
    if type_number == ZMQ_PUSH or type_number == ZMQ_DEALER or type_number == ZMQ_REQ:
        while left > 0:
            if zmq_send(handle, b"", 0, ZMQ_DONTWAIT | (ZMQ_SNDMORE if left > 1 else 0)) >= 0:
                left -= 1
            elif last_errno() != EINTR:
                return last_errno()
    return 0 if type_number == ZMQ_REQ else EAGAIN


cdef void lose(SocketRecord *record, Py_ssize_t left) noexcept nogil:
    """Note that a message is lost whose first parts were sent by earlier calls; `left` parts of it were to come.

    A part that is not the first meets EAGAIN only where the peer that got the first has disconnected.
    """
    <void> take_back(record.handle, record.type, left)
    record.begun = LOST


cdef int give_message(SocketRecord *record, Batch *batch) noexcept nogil:
    """Send the next message without waiting, whole or not at all. Return 0 or an errno; with EAGAIN none of it went.

    Only its first part may have no room; a later one meets EAGAIN where the peer that got the first has disconnected.
    Where an earlier call sent the first part, the message is LOST: EHOSTUNREACH.
    """
    cdef Py_ssize_t first = batch.following, i = first, end
    cdef uint64_t size = 0
    cdef int number, events
    if record.type == ZMQ_DGRAM:  # without a peer libzmq closes the message, and zmq_send aborts
        number = events_of(record.handle, &events)
        if number or not events & ZMQ_POLLOUT:
            return number or EAGAIN
    while True:
        number = give_part(record.handle, &batch.parts[i], batch.parts[first].last)
        if number == 0:
            size += batch.parts[i].size
            i += 1
            if batch.parts[i - 1].last:
                break
        elif i == first and not record.begun or number != EAGAIN and number != EINTR:
            return number
        elif number == EAGAIN:
            end = i + 1
            while not batch.parts[end - 1].last:
                end += 1
            if record.begun:
                lose(record, end - 1 - i + (batch.parts[end - 1].flags != 0))
                return EHOSTUNREACH
            number = take_back(record.handle, record.type, end - 1 - i)
            if number == 0:
                i = end
                break
            if number != EAGAIN:
                return number
            i = first
            size = 0
    batch.following = i
    batch.sent += 1
    record.asked = True
    record.begun = batch.parts[i - 1].flags
    count_up(&record.stats.bytes_sent, size)
    if not batch.parts[i - 1].flags:
        count_up(&record.stats.messages_sent, 1)
    return 0


cdef int transmit(SocketRecord *record, Batch *batch, nsec deadline) noexcept nogil:
    """Send messages, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; `batch` says what went."""
    cdef nsec check = 0
    cdef int number, events
    while batch.following < batch.count:
        if batch.sent % 16 == 15:
            if check == 0:
                check = now() + SIGNAL_CHECK
            elif now() > check:  # a long one looks for signals though it need not wait
                return EINTR
        number = give_message(record, batch)
        if number == EAGAIN:
            # A send without waiting looks at libzmq's commands only once a millisecond or so: room that the peer has
            # made since then is not seen until ZMQ_EVENTS is read.
            number = events_of(record.handle, &events)
            if number == 0:
                number = give_message(record, batch)
            if number == EAGAIN:
                number = wait_on(record, ZMQ_POLLOUT, deadline)
        if number:
            return number
    return 0


cdef int receive(SocketRecord *record, zmq_msg_t *msg, nsec deadline) noexcept nogil:
    """Receive a message, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; then none was taken."""
    cdef int number
    if record.asked and record.answers_soon:  # libzmq's thread, which has the request, needs the processor more
        yield_processor()
    while True:
        if zmq_msg_recv(msg, record.handle, ZMQ_DONTWAIT) >= 0:
            record.asked = False
            return 0
        number = last_errno()
        if number == EAGAIN:
            number = wait_on(record, ZMQ_POLLIN, deadline)
            record.answers_soon = record.asked and record.eager
        if number:
            return number


cdef int make_room(Catch *haul, Py_ssize_t room) noexcept nogil:
    """Have room for so many parts. Return 0 or ENOMEM."""
    cdef zmq_msg_t *parts = <zmq_msg_t *> malloc(room * sizeof(zmq_msg_t))
    if parts is NULL:
        return ENOMEM
    memcpy(parts, haul.parts, haul.count * sizeof(zmq_msg_t))  # libzmq moves messages by value too
    if haul.grown:
        free(haul.parts)
    haul.parts = parts
    haul.room = room
    haul.grown = True
    return 0


cdef int catch_more(void *handle, Catch *haul) noexcept nogil:
    """Receive what is there, until it is enough or, at the end of a message, there is no more room.

    Return 0, or the errno that ended it: EAGAIN where nothing is left.
    """
    while haul.more or haul.taken < haul.limit:
        if haul.count == haul.room:
            if not haul.more:
                return 0
            if make_room(haul, 2 * haul.room):
                return ENOMEM
        <void> zmq_msg_init(&haul.parts[haul.count])
        while zmq_msg_recv(&haul.parts[haul.count], handle, ZMQ_DONTWAIT) < 0:
            if last_errno() != EINTR or not haul.more:
                return last_errno()
        caught(haul)
    return 0
