"""Devices: the loop that forwards messages between two sockets, without the GIL.

It moves bursts in both directions, each message whole, and takes no message from a side before the other one has room
for the last: the peers of the first feel the high-water mark. A message that is in hand when the loop ends goes back to
its socket, where the next receive finds it. Before the loop sleeps it spins as a waiting call does, for as long as the
largest `spin` of its sockets says; but not where messages go one way only, for there is no answer to be quick with.
"""

from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOMEM, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy

from zmqcy._context cimport BUSY, HELD
from zmqcy._library cimport NO_TYPE, SLICE, error, interrupted, to_int
from zmqcy._base cimport BaseSocket, enter
from zmqcy._system cimport POLLIN, now, nsec, pollfd
from zmqcy._transfer cimport events_of, sleep_on, take_back
from zmqcy.libzmq cimport (
    ENOTSUP, ZMQ_DONTWAIT, ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_PUB, ZMQ_PULL, ZMQ_PUSH, ZMQ_QUEUE, ZMQ_REP,
    ZMQ_SNDMORE, ZMQ_STREAMER, ZMQ_SUB, zmq_errno, zmq_msg_close, zmq_msg_copy, zmq_msg_data, zmq_msg_init,
    zmq_msg_init_size, zmq_msg_more, zmq_msg_recv, zmq_msg_send, zmq_msg_size, zmq_msg_t)

cdef enum:
    BURST = 1000          # messages in one direction before the other one has its turn
    SIGNAL_CHECK = 100    # ms after which a busy loop looks for signals
    DOUBTFUL_SLEEP = 10   # ms to wait for a socket that says POLLOUT, but takes no message (ROUTER, one peer full)

cdef enum State:
    ACTIVE
    PAUSED
    DRAINING              # each direction goes on until its source is found empty
    TERMINATED


cdef struct Flow:
    # The numbers of one direction.
    uint64_t messages_in
    uint64_t bytes_in
    uint64_t messages_out
    uint64_t bytes_out
    uint64_t parts_out
    uint64_t full          # how many times the target, or the capture socket, had no room


cdef struct Way:
    # One direction, and the message that is on it: `count` parts, received from the source and not yet sent.
    void *source
    void *target
    int target_type
    zmq_msg_t *parts
    int count
    int room
    uint64_t size          # of the message
    bint captured          # the message went to the capture socket already
    bint dry               # the last receive found nothing
    Flow *flow


cdef struct Device:
    Way ways[2]
    int way_count
    Flow *flows            # frontend to backend, and back
    uint64_t *waits
    void *capture
    int capture_type
    void *control
    int control_type
    State state
    pollfd fds[4]
    int fd_count
    bint doubtful          # the last look at the events promised what did not come true
    nsec spin              # the largest of the sockets
    bint eager             # the last waits were short


cdef int make_room(Way *way) noexcept nogil:
    """Have a place for one more part. Return 0 or an errno."""
    cdef zmq_msg_t *grown
    if way.count == way.room:
        grown = <zmq_msg_t *> realloc(way.parts, 2 * way.room * sizeof(zmq_msg_t))
        if grown is NULL:
            return ENOMEM
        way.parts = grown
        way.room = 2 * way.room
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
            return number
    count_in(way)
    return 0


cdef void count_in(Way *way) noexcept nogil:
    cdef int i
    way.size = 0
    for i in range(way.count):
        way.size += zmq_msg_size(&way.parts[i])
    way.flow.messages_in += 1
    way.flow.bytes_in += way.size


cdef int take_rest(Way *way) noexcept nogil:
    """Receive the parts that follow those in hand. Return 0 or an errno."""
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


cdef int send_copies(zmq_msg_t *parts, int count, void *target, int target_type) noexcept nogil:
    """Send parts as one message, whole or not at all, and keep them. Return 0, EAGAIN, or another errno."""
    cdef zmq_msg_t copy
    cdef int i = 0, number
    while i < count:
        <void> zmq_msg_init(&copy)
        if zmq_msg_copy(&copy, &parts[i]) < 0:
            return zmq_errno()
        number = 0
        if zmq_msg_send(&copy, target, ZMQ_DONTWAIT | (ZMQ_SNDMORE if i < count - 1 else 0)) < 0:
            number = zmq_errno()
            <void> zmq_msg_close(&copy)
        if number == 0:
            i += 1
        elif number == EAGAIN and i > 0:
            number = take_back(target, target_type, count - 1 - i)
            if number != EAGAIN:
                return number
            i = 0
        elif number != EINTR or i == 0:
            return number
    return 0


cdef int give_message(Way *way, Device *device) noexcept nogil:
    """Send the message in hand to the capture socket and to the target. Return 0, EAGAIN, or another errno."""
    cdef int i, number
    if device.capture is not NULL and not way.captured:
        number = send_copies(way.parts, way.count, device.capture, device.capture_type)
        if number:
            return number
        way.captured = True
    if way.count == 1:
        if zmq_msg_send(&way.parts[0], way.target, ZMQ_DONTWAIT) < 0:
            return zmq_errno()
    else:
        number = send_copies(way.parts, way.count, way.target, way.target_type)
        if number:
            return number
        for i in range(way.count):
            <void> zmq_msg_close(&way.parts[i])
        <void> zmq_msg_init(&way.parts[0])
    way.flow.messages_out += 1
    way.flow.bytes_out += way.size
    way.flow.parts_out += way.count
    way.count = 0
    way.captured = False
    return 0


cdef int forward(Way *way, Device *device, bint *moved) noexcept nogil:
    """Move a burst in one direction. Return 0, or an errno other than EAGAIN."""
    cdef int _, number, events
    for _ in range(BURST):
        if way.count == 0:
            number = take_message(way)
            if number:
                way.dry = number == EAGAIN
                return 0 if way.dry else number
        number = give_message(way, device)
        if number == EAGAIN:
            # A send without waiting sees room that was made a moment ago only after a look at the events.
            number = events_of(way.target, &events)
            if number == 0 and device.capture is not NULL:
                number = events_of(device.capture, &events)
            if number == 0:
                number = give_message(way, device)
            if number == EAGAIN:
                way.flow.full += 1
                return 0
        if number:
            return number
        moved[0] = True
    return 0


cdef int answer(Device *device, const void *data, size_t size, int flags) noexcept nogil:
    cdef zmq_msg_t msg
    if zmq_msg_init_size(&msg, size) < 0:
        return zmq_errno()
    memcpy(zmq_msg_data(&msg), data, size)
    if zmq_msg_send(&msg, device.control, flags) < 0:
        <void> zmq_msg_close(&msg)
        return zmq_errno()
    return 0


cdef bint is_word(zmq_msg_t *msg, const char *word, size_t size) noexcept nogil:
    return zmq_msg_size(msg) == size and memcmp(zmq_msg_data(msg), word, size) == 0


cdef int obey(Device *device) noexcept nogil:
    """Carry out a command from the control socket, as zmq_proxy_steerable does. Return 0, EAGAIN, or another errno."""
    cdef zmq_msg_t msg
    cdef uint64_t[8] counters
    cdef int i, number
    <void> zmq_msg_init(&msg)
    if zmq_msg_recv(&msg, device.control, ZMQ_DONTWAIT) < 0:
        return zmq_errno()
    number = 0
    if is_word(&msg, b"STATISTICS", 10):
        # parts and bytes, received and sent, of the frontend and then of the backend
        counters[0] = counters[6] = device.flows[0].parts_out
        counters[1] = counters[7] = device.flows[0].bytes_out
        counters[4] = counters[2] = device.flows[1].parts_out
        counters[5] = counters[3] = device.flows[1].bytes_out
        for i in range(8):
            if number == 0:
                number = answer(device, &counters[i], sizeof(uint64_t), ZMQ_SNDMORE if i < 7 else 0)
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
        if device.control_type == ZMQ_REP:
            number = answer(device, b"", 0, 0)
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
    """Tell whether the events of the sockets promise work, after everything was tried. Return 0 or an errno.

    Every operation on a socket may swallow the wake-up of its descriptor, so this is the last look before the sleep;
    and every socket is looked at, for a descriptor that stays readable would end the sleep at once.
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
    """Forward until an error (returned as its errno), a signal or the time to look for one (EINTR), or the end (0)."""
    cdef nsec check = now() + SIGNAL_CHECK * 1000000
    cdef int i, number, rounds = 0, sleep
    cdef bint moved, possible
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
                if number:
                    return number
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
        device.waits[0] += 1
        if sleep_on(device.fds, device.fd_count, sleep, device.spin, &device.eager, NULL, 0) < 0:
            return errno
        if now() > check:
            return EINTR
    return 0


cdef int add_socket(Device *device, BaseSocket socket, str call) except -1:
    if socket.record.fd < 0:
        raise error(ENOTSUP, call, socket.record.type, None, "a thread-safe draft socket cannot be forwarded")
    device.fds[device.fd_count].fd = socket.record.fd
    device.fds[device.fd_count].events = POLLIN
    device.fd_count += 1
    return 0


cdef bint add_way(Device *device, BaseSocket source, BaseSocket target, Flow *flow) except -1:
    """Add a direction, if the types of its sockets have it."""
    cdef Way *way = &device.ways[device.way_count]
    cdef zmq_msg_t *parts
    if source.record.type in (ZMQ_PUSH, ZMQ_PUB) or target.record.type in (ZMQ_PULL, ZMQ_SUB):
        return False
    parts = <zmq_msg_t *> malloc(4 * sizeof(zmq_msg_t))
    if parts is NULL:
        raise MemoryError("proxy")
    <void> zmq_msg_init(parts)
    way.source = source.record.handle
    way.target = target.record.handle
    way.target_type = target.record.type
    way.parts = parts
    way.room = 4
    way.flow = flow
    device.way_count += 1
    return True


cdef int take_held(Way *way, BaseSocket source, str call) except -1:
    """Begin with the parts that the source keeps for its next receive: the rest of one message."""
    cdef int number
    if not source.record.state & HELD:
        return 0
    while source.record.state & HELD:
        if make_room(way):
            raise MemoryError("proxy")
        source.unhold(&way.parts[way.count])
        way.count += 1
    number = take_rest(way)
    if number:
        raise error(number, call, source.record.type)
    count_in(way)
    return 0


cdef int give_back(Way *way, BaseSocket source) except -1:
    """Leave a message that is still in hand to the next receive of its source."""
    if way.count:
        source.hold(way.parts, way.count)
    free(way.parts)
    return 0


cdef int mark(list sockets, bint busy, str call) except -1:
    cdef BaseSocket socket
    for socket in sockets:
        if busy:
            enter(socket, call)
    for socket in sockets:
        if busy:
            socket.record.state |= BUSY
            socket.record.inside = True
        else:
            socket.record.state &= ~BUSY
    return 0


cdef BaseSocket to_socket(object value, str call, str name):
    if not isinstance(value, BaseSocket):
        raise TypeError(f"{call}: {name} must be a Socket, not {value!r:.80}")
    return value


cdef class Numbers:
    """The numbers of a device, from one run of its loop; to be read at any time by any thread."""
    cdef Flow flows[2]
    cdef uint64_t waits

    def read(self):
        """Return what went from front to back, what went back, and how many times the loop waited.

        Of each direction: messages and bytes in, messages and bytes out, and how many times there was no room.
        """
        cdef Flow ahead = self.flows[0], back = self.flows[1]
        return (
            (ahead.messages_in, ahead.bytes_in, ahead.messages_out, ahead.bytes_out, ahead.full),
            (back.messages_in, back.bytes_in, back.messages_out, back.bytes_out, back.full),
            self.waits)


cdef int steer(object front, object back, object captor, object controller, str call, Numbers numbers=None) except -1:
    """Run a device until it ends, with its sockets marked as in use."""
    cdef BaseSocket frontend = to_socket(front, call, "frontend")
    cdef BaseSocket backend = to_socket(back, call, "backend")
    cdef BaseSocket capture = None if captor is None else to_socket(captor, call, "capture")
    cdef BaseSocket control = None if controller is None else to_socket(controller, call, "control")
    cdef Device device
    cdef BaseSocket source
    cdef int i, number = EINTR
    cdef list sockets = [frontend] if frontend is backend else [frontend, backend]
    cdef str sides = f"{frontend!r} and {backend!r}"
    if numbers is None:
        numbers = Numbers()
    device.flows = numbers.flows
    device.waits = &numbers.waits
    device.way_count = device.fd_count = 0
    device.capture = device.control = NULL
    device.state = ACTIVE
    device.doubtful = False
    device.eager = True
    if capture is not None:
        sockets.append(capture)
    if control is not None:
        sockets.append(control)
    for i in range(2):
        device.ways[i] = Way(NULL, NULL, 0, NULL, 0, 0, 0, False, False, NULL)
    for source in sockets:
        enter(source, call)
        add_socket(&device, source, call)
    if capture is not None:
        device.capture = capture.record.handle
        device.capture_type = capture.record.type
    if control is not None:
        device.control = control.record.handle
        device.control_type = control.record.type
    cdef list sources = []
    try:
        if add_way(&device, frontend, backend, &numbers.flows[0]):
            sources.append(frontend)
        if frontend is not backend and add_way(&device, backend, frontend, &numbers.flows[1]):
            sources.append(backend)
        if not sources:
            raise error(EINVAL, call, NO_TYPE, sides, "no message can go between these types")
        for i, source in enumerate(sources):
            take_held(&device.ways[i], source, call)
        while number == EINTR:
            mark(sockets, True, call)
            device.spin = max([(<BaseSocket> source).record.spin for source in sockets]) if device.way_count == 2 else 0
            try:
                with nogil:
                    number = run(&device)
                    frontend.record.inside = backend.record.inside = False
                    if capture is not None:
                        capture.record.inside = False
                    if control is not None:
                        control.record.inside = False
            finally:
                mark(sockets, False, call)
            interrupted(number)
    finally:
        for i, source in enumerate(sources):
            give_back(&device.ways[i], source)
    if number:
        raise error(number, call, NO_TYPE, sides)
    return 0


def proxy(frontend, backend, capture=None):
    """Forward messages between two sockets, in both directions where their types have them, until the context ends.

    Runs in the calling thread, without the GIL. Nothing is taken from a side while the other is full.

    Parameters
    ----------
    frontend, backend : Socket
        The sockets; they may be the same one.
    capture : Socket, optional
        A PUB, PUSH, DEALER or PAIR socket that gets a copy of every message; it holds the rest up where it is full.

    Raises
    ------
    ContextTerminated
        The context was ended.
    KeyboardInterrupt
        Or what another signal handler raises. A message that was under way is left to the next receive of its socket.
    InvalidArgument
        Nothing can go between sockets of these types.
    ZMQError
        ENOTSOCK: a socket is closed.
    SocketInUse
        Another thread is in a call on one of the sockets.
    """
    steer(frontend, backend, capture, None, "proxy")


def proxy_steerable(frontend, backend, capture=None, control=None):
    """Forward as `proxy` does, and obey a control socket.

    It takes ``PAUSE``, ``RESUME``, ``TERMINATE`` and ``DRAIN``, each answered by an empty message where it is a REP
    socket, and ``STATISTICS``, answered by eight parts with a 64-bit number in the machine's order: of the frontend the
    parts received, bytes received, parts sent, bytes sent, and the same of the backend. After ``DRAIN`` a direction is
    forwarded until its source has nothing left; when that is so for both the device ends.

    Parameters
    ----------
    frontend, backend : Socket
        The sockets; they may be the same one.
    capture : Socket, optional
        As for `proxy`.
    control : Socket, optional
        A PAIR, PULL, SUB or REP socket.

    Returns
    -------
    None
        After ``TERMINATE`` or ``DRAIN``.

    Raises
    ------
    ContextTerminated, KeyboardInterrupt, InvalidArgument, ZMQError, SocketInUse
        As `proxy` does.
    """
    steer(frontend, backend, capture, control, "proxy_steerable")


def counted_proxy(frontend, backend, capture, control, Numbers numbers):
    """Forward as `proxy_steerable` does, and count in `numbers`."""
    steer(frontend, backend, capture, control, "device", numbers)


def device(device_type, frontend, backend):
    """Run a device: `proxy` under the name of what it is for.

    Parameters
    ----------
    device_type : int
        `STREAMER` (PULL and PUSH), `FORWARDER` (SUB and PUB) or `QUEUE` (ROUTER and DEALER).
    frontend, backend : Socket
        The sockets of the device.

    Raises
    ------
    ValueError
        There is no such device.
    ContextTerminated, KeyboardInterrupt, InvalidArgument, ZMQError, SocketInUse
        As `proxy` does.
    """
    to_int(device_type, "device", "device_type", ZMQ_STREAMER, ZMQ_QUEUE)
    steer(frontend, backend, None, None, "device")
