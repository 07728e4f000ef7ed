"""Plain sockets: the path of a message.

A call on a socket meets one check (`enter`), tries with ZMQ_DONTWAIT while it holds the GIL, and only where that says
EAGAIN and the caller may wait lets go of the GIL and goes on in `_transfer`. What does that stands before the class: it
serves asynchronous sockets as well, which wait in their own way. With PROBE it says that it would wait, no more.
"""

from cython cimport critical_section
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.errno cimport EAGAIN, EHOSTUNREACH, EINTR, EINVAL, EMSGSIZE, ENOMEM
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from zmqcy._base cimport ASK, MOST_OF_DATAGRAM_GROUP, BaseSocket, enter, long_group
from zmqcy._context cimport BUSY, CLOSED, HELD, SocketRecord, Stats, come_out, go_inside
from zmqcy._library cimport (
    EXPIRED, FOREVER, check, deadline_after, error, interrupted, remaining, to_flags, to_int, type_name)
from zmqcy._message cimport (
    BIG, Frame, MessageTracker, collect, copy_bytes, copy_in, copy_of, lend, new_frame, new_tracker, size_of, start_of,
    take, to_content)
from zmqcy._system cimport now, nsec, swap
from zmqcy._transfer cimport LOST, Batch, Catch, Part, catch_more, caught, make_room, receive, transmit, wait_for
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_DGRAM, ZMQ_DONTWAIT, ZMQ_PEER, ZMQ_RADIO, ZMQ_RCVTIMEO, ZMQ_SERVER, ZMQ_SNDMORE, ZMQ_SNDTIMEO,
    ZMQ_XSUB, zmq_errno as last_errno, zmq_getsockopt, zmq_msg_close, zmq_msg_data, zmq_msg_init, zmq_msg_more,
    zmq_msg_move, zmq_msg_recv, zmq_msg_size, zmq_msg_t, zmq_poller_destroy)

from zmqcy import errors

cdef enum:
    NOT_TRIED = -1        # instead of an errno: a receive is not worth trying before the GIL is let go
    FEW = 8               # parts for which there is room on the stack
    SOME = 128            # messages of a batch up to which the GIL is kept: to get it back would cost more
    MOST_DATAGRAM = 8192  # bytes that libzmq has room for
    CHUNK = 1024          # messages received before they are made objects: the GIL changes hands so often


ONE_EACH = []


cdef void unload(Batch *batch) noexcept:
    """Let go of the messages that were made for a batch."""
    cdef Py_ssize_t i
    for i in range(batch.count):
        if batch.parts[i].message is not NULL:
            <void> zmq_msg_close(batch.parts[i].message)
            free(batch.parts[i].message)


cdef list to_list(object items, str call, str name):
    if type(items) is not list and type(items) is not tuple:
        if isinstance(items, (bytes, str, bytearray, memoryview, Frame)):
            raise TypeError(f"{call}: {name} must be a list of buffers, not one: {items!r:.80}")
        try:
            items = iter(items)
        except TypeError:
            raise TypeError(f"{call}: {name} must be an iterable of buffers, not {items!r:.80}") from None
    return list(items)


cdef list to_contents(object items, str call, str name, str place):
    """Return the buffers of an iterable in a list of our own, each as bytes, a Frame or a memoryview."""
    cdef list contents = to_list(items, call, name)
    cdef Py_ssize_t i
    for i in range(len(contents)):
        if type(contents[i]) is not bytes:
            contents[i] = to_content(contents[i], call, f"{place} {i}")
    return contents


# -------------------------------------------------------------------------------------------------------------- sending

cdef Py_ssize_t put_parts(
        BaseSocket socket, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
        str call) except -1:
    """Send parts: as one message or, where `ends` has the number of parts of each, as several.

    Return how many messages went: fewer where it would wait but may not, 0 only with QUIET. What is raised then
    has `sent`, if there may be several.
    """
    cdef Part[FEW] few
    cdef Batch batch
    cdef int number
    batch.parts = few
    batch.count = batch.following = batch.sent = 0
    collect()  # which may run any code
    try:
        enter(socket, call)
        if socket.record.begun == LOST:
            raise lost(socket, call)
        if len(parts) > FEW:
            batch.parts = <Part *> malloc(len(parts) * sizeof(Part))
            if batch.parts is NULL:
                raise MemoryError(call)
        if socket.checked or not socket.record.exclusive:
            check_parts(socket, parts, ends, flags, call)
        load(socket, &batch, parts, ends, flags & ZMQ_SNDMORE, copy, tracker, call)
        enter(socket, call)  # the GIL was let go for big copies
        if batch.count <= SOME:
            number = transmit(&socket.record, &batch, EXPIRED)
        else:
            number = carry_out(socket, &batch, NULL, 0, EXPIRED)
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


cdef object lost(BaseSocket socket, str call):
    """Return the error for a message that is LOST: the next part that is sent begins another one."""
    socket.record.begun = 0
    return error(
        EHOSTUNREACH, call, socket.record.type, None,
        "the peer disconnected in the middle of the message, and nothing of it is delivered: send it again from its "
        "first part, or use send_multipart, which does that itself")


cdef int check_parts(BaseSocket socket, list parts, list ends, int flags, str call) except -1:
    """Refuse messages that do not go with the socket, or into a datagram: libzmq would go wrong on them."""
    cdef int type_number = socket.record.type
    cdef bint several = socket.record.begun or flags & ZMQ_SNDMORE
    cdef list sizes = [len(parts)] if ends is None else [1] * len(parts) if ends is ONE_EACH else ends
    if socket.datagram or not socket.record.exclusive:
        check_counts(socket, parts, sizes, flags, call)
    elif (several or max(sizes) > 1) and socket.conflates():
        raise error(
            EINVAL, call, type_number, f"{max(sizes)} parts{', SNDMORE' if flags & ZMQ_SNDMORE else ''}",
            "a socket with conflate keeps the last part alone, not the whole message: send one part, or do not set "
            "conflate")
    elif type_number == ZMQ_XSUB and not socket.only_first:
        i = 0
        for count in sizes:
            for _ in range(count):
                if (several or count > 1) and is_command(parts[i]):
                    raise error(
                        EINVAL, call, type_number, f"part {i}",
                        "a part of a message of several parts begins with a byte 0 or 1, which libzmq takes for a "
                        "subscription: begin the part with another byte, or set only_first_subscribe here and on the "
                        "XPUB")
                i += 1
            several = False
    return 0


cdef bint is_command(object data) except -1:
    cdef zmq_msg_t *msg
    if isinstance(data, Frame):
        msg = &(<Frame> data).msg
        return zmq_msg_size(msg) != 0 and (<unsigned char *> zmq_msg_data(msg))[0] <= 1
    return size_of(data) != 0 and (<unsigned char> start_of(data)[0]) <= 1


cdef int check_counts(BaseSocket socket, list parts, list sizes, int flags, str call) except -1:
    """Refuse messages of more or fewer parts than the type of the socket has, or too long for a datagram."""
    cdef int type_number = socket.record.type
    cdef int most = 2 if type_number == ZMQ_DGRAM else 1
    cdef size_t size
    for count in sizes:
        if count != most or flags & ZMQ_SNDMORE:
            text = (
                "a message has two parts, the address of the peer and the content: see send_multipart" if most == 2
                else "a message of this type of socket has one part only")
            raise error(EINVAL, call, type_number, f"{count} parts{', SNDMORE' if flags & ZMQ_SNDMORE else ''}", text)
    if socket.datagram:
        for i in range(most - 1, len(parts), most):
            data = parts[i]
            size = (<Frame> data).size() if isinstance(data, Frame) else size_of(data)
            if type_number == ZMQ_RADIO:
                group = (<Frame> data).group.encode("utf-8", "surrogateescape") if isinstance(data, Frame) else b""
                if len(group) > MOST_OF_DATAGRAM_GROUP:
                    raise error(EINVAL, call, type_number, f"group={group!r:.80}", long_group("the name of a group"))
                size += 1 + len(group)
            if size > MOST_DATAGRAM:
                raise error(EMSGSIZE, call, type_number, f"{size} bytes into a datagram of {MOST_DATAGRAM}")
    return 0


cdef Frame to_addressed(BaseSocket socket, object data, object routing_id, object group, object copy, str call):
    """Make a message for one peer of a SERVER or PEER, or for a group of a RADIO."""
    cdef Frame frame = new_frame(Frame)
    cdef zmq_msg_t msg
    cdef int type_number = socket.record.type
    data = to_content(data, call, None)
    if isinstance(data, Frame):
        (<Frame> data).share(&msg, copy is not None and copy, call)
    elif copy is None and (type(data) is not bytes or size_of(data) < socket.threshold) or copy:
        copy_in(&msg, start_of(data), size_of(data), call)
    else:
        lend(&msg, data, None, call)
        frame.lent = True
    <void> zmq_msg_move(&frame.msg, &msg)
    if routing_id is not None:
        frame.set_routing_id(routing_id, call)
        if type_number != ZMQ_SERVER and type_number != ZMQ_PEER:
            raise error(ENOTSUP, call, type_number, "routing_id", "only SERVER and PEER sockets send by routing_id")
    if group is not None:
        frame.set_group(group, call)
        if type_number != ZMQ_RADIO:
            raise error(ENOTSUP, call, type_number, "group", "only RADIO sockets send to a group")
    return frame


cdef int load(
        BaseSocket socket, Batch *batch, list parts, list ends, int flags, object copy, MessageTracker tracker,
        str call) except -1:
    """Describe parts for `transmit`: which are copied when they are sent, and which are messages already."""
    cdef Py_ssize_t i, left = 0, message = 0
    cdef bint lent, chosen = copy is not None, copied = chosen and copy, tracked = tracker is not None
    cdef Part *part
    cdef object data
    for i in range(len(parts)):
        data = <object> PyList_GET_ITEM(parts, i)
        part = &batch.parts[i]
        part.message = NULL
        batch.count = i + 1
        if left == 0:
            left = len(parts) if ends is None else 1 if ends is ONE_EACH else ends[message]
            message += 1
        left -= 1
        part.last = left == 0
        part.flags = ZMQ_SNDMORE if left else flags
        if type(data) is bytes:
            part.data = PyBytes_AS_STRING(data)
            part.size = PyBytes_GET_SIZE(data)
            # Nobody sees whether short bytes are copied.
            lent = not copied and (part.size >= socket.threshold or tracked)
        elif isinstance(data, Frame):
            part.size = (<Frame> data).size()
            prepare(socket, part, data, copied, tracker, call)
            continue
        else:
            part.data = start_of(data)
            part.size = size_of(data)
            lent = chosen and not copied
        if lent or tracked or part.size >= BIG:
            prepare(socket, part, data, not lent, tracker, call)
    return 0


cdef int prepare(
        BaseSocket socket, Part *part, object data, bint copied, MessageTracker tracker, str call) except -1:
    """Make the message of a part: a copy, or of the memory of its buffer or frame."""
    cdef zmq_msg_t *msg = <zmq_msg_t *> malloc(sizeof(zmq_msg_t))
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
        free(msg)
        raise
    part.message = msg
    return 0


cdef int complete(
        BaseSocket socket, Batch *batch, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1:
    """Go on after a first attempt to send or receive, that ended with an errno: wait where that is allowed.

    Return 1, or 0 for QUIET and where some messages of a batch went; where it raises no part of the message in
    turn was sent or taken.
    """
    cdef nsec deadline = EXPIRED
    cdef nsec start = 0
    if number in (EAGAIN, EINTR, NOT_TRIED) and not flags & ZMQ_DONTWAIT:
        deadline = deadline_of(socket, timeout, ZMQ_RCVTIMEO if batch is NULL else ZMQ_SNDTIMEO, call)
        start = now()
    while number:
        if number == EAGAIN:
            if deadline == EXPIRED or remaining(deadline) == 0:
                return would_block(socket, flags | QUIET if batch is not NULL and batch.sent else flags, start, call)
        elif number != NOT_TRIED and not interrupted(number):
            raise lost(socket, call) if socket.record.begun == LOST else error(number, call, socket.record.type)
        enter(socket, call)  # a signal handler may have closed the socket
        number = carry_out(socket, batch, msg, 0, deadline)
    return 1


cdef int carry_out(BaseSocket socket, Batch *batch, zmq_msg_t *msg, short wanted, nsec deadline) noexcept:
    """Send, receive or, with neither, wait for events, without the GIL. Return 0 or an errno."""
    cdef SocketRecord own
    cdef SocketRecord *record = &socket.record
    cdef int number
    if not record.exclusive:  # other threads count meanwhile
        own = record[0]
        memset(&own.stats, 0, sizeof(Stats))
        own.signaler.poller = NULL
        record = &own
    go_inside(&socket.record)
    with nogil:
        if batch is not NULL:
            number = transmit(record, batch, deadline)
        elif msg is not NULL:
            number = receive(record, msg, deadline)
        else:
            number = wait_for(record, wanted, deadline)
        if record is &own:
            if own.signaler.poller is not NULL:
                <void> zmq_poller_destroy(&own.signaler.poller)
        come_out(&socket.record)
    socket.record.state &= ~BUSY
    if record is &own:
        add_stats(&socket.record.stats, &own.stats)
    return number


cdef void add_stats(Stats *sum, const Stats *stats) noexcept:
    sum.messages_sent += stats.messages_sent
    sum.bytes_sent += stats.bytes_sent
    sum.messages_received += stats.messages_received
    sum.bytes_received += stats.bytes_received
    sum.waits += stats.waits
    sum.would_blocks += stats.would_blocks


cdef int would_block(BaseSocket socket, int flags, nsec waited, str call) except -1:
    if flags & PROBE:
        return 0
    socket.record.stats.would_blocks += 1
    if flags & QUIET:
        return 0
    if waited:
        raise errors.TimedOut(
            EAGAIN, call=call, detail=f"after {(now() - waited) // 1000000} ms",
            socket_type=type_name(socket.record.type))
    raise error(EAGAIN, call, socket.record.type)


cdef nsec deadline_of(BaseSocket socket, object timeout, int option, str call) except -2:
    """Return when a call's own timeout ends or, where it has none, the socket's."""
    cdef int milliseconds = FOREVER
    cdef size_t size = sizeof(int)
    if timeout is not None:
        return deadline_after(timeout, call)
    check(zmq_getsockopt(socket.record.handle, option, &milliseconds, &size), call, socket.record.type, None)
    return deadline_after(milliseconds, call)


cdef object put_tracked(BaseSocket socket, list parts, int flags, object copy, object track, object timeout, str call):
    """Send one message, in one part or several, and return its tracker if there shall be one."""
    cdef object found = None
    cdef MessageTracker tracker = None
    if copy is False and socket.frames is not None:  # zmqcy.compat
        found = socket._tracker_without_copy(parts, track)
    if track and found is None:
        found = tracker = new_tracker()
    put_parts(socket, parts, None, flags, copy, tracker, timeout, call)
    if tracker is not None:
        tracker.seal()
    return found


cdef list to_message(object parts, str call):
    cdef list contents = to_contents(parts, call, "parts", "part")
    if not contents:
        raise ValueError(f"{call}: a message has one part at least")
    return contents


cdef list to_messages(object messages, bint nested, object flags, str call, list ends):
    """Return the parts of many messages one after the other and, if `nested`, in `ends` how many each has."""
    cdef list parts
    if to_flags(flags, call) & ZMQ_SNDMORE:
        raise ValueError(f"{call}: SNDMORE cannot be among the flags: the messages are whole")
    if not nested:
        return to_contents(messages, call, "messages", "message")
    parts = []
    for i, message in enumerate(to_list(messages, call, "messages")):
        message = to_contents(message, call, f"message {i}", f"message {i}, part")
        if not message:
            raise ValueError(f"{call}: message {i} has no parts")
        parts += message
        ends.append(len(message))
    return parts


cdef object put_many(BaseSocket socket, object messages, bint nested, object flags, object timeout, str call):
    cdef list ends = [] if nested else ONE_EACH
    try:
        parts = to_messages(messages, nested, flags, call, ends)
        if not parts:
            socket.current_events(call)  # or it is closed, or its context has ended
            return 0
    except BaseException as exception:
        exception.sent = 0
        raise
    return put_parts(socket, parts, ends, to_flags(flags, call), None, None, timeout, call)


# ------------------------------------------------------------------------------------------------------------ receiving

cdef inline void count_in(SocketRecord *record, size_t size, bint more) noexcept:
    record.stats.bytes_received += size
    record.stats.messages_received += not more


cdef void *spare = NULL  # room for CHUNK parts, for whoever receives a batch next


cdef void borrow_room(Catch *haul) noexcept:
    """Have room for a batch; where there is no memory for it the messages come by the few."""
    cdef zmq_msg_t *parts = <zmq_msg_t *> swap(&spare, NULL)
    if parts is NULL:
        make_room(haul, CHUNK)
        return
    memcpy(parts, haul.parts, haul.count * sizeof(zmq_msg_t))
    haul.parts = parts
    haul.room = CHUNK
    haul.grown = True


cdef void give_back_room(Catch *haul) noexcept:
    free(swap(&spare, haul.parts) if haul.room == CHUNK else haul.parts)


cdef object to_target(object buffer, str call, object place):
    """Return a memoryview of a buffer that can be written to."""
    where = call if place is None else f"{call}: buffer {place}"
    if not PyObject_CheckBuffer(buffer):
        raise TypeError(f"{where}: a writable buffer is required, not {buffer!r:.80}")
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        fault = "read-only" if view.readonly else "not contiguous"
        raise BufferError(f"{where}: the buffer is {fault}: {buffer!r:.80}")
    return view


cdef int get(BaseSocket socket, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
    """Receive one part into an initialised message. Return 1, or 0 where it would wait and the flags have QUIET."""
    enter(socket, call)
    if socket.record.state & HELD:
        socket.unhold(msg)
        return 1
    socket.held_more = ASK
    if socket.record.asked and socket.record.answers_soon and not flags & ZMQ_DONTWAIT:
        socket.record.turns += 1
        if socket.record.turns % 32:
            return complete(socket, NULL, msg, flags, timeout, call, NOT_TRIED)
    if zmq_msg_recv(msg, socket.record.handle, ZMQ_DONTWAIT) >= 0:
        socket.record.asked = socket.record.answers_soon = False
        return 1
    return complete(socket, NULL, msg, flags, timeout, call, last_errno())


cdef object keep(BaseSocket socket, zmq_msg_t *msg, str call):
    """Make bytes of a part that was received, and close it; where there is no memory, it waits."""
    cdef size_t size = zmq_msg_size(msg)
    data = take(msg, size)
    if data is None:
        socket.hold(msg, 1)
        raise MemoryError(f"{call}: no memory for {size} bytes; the message waits")
    count_in(&socket.record, size, zmq_msg_more(msg))
    <void> zmq_msg_close(msg)
    return data


cdef object fetch(BaseSocket socket, int flags, object copy, object timeout, str call):
    """Receive one part as bytes or, without `copy`, as a Frame. None: it would wait, and the flags have QUIET."""
    cdef zmq_msg_t msg
    cdef Frame frame
    if copy is not True and not copy:
        frame = new_frame(socket.frames)
        if not get(socket, &frame.msg, flags, timeout, call):
            return None
        count_in(&socket.record, zmq_msg_size(&frame.msg), zmq_msg_more(&frame.msg))
        return frame
    <void> zmq_msg_init(&msg)
    return keep(socket, &msg, call) if get(socket, &msg, flags, timeout, call) else None


cdef object fetch_into(BaseSocket socket, object target, size_t room, int flags, object timeout, str call):
    """Receive one part into so many bytes of a memoryview, and return its size, or None as `fetch` does."""
    cdef zmq_msg_t msg
    cdef size_t size
    <void> zmq_msg_init(&msg)
    if not get(socket, &msg, flags, timeout, call):
        return None
    size = zmq_msg_size(&msg)
    if size > room:
        socket.hold(&msg, 1)
        raise error(EMSGSIZE, call, socket.record.type, f"a message of {size} bytes into a buffer of {room}")
    copy_bytes(PyMemoryView_GET_BUFFER(target).buf, zmq_msg_data(&msg), size)
    count_in(&socket.record, size, zmq_msg_more(&msg))
    <void> zmq_msg_close(&msg)
    return size


cdef size_t to_room(object target, object nbytes, str call) except? 0:
    """Return how much of a memoryview may be used."""
    cdef Py_ssize_t size = PyMemoryView_GET_BUFFER(target).len
    if not isinstance(nbytes, int) or not 0 <= nbytes <= size:
        raise ValueError(f"{call}: nbytes must be an int from 0 to {size}, not {nbytes!r}")
    return nbytes or size


cdef list gather(
        BaseSocket socket, Py_ssize_t limit, bint whole, bint nested, bint framed, int flags, object timeout, str call):
    """Receive the first message, waiting for it, and what is there after it.

    To a number of parts or, if `whole`, of messages; it never ends within a message. The list has the parts or, if
    `nested`, a list of parts for each message.
    """
    cdef zmq_msg_t[FEW] few
    cdef Catch haul
    cdef list result = []
    cdef Py_ssize_t tail
    cdef int number
    haul.parts = few
    haul.room = FEW
    haul.grown = False
    haul.limit = limit
    haul.whole = whole
    haul.count = haul.taken = haul.more = haul.parted = 0
    <void> zmq_msg_init(few)
    if not get(socket, few, flags, timeout, call):
        return None
    caught(&haul)
    socket.record.state |= socket.record.exclusive  # nobody may take a part of ours while a big one is copied
    try:
        if limit > FEW:
            borrow_room(&haul)
        while True:
            number = catch_held(socket, &haul)
            if number == 0 and not (socket.record.state & HELD):
                socket.held_more = ASK
                if limit > SOME:
                    go_inside(&socket.record)
                    with nogil:
                        number = catch_more(socket.record.handle, &haul)
                        come_out(&socket.record)
                else:
                    number = catch_more(socket.record.handle, &haul)
            if number and haul.more:
                tail = haul.count - 1
                while tail and zmq_msg_more(&haul.parts[tail - 1]):
                    tail -= 1
                socket.hold(&haul.parts[tail], haul.count - tail)
                haul.count = tail
                if not tail and not result:
                    raise error(number, call, socket.record.type)
            if not unpack(socket, &haul, result, nested, framed, call) or number or haul.taken >= limit:
                return result
            if socket.record.state & CLOSED:  # by another thread, which may be in a thread-safe type
                return result
    finally:
        socket.record.state &= ~BUSY
        if haul.grown:
            give_back_room(&haul)


cdef int catch_held(BaseSocket socket, Catch *haul) noexcept:
    """Take of the parts that are held what is wanted. Return 0 or ENOMEM."""
    while socket.record.state & HELD and (haul.more or haul.taken < haul.limit):
        if haul.count == haul.room and make_room(haul, 2 * haul.room):
            return ENOMEM
        socket.unhold(&haul.parts[haul.count])
        caught(haul)
    return 0


cdef bint unpack(BaseSocket socket, Catch *haul, list result, bint nested, bint framed, str call) except -1:
    """Add what was caught to a list. Return whether that was all; where memory ends, the rest waits."""
    cdef Py_ssize_t i, first = 0, made = len(result)
    cdef size_t size
    cdef uint64_t total = 0
    cdef list message = result
    cdef object item
    try:
        for i in range(haul.count):
            if nested and i == first:
                message = []
            size = zmq_msg_size(&haul.parts[i])
            item = new_frame(socket.frames) if framed else take(&haul.parts[i], size)
            if item is None:
                raise MemoryError(f"{call}: no memory for {size} bytes; the message waits")
            message.append(item)
            total += size
            if haul.parted and i + 1 < haul.count and zmq_msg_more(&haul.parts[i]):
                continue
            if nested:
                result.append(message)
            while first <= i:  # the message is whole: it may go
                if framed:
                    memcpy(
                        &(<Frame> message[len(message) - 1 - i + first]).msg, &haul.parts[first], sizeof(zmq_msg_t))
                else:
                    <void> zmq_msg_close(&haul.parts[first])
                first += 1
            count_in(&socket.record, total, False)
            total = 0
            made = len(result)
    except MemoryError:
        del result[made:]
        socket.hold(&haul.parts[first], haul.count - first)
        haul.count = 0
        if not result:
            raise
        return False
    haul.count = 0
    return True


cdef list to_targets(object buffers, str call):
    return [to_target(buffer, call, i) for i, buffer in enumerate(to_list(buffers, call, "buffers"))]


cdef list fetch_multipart_into(BaseSocket socket, list targets, int flags, object timeout, str call):
    """Receive a message into memoryviews, and return the size of each part, or None as `fetch` does."""
    cdef list frames = gather(socket, 1, True, False, True, flags, timeout, call)
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
        socket.record.stats.messages_received -= 1
        socket.record.stats.bytes_received -= <uint64_t> sum(sizes)
        raise error(EMSGSIZE, call, socket.record.type, detail)
    for i in range(len(frames)):
        copy_bytes(PyMemoryView_GET_BUFFER(targets[i]).buf, zmq_msg_data(&(<Frame> frames[i]).msg), sizes[i])
    return sizes


cdef int hold_frames(BaseSocket socket, list frames) except -1:
    """Keep the parts of frames that nobody else has for the next receive."""
    cdef Frame frame
    for frame in reversed(frames):
        socket.hold(&frame.msg, 1)
        <void> zmq_msg_init(&frame.msg)
    return 0


# ---------------------------------------------------------------------------------------------------------- the class

cdef class Socket(BaseSocket):
    """A socket: what sends and receives messages, each a run of bytes or several of them.

    One thread at a time may use it; a second one gets SocketInUse. It may go from thread to thread. Several at a time
    may use the draft types that are `thread_safe`.

    Parameters
    ----------
    context : Context
        The context that serves it.
    type : int
        One of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument
        There is no such type.
    NotSupported
        The type is a draft, and this libzmq has none.
    ZMQError
        EMFILE: `max_sockets` of the context are open, or the process has no descriptor left.
    ContextTerminated
        The context has ended.
    """

    @critical_section
    def send(self, data, flags=0, copy=None, track=False, *, timeout=None, routing_id=None, group=None):
        """Send a message, or one part of it. Waits where no peer can take it.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.
        flags : int, default 0
            `SNDMORE`: more parts of the same message follow. `DONTWAIT`: raise Again instead of waiting.
        copy : bool, optional
            True: copy the content. False: lend libzmq the buffer's own memory; a bytearray cannot be resized, and
            should not be written to, until it lets go. By default bytes of `copy_threshold` and more are lent, the
            content of a Frame is shared, and anything else is copied and may change once the call is back.
        track : bool, default False
            Whether to return a tracker.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.
        routing_id : int, optional
            SERVER and PEER: the peer that it is for. By default, of a Frame, the one that it came from.
        group : str, optional
            RADIO: the group that it is for, of up to 255 bytes; over udp, 127. By default that of a Frame, or the
            empty one.

        Returns
        -------
        MessageTracker or None
            With `track`, what tells when libzmq has let go of the message, whatever its size.

        Raises
        ------
        Again
            It would have to wait, and may not; TimedOut where a time was given. Nothing was sent.
        StateError
            The type of the socket does not let it send now.
        HostUnreachable
            ROUTER with `router_mandatory`, SERVER, PEER: no such peer.
        NotSupported
            The type of the socket does not send, or not by `routing_id` or to a `group`.
        ContextTerminated
            The context has ended.
        SocketInUse
            Another thread is in a call on this socket.
        TypeError, BufferError
            `data` is not bytes-like, or not contiguous.
        ValueError
            `data` is a Frame that was released.
        """
        cdef int f = to_flags(flags, "send")
        if routing_id is not None or group is not None:
            data = to_addressed(self, data, routing_id, group, copy, "send")
        elif copy is None and track is False:
            if type(data) is bytes:
                enter(self, "send")
                if put_quickly(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), f):
                    return None
            else:
                data = to_content(data, "send", None)
                enter(self, "send")
                if not isinstance(data, Frame) and put_quickly(self, start_of(data), size_of(data), f):
                    return None
        return put_tracked(self, [to_content(data, "send", None)], f, copy, track, timeout, "send")

    @critical_section
    def try_send(self, data):
        """Send a message if that needs no waiting.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.

        Returns
        -------
        bool
            Whether it was sent.
        """
        data = to_content(data, "try_send", None)
        enter(self, "try_send")
        if not isinstance(data, Frame) and put_quickly(self, start_of(data), size_of(data), 0):
            return True
        return put_parts(self, [data], None, ZMQ_DONTWAIT | QUIET, None, None, None, "try_send") == 1

    @critical_section
    def send_multipart(self, parts, flags=0, copy=None, track=False, *, timeout=None):
        """Send a message of several parts. All are checked before the first goes; it is sent whole or not at all.

        Parameters
        ----------
        parts : iterable of bytes-like or Frame
            The parts, one at least.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        copy : bool, optional
            As `send` takes it, for each part.
        track : bool, default False
            Whether to return a tracker.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.

        Returns
        -------
        MessageTracker or None
            With `track`, what tells when libzmq has let go of all parts.

        Raises
        ------
        Again
            It would have to wait, and may not; TimedOut where a time was given. Nothing was sent.
        TypeError, BufferError
            A part is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            There are no parts, or one is a Frame that was released.
        """
        cdef int f = to_flags(flags, "send_multipart")
        return put_tracked(self, to_message(parts, "send_multipart"), f, copy, track, timeout, "send_multipart")

    @critical_section
    def send_many(self, messages, *, flags=0, timeout=None):
        """Send many messages of one part with one call. All are checked before the first goes.

        Parameters
        ----------
        messages : iterable of bytes-like or Frame
            The messages. Lists and tuples are fastest; a generator is run to its end first.
        flags : int, default 0
            `DONTWAIT`: send what needs no waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait in all, -1 for ever; by default `sndtimeo` of the socket.

        Returns
        -------
        int
            How many were sent: the first so many. Fewer than all only where the rest would have to wait and may not,
            or the time is up.

        Raises
        ------
        Again
            Not one could be sent without waiting, and it may not; TimedOut where a time was given.
        TypeError, BufferError
            A message is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            `flags` has SNDMORE.
        ContextTerminated, StateError, HostUnreachable, NotSupported, SocketInUse
            As `send` does. An error, and whatever a signal handler or `messages` raises, says in its attribute `sent`
            how many messages went before it.
        """
        return put_many(self, messages, False, flags, timeout, "send_many")

    @critical_section
    def send_multipart_many(self, messages, *, flags=0, timeout=None):
        """Send many messages of several parts with one call. All are checked before the first goes.

        Parameters
        ----------
        messages : iterable of iterables of bytes-like or Frame
            The messages, each as `send_multipart` takes it; each goes whole or not at all.
        flags : int, default 0
            `DONTWAIT`: send what needs no waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait in all, -1 for ever; by default `sndtimeo` of the socket.

        Returns
        -------
        int
            How many messages were sent, as `send_many` says.

        Raises
        ------
        Again, TypeError, BufferError, ValueError, ContextTerminated, StateError, HostUnreachable, NotSupported
            As `send_many` does, with `sent`; ValueError for a message without parts, too.
        """
        return put_many(self, messages, True, flags, timeout, "send_multipart_many")

    # ---- receiving

    @critical_section
    def recv(self, flags=0, copy=True, track=False, *, timeout=None):
        """Receive a message, or one part of it. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        copy : bool, default True
            False: return a Frame, which is libzmq's own memory.
        track : bool, default False
            Nothing: what was received needs no tracker. It is here for code that was written for pyzmq.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        bytes or Frame
            The part; `rcvmore`, or `more` of the Frame, tells whether another one follows.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        StateError
            The type of the socket does not let it receive now.
        NotSupported
            The type of the socket does not receive.
        ContextTerminated
            The context has ended.
        SocketInUse
            Another thread is in a call on this socket.
        MemoryError
            The message does not fit into memory; it stays for the next receive.
        """
        return fetch(self, to_flags(flags, "recv"), copy, timeout, "recv")

    @critical_section
    def try_recv(self):
        """Receive a message if one is there.

        Returns
        -------
        bytes or None
            None: there is none.
        """
        return fetch(self, ZMQ_DONTWAIT | QUIET, True, None, "try_recv")

    @critical_section
    def recv_into(self, buffer, *, nbytes=0, flags=0, timeout=None):
        """Receive a message, or one part of it, into a buffer. Waits for one.

        Parameters
        ----------
        buffer : writable bytes-like
            Where it is copied to.
        nbytes : int, default 0
            How much of the buffer may be used; 0 is all of it.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        int
            The size of the message in bytes.

        Raises
        ------
        ZMQError
            EMSGSIZE: the message does not fit. It stays for the next receive.
        TypeError, BufferError
            `buffer` is no buffer, cannot be written, or is not contiguous.
        ValueError
            `nbytes` is negative, or more than the buffer has.
        """
        cdef int f = to_flags(flags, "recv_into")
        target = to_target(buffer, "recv_into", None)
        return fetch_into(self, target, to_room(target, nbytes, "recv_into"), f, timeout, "recv_into")

    @critical_section
    def recv_multipart(self, flags=0, copy=True, track=False, *, timeout=None):
        """Receive a message with all its parts. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        copy : bool, default True
            False: return Frames, which are libzmq's own memory.
        track : bool, default False
            Nothing, as for `recv`.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of bytes or of Frame
            The parts, one at least.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        MemoryError
            The parts do not fit into memory; the message stays for the next receive.
        """
        cdef int f = to_flags(flags, "recv_multipart")
        return gather(self, 1, True, False, not copy, f, timeout, "recv_multipart")

    @critical_section
    def recv_multipart_into(self, buffers, *, flags=0, timeout=None):
        """Receive a message with all its parts, each into a buffer. Waits for one.

        Parameters
        ----------
        buffers : iterable of writable bytes-like
            Where the parts are copied to; there may be more than parts.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of int
            The size of each part in bytes.

        Raises
        ------
        ZMQError
            EMSGSIZE: a part does not fit into its buffer, or there are more parts than buffers. The message stays for
            the next receive, and no buffer was written to.
        TypeError, BufferError
            One is no buffer, cannot be written, or is not contiguous.
        """
        cdef str call = "recv_multipart_into"
        return fetch_multipart_into(self, to_targets(buffers, call), to_flags(flags, call), timeout, call)

    @critical_section
    def recv_many(self, limit=1000, *, flags=0, timeout=None):
        """Receive many messages with one call: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many parts to take at most; a message of several parts is not cut, though, so that the list may be
            longer by the rest of its last message.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait for the first, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of bytes
            The messages, one at least.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        ValueError
            `limit` is 0 or negative.
        StateError, NotSupported, ContextTerminated, SocketInUse
            As `recv` does.
        MemoryError
            The first message does not fit into memory. What does not fit stays for the next receive.
        """
        cdef int f = to_flags(flags, "recv_many")
        cdef int most = to_int(limit, "recv_many", "limit", 1)
        return gather(self, most, False, False, False, f, timeout, "recv_many")

    @critical_section
    def recv_multipart_many(self, limit=1000, *, flags=0, timeout=None):
        """Receive many messages with all their parts with one call: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many messages to take at most.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait for the first, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of list of bytes
            The parts of each message, one at least.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, SocketInUse, MemoryError
            As `recv_many` does.
        """
        cdef int f = to_flags(flags, "recv_multipart_many")
        cdef int most = to_int(limit, "recv_multipart_many", "limit", 1)
        return gather(self, most, True, True, False, f, timeout, "recv_multipart_many")

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.recv()
        except errors.ContextTerminated:
            raise StopIteration from None

    @critical_section
    def poll(self, timeout=None, flags=1):
        """Wait until the socket can send or receive.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.
        flags : int, default POLLIN
            What to wait for: `POLLIN`, `POLLOUT` or both.

        Returns
        -------
        int
            Which of them is possible; 0 when the time is up.
        """
        cdef int wanted = to_flags(flags, "poll")
        cdef nsec deadline = deadline_after(timeout, "poll")
        cdef int events, number
        while True:
            events = self.current_events("poll") & wanted
            if events or remaining(deadline) == 0:
                return events
            number = carry_out(self, NULL, NULL, <short> wanted, deadline)
            if number and number != EAGAIN and not interrupted(number):
                raise error(number, "poll", self.record.type)
