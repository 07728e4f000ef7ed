"""Define the C part of plain (blocking) sockets: send, receive, poll."""

from cython cimport critical_section
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.errno cimport EAGAIN

from zmqcy._base cimport NativeSocket, PyCFunction, PyMethodDef, PyMethodDescrObject, enter
from zmqcy._core cimport (
    QUIET, carry_out, fetch, fetch_into, fetch_multipart_into, gather, one_message, put_many, put_part, put_quickly,
    put_tracked, to_addressed, to_message, to_room, to_target, to_targets, to_wanted)
from zmqcy._library cimport deadline_after, error, interrupted, remaining, to_flags
from zmqcy._message cimport Frame, size_of, start_of, to_content
from zmqcy._options cimport lock_of
from zmqcy._system cimport nsec
from zmqcy.libzmq cimport ZMQ_DONTWAIT

from zmqcy import errors

cdef extern from "Python.h":
    enum: METH_FASTCALL
    enum: METH_KEYWORDS


cdef class PlainSocket(NativeSocket):
    """Send and receive messages. Usually created by `Context.socket`.

    One thread at a time may use a socket: a second thread gets `SocketInUse`. A socket may move from thread to thread.
    Draft types with `thread_safe` may be used by several threads at once. The end of a ``with`` block closes the
    socket. Iteration receives messages until the context is terminated.

    Parameters
    ----------
    context : Context
        The context of the socket.
    type : int
        A member of `zmqcy.SocketType`.

    Raises
    ------
    InvalidArgument
        The type is unknown.
    NotSupported
        The type is a draft, and this libzmq has no draft API.
    ZMQError
        EMFILE: `max_sockets` sockets are open, or the process has no file descriptor left.
    ContextTerminated
        The context was terminated.

    See Also
    --------
    Context.socket : create a socket with options.
    zmqcy.asyncio.Socket : for asyncio.

    Examples
    --------
    ::

        with zmqcy.Context() as ctx:
            pull = ctx.socket(zmqcy.PULL)
            pull.bind("tcp://127.0.0.1:*")
            push = ctx.socket(zmqcy.PUSH)
            push.connect(pull.last_endpoint)
            push.send(b"hello")
            print(pull.recv())
    """

    def send(
        self, data: Buffer, flags: int = 0, copy: bool | None = None, track: bool = False, *, timeout: _Time = None,
        routing_id: int | None = None, group: str | None = None
    ) -> MessageTracker if track else None:
        """Send a message of one part, or one part of a multipart message.

        The call blocks while no peer is connected, or the peers have reached their high-water marks (HWM). PUB, XPUB,
        ROUTER and RADIO sockets drop the message instead. When the call returns, libzmq has queued the message, and
        sends it in the background.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.
        flags : int, default 0
            `SNDMORE`: more parts of the same message follow. `DONTWAIT`: non-blocking, raise `Again` instead.
        copy : bool, optional
            True: copy the content. False: zero-copy; libzmq reads the memory of `data` until it releases the message.
            Do not write to a bytearray meanwhile; it cannot be resized. Default: zero-copy for `bytes` of at least
            `copy_threshold` bytes and for a Frame, a copy otherwise.
        track : bool, default False
            Whether to return a tracker.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `sndtimeo` option.
        routing_id : int, optional
            Receiver of the message (SERVER, PEER). Default: the sender of `data`, if it is a received Frame.
        group : str, optional
            Group of the message (RADIO): at most 255 bytes, over udp at most 127 bytes. Default: the group of a Frame,
            or the empty group.

        Returns
        -------
        MessageTracker or None
            With `track=True` a tracker, which completes when libzmq has released the message.

        Raises
        ------
        Again
            The call would block (`DONTWAIT`). `TimedOut`, a subclass: the call timed out. Nothing was sent.
        StateError
            The state of the socket forbids to send, such as a REQ socket that has not received its reply.
        HostUnreachable
            No peer has the routing id (ROUTER with `router_mandatory`, SERVER, PEER).
        NotSupported
            The socket type cannot send, or has no `routing_id` or no `group`.
        ContextTerminated
            The context was terminated.
        SocketInUse
            Another thread is in a call on this socket.
        TypeError, BufferError
            `data` is not bytes-like, or not contiguous.
        ValueError
            `data` is a Frame that was released.

        See Also
        --------
        send_multipart : send a multipart message.
        send_many : send many messages with one call.
        try_send : send without blocking.
        send_string, send_json : encode the message.

        Examples
        --------
        >>> push.send(b"hello")
        >>> push.send(b"hello", timeout=1000)  # raises zmqcy.TimedOut if it blocks for one second
        """
        cdef int f = to_flags(flags, "send")
        with critical_section(lock_of(self)):
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
            return put_tracked(self, to_content(data, "send", None), f, copy, track, timeout, "send")

    def try_send(self, data: Buffer) -> bool:
        """Send a message without blocking, and return whether it was sent.

        Faster than `send` with `DONTWAIT` if the call would block, because it makes no exception.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.

        Returns
        -------
        bool
            False: the call would block, and nothing was sent.

        See Also
        --------
        send : send, and wait for the peer if necessary.

        Examples
        --------
        >>> if not push.try_send(b"hello"):
        ...     print("dropped: the peers are slow")
        """
        with critical_section(lock_of(self)):
            data = to_content(data, "try_send", None)
            enter(self, "try_send")
            if not isinstance(data, Frame) and put_quickly(self, start_of(data), size_of(data), 0):
                return True
            return put_part(self, data, ZMQ_DONTWAIT | QUIET, None, None, None, "try_send") == 1

    def send_multipart(
        self, parts: Iterable[Buffer], flags: int = 0, copy: bool | None = None, track: bool = False, *,
        timeout: _Time = None
    ) -> MessageTracker if track else None:
        """Send a multipart message. It is sent completely or not at all.

        The call blocks as `send` does. All parts are checked before the first one is sent.

        Parameters
        ----------
        parts : iterable of bytes-like or Frame
            The parts, at least one.
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` instead.
        copy : bool, optional
            Copy or zero-copy, per part: see `send`.
        track : bool, default False
            Whether to return a tracker.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `sndtimeo` option.

        Returns
        -------
        MessageTracker or None
            With `track=True` a tracker, which completes when libzmq has released all parts.

        Raises
        ------
        Again
            The call would block (`DONTWAIT`). `TimedOut`, a subclass: the call timed out. Nothing was sent.
        TypeError, BufferError
            A part is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            There are no parts, or one is a Frame that was released.
        StateError, HostUnreachable, NotSupported, ContextTerminated, SocketInUse
            As for `send`.

        See Also
        --------
        recv_multipart : receive a multipart message.
        send_multipart_many : send many multipart messages with one call.

        Examples
        --------
        >>> router.send_multipart([peer, b"", b"reply"])
        """
        cdef int f = to_flags(flags, "send_multipart")
        with critical_section(lock_of(self)):
            return put_tracked(self, to_message(parts, "send_multipart"), f, copy, track, timeout, "send_multipart")

    def send_many(self, messages: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> int:
        """Send many messages of one part with one call, and return how many were sent.

        The call blocks until all messages are sent or it times out. All messages are checked before the first one is
        sent.

        Parameters
        ----------
        messages : iterable of bytes-like or Frame
            The messages. Lists and tuples are fastest. A generator is exhausted before the first message is sent.
        flags : int, default 0
            `DONTWAIT`: send only the messages that can be sent without blocking.
        timeout : int, float or timedelta, optional
            Timeout of the whole call in milliseconds. -1: wait indefinitely. Default: the `sndtimeo` option.

        Returns
        -------
        int
            Number of messages sent, from the start of `messages`. It is less than the total only if the rest would
            block (`DONTWAIT`), or the call timed out.

        Raises
        ------
        Again
            No message could be sent without blocking (`DONTWAIT`). `TimedOut`, a subclass: the call timed out before it
            sent any message.
        TypeError, BufferError
            A message is not bytes-like, or not contiguous. Nothing was sent.
        ValueError
            `flags` contains `SNDMORE`.
        ContextTerminated, StateError, HostUnreachable, NotSupported, SocketInUse
            As for `send`. The attribute `sent` of every exception, including those raised by signal handlers, is the
            number of messages sent before it.

        See Also
        --------
        recv_many : receive many messages with one call.
        send_multipart_many : send many multipart messages.

        Examples
        --------
        >>> sent = push.send_many([b"one", b"two", b"three"], timeout=1000)
        >>> sent
        3
        """
        with critical_section(lock_of(self)):
            return put_many(self, messages, False, flags, timeout, "send_many")

    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: _Time = None
    ) -> int:
        """Send many multipart messages with one call, and return how many were sent.

        The call blocks until all messages are sent or it times out. All messages are checked before the first one is
        sent. Each message is sent completely or not at all.

        Parameters
        ----------
        messages : iterable of iterables of bytes-like or Frame
            The messages. Each is a list of at least one part.
        flags : int, default 0
            `DONTWAIT`: send only the messages that can be sent without blocking.
        timeout : int, float or timedelta, optional
            Timeout of the whole call in milliseconds. -1: wait indefinitely. Default: the `sndtimeo` option.

        Returns
        -------
        int
            Number of messages sent, from the start of `messages`: see `send_many`.

        Raises
        ------
        Again, TypeError, BufferError, ValueError, ContextTerminated, StateError, HostUnreachable, NotSupported
            As for `send_many`, with the attribute `sent`. ValueError also for a message without parts.

        See Also
        --------
        recv_multipart_many : receive many multipart messages with one call.

        Examples
        --------
        >>> push.send_multipart_many([[b"id 1", b"first"], [b"id 2", b"second"]])
        2
        """
        with critical_section(lock_of(self)):
            return put_many(self, messages, True, flags, timeout, "send_multipart_many")

    # ---- receiving

    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> bytes if copy else Frame:
        """Receive a message of one part, or one part of a multipart message.

        The call blocks until a message arrives.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        copy : bool, default True
            True: return bytes. False: zero-copy, return a Frame that uses the memory of libzmq.
        track : bool, default False
            Ignored. Accepted for compatibility with pyzmq.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        bytes or Frame
            The part. The option `rcvmore`, or `more` of the Frame, is True if another part follows.

        Raises
        ------
        Again
            No message has arrived (`DONTWAIT`). `TimedOut`, a subclass: the call timed out.
        StateError
            The state of the socket forbids to receive, such as a REQ socket that has not sent a request.
        NotSupported
            The socket type cannot receive.
        ContextTerminated
            The context was terminated.
        SocketInUse
            Another thread is in a call on this socket.
        MemoryError
            There is not enough memory for the message. The next receive returns it.

        See Also
        --------
        recv_multipart : receive a complete multipart message.
        recv_many : receive many messages with one call.
        recv_into : receive into a buffer.
        try_recv : receive without blocking.
        recv_string, recv_json : decode the message.

        Examples
        --------
        >>> pull.recv()
        b'hello'
        >>> pull.recv(timeout=1000)  # raises zmqcy.TimedOut after one second without a message
        b'hello'
        """
        with critical_section(lock_of(self)):
            return fetch(self, to_flags(flags, "recv"), copy, timeout, "recv")

    def try_recv(self) -> bytes | None:
        """Receive a message without blocking.

        Faster than `recv` with `DONTWAIT` if no message has arrived, because it makes no exception.

        Returns
        -------
        bytes or None
            None: no message has arrived.

        See Also
        --------
        recv : receive, and wait for a message if necessary.

        Examples
        --------
        >>> while (message := pull.try_recv()) is not None:
        ...     print(message)
        b'hello'
        """
        with critical_section(lock_of(self)):
            return fetch(self, ZMQ_DONTWAIT | QUIET, True, None, "try_recv")

    def recv_into(self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: _Time = None) -> int:
        """Receive one message part into a buffer, and return its size.

        The call blocks until a message arrives. The part is copied once.

        Parameters
        ----------
        buffer : writable bytes-like
            Destination, such as a bytearray or a numpy array.
        nbytes : int, default 0
            Maximum number of bytes to write. 0: the size of the buffer.
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        int
            Size of the part in bytes.

        Raises
        ------
        ZMQError
            EMSGSIZE: the part is larger than the buffer. The next receive returns it.
        TypeError, BufferError
            `buffer` is not bytes-like, is read-only, or is not contiguous.
        ValueError
            `nbytes` is negative, or greater than the size of the buffer.

        See Also
        --------
        recv_multipart_into : receive a multipart message into buffers.

        Examples
        --------
        >>> buffer = bytearray(1024)
        >>> size = pull.recv_into(buffer)
        >>> bytes(buffer[:size])
        b'hello'
        """
        cdef int f = to_flags(flags, "recv_into")
        with critical_section(lock_of(self)):
            target = to_target(buffer, "recv_into", None)
            return fetch_into(self, target, to_room(target, nbytes, "recv_into"), f, timeout, "recv_into")

    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> list[bytes] if copy else list[Frame]:
        """Receive a multipart message with all its parts.

        The call blocks until a message arrives.

        Parameters
        ----------
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        copy : bool, default True
            True: return bytes. False: zero-copy, return Frames that use the memory of libzmq.
        track : bool, default False
            Ignored. Accepted for compatibility with pyzmq.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        list of bytes or of Frame
            The parts, at least one.

        Raises
        ------
        Again
            No message has arrived (`DONTWAIT`). `TimedOut`, a subclass: the call timed out.
        MemoryError
            There is not enough memory for the message. The next receive returns it.
        StateError, NotSupported, ContextTerminated, SocketInUse
            As for `recv`.

        See Also
        --------
        send_multipart : send a multipart message.
        recv_multipart_many : receive many multipart messages with one call.

        Examples
        --------
        >>> peer, empty, request = router.recv_multipart()
        """
        cdef int f = to_flags(flags, "recv_multipart")
        with critical_section(lock_of(self)):
            return gather(self, one_message(not copy), f, timeout, "recv_multipart")

    def recv_multipart_into(self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> list[int]:
        """Receive a multipart message, each part into a buffer, and return the sizes.

        The call blocks until a message arrives. Each part is copied once.

        Parameters
        ----------
        buffers : iterable of writable bytes-like
            Destinations of the parts. There may be more buffers than parts.
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        list of int
            Size of each part in bytes.

        Raises
        ------
        ZMQError
            EMSGSIZE: a part is larger than its buffer, or there are more parts than buffers. No buffer was changed. The
            next receive returns the message.
        TypeError, BufferError
            A buffer is not bytes-like, is read-only, or is not contiguous.

        See Also
        --------
        recv_into : receive one part into a buffer.

        Examples
        --------
        >>> head, body = bytearray(16), bytearray(4096)
        >>> sizes = pull.recv_multipart_into([head, body])
        """
        cdef str call = "recv_multipart_into"
        with critical_section(lock_of(self)):
            return fetch_multipart_into(self, to_targets(buffers, call), to_flags(flags, call), timeout, call)

    def recv_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> list[bytes]:
        """Receive many messages of one part with one call.

        The call blocks until the first message arrives. It then takes the messages that have already arrived, without
        blocking again.

        Parameters
        ----------
        limit : int, default 1000
            Maximum number of parts. A multipart message is never split: the list can be longer by the rest of its last
            message.
        max_bytes : int, default 1 MiB
            Stop after the message with which the total size reaches this number of bytes. It limits memory use.
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        timeout : int, float or timedelta, optional
            Timeout for the first message in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        list of bytes
            The messages, at least one. Parts of multipart messages follow each other in the list.

        Raises
        ------
        Again
            No message has arrived (`DONTWAIT`). `TimedOut`, a subclass: the call timed out.
        ValueError
            `limit` or `max_bytes` is 0 or negative.
        StateError, NotSupported, ContextTerminated, SocketInUse
            As for `recv`.
        MemoryError
            There is not enough memory for the first message. The next receive returns it.

        See Also
        --------
        send_many : send many messages with one call.
        recv_multipart_many : receive many multipart messages.

        Examples
        --------
        >>> for message in pull.recv_many(timeout=1000):
        ...     print(message)
        b'hello'
        """
        cdef int f
        with critical_section(lock_of(self)):
            f = to_flags(flags, "recv_many")
            return gather(self, to_wanted(limit, max_bytes, False, "recv_many"), f, timeout, "recv_many")

    def recv_multipart_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> list[list[bytes]]:
        """Receive many multipart messages with one call.

        The call blocks until the first message arrives. It then takes the messages that have already arrived, without
        blocking again.

        Parameters
        ----------
        limit : int, default 1000
            Maximum number of messages.
        max_bytes : int, default 1 MiB
            Stop after the message with which the total size reaches this number of bytes.
        flags : int, default 0
            `DONTWAIT`: non-blocking, raise `Again` if no message has arrived.
        timeout : int, float or timedelta, optional
            Timeout for the first message in milliseconds. -1: wait indefinitely. Default: the `rcvtimeo` option.

        Returns
        -------
        list of list of bytes
            The parts of each message. There is at least one message.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, SocketInUse, MemoryError
            As for `recv_many`.

        See Also
        --------
        send_multipart_many : send many multipart messages with one call.

        Examples
        --------
        >>> for peer, request in router.recv_multipart_many():
        ...     router.send_multipart([peer, request.upper()])
        """
        cdef int f
        with critical_section(lock_of(self)):
            f = to_flags(flags, "recv_multipart_many")
            wanted = to_wanted(limit, max_bytes, True, "recv_multipart_many")
            return gather(self, wanted, f, timeout, "recv_multipart_many")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            return self.recv()
        except errors.ContextTerminated:
            raise StopIteration from None

    def poll(self, timeout: _Time = None, flags: int = 1) -> int:
        """Wait until the socket can receive or send without blocking.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Timeout in milliseconds. 0: return immediately. -1: wait indefinitely. Default: wait indefinitely.
        flags : int, default POLLIN
            Events to wait for: `POLLIN` (receive), `POLLOUT` (send), or both.

        Returns
        -------
        int
            The events that have occurred. 0: the call timed out.

        Raises
        ------
        ContextTerminated
            The context was terminated.
        SocketInUse
            Another thread is in a call on this socket.

        See Also
        --------
        zmqcy.Poller : wait for several sockets.
        recv : `recv` with `timeout` waits and receives.

        Examples
        --------
        >>> if pull.poll(1000) & zmqcy.POLLIN:
        ...     print(pull.recv())
        b'hello'
        """
        cdef int wanted = to_flags(flags, "poll")
        cdef nsec deadline = deadline_after(timeout, "poll")
        cdef int events, number
        with critical_section(lock_of(self)):
            while True:
                events = self.current_events("poll") & wanted
                if events or remaining(deadline) == 0:
                    return events
                number = carry_out(self.handle, NULL, NULL, <short> wanted, deadline, False)
                if number and number != EAGAIN and not interrupted(number):
                    raise error(number, "poll", self.handle.type)


# Cython's `send` and `recv` parse seven and four arguments. That takes more instructions than the rest of the call. So
# the interpreter calls `first_send` and `first_recv`, which choose a faster function for the common arguments. They
# raise no exceptions themselves, so they never appear in a traceback.

ctypedef PyObject *(*call_t)(
    PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept

cdef call_t any_send, any_recv


cdef call_t exchange(object method, call_t first) noexcept:
    cdef PyMethodDef *definition = (<PyMethodDescrObject *> method).d_method
    cdef call_t slow = <call_t> definition.ml_meth
    if definition.ml_flags == METH_FASTCALL | METH_KEYWORDS:  # the calling convention that Cython uses for CPython
        definition.ml_meth = <PyCFunction> first
    return slow


cdef PyObject *first_send(
        PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if names is NULL and count in (1, 2) and type(<object> arguments[0]) is bytes:
        return (<call_t> quick_send)(socket, arguments, count, names)
    return any_send(socket, arguments, count, names)


cdef PyObject *first_recv(
        PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept:
    if names is NULL and count < 2:
        return (<call_t> quick_recv)(socket, arguments, count, names)
    return any_recv(socket, arguments, count, names)


cdef object quick_send(PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names):
    cdef int flags = to_flags(<object> arguments[1], "send") if count == 2 else 0
    with critical_section(lock_of(socket)):
        enter(socket, "send")
        data = <object> arguments[0]
        if put_quickly(socket, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), flags):
            return None
        return put_tracked(socket, data, flags, None, False, None, "send")


cdef object quick_recv(PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names):
    with critical_section(lock_of(socket)):
        return fetch(socket, to_flags(<object> arguments[0], "recv") if count else 0, True, None, "recv")


any_send = exchange(PlainSocket.send, first_send)
any_recv = exchange(PlainSocket.recv, first_recv)
