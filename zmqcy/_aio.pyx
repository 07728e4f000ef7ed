"""The calls of asynchronous sockets, and their first attempts. `_operations` has the operations that wait."""

from cython cimport critical_section
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from zmqcy._base cimport enter
from zmqcy._core cimport (
    PROBE, QUIET, fetch, one_message, put_part, put_quickly, to_addressed, to_message, to_room, to_target, to_targets,
    to_wanted)
from zmqcy._library cimport to_flags
from zmqcy._loop cimport finished
from zmqcy._message cimport Frame, size_of, start_of, to_content
from zmqcy._operations cimport QueuedSocket, arrive, due, is_empty
from zmqcy._options cimport lock_of
from zmqcy.libzmq cimport ZMQ_DONTWAIT


cdef class FutureSocket(QueuedSocket):
    """A socket whose calls return awaitables."""

    # ---- sending

    def send(
        self, data: Buffer, flags: int = 0, copy: bool | None = None, track: bool = False, *, timeout: _Time = None,
        routing_id: int | None = None, group: str | None = None
    ) -> _Future[MessageTracker if track else None]:
        """Send a message, or one part of it.

        If the socket has reached its high-water mark, the task waits. A send that times out or is cancelled has sent
        nothing.

        Parameters
        ----------
        data : bytes-like or Frame
            The message. A buffer other than bytes is copied when it is sent, which may be later: do not change it
            before the await has ended.
        flags, copy, track, timeout, routing_id, group
            As in `zmqcy.Socket.send`.

        Returns
        -------
        awaitable of MessageTracker or None
            With `track`, the tracker that completes when libzmq has released the message.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When awaited, for the same reasons as `zmqcy.Socket.send`.
        ZMQError
            When awaited: ENOTSOCK, the socket was closed meanwhile.
        RuntimeError
            When called: no event loop runs in this thread, or the socket belongs to another one.

        Examples
        --------
        >>> await socket.send(b"hello", timeout=1000)  # milliseconds

        See Also
        --------
        try_send : send without waiting.
        send_multipart : send several parts as one message.
        """
        cdef int f
        cdef bint yielding
        with critical_section(lock_of(self)):
            try:
                arrive(self, "send")
                f = to_flags(flags, "send")
                if routing_id is not None or group is not None:
                    data = to_addressed(self, data, routing_id, group, copy, "send")
                elif type(data) is not bytes:
                    data = to_content(data, "send", None)
                yielding = due(self)
                if copy is None and track is False and is_empty(&self.senders) and not yielding:
                    enter(self, "send")
                    if type(data) is bytes:
                        if put_quickly(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), f):
                            return finished(self.loop, None)
                    elif not isinstance(data, Frame) and put_quickly(self, start_of(data), size_of(data), f):
                        return finished(self.loop, None)
                return self.put([data], None, f, copy, track, timeout, "send", yielding)
            except Exception as exception:
                return self.failed(exception)

    def send_multipart(
        self, parts: Iterable[Buffer], flags: int = 0, copy: bool | None = None, track: bool = False, *,
        timeout: _Time = None
    ) -> _Future[MessageTracker if track else None]:
        """Send a multipart message, whole or not at all.

        Parameters
        ----------
        parts : iterable of bytes-like or Frame
            The parts, at least one.
        flags, copy, track, timeout
            As in `zmqcy.Socket.send_multipart`.

        Returns
        -------
        awaitable of MessageTracker or None
            With `track`, the tracker that completes when libzmq has released all parts.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When awaited, for the same reasons as `zmqcy.Socket.send_multipart`.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "send_multipart")
                parts = to_message(parts, "send_multipart")
                return self.put(parts, None, flags, copy, track, timeout, "send_multipart", due(self))
            except Exception as exception:
                return self.failed(exception)

    def send_many(self, messages: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> _Future[int]:
        """Send a batch of messages of one part each.

        Parameters
        ----------
        messages : iterable of bytes-like or Frame
            The messages. A generator is exhausted before the first send.
        flags, timeout
            As in `zmqcy.Socket.send_many`.

        Returns
        -------
        awaitable of int
            The number of sent messages: fewer than all only with DONTWAIT, or if the call times out. Exceptions,
            CancelledError too, have this number as an attribute `sent`.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When awaited, for the same reasons as `zmqcy.Socket.send_many`.

        See Also
        --------
        send_multipart_many : for messages of several parts.
        """
        with critical_section(lock_of(self)):
            return self.put_many(messages, False, flags, timeout, "send_many")

    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: _Time = None
    ) -> _Future[int]:
        """Send a batch of multipart messages, each whole or not at all.

        Parameters
        ----------
        messages : iterable of iterables of bytes-like or Frame
            The messages.
        flags, timeout
            As in `zmqcy.Socket.send_multipart_many`.

        Returns
        -------
        awaitable of int
            The number of sent messages, as for `send_many`.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When awaited, for the same reasons as `zmqcy.Socket.send_multipart_many`.
        """
        with critical_section(lock_of(self)):
            return self.put_many(messages, True, flags, timeout, "send_multipart_many")

    def try_send(self, data: Buffer) -> bool:
        """Send a message without waiting. This is a plain call: do not await it.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.

        Returns
        -------
        bool
            True: the message was sent. False: the socket has reached its high-water mark, or other sends wait.
        """
        cdef object content = to_content(data, "try_send", None)
        with critical_section(lock_of(self)):
            arrive(self, "try_send")
            enter(self, "try_send")
            if not is_empty(&self.senders):
                return False
            return put_part(self, content, ZMQ_DONTWAIT | QUIET, None, None, None, "try_send") == 1

    # ---- receiving

    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> _Future[bytes if copy else Frame]:
        """Receive a message, or one part of it.

        A receive that times out or is cancelled has received nothing: no message is lost.

        Parameters
        ----------
        flags, copy, track, timeout
            As in `zmqcy.Socket.recv`.

        Returns
        -------
        awaitable of bytes or Frame
            The part; a zero-copy Frame with ``copy=False``.

        Raises
        ------
        Again, StateError, NotSupported, ContextTerminated, MemoryError
            When awaited, for the same reasons as `zmqcy.Socket.recv`.
        ZMQError
            When awaited: ENOTSOCK, the socket was closed meanwhile.
        RuntimeError
            When called: no event loop runs in this thread, or the socket belongs to another one.

        Examples
        --------
        >>> await socket.recv(timeout=1000)  # milliseconds
        b'hello'

        See Also
        --------
        try_recv : receive without waiting.
        recv_multipart : receive all parts.
        """
        cdef object message
        cdef int f
        cdef bint yielding
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv")
                f = to_flags(flags, "recv")
                yielding = due(self)
                if is_empty(&self.receivers) and not yielding:
                    message = fetch(self, f | ZMQ_DONTWAIT | PROBE, copy, None, "recv")
                    if message is not None:
                        return finished(self.loop, message)
                return self.await_part(f, copy, timeout, yielding)
            except Exception as exception:
                return self.failed(exception)

    def recv_into(self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: _Time = None) -> _Future[int]:
        """Receive a message, or one part of it, into a buffer.

        Parameters
        ----------
        buffer : writable bytes-like
            The destination. It is written to only when the operation completes.
        nbytes, flags, timeout
            As in `zmqcy.Socket.recv_into`.

        Returns
        -------
        awaitable of int
            The size of the message in bytes.

        Raises
        ------
        ZMQError, TypeError, BufferError, ValueError
            When awaited, for the same reasons as `zmqcy.Socket.recv_into`; also the exceptions of `recv`.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_into")
                target = to_target(buffer, "recv_into", None)
                room = to_room(target, nbytes, "recv_into")
                return self.take_into(target, room, flags, timeout)
            except Exception as exception:
                return self.failed(exception)

    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> _Future[list[bytes] if copy else list[Frame]]:
        """Receive a message with all its parts.

        Parameters
        ----------
        flags, copy, track, timeout
            As in `zmqcy.Socket.recv_multipart`.

        Returns
        -------
        awaitable of list of bytes or of Frame
            The parts, at least one.

        Raises
        ------
        Again, StateError, NotSupported, ContextTerminated, MemoryError
            When awaited, for the same reasons as `recv`.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_multipart")
                return self.take_messages(one_message(not copy), flags, timeout, "recv_multipart")
            except Exception as exception:
                return self.failed(exception)

    def recv_multipart_into(
        self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None
    ) -> _Future[list[int]]:
        """Receive a message with all its parts, each part into its own buffer.

        Parameters
        ----------
        buffers : iterable of writable bytes-like
            The destinations. There may be more buffers than parts.
        flags, timeout
            As in `zmqcy.Socket.recv_multipart_into`.

        Returns
        -------
        awaitable of list of int
            The size of each part in bytes.

        Raises
        ------
        ZMQError, TypeError, BufferError
            When awaited, for the same reasons as `zmqcy.Socket.recv_multipart_into`; also the exceptions of `recv`.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_multipart_into")
                return self.take_parts_into(to_targets(buffers, "recv_multipart_into"), flags, timeout)
            except Exception as exception:
                return self.failed(exception)

    def recv_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> _Future[list[bytes]]:
        """Receive a batch of messages: wait for the first, then take the messages already in the queue.

        Parameters
        ----------
        limit : int, default 1000
            Max number of parts. The batch ends only at the end of a message, so it may contain a few more.
        max_bytes, flags, timeout
            As in `zmqcy.Socket.recv_many`.

        Returns
        -------
        awaitable of list of bytes
            The messages, at least one.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, MemoryError
            When awaited, for the same reasons as `zmqcy.Socket.recv_many`.

        See Also
        --------
        recv_multipart_many : for messages of several parts.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_many")
                return self.take_messages(to_wanted(limit, max_bytes, False, "recv_many"), flags, timeout, "recv_many")
            except Exception as exception:
                return self.failed(exception)

    def recv_multipart_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> _Future[list[list[bytes]]]:
        """Receive a batch of multipart messages: wait for the first, then take the messages already in the queue.

        Parameters
        ----------
        limit : int, default 1000
            Max number of messages.
        max_bytes, flags, timeout
            As in `zmqcy.Socket.recv_multipart_many`.

        Returns
        -------
        awaitable of list of list of bytes
            At least one message, each as the list of its parts.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, MemoryError
            When awaited, for the same reasons as `zmqcy.Socket.recv_many`.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_multipart_many")
                wanted = to_wanted(limit, max_bytes, True, "recv_multipart_many")
                return self.take_messages(wanted, flags, timeout, "recv_multipart_many")
            except Exception as exception:
                return self.failed(exception)

    def try_recv(self) -> bytes | None:
        """Receive a message without waiting. This is a plain call: do not await it.

        Returns
        -------
        bytes or None
            None: there is no message, or other receives wait.
        """
        with critical_section(lock_of(self)):
            arrive(self, "try_recv")
            enter(self, "try_recv")
            if not is_empty(&self.receivers):
                return None
            return fetch(self, ZMQ_DONTWAIT | QUIET, True, None, "try_recv")

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> _Future[bytes]:
        return self.next_of(self.recv())

    # ---- polling

    def poll(self, timeout: _Time = None, flags: int = 1) -> _Future[int]:
        """Wait until the socket is ready to send or receive. Another task may still use the socket first.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Max milliseconds to wait. By default, or with -1, wait indefinitely.
        flags : int, default POLLIN
            The events to wait for: `POLLIN`, `POLLOUT` or both.

        Returns
        -------
        awaitable of int
            The events that are ready. 0: the call timed out.
        """
        cdef int wanted, events
        with critical_section(lock_of(self)):
            try:
                arrive(self, "poll")
                wanted = to_flags(flags, "poll")
                yielding = due(self)
                if not yielding:
                    events = self.current_events("poll") & wanted
                    if events:
                        return finished(self.loop, events)
                return self.await_events(wanted, timeout, yielding)
            except Exception as exception:
                return self.failed(exception)
