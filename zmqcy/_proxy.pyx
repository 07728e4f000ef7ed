"""Devices: the loop that forwards messages between two sockets, without the GIL.

The loop forwards bursts of whole messages in both directions. It applies backpressure: it receives no message from one
side before the other side has accepted the last one. If the loop ends with a message that is received but not yet sent
("in hand"), the message returns to its socket, and the next receive gets it. Before the loop sleeps it spins as a
blocking call does, for the largest `spin` of its sockets. It does not spin if messages flow in one direction only, as
there are no answers.

A Python filter gets batches. `run` returns for each batch, and its caller calls the filter, with the sockets marked as
in use. So exceptions of the filter need not pass through C code.
"""

from cython cimport critical_section
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from zmqcy._handle cimport BUSY, come_out, events_of, go_inside
from zmqcy._library cimport (
    COMMANDS, DATAGRAMS, IN_TURN, NO_TYPE, RECEIVES, SENDS, SIGNAL_CHECK, SLICE, THREAD_SAFE, error, interrupted,
    to_buffer, to_int, type_name, type_of)
from zmqcy._message cimport copy_in, lend, size_of, start_of, take
from zmqcy._base cimport NativeSocket, enter
from zmqcy._options cimport lock_of
from zmqcy._system cimport POLLIN, count_up, counted, now, nsec, pollfd
from zmqcy._core cimport Part, send_whole, sleep_on
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_DONTWAIT, ZMQ_IO_THREADS, ZMQ_PAIR, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_QUEUE, ZMQ_SNDMORE, ZMQ_STREAMER,
    zmq_close, zmq_ctx_new, zmq_ctx_set, zmq_ctx_term, zmq_errno, zmq_msg_close, zmq_msg_data, zmq_msg_init,
    zmq_msg_init_size, zmq_msg_more, zmq_msg_recv, zmq_msg_send, zmq_msg_size, zmq_msg_t, zmq_socket)

from zmqcy.socket_types import in_words, types_with

cdef enum:
    BURST = 1000          # max messages in one direction before the other direction continues
    DOUBTFUL_SLEEP = 10   # ms to wait for a socket that reports POLLOUT but accepts no message (ROUTER, one peer full)
    BATCH = 256           # max messages in a batch for a Python filter
    BATCH_BYTES = 1 << 20  # a batch with so many bytes is complete

cdef enum:                # results in addition to an errno
    UNFILTERED = -1       # a batch for the filter was received
    REFUSED = -2          # the hook has ended the device


cdef enum State:
    ACTIVE
    PAUSED
    DRAINING              # each direction continues until its source is empty
    TERMINATED


cdef struct Flow:
    # The counters of one direction.
    uint64_t messages_in
    uint64_t bytes_in
    uint64_t messages_out
    uint64_t bytes_out
    uint64_t full          # how many times the target or the capture socket was at its high-water mark


cdef struct Queue:
    # A queue of whole messages.
    zmq_msg_t *parts
    int part               # the index of the first part
    int part_end
    int part_room
    int *counts            # the number of parts of each message
    int message
    int message_end
    int message_room


cdef struct Way:
    # One direction, and its message in hand: `count` parts, received from the source and not yet sent.
    Direction direction
    void *source
    void *target
    int target_traits
    bint conflates         # the target would keep only the last part of a message
    bint commanding        # the target would treat a part that begins with byte 0 or 1 as a subscription
    zmq_msg_t *parts
    int count
    int room
    uint64_t size          # bytes of the message
    bint special           # there is a hook or a filter, or `taken` is not empty
    Queue taken            # messages received for the filter; or those that the source had held for its next receive
    Queue filtered         # messages that the filter has returned
    bint captured          # the message was already sent to the capture socket
    bint dry               # the last receive found no message
    bint arriving          # the message in hand is newer than those in `taken`, and may be incomplete
    Flow *flow


cdef struct Device:
    Way ways[2]
    int way_count
    Flow *flows            # frontend to backend, and back
    uint64_t *waits
    void *capture
    int capture_traits
    void *control
    int control_traits
    State state
    bint asked             # for statistics: a signal has interrupted the answer
    hook_function hook
    void *user
    int verdict            # the result of the hook that has ended the loop
    bint filters           # there is a Python filter
    uint64_t unfit         # dropped messages, which the target cannot send whole
    pollfd fds[4]
    int fd_count
    bint doubtful          # the events last reported work that could not be done
    nsec spin              # the largest of the sockets
    bint eager             # the last waits were short


cdef bint has_way(int source, int target) noexcept nogil:
    return type_of(source).traits & RECEIVES and type_of(target).traits & SENDS


#: _Flow: TypeAlias = tuple[int, int, int, int, int]
#: _Filter: TypeAlias = Callable[
#:     [Literal["front_to_back", "back_to_front"], list[list[bytes]]], Sequence[Sequence[Buffer]]
#: ]
def unfit(int front, int back, bint echoes=False) -> str | None:
    """Return why a device cannot forward between two socket types, or None. `echoes`: one socket is both sides."""
    for each in (front, back):
        if type_of(each).traits & (THREAD_SAFE | DATAGRAMS):  # no file descriptor; or libzmq may abort the process
            return f"a device cannot forward a {type_name(each)} socket"
        if type_of(each).traits & IN_TURN and not echoes:
            return (f"a device cannot forward a {type_name(each)} socket, which sends and receives in turn; use ROUTER "
                    "on the side of the REQ sockets, and DEALER on the side of the REP sockets")
    if not has_way(front, back) and not has_way(back, front):
        return f"no message can pass between {type_name(front)} and {type_name(back)}; one must receive, the other send"
    return None


cdef int make_room(Way *way) noexcept nogil:
    """Make room for one more part. Return 0 or an errno."""
    cdef zmq_msg_t *grown
    if way.count == way.room:
        grown = <zmq_msg_t *> realloc(way.parts, 2 * way.room * sizeof(zmq_msg_t))
        if grown is NULL:
            return ENOMEM
        way.parts = grown
        way.room = 2 * way.room
    return 0


cdef int push(Queue *queue, zmq_msg_t *parts, int count) noexcept nogil:
    """Move a message to the end of a queue. Return 0 or an errno."""
    cdef int room
    cdef void *grown
    if queue.part_end + count > queue.part_room:
        room = 2 * (queue.part_end + count)
        grown = realloc(queue.parts, room * sizeof(zmq_msg_t))
        if grown is NULL:
            return ENOMEM
        queue.parts = <zmq_msg_t *> grown
        queue.part_room = room
    if queue.message_end == queue.message_room:
        room = 2 * queue.message_room + 16
        grown = realloc(queue.counts, room * sizeof(int))
        if grown is NULL:
            return ENOMEM
        queue.counts = <int *> grown
        queue.message_room = room
    memcpy(&queue.parts[queue.part_end], parts, count * sizeof(zmq_msg_t))  # libzmq moves messages by value too
    queue.part_end += count
    queue.counts[queue.message_end] = count
    queue.message_end += 1
    return 0


cdef bint is_empty(Queue *queue) noexcept nogil:
    return queue.message == queue.message_end


cdef void advance(Queue *queue) noexcept nogil:
    """Remove the first message of a queue, which was moved or closed."""
    queue.part += queue.counts[queue.message]
    queue.message += 1
    if is_empty(queue):
        queue.part = queue.part_end = queue.message = queue.message_end = 0


cdef void discard(Queue *queue, int messages) noexcept nogil:
    """Close and remove the first messages of a queue."""
    cdef int i, _
    for _ in range(messages):
        for i in range(queue.counts[queue.message]):
            <void> zmq_msg_close(&queue.parts[queue.part + i])
        advance(queue)


cdef int pop(Queue *queue, Way *way) noexcept nogil:
    """Move the first message of a queue into hand. Return 0 or an errno."""
    cdef int number, count = queue.counts[queue.message]
    while way.room < count:
        way.count = way.room
        number = make_room(way)
        way.count = 0
        if number:
            return number
    memcpy(way.parts, &queue.parts[queue.part], count * sizeof(zmq_msg_t))
    way.count = count
    way.size = size_of_parts(way.parts, count)
    advance(queue)
    return 0


cdef int take_message(Way *way) noexcept nogil:
    """Receive a message from the source. Return 0 or an errno."""
    cdef int number
    if zmq_msg_recv(&way.parts[0], way.source, ZMQ_DONTWAIT) < 0:
        return zmq_errno()
    way.count = 1
    if zmq_msg_more(&way.parts[0]):
        number = take_rest(way)
        if number:
            way.arriving = True
            return number
    count_in(way)
    return 0


cdef uint64_t size_of_parts(zmq_msg_t *parts, int count) noexcept nogil:
    cdef uint64_t size = 0
    cdef int i
    for i in range(count):
        size += zmq_msg_size(&parts[i])
    return size


cdef void count_in(Way *way) noexcept nogil:
    way.size = size_of_parts(way.parts, way.count)
    count_up(&way.flow.messages_in, 1)
    count_up(&way.flow.bytes_in, way.size)


cdef int take_rest(Way *way) noexcept nogil:
    """Receive the remaining parts of the message in hand. Return 0 or an errno."""
    cdef int number
    while zmq_msg_more(&way.parts[way.count - 1]):
        number = make_room(way)
        if number:
            return number
        <void> zmq_msg_init(&way.parts[way.count])
        while zmq_msg_recv(&way.parts[way.count], way.source, ZMQ_DONTWAIT) < 0:
            if zmq_errno() != EINTR:
                return zmq_errno()
        way.count += 1
    return 0


cdef int take_for_filter(Way *way) noexcept nogil:
    """Receive a batch of queued messages. Return 0 or an errno. EAGAIN: no message is queued."""
    cdef uint64_t size = 0
    cdef int number = 0
    while way.taken.message_end < BATCH and size < BATCH_BYTES:
        number = take_message(way)
        if number == 0:
            size += way.size
            number = push(&way.taken, way.parts, way.count)
            way.arriving = number != 0
        if number:
            break
        way.count = 0
        <void> zmq_msg_init(&way.parts[0])
    return number if is_empty(&way.taken) or number == ENOMEM else 0


cdef int take_special(Way *way, Device *device) noexcept nogil:
    """Get the next message in hand if there is a hook, a filter, or held messages.

    Return 0, an errno, UNFILTERED or REFUSED. With 0 there may be no message in hand: the hook may have dropped it.
    """
    cdef int number, count
    if not is_empty(&way.filtered):
        return pop(&way.filtered, way)
    if device.filters:
        number = take_for_filter(way) if is_empty(&way.taken) else 0
        return number if number else UNFILTERED
    if is_empty(&way.taken):
        way.special = device.hook is not NULL
        number = take_message(way)
    else:
        number = pop(&way.taken, way)
    if number or device.hook is NULL:
        return number
    count = way.count
    device.verdict = device.hook(device.user, way.parts, &count, way.direction)
    if count < 1 or count > way.count:
        device.verdict = EINVAL
    else:
        way.count = count
    if device.verdict == DROP:
        drop_message(way)
    elif device.verdict != FORWARD:
        return REFUSED
    way.size = size_of_parts(way.parts, way.count)
    return 0


cdef void drop_message(Way *way) noexcept nogil:
    cdef int i
    for i in range(way.count):
        <void> zmq_msg_close(&way.parts[i])
    <void> zmq_msg_init(&way.parts[0])
    way.count = 0


cdef bint is_unfit(Way *way) noexcept nogil:
    """Return whether the target cannot send the multipart message in hand whole."""
    cdef int i
    if way.commanding:
        for i in range(way.count):
            if zmq_msg_size(&way.parts[i]) and (<unsigned char *> zmq_msg_data(&way.parts[i]))[0] <= 1:
                return True
    return way.conflates


cdef int give_message(Way *way, Device *device) noexcept nogil:
    """Send the message in hand to the capture socket and to the target. Return 0, EAGAIN, or another errno."""
    cdef Part alone
    cdef int number, begun = 0
    if way.count > 1 and (way.commanding or way.conflates) and is_unfit(way):
        drop_message(way)
        device.unfit += 1
        return 0
    if device.capture is not NULL and not way.captured:
        number = send_whole(device.capture, device.capture_traits, &begun, NULL, way.parts, way.count, 0, False)
        if number:
            return number
        way.captured = True
    if way.count == 1:
        alone.message = way.parts
        number = send_whole(way.target, way.target_traits, &begun, &alone, NULL, 1, 0, False)
    else:
        number = send_whole(way.target, way.target_traits, &begun, NULL, way.parts, way.count, 0, False)
    if number:
        return number
    if way.count > 1:
        drop_message(way)
    count_up(&way.flow.messages_out, 1)
    count_up(&way.flow.bytes_out, way.size)
    way.count = 0
    way.captured = False
    return 0


cdef int forward(Way *way, Device *device, bint *moved) noexcept nogil:
    """Forward a burst in one direction. Return 0, an errno other than EAGAIN, UNFILTERED or REFUSED."""
    cdef int _, number
    for _ in range(BURST):
        if way.count == 0:
            if way.special:
                number = take_special(way, device)
                if number == 0 and way.count == 0:
                    moved[0] = True
                    continue
            else:
                number = take_message(way)
            if number:
                way.dry = number == EAGAIN
                return 0 if way.dry else number
        number = give_message(way, device)
        if number == EAGAIN:
            count_up(&way.flow.full, 1)
            return 0
        if number:
            return number
        moved[0] = True
    return 0


cdef int answer(Device *device, const uint64_t *numbers, int count) noexcept nogil:
    """Send an answer of `count` numbers to the controller, or an empty one. Return 0 or an errno.

    The answer is dropped if it would block: the controller may have disconnected.
    """
    cdef zmq_msg_t[8] parts
    cdef int made = 0, number = 0, begun = 0, i
    while made < max(count, 1) and number == 0:
        if zmq_msg_init_size(&parts[made], sizeof(uint64_t) if count else 0) < 0:
            number = zmq_errno()
        else:
            if count:
                memcpy(zmq_msg_data(&parts[made]), &numbers[made], sizeof(uint64_t))
            made += 1
    if number == 0:
        number = send_whole(device.control, device.control_traits, &begun, NULL, parts, made, 0, False)
    if number == EAGAIN:
        number = 0
    for i in range(made):
        <void> zmq_msg_close(&parts[i])
    return number


cdef int answer_numbers(Device *device) noexcept nogil:
    """Answer STATISTICS: messages and bytes, received and sent, of frontend and backend. Return 0 or an errno."""
    cdef uint64_t[8] counters
    cdef int number
    counters[0] = device.flows[0].messages_in
    counters[1] = device.flows[0].bytes_in
    counters[2] = device.flows[1].messages_out
    counters[3] = device.flows[1].bytes_out
    counters[4] = device.flows[1].messages_in
    counters[5] = device.flows[1].bytes_in
    counters[6] = device.flows[0].messages_out
    counters[7] = device.flows[0].bytes_out
    number = answer(device, counters, 8)
    device.asked = number == EINTR
    return number


cdef bint is_word(zmq_msg_t *msg, const char *word, size_t size) noexcept nogil:
    return zmq_msg_size(msg) == size and memcmp(zmq_msg_data(msg), word, size) == 0


cdef int obey(Device *device) noexcept nogil:
    """Execute a command from the control socket, as zmq_proxy_steerable does. Return 0, EAGAIN, or another errno."""
    cdef zmq_msg_t msg, rest
    cdef int i, number
    cdef bint more
    if device.asked:
        return answer_numbers(device)
    <void> zmq_msg_init(&msg)
    if zmq_msg_recv(&msg, device.control, ZMQ_DONTWAIT) < 0:
        return zmq_errno()
    number = 0
    more = zmq_msg_more(&msg)
    if more:  # not a command; a REP socket can answer only after it has received all parts
        <void> zmq_msg_close(&msg)
        <void> zmq_msg_init(&msg)
    while more:
        <void> zmq_msg_init(&rest)
        if zmq_msg_recv(&rest, device.control, ZMQ_DONTWAIT) < 0 and zmq_errno() != EINTR:
            return zmq_errno()
        more = zmq_msg_more(&rest)
        <void> zmq_msg_close(&rest)
    if is_word(&msg, b"STATISTICS", 10):
        if device.control_traits & SENDS:
            number = answer_numbers(device)
    else:
        if is_word(&msg, b"PAUSE", 5):
            device.state = PAUSED
        elif is_word(&msg, b"RESUME", 6):
            device.state = ACTIVE
        elif is_word(&msg, b"DRAIN", 5):
            device.state = DRAINING
            for i in range(device.way_count):
                device.ways[i].dry = False
        elif is_word(&msg, b"TERMINATE", 9):
            device.state = TERMINATED
        if device.control_traits & IN_TURN:
            number = answer(device, NULL, 0)
    <void> zmq_msg_close(&msg)
    return number


cdef bint is_open(Device *device, Way *way) noexcept nogil:
    return device.state == ACTIVE or device.state == DRAINING and not way.dry


cdef bint is_drained(Device *device) noexcept nogil:
    cdef int i
    for i in range(device.way_count):
        if not device.ways[i].dry:
            return False
    return device.state == DRAINING


cdef int promised(Device *device, bint *possible) noexcept nogil:
    """Set `possible` if the events of the sockets report work, after everything was tried. Return 0 or an errno.

    Any operation on a socket may consume the event of its file descriptor, so the events are read just before the
    sleep. All sockets are read, because a file descriptor that stays readable would end the sleep at once.
    """
    cdef int i, number, source, target
    cdef Way *way
    possible[0] = False
    if device.control is not NULL:
        number = events_of(device.control, &source)
        if number:
            return number
        possible[0] = source & ZMQ_POLLIN != 0
    if device.capture is not NULL:
        number = events_of(device.capture, &target)
        if number:
            return number
    for i in range(device.way_count):
        way = &device.ways[i]
        number = events_of(way.source, &source)
        if number == 0:
            number = events_of(way.target, &target)
        if number:
            return number
        if is_open(device, way):
            possible[0] |= target & ZMQ_POLLOUT != 0 if way.count else source & ZMQ_POLLIN != 0
    return 0


cdef int run(Device *device) noexcept nogil:
    """Forward until the device ends. Return 0, or why it has stopped earlier.

    An errno: an error. EINTR: a signal, or it is time to check for one. UNFILTERED: call the filter. REFUSED: the hook
    has ended the device.
    """
    cdef nsec check = now() + SIGNAL_CHECK
    cdef int i, number, rounds = 0, sleep
    cdef bint moved, possible, unfiltered = False
    while device.state != TERMINATED:
        moved = False
        if device.control is not NULL:
            number = obey(device)
            if number and number != EAGAIN:
                return number
            moved = number == 0
        for i in range(device.way_count):
            if is_open(device, &device.ways[i]):
                number = forward(&device.ways[i], device, &moved)
                if number == UNFILTERED:
                    unfiltered = True  # forward the other direction first
                elif number:
                    return number
        if unfiltered:
            device.doubtful = False
            return UNFILTERED
        if is_drained(device):
            return 0
        if moved:
            device.doubtful = False
            rounds += 1
            if rounds % 16 == 0 and now() > check:
                return EINTR
            continue
        number = promised(device, &possible)
        if number:
            return number
        if possible and not device.doubtful:
            device.doubtful = True
            continue
        sleep = DOUBTFUL_SLEEP if possible else SLICE
        device.doubtful = False
        count_up(device.waits, 1)
        if sleep_on(device.fds, device.fd_count, sleep, device.spin, &device.eager, None, 0) < 0:
            return errno
        if now() > check:
            return EINTR
    return 0


cdef int add_socket(Device *device, NativeSocket socket, str call) except -1:
    if socket.handle.traits & (THREAD_SAFE | DATAGRAMS):
        raise error(ENOTSUP, call, socket.handle.type, None, "a device cannot forward a draft socket")
    device.fds[device.fd_count].fd = socket.handle.fd
    device.fds[device.fd_count].events = POLLIN
    device.fd_count += 1
    return 0


cdef bint add_way(Device *device, NativeSocket source, NativeSocket target, Direction direction) except -1:
    """Add a direction if the socket types support it."""
    cdef Way *way = &device.ways[device.way_count]
    cdef zmq_msg_t *parts
    if not has_way(source.handle.type, target.handle.type):
        return False
    parts = <zmq_msg_t *> malloc(4 * sizeof(zmq_msg_t))
    if parts is NULL:
        raise MemoryError("proxy")
    <void> zmq_msg_init(parts)
    way.direction = direction
    way.source = source.handle.socket
    way.target = target.handle.socket
    way.target_traits = target.handle.traits
    way.commanding = way.target_traits & COMMANDS and not target.handle.only_first
    way.conflates = target.conflates()
    way.parts = parts
    way.room = 4
    way.flow = &device.flows[<int> direction]
    way.special = device.hook is not NULL or device.filters
    device.way_count += 1
    return True


cdef int take_held(Way *way, NativeSocket source, str call) except -1:
    """Start with the parts that the source has held for its next receive: the rest of a message, or whole messages."""
    cdef int number = 0
    while source.handle.held is not NULL:
        way.arriving = True
        if make_room(way):
            raise MemoryError(call)
        source.handle.unhold(&way.parts[way.count])
        way.count += 1
        if source.handle.held is NULL:
            number = take_rest(way)
        elif zmq_msg_more(&way.parts[way.count - 1]):
            continue
        if number == 0:
            number = push(&way.taken, way.parts, way.count)
        if number:
            raise error(number, call, source.handle.type)
        count_in(way)
        way.arriving = False
        way.count = 0
        <void> zmq_msg_init(&way.parts[0])
        way.special = True
    return 0


cdef struct Nobody:
    # A socket without a peer, and its context.
    void *context
    void *socket


cdef int keep(NativeSocket source, zmq_msg_t *parts, int *counts, int messages, Nobody *nobody) except -1:
    """Return messages to their source, for its next receives.

    A flag in each part marks whether another part follows. It is wrong in a part that a filter or hook has created or
    made the last one. Only a send sets the flag. So send such a part on a socket without a peer: that only sets it.
    """
    cdef int i, j, total = 0
    cdef bint more
    for i in range(messages):
        for j in range(counts[i]):
            more = j < counts[i] - 1
            if zmq_msg_more(&parts[total]) != more:
                if nobody.context is NULL:
                    nobody.context = zmq_ctx_new()
                    <void> zmq_ctx_set(nobody.context, ZMQ_IO_THREADS, 0)
                    nobody.socket = zmq_socket(nobody.context, ZMQ_PAIR)
                if nobody.socket is not NULL:
                    <void> zmq_msg_send(&parts[total], nobody.socket, ZMQ_DONTWAIT | (ZMQ_SNDMORE if more else 0))
                if zmq_msg_more(&parts[total]) != more:
                    raise error(zmq_errno(), "proxy", source.handle.type, f"messages={messages}",
                                "the messages that the device had received are lost")
            total += 1
    if total:
        source.handle.hold(parts, total)
    return 0


cdef int give_back(Way *way, NativeSocket source) except -1:
    """Return all messages that are not sent to their source, for its next receives, the oldest first."""
    cdef Nobody nobody = Nobody(NULL, NULL)
    cdef Queue *queues[2]
    cdef Queue *queue
    queues[0] = &way.taken
    queues[1] = &way.filtered
    try:
        # Each message is put in front of the held ones: so start with the newest.
        if way.arriving and way.count:
            source.handle.hold(way.parts, way.count)
            way.count = 0
        for queue in queues:
            keep(source, &queue.parts[queue.part], &queue.counts[queue.message], queue.message_end - queue.message,
                 &nobody)
        keep(source, way.parts, &way.count, way.count > 0, &nobody)
    finally:
        for queue in queues:
            free(queue.parts)
            free(queue.counts)
        free(way.parts)
        if nobody.socket is not NULL:
            <void> zmq_close(nobody.socket)
        if nobody.context is not NULL:
            <void> zmq_ctx_term(nobody.context)
    return 0


cdef int add_message(Queue *queue, object message, object place, size_t threshold, str call) except -1:
    """Queue a message that a filter has returned."""
    cdef zmq_msg_t *parts
    cdef int i, made = 0, number = ENOMEM
    if not isinstance(message, (list, tuple)):
        raise TypeError(f"{call}: message {place} of the filter must be a list of parts, not {message!r:.80}")
    contents = [to_buffer(data, call, f"message {place} of the filter, part {i}") for i, data in enumerate(message)]
    if not contents:
        raise ValueError(f"{call}: message {place} of the filter has no parts")
    parts = <zmq_msg_t *> malloc(len(contents) * sizeof(zmq_msg_t))
    try:
        if parts is not NULL:
            for data in contents:
                if type(data) is bytes and size_of(data) >= threshold:
                    lend(&parts[made], data, None, call)
                else:
                    copy_in(&parts[made], start_of(data), size_of(data), call)
                made += 1
            number = push(queue, parts, made)
        if number:
            raise MemoryError(call)
        made = 0
    finally:
        for i in range(made):
            <void> zmq_msg_close(&parts[i])
        free(parts)
    return 0


cdef int call_filter(Way *way, object function, size_t threshold, str call) except -1:
    """Call the filter with its batch, and queue the messages that it returns. If it raises, the batch is unchanged."""
    cdef Queue *taken = &way.taken
    cdef int count = min(taken.message_end - taken.message, BATCH), part = taken.part, i
    cdef zmq_msg_t *msg
    cdef list messages = [], message
    for i in range(count):
        message = []
        for _ in range(taken.counts[taken.message + i]):
            msg = &taken.parts[part]
            data = take(msg, zmq_msg_size(msg))
            if data is None:
                raise MemoryError(call)
            message.append(data)
            part += 1
        messages.append(message)
    answer = function("front_to_back" if way.direction == FRONT_TO_BACK else "back_to_front", messages)
    if not isinstance(answer, (list, tuple)):
        raise TypeError(f"{call}: the filter must return a list of messages, not {answer!r:.80}")
    try:
        for place, each in enumerate(answer):
            add_message(&way.filtered, each, place, threshold, call)
    except BaseException:
        discard(&way.filtered, way.filtered.message_end)
        raise
    discard(taken, count)
    return 0


cdef int mark(list sockets, bint busy, str call) except -1:
    cdef NativeSocket socket
    cdef Py_ssize_t marked = 0
    try:
        for socket in sockets:
            if not busy or socket not in sockets[:marked]:  # a socket may be frontend and backend
                with critical_section(lock_of(socket)):
                    if busy:
                        enter(socket, call)
                        socket.handle.state |= BUSY
                    else:
                        socket.handle.state &= ~BUSY
            marked += 1
    except BaseException:
        mark(sockets[:marked], False, call)
        raise
    return 0


cdef NativeSocket to_socket(object value, str call, str name):
    if not isinstance(value, NativeSocket):
        raise TypeError(f"{call}: {name} must be a Socket, not {value!r:.80}")
    return value


cdef class Numbers:
    """The counters of one run of a device. Any thread may read them at any time."""
    cdef Flow flows[2]
    cdef uint64_t waits

    def read(self) -> tuple[_Flow, _Flow, int]:
        """Return the counters from front to back, those from back to front, and how many times the loop has waited.

        For each direction: messages and bytes received, messages and bytes sent, and how often the target was full.
        """
        return numbers_of(&self.flows[0]), numbers_of(&self.flows[1]), counted(&self.waits)


cdef tuple numbers_of(Flow *flow):
    return (
        counted(&flow.messages_in), counted(&flow.bytes_in), counted(&flow.messages_out), counted(&flow.bytes_out),
        counted(&flow.full))


#: @disjoint_base
#: class Hook: ...
cdef class Hook:
    """A C function that a device calls for each message, for Cython projects: see examples/cython_hook.

    Write a cdef subclass that sets the fields `function` and `user`. A device calls the function in its own thread,
    without the GIL. If several devices share a hook, the function must be thread-safe.
    """


cdef int set_filter(Device *device, object filter, str call) except -1:
    if isinstance(filter, Hook):
        device.hook = (<Hook> filter).function
        device.user = (<Hook> filter).user
        if device.hook is NULL:
            raise ValueError(f"{call}: the hook {filter!r:.80} has no function; set it in __cinit__")
    elif filter is not None:
        if not callable(filter):
            raise TypeError(f"{call}: filter must be a function or a Hook, not {filter!r:.80}")
        device.filters = True
    return 0


cdef int warn_of_unfit(str sides, str call) except -1:
    import warnings
    warnings.warn(
        f"{call} {sides}: some multipart messages are dropped, because the target cannot send them whole: an XSUB "
        "treats a part that begins with byte 0 or 1 as a subscription (set only_first_subscribe on both ends), and a "
        "socket with conflate keeps only the last part", RuntimeWarning)
    return 0


cdef int steer(
        object front, object back, object captor, object controller, object filter, str call,
        Numbers numbers=None) except -1:
    """Run a device until it ends. Its sockets are marked as in use."""
    cdef NativeSocket frontend = to_socket(front, call, "frontend")
    cdef NativeSocket backend = to_socket(back, call, "backend")
    cdef NativeSocket capture = None if captor is None else to_socket(captor, call, "capture")
    cdef NativeSocket control = None if controller is None else to_socket(controller, call, "control")
    cdef Device device
    cdef NativeSocket source
    cdef int i, number = EINTR
    cdef bint told = False
    cdef list sockets = [frontend] if frontend is backend else [frontend, backend]
    cdef str sides = f"{frontend!r} and {backend!r}"
    if numbers is None:
        numbers = Numbers()
    memset(&device, 0, sizeof(Device))
    device.flows = numbers.flows
    device.waits = &numbers.waits
    device.state = ACTIVE
    device.eager = True
    set_filter(&device, filter, call)
    if capture is not None:
        sockets.append(capture)
    if control is not None:
        sockets.append(control)
    for source in sockets:
        enter(source, call)
        add_socket(&device, source, call)
    text = unfit(frontend.handle.type, backend.handle.type, frontend is backend)
    if text is not None:
        raise error(EINVAL, call, NO_TYPE, sides, text)
    for word, source in (("capture", capture), ("control", control)):
        if source is not None and type_name(source.handle.type) not in types_with(word):
            text = f"the {word} socket must be a {in_words(types_with(word), 'or')}"
            raise error(EINVAL, call, NO_TYPE, repr(source), text)
    if capture is not None:
        device.capture = capture.handle.socket
        device.capture_traits = capture.handle.traits
    if control is not None:
        device.control = control.handle.socket
        device.control_traits = control.handle.traits
    cdef list sources = []
    try:
        if add_way(&device, frontend, backend, FRONT_TO_BACK):
            sources.append(frontend)
        if frontend is not backend and add_way(&device, backend, frontend, BACK_TO_FRONT):
            sources.append(backend)
        for i, source in enumerate(sources):
            with critical_section(lock_of(source)):
                enter(source, call)
                take_held(&device.ways[i], source, call)
        while number == EINTR:
            mark(sockets, True, call)
            spins = [(<NativeSocket> source).handle.spin for source in sockets]
            device.spin = max(spins) if device.way_count == 2 else 0
            try:
                number = UNFILTERED
                while number == UNFILTERED:
                    for source in sockets:
                        with critical_section(lock_of(source)):
                            go_inside(source.handle)
                    with nogil:
                        number = run(&device)
                        come_out(frontend.handle)
                        if backend is not frontend:
                            come_out(backend.handle)
                        if capture is not None:
                            come_out(capture.handle)
                        if control is not None:
                            come_out(control.handle)
                    if number == UNFILTERED:
                        for i, source in enumerate(sources):
                            if not is_empty(&device.ways[i].taken) and is_empty(&device.ways[i].filtered):
                                call_filter(&device.ways[i], filter, source.handle.threshold, call)
                        interrupted(EINTR)  # a filter in C has not checked for signals
            finally:
                mark(sockets, False, call)
            if device.unfit and not told:
                told = True
                warn_of_unfit(sides, call)
            interrupted(number)
    finally:
        for i, source in enumerate(sources):
            with critical_section(lock_of(source)):
                give_back(&device.ways[i], source)
    if number == REFUSED:
        text = f"the hook returned {device.verdict}" if device.verdict < 0 else None
        raise error(EINVAL if text else device.verdict, call, NO_TYPE, f"{sides} {filter!r}", text)
    if number:
        raise error(number, call, NO_TYPE, sides)
    return 0


def proxy(
    frontend: NativeSocket, backend: NativeSocket, capture: NativeSocket | None = None, *,
    filter: _Filter | Hook | None = None
) -> None:
    """Forward messages between two sockets until the context ends, in each direction that their types support.

    Blocks the calling thread, without the GIL. It applies backpressure: it stops receiving from one side while the
    other side is at its high-water mark.

    Parameters
    ----------
    frontend, backend : Socket
        The two sockets. They may be the same socket.
    capture : Socket, optional
        A PAIR, PUB, DEALER, PUSH or XPUB socket that gets a copy of every message. While it is at its high-water mark,
        a socket that does not drop messages blocks the device.

    filter : function or Hook, optional
        A function that sees the messages before they are captured and forwarded, and may change, drop and insert
        messages.

        It is called with a direction, ``"front_to_back"`` or ``"back_to_front"``, and a list of up to 256 queued
        messages (fewer if they reach 1 MiB). Each message is a list of bytes. Messages of a ROUTER begin with the
        routing id. It returns a list of messages to forward in this direction. The list may be the same one, or longer,
        shorter or empty. The device receives no further messages in this direction before it has sent these, and
        forwards nothing while the function runs.

        If the function raises, or returns something else, the device ends, and the next receives of the source socket
        get the original messages. If the device ends for another reason, they get the messages that the function had
        returned and that were not yet sent.

        A `Hook` has a C function, which is called for each message without the GIL: see examples/cython_hook.

    Raises
    ------
    ContextTerminated
        The context has ended.
    KeyboardInterrupt
        Ctrl-C. Exceptions of other signal handlers are raised too. The next receive of the source socket gets a message
        that was not yet sent.
    InvalidArgument
        No message can pass between these socket types, or `capture` has another type.
    ZMQError
        ENOTSOCK: a socket is closed.
    SocketInUse
        Another thread, or the filter, makes a call on one of the sockets.
    TypeError, ValueError
        `filter` is not a function or Hook, or it has returned a wrong value. Exceptions of the filter are raised
        unchanged.

    See Also
    --------
    proxy_steerable : can be paused, resumed and stopped.
    zmqcy.devices.Device : runs in a thread or process, with metrics.
    """
    steer(frontend, backend, capture, None, filter, "proxy")


def proxy_steerable(
    frontend: NativeSocket, backend: NativeSocket, capture: NativeSocket | None = None,
    control: NativeSocket | None = None, *, filter: _Filter | Hook | None = None
) -> None:
    """Forward as `proxy` does, and execute commands from a control socket.

    The commands are ``PAUSE``, ``RESUME``, ``TERMINATE``, ``DRAIN`` and ``STATISTICS``:

    - A REP control socket answers the first four with an empty message.
    - After ``DRAIN`` each direction is forwarded until its source is empty. Then the device ends.
    - ``STATISTICS`` is answered with eight parts, each a 64-bit number in native byte order: messages received, bytes
      received, messages sent and bytes sent, first of the frontend, then of the backend. A message that a filter drops
      counts as received only, an inserted one as sent only.

    Parameters
    ----------
    frontend, backend : Socket
        The two sockets. They may be the same socket.
    capture : Socket, optional
        As for `proxy`.
    control : Socket, optional
        A PAIR, SUB, REP, DEALER or PULL socket. Commands wait while a filter runs. Unknown and multipart commands are
        ignored. PULL and SUB do not answer ``STATISTICS``. An answer that would block is dropped, for example if the
        controller has disconnected.
    filter : function or Hook, optional
        As for `proxy`.

    Returns
    -------
    None
        After ``TERMINATE`` or ``DRAIN``.

    Raises
    ------
    ContextTerminated, KeyboardInterrupt, InvalidArgument, ZMQError, SocketInUse, TypeError, ValueError
        For the same reasons as `proxy`.

    See Also
    --------
    proxy : without a control socket.
    """
    steer(frontend, backend, capture, control, filter, "proxy_steerable")


def counted_proxy(
    frontend: NativeSocket, backend: NativeSocket, capture: NativeSocket | None, control: NativeSocket | None,
    Numbers numbers, filter: _Filter | Hook | None = None
) -> None:
    """Forward as `proxy_steerable` does, and count in `numbers`."""
    steer(frontend, backend, capture, control, filter, "device", numbers)


def device(device_type: int, frontend: NativeSocket, backend: NativeSocket) -> None:
    """Run `proxy` as a device of libzmq. The type does not change the behavior.

    Parameters
    ----------
    device_type : int
        `STREAMER` (PULL and PUSH), `FORWARDER` (SUB and PUB) or `QUEUE` (ROUTER and DEALER).
    frontend, backend : Socket
        The two sockets.

    Raises
    ------
    ValueError
        `device_type` is not one of these.
    ContextTerminated, KeyboardInterrupt, InvalidArgument, ZMQError, SocketInUse
        For the same reasons as `proxy`.

    See Also
    --------
    proxy : the same, without a type.
    zmqcy.devices.Device : runs in a thread or process, with metrics.
    """
    to_int(device_type, "device", "device_type", ZMQ_STREAMER, ZMQ_QUEUE)
    steer(frontend, backend, None, None, None, "device")
