"""Define the exceptions, and the table that maps an errno to its exception class."""

import errno as _errno

HAUSNUMERO = 156384712  # the first error number of libzmq's own, ZMQ_HAUSNUMERO
EFSM = HAUSNUMERO + 51
ENOCOMPATPROTO = HAUSNUMERO + 52
ETERM = HAUSNUMERO + 53
EMTHREAD = HAUSNUMERO + 54


class ZMQBaseError(Exception):
    """Base class of all exceptions of zmqcy."""


class ZMQError(ZMQBaseError, OSError):
    """Raised when a call of libzmq fails, or cannot be made.

    Parameters
    ----------
    errno : int, optional
        The error number: a member of `zmqcy.Errno`. Default: the number of the class, or else the last errno that
        libzmq set in this thread.
    strerror : str, optional
        The error message. Default: libzmq's message for `errno`.
    call : str, optional
        Name of the failed call, such as ``"recv"``.
    detail : str or int, optional
        Argument of the call: the endpoint, or the option and its value. For `TimedOut`: the milliseconds that the call
        has waited.
    socket_type : str, optional
        Name of the socket type, such as ``"PUSH"``.

    Examples
    --------
    >>> try:
    ...     push.recv()
    ... except zmqcy.ZMQError as error:
    ...     print(error.errno == zmqcy.ENOTSUP, error.hint)
    True a PUSH socket only sends; receive with a PULL socket
    """

    _number: int | None = None

    def __init__(
        self,
        errno: int | None = None,
        strerror: str | None = None,
        *,
        call: str | None = None,
        detail: str | int | None = None,
        socket_type: str | None = None,
    ) -> None:
        if errno is None or strerror is None:
            from zmqcy import _library

            if errno is None:
                errno = _library.zmq_errno() if self._number is None else self._number
            strerror = _library.strerror(errno) if strerror is None else strerror
        super().__init__(errno, strerror)
        self.call = call
        self.detail = detail
        self.socket_type = socket_type

    @property
    def hint(self) -> str | None:
        """str or None: explanation of the error for this call, and what to do. ``str(error)`` includes it."""
        try:
            from zmqcy.hints import hint_for
        except (ImportError, OSError):  # no file descriptor is left to load the module, or the interpreter shuts down
            return None
        return hint_for(self)

    def __str__(self) -> str:
        words = [str(word) for word in (self.call, self.detail) if word]
        if self.socket_type:
            words.append(f"({self.socket_type})")
        text = f"{' '.join(words)}: {self.strerror}" if words else str(self.strerror)
        return f"{text}; {hint}" if (hint := self.hint) else text


class Again(ZMQError, BlockingIOError):
    """Raised when a non-blocking call would block, or a call times out (EAGAIN).

    Nothing was sent or received. `TimedOut` is the subclass for timeouts.
    """


class TimedOut(Again, TimeoutError):
    """Raised when a blocking call times out (EAGAIN). Nothing was sent or received, and no message is lost.

    Examples
    --------
    >>> try:
    ...     pull.recv(timeout=1000)
    ... except zmqcy.TimedOut:
    ...     print("no message in one second")
    no message in one second
    """

    def __str__(self) -> str:
        words = [self.call, self.socket_type and f"({self.socket_type})"]
        text = f"{' '.join(word for word in words if word)}: timed out"
        detail = self.detail
        if isinstance(detail, int):  # milliseconds, formatted only here: few programs show the message
            from zmqcy._library import after

            detail = after(detail, "")
        if detail:
            text = f"{text} {detail}"
        return f"{text}; {hint}" if (self.call or "").startswith("send") and (hint := self.hint) else text


class InterruptedSystemCall(ZMQError, InterruptedError):
    """Raised when a signal interrupts a call (EINTR). zmqcy retries such calls, so programs do not see it."""


class InvalidArgument(ZMQError, ValueError):
    """Raised when libzmq refuses a value, an option or an endpoint (EINVAL)."""


class ContextTerminated(ZMQError):
    """Raised by calls on a context that was terminated, and on its sockets (ETERM).

    A blocking call in another thread raises it when the context is terminated or shut down.
    """


class StateError(ZMQError):
    """Raised when the state of a socket forbids an operation (EFSM).

    An example is a second send on a REQ socket before the reply was received.
    """


class IncompatibleProtocol(ZMQError):
    """Raised when the socket type does not support the transport, such as PUSH and udp (ENOCOMPATPROTO)."""


class NoIOThread(ZMQError):
    """Raised when the context has no I/O thread, as with ``Context(io_threads=0)`` and tcp (EMTHREAD)."""


class HostUnreachable(ZMQError):
    """Raised when no connected peer has the routing id of a message (EHOSTUNREACH)."""


class NotSupported(ZMQError, NotImplementedError):
    """Raised when the loaded libzmq or the socket type does not support an operation (ENOTSUP)."""


class SocketInUse(ZMQError):
    """Raised when another thread is in a call on the same socket (EBUSY)."""


class ForkedError(ZMQError):
    """Raised in a forked child by calls on sockets and contexts of the parent (ECHILD).

    Make a new context and new sockets in the child.
    """


class ZMQBindError(ZMQError):
    """Raised when `Socket.bind_to_random_port` finds no free port (EADDRINUSE)."""


class NotDone(ZMQBaseError, TimeoutError):
    """Raised when `MessageTracker.wait` times out: libzmq has not released the message yet."""


CLASSES: dict[int, type[ZMQError]] = {
    _errno.EAGAIN: Again,
    _errno.EINTR: InterruptedSystemCall,  # a signal
    _errno.EINVAL: InvalidArgument,  # a value, an option, an endpoint
    _errno.EHOSTUNREACH: HostUnreachable,  # ROUTER with router_mandatory
    _errno.ENOTSUP: NotSupported,  # an operation that the socket type does not have
    _errno.EOPNOTSUPP: NotSupported,  # as ENOTSUP, on systems where the two numbers differ
    _errno.EBUSY: SocketInUse,
    _errno.ECHILD: ForkedError,
    EFSM: StateError,  # send before recv on REP, recv before send on REQ
    ENOCOMPATPROTO: IncompatibleProtocol,  # udp with PUSH
    ETERM: ContextTerminated,  # term or shutdown of the context
    EMTHREAD: NoIOThread,  # Context(io_threads=0) and tcp
}
"""Exception class by errno. Any other errno raises `ZMQError`."""

for _number, _class in CLASSES.items():
    if _class._number is None:  # the first errno of a class is its default
        _class._number = _number
ZMQBindError._number = _errno.EADDRINUSE
