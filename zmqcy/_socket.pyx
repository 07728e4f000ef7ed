"""Sockets: the path of a message.

A call on a socket meets one check (`enter`), tries with ZMQ_DONTWAIT while it holds the GIL, and only where that says
EAGAIN and the caller may wait lets go of the GIL and goes on in `_transfer`. Every other call of libzmq goes through
the gate (`check`), which turns an errno into an exception.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from libc.errno cimport EAGAIN, EBUSY, ECHILD, EINTR, EINVAL, EMFILE, EMSGSIZE, ENOMEM, ENOTSOCK
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from zmqcy._context cimport (
    BUSY, CLOSED, ENDED, FORKED, HELD, WATCHED, Context, Link, Property, SocketRecord, Stats, Watch, delist, enlist,
    insert, kind_of, note_last, spare_descriptors)
from zmqcy._library cimport (
    EXPIRED, FOREVER, LAST_TYPE, NO_TYPE, c_string, check, deadline_after, error, interrupted, remaining, round_up,
    set_attribute, to_flags, to_int, to_integer, to_milliseconds, to_spin, type_name)
from zmqcy._message cimport (
    BIG, Frame, MessageTracker, collect, copy_bytes, copy_in, copy_of, default_threshold, lend, new_frame, new_tracker,
    size_of, start_of, take, to_content, to_threshold)
from zmqcy._system cimport epoll_remove, now, nsec
from zmqcy._transfer cimport (
    Batch, Catch, Part, catch_more, caught, events_of, make_room, receive, transmit, wait_on)
from zmqcy.libzmq cimport (
    ENOTSUP, ETERM, ZMQ_DONTWAIT, ZMQ_EVENTS, ZMQ_FD, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS, ZMQ_POLLIN,
    ZMQ_RCVMORE, ZMQ_RCVTIMEO, ZMQ_SNDMORE, ZMQ_SNDTIMEO, ZMQ_STREAM, ZMQ_TYPE, zmq_bind, zmq_close, zmq_connect,
    zmq_ctx_get, zmq_disconnect, zmq_errno as last_errno, zmq_fd_t, zmq_getsockopt, zmq_has, zmq_msg_close,
    zmq_msg_data, zmq_msg_init, zmq_msg_more, zmq_msg_recv, zmq_msg_size, zmq_msg_t, zmq_send, zmq_setsockopt,
    zmq_socket, zmq_unbind)

from zmqcy import errors
from zmqcy.options import SOCKET_OPTIONS

cdef enum:
    ASK = -1              # libzmq whether a part follows: the last one was not a held one
    NOT_TRIED = -1        # instead of an errno: a receive is not worth trying before the GIL is let go
    FEW = 8               # parts for which there is room on the stack
    SOME = 128            # messages of a batch up to which the GIL is kept: to get it back would cost more
    CHUNK = 1024          # messages received before they are made objects: the GIL changes hands so often
    LONGEST_VALUE = 4096  # bytes of the longest option value that is read
    MOST_OPTIONS = 256    # above the largest number of an option


cdef list ONE_EACH = []  # the ends of messages of one part

# -------------------------------------------------------------------------------------------------------------- sockets

cdef void forget(SocketRecord *record) noexcept:
    """Let pollers read the events of a socket again, which may change."""
    cdef Watch *watch
    cdef Link *link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.of_poller.place is NULL:
            insert(&watch.of_poller, watch.unread)
        link = link.following
    record.state &= ~WATCHED


cdef void withdraw(SocketRecord *record) noexcept:
    """Take a socket out of the epoll sets of pollers before its descriptor is closed, by us or behind our back.

    A set would keep a descriptor of which a forked child has a copy; and the number may soon be another socket's.
    """
    cdef Watch *watch
    cdef Link *link = record.watches
    while link is not NULL:
        watch = <Watch *> link.owner
        if watch.epoll >= 0:
            epoll_remove(watch.epoll, record.fd)
            watch.epoll = -1
        link = link.following
    forget(record)


cdef inline int enter(Socket socket, str call) except -1:
    if socket.record.state & (BUSY | CLOSED | FORKED | WATCHED):
        return socket.enter_slowly(call)
    return 0


cdef int admit(Socket socket, str call) except -1:
    return enter(socket, call)


cdef inline void count_in(SocketRecord *record, size_t size, bint more) noexcept:
    record.stats.bytes_received += size
    record.stats.messages_received += not more


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


cdef zmq_msg_t *spare = NULL  # room for CHUNK parts, for whoever receives a batch next


cdef void borrow_room(Catch *haul) noexcept:
    """Have room for a batch; where there is no memory for it the messages come by the few."""
    global spare
    if spare is NULL:
        make_room(haul, CHUNK)
        return
    memcpy(spare, haul.parts, haul.count * sizeof(zmq_msg_t))
    haul.parts = spare
    haul.room = CHUNK
    haul.grown = True
    spare = NULL


cdef void give_back_room(Catch *haul) noexcept:
    global spare
    if spare is NULL and haul.room == CHUNK:
        spare = haul.parts
    else:
        free(haul.parts)


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


cdef class Socket:
    """A socket: what sends and receives messages, each a run of bytes or several of them.

    One thread at a time may use it; a second one gets SocketInUse. It may go from thread to thread.

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

    def __cinit__(self):
        self.record.state = CLOSED
        self.record.owner = <void *> self
        self.record.fd = -1
        self.record.type = -1
        self.held_more = ASK

    def __init__(self, context, type):
        if not isinstance(context, Context):
            raise TypeError(f"Socket: context must be a Context, not {context!r:.80}")
        self.open(context, type)

    cdef int open(self, Context context, object type) except -1:
        cdef int number = to_int(type, "socket", "type")
        cdef void *handle
        if self.record.handle is not NULL:
            raise RuntimeError("Socket: already initialised")
        context.enter("socket")
        if ZMQ_STREAM < number <= LAST_TYPE and not zmq_has(b"draft"):
            raise error(ENOTSUP, "socket", NO_TYPE, f"type={type_name(number)}", "this libzmq has no draft sockets")
        self.set_threshold(default_threshold())
        spare_descriptors(context)
        handle = zmq_socket(context.ending.handle, number)
        if handle is NULL:
            code = last_errno()
            detail = f"type={type_name(number)}"
            if code == EMFILE:
                detail += f" max_sockets={zmq_ctx_get(context.ending.handle, ZMQ_MAX_SOCKETS)}"
            raise error(code, "socket", NO_TYPE, detail)
        self.record.handle = handle
        self.record.type = number
        self.owner = context
        self.record.spin = context.spin_bound
        self.record.eager = self.record.spin != 0
        enlist(&self.record, context.ending)
        self.find_descriptor()
        self.record.state = 0

    def __dealloc__(self):
        cdef zmq_msg_t msg
        while self.record.state & HELD:
            <void> zmq_msg_init(&msg)
            self.unhold(&msg)
            <void> zmq_msg_close(&msg)
        if not self.record.state & (CLOSED | FORKED):
            delist(&self.record)
            if not self.is_shadow:
                self.close_handle()
        if self.record.ending is not NULL and not self.record.ending.forked:
            self.record.ending.owners -= 1

    cdef void close_handle(self) noexcept:
        note_last(&self.record)
        <void> zmq_close(self.record.handle)

    cdef void find_descriptor(self) noexcept:
        cdef zmq_fd_t fd
        cdef size_t size = sizeof(fd)
        if zmq_getsockopt(self.record.handle, ZMQ_FD, &fd, &size) == 0:
            self.record.fd = <int> fd

    @classmethod
    def shadow(cls, address):
        """Wrap a socket that something else made, and leave it open when the wrapper goes.

        Parameters
        ----------
        address : int or object
            The address of libzmq's socket, or an object that has it as `underlying`.

        Returns
        -------
        Socket
            `close` on it closes the socket of both.
        """
        cdef Socket self = cls.__new__(cls)
        cdef int number = 0
        cdef size_t size = sizeof(int)
        self.origin = address
        address = getattr(address, "underlying", address)
        if not isinstance(address, int) or address <= 0:
            raise TypeError(f"shadow: the address of a socket is a positive int, not {address!r}")
        self.record.handle = <void *> <size_t> address
        check(zmq_getsockopt(self.record.handle, ZMQ_TYPE, &number, &size), "shadow", NO_TYPE, hex(address))
        self.record.type = number
        self.is_shadow = self.shared = True
        self.set_threshold(default_threshold())
        enlist(&self.record, NULL)
        self.find_descriptor()
        self.record.state = 0
        return self

    cdef int enter_slowly(self, str call) except -1:
        """Let pollers forget what the call may change, and raise what forbids the call."""
        if self.record.state & WATCHED:
            forget(&self.record)
        if not self.record.state & (BUSY | CLOSED | FORKED):
            return 0
        if self.record.state & ENDED:
            raise error(ETERM, call, self.record.type)
        if self.record.state & CLOSED:
            raise error(ENOTSOCK, call, self.record.type, None, "the socket is closed")
        if self.record.state & FORKED:
            raise error(ECHILD, call, self.record.type, None, "the socket was made before the fork: make one here")
        raise error(EBUSY, call, self.record.type, None, "another thread is in a call on this socket")

    # ---- sending

    cdef inline bint put_quickly(self, const char *data, size_t size, int flags) noexcept:
        """Send one part that is short at once, if that can be. Comes after `enter`."""
        if size >= self.quick_size or zmq_send(self.record.handle, data, size, flags & ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0:
            return False
        self.record.asked = True
        self.record.stats.bytes_sent += size
        self.record.stats.messages_sent += not flags & ZMQ_SNDMORE
        return True

    cdef Py_ssize_t put_parts(
            self, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
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
            enter(self, call)
            if len(parts) > FEW:
                batch.parts = <Part *> malloc(len(parts) * sizeof(Part))
                if batch.parts is NULL:
                    raise MemoryError(call)
            self.load(&batch, parts, ends, flags & ZMQ_SNDMORE, copy, tracker, call)
            enter(self, call)  # the GIL was let go for big copies
            if batch.count <= SOME:
                number = transmit(&self.record, &batch, EXPIRED)
            else:
                self.record.state |= BUSY
                self.record.inside = True
                with nogil:
                    number = transmit(&self.record, &batch, EXPIRED)
                    self.record.inside = False
                self.record.state &= ~BUSY
            if number:
                self.complete(&batch, NULL, flags, timeout, call, number)
            return batch.sent
        except BaseException as exception:
            if ends is not None:
                exception.sent = batch.sent
            raise
        finally:
            unload(&batch)
            if batch.parts is not few:
                free(batch.parts)

    cdef int load(
            self, Batch *batch, list parts, list ends, int flags, object copy, MessageTracker tracker,
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
                lent = not copied and (part.size >= self.threshold or tracked)
            elif type(data) is Frame:
                part.size = zmq_msg_size(&(<Frame> data).msg)
                self.prepare(part, data, copied, tracker, call)
                continue
            else:
                part.data = start_of(data)
                part.size = size_of(data)
                lent = chosen and not copied
            if lent or tracked or part.size >= BIG:
                self.prepare(part, data, not lent, tracker, call)
        return 0

    cdef int prepare(
            self, Part *part, object data, bint copied, MessageTracker tracker, str call) except -1:
        """Make the message of a part: a copy, or of the memory of its buffer or frame."""
        cdef zmq_msg_t *msg = <zmq_msg_t *> malloc(sizeof(zmq_msg_t))
        if msg is NULL:
            raise MemoryError(call)
        try:
            if type(data) is Frame and tracker is None:
                (<Frame> data).share(msg, copied, call)
            elif type(data) is Frame:
                lend(msg, (<Frame> data).lendable(copied), tracker, call)
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
            self, Batch *batch, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1:
        """Go on after a first attempt to send or receive, that ended with an errno: wait where that is allowed.

        Return 1, or 0 for QUIET and where some messages of a batch went; where it raises no part of the message in
        turn was sent or taken.
        """
        cdef nsec deadline = EXPIRED
        cdef nsec start = 0
        if number in (EAGAIN, EINTR, NOT_TRIED) and not flags & ZMQ_DONTWAIT:
            deadline = self.deadline_of(timeout, ZMQ_RCVTIMEO if batch is NULL else ZMQ_SNDTIMEO, call)
            start = now()
        while number:
            if number == EAGAIN:
                if deadline == EXPIRED or remaining(deadline) == 0:
                    return self.would_block(flags | QUIET if batch is not NULL and batch.sent else flags, start, call)
            elif number != NOT_TRIED and not interrupted(number):
                raise error(number, call, self.record.type)
            enter(self, call)  # a signal handler may have closed the socket
            self.record.state |= BUSY
            self.record.inside = True
            with nogil:
                if batch is NULL:
                    number = receive(&self.record, msg, deadline)
                else:
                    number = transmit(&self.record, batch, deadline)
                self.record.inside = False
            self.record.state &= ~BUSY
        return 1

    cdef int would_block(self, int flags, nsec waited, str call) except -1:
        self.record.stats.would_blocks += 1
        if flags & QUIET:
            return 0
        if waited:
            raise errors.TimedOut(
                EAGAIN, call=call, detail=f"after {(now() - waited) // 1000000} ms",
                socket_type=type_name(self.record.type))
        raise error(EAGAIN, call, self.record.type)

    cdef nsec deadline_of(self, object timeout, int option, str call) except -2:
        """Return when a call's own timeout ends or, where it has none, the socket's."""
        cdef int milliseconds = FOREVER
        cdef size_t size = sizeof(int)
        if timeout is not None:
            return deadline_after(timeout, call)
        check(zmq_getsockopt(self.record.handle, option, &milliseconds, &size), call, self.record.type, None)
        return deadline_after(milliseconds, call)

    def send(self, data, flags=0, copy=None, track=False, *, timeout=None):
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
            ROUTER with `router_mandatory`: no such peer.
        NotSupported
            The type of the socket does not send.
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
        if copy is None and track is False:
            if type(data) is bytes:
                enter(self, "send")
                if self.put_quickly(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), f):
                    return None
            else:
                data = to_content(data, "send", None)
                enter(self, "send")
                if type(data) is not Frame and self.put_quickly(start_of(data), size_of(data), f):
                    return None
        return self.put_tracked([to_content(data, "send", None)], f, copy, track, timeout, "send")

    cdef object put_tracked(self, list parts, int flags, object copy, object track, object timeout, str call):
        """Send one message, in one part or several, and return its tracker if there shall be one."""
        cdef MessageTracker tracker = new_tracker() if track else None
        self.put_parts(parts, None, flags, copy, tracker, timeout, call)
        if tracker is not None:
            tracker.seal()
        return tracker

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
        if type(data) is not Frame and self.put_quickly(start_of(data), size_of(data), 0):
            return True
        return self.put_parts([data], None, ZMQ_DONTWAIT | QUIET, None, None, None, "try_send") == 1

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
        cdef list items = to_contents(parts, "send_multipart", "parts", "part")
        if not items:
            raise ValueError("send_multipart: a message has one part at least")
        return self.put_tracked(items, f, copy, track, timeout, "send_multipart")

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
        return self.put_many(messages, False, flags, timeout, "send_many")

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
        return self.put_many(messages, True, flags, timeout, "send_multipart_many")

    cdef object put_many(self, object messages, bint nested, object flags, object timeout, str call):
        cdef int f
        cdef list parts, ends = []
        try:
            f = to_flags(flags, call)
            if f & ZMQ_SNDMORE:
                raise ValueError(f"{call}: SNDMORE cannot be among the flags: the messages are whole")
            if nested:
                parts = []
                for i, message in enumerate(to_list(messages, call, "messages")):
                    message = to_contents(message, call, f"message {i}", f"message {i}, part")
                    if not message:
                        raise ValueError(f"{call}: message {i} has no parts")
                    parts += message
                    ends.append(len(message))
            else:
                parts = to_contents(messages, call, "messages", "message")
            if not parts:
                self.current_events(call)  # or it is closed, or its context has ended
                return 0
        except BaseException as exception:
            exception.sent = 0
            raise
        return self.put_parts(parts, ends if nested else ONE_EACH, f, None, None, timeout, call)

    # ---- receiving

    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        """Receive one part into an initialised message. Return 1, or 0 where it would wait and the flags have QUIET."""
        enter(self, call)
        if self.record.state & HELD:
            self.unhold(msg)
            return 1
        self.held_more = ASK
        if self.record.asked and self.record.answers_soon and not flags & ZMQ_DONTWAIT:
            self.record.turns += 1
            if self.record.turns % 32:
                return self.complete(NULL, msg, flags, timeout, call, NOT_TRIED)
        if zmq_msg_recv(msg, self.record.handle, ZMQ_DONTWAIT) >= 0:
            self.record.asked = self.record.answers_soon = False
            return 1
        return self.complete(NULL, msg, flags, timeout, call, last_errno())

    cdef object keep(self, zmq_msg_t *msg, str call):
        """Make bytes of a part that was received, and close it; where there is no memory, it waits."""
        cdef size_t size = zmq_msg_size(msg)
        data = take(msg, size)
        if data is None:
            self.hold(msg, 1)
            raise MemoryError(f"{call}: no memory for {size} bytes; the message waits")
        count_in(&self.record, size, zmq_msg_more(msg))
        <void> zmq_msg_close(msg)
        return data

    cdef list gather(
            self, Py_ssize_t limit, bint whole, bint nested, bint framed, int flags, object timeout, str call):
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
        self.get(few, flags, timeout, call)
        caught(&haul)
        self.record.state |= BUSY  # nobody may take a part of ours while a big one is copied
        try:
            if limit > FEW:
                borrow_room(&haul)
            while True:
                number = self.catch_held(&haul)
                if number == 0 and not (self.record.state & HELD):
                    self.held_more = ASK
                    if limit > SOME:
                        self.record.inside = True
                        with nogil:
                            number = catch_more(self.record.handle, &haul)
                            self.record.inside = False
                    else:
                        number = catch_more(self.record.handle, &haul)
                if number and haul.more:
                    tail = haul.count - 1
                    while tail and zmq_msg_more(&haul.parts[tail - 1]):
                        tail -= 1
                    self.hold(&haul.parts[tail], haul.count - tail)
                    haul.count = tail
                    if not tail and not result:
                        raise error(number, call, self.record.type)
                if not self.unpack(&haul, result, nested, framed, call) or number or haul.taken >= limit:
                    return result
        finally:
            self.record.state &= ~BUSY
            if haul.grown:
                give_back_room(&haul)

    cdef int catch_held(self, Catch *haul) noexcept:
        """Take of the parts that are held what is wanted. Return 0 or ENOMEM."""
        while self.record.state & HELD and (haul.more or haul.taken < haul.limit):
            if haul.count == haul.room and make_room(haul, 2 * haul.room):
                return ENOMEM
            self.unhold(&haul.parts[haul.count])
            caught(haul)
        return 0

    cdef bint unpack(self, Catch *haul, list result, bint nested, bint framed, str call) except -1:
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
                item = new_frame() if framed else take(&haul.parts[i], size)
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
                count_in(&self.record, total, False)
                total = 0
                made = len(result)
        except MemoryError:
            del result[made:]
            self.hold(&haul.parts[first], haul.count - first)
            haul.count = 0
            if not result:
                raise
            return False
        haul.count = 0
        return True

    cdef int hold(self, zmq_msg_t *parts, int count) except -1:
        """Keep parts that could not be handed over, in front of what the next receives get."""
        cdef int kept = self.held_count - self.held_first
        cdef zmq_msg_t *held = <zmq_msg_t *> calloc(count + kept, sizeof(zmq_msg_t))
        if held is NULL:
            raise MemoryError()
        memcpy(held, parts, count * sizeof(zmq_msg_t))  # libzmq moves messages by value too
        if kept:
            memcpy(held + count, self.held + self.held_first, kept * sizeof(zmq_msg_t))
        free(self.held)
        self.held = held
        self.held_first = 0
        self.held_count = count + kept
        self.record.state |= HELD
        forget(&self.record)
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first of the kept parts into an initialised message."""
        memcpy(msg, self.held + self.held_first, sizeof(zmq_msg_t))
        self.held_more = zmq_msg_more(msg)
        self.held_first += 1
        if self.held_first == self.held_count:
            free(self.held)
            self.held = NULL
            self.held_first = self.held_count = 0
            self.record.state &= ~HELD

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
        cdef zmq_msg_t msg
        cdef Frame frame
        cdef int f = to_flags(flags, "recv")
        if copy is not True and not copy:
            frame = new_frame()
            self.get(&frame.msg, f, timeout, "recv")
            count_in(&self.record, zmq_msg_size(&frame.msg), zmq_msg_more(&frame.msg))
            return frame
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv")
        return self.keep(&msg, "recv")

    def try_recv(self):
        """Receive a message if one is there.

        Returns
        -------
        bytes or None
            None: there is none.
        """
        cdef zmq_msg_t msg
        <void> zmq_msg_init(&msg)
        if not self.get(&msg, ZMQ_DONTWAIT | QUIET, None, "try_recv"):
            return None
        return self.keep(&msg, "try_recv")

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
        cdef zmq_msg_t msg
        cdef int f = to_flags(flags, "recv_into")
        cdef Py_buffer *view
        cdef size_t size, room
        target = to_target(buffer, "recv_into", None)
        view = PyMemoryView_GET_BUFFER(target)
        if not isinstance(nbytes, int) or not 0 <= nbytes <= view.len:
            raise ValueError(f"recv_into: nbytes must be an int from 0 to {view.len}, not {nbytes!r}")
        room = nbytes or view.len
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv_into")
        size = zmq_msg_size(&msg)
        if size > room:
            self.hold(&msg, 1)
            detail = f"a message of {size} bytes into a buffer of {room}"
            raise error(EMSGSIZE, "recv_into", self.record.type, detail)
        copy_bytes(view.buf, zmq_msg_data(&msg), size)
        count_in(&self.record, size, zmq_msg_more(&msg))
        <void> zmq_msg_close(&msg)
        return size

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
        return self.gather(1, True, False, not copy, f, timeout, "recv_multipart")

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
        cdef int f = to_flags(flags, call)
        cdef list targets = [to_target(buffer, call, i) for i, buffer in enumerate(to_list(buffers, call, "buffers"))]
        cdef list frames = self.gather(1, True, False, True, f, timeout, call)
        cdef list sizes = [zmq_msg_size(&(<Frame> frame).msg) for frame in frames]
        cdef Py_ssize_t i
        cdef str detail = None
        if len(frames) > len(targets):
            detail = f"a message of {len(frames)} parts into {len(targets)} buffers"
        for i in range(min(len(frames), len(targets))):
            if sizes[i] > PyMemoryView_GET_BUFFER(targets[i]).len:
                detail = f"part {i} of {sizes[i]} bytes into a buffer of {PyMemoryView_GET_BUFFER(targets[i]).len}"
                break
        if detail:
            self.hold_frames(frames)
            self.record.stats.messages_received -= 1
            self.record.stats.bytes_received -= <uint64_t> sum(sizes)
            raise error(EMSGSIZE, call, self.record.type, detail)
        for i in range(len(frames)):
            copy_bytes(PyMemoryView_GET_BUFFER(targets[i]).buf, zmq_msg_data(&(<Frame> frames[i]).msg), sizes[i])
        return sizes

    cdef int hold_frames(self, list frames) except -1:
        """Keep the parts of frames that nobody else has for the next receive."""
        cdef Frame frame
        for frame in reversed(frames):
            self.hold(&frame.msg, 1)
            <void> zmq_msg_init(&frame.msg)
        return 0

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
        return self.gather(most, False, False, False, f, timeout, "recv_many")

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
        return self.gather(most, True, True, False, f, timeout, "recv_multipart_many")

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self.recv()
        except errors.ContextTerminated:
            raise StopIteration from None

    # ---- waiting

    cdef int current_events(self, str call) except -1:
        """Return what can be done now: ZMQ_EVENTS, and POLLIN for a message that waits here."""
        cdef int events = 0
        cdef int number
        enter(self, call)
        while True:
            number = events_of(self.record.handle, &events)
            if not interrupted(number):
                break
            enter(self, call)
        if number:
            raise error(number, call, self.record.type)
        return events | ZMQ_POLLIN if self.record.state & HELD else events

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
            self.record.state |= BUSY
            self.record.inside = True
            with nogil:
                number = wait_on(&self.record, <short> wanted, deadline)
                self.record.inside = False
            self.record.state &= ~BUSY
            if number and number != EAGAIN and not interrupted(number):
                raise error(number, "poll", self.record.type)

    # ---- endpoints

    cdef int on_endpoint(self, str call, object endpoint) except -1:
        """Make one of the four calls that take an endpoint, without the GIL: they may look up names."""
        cdef bytes text = c_string(endpoint, call, "endpoint")
        cdef const char *address = text
        port = text.rpartition(b":")[2]
        if not text.startswith((b"inproc:", b"ipc:")) and port.isdigit() and int(port) > 65535:
            # libzmq would take it modulo 65536
            raise error(EINVAL, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        cdef int (*function)(void *, const char *) noexcept nogil
        cdef int number
        if call == "bind":
            function = zmq_bind
        elif call == "connect":
            function = zmq_connect
        elif call == "unbind":
            function = zmq_unbind
        else:
            function = zmq_disconnect
        while True:
            enter(self, call)
            self.record.state |= BUSY
            self.record.inside = True
            with nogil:
                number = 0 if function(self.record.handle, address) >= 0 else last_errno()
                self.record.inside = False
            self.record.state &= ~BUSY
            if not interrupted(number):
                break
        if number:
            raise error(number, call, self.record.type, text.decode("utf-8", "backslashreplace"))
        return 0

    def bind(self, endpoint):
        """Accept connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            ``tcp://127.0.0.1:5555``, ``tcp://*:*`` (`last_endpoint` tells the port), ``ipc:///path`` or
            ``inproc://name``.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EADDRINUSE: it is taken. EADDRNOTAVAIL, ENODEV: the machine has no such address. EPROTONOSUPPORT: this
            libzmq has no such transport.
        IncompatibleProtocol
            The transport does not go with the type of the socket.
        ValueError
            The endpoint has a NUL character.
        """
        self.on_endpoint("bind", endpoint)

    def unbind(self, endpoint):
        """Accept no more connections at an endpoint.

        Parameters
        ----------
        endpoint : str
            As `last_endpoint` had it after the bind.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not bound there.
        """
        self.on_endpoint("unbind", endpoint)

    def connect(self, endpoint):
        """Connect to an endpoint; the connection is made, and made again when it breaks, in the background.

        Parameters
        ----------
        endpoint : str
            ``tcp://host:port``, ``ipc:///path``, ``inproc://name``.

        Raises
        ------
        InvalidArgument
            The endpoint is malformed.
        ZMQError
            EPROTONOSUPPORT: this libzmq has no such transport.
        IncompatibleProtocol
            The transport does not go with the type of the socket.
        ValueError
            The endpoint has a NUL character.
        """
        self.on_endpoint("connect", endpoint)

    def disconnect(self, endpoint):
        """End a connection that `connect` made.

        Parameters
        ----------
        endpoint : str
            As it was connected.

        Raises
        ------
        ZMQError
            ENOENT: the socket is not connected there.
        """
        self.on_endpoint("disconnect", endpoint)

    def close(self, linger=None):
        """Close the socket. What it has queued is sent in the background, for as long as its linger says.

        Closing a closed socket does nothing.

        Parameters
        ----------
        linger : int or timedelta, optional
            Milliseconds; 0 drops what is queued. By default as the option is set.

        Raises
        ------
        SocketInUse
            Another thread is in a call on this socket.
        """
        if self.record.state & CLOSED:
            return
        if not self.record.state & FORKED:  # the parent's is left to the parent
            enter(self, "close")
            if linger is not None:
                try:
                    self.setsockopt(ZMQ_LINGER, linger)
                except errors.ContextTerminated:
                    pass  # libzmq takes no option any more; the socket is closed all the same
            withdraw(&self.record)
            delist(&self.record)
            self.close_handle()
        self.record.state |= CLOSED

    @property
    def context(self):
        """Context: the context that serves the socket; None for a shadow."""
        return self.owner

    @property
    def closed(self):
        """bool: whether the socket was closed."""
        return bool(self.record.state & CLOSED)

    @property
    def spin(self):
        """float: for how many microseconds a call that waits for an answer tries again before its thread sleeps.

        An answer is what is received after something was sent. Only while the waits of this socket are short: an idle
        one sleeps at once. 0 turns it off.
        """
        return self.record.spin / 1000

    @spin.setter
    def spin(self, microseconds):
        self.record.spin = to_spin(microseconds)
        self.record.eager = self.record.spin != 0

    cdef void set_threshold(self, size_t size) noexcept:
        self.threshold = size
        self.quick_size = min(size, <size_t> BIG)

    @property
    def copy_threshold(self):
        """int: from how many bytes on a send lends libzmq the memory of bytes instead of copying it."""
        return self.threshold

    @copy_threshold.setter
    def copy_threshold(self, size):
        self.set_threshold(to_threshold(size, "copy_threshold"))

    @property
    def stats(self):
        """SocketStats: what went through the socket since it was made; its own counts, which are cheap to read."""
        from zmqcy.stats import SocketStats
        cdef Stats *stats = &self.record.stats
        return SocketStats(
            stats.messages_sent, stats.bytes_sent, stats.messages_received, stats.bytes_received, stats.waits,
            stats.would_blocks)

    @property
    def underlying(self):
        """int: the address of libzmq's socket, for `shadow`."""
        enter(self, "underlying")
        self.shared = True
        withdraw(&self.record)
        return <size_t> self.record.handle

    def fileno(self):
        """Return the descriptor that becomes readable when `events` may have changed.

        It is edge-triggered: read `events` first, and again after each operation on the socket.

        Returns
        -------
        int
        """
        enter(self, "fileno")
        if self.record.fd < 0:
            raise error(ENOTSUP, "fileno", self.record.type)
        return self.record.fd

    # ---- options

    def getsockopt(self, option):
        """Read an option.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`. A number that zmqcy does not know is read as an int or, failing that, as bytes.

        Returns
        -------
        int or bytes
            Strings come as bytes too; the property of the same name gives str.

        Raises
        ------
        InvalidArgument
            This libzmq has no such option, or it cannot be read.
        """
        cdef int number = to_int(option, "getsockopt", "option")
        return self.get_option(number, "getsockopt")

    def setsockopt(self, option, value):
        """Set an option.

        Parameters
        ----------
        option : int
            One of `zmqcy.SocketOption`. A number that zmqcy does not know is set as an int or bytes, as the value is.
        value : int, bytes-like or timedelta
            As the kind of the option demands.

        Raises
        ------
        InvalidArgument
            This libzmq has no such option, or refuses the value.
        TypeError
            The value is of another kind.
        ValueError
            The value does not fit the option's integer.
        """
        cdef int number = to_int(option, "setsockopt", "option")
        self.set_option(number, value, "setsockopt")

    cdef object get_option(self, int number, str call):
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef char[LONGEST_VALUE] text
        cdef int value = 0
        cdef int64_t int64 = 0
        cdef uint64_t uint64 = 0
        cdef size_t size
        enter(self, call)
        if kind == c'y' or kind == c's':
            size = sizeof(text)
            self.check_option(zmq_getsockopt(self.record.handle, number, text, &size), call, number)
            if kind == c's' and size and text[size - 1] == 0:
                size -= 1
            return text[:size]
        if kind == c'k':
            size = 41
            self.check_option(zmq_getsockopt(self.record.handle, number, text, &size), call, number)
            return text[:40]
        if kind == c'l':
            size = sizeof(int64)
            self.check_option(zmq_getsockopt(self.record.handle, number, &int64, &size), call, number)
            return int64
        if kind == c'u':
            size = sizeof(uint64)
            self.check_option(zmq_getsockopt(self.record.handle, number, &uint64, &size), call, number)
            return uint64
        if number == ZMQ_EVENTS:
            return self.current_events(call)
        if number == ZMQ_RCVMORE and self.held_more != ASK:
            return self.held_more
        size = sizeof(value)
        if zmq_getsockopt(self.record.handle, number, &value, &size) >= 0:
            return value
        if kind == 0 and last_errno() == EINVAL:
            size = sizeof(text)
            if zmq_getsockopt(self.record.handle, number, text, &size) >= 0:
                return text[:size]
        self.check_option(-1, call, number)

    cdef int check_option(self, int rc, str call, int number) except -1:
        return check(rc, call, self.record.type, option_name(number)) if rc < 0 else rc

    cdef int set_option(self, int number, object value, str call) except -1:
        cdef char kind = kinds[number] if 0 <= number < MOST_OPTIONS else 0
        cdef Py_buffer view
        cdef int setting = 0
        cdef int64_t int64 = 0
        cdef uint64_t uint64 = 0
        cdef int rc
        if kind == 0:
            kind = c'i' if isinstance(value, int) else c'y'
        if kind == c'y' or kind == c's' or kind == c'k':
            if value is None and kind == c's':
                enter(self, call)
                return self.check_set(zmq_setsockopt(self.record.handle, number, NULL, 0), call, number, value)
            if kind != c'y' and isinstance(value, str):
                value = value.encode()
            if not PyObject_CheckBuffer(value):
                wanted = "bytes" if kind == c"y" else "str or bytes"
                raise TypeError(f"{call}: {option_name(number)} must be {wanted}, not {shown(number, value)}")
            if kind == c's' and b"\0" in bytes(value):
                raise ValueError(f"{call}: {option_name(number)} has a NUL character: {shown(number, value)}")
            PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
            try:
                enter(self, call)
                rc = zmq_setsockopt(self.record.handle, number, view.buf, view.len)
                if rc >= 0:
                    return rc
                exception = error(last_errno(), call, self.record.type, f"{option_name(number)}={shown(number, value)}")
            finally:
                PyBuffer_Release(&view)
            raise exception
        if kind == c'l':
            int64 = to_integer(value, call, option_name(number), -(1 << 63), (1 << 63) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &int64, sizeof(int64))
        elif kind == c'u':
            uint64 = to_integer(value, call, option_name(number), 0, (1 << 64) - 1)
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &uint64, sizeof(uint64))
        else:
            if type(value) is int:
                pass
            elif kind == c'd':
                value = round_up(to_milliseconds(value, f"{call} {option_name(number)}"))
            if type(value) is int and INT_MIN <= value <= INT_MAX:
                setting = value
            else:
                setting = to_int(value, call, option_name(number))
            enter(self, call)
            rc = zmq_setsockopt(self.record.handle, number, &setting, sizeof(setting))
            if number == ZMQ_LINGER and rc >= 0:
                self.record.linger_set = True
        return self.check_set(rc, call, number, value)

    cdef int check_set(self, int rc, str call, int number, object value) except -1:
        return check(rc, call, self.record.type, f"{option_name(number)}={shown(number, value)}") if rc < 0 else rc

    def subscribe(self, topic):
        """Ask for the messages that begin with a topic (SUB).

        Parameters
        ----------
        topic : bytes-like or str
            A prefix; text is encoded as UTF-8. The empty one asks for all.
        """
        self.set_option(SUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "subscribe")

    def unsubscribe(self, topic):
        """Take back one `subscribe` of the same topic.

        Parameters
        ----------
        topic : bytes-like or str
            As it was subscribed.
        """
        self.set_option(UNSUBSCRIBE, topic.encode() if isinstance(topic, str) else topic, "unsubscribe")

    def __repr__(self):
        cdef char[256] endpoint
        cdef size_t size = sizeof(endpoint)
        words = [f"{type(self).__module__}.{type(self).__qualname__}"]
        words.append(type_name(self.record.type) if self.record.type >= 0 else "uninitialised")
        if self.record.state & CLOSED:
            words.append("closed")
        elif not self.record.state & (BUSY | FORKED):
            endpoint[0] = 0
            if zmq_getsockopt(self.record.handle, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 and endpoint[0]:
                words.append((<bytes> endpoint).decode("utf-8", "replace"))
        return f"<{' '.join(words)}>"

    def __reduce__(self):
        raise TypeError("Socket: a socket cannot be pickled or copied; send its endpoint, or shadow() it here")

    def __setattr__(self, name, value):
        set_attribute(self, name, value)


# -------------------------------------------------------------------------------------------------------------- options

cdef char[MOST_OPTIONS] kinds  # of the socket options, by number: the letter of its kind, 0 where there is none
cdef dict option_names = {option.number: option.name for option in SOCKET_OPTIONS}
cdef int SUBSCRIBE = 6
cdef int UNSUBSCRIBE = 7

for _option in SOCKET_OPTIONS:
    kinds[<int> _option.number] = kind_of(_option)


cdef str option_name(int number):
    return option_names.get(number) or f"option {number}"


cdef str shown(int number, object value):
    """Return a value for an error's text; a secret is not shown."""
    name = option_name(number)
    if isinstance(value, (int, float)) or not ("secret" in name or "password" in name):
        return f"{value!r:.80}"
    return f"({len(value)} secret characters)" if isinstance(value, (str, bytes)) else type(value).__name__


cdef class SocketProperty(Property):
    @property
    def __doc__(self):
        return self.describe()

    def __get__(self, instance, owner):
        if instance is None:
            return self
        if not self.readable:
            self.unreadable()
        value = (<Socket?> instance).get_option(self.number, "get")
        if self.kind == c"s":
            return value.decode("utf-8", "surrogateescape")
        return value != 0 if self.kind == c"b" else value

    def __set__(self, instance, value):
        if not self.writable:
            self.unwritable()
        (<Socket?> instance).set_option(self.number, value, "set")

    def __delete__(self, instance):
        raise AttributeError(f"{self.name} cannot be deleted")
