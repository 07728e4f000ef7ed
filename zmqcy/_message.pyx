"""Zero-copy buffers that libzmq borrows, and the frames that it delivers.

A zero-copy message points to the memory of a Python buffer. A `Lease` holds the reference until libzmq has released the
message. If a thread with the GIL frees the message, for example a frame over inproc, it drops a reference to `bytes` at
once. libzmq's own threads may not take the GIL, and releasing other buffers may run Python code. In these cases the
lease is pushed on a lock-free stack, and the interpreter is asked for a pending call. That call, or an earlier call of
zmqcy, empties the stack and drops the references.
"""

cimport cython
from cython cimport critical_section
from cpython.buffer cimport (
    PyBUF_CONTIG_RO, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer)
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_SetObject, PyErr_WriteUnraisable
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport ECHILD, EINTR, EINVAL
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strcmp

from zmqcy._library cimport (
    NO_TYPE, c_string, deadline_after, error, fail, interrupted, no_drafts, remaining, slice_of, to_buffer, to_int,
    to_integer)
from zmqcy._system cimport (
    PY_LOCK_ACQUIRED, PyThread_acquire_lock, PyThread_acquire_lock_timed, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_release_lock, add, at_fork, has_python, load, nap, nsec, poke, replace, swap,
    teach_malloc)
from zmqcy.libzmq cimport (
    zmq_has, zmq_msg_close, zmq_msg_copy, zmq_msg_data, zmq_msg_get, zmq_msg_gets, zmq_msg_group,
    zmq_msg_init, zmq_msg_init_data, zmq_msg_init_size, zmq_msg_more, zmq_msg_routing_id, zmq_msg_set_group,
    zmq_msg_set_routing_id, zmq_msg_size, zmq_msg_t)

import atexit
import os

from zmqcy import _library
from zmqcy.errors import NotDone

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    int Py_AddPendingCall(int (*func)(void *) noexcept, void *arg) noexcept nogil
    void drop "Py_DECREF"(PyObject *object) noexcept nogil  # no Python code runs if it is bytes

#: COPY_THRESHOLD: int
COPY_THRESHOLD = 16384  # from this size, zero-copy is as fast as a copy over tcp, and several times as fast over inproc

cdef enum:
    MOST_OF_GROUP = 255
    ZMQ_SHARED = 3  # property of zmq_msg_get: other messages share the content


# ------------------------------------------------------------------------------------------- authenticated user ids

# A peer can claim any "User-Id" in its own metadata. So the answers of an Authenticator contain a second property with
# a secret value. libzmq prefers the Authenticator's properties to the peer's.
cdef bytes VOUCHER = os.urandom(16).hex().encode()
_VOUCHER = b"\x0fX-Zmqcy-Voucher" + len(VOUCHER).to_bytes(4, "big") + VOUCHER  # as ZMTP has metadata


cdef bint has_other_handlers = False


cdef void trust_users() noexcept:
    """Accept every "User-Id" from now on: a ZAP handler of the program does not set the secret property."""
    global has_other_handlers
    has_other_handlers = True


cdef bint is_vouched(zmq_msg_t *msg) noexcept:
    cdef const char *given = zmq_msg_gets(msg, b"X-Zmqcy-Voucher")
    return has_other_handlers or given is not NULL and strcmp(given, <const char *> VOUCHER) == 0


# ------------------------------------------------------------------------------------------------------------- malloc

memory_wanted = False
cdef bint memory_kept = False


cdef void may_keep_memory() noexcept:
    """Configure malloc to keep memory when the first large message is received."""
    global memory_wanted
    memory_wanted = not memory_kept


cdef void keep_memory() noexcept:
    """Configure malloc to keep the memory of large messages, once per process."""
    global memory_kept, memory_wanted
    memory_wanted = False
    if not memory_kept:
        memory_kept = True
        teach_malloc()


# ------------------------------------------------------------------------------------------------- zero-copy buffers

cdef struct Lease:
    Lease *following     # the next one on the stack of released leases
    PyObject *owner      # bytes, whose memory never moves; NULL: `view` is used
    Py_buffer view       # another buffer; while it is exported, its memory does not move
    PyObject *tracker
    Tracking *tracking   # a field of the tracker


cdef bint drafts = zmq_has(b"draft") != 0
cdef void *let_go_of = NULL  # the top of the stack of released leases
cdef void *scheduled = NULL  # not NULL: a pending call is requested
cdef long inside = 0         # the number of threads that are requesting one
forks = 0
cdef long finishing = 0      # not 0: the interpreter is shutting down and makes no more pending calls


cdef void let_go(void *data, void *hint) noexcept nogil:
    """Release a buffer: libzmq has released the message. Runs in any thread, with or without the GIL."""
    cdef Lease *lease = <Lease *> hint
    cdef Tracking *tracking = lease.tracking
    cdef void *top
    cdef long waker
    if tracking is NULL and lease.owner is not NULL and has_python():
        drop(lease.owner)
        free(lease)
        return
    if tracking is not NULL and add(&tracking.pending, -1) == 0:
        PyThread_release_lock(tracking.done)
        waker = add(&tracking.waker, 0)
        if waker >= 0:
            poke(<int> waker)
    while True:  # once the lease is on the stack, it belongs to the thread that empties the stack
        top = load(&let_go_of)
        lease.following = <Lease *> top
        if replace(&let_go_of, top, lease):
            break
    add(&inside, 1)
    if add(&finishing, 0) == 0 and replace(&scheduled, NULL, &scheduled):
        if Py_AddPendingCall(collect_pending, NULL) < 0:
            swap(&scheduled, NULL)  # the interpreter's queue is full: the next release requests again
    add(&inside, -1)


cdef int collect_pending(void *argument) noexcept:
    collect()
    return 0


cdef void collect() noexcept:
    """Drop the references to buffers that libzmq has released. May run any Python code."""
    cdef Lease *lease
    cdef Lease *following
    cdef list trackers = None
    cdef MessageTracker tracker
    if load(&scheduled) is not NULL:
        swap(&scheduled, NULL)  # first, so that a later release requests another call
    if load(&let_go_of) is NULL:
        return
    trackers = []
    lease = <Lease *> swap(&let_go_of, NULL)
    while lease is not NULL:
        following = lease.following
        if lease.tracker is not NULL:
            trackers.append(<object> lease.tracker)
        release_lease(lease)
        lease = following
    for tracker in trackers:
        if tracker.callbacks is not None and tracker.tracking.pending == 0:
            tracker.call_back()


cdef void release_lease(Lease *lease) noexcept:
    if lease.owner is not NULL:
        Py_DECREF(<object> lease.owner)
    else:
        PyBuffer_Release(&lease.view)
    if lease.tracker is not NULL:
        Py_DECREF(<object> lease.tracker)
    free(lease)


cdef int lend(zmq_msg_t *msg, object data, MessageTracker tracker, str call) except -1:
    """Make a zero-copy message from a buffer, and hold the buffer until libzmq has released the message."""
    cdef Lease *lease = <Lease *> malloc(sizeof(Lease))
    cdef void *start
    cdef size_t size
    cdef zmq_msg_t twin
    if lease is NULL:
        raise MemoryError(call)
    lease.owner = lease.tracker = NULL
    lease.tracking = NULL
    try:
        if type(data) is bytes:
            start = PyBytes_AS_STRING(data)
            size = len(<bytes> data)
        else:
            PyObject_GetBuffer(data, &lease.view, PyBUF_CONTIG_RO)
            start = lease.view.buf
            size = lease.view.len
    except BaseException:
        free(lease)
        raise
    if type(data) is bytes:
        Py_INCREF(data)
        lease.owner = <PyObject *> data
    if tracker is not None:
        Py_INCREF(tracker)
        lease.tracker = <PyObject *> tracker
        lease.tracking = &tracker.tracking
        add(&tracker.tracking.pending, 1)
    if zmq_msg_init_data(msg, start, size, let_go, lease) < 0:
        if tracker is not None:
            add(&tracker.tracking.pending, -1)
        release_lease(lease)
        return fail(call, NO_TYPE, f"size={size}")
    # A ws client masks outgoing data, and libzmq would do that in the borrowed memory. libzmq copies a message first if
    # it is, or ever was, shared: so share it once. Do that for all transports, because a device may forward it to ws.
    <void> zmq_msg_init(&twin)
    <void> zmq_msg_copy(&twin, msg)
    <void> zmq_msg_close(&twin)
    return 0


cdef object copy_of(object data):
    """Return a copy as bytes. (`bytes(data)` would return the same object for bytes.)"""
    return start_of(data)[:size_of(data)]


cdef int copy_in(zmq_msg_t *msg, const char *data, size_t size, str call) except -1:
    """Make a message with a copy of some bytes."""
    if zmq_msg_init_size(msg, size) < 0:
        return fail(call, NO_TYPE, f"size={size}")
    copy_bytes(zmq_msg_data(msg), data, size)
    return 0


cdef void after_fork_in_child() noexcept nogil:
    """Reset state that the parent's threads held: one of them may have been requesting a pending call."""
    global forks, inside, scheduled
    forks += 1
    inside = 0
    scheduled = NULL


def _finish():
    """Request no more pending calls: the interpreter is shutting down."""
    add(&finishing, 1)
    while add(&inside, 0):
        nap()


cdef class MessageTracker:
    """Track when libzmq has released a message, because it was sent or dropped.

    ``send(track=True)`` returns a tracker. When it completes, the buffer may be changed or reused. Completion does not
    mean that the peer has received the message. Several threads may use a tracker, and asyncio coroutines can await it.

    Examples
    --------
    >>> tracker = push.send(bytearray(b"data"), copy=False, track=True)
    >>> pull.recv()
    b'data'
    >>> tracker.wait(5)  # seconds

    See Also
    --------
    Frame : a message that can be tracked and sent several times.
    """

    def __cinit__(self):
        self.tracking.done = PyThread_allocate_lock()
        if self.tracking.done is NULL:
            raise MemoryError("MessageTracker")
        PyThread_acquire_lock(self.tracking.done, 1)
        self.tracking.waker = -1
        self.forks = forks
        self.tracking.pending = 1  # until `seal`

    #: def __init__(self, *args: NoReturn, **kwargs: NoReturn) -> None: ...
    def __init__(self):
        raise TypeError("MessageTracker: a send with track=True makes one")

    def __dealloc__(self):
        if self.tracking.done is not NULL:
            PyThread_free_lock(self.tracking.done)

    def __del__(self):
        if self.wakers is not None:
            for waker in self.wakers:
                waker.close()

    cdef int seal(self) except -1:
        """Finish the setup: libzmq has got all buffers of the message."""
        if add(&self.tracking.pending, -1) == 0:
            PyThread_release_lock(self.tracking.done)
        return 0

    cdef void call_back(self) noexcept:
        cdef list callbacks
        with critical_section(self):
            callbacks = self.callbacks
            self.callbacks = None
        for callback in callbacks or ():
            report_to(callback, self)

    @property
    def done(self) -> bool:
        """bool: whether libzmq has released the whole message."""
        cdef bint done = add(&self.tracking.pending, 0) == 0
        if done:
            collect()
        return done

    def wait(self, timeout: _Time = None) -> None:
        """Block until libzmq has released the whole message. Releases the GIL.

        Parameters
        ----------
        timeout : float or timedelta, optional
            Seconds, as in pyzmq, not milliseconds. By default, or with -1, wait indefinitely.

        Raises
        ------
        NotDone
            The call timed out.
        ForkedError
            The parent process sent the message before the fork.
        """
        if isinstance(timeout, (int, float)) and timeout > 0:
            timeout = timeout * 1000.0
        cdef nsec deadline = deadline_after(timeout, "wait")
        cdef int rc
        while add(&self.tracking.pending, 0):
            if self.forks != forks:
                raise error(ECHILD, "wait", NO_TYPE, None, "the message was sent before the fork, by the parent")
            with nogil:
                rc = PyThread_acquire_lock_timed(self.tracking.done, <long long> slice_of(deadline) * 1000, 1)
            if rc == PY_LOCK_ACQUIRED:
                PyThread_release_lock(self.tracking.done)
                break
            interrupted(EINTR)
            if remaining(deadline) == 0 and add(&self.tracking.pending, 0):
                raise NotDone()
        collect()

    def add_done_callback(self, callback: Callable[[MessageTracker], object]) -> None:
        """Call a function when libzmq has released the whole message, or at once if it has.

        Parameters
        ----------
        callback : callable
            A function of one argument, the tracker. It runs in the next thread that sends a message which is not short
            bytes, or reads a tracker, and otherwise in the main thread, at the latest after its next wait. Exceptions
            are passed to `sys.unraisablehook`.
        """
        if not callable(callback):
            raise TypeError(f"add_done_callback: a callable is required, not {callback!r:.80}")
        with critical_section(self):
            if self.callbacks is None:
                self.callbacks = []
            self.callbacks.append(callback)
        if add(&self.tracking.pending, 0) == 0:
            collect()
            self.call_back()  # in case `collect` found no lease of this tracker

    def __await__(self) -> Generator[Any]:
        return _wait_in_loop(self).__await__()

    @critical_section
    cdef object waker(self):
        """Return a socket that becomes, and stays, readable when the tracker completes."""
        import socket
        if self.wakers is None:
            pair = socket.socketpair()
            pair[1].setblocking(False)
            if self.wakers is not None:  # another thread has made them meanwhile
                pair[0].close()
                pair[1].close()
                return self.wakers[0].dup()
            self.wakers = pair  # kept as long as the tracker: `let_go` may write to it at any time
            add(&self.tracking.waker, self.wakers[1].fileno() + 1)
            if add(&self.tracking.pending, 0) == 0:
                poke(<int> self.tracking.waker)
        return self.wakers[0].dup()  # each task watches its own file descriptor

    def __repr__(self):
        return f"<MessageTracker {'done' if self.done else 'not done'}>"


cdef void report_to(object callback, MessageTracker tracker) noexcept:
    """Call a callback. Pass all exceptions, SystemExit too, to sys.unraisablehook."""
    try:
        callback(tracker)
    except BaseException as exception:
        PyErr_SetObject(type(exception), exception)
        PyErr_WriteUnraisable(callback)


async def _wait_in_loop(MessageTracker tracker):
    """Wait for a tracker in an asyncio coroutine."""
    import asyncio
    if tracker.done:
        return
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    with tracker.waker() as waker:
        loop.add_reader(waker, lambda: future.done() or future.set_result(None))
        try:
            await future
        finally:
            loop.remove_reader(waker)
    collect()


cdef MessageTracker new_tracker():
    return MessageTracker.__new__(MessageTracker)


# ------------------------------------------------------------------------------------------------------------- frames

cdef size_t default_threshold() except? 0:
    """Return the current value of `zmqcy.COPY_THRESHOLD`, which the user may have changed."""
    return to_threshold(_library.settings.get("COPY_THRESHOLD", COPY_THRESHOLD), "COPY_THRESHOLD")


cdef size_t to_threshold(object size, str name) except? 0:
    return to_integer(size, "send", name, 0, PY_SSIZE_T_MAX)


cdef Frame new_frame(object cls):
    """Return an empty frame of a class, for libzmq to fill. None: of the class Frame."""
    return Frame.__new__(Frame) if cls is None else cls.__new__(cls)


@cython.no_gc  # it refers only to a tracker
@cython.freelist(32)
cdef class Frame:
    """A message, or one part of it, in libzmq's own memory: a zero-copy buffer.

    `recv(copy=False)` returns frames. Create one yourself to send the same content several times without copies. The
    memory is freed with the last reference, or by `release`. Several threads may use a frame.

    The buffer is writable if the frame alone has the memory: for messages of up to about 33 bytes, and for messages
    that arrived over a connection (not inproc). It becomes read-only when the frame is sent on.

    Alignment: a message that arrived over a connection and is larger than the socket's `in_batch_size` (96 KiB by
    default; 8 KiB if libzmq has no drafts) begins at a multiple of 8 bytes. A smaller message may begin at any address.
    It stays in a receive buffer that it shares with other messages, and the frame keeps that whole buffer alive.

    Parameters
    ----------
    data : bytes-like, default b""
        The content.
    track : bool, default False
        Whether the frame gets a `tracker`, which completes when libzmq and all frames have released the content.
    copy : bool, optional
        True: copy the content. False: zero-copy, for any buffer; it cannot be resized meanwhile. By default only bytes
        objects of `COPY_THRESHOLD` (16,384) bytes or more are zero-copy.

    Attributes
    ----------
    tracker : MessageTracker or None
        The tracker, if ``track=True``.

    Examples
    --------
    >>> push.send(b"content")
    >>> frame = pull.recv(copy=False)
    >>> frame.buffer[0], bytes(frame)  # without a copy; a copy
    (99, b'content')

    See Also
    --------
    MessageTracker : tells when a buffer may be reused.
    """
    #: tracker: Final[MessageTracker | None]

    def __cinit__(self):
        <void> zmq_msg_init(&self.msg)

    @critical_section
    def __init__(self, data: Buffer = b"", track: bool = False, copy: bool | None = None) -> None:
        cdef MessageTracker tracker = None
        cdef zmq_msg_t msg
        if self.exports or self.tracker is not None or zmq_msg_size(&self.msg):
            raise RuntimeError("Frame: already initialised")
        data = to_buffer(data, "Frame", None)
        if copy is None:
            copy = type(data) is not bytes or size_of(data) < default_threshold()
        if track:
            tracker = new_tracker()
            data = copy_of(data) if copy else data
        if track or not copy:
            lend(&msg, data, tracker, "Frame")
        else:
            copy_in(&msg, start_of(data), size_of(data), "Frame")
        <void> zmq_msg_close(&self.msg)
        memcpy(&self.msg, &msg, sizeof(msg))  # libzmq moves messages by value too
        if track:
            tracker.seal()
            self.tracker = tracker

    def __dealloc__(self):
        <void> zmq_msg_close(&self.msg)

    cdef int refuse(self, str call) except -1:
        if self.released:
            raise ValueError(f"{call}: the Frame was released; use it before release() or the end of its with block")
        return 0

    cdef bint writable(self) noexcept:
        """Return whether this frame alone has the memory.

        A message over inproc may be the memory of the sender's buffer. A message that arrived over a connection has
        properties of the peer: libzmq allocated its memory.
        """
        cdef char *data = <char *> zmq_msg_data(&self.msg)
        if self.lent or zmq_msg_get(&self.msg, ZMQ_SHARED) == 1:
            return False
        if <char *> &self.msg <= data < <char *> (&self.msg + 1):
            return True
        return zmq_msg_gets(&self.msg, b"Socket-Type") is not NULL

    @critical_section
    cdef size_t size(self):
        return zmq_msg_size(&self.msg)

    @critical_section
    cdef int share(self, zmq_msg_t *copy, bint copied, str call) except -1:
        """Make another message with the same content, for libzmq to send."""
        self.refuse(call)
        if copied or self.exports and self.writable():  # a view may still be written to
            self.exports += 1
            try:
                copy_in(copy, <const char *> zmq_msg_data(&self.msg), zmq_msg_size(&self.msg), call)
            finally:
                self.exports -= 1
            return self.address(copy, call)
        <void> zmq_msg_init(copy)
        if zmq_msg_copy(copy, &self.msg) < 0:
            return fail(call, NO_TYPE, None)
        return 0

    cdef int address(self, zmq_msg_t *msg, str call) except -1:
        """Copy the routing id and the group to another message."""
        cdef uint32_t peer
        cdef const char *group
        if drafts:
            peer = zmq_msg_routing_id(&self.msg)
            group = zmq_msg_group(&self.msg)
            if (
                peer and zmq_msg_set_routing_id(msg, peer) < 0
                or group is not NULL and group[0] and zmq_msg_set_group(msg, group) < 0
            ):
                fail(call, NO_TYPE, None)
        return 0

    cdef object lendable(self, bint copied):
        """Return the object to send without a copy: this frame, read-only from now on, or a copy of its content."""
        if copied or self.exports and self.writable():
            return self.bytes
        self.lent = True
        return self

    #: def __buffer__(self, flags: int, /) -> memoryview: ...
    #: def __release_buffer__(self, buffer: memoryview, /) -> None: ...
    @critical_section
    def __getbuffer__(self, Py_buffer *view, int flags):
        self.refuse("buffer")
        PyBuffer_FillInfo(
            view, self, zmq_msg_data(&self.msg), zmq_msg_size(&self.msg), not self.writable(), flags)
        self.exports += 1

    @critical_section
    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    @critical_section
    def release(self) -> None:
        """Free the message now. A second call does nothing. The end of a ``with`` block calls it too.

        Raises
        ------
        BufferError
            Memoryviews of the frame exist: release them first.
        """
        if self.exports:
            raise BufferError(f"release: {self.exports} views of the Frame exist; release these memoryviews first")
        if not self.released:
            self.released = True
            <void> zmq_msg_close(&self.msg)
            <void> zmq_msg_init(&self.msg)

    def __enter__(self) -> Self:
        self.refuse("with")
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    @property
    @critical_section
    def bytes(self) -> bytes:
        """bytes: a copy of the content."""
        self.refuse("bytes")
        size = zmq_msg_size(&self.msg)
        self.exports += 1  # no thread may release the frame during a copy without the GIL
        data = take(&self.msg, size)
        self.exports -= 1
        if data is None:
            raise MemoryError(f"bytes: no memory for {size} bytes")
        return data

    @property
    def buffer(self) -> memoryview:
        """memoryview: the content, without a copy. While it exists, the frame cannot be released."""
        return memoryview(self)

    @property
    @critical_section
    def more(self) -> bool:
        """bool: whether another part of the same message follows."""
        self.refuse("more")
        return zmq_msg_more(&self.msg) != 0

    @property
    @critical_section
    def group(self) -> str:
        """str: the group of a received message (DISH) or of one to send (RADIO); max 255 bytes. A draft of libzmq."""
        cdef const char *group
        self.refuse("group")
        need_drafts("group")
        group = zmq_msg_group(&self.msg)
        return "" if group is NULL else group.decode("utf-8", "surrogateescape")

    @group.setter
    @critical_section
    def group(self, group: str) -> None:
        self.set_group(group, "group")

    cdef int set_group(self, object group, str call) except -1:
        cdef bytes name = c_string(group, call, "group")
        self.refuse(call)
        need_drafts(call)
        if len(name) > MOST_OF_GROUP:  # libzmq would truncate it
            text = f"the name of a group has {MOST_OF_GROUP} bytes at most"
            raise error(EINVAL, call, NO_TYPE, f"group={group!r:.80}", text)
        if zmq_msg_set_group(&self.msg, name) < 0:
            fail(call, NO_TYPE, f"group={group!r:.80}")
        return 0

    @property
    @critical_section
    def routing_id(self) -> int:
        """int: the peer that sent the message, or will receive it (SERVER, PEER). 0: none. A draft of libzmq."""
        self.refuse("routing_id")
        need_drafts("routing_id")
        return zmq_msg_routing_id(&self.msg)

    @routing_id.setter
    @critical_section
    def routing_id(self, routing_id: int) -> None:
        self.set_routing_id(routing_id, "routing_id")

    cdef int set_routing_id(self, object routing_id, str call) except -1:
        cdef uint32_t peer = to_integer(routing_id, call, "routing_id", 1, 0xFFFFFFFF)
        self.refuse(call)
        need_drafts(call)
        if zmq_msg_set_routing_id(&self.msg, peer) < 0:
            fail(call, NO_TYPE, f"routing_id={peer}")
        return 0

    def __getitem__(self, name: str) -> str:
        """Return a property of the connection, as `get` does."""
        if not isinstance(name, str):  # with ints it would be an endless sequence
            raise TypeError(f"Frame: the name of a property must be a str, not {name!r:.80}")
        return self.get(name)

    @critical_section
    def get(self, name: str | int) -> str if isinstance(name, str) else int:
        """Return a property of the message, or of the connection that it arrived over.

        Parameters
        ----------
        name : str or int
            A property of the connection: ``"Peer-Address"``, ``"Socket-Type"``, ``"User-Id"``, ``"Identity"`` or
            ``"X-..."``. Or the number of a message property, such as 1 (MORE). Trust only ``"Peer-Address"`` and
            ``"User-Id"``; the peer chooses all others. ``"User-Id"`` exists only if an Authenticator has accepted the
            peer.

        Returns
        -------
        str or int
            A str for a name, an int for a number.

        Raises
        ------
        InvalidArgument
            The message has no such property.
        """
        cdef const char *text
        cdef int value
        self.refuse("get")
        if isinstance(name, str):
            text = zmq_msg_gets(&self.msg, c_string(name, "get", "name"))
            if text is NULL:
                fail("get", NO_TYPE, repr(name))
            if name == "User-Id" and not is_vouched(&self.msg):
                raise error(
                    EINVAL, "get", NO_TYPE, repr(name),
                    "no Authenticator was asked about the peer; start one before the socket is bound")
            return text.decode("utf-8", "surrogateescape")
        value = zmq_msg_get(&self.msg, to_int(name, "get", "name"))
        if value < 0:
            fail("get", NO_TYPE, f"property {name}")
        return value

    @critical_section
    def __len__(self) -> int:
        self.refuse("len")
        return zmq_msg_size(&self.msg)

    @critical_section
    def __repr__(self):
        if self.released:
            return "<Frame, released>"
        return f"<Frame of {zmq_msg_size(&self.msg)} bytes{', more' if zmq_msg_more(&self.msg) else ''}>"

    @critical_section
    def __copy__(self) -> Self:
        """Return another frame with the same content. The content is copied only if writable views exist."""
        cdef Frame other = new_frame(type(self))
        self.share(&other.msg, False, "copy")
        other.tracker = self.tracker
        return other

    def __reduce__(self) -> NoReturn:
        raise TypeError("Frame: a frame cannot be pickled; pickle bytes(frame)")


cdef object to_content(object data, str call, str place):
    """Convert an object to bytes, a Frame or a memoryview, which can be sent."""
    if type(data) is bytes:
        return data
    if isinstance(data, Frame):
        (<Frame> data).refuse(call)
        return data
    return to_buffer(data, call, place)


cdef int need_drafts(str name) except -1:
    if not drafts:
        raise no_drafts(name, NO_TYPE, None)
    return 0


if at_fork(after_fork_in_child):
    raise ImportError("zmqcy: the handler for fork could not be registered")
atexit.register(_finish)
