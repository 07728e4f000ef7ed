"""What ``zmq`` itself has where pyzmq differs from zmqcy: its Socket and Context, and names that only it has."""

# mypy: disable-error-code="override"
# The arguments are those of pyzmq, which are not always those of zmqcy.

import os
import pickle
import time
import warnings
from abc import ABCMeta
from collections.abc import Callable, Iterable
from threading import Lock
from types import GenericAlias
from typing import Any, TypeVar

import zmqcy
from zmqcy import _base
from zmqcy._base import SocketProperty
from zmqcy.compat import PYZMQ, pyzmq_version, pyzmq_version_info
from zmqcy.compat.utils import dumps, loads
from zmqcy.constants import SocketType
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS
from zmqcy.socket import Endpoint

_Class = TypeVar("_Class", bound=type)

__version__ = pyzmq_version()
__revision__ = ""
VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH = PYZMQ
VERSION_EXTRA = ""
PYZMQ_DRAFT_API = zmqcy.DRAFT_API
DEFAULT_PROTOCOL = pickle.DEFAULT_PROTOCOL
HWM = 1  # which libzmq has not known since its version 3


class AttributeSetter:
    """What pyzmq has its classes with options as attributes descend from; it does nothing here."""


class ZMQVersionError(NotImplementedError):
    """Say that this libzmq is too old. zmqcy itself raises NotSupported."""

    def __init__(self, min_version: str, msg: str = "Feature") -> None:
        super().__init__(f"{msg} requires libzmq >= {min_version}, have {zmqcy.zmq_version()}")
        self.msg = msg
        self.min_version = min_version
        self.version = zmqcy.zmq_version()


class DraftFDWarning(RuntimeWarning):
    """A warning that pyzmq has for sockets without a descriptor. It is never given here."""


# ------------------------------------------------------------------------------------------- options as pyzmq has them


class _Raw(SocketProperty):
    """An option that reads as `getsockopt` does: bytes for strings, numbers for bools."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return super().__get__(instance, owner) if instance is None else instance.getsockopt(self.option.number)


class _Type(SocketProperty):
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return super().__get__(instance, owner) if instance is None else SocketType(super().__get__(instance, owner))


class _Subscription:
    """`subscribe` and `unsubscribe`: methods that may be set like options too."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function = getattr(_base.BaseSocket, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self.function.__get__(instance, owner)

    def __set__(self, instance: Any, topic: Any) -> None:
        self.function(instance, topic)


def with_options(cls: _Class) -> _Class:
    """Give a class of sockets the options under their names in capitals, and strings as bytes."""
    for option in SOCKET_OPTIONS:
        names = [option.name, *(alias for alias, name in ALIASES.items() if name == option.name)]
        kind = _Type if option.name == "type" else _Raw
        value = _Subscription(option.name) if option.name in ("subscribe", "unsubscribe") else kind(option)
        for name in names:
            setattr(cls, name, value)
            setattr(cls, name.upper(), value)
    return cls


# -------------------------------------------------------------------------------------------------------------- sockets


class Bound(Endpoint):
    """What `bind` and `connect` return: `with` gives the socket, and undoes them at its end."""

    __slots__ = ()
    _socket: Any

    def __enter__(self) -> Any:
        return self._socket

    @property
    def addr(self) -> str:
        """str: the endpoint."""
        return self.endpoint


def _name_of(instance: Any) -> str:
    """Return the name of a class as programs know it."""
    module, name = type(instance).__module__, type(instance).__qualname__
    places = {"zmqcy.compat.core": "zmq", "zmqcy.compat.asyncio": "zmq.asyncio", "zmqcy.compat.green": "zmq.green"}
    return f"{places.get(module, module)}.{name}"


class SocketForms:
    """What the plain and the asynchronous Socket share: how they are made, and older names."""

    __slots__ = ()
    setsockopt: Any
    getsockopt: Any
    setsockopt_string: Any
    getsockopt_string: Any
    last_endpoint: Any

    def _begin(self, context: Any, socket_type: int, shadow: Any, copy_threshold: int | None) -> None:
        """Make libzmq's socket, or be the shadow of another one."""
        itself: Any = self
        if isinstance(context, _base.BaseSocket):
            shadow = context
        if shadow:
            itself._adopt(shadow)
        else:
            _base.BaseSocket.__init__(itself, context, socket_type)
        if copy_threshold is not None:
            itself.copy_threshold = copy_threshold

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)

    def __copy__(self, memo: Any = None) -> Any:
        shadow: Any = type(self)
        return shadow.shadow(self)

    __deepcopy__ = __copy__

    def bind(self, addr: str) -> Bound:
        _base.BaseSocket.bind(self, addr)  # type: ignore[arg-type]
        itself: Any = self
        return Bound(itself, "unbind", self.last_endpoint.decode())

    def connect(self, addr: str) -> Bound:
        _base.BaseSocket.connect(self, addr)  # type: ignore[arg-type]
        itself: Any = self
        return Bound(itself, "disconnect", self.last_endpoint.decode())

    def __repr__(self) -> str:
        itself: Any = self
        kind = "" if itself.closed else f"zmq.{SocketType(itself.type).name}"
        return f"<{_name_of(self)}({kind}) at {id(self):#x}{' closed' if itself.closed else ''}>"

    def disable_monitor(self) -> None:
        """End what `monitor` or `get_monitor_socket` began. Its socket stays open, to be read to its end."""
        itself: Any = self
        itself._unmonitor()

    def join(self, group: str) -> None:
        """Raise NotSupported: groups are of draft sockets."""
        raise zmqcy.NotSupported(call="join", detail=repr(group))

    leave = join

    def setsockopt_unicode(self, option: int, optval: str, encoding: str = "utf-8") -> None:
        self.setsockopt_string(option, optval, encoding)

    def getsockopt_unicode(self, option: int, encoding: str = "utf-8") -> str:
        text: str = self.getsockopt_string(option, encoding)
        return text


_warned = False


def warn_of_pickle() -> None:
    """Warn, once a process, that who can send a pickle can run any code."""
    global _warned
    if not _warned:
        _warned = True
        text = "recv_pyobj runs what the sender wants: pickle is for peers that are trusted; others: send_json"
        warnings.warn(text, RuntimeWarning, stacklevel=3)


@with_options
class Socket(SocketForms, zmqcy.Socket, metaclass=ABCMeta):
    """A socket with the methods and options of pyzmq's. The asynchronous ones count as its subclass.

    Parameters
    ----------
    ctx_or_socket : Context or Socket
        The context that serves it, or a socket to shadow.
    socket_type : int
        One of `zmq.SocketType`.
    shadow : int or Socket, optional
        A socket to shadow, or its address.
    copy_threshold : int, optional
        From how many bytes on `bytes` are lent to libzmq instead of copied.
    """

    __slots__ = ()
    __hash__ = zmqcy.Socket.__hash__

    def __init__(
        self, ctx_or_socket: Any = None, socket_type: int = 0, *, shadow: Any = 0, copy_threshold: int | None = None
    ) -> None:
        self._begin(ctx_or_socket, socket_type, shadow, copy_threshold)

    def send_string(
        self, u: str, flags: int = 0, copy: bool = True, encoding: str = "utf-8", track: bool = False
    ) -> Any:
        if not isinstance(u, str):
            raise TypeError(f"send_string: a str is required, not {u!r:.80}")
        return self.send(u.encode(encoding), flags, copy, track)

    send_unicode = send_string

    def recv_string(self, flags: int = 0, encoding: str = "utf-8") -> str:
        return self.recv(flags).decode(encoding)

    recv_unicode = recv_string

    def send_json(self, obj: Any, flags: int = 0, **kwargs: Any) -> Any:
        return self.send(dumps(obj, **kwargs), flags)

    def recv_json(self, flags: int = 0, **kwargs: Any) -> Any:
        return loads(self.recv(flags), **kwargs)

    def send_pyobj(
        self, obj: Any, flags: int = 0, protocol: int = DEFAULT_PROTOCOL, copy: bool = True, track: bool = False
    ) -> Any:
        return self.send(pickle.dumps(obj, protocol), flags, copy, track)

    def recv_pyobj(self, flags: int = 0) -> Any:
        warn_of_pickle()
        return pickle.loads(self.recv(flags))

    def send_serialized(
        self,
        msg: Any,
        serialize: Callable[[Any], Iterable[Any]],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
    ) -> Any:
        return self.send_multipart(serialize(msg), flags, copy, track)

    def recv_serialized(self, deserialize: Callable[[list[Any]], Any], flags: int = 0, copy: bool = True) -> Any:
        return deserialize(self.recv_multipart(flags, copy))


Socket._kind = Socket  # type: ignore[attr-defined]
SyncSocket = Socket


# ------------------------------------------------------------------------------------------------------------- contexts


class Context(zmqcy.Context):
    """A context as pyzmq has it.

    Parameters
    ----------
    io_threads : int or Context, default 1
        How many threads move messages; or a context to shadow.
    shadow : int or Context, optional
        A context to shadow, or its address.
    """

    __slots__ = ("_shadow",)
    _socket_class: Any = Socket
    _instance: Any = None
    _instance_pid: int | None = None
    _instance_lock = Lock()
    _defaults: dict[int, Any]
    _open_sockets: Any
    IDENTITY: Any

    def __init__(self, io_threads: Any = 1, shadow: Any = 0) -> None:
        super().__init__(io_threads, shadow)
        self._shadow = bool(shadow) or isinstance(io_threads, zmqcy.Context)

    @classmethod
    def shadow(cls, address: Any) -> Any:
        made = super().shadow(address)
        made._shadow = True
        return made

    def __repr__(self) -> str:
        count = len(self._open_sockets())
        inside = f"{count} socket{'s' if count != 1 else ''}" if count and not self.closed else ""
        return f"<{_name_of(self)}({inside}) at {id(self):#x}{' closed' if self.closed else ''}>"

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)

    def __copy__(self, memo: Any = None) -> Any:
        return type(self).shadow(self)

    __deepcopy__ = __copy__

    @classmethod
    def instance(cls, io_threads: int = 1) -> Any:
        """Return the context of the process; subclasses share it, unless they have one of their own before."""
        with cls._instance_lock:
            if cls._instance is None or cls._instance.closed or cls._instance_pid != os.getpid():
                cls._instance = cls(io_threads)
                cls._instance_pid = os.getpid()
            return cls._instance

    @property
    def sockopts(self) -> dict[int, Any]:
        """dict: the options that new sockets get, by number."""
        return self._defaults

    def socket(self, socket_type: int, socket_class: Any = None, **kwargs: Any) -> Any:
        """Make a socket; the other arguments are for its class. An option that its type does not take is left out."""
        socket = (socket_class or self._socket_class)(self, socket_type, **kwargs)
        for option, value in self._defaults.items():
            try:
                socket.setsockopt(option, value)
            except zmqcy.ZMQError:
                if socket.closed:
                    raise
        return socket


SyncContext = Context

for _option in (*SOCKET_OPTIONS, *CONTEXT_OPTIONS):
    if hasattr(zmqcy.Context, _option.name):
        setattr(Context, _option.name.upper(), getattr(zmqcy.Context, _option.name))
Context.IDENTITY = zmqcy.Context.identity


# ------------------------------------------------------------------------------------------- messages, polls, the clock


class Poller(zmqcy.Poller):
    """Wait for several sockets or descriptors. What has a `fileno()` is polled, and given back, as that number."""

    def register(self, socket: Any, flags: int = 3) -> None:
        what = _number_of(socket)
        if flags:
            super().register(what, flags)
        elif what in self:
            super().unregister(what)

    def modify(self, socket: Any, flags: int = 3) -> None:
        super().modify(_number_of(socket), flags)

    def unregister(self, socket: Any) -> None:
        super().unregister(_number_of(socket))

    def __contains__(self, socket: Any) -> bool:
        return super().__contains__(_number_of(socket))


def _number_of(what: Any) -> Any:
    return what.fileno() if hasattr(what, "fileno") and not isinstance(what, _base.BaseSocket) else what


class MessageTracker(metaclass=ABCMeta):  # noqa: B024  # for `register` alone
    """Tell when libzmq has let go of messages: of all that are watched. Those of a send count as its subclass.

    Parameters
    ----------
    *towatch : MessageTracker or Frame or threading.Event
        What is to be waited for.
    """

    def __init__(self, *towatch: Any) -> None:
        self._watched: list[Any] = [each.tracker if isinstance(each, zmqcy.Frame) else each for each in towatch]
        if None in self._watched:
            raise ValueError("MessageTracker: a Frame is not tracked: make it with track=True")

    @property
    def done(self) -> bool:
        """bool: whether libzmq has let go of all of them."""
        return all(each.is_set() if hasattr(each, "is_set") else each.done for each in self._watched)

    def wait(self, timeout: float = -1) -> None:
        """Wait until it has, for some seconds at most; -1 is for ever.

        Raises
        ------
        NotDone
            The time is up.
        """
        deadline = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        for each in self._watched:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            if not hasattr(each, "is_set"):
                each.wait(-1 if left is None else left)
            elif not each.wait(left):
                raise zmqcy.NotDone


MessageTracker.register(zmqcy.MessageTracker)
_FINISHED_TRACKER = MessageTracker()


def zmq_poll(sockets: Iterable[tuple[Any, int]], timeout: float = -1) -> list[tuple[Any, int]]:
    """Wait, for some milliseconds at most, until one of some sockets is ready for what it is listed with.

    Parameters
    ----------
    sockets : iterable of tuple
        Sockets, descriptors or objects with `fileno()`, each with flags of `zmq.PollEvent`.
    timeout : float, default -1
        Milliseconds; -1 is for ever.

    Returns
    -------
    list of tuple
        The ready ones, each with what it is ready for.
    """
    poller = Poller()
    for what, flags in sockets:
        poller.register(what, flags)
    return poller.poll(timeout)


class Stopwatch:
    """Measure a time in microseconds. Deprecated in pyzmq: `time.perf_counter` does it."""

    _since: float | None = None

    def start(self) -> None:
        """Begin."""
        self._since = time.perf_counter()

    def stop(self) -> int:
        """End, and return the microseconds since the beginning."""
        if self._since is None:
            raise RuntimeError("Stopwatch: stop before start")
        microseconds = round((time.perf_counter() - self._since) * 1e6)
        self._since = None
        return microseconds


def get_includes() -> list[str]:
    """Return an empty list: zmqcy brings no headers to compile against."""
    return []


def get_library_dirs() -> list[str]:
    """Return an empty list: zmqcy brings no library to link with."""
    return []


__all__ = [
    "HWM",
    "PYZMQ_DRAFT_API",
    "_FINISHED_TRACKER",
    "Context",
    "DraftFDWarning",
    "MessageTracker", "Poller",
    "Socket",
    "Stopwatch",
    "SyncContext",
    "SyncSocket",
    "ZMQVersionError",
    "__revision__",
    "__version__",
    "get_includes",
    "get_library_dirs",
    "pyzmq_version",
    "pyzmq_version_info",
    "zmq_poll",
]  # fmt: skip
