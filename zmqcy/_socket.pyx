"""The plain socket class."""

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

    def send(
        self, data: Buffer, flags: int = 0, copy: bool | None = None, track: bool = False, *, timeout: _Time = None,
        routing_id: int | None = None, group: str | None = None
    ) -> MessageTracker if track else None:
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
        with critical_section(lock_of(self)):
            return put_tracked(self, to_message(parts, "send_multipart"), f, copy, track, timeout, "send_multipart")

    def send_many(self, messages: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> int:
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
        with critical_section(lock_of(self)):
            return put_many(self, messages, False, flags, timeout, "send_many")

    def send_multipart_many(
        self, messages: Iterable[Iterable[Buffer]], *, flags: int = 0, timeout: _Time = None
    ) -> int:
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
        with critical_section(lock_of(self)):
            return put_many(self, messages, True, flags, timeout, "send_multipart_many")

    # ---- receiving

    def recv(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> bytes if copy else Frame:
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
        with critical_section(lock_of(self)):
            return fetch(self, to_flags(flags, "recv"), copy, timeout, "recv")

    def try_recv(self) -> bytes | None:
        """Receive a message if one is there.

        Returns
        -------
        bytes or None
            None: there is none.
        """
        with critical_section(lock_of(self)):
            return fetch(self, ZMQ_DONTWAIT | QUIET, True, None, "try_recv")

    def recv_into(self, buffer: Buffer, *, nbytes: int = 0, flags: int = 0, timeout: _Time = None) -> int:
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
        with critical_section(lock_of(self)):
            target = to_target(buffer, "recv_into", None)
            return fetch_into(self, target, to_room(target, nbytes, "recv_into"), f, timeout, "recv_into")

    def recv_multipart(
        self, flags: int = 0, copy: bool = True, track: bool = False, *, timeout: _Time = None
    ) -> list[bytes] if copy else list[Frame]:
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
        with critical_section(lock_of(self)):
            return gather(self, one_message(not copy), f, timeout, "recv_multipart")

    def recv_multipart_into(self, buffers: Iterable[Buffer], *, flags: int = 0, timeout: _Time = None) -> list[int]:
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
        with critical_section(lock_of(self)):
            return fetch_multipart_into(self, to_targets(buffers, call), to_flags(flags, call), timeout, call)

    def recv_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> list[bytes]:
        """Receive many messages with one call: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many parts to take at most; a message of several parts is not cut, though, so that the list may be
            longer by the rest of its last message.
        max_bytes : int, default 1 MiB
            After how many bytes to take no other message, so that large ones do not fill the memory.
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
            `limit` or `max_bytes` is 0 or negative.
        StateError, NotSupported, ContextTerminated, SocketInUse
            As `recv` does.
        MemoryError
            The first message does not fit into memory. What does not fit stays for the next receive.
        """
        cdef int f
        with critical_section(lock_of(self)):
            f = to_flags(flags, "recv_many")
            return gather(self, to_wanted(limit, max_bytes, False, "recv_many"), f, timeout, "recv_many")

    def recv_multipart_many(
        self, limit: int = 1000, *, max_bytes: int = 1048576, flags: int = 0, timeout: _Time = None
    ) -> list[list[bytes]]:
        """Receive many messages with all their parts with one call: wait for the first, then take what is there.

        Parameters
        ----------
        limit : int, default 1000
            How many messages to take at most.
        max_bytes : int, default 1 MiB
            After how many bytes to take no other message.
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
        with critical_section(lock_of(self)):
            while True:
                events = self.current_events("poll") & wanted
                if events or remaining(deadline) == 0:
                    return events
                number = carry_out(self.handle, NULL, NULL, <short> wanted, deadline, False)
                if number and number != EAGAIN and not interrupted(number):
                    raise error(number, "poll", self.handle.type)


# Cython's own `send` and `recv` read and keep seven and four arguments. That takes more instructions than the rest of
# zmqcy. So the interpreter calls `first_send` and `first_recv`. They choose a function and raise nothing themselves, so
# they are in no traceback.

ctypedef PyObject *(*call_t)(
    PlainSocket socket, PyObject *const *arguments, Py_ssize_t count, PyObject *names) noexcept

cdef call_t any_send, any_recv


cdef call_t exchange(object method, call_t first) noexcept:
    cdef PyMethodDef *definition = (<PyMethodDescrObject *> method).d_method
    cdef call_t slow = <call_t> definition.ml_meth
    if definition.ml_flags == METH_FASTCALL | METH_KEYWORDS:  # as Cython makes it for CPython
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
