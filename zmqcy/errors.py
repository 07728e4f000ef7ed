"""Exceptions, and the table that maps an errno to its class."""

import errno as _errno

HAUSNUMERO = 156384712  # where libzmq's own error numbers begin
EFSM = HAUSNUMERO + 51
ENOCOMPATPROTO = HAUSNUMERO + 52
ETERM = HAUSNUMERO + 53
EMTHREAD = HAUSNUMERO + 54


class ZMQBaseError(Exception):
    """What the exceptions of zmqcy have in common."""


class ZMQError(ZMQBaseError, OSError):
    """Say that a call of libzmq failed, or could not be made.

    Parameters
    ----------
    errno : int, optional
        The error's number, one of `zmqcy.Errno`; by default that of the class, or else what libzmq met last in this
        thread.
    strerror : str, optional
        The error in words; by default libzmq's.
    call : str, optional
        The call that failed.
    detail : str or int, optional
        The endpoint, the option and its value, or the argument that the call was given. Of `TimedOut`: the milliseconds
        that a call on a socket has waited.
    socket_type : str, optional
        The type of the socket, as ``PUSH``.
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
        """str or None: what the error means for the call, and what to do; `str` shows it after `strerror`."""
        try:
            from zmqcy.hints import hint_for
        except (ImportError, OSError):  # no file descriptor is left to load it with, or the interpreter ends
            return None
        return hint_for(self)

    def __str__(self) -> str:
        words = [str(word) for word in (self.call, self.detail) if word]
        if self.socket_type:
            words.append(f"({self.socket_type})")
        text = f"{' '.join(words)}: {self.strerror}" if words else str(self.strerror)
        return f"{text}; {hint}" if (hint := self.hint) else text


class Again(ZMQError, BlockingIOError):
    """The call would have to wait, and may not (EAGAIN)."""


class TimedOut(Again, TimeoutError):
    """The call timed out (EAGAIN). No message was lost."""

    def __str__(self) -> str:
        words = [self.call, self.socket_type and f"({self.socket_type})"]
        text = f"{' '.join(word for word in words if word)}: timed out"
        detail = self.detail
        if isinstance(detail, int):  # milliseconds: many programs never look at the words
            from zmqcy._library import after

            detail = after(detail, "")
        if detail:
            text = f"{text} {detail}"
        return f"{text}; {hint}" if (self.call or "").startswith("send") and (hint := self.hint) else text


class InterruptedSystemCall(ZMQError, InterruptedError):
    """A signal ended the call (EINTR). zmqcy tries again itself, so that users do not see this one."""


class InvalidArgument(ZMQError, ValueError):
    """libzmq refuses the value (EINVAL)."""


class ContextTerminated(ZMQError):
    """The context was ended, and with it every operation on its sockets (ETERM)."""


class StateError(ZMQError):
    """The operation is out of turn, as a second send on a REQ socket that awaits its reply (EFSM)."""


class IncompatibleProtocol(ZMQError):
    """The transport does not go with the type of the socket (ENOCOMPATPROTO)."""


class NoIOThread(ZMQError):
    """The context has no I/O thread for the work (EMTHREAD)."""


class HostUnreachable(ZMQError):
    """No peer has the routing id that the message names (EHOSTUNREACH)."""


class NotSupported(ZMQError, NotImplementedError):
    """The libzmq that is loaded, or the socket's type, cannot do this (ENOTSUP)."""


class SocketInUse(ZMQError):
    """Another thread is inside a call on this socket (EBUSY)."""


class ForkedError(ZMQError):
    """The socket or context belongs to the process that this one was forked from (ECHILD)."""


class ZMQBindError(ZMQError):
    """No port could be had for `Socket.bind_to_random_port` (EADDRINUSE)."""


class NotDone(ZMQBaseError, TimeoutError):
    """libzmq has not let go of a message within the time that `MessageTracker.wait` was given."""


CLASSES: dict[int, type[ZMQError]] = {
    _errno.EAGAIN: Again,
    _errno.EINTR: InterruptedSystemCall,  # a signal
    _errno.EINVAL: InvalidArgument,  # a value, an option, an endpoint
    _errno.EHOSTUNREACH: HostUnreachable,  # ROUTER with router_mandatory
    _errno.ENOTSUP: NotSupported,  # an operation that the type does not have
    _errno.EOPNOTSUPP: NotSupported,  # the same, where the two numbers differ
    _errno.EBUSY: SocketInUse,
    _errno.ECHILD: ForkedError,
    EFSM: StateError,  # REQ and REP out of turn
    ENOCOMPATPROTO: IncompatibleProtocol,  # udp with PUSH
    ETERM: ContextTerminated,  # term or shutdown of the context
    EMTHREAD: NoIOThread,  # Context(io_threads=0) and tcp
}
"""The class that is raised for an errno; `ZMQError` itself for one that is not here."""

for _number, _class in CLASSES.items():
    if _class._number is None:  # the first is the usual one
        _class._number = _number
ZMQBindError._number = _errno.EADDRINUSE
