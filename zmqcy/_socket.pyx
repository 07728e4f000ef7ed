"""Sockets: the path of a message.

A call on a socket meets one check (`enter`), tries with ZMQ_DONTWAIT while it holds the GIL, and only where that says
EAGAIN and the caller may wait lets go of the GIL and waits on the socket's descriptor. Every other call of libzmq goes
through the gate (`check`), which turns an errno into an exception.
"""

from cpython.buffer cimport PyBUF_CONTIG, PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from libc.errno cimport EAGAIN, EBUSY, ECHILD, EINTR, EINVAL, EMFILE, EMSGSIZE, ENOTSOCK, errno
from libc.limits cimport INT_MAX, INT_MIN
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from zmqcy._context cimport (
    BUSY, CLOSED, ENDED, FORKED, HELD, Context, Property, SocketRecord, delist, enlist, kind_of, note_last,
    spare_descriptors)
from zmqcy._library cimport (
    EXPIRED, FOREVER, LAST_TYPE, NO_TYPE, c_string, check, deadline_after, error, fail, interrupted, remaining,
    round_up, set_attribute, slice_of, to_buffer, to_flags, to_int, to_integer, to_milliseconds, to_spin, type_name)
from zmqcy._system cimport POLLIN, now, nsec, poll, pollfd, yield_processor
from zmqcy.libzmq cimport (
    ENOTSUP, ETERM, ZMQ_DEALER, ZMQ_DONTWAIT, ZMQ_EVENTS, ZMQ_FD, ZMQ_LAST_ENDPOINT, ZMQ_LINGER, ZMQ_MAX_SOCKETS,
    ZMQ_POLLIN, ZMQ_POLLOUT, ZMQ_PUSH, ZMQ_RCVTIMEO, ZMQ_REQ, ZMQ_SNDMORE, ZMQ_SNDTIMEO, ZMQ_STREAM, ZMQ_TYPE,
    zmq_bind, zmq_close, zmq_connect, zmq_ctx_get, zmq_disconnect, zmq_errno as last_errno, zmq_fd_t,
    zmq_getsockopt, zmq_has, zmq_msg_close, zmq_msg_data, zmq_msg_init, zmq_msg_init_size, zmq_msg_more,
    zmq_msg_recv, zmq_msg_send, zmq_msg_size, zmq_msg_t, zmq_poll, zmq_pollitem_t, zmq_send, zmq_setsockopt,
    zmq_socket, zmq_unbind)

from zmqcy import errors
from zmqcy.options import SOCKET_OPTIONS

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *data, Py_ssize_t size) noexcept
    void PyErr_Clear()

cdef enum:
    BIG = 65536           # bytes from which on a copy is made without the GIL
    LONGEST_VALUE = 4096  # bytes of the longest option value that is read
    MOST_OPTIONS = 256    # above the largest number of an option
    SHORT_WAIT = 4        # times the spin: a wait that was no longer makes the next one try first


# -------------------------------------------------------------------------------------------------- waiting, in plain C

cdef int events_of(void *handle, int *events) noexcept nogil:
    """Read ZMQ_EVENTS, which also makes libzmq look at its commands now. Return 0 or an errno."""
    cdef size_t size = sizeof(int)
    if zmq_getsockopt(handle, ZMQ_EVENTS, events, &size) < 0:
        return last_errno()
    return 0


cdef int wait_on(SocketRecord *record, short events, nsec deadline) noexcept nogil:
    """Wait until the socket may have changed. Return 0, EAGAIN at the deadline, EINTR (look for signals), or an errno.

    The descriptor is edge-triggered: only who has just seen the operation fail, after libzmq had looked at its
    commands, may wait on it. Where the last waits were short, it is tried for a while before the thread sleeps, for
    to be woken costs more than that; `sched_yield` lets libzmq's own threads run meanwhile.
    """
    cdef pollfd item
    cdef zmq_pollitem_t safe
    cdef nsec start
    cdef int rc, left = slice_of(deadline)
    if left == 0:
        return EAGAIN
    if record.fd >= 0:
        item.fd = record.fd
        item.events = POLLIN
        start = now() if record.spin else 0
        while record.eager and now() - start < record.spin:
            yield_processor()
            if poll(&item, 1, 0) > 0:
                return 0
        rc = poll(&item, 1, left)
        if rc < 0:
            return errno
        record.eager = record.spin != 0 and now() - start < SHORT_WAIT * record.spin
    else:
        safe.socket = record.handle
        safe.events = events
        rc = zmq_poll(&safe, 1, left)
        if rc < 0:
            return last_errno()
    if rc == 0:
        return EAGAIN if remaining(deadline) == 0 else EINTR
    return 0


cdef int transmit(SocketRecord *record, zmq_msg_t *msg, int flags, nsec deadline) noexcept nogil:
    """Send a message, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; then it is not sent."""
    cdef int number, events
    while True:
        if zmq_msg_send(msg, record.handle, flags | ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number != EAGAIN:
            return number
        # A send without waiting looks at libzmq's commands only once a millisecond or so: room that the peer has made
        # since then is not seen until ZMQ_EVENTS is read.
        number = events_of(record.handle, &events)
        if number:
            return number
        if zmq_msg_send(msg, record.handle, flags | ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number == EAGAIN:
            number = wait_on(record, ZMQ_POLLOUT, deadline)
        if number:
            return number


cdef int receive(SocketRecord *record, zmq_msg_t *msg, nsec deadline) noexcept nogil:
    """Receive a message, waiting until the deadline. Return 0, EAGAIN, EINTR, or another errno; then none was taken."""
    cdef int number
    while True:
        if zmq_msg_recv(msg, record.handle, ZMQ_DONTWAIT) >= 0:
            return 0
        number = last_errno()
        if number == EAGAIN:
            number = wait_on(record, ZMQ_POLLIN, deadline)
        if number:
            return number


# -------------------------------------------------------------------------------------------------------------- sockets

cdef inline int enter(Socket socket, str call) except -1:
    if socket.record.state & (BUSY | CLOSED | FORKED):
        return socket.refuse(call)
    socket.operations += 1
    return 0


cdef int admit(Socket socket, str call) except -1:
    return enter(socket, call)


cdef inline object take(zmq_msg_t *msg):
    """Make bytes of a message, at their final size and filled once, and close it. None: no memory; it stays."""
    cdef size_t size = zmq_msg_size(msg)
    cdef PyObject *data
    cdef char *target
    if size < BIG:
        data = new_bytes(<const char *> zmq_msg_data(msg), size)
    else:
        data = new_bytes(NULL, size)
        if data is not NULL:
            target = PyBytes_AS_STRING(<object> data)
            with nogil:
                memcpy(target, zmq_msg_data(msg), size)
    if data is NULL:
        PyErr_Clear()
        return None
    <void> zmq_msg_close(msg)
    result = <object> data
    Py_DECREF(result)
    return result


cdef inline const char *start_of(object data):
    if type(data) is bytes:
        return PyBytes_AS_STRING(data)
    return <const char *> PyMemoryView_GET_BUFFER(data).buf


cdef inline size_t size_of(object data):
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    return PyMemoryView_GET_BUFFER(data).len


cdef int send_part(void *handle, const char *data, size_t size, int flags) noexcept:
    """Send a part after the first, which never waits. Return 0 or an errno."""
    cdef int rc
    if size < BIG:
        rc = zmq_send(handle, data, size, flags)
    else:
        with nogil:
            rc = zmq_send(handle, data, size, flags)
    return 0 if rc >= 0 else last_errno()


cdef int take_back(void *handle, int type_number, Py_ssize_t left) noexcept nogil:
    """Return EAGAIN once a message can be sent anew whose peer went away after its first parts; 0 if it counts as sent.

    libzmq has dropped those parts. PUSH and DEALER also drop the rest of it, which must be handed to them; a REQ socket
    awaits the reply to such a message, as when the peer goes a moment later.
    """
    if type_number == ZMQ_REQ:
        return 0
    if type_number == ZMQ_PUSH or type_number == ZMQ_DEALER:
        while left > 0:
            left -= 1
            if zmq_send(handle, b"", 0, ZMQ_DONTWAIT | (ZMQ_SNDMORE if left else 0)) < 0 and last_errno() != EINTR:
                return last_errno()
    return EAGAIN


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
        enlist(&self.record, NULL)
        self.find_descriptor()
        self.record.state = 0
        return self

    cdef int refuse(self, str call) except -1:
        """Raise what `enter` found."""
        if self.record.state & ENDED:
            raise error(ETERM, call, self.record.type)
        if self.record.state & CLOSED:
            raise error(ENOTSOCK, call, self.record.type, None, "the socket is closed")
        if self.record.state & FORKED:
            raise error(ECHILD, call, self.record.type, None, "the socket was made before the fork: make one here")
        raise error(EBUSY, call, self.record.type, None, "another thread is in a call on this socket")

    # ---- sending

    cdef int put(self, const char *data, size_t size, int flags, object timeout, str call) except -1:
        """Send one part. Return 1, or 0 where it would wait and the flags have QUIET."""
        enter(self, call)
        if size < BIG and zmq_send(self.record.handle, data, size, flags & ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0:
            return 1
        return self.put_slowly(data, size, flags, timeout, call)

    cdef int put_slowly(self, const char *data, size_t size, int flags, object timeout, str call) except -1:
        """Send one part that is big, or was refused once: it is copied one time, however long it waits."""
        cdef zmq_msg_t msg
        if zmq_msg_init_size(&msg, size) < 0:
            return fail(call, self.record.type, f"size={size}")
        if size < BIG:
            memcpy(zmq_msg_data(&msg), data, size)
        else:
            with nogil:
                memcpy(zmq_msg_data(&msg), data, size)
        try:
            return self.send_message(&msg, flags, timeout, call)
        finally:
            <void> zmq_msg_close(&msg)

    cdef int send_message(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        """Send a message, waiting where that is allowed. Return 1, or 0 for QUIET; else the message is not sent."""
        enter(self, call)
        cdef int number = transmit(&self.record, msg, flags & ~QUIET, EXPIRED)
        return self.complete(True, msg, flags, timeout, call, number)

    cdef int complete(self, bint out, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1:
        """Go on after a first attempt to send or receive, that ended with an errno or 0: wait where that is allowed.

        Return 1, or 0 for QUIET; where it raises nothing was sent or taken.
        """
        cdef nsec deadline = EXPIRED
        cdef nsec start = 0
        if (number == EAGAIN or number == EINTR) and not flags & ZMQ_DONTWAIT:
            deadline = self.deadline_of(timeout, ZMQ_SNDTIMEO if out else ZMQ_RCVTIMEO, call)
            start = now()
        while number:
            if number == EAGAIN:
                if deadline == EXPIRED or remaining(deadline) == 0:
                    return self.would_block(flags, start, call)
            elif not interrupted(number):
                raise error(number, call, self.record.type)
            enter(self, call)  # a signal handler may have closed the socket
            self.record.state |= BUSY
            self.record.inside = True
            with nogil:
                if out:
                    number = transmit(&self.record, msg, flags & ~QUIET, deadline)
                else:
                    number = receive(&self.record, msg, deadline)
                self.record.inside = False
            self.record.state &= ~BUSY
        return 1

    cdef int would_block(self, int flags, nsec waited, str call) except -1:
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

    cdef int put_parts(self, list parts, int flags, object timeout) except -1:
        """Send parts as one message, whole or not at all: only the first may have to wait."""
        cdef Py_ssize_t count = len(parts), i
        cdef int sent, more, number = 0
        cdef object part
        while True:
            part = parts[0]
            more = ZMQ_SNDMORE if count > 1 else 0
            sent = self.put(start_of(part), size_of(part), flags | more, timeout, "send_multipart")
            if not sent or count == 1:
                return sent
            self.record.state |= BUSY  # nobody may put a part of his own between ours while a big one is copied
            i = 1
            while i < count:
                part = parts[i]
                more = ZMQ_SNDMORE if i < count - 1 else flags & ZMQ_SNDMORE
                number = send_part(self.record.handle, start_of(part), size_of(part), more | ZMQ_DONTWAIT)
                if number == 0:
                    i += 1
                elif number != EINTR:
                    break
            if number == EAGAIN:
                number = take_back(self.record.handle, self.record.type, count - 1 - i)
            self.record.state &= ~BUSY
            if number != EAGAIN:
                break
        if number:
            raise error(number, "send_multipart", self.record.type)
        return 1

    def send(self, data, flags=0, *, timeout=None):
        """Send a message, or one part of it. Waits where no peer can take it.

        Parameters
        ----------
        data : bytes-like
            The message. It is copied, and may change once the call is back.
        flags : int, default 0
            `SNDMORE`: more parts of the same message follow. `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.

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
        """
        cdef int f = to_flags(flags, "send")
        if type(data) is not bytes:
            data = to_buffer(data, "send", None)
        self.put(start_of(data), size_of(data), f, timeout, "send")

    def try_send(self, data):
        """Send a message if that needs no waiting.

        Parameters
        ----------
        data : bytes-like
            The message.

        Returns
        -------
        bool
            Whether it was sent.
        """
        if type(data) is not bytes:
            data = to_buffer(data, "try_send", None)
        return self.put(start_of(data), size_of(data), ZMQ_DONTWAIT | QUIET, None, "try_send") == 1

    def send_multipart(self, parts, flags=0, *, timeout=None):
        """Send a message of several parts. All are checked before the first goes; it is sent whole or not at all.

        Parameters
        ----------
        parts : iterable of bytes-like
            The parts, one at least.
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `sndtimeo` of the socket.

        Raises
        ------
        Again
            It would have to wait, and may not; TimedOut where a time was given. Nothing was sent.
        TypeError, BufferError
            A part is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            There are no parts.
        """
        cdef int f = to_flags(flags, "send_multipart")
        cdef list items
        cdef Py_ssize_t i
        if isinstance(parts, (bytes, str, bytearray, memoryview)):
            raise TypeError(f"send_multipart: parts must be a list of buffers, not one: {parts!r:.80}")
        items = list(parts)
        if not items:
            raise ValueError("send_multipart: a message has one part at least")
        for i in range(len(items)):
            if type(items[i]) is not bytes:
                items[i] = to_buffer(items[i], "send_multipart", i)
        self.put_parts(items, f, timeout)

    # ---- receiving

    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1:
        """Receive one part into an initialised message. Return 1, or 0 where it would wait and the flags have QUIET."""
        enter(self, call)
        if self.record.state & HELD:
            self.unhold(msg)
            return 1
        if zmq_msg_recv(msg, self.record.handle, ZMQ_DONTWAIT) >= 0:
            return 1
        return self.complete(False, msg, flags, timeout, call, last_errno())

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
        return 0

    cdef void unhold(self, zmq_msg_t *msg) noexcept:
        """Move the first of the kept parts into an initialised message."""
        memcpy(msg, self.held + self.held_first, sizeof(zmq_msg_t))
        self.held_first += 1
        if self.held_first == self.held_count:
            free(self.held)
            self.held = NULL
            self.held_first = self.held_count = 0
            self.record.state &= ~HELD

    def recv(self, flags=0, *, timeout=None):
        """Receive a message, or one part of it. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        bytes
            The part; `rcvmore` tells whether another one follows.

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
        cdef int f = to_flags(flags, "recv")
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv")
        data = take(&msg)
        if data is None:
            self.hold(&msg, 1)
            raise MemoryError(f"recv: no memory for {zmq_msg_size(self.held)} bytes; the message waits")
        return data

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
        data = take(&msg)
        if data is None:
            self.hold(&msg, 1)
            raise MemoryError(f"try_recv: no memory for {zmq_msg_size(self.held)} bytes; the message waits")
        return data

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
        cdef Py_buffer view
        cdef zmq_msg_t msg
        cdef int f = to_flags(flags, "recv_into")
        cdef size_t size, room
        cdef bint fits
        if not PyObject_CheckBuffer(buffer):
            raise TypeError(f"recv_into: a writable buffer is required, not {buffer!r:.80}")
        try:
            PyObject_GetBuffer(buffer, &view, PyBUF_CONTIG)
        except BufferError as exception:
            raise BufferError(f"recv_into: {exception}: {buffer!r:.80}") from None
        try:
            if not isinstance(nbytes, int) or not 0 <= nbytes <= view.len:
                raise ValueError(f"recv_into: nbytes must be an int from 0 to {view.len}, not {nbytes!r}")
            room = nbytes or view.len
            <void> zmq_msg_init(&msg)
            self.get(&msg, f, timeout, "recv_into")
            size = zmq_msg_size(&msg)
            fits = size <= room
            if not fits:
                self.hold(&msg, 1)
                detail = f"a message of {size} bytes into a buffer of {room}"
                raise error(EMSGSIZE, "recv_into", self.record.type, detail)
            if size < BIG:
                memcpy(view.buf, zmq_msg_data(&msg), size)
            else:
                with nogil:
                    memcpy(view.buf, zmq_msg_data(&msg), size)
            <void> zmq_msg_close(&msg)
            return size
        finally:
            PyBuffer_Release(&view)

    def recv_multipart(self, flags=0, *, timeout=None):
        """Receive a message with all its parts. Waits for one.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: raise Again instead of waiting.
        timeout : int, float or timedelta, optional
            Milliseconds to wait, -1 for ever; by default `rcvtimeo` of the socket.

        Returns
        -------
        list of bytes
            The parts, one at least.

        Raises
        ------
        Again
            There is none, and it may not wait; TimedOut where a time was given.
        MemoryError
            The parts do not fit into memory; the message is dropped, and the next one comes whole.
        """
        cdef zmq_msg_t msg
        cdef list parts = []
        cdef int number, more
        cdef int f = to_flags(flags, "recv_multipart")
        cdef bint whole = True
        <void> zmq_msg_init(&msg)
        self.get(&msg, f, timeout, "recv_multipart")
        self.record.state |= BUSY  # nobody may take a part of ours while a big one is copied
        number = 0
        while True:
            more = zmq_msg_more(&msg)
            part = take(&msg) if whole else None
            if part is None:
                whole = False
                <void> zmq_msg_close(&msg)
            else:
                parts.append(part)
            if not more:
                break
            <void> zmq_msg_init(&msg)
            if self.record.state & HELD:
                self.unhold(&msg)
                continue
            while True:
                number = 0 if zmq_msg_recv(&msg, self.record.handle, ZMQ_DONTWAIT) >= 0 else last_errno()
                if number != EINTR:
                    break
            if number:
                break
        self.record.state &= ~BUSY
        if number:
            raise error(number, "recv_multipart", self.record.type)
        if not whole:
            raise MemoryError("recv_multipart: no memory for the parts of a message")
        return parts

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
            delist(&self.record)
            self.close_handle()
        self.record.state |= CLOSED
        self.operations += 1

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
        """float: for how many microseconds a call that must wait tries again before its thread sleeps.

        Only while the waits of this socket are short: an idle one sleeps at once. 0 turns it off.
        """
        return self.record.spin / 1000

    @spin.setter
    def spin(self, microseconds):
        self.record.spin = to_spin(microseconds)
        self.record.eager = self.record.spin != 0

    @property
    def underlying(self):
        """int: the address of libzmq's socket, for `shadow`."""
        enter(self, "underlying")
        self.shared = True
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
