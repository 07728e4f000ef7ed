"""Send messages, receive messages, and wait until a socket is ready.

Each call first runs one check (`enter`). Then it tries with ZMQ_DONTWAIT while it holds the GIL. It releases the GIL
and waits only if libzmq returns EAGAIN and the call may block. The first attempts are in `_core.pxd`, where other
modules inline them.

The first half of this file runs without the GIL and uses no Python objects. Its functions return 0 or an errno. EAGAIN
means that the call timed out. EINTR means that the caller must run signal handlers and call again.

Asynchronous sockets call the same functions with PROBE, and wait in the event loop.
"""

from cython cimport critical_section
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.errno cimport EAGAIN, EHOSTUNREACH, EINTR, EINVAL, EMSGSIZE, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from zmqcy._base cimport MOST_OF_DATAGRAM_GROUP, NativeSocket, enter, long_group
from zmqcy._handle cimport CLOSED, Handle, Signaler, come_out, count, events_of, go_inside, make_signaler
from zmqcy._library cimport (
    COMMANDS, DATAGRAMS, DROPS_REST, EXPIRED, FOREVER, GROUPS, IN_TURN, ROUTING_IDS, SENDS, SIGNAL_CHECK, check,
    deadline_after, error, interrupted, remaining, slice_of, to_flags, to_int, to_integer, type_name, type_of)
from zmqcy._message cimport (
    BIG, Frame, MessageTracker, collect, copy_bytes, copy_in, copy_of, keep_memory, lend, memory_wanted, new_frame,
    new_tracker, size_of, start_of, take, to_content)
from zmqcy._system cimport POLLIN, drain, now, nsec, poll, pollfd, swap, yield_processor
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_DONTWAIT, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_RCVTIMEO, ZMQ_SNDMORE, ZMQ_SNDTIMEO, zmq_errno as last_errno,
    zmq_getsockopt, zmq_msg_close, zmq_msg_copy, zmq_msg_data, zmq_msg_init, zmq_msg_more, zmq_msg_move, zmq_msg_recv,
    zmq_msg_send, zmq_msg_size, zmq_msg_t, zmq_poller_destroy, zmq_send)

from zmqcy import errors
from zmqcy.socket_types import in_words, types_with

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    SHORT_WAIT = 4        # times `spin`: after a wait up to this long, the next one spins first
    FEW = 8               # max parts in an array on the stack
    SOME = 128            # up to so many messages, a batch keeps the GIL: taking it back would cost more
    MOST_DATAGRAM = 8192  # max bytes of a datagram in libzmq
    CHUNK = 1024          # max messages received before they become objects, so the GIL is taken once per chunk


ONE_EACH = []


# ------------------------------------------------------------------------------------------- moving and waiting, in C

cdef int sleep_on(
        pollfd *items, unsigned long length, int milliseconds, nsec spin, bint *eager, Handle handle,
        int wanted) noexcept nogil:
    """Wait as poll() does, for `milliseconds` >= 0. With `handle`: wait for the `wanted` events of that socket.

    If the last wait was short, poll for up to `spin` before sleeping: waking a sleeping thread costs more.
    `sched_yield` lets libzmq's threads run meanwhile. With `handle`, each look reads ZMQ_EVENTS, as the waiting call
    does next.
    """
    cdef nsec start, limit, spent = 0
    cdef int rc, events
    if spin == 0:
        return poll(items, length, milliseconds)
    start = now()
    limit = min(spin, <nsec> milliseconds * 1000000) if eager[0] else 0
    while spent < limit:
        yield_processor()
        if handle is None:
            rc = poll(items, length, 0)
            if rc:
                return rc
        elif events_of(handle.socket, &events) or events & wanted:
            return 1
        spent = now() - start
    rc = poll(items, length, max(0, milliseconds - <int> (spent // 1000000)))
    eager[0] = now() - start < SHORT_WAIT * spin
    return rc


cdef int wait_on(Handle handle, Signaler *signaler, short wanted, nsec deadline) noexcept nogil:
    """Wait until the socket may have changed. Return 0, EAGAIN at the deadline, EINTR after a signal, or an errno.

    The file descriptor is edge-triggered. Wait on it only if the operation has just failed, after libzmq had processed
    its commands. For a thread-safe socket each waiting thread has its own file descriptor, in its `signaler`. If two
    threads shared one, the first could consume the event of the second, which would then miss a message.
    """
    cdef pollfd item
    cdef nsec spin
    cdef int rc, left = slice_of(deadline)
    if left == 0:
        return EAGAIN
    count(handle.exclusive, &handle.stats.waits, 1)
    if handle.fd >= 0:
        item.fd = handle.fd
        item.events = POLLIN
        # Spin only while waiting for an answer. A wait for space in the queue, or in a stream of messages, leaves the
        # processor to libzmq's threads: spinning there costs up to a fifth of the throughput.
        spin = handle.spin if handle.asked and wanted & ZMQ_POLLIN else 0
        rc = sleep_on(&item, 1, left, spin, &handle.eager, handle, wanted)
        if rc < 0:
            return errno
    elif signaler.poller is NULL:  # a new signaler does not report earlier events: look at the socket again
        return make_signaler(signaler, handle.socket)
    else:
        item.fd = signaler.fd
        item.events = POLLIN
        rc = poll(&item, 1, left)
        if rc < 0:
            return errno
        if rc:
            drain(item.fd)
    if rc == 0:
        return EAGAIN if remaining(deadline) == 0 else EINTR
    return 0


cdef int wait_for(Handle handle, Signaler *signaler, short wanted, nsec deadline) noexcept nogil:
    """Wait for some events that are not ready, as `wait_on` does."""
    cdef int events = 0
    cdef int number = wait_on(handle, signaler, wanted, deadline)
    if number == 0 and handle.fd < 0:
        number = events_of(handle.socket, &events)
        if number == 0 and not events & wanted:
            number = wait_on(handle, signaler, wanted, deadline)
    return number


cdef int send_copy(void *socket, zmq_msg_t *message, int more) noexcept nogil:
    """Send a copy of a message without blocking, so that it can be sent again. Return 0 or an errno."""
    cdef zmq_msg_t copy
    cdef int number = 0
    <void> zmq_msg_init(&copy)
    if zmq_msg_copy(&copy, message) < 0:
        return last_errno()
    if zmq_msg_send(&copy, socket, more | ZMQ_DONTWAIT) < 0:
        number = last_errno()
        <void> zmq_msg_close(&copy)
    return number


cdef int take_back(void *socket, int traits, Py_ssize_t left) noexcept nogil:
    """Recover from a peer that disconnected after the first parts of a message, which libzmq has dropped.

    Return EAGAIN if the message can be sent again, 0 if it counts as sent, or another errno. Socket types with
    DROPS_REST drop the `left` remaining parts too, and these must be sent first. A REQ socket then waits for the
    reply, as if the peer had disconnected after the message.
    """
    if traits & DROPS_REST:
        while left > 0:
            if zmq_send(socket, b"", 0, ZMQ_DONTWAIT | (ZMQ_SNDMORE if left > 1 else 0)) >= 0:
                left -= 1
            elif last_errno() != EINTR:
                return last_errno()
    return 0 if traits & IN_TURN else EAGAIN


cdef int send_whole(
        void *socket, int traits, int *begun, Part *parts, zmq_msg_t *messages, Py_ssize_t length, int more,
        bint tried) noexcept nogil:
    """Send a whole message without blocking, or nothing. Return 0 or an errno. With EAGAIN no part was sent.

    The parts are `parts` or, if that is NULL, copies of `messages`. `parts` can be sent again later, unless a message
    has one part.

    Only the first part can meet the high-water mark. It is tried once before and once after ZMQ_EVENTS is read: a
    non-blocking send makes libzmq process its commands only about once a millisecond. If `tried`, the caller has made
    the first attempt.

    A later part fails with EAGAIN if the peer that got the first part has disconnected. If an earlier call sent the
    first part (`begun`), the message is then LOST, and the result is EHOSTUNREACH. `more` is SNDMORE if a later call
    sends the rest of the message, otherwise 0.
    """
    cdef Py_ssize_t i = 0
    cdef bint looked = False
    cdef int number, flag, events = 0
    if traits & DATAGRAMS:  # without a peer libzmq closes the message, and then zmq_send aborts the process
        number = events_of(socket, &events)
        if number or not events & ZMQ_POLLOUT:
            return number or EAGAIN
    while i < length:
        flag = more if i == length - 1 else ZMQ_SNDMORE
        number = 0
        if tried:
            tried = False
            number = EAGAIN
        elif parts is not NULL and parts[i].message is NULL:
            if zmq_send(socket, parts[i].data, parts[i].size, flag | ZMQ_DONTWAIT) < 0:
                number = last_errno()
        elif parts is NULL or length > 1:
            number = send_copy(socket, &messages[i] if parts is NULL else parts[i].message, flag)
        elif zmq_msg_send(parts[i].message, socket, flag | ZMQ_DONTWAIT) < 0:
            number = last_errno()
        if number == 0:
            i += 1
        elif i == 0 and not begun[0]:
            if number != EAGAIN or looked:
                return number
            looked = True
            number = events_of(socket, &events)
            if number:
                return number
        elif number == EAGAIN:
            if begun[0]:
                <void> take_back(socket, traits, length - 1 - i + (more != 0))
                begun[0] = LOST
                return EHOSTUNREACH
            number = take_back(socket, traits, length - 1 - i)
            if number == 0:
                break
            if number != EAGAIN:
                return number
            i = 0
        elif number != EINTR:
            return number
    begun[0] = more
    return 0


cdef void find_full(Handle handle, int more) noexcept nogil:
    """Record in the handle why a non-blocking send of a part failed."""
    handle.tried = last_errno() == EAGAIN
    if handle.tried and handle.begun:
        handle.tried = False
        <void> take_back(handle.socket, handle.traits, more != 0)
        handle.begun = LOST


cdef int transmit(Handle handle, Batch *batch, Signaler *signaler, nsec deadline, bint waiting) noexcept nogil:
    """Send messages, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno. Update `batch`.

    `waiting`: the first message has just met the high-water mark, and no other call has used the socket since.
    """
    cdef int number = send_all(handle, batch, signaler, deadline, waiting)
    count_out(handle, batch)
    return number


cdef int send_all(Handle handle, Batch *batch, Signaler *signaler, nsec deadline, bint waiting) noexcept nogil:
    """Send as `transmit` does, without counting the last messages."""
    cdef nsec limit = 0
    cdef Part *parts
    cdef Py_ssize_t length
    cdef size_t size
    cdef int number
    while batch.following < batch.count:
        if batch.sent % 16 == 15:
            if limit == 0:
                limit = now() + SIGNAL_CHECK
            elif now() > limit:  # a long batch checks for signals even if it never blocks
                return EINTR
        if waiting:
            count_out(handle, batch)
            number = wait_on(handle, signaler, ZMQ_POLLOUT, deadline)
            if number:
                return number
            handle.tried = True  # the file descriptor reports commands: read ZMQ_EVENTS first, which processes them
        parts = &batch.parts[batch.following]
        length = 1
        size = parts[0].size
        while not parts[length - 1].last:
            size += parts[length].size
            length += 1
        number = send_whole(handle.socket, handle.traits, &handle.begun, parts, NULL, length, batch.more, handle.tried)
        handle.tried = False
        waiting = number == EAGAIN and deadline != EXPIRED
        if waiting:
            continue
        if number:
            return number
        batch.size += size
        batch.following += length
        batch.sent += 1
    return 0


cdef void count_out(Handle handle, Batch *batch) noexcept nogil:
    """Add the messages sent since the last call to the socket's counters."""
    if batch.sent != batch.counted:
        handle.asked = True
        count(handle.exclusive, &handle.stats.bytes_sent, batch.size)
        count(handle.exclusive, &handle.stats.messages_sent, 0 if batch.more else batch.sent - batch.counted)
        batch.counted = batch.sent
        batch.size = 0


cdef int receive(Handle handle, zmq_msg_t *msg, Signaler *signaler, nsec deadline, bint waiting) noexcept nogil:
    """Receive a part, waiting until the deadline. Return 0, or, if none was received, EAGAIN, EINTR or another errno.

    `waiting`: a receive has just found none, and no other call has used the socket since.
    """
    cdef int number
    if handle.asked and handle.answers_soon:  # let libzmq's I/O thread send the request first
        yield_processor()
    while True:
        number = EAGAIN
        if not waiting:
            if zmq_msg_recv(msg, handle.socket, ZMQ_DONTWAIT) >= 0:
                handle.asked = False
                return 0
            number = last_errno()
        waiting = False
        if number == EAGAIN:
            number = wait_on(handle, signaler, ZMQ_POLLIN, deadline)
            handle.answers_soon = handle.asked and handle.eager
        if number:
            return number


cdef int make_room(Catch *haul, Py_ssize_t room) noexcept nogil:
    """Allocate an array of `room` parts. Return 0 or ENOMEM."""
    cdef zmq_msg_t *parts = <zmq_msg_t *> malloc(room * sizeof(zmq_msg_t))
    if parts is NULL:
        return ENOMEM
    memcpy(parts, haul.parts, haul.count * sizeof(zmq_msg_t))  # libzmq moves messages by value too
    if haul.room > FEW:
        free(haul.parts)
    haul.parts = parts
    haul.room = room
    return 0


cdef int catch_more(void *socket, Catch *haul) noexcept nogil:
    """Receive queued parts until `is_enough`, or until the array is full at the end of a message.

    Return 0, or the errno that ended the batch, such as EAGAIN if the queue is empty.
    """
    cdef int size
    while not is_enough(haul):
        if haul.count == haul.room:
            if not haul.more:
                return 0
            if make_room(haul, 2 * haul.room):
                return ENOMEM
        <void> zmq_msg_init(&haul.parts[haul.count])
        size = zmq_msg_recv(&haul.parts[haul.count], socket, ZMQ_DONTWAIT)
        while size < 0:
            if last_errno() != EINTR or not haul.more:
                return last_errno()
            size = zmq_msg_recv(&haul.parts[haul.count], socket, ZMQ_DONTWAIT)
        caught(haul, size)  # INT_MAX for parts larger than 2 GiB
    return 0


# -------------------------------------------------------------------------------------------------------------- batches

cdef void unload(Batch *batch) noexcept:
    """Close and free the messages that were made for a batch."""
    cdef Py_ssize_t i
    for i in range(batch.count):
        if batch.parts[i].message is not NULL:
            <void> zmq_msg_close(batch.parts[i].message)
            free(batch.parts[i].message)


cdef list to_list(object items, str call, str name):
    if type(items) is not list and type(items) is not tuple:
        if isinstance(items, (bytes, str, bytearray, memoryview, Frame)):
            raise TypeError(f"{call}: {name} must be a list of buffers, not a single one: {items!r:.80}")
        try:
            items = iter(items)
        except TypeError:
            raise TypeError(f"{call}: {name} must be an iterable of buffers, not {items!r:.80}") from None
    return list(items)


cdef list to_contents(object items, str call, str name, str place):
    """Return the buffers of an iterable in a new list, each as bytes, a Frame or a memoryview."""
    cdef list contents = to_list(items, call, name)
    cdef Py_ssize_t i
    for i in range(len(contents)):
        if type(contents[i]) is not bytes:
            contents[i] = to_content(contents[i], call, f"{place} {i}")
    return contents


# -------------------------------------------------------------------------------------------------------------- sending

cdef Py_ssize_t put_parts(
        NativeSocket socket, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
        str call) except -1:
    """Send parts as one message or, if `ends` has the number of parts of each message, as several.

    Return the number of sent messages. It is less than the number of messages if the call would block and may not, and
    0 only with QUIET. If `ends` is not None, exceptions get an attribute `sent`.
    """
    cdef Part[FEW] few
    cdef Batch batch = Batch(NULL, 0, 0, 0, 0, 0, flags & ZMQ_SNDMORE)
    cdef int number
    batch.parts = few
    collect()  # may run any code
    try:
        enter(socket, call)
        if socket.handle.begun == LOST:
            raise lost(socket, call)
        if len(parts) > FEW:
            batch.parts = <Part *> malloc(len(parts) * sizeof(Part))
            if batch.parts is NULL:
                raise MemoryError(call)
        if socket.handle.quick_size == 0 or not socket.handle.exclusive:
            check_parts(socket, parts, ends, flags, call)
        load(socket, &batch, parts, ends, copy, tracker, call)
        enter(socket, call)  # copies of large buffers released the GIL
        if batch.count <= SOME:
            number = transmit(socket.handle, &batch, NULL, EXPIRED, False)
        else:
            number = carry_out(socket.handle, &batch, NULL, 0, EXPIRED, False)
        if number:
            complete(socket, &batch, NULL, flags, timeout, call, number)
        return batch.sent
    except BaseException as exception:
        if ends is not None:
            exception.sent = batch.sent
        raise
    finally:
        unload(&batch)
        if batch.parts is not few:
            free(batch.parts)


cdef Py_ssize_t put_part(
        NativeSocket socket, object data, int flags, object copy, MessageTracker tracker, object timeout,
        str call) except -1:
    """Send one part, as `put_parts` does."""
    cdef Part part
    cdef zmq_msg_t msg
    cdef Batch batch = Batch(&part, 0, 0, 0, 0, 0, flags & ZMQ_SNDMORE)
    cdef int number
    if socket.handle.quick_size == 0 or not socket.handle.exclusive:
        return put_parts(socket, [data], None, flags, copy, tracker, timeout, call)
    collect()  # may run any code
    enter(socket, call)
    if socket.handle.begun == LOST:
        raise lost(socket, call)
    batch.count = 1
    part.last = True
    load_part(socket, &part, &msg, data, copy, tracker, call)
    try:
        enter(socket, call)  # a copy of a large buffer released the GIL
        number = transmit(socket.handle, &batch, NULL, EXPIRED, False)
        if number:
            complete(socket, &batch, NULL, flags, timeout, call, number)
        return batch.sent
    finally:
        if part.message is not NULL:
            <void> zmq_msg_close(&msg)


cdef object lost(NativeSocket socket, str call):
    """Return the error for a LOST message. The next part sent begins a new message."""
    socket.handle.begun = 0
    return error(
        EHOSTUNREACH, call, socket.handle.type, None,
        "the peer disconnected in the middle of the message, and no part of it is delivered; send the message again "
        "from its first part, or use send_multipart, which sends it again itself")


cdef int check_parts(NativeSocket socket, list parts, list ends, int flags, str call) except -1:
    """Refuse messages that libzmq would mishandle: too many parts for the socket, or too large for a datagram."""
    cdef int type_number = socket.handle.type
    cdef bint several = socket.handle.begun or flags & ZMQ_SNDMORE
    cdef list sizes = [len(parts)] if ends is None else [1] * len(parts) if ends is ONE_EACH else ends
    if type_of(type_number).parts:
        check_counts(socket, parts, sizes, flags, call)
    elif (several or max(sizes) > 1) and socket.conflates():
        raise error(
            EINVAL, call, type_number, f"{max(sizes)} parts{', SNDMORE' if flags & ZMQ_SNDMORE else ''}",
            "a socket with conflate keeps only the last part, not the whole message; send one part, or do not set "
            "conflate")
    elif socket.handle.traits & COMMANDS and not socket.handle.only_first:
        i = 0
        for count in sizes:
            for _ in range(count):
                if (several or count > 1) and is_command(parts[i]):
                    raise error(
                        EINVAL, call, type_number, f"part {i}",
                        "libzmq treats a part that begins with byte 0 or 1 as a subscription, also within a multipart "
                        "message; begin the part with another byte, or set only_first_subscribe on this socket and on "
                        "the XPUB")
                i += 1
            several = False
    return 0


cdef bint is_command(object data) except -1:
    cdef zmq_msg_t *msg
    if isinstance(data, Frame):
        msg = &(<Frame> data).msg
        return zmq_msg_size(msg) != 0 and (<unsigned char *> zmq_msg_data(msg))[0] <= 1
    return size_of(data) != 0 and (<unsigned char> start_of(data)[0]) <= 1


cdef int check_counts(NativeSocket socket, list parts, list sizes, int flags, str call) except -1:
    """Refuse messages with another number of parts than the socket type has, or too large for a datagram."""
    cdef int type_number = socket.handle.type
    cdef int most = type_of(type_number).parts
    cdef size_t size
    for count in sizes:
        if count != most or flags & ZMQ_SNDMORE:
            text = (
                "a message has two parts, the peer's address and the content; send both with send_multipart"
                if most == 2 else "a message of this socket type has exactly one part; join the parts")
            raise error(EINVAL, call, type_number, f"{count} parts{', SNDMORE' if flags & ZMQ_SNDMORE else ''}", text)
    if socket.handle.datagram:
        for i in range(most - 1, len(parts), most):
            data = parts[i]
            size = (<Frame> data).size() if isinstance(data, Frame) else size_of(data)
            if socket.handle.traits & GROUPS:
                group = (<Frame> data).group.encode("utf-8", "surrogateescape") if isinstance(data, Frame) else b""
                if len(group) > MOST_OF_DATAGRAM_GROUP:
                    raise error(EINVAL, call, type_number, f"group={group!r:.80}", long_group("the name of a group"))
                size += 1 + len(group)
            if size > MOST_DATAGRAM:
                raise error(EMSGSIZE, call, type_number, f"{size} bytes into a datagram of {MOST_DATAGRAM}")
    return 0


cdef Frame to_addressed(NativeSocket socket, object data, object routing_id, object group, object copy, str call):
    """Build a message for one peer (SERVER, PEER) or for a group (RADIO)."""
    cdef Frame frame = new_frame(Frame)
    cdef zmq_msg_t msg
    cdef int type_number = socket.handle.type
    cdef int traits = socket.handle.traits
    data = to_content(data, call, None)
    if isinstance(data, Frame):
        (<Frame> data).share(&msg, copy is not None and copy, call)
    elif copy is None and (type(data) is not bytes or size_of(data) < socket.handle.threshold) or copy:
        copy_in(&msg, start_of(data), size_of(data), call)
    else:
        lend(&msg, data, None, call)
        frame.lent = True
    <void> zmq_msg_move(&frame.msg, &msg)
    if routing_id is not None:
        frame.set_routing_id(routing_id, call)
        if not traits & ROUTING_IDS:
            text = f"only {in_words(types_with('routing_ids'))} sockets send by routing_id"
            raise error(ENOTSUP, call, type_number, "routing_id", text)
    if group is not None:
        frame.set_group(group, call)
        if traits & (GROUPS | SENDS) != GROUPS | SENDS:
            text = f"only {in_words(types_with('groups', 'sends'))} sockets send to a group"
            raise error(ENOTSUP, call, type_number, "group", text)
    return frame


cdef int load(
        NativeSocket socket, Batch *batch, list parts, list ends, object copy, MessageTracker tracker,
        str call) except -1:
    """Fill `batch` with parts for `transmit`."""
    cdef Py_ssize_t i, left = 0, message = 0
    for i in range(len(parts)):
        batch.parts[i].message = NULL
        batch.count = i + 1
        if left == 0:
            left = len(parts) if ends is None else 1 if ends is ONE_EACH else ends[message]
            message += 1
        left -= 1
        batch.parts[i].last = left == 0
        load_part(socket, &batch.parts[i], NULL, <object> PyList_GET_ITEM(parts, i), copy, tracker, call)
    return 0


cdef inline int load_part(
        NativeSocket socket, Part *part, zmq_msg_t *room, object data, object copy, MessageTracker tracker,
        str call) except -1:
    """Fill `part`: with bytes to copy when sending, or with a message, in `room` or, if that is NULL, on the heap."""
    cdef bint lent, chosen = copy is not None, copied = chosen and copy
    part.message = NULL
    if type(data) is bytes:
        part.data = PyBytes_AS_STRING(data)
        part.size = PyBytes_GET_SIZE(data)
        # For short bytes `copy=False` has no visible effect: copy, which is faster.
        lent = not copied and (part.size >= socket.handle.threshold or tracker is not None)
    elif isinstance(data, Frame):
        part.size = (<Frame> data).size()
        return prepare(part, room, data, copied, tracker, call)
    else:
        part.data = start_of(data)
        part.size = size_of(data)
        lent = chosen and not copied
    if lent or tracker is not None or part.size >= BIG:
        prepare(part, room, data, not lent, tracker, call)
    return 0


cdef int prepare(
        Part *part, zmq_msg_t *room, object data, bint copied, MessageTracker tracker, str call) except -1:
    """Make the message of a part, with a copy or with the memory of its buffer or frame."""
    cdef zmq_msg_t *msg = room if room is not NULL else <zmq_msg_t *> malloc(sizeof(zmq_msg_t))
    if msg is NULL:
        raise MemoryError(call)
    try:
        if isinstance(data, Frame) and tracker is None:
            (<Frame> data).share(msg, copied, call)
        elif isinstance(data, Frame):
            with critical_section(data):
                lend(msg, (<Frame> data).lendable(copied), tracker, call)
                (<Frame> data).address(msg, call)
        elif tracker is not None:
            lend(msg, copy_of(data) if copied else data, tracker, call)
        elif copied:
            copy_in(msg, part.data, part.size, call)
        else:
            lend(msg, data, None, call)
    except BaseException:
        if room is NULL:
            free(msg)
        raise
    part.message = msg
    return 0


cdef int complete(
        NativeSocket socket, Batch *batch, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1:
    """Continue after a first attempt to send or receive, waiting if the call may block.

    `number` is the errno of that attempt, or 0 if there was none. Return 1, or 0 with QUIET or if a part of the batch
    was sent. If it raises, no part of the current message was sent or received.
    """
    cdef nsec deadline = EXPIRED
    cdef nsec start = 0
    # The conversion of a timeout of another type may run any code, which may consume the file descriptor's event.
    cdef bint waiting = number == EAGAIN and (timeout is None or type(timeout) is int or type(timeout) is float)
    if number in (EAGAIN, EINTR, 0) and not flags & ZMQ_DONTWAIT:
        deadline = deadline_of(socket, timeout, ZMQ_RCVTIMEO if batch is NULL else ZMQ_SNDTIMEO, call)
        start = now()
    while True:
        if number == EAGAIN:
            if deadline == EXPIRED or remaining(deadline) == 0:
                return would_block(socket, flags | QUIET if batch is not NULL and batch.sent else flags, start, call)
        elif number and not interrupted(number):
            raise lost(socket, call) if socket.handle.begun == LOST else error(number, call, socket.handle.type)
        enter(socket, call)  # a signal handler may have closed the socket
        number = carry_out(socket.handle, batch, msg, 0, deadline, waiting)
        if number == 0:
            return 1
        waiting = False


cdef int carry_out(
        Handle handle, Batch *batch, zmq_msg_t *msg, short wanted, nsec deadline, bint waiting) noexcept:
    """Send `batch`, receive into `msg` or, if both are NULL, wait for events. Return 0 or an errno.

    Releases the GIL.
    """
    cdef Signaler signaler
    cdef int number
    signaler.poller = NULL
    go_inside(handle)
    with nogil:
        if batch is not NULL:
            number = transmit(handle, batch, &signaler, deadline, waiting)
        elif msg is not NULL:
            number = receive(handle, msg, &signaler, deadline, waiting)
        else:
            number = wait_for(handle, &signaler, wanted, deadline)
        if signaler.poller is not NULL:
            <void> zmq_poller_destroy(&signaler.poller)
        come_out(handle)
    handle.state &= ~handle.exclusive
    return number


cdef int would_block(NativeSocket socket, int flags, nsec waited, str call) except -1:
    if flags & PROBE:
        return 0
    count(socket.handle.exclusive, &socket.handle.stats.would_blocks, 1)
    if flags & QUIET:
        return 0
    if waited:
        raise errors.TimedOut(
            EAGAIN, call=call, detail=(now() - waited) // 1000000,
            socket_type=type_name(socket.handle.type))
    raise error(EAGAIN, call, socket.handle.type)


cdef nsec deadline_of(NativeSocket socket, object timeout, int option, str call) except -2:
    """Return the deadline of a call: from its timeout or, if that is None, from the socket's option."""
    cdef int milliseconds = FOREVER
    cdef size_t size = sizeof(int)
    if timeout is not None:
        return deadline_after(timeout, call)
    check(zmq_getsockopt(socket.handle.socket, option, &milliseconds, &size), call, socket.handle.type, None)
    return deadline_after(milliseconds, call)


cdef object put_tracked(
        NativeSocket socket, object message, int flags, object copy, object track, object timeout, str call):
    """Send one part or a list of parts as one message. Return its tracker if `track`, otherwise None."""
    cdef object found = None
    cdef MessageTracker tracker = None
    if copy is False and socket.frames is not None:  # zmqcy.compat
        found = socket._tracker_without_copy(message if type(message) is list else [message], track)
    if track and found is None:
        found = tracker = new_tracker()
    if type(message) is list:
        put_parts(socket, message, None, flags, copy, tracker, timeout, call)
    else:
        put_part(socket, message, flags, copy, tracker, timeout, call)
    if tracker is not None:
        tracker.seal()
    return found


cdef list to_message(object parts, str call):
    cdef list contents = to_contents(parts, call, "parts", "part")
    if not contents:
        raise ValueError(f"{call}: a message needs at least one part; pass [b\"\"] for an empty message")
    return contents


cdef list to_messages(object messages, bint nested, object flags, str call, list ends):
    """Return the parts of all messages in one list. If `nested`, append the number of parts of each to `ends`."""
    cdef list parts
    if to_flags(flags, call) & ZMQ_SNDMORE:
        raise ValueError(f"{call}: flags must not contain SNDMORE, because each message is sent whole")
    if not nested:
        return to_contents(messages, call, "messages", "message")
    parts = []
    for i, message in enumerate(to_list(messages, call, "messages")):
        message = to_contents(message, call, f"message {i}", f"message {i}, part")
        if not message:
            raise ValueError(f"{call}: message {i} has no parts; a message needs at least one")
        parts += message
        ends.append(len(message))
    return parts


cdef object put_many(NativeSocket socket, object messages, bint nested, object flags, object timeout, str call):
    cdef list ends = [] if nested else ONE_EACH
    try:
        parts = to_messages(messages, nested, flags, call, ends)
        if not parts:
            socket.current_events(call)  # raises if the socket is closed or its context has ended
            return 0
    except BaseException as exception:
        exception.sent = 0
        raise
    return put_parts(socket, parts, ends, to_flags(flags, call), None, None, timeout, call)


# ------------------------------------------------------------------------------------------------------------ receiving

cdef void *spare = NULL  # an array of CHUNK parts, for the next batch that is received


cdef void borrow_room(Catch *haul) noexcept:
    """Use the spare array for a batch, or allocate one. If there is no memory, the array on the stack stays in use."""
    cdef zmq_msg_t *parts = <zmq_msg_t *> swap(&spare, NULL)
    if parts is NULL:
        make_room(haul, CHUNK)
        return
    memcpy(parts, haul.parts, haul.count * sizeof(zmq_msg_t))
    haul.parts = parts
    haul.room = CHUNK


cdef void give_back_room(Catch *haul) noexcept:
    free(swap(&spare, haul.parts) if haul.room == CHUNK else haul.parts)


cdef object to_target(object buffer, str call, object place):
    """Return a memoryview of a writable, contiguous buffer."""
    where = call if place is None else f"{call}: buffer {place}"
    if not PyObject_CheckBuffer(buffer):
        raise TypeError(f"{where}: a writable buffer is required, not {buffer!r:.80}")
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        fault = "read-only" if view.readonly else "not contiguous"
        raise BufferError(f"{where}: a writable, contiguous buffer is required; this one is {fault}: {buffer!r:.80}")
    return view


cdef object keep_waiting(NativeSocket socket, zmq_msg_t *msg, str call):
    """Hold a part for which there is no memory, for the next receive, and raise MemoryError."""
    cdef size_t size = zmq_msg_size(msg)
    socket.handle.hold(msg, 1)
    raise MemoryError(f"{call}: no memory for {size} bytes; the message is kept for the next receive")


cdef object fetch_into(NativeSocket socket, object target, size_t room, int flags, object timeout, str call):
    """Receive one part into the first `room` bytes of a memoryview. Return its size, or None as `fetch` does."""
    cdef zmq_msg_t msg
    cdef size_t size
    <void> zmq_msg_init(&msg)
    if not get(socket, &msg, flags, timeout, call):
        return None
    size = zmq_msg_size(&msg)
    if size > room:
        socket.handle.hold(&msg, 1)
        raise error(EMSGSIZE, call, socket.handle.type, f"a message of {size} bytes into a buffer of {room}")
    copy_bytes(PyMemoryView_GET_BUFFER(target).buf, zmq_msg_data(&msg), size)
    count_in(socket, size, zmq_msg_more(&msg))
    <void> zmq_msg_close(&msg)
    return size


cdef size_t to_room(object target, object nbytes, str call) except? 0:
    """Return how many bytes of a memoryview may be used: `nbytes`, or all if that is 0."""
    cdef Py_ssize_t size = PyMemoryView_GET_BUFFER(target).len
    if not isinstance(nbytes, int) or not 0 <= nbytes <= size:
        raise ValueError(f"{call}: nbytes must be an int from 0 to {size}, not {nbytes!r}")
    return nbytes or size


cdef Wanted to_wanted(object limit, object max_bytes, bint nested, str call) except *:
    """Return the bounds of a batch: in parts or, if `nested`, in messages."""
    cdef int most = to_int(limit, call, "limit", 1)
    return Wanted(most, to_integer(max_bytes, call, "max_bytes", 1, PY_SSIZE_T_MAX), nested, nested, False)


cdef list gather(NativeSocket socket, Wanted wanted, int flags, object timeout, str call):
    """Wait for one message, then receive the messages queued after it, within the bounds."""
    cdef zmq_msg_t[FEW] few
    cdef Catch haul
    cdef list result = []
    cdef Py_ssize_t tail
    cdef int number
    haul.parts = few
    haul.room = FEW
    haul.wanted = wanted
    haul.count = haul.more = haul.parted = 0
    <void> zmq_msg_init(few)
    if not get(socket, few, flags, timeout, call):
        return None
    caught(&haul, zmq_msg_size(few) if wanted.most > 1 else 0)  # `most_bytes` does not bound a single message
    socket.handle.state |= socket.handle.exclusive  # no other thread may receive while a large part is copied
    try:
        if wanted.most > FEW:
            borrow_room(&haul)
        while True:
            number = catch_held(socket, &haul)
            if number == 0 and socket.handle.held is NULL:
                if wanted.most > SOME:
                    go_inside(socket.handle)
                    with nogil:
                        number = catch_more(socket.handle.socket, &haul)
                        come_out(socket.handle)
                else:
                    number = catch_more(socket.handle.socket, &haul)
            if number and haul.more:
                tail = haul.count - 1
                while tail and zmq_msg_more(&haul.parts[tail - 1]):
                    tail -= 1
                socket.handle.hold(&haul.parts[tail], haul.count - tail)
                haul.count = tail
                if not tail and not result:
                    raise error(number, call, socket.handle.type)
            if not unpack(socket, &haul, result, call) or number or is_enough(&haul):
                return result
            if socket.handle.state & CLOSED:  # by another thread: thread-safe socket types allow that
                return result
    finally:
        socket.handle.state &= ~socket.handle.exclusive
        if haul.room > FEW:
            give_back_room(&haul)


cdef int catch_held(NativeSocket socket, Catch *haul) noexcept:
    """Take held parts until `is_enough`. Return 0 or ENOMEM."""
    while socket.handle.held is not NULL and not is_enough(haul):
        if haul.count == haul.room and make_room(haul, 2 * haul.room):
            return ENOMEM
        socket.handle.unhold(&haul.parts[haul.count])
        caught(haul, zmq_msg_size(&haul.parts[haul.count]))
    return 0


cdef bint unpack(NativeSocket socket, Catch *haul, list result, str call) except -1:
    """Append the received messages to a list. Return whether all fitted into memory; the rest is held."""
    cdef Py_ssize_t i, first = 0, made = len(result), messages = 0
    cdef size_t size, size_of_message = 0, size_of_all = 0
    cdef list message = result
    cdef object item
    cdef bint fits = True
    try:
        for i in range(haul.count):
            if haul.wanted.nested and i == first:
                message = []
            size = zmq_msg_size(&haul.parts[i])
            item = new_frame(socket.frames) if haul.wanted.framed else take(&haul.parts[i], size)
            if item is None:
                raise MemoryError(f"{call}: no memory for {size} bytes; the message is kept for the next receive")
            message.append(item)
            size_of_message += size
            if haul.parted and i + 1 < haul.count and zmq_msg_more(&haul.parts[i]):
                continue
            if haul.wanted.nested:
                result.append(message)
            while first <= i:  # the message is complete: release its parts
                if haul.wanted.framed:
                    memcpy(
                        &(<Frame> message[len(message) - 1 - i + first]).msg, &haul.parts[first], sizeof(zmq_msg_t))
                else:
                    <void> zmq_msg_close(&haul.parts[first])
                first += 1
            messages += 1
            size_of_all += size_of_message
            size_of_message = 0
            made = len(result)
    except MemoryError:
        del result[made:]
        socket.handle.hold(&haul.parts[first], haul.count - first)
        fits = False
        if not result:
            raise
    finally:
        count(socket.handle.exclusive, &socket.handle.stats.bytes_received, size_of_all)
        count(socket.handle.exclusive, &socket.handle.stats.messages_received, messages)
        if messages:
            socket.handle.more = False
        haul.count = 0
        if size_of_all >= BIG and memory_wanted:
            keep_memory()
    return fits


cdef list to_targets(object buffers, str call):
    return [to_target(buffer, call, i) for i, buffer in enumerate(to_list(buffers, call, "buffers"))]


cdef list fetch_multipart_into(NativeSocket socket, list targets, int flags, object timeout, str call):
    """Receive a message into memoryviews, one per part. Return the size of each part, or None as `fetch` does."""
    cdef int more = socket.handle.more
    cdef list frames = gather(socket, one_message(True), flags, timeout, call)
    cdef list sizes
    cdef Py_ssize_t i
    cdef str detail = None
    if frames is None:
        return None
    sizes = [zmq_msg_size(&(<Frame> frame).msg) for frame in frames]
    if len(frames) > len(targets):
        detail = f"a message of {len(frames)} parts into {len(targets)} buffers"
    for i in range(min(len(frames), len(targets))):
        if sizes[i] > PyMemoryView_GET_BUFFER(targets[i]).len:
            detail = f"part {i} of {sizes[i]} bytes into a buffer of {PyMemoryView_GET_BUFFER(targets[i]).len}"
            break
    if detail:
        hold_frames(socket, frames)
        socket.handle.more = more
        count(socket.handle.exclusive, &socket.handle.stats.messages_received, <uint64_t> -1)
        count(socket.handle.exclusive, &socket.handle.stats.bytes_received, -<uint64_t> sum(sizes))
        raise error(EMSGSIZE, call, socket.handle.type, detail)
    for i in range(len(frames)):
        copy_bytes(PyMemoryView_GET_BUFFER(targets[i]).buf, zmq_msg_data(&(<Frame> frames[i]).msg), sizes[i])
    return sizes


cdef int hold_frames(NativeSocket socket, list frames) except -1:
    """Hold the parts of frames for the next receive. Nothing else may refer to these frames."""
    cdef Frame frame
    for frame in reversed(frames):
        socket.handle.hold(&frame.msg, 1)
        <void> zmq_msg_init(&frame.msg)
    return 0
