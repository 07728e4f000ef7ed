"""Asynchronous sockets: the calls, and how they try at once. What must wait is in `_operations`."""

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
    """A socket whose calls return what is to be awaited."""

    # ---- sending

    def send(
        self, data: Buffer, flags: int = 0, copy: bool | None = None, track: bool = False, *, timeout: _Time = None,
        routing_id: int | None = None, group: str | None = None
    ) -> _Future[MessageTracker if track else None]:
        """Send a message, or one part of it.

        Parameters
        ----------
        data : bytes-like or Frame
            The message. What is not bytes is copied when it is sent, which may be later.
        flags, copy, track, timeout, routing_id, group
            As `zmqcy.Socket.send` has them.

        Returns
        -------
        awaitable of MessageTracker or None
            With `track`, what tells when libzmq has let go of the message.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When it is awaited, as `zmqcy.Socket.send` does; ZMQError, ENOTSOCK: it was closed meanwhile.
        RuntimeError
            No event loop runs in this thread, or the socket belongs to another one.
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
        """Send a message of several parts: whole, or not at all.

        Parameters
        ----------
        parts : iterable of bytes-like or Frame
            The parts, one at least.
        flags, copy, track, timeout
            As `zmqcy.Socket.send_multipart` has them.

        Returns
        -------
        awaitable of MessageTracker or None
            With `track`, what tells when libzmq has let go of all parts.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When it is awaited, as `zmqcy.Socket.send_multipart` does.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "send_multipart")
                parts = to_message(parts, "send_multipart")
                return self.put(parts, None, flags, copy, track, timeout, "send_multipart", due(self))
            except Exception as exception:
                return self.failed(exception)

    def send_many(self, messages: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> _Future[int]:
        """Send many messages of one part.

        Parameters
        ----------
        messages : iterable of bytes-like or Frame
            The messages; a generator is run to its end first.
        flags, timeout
            As `zmqcy.Socket.send_many` has them.

        Returns
        -------
        awaitable of int
            How many were sent: fewer than all only where the rest may not wait, or the time is up. What it raises,
            CancelledError too, has that number as `sent`.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When it is awaited, as `zmqcy.Socket.send_many` does.
        """
        with critical_section(lock_of(self)):
            return self.put_many(messages, False, flags, timeout, "send_many")

    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: _Time = None
    ) -> _Future[int]:
        """Send many messages of several parts, each whole or not at all.

        Parameters
        ----------
        messages : iterable of iterables of bytes-like or Frame
            The messages.
        flags, timeout
            As `zmqcy.Socket.send_multipart_many` has them.

        Returns
        -------
        awaitable of int
            How many were sent, as `send_many` says.

        Raises
        ------
        Again, StateError, HostUnreachable, NotSupported, ContextTerminated, TypeError, BufferError, ValueError
            When it is awaited, as `zmqcy.Socket.send_multipart_many` does.
        """
        with critical_section(lock_of(self)):
            return self.put_many(messages, True, flags, timeout, "send_multipart_many")

    def try_send(self, data: Buffer) -> bool:
        """Send a message if that needs no waiting, not even for other sends of this socket. Nothing to await.

        Parameters
        ----------
        data : bytes-like or Frame
            The message.

        Returns
        -------
        bool
            Whether it was sent.
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

        Parameters
        ----------
        flags, copy, track, timeout
            As `zmqcy.Socket.recv` has them.

        Returns
        -------
        awaitable of bytes or Frame
            The part. Who is cancelled, or out of time, while it waits has taken nothing.

        Raises
        ------
        Again, StateError, NotSupported, ContextTerminated, MemoryError
            When it is awaited, as `zmqcy.Socket.recv` does; ZMQError, ENOTSOCK: it was closed meanwhile.
        RuntimeError
            No event loop runs in this thread, or the socket belongs to another one.
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
            Where it is copied to; nothing is before it is done.
        nbytes, flags, timeout
            As `zmqcy.Socket.recv_into` has them.

        Returns
        -------
        awaitable of int
            The size of the message in bytes.

        Raises
        ------
        ZMQError, TypeError, BufferError, ValueError
            When it is awaited, as `zmqcy.Socket.recv_into` does, and what `recv` raises.
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
            As `zmqcy.Socket.recv_multipart` has them.

        Returns
        -------
        awaitable of list of bytes or of Frame
            The parts, one at least.

        Raises
        ------
        Again, StateError, NotSupported, ContextTerminated, MemoryError
            When it is awaited, as `recv` does.
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
        """Receive a message with all its parts, each into a buffer.

        Parameters
        ----------
        buffers : iterable of writable bytes-like
            Where the parts are copied to; there may be more than parts.
        flags, timeout
            As `zmqcy.Socket.recv_multipart_into` has them.

        Returns
        -------
        awaitable of list of int
            The size of each part in bytes.

        Raises
        ------
        ZMQError, TypeError, BufferError
            When it is awaited, as `zmqcy.Socket.recv_multipart_into` does, and what `recv` raises.
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
        """Receive many messages: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many parts to take at most, and the rest of the last message.
        max_bytes, flags, timeout
            As `zmqcy.Socket.recv_many` has them.

        Returns
        -------
        awaitable of list of bytes
            The messages, one at least.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, MemoryError
            When it is awaited, as `zmqcy.Socket.recv_many` does.
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
        """Receive many messages with all their parts: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many messages to take at most.
        max_bytes, flags, timeout
            As `zmqcy.Socket.recv_multipart_many` has them.

        Returns
        -------
        awaitable of list of list of bytes
            The parts of each message, one at least.

        Raises
        ------
        Again, ValueError, StateError, NotSupported, ContextTerminated, MemoryError
            When it is awaited, as `zmqcy.Socket.recv_many` does.
        """
        with critical_section(lock_of(self)):
            try:
                arrive(self, "recv_multipart_many")
                wanted = to_wanted(limit, max_bytes, True, "recv_multipart_many")
                return self.take_messages(wanted, flags, timeout, "recv_multipart_many")
            except Exception as exception:
                return self.failed(exception)

    def try_recv(self) -> bytes | None:
        """Receive a message if one is there and nobody waits for it. Nothing to await.

        Returns
        -------
        bytes or None
            None: there is none.
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
        """Wait until the socket can send or receive. Another task may come first then.

        Parameters
        ----------
        timeout : int, float or timedelta, optional
            Milliseconds to wait; by default, and with -1, for ever.
        flags : int, default POLLIN
            What to wait for: `POLLIN`, `POLLOUT` or both.

        Returns
        -------
        awaitable of int
            Which of them is possible; 0 when the time is up.
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
