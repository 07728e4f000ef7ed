"""The names of ``zmq`` that differ from zmqcy, such as Socket and Context, or that only pyzmq has."""

# mypy: disable-error-code="override,misc"
# The signatures are pyzmq's, which sometimes differ from zmqcy's.

import os
import pickle
import time
import warnings
from abc import ABCMeta
from collections.abc import Callable, Iterable
from enum import Enum, IntFlag
from errno import EFAULT, EMSGSIZE, ENAMETOOLONG, ENODEV, ENOENT, ENOTSOCK, ENOTSUP
from types import GenericAlias
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import zmqcy
from zmqcy import _base, compat, constants
from zmqcy._library import PYZMQ, pyzmq_version, pyzmq_version_info
from zmqcy._options import SocketProperty
from zmqcy.compat.utils import dumps, loads
from zmqcy.constants import SocketOption, SocketType
from zmqcy.context import _instances_lock
from zmqcy.errors import CLASSES
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, SOCKET_OPTIONS
from zmqcy.socket import Endpoint

_Class = TypeVar("_Class", bound=type)

__version__ = pyzmq_version()
__revision__ = ""
VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH = PYZMQ
VERSION_EXTRA = ""
PYZMQ_DRAFT_API = zmqcy.DRAFT_API
DEFAULT_PROTOCOL = pickle.DEFAULT_PROTOCOL
POLLIN = int(zmqcy.POLLIN)
HWM = 1  # libzmq has not supported it since version 3


_EVENTS = {"ALL_V1": int(constants.Event.ALL_V1)}  # first, because repr shows the first name of a value
_EVENTS |= {name: int(value) for name, value in constants.Event.__members__.items()}
_EVENTS |= {f"PROTOCOL_ERROR_{each.name}": int(each) for each in constants.ProtocolError}
Event = IntFlag("Event", _EVENTS, module=__name__)  # pyzmq has events and protocol errors in one class


class AttributeSetter:
    """pyzmq's base of classes with options as attributes. It does nothing here."""


class ZMQVersionError(NotImplementedError):
    """Raised if libzmq is too old for a feature. zmqcy itself raises NotSupported."""

    def __init__(self, min_version: str, msg: str = "Feature") -> None:
        super().__init__(f"{msg} requires libzmq >= {min_version}, have {zmqcy.zmq_version()}")
        self.msg = msg
        self.min_version = min_version
        self.version = zmqcy.zmq_version()


def _check_version(min_version_info: tuple[int, ...], msg: str = "Feature") -> None:
    """Raise ZMQVersionError if this libzmq is too old."""
    if zmqcy.zmq_version_info() < min_version_info:
        raise ZMQVersionError(".".join(map(str, min_version_info)), msg)


def _check_rc(rc: int, errno: int | None = None, error_without_errno: bool = True) -> None:
    """Raise the exception of an errno if a call of libzmq has returned -1."""
    if rc != -1:
        return
    errno = zmqcy.zmq_errno() if errno is None else errno
    if errno or error_without_errno:
        raise CLASSES.get(errno, zmqcy.ZMQError)(errno)


class DraftFDWarning(RuntimeWarning):
    """pyzmq's warning for sockets without a file descriptor. zmqcy never issues it."""


# ---------------------------------------------------------------------------------------------- options as in pyzmq


class _Raw(SocketProperty):
    """An option whose value is that of `getsockopt`: bytes for strings, ints for bools."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return super().__get__(instance, owner)
        try:
            return instance.getsockopt(self.option.number)
        except zmqcy.InvalidArgument as error:  # so that hasattr, dir and mocks can read all options
            raise AttributeError(f"{self.option.name}: the option is write-only: {error}", obj=instance) from None


class _Type(SocketProperty):
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return super().__get__(instance, owner) if instance is None else SocketType(super().__get__(instance, owner))


class _Subscription:
    """`subscribe` and `unsubscribe`: methods that can also be set like options."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.function = getattr(_base.NativeSocket, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self.function.__get__(instance, owner)

    def __set__(self, instance: Any, topic: Any) -> None:
        self.function(instance, topic)


def with_options(cls: _Class) -> _Class:
    """Add options with names in capitals to a socket class, with bytes for strings."""
    for option in SOCKET_OPTIONS:
        names = [option.name, *(alias for alias, name in ALIASES.items() if name == option.name)]
        kind = _Type if option.name == "type" else _Raw
        value = _Subscription(option.name) if option.name in ("subscribe", "unsubscribe") else kind(option)
        for name in names:
            setattr(cls, name, value)
            setattr(cls, name.upper(), value)
    return cls


class _OptType(Enum):
    """The kinds of option values."""

    int = "int"
    int64 = "int64"
    bytes = "bytes"
    fd = "fd"


_KINDS = {option.number: option.kind for option in SOCKET_OPTIONS}


def _kind_of(option: Any) -> _OptType:
    return _OptType[_OPTION_TYPES.get(_KINDS.get(int(option), "int"), "int")]


_OPTION_TYPES = {"int64": "int64", "uint64": "int64", "bytes": "bytes", "string": "bytes", "key": "bytes", "fd": "fd"}
SocketOption._opt_type = property(_kind_of)  # type: ignore[attr-defined]  # pyzmq's members have this attribute


# -------------------------------------------------------------------------------------------------------------- sockets


class Bound(Endpoint):
    """The result of `bind` and `connect`. A `with` block yields the socket, then unbinds or disconnects it."""

    __slots__ = ()
    _socket: Any
    _undo: str

    def __enter__(self) -> Any:
        return self._socket

    @property
    def addr(self) -> str:
        """str: the endpoint."""
        return self.endpoint

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({_DONE[self._undo]}={self.endpoint!r})>"


_DONE = {"unbind": "bind", "disconnect": "connect"}


def _name_of(instance: Any) -> str:
    """Return the name of an object's class with its module in pyzmq."""
    module, name = type(instance).__module__, type(instance).__qualname__
    places = {"zmqcy.compat.core": "zmq", "zmqcy.compat.asyncio": "zmq.asyncio", "zmqcy.compat.green": "zmq.green"}
    return f"{places.get(module, module)}.{name}"


class Replaceable:
    """A base of sockets and contexts. A copy is a shadow. Methods of an instance can be replaced, such as by a mock.

    Instances have no `__dict__`, which would slow down every method call. When a method is replaced, the instance gets
    another class, which looks methods up in `_own`.
    """

    __slots__ = ()
    _own: dict[str, Any]

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except AttributeError:
            if not hasattr(type(self), name) or hasattr(_unbound(type(self), name), "__set__"):
                raise
            self._own = _own_of(self) | {name: value}
            if not hasattr(type(self), "_is_replaced"):
                super().__setattr__("__class__", _replacing(type(self)))

    @classmethod
    def __class_getitem__(cls, item: Any) -> GenericAlias:
        return GenericAlias(cls, item)

    def __copy__(self, memo: Any = None) -> Any:
        shadow: Any = type(self)
        return shadow.shadow(self)

    __deepcopy__ = __copy__

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Tell type checkers about the options in capitals, which come from the table."""


def _unbound(cls: type, name: str) -> Any:
    """Return an attribute of a class or its bases, unbound."""
    return next(vars(each)[name] for each in cls.__mro__ if name in vars(each))


def _replacing(cls: Any) -> Any:
    """Return the class for instances with replaced methods."""
    made = vars(cls).get("_for_replaced")
    if made is None:
        names = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__, "_is_replaced": True}
        names |= {"__getattribute__": _get_replaced, "__delattr__": _restore}
        made = cls._for_replaced = type(cls)(cls.__name__, (cls,), names)
    return made


def _own_of(self: Any) -> Any:
    """Return the replaced methods of an instance, or an empty dict."""
    try:
        return object.__getattribute__(self, "_own")
    except AttributeError:
        return {}


def _get_replaced(self: Any, name: str) -> Any:
    own = _own_of(self)
    return own[name] if name in own else object.__getattribute__(self, name)


def _restore(self: Any, name: str) -> None:
    if name in _own_of(self):
        del self._own[name]
    else:
        object.__delattr__(self, name)


class SocketForms(Replaceable):
    """The common part of the plain and the asynchronous Socket: construction, and older names."""

    __slots__ = ()
    setsockopt_string: Any
    getsockopt_string: Any
    last_endpoint: Any
    closed: bool
    _shadow_obj: Any
    _kind_name: str

    def _without_handler(self, error: Exception) -> None:
        """Continue, as pyzmq does, if `zap_domain` is set and no authenticator runs."""
        import logging

        logging.getLogger("zmq.auth").warning("%s", error)

    def _begin(self, context: Any, socket_type: int, shadow: Any, copy_threshold: int | None) -> None:
        """Create the socket of libzmq, or become a shadow of another socket."""
        itself: Any = self
        if isinstance(context, _base.NativeSocket):
            shadow = context
        self._shadow_obj = shadow or None
        if shadow:
            itself._adopt(shadow)
        else:
            _base.NativeSocket.__init__(itself, context, socket_type)
        itself._kind_name = SocketType(itself.type).name
        itself._make_frames(Frame)
        if copy_threshold is not None:
            itself.copy_threshold = copy_threshold

    def __del__(self) -> None:
        if not self.closed and getattr(self, "_shadow_obj", self) is None:
            warnings.warn(f"Unclosed socket {self!r}", ResourceWarning, stacklevel=2, source=self)

    @classmethod
    def shadow(cls, address: Any) -> Any:
        make: Any = cls
        return make(shadow=address)

    @property
    def _shadow(self) -> bool:
        return self._shadow_obj is not None

    @property
    def context(self) -> Any:
        """Context: the context of the socket, or of the shadowed socket. None: a shadow of an address.

        It can be set, for wrappers of shadows. The socket itself stays in its context.
        """
        if hasattr(self, "_given_context"):
            return self._given_context
        origin = self._shadow_obj
        return _base.NativeSocket.context.__get__(self) if origin is None else getattr(origin, "context", None)

    @context.setter
    def context(self, context: Any) -> None:
        self._given_context = context

    def getsockopt(self, option: int) -> Any:
        """Return the value of an option, as bytes or an int."""
        itself: Any = self
        return _base.NativeSocket.getsockopt(itself, option)

    def setsockopt(self, option: int, optval: Any) -> None:
        """Set an option, to bytes or an int. Options that zmqcy does not know take an int."""
        if isinstance(optval, bytes) and option not in _NUMBERS:
            raise TypeError(f"setsockopt: option {option} takes an int, not {optval!r:.80}")
        itself: Any = self
        _base.NativeSocket.setsockopt(itself, option, optval)

    get = getsockopt
    set = setsockopt

    def bind(self, addr: str) -> Bound:
        return self._attach("bind", "unbind", addr)

    def connect(self, addr: str) -> Bound:
        return self._attach("connect", "disconnect", addr)

    def unbind(self, addr: str) -> None:
        itself: Any = self
        try:
            super().unbind(addr)
        except zmqcy.ZMQError as error:
            if error.errno not in (ENODEV, ENOENT) or (numeric := _numeric(addr, self.ipv6)) is None:
                raise
            _base.NativeSocket.unbind(itself, numeric)

    def _attach(self, call: str, undo: str, addr: Any) -> Bound:
        itself: Any = self
        try:
            getattr(_base.NativeSocket, call)(itself, addr)
        except zmqcy.ZMQError as error:
            if call == "bind" and error.errno == ENODEV and (numeric := _numeric(addr, self.ipv6)) is not None:
                _base.NativeSocket.bind(itself, numeric)
                return Bound(itself, undo, self.last_endpoint.decode())
            if error.errno == ENAMETOOLONG:
                text = f"a path of ipc may have up to {zmqcy.IPC_PATH_MAX_LEN} bytes (IPC_PATH_MAX_LEN)"
                raise zmqcy.ZMQError(ENAMETOOLONG, text, call=call, detail=str(addr)) from None
            raise
        return Bound(itself, undo, self.last_endpoint.decode())

    def __repr__(self) -> str:
        return f"<{_name_of(self)}(zmq.{self._kind_name}) at {id(self):#x}{' closed' if self.closed else ''}>"

    def disable_monitor(self) -> None:
        """Stop the monitor. The socket of `get_monitor_socket` stays open, so that the last events can be read."""
        itself: Any = self
        itself._unmonitor()

    def join(self, group: str) -> None:
        """Raise NotSupported: only draft sockets have groups."""
        raise zmqcy.NotSupported(call="join", detail=repr(group))

    leave = join

    def send_string(
        self, u: str, flags: int = 0, copy: bool = True, encoding: str = "utf-8", track: bool = False
    ) -> Any:
        if not isinstance(u, str):
            raise TypeError(f"send_string: a str is required, not {u!r:.80}")
        return self.send(u.encode(encoding), flags, copy, track)

    send_unicode = send_string

    def send_json(self, obj: Any, flags: int = 0, **kwargs: Any) -> Any:
        return self.send(dumps(obj, **kwargs), flags)

    def send_pyobj(
        self, obj: Any, flags: int = 0, protocol: int = DEFAULT_PROTOCOL, copy: bool = True, track: bool = False
    ) -> Any:
        return self.send(pickle.dumps(obj, protocol), flags, copy, track)

    def send_serialized(
        self,
        msg: Any,
        serialize: Callable[[Any], Iterable[Any]],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
    ) -> Any:
        return self.send_multipart(serialize(msg), flags, copy, track)

    def setsockopt_unicode(self, option: int, optval: str, encoding: str = "utf-8") -> None:
        self.setsockopt_string(option, optval, encoding)

    def getsockopt_unicode(self, option: int, encoding: str = "utf-8") -> str:
        text: str = self.getsockopt_string(option, encoding)
        return text


def _numeric(addr: Any, ipv6: Any) -> str | None:
    """Resolve the host name of a tcp endpoint: `bind` of libzmq before 4.3.5 accepts only addresses."""
    import socket

    text = addr.decode() if isinstance(addr, bytes) else addr
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if not text.startswith("tcp://") or not host:
        return None
    try:
        family, flags = (socket.AF_INET6, socket.AI_V4MAPPED) if ipv6 else (socket.AF_INET, 0)
        found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError):
        return None
    address = found[0][4][0]
    return f"tcp://[{address}]:{port}" if ipv6 else f"tcp://{address}:{port}"


_NUMBERS = {option.number for option in SOCKET_OPTIONS}
_warned = False


def warn_of_pickle() -> None:
    """Warn, once per process, that the sender of a pickle can run any code."""
    global _warned
    if not _warned:
        _warned = True
        text = "recv_pyobj can run any code of the sender: use pickle only with trusted peers, otherwise send_json"
        warnings.warn(text, RuntimeWarning, stacklevel=3)


def target_of(buffer: Any, nbytes: int) -> memoryview:
    """Return a memoryview of the writable bytes of a buffer."""
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous:
        fault = "read-only" if view.readonly else "not contiguous"
        raise BufferError(f"recv_into: a writable, contiguous buffer is required; this one is {fault}: {buffer!r:.80}")
    if not isinstance(nbytes, int) or not 0 <= nbytes <= view.nbytes:
        raise ValueError(f"recv_into: nbytes must be an int from 0 to {view.nbytes}, not {nbytes!r}")
    return view.cast("B")[: nbytes or None] if view.nbytes else view


def cut_into(target: memoryview, frame: Any) -> int:
    """Copy a frame into a buffer, truncated to the buffer's size. Return the frame's full size."""
    size = len(frame)
    fits = min(target.nbytes, size)
    if fits:
        target[:fits] = frame.buffer[:fits]
    return size


@with_options
class Socket(SocketForms, zmqcy.Socket, metaclass=ABCMeta):
    """A socket with the methods and options of pyzmq. `zmq.asyncio.Socket` is a virtual subclass.

    Parameters
    ----------
    ctx_or_socket : Context or Socket
        The context of the socket, or a socket to shadow.
    socket_type : int
        One of `zmq.SocketType`.
    shadow : int or Socket, optional
        A socket to shadow, or its address.
    copy_threshold : int, optional
        The minimum size in bytes for zero-copy sends of `bytes` objects. By default `zmq.COPY_THRESHOLD`.
    """

    __slots__ = ("_given_context", "_kind_name", "_own", "_shadow_obj")
    __hash__ = zmqcy.Socket.__hash__

    def __init__(
        self, ctx_or_socket: Any = None, socket_type: int = 0, *, shadow: Any = 0, copy_threshold: int | None = None
    ) -> None:
        self._begin(ctx_or_socket, socket_type, shadow, copy_threshold)

    def _tracker_without_copy(self, parts: list[Any], track: Any) -> Any:
        """Return the tracker of a message sent with ``copy=False``. None: the send makes a new one if `track`.

        A Frame has its own tracker. Short bytes are copied, so their tracker is done at once.
        """
        last = parts[-1]
        if track and any(isinstance(part, zmqcy.Frame) and part.tracker is None for part in parts):
            raise ValueError("send: a Frame is not tracked; create it with track=True")
        if isinstance(last, zmqcy.Frame) and (len(parts) == 1 or not track):
            return last.tracker
        if track and all(isinstance(part, bytes) and len(part) < self.copy_threshold for part in parts):
            return _FINISHED_TRACKER
        return None

    def recv_into(self, buffer: Any, /, *, nbytes: int = 0, flags: int = 0) -> int:
        """Receive a part into a buffer, truncate it to the buffer, and return the part's full size."""
        if nbytes or memoryview(buffer).nbytes:
            try:
                return super().recv_into(buffer, nbytes=nbytes, flags=flags)
            except zmqcy.ZMQError as error:
                if error.errno != EMSGSIZE:
                    raise
        target = target_of(buffer, nbytes)
        return cut_into(target, self.recv(flags, False))

    def recv_string(self, flags: int = 0, encoding: str = "utf-8") -> str:
        return self.recv(flags).decode(encoding)

    recv_unicode = recv_string

    def recv_json(self, flags: int = 0, **kwargs: Any) -> Any:
        return loads(self.recv(flags), **kwargs)

    def recv_pyobj(self, flags: int = 0) -> Any:
        warn_of_pickle()
        return pickle.loads(self.recv(flags))

    def recv_serialized(self, deserialize: Callable[[list[Any]], Any], flags: int = 0, copy: bool = True) -> Any:
        return deserialize(self.recv_multipart(flags, copy))


_base.own_methods(Socket)
Socket._kind = Socket  # type: ignore[attr-defined]
SyncSocket = SocketBase = Socket


# ------------------------------------------------------------------------------------------------------------- contexts


class _SocketClass:
    """The class of a context's sockets: an attribute of the context class, which one context may override."""

    def __init__(self, default: Any) -> None:
        self.default = default

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return getattr(instance, "_own_class", self.default)

    def __set__(self, instance: Any, value: Any) -> None:
        instance._own_class = value

    def __delete__(self, instance: Any) -> None:
        del instance._own_class


class Context(Replaceable, zmqcy.Context):
    """A context with the methods and options of pyzmq.

    Parameters
    ----------
    io_threads : int or Context, default 1
        The number of I/O threads, or a context to shadow.
    shadow : int or Context, optional
        A context to shadow, or its address.
    """

    __slots__ = ("_own", "_own_class", "_shadow")  # no `__dict__`, so that unknown attributes are refused
    _socket_class: Any = _SocketClass(Socket)
    _instance: Any = None
    _instance_pid: int | None = None
    _instance_lock = _instances_lock
    _defaults: dict[int, Any]
    _open_sockets: Any
    IDENTITY: Any

    def __init__(self, io_threads: Any = 1, shadow: Any = 0) -> None:
        self._shadow = bool(shadow) or isinstance(io_threads, zmqcy.Context)
        super().__init__(io_threads, shadow, tuned=None if compat._tuned or self._shadow else False)

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "_socket_class" in cls.__dict__:
            cls._socket_class = _SocketClass(cls.__dict__["_socket_class"])

    @classmethod
    def shadow(cls, address: Any) -> Any:
        made: Any = super().shadow(address)
        made._shadow = True
        return made

    def __repr__(self) -> str:
        count = len(self._open_sockets())
        inside = f"{count} socket{'s' if count != 1 else ''}" if count and not self.closed else ""
        return f"<{_name_of(self)}({inside}) at {id(self):#x}{' closed' if self.closed else ''}>"

    def __exit__(self, *exception: object) -> None:
        try:  # a warning may be an error
            for each in () if self._shadow or self.closed else self._open_sockets():
                text = f"Destroying context with unclosed socket {each!r}"
                warnings.warn(text, ResourceWarning, stacklevel=2, source=each)
        finally:
            super().__exit__(*exception)

    def __del__(self) -> None:
        if not self.closed and not getattr(self, "_shadow", True):
            warnings.warn(f"Unclosed context {self!r}", ResourceWarning, stacklevel=2, source=self)

    @classmethod
    def instance(cls, io_threads: int = 1) -> Any:
        """Return the global context. Subclasses share it, unless they already have their own."""
        with cls._instance_lock:
            if cls._instance is None or cls._instance.closed or cls._instance_pid != os.getpid():
                cls._instance = cls(io_threads)
                cls._instance_pid = os.getpid()
            return cls._instance

    @property
    def sockopts(self) -> dict[int, Any]:
        """dict: the default options of new sockets, by number."""
        return self._defaults

    def socket(self, socket_type: int, socket_class: Any = None, **kwargs: Any) -> Any:
        """Create a socket. Default options that its type does not support are skipped.

        Other arguments are passed to the socket class. If the context has ended, raise ZMQError as pyzmq does: ENOTSUP
        or, in a shadow, EFAULT.
        """
        try:
            socket = (socket_class or self._socket_class)(self, socket_type, **kwargs)
        except zmqcy.ContextTerminated:
            if not self.closed:  # term has begun
                raise
            number = EFAULT if self._shadow else ENOTSUP
            raise zmqcy.ZMQError(number, call="socket", detail="of a context that has ended") from None
        for option, value in self._defaults.items():
            try:
                socket.setsockopt(option, value)
            except zmqcy.ZMQError:
                if socket.closed:
                    raise
        return socket


SyncContext = ContextBase = Context
OptValT = str | bytes | int

for _option in (*SOCKET_OPTIONS, *CONTEXT_OPTIONS):
    if hasattr(zmqcy.Context, _option.name):
        setattr(Context, _option.name.upper(), getattr(zmqcy.Context, _option.name))
Context.IDENTITY = zmqcy.Context.identity


# ----------------------------------------------------------------------------------------- messages, polling, stopwatch


class Frame(zmqcy.Frame):
    """A message, or one part of it. It caches the result of `bytes`.

    Parameters
    ----------
    data : bytes-like, optional
        The content.
    track : bool, default False
        Whether the frame gets a `tracker`, which completes when libzmq and all frames have released the content.
    copy : bool, optional
        True: copy the content. False: zero-copy. By default `bytes` of `copy_threshold` or more are zero-copy.
    copy_threshold : int, optional
        In bytes. By default `zmq.COPY_THRESHOLD`.
    """

    __slots__ = ("_buffer", "_bytes")
    _buffer: Any
    _bytes: Any

    def __init__(
        self, data: Any = None, track: bool = False, copy: bool | None = None, copy_threshold: int | None = None
    ) -> None:
        if isinstance(data, str):
            raise TypeError("Frame: bytes are required, not str; encode it")
        if copy is None and copy_threshold is not None:
            copy = memoryview(b"" if data is None else data).nbytes < copy_threshold
        super().__init__(b"" if data is None else data, track, copy)

    @property
    def bytes(self) -> bytes:
        """bytes: a copy of the content, the same object each time."""
        try:
            found: bytes = self._bytes
        except AttributeError:
            found = self._bytes = super().bytes
        return found

    @property
    def buffer(self) -> memoryview:
        """memoryview: the content, without a copy. The same object as long as it is referenced."""
        found: memoryview | None = self._buffer() if hasattr(self, "_buffer") else None
        if found is None:
            found = super().buffer
            self._buffer = ref(found)  # a strong reference would be a cycle, and the view would never be released
        return found

    def __repr__(self) -> str:
        size = len(self)
        if size <= 16:
            return f"<zmq.Frame({self.bytes!r})>"
        unit = next(unit for unit in (9, 6, 3, 0) if size >= 10**unit and (unit < 6 or size > 10**unit))
        return f"<zmq.Frame({bytes(self.buffer[:12])!r}...{size // 10**unit}{_UNITS[unit]}B)>"


Message = FrameBase = Frame
_UNITS = {0: "", 3: "k", 6: "M", 9: "G"}


class Poller(zmqcy.Poller):
    """Wait for several sockets or file descriptors. For an object with `fileno()` the results contain that number.

    A closed socket stays registered, but is not polled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._closed: dict[int, tuple[Any, int]] = {}  # the closed sockets with their flags, by id

    def register(self, socket: Any, flags: int = 3) -> None:
        what = _number_of(socket)
        if not flags:
            if what in self:
                self.unregister(what)
        elif _is_closed(what):
            self._closed[id(what)] = what, flags
        else:
            super().register(what, flags)

    def modify(self, socket: Any, flags: int = 3) -> None:
        if id(socket) in self._closed:
            self._closed[id(socket)] = socket, flags
        else:
            super().modify(_number_of(socket), flags)

    def unregister(self, socket: Any) -> None:
        if self._closed.pop(id(socket), None) is None:
            super().unregister(_number_of(socket))

    def __contains__(self, socket: Any) -> bool:
        return id(socket) in self._closed or super().__contains__(_number_of(socket))

    def __len__(self) -> int:
        return super().__len__() + len(self._closed)

    @property
    def sockets(self) -> list[tuple[Any, int]]:
        """list of tuple: the registered sockets and file descriptors, each with its flags."""
        return [*super().sockets, *self._closed.values()]

    def poll(self, timeout: float | None = None) -> Any:
        deadline = None if timeout is None or timeout < 0 else time.monotonic() + timeout / 1000
        while True:
            try:
                return super().poll(timeout)
            except zmqcy.ZMQError as error:
                self._drop_closed(error)
            timeout = None if deadline is None else max(0, deadline - time.monotonic()) * 1000

    def _drop_closed(self, error: zmqcy.ZMQError) -> None:
        """Stop polling closed sockets. Raise the error again if it has another cause."""
        closed = [each for each in super().sockets if _is_closed(each[0])]
        if error.errno != ENOTSOCK or not closed:
            raise error
        for socket, flags in closed:
            super().unregister(socket)
            self._closed[id(socket)] = socket, flags


def _is_closed(what: Any) -> bool:
    return isinstance(what, _base.NativeSocket) and what.closed


def _number_of(what: Any) -> Any:
    return what.fileno() if hasattr(what, "fileno") and not isinstance(what, _base.NativeSocket) else what


class MessageTracker(metaclass=ABCMeta):  # noqa: B024  # for `register` alone
    """Track when libzmq has released several messages. The trackers of sends are instances of a virtual subclass.

    Parameters
    ----------
    *towatch : MessageTracker or Frame or threading.Event
        The trackers, tracked frames and events to wait for.
    """

    def __init__(self, *towatch: Any) -> None:
        self._watched: list[Any] = [each.tracker if isinstance(each, zmqcy.Frame) else each for each in towatch]
        if None in self._watched:
            raise ValueError("MessageTracker: a Frame is not tracked; create it with track=True")

    @property
    def done(self) -> bool:
        """bool: whether libzmq has released all messages."""
        return all(each.is_set() if hasattr(each, "is_set") else each.done for each in self._watched)

    def wait(self, timeout: float = -1) -> None:
        """Block until libzmq has released all messages. `timeout` is in seconds; -1: wait indefinitely.

        Raises
        ------
        NotDone
            The call timed out.
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
    """Block until one of several sockets or file descriptors is ready.

    Parameters
    ----------
    sockets : iterable of tuple
        Sockets, file descriptors or objects with `fileno()`, each with flags of `zmq.PollEvent`.
    timeout : float, default -1
        Max milliseconds to wait. -1: wait indefinitely.

    Returns
    -------
    list of tuple
        The ready objects, each with its events.
    """
    poller = Poller()
    for what, flags in sockets:
        poller.register(what, flags)
    ready: list[tuple[Any, int]] = poller.poll(timeout)
    return ready


def select(
    rlist: Iterable[Any], wlist: Iterable[Any], xlist: Iterable[Any], timeout: float | None = None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Block until one of several sockets or file descriptors is ready. Closed sockets are ignored.

    Parameters
    ----------
    rlist, wlist, xlist : iterable
        The objects to wait for until they can be read, can be written, or have an error.
    timeout : float, optional
        Max seconds to wait. By default wait indefinitely.

    Returns
    -------
    tuple of list
        The ready objects of each list.
    """
    readers, writers, others = ([each for each in every if not _is_closed(each)] for every in (rlist, wlist, xlist))
    return zmqcy.select(readers, writers, others, timeout)


class Stopwatch:
    """Measure a time in microseconds. Deprecated in pyzmq: use `time.perf_counter`."""

    _since: float | None = None

    def start(self) -> None:
        """Start the watch."""
        self._since = time.perf_counter()

    def stop(self) -> int:
        """Stop the watch, and return the microseconds since `start`."""
        if self._since is None:
            raise RuntimeError("Stopwatch: stop was called before start")
        microseconds = round((time.perf_counter() - self._since) * 1e6)
        self._since = None
        return microseconds


def get_includes() -> list[str]:
    """Return an empty list: zmqcy has no C headers."""
    return []


def get_library_dirs() -> list[str]:
    """Return an empty list: zmqcy has no library to link with."""
    return []


__all__ = [
    "HWM",
    "PYZMQ_DRAFT_API",
    "_FINISHED_TRACKER",
    "Context",
    "DraftFDWarning",
    "Event",
    "Frame",
    "Message",
    "MessageTracker",
    "Poller",
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
    "select",
    "zmq_poll",
]  # fmt: skip
