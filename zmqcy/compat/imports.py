"""Names that pyzmq's modules import and therefore also export. Some programs import them from these modules."""

import __future__

import typing
from pkgutil import resolve_name
from typing import Any

_ANY = "annotations Any Callable TypeVar TYPE_CHECKING cast overload Literal Protocol Generic TypeAlias Final"
_IOLOOP = (
    f"{_ANY} Awaitable TypedDict asyncio asyncio.Future concurrent datetime functools inspect.isawaitable math numbers "
    "os random sys time typing warnings"
)

NAMES = {
    "zmq": "annotations enum.Enum enum.IntEnum enum.IntFlag contextlib.contextmanager os sys _typing=zmq._typing",
    "zmq._future": (
        f"{_ANY} Awaitable NamedTuple asyncio.Future collections.deque functools.partial itertools.chain warnings "
        "_zmq=zmq zmq.EVENTS zmq.POLLIN zmq.POLLOUT"
    ),
    "zmq._typing": "annotations TypeAlias sys",
    "zmq.asyncio": (
        "annotations asyncio asyncio.Future asyncio.SelectorEventLoop selectors sys warnings weakref.WeakKeyDictionary "
        "_zmq=zmq _future=zmq._future"
    ),
    "zmq.auth.asyncio": "Any Optional asyncio warnings zmq zmq.asyncio.Poller",
    "zmq.auth.base": (
        "Any Awaitable Optional Union logging os zmq zmq.utils.z85 zmq.error._check_version "
        "zmq.auth.certs.load_certificates"
    ),
    "zmq.auth.certs": "Optional Union datetime glob os zmq",
    "zmq.auth.ioloop": "Any Optional warnings zmq zmq.auth.asyncio.AsyncioAuthenticator",
    "zmq.auth.thread": "Any Optional asyncio threading.Event threading.Thread zmq",
    "zmq.backend": "os platform zmq.devices.monitoredqueue.monitored_queue",
    "zmq.backend.cython": "zmq.devices.monitoredqueue.monitored_queue",
    "zmq.backend.cython._zmq": (
        "threading.Event time.monotonic warnings weakref.ref zmq _gc=zmq.utils.garbage.gc zmq.constants._OptType "
        "zmq.devices.monitoredqueue.monitored_queue zmq.error._check_version"
    ),
    "zmq.constants": "annotations TYPE_CHECKING enum.Enum enum.IntEnum enum.IntFlag errno sys "
    "_HAUSNUMERO=zmqcy.errors.HAUSNUMERO",
    "zmq.curve_keygen": "argparse json sys zmq",
    "zmq.decorators": f"{_ANY} functools.wraps zmq",
    "zmq.devices": "annotations submod=zmq.devices.monitoredqueuedevice",
    "zmq.devices.basedevice": (
        "Any Callable Optional multiprocessing.Process threading.Thread time zmq zmq.Context zmq.ENOTSOCK zmq.ETERM "
        "zmq.PUSH zmq.QUEUE zmq.ZMQBindError zmq.ZMQError"
    ),
    "zmq.devices.monitoredqueue": "Callable zmq",
    "zmq.devices.monitoredqueuedevice": "zmq.PUB",
    "zmq.devices.proxydevice": "zmq",
    "zmq.devices.proxysteerabledevice": "zmq",
    "zmq.error": "annotations Literal errno.EINTR",
    "zmq.eventloop.future": (
        "annotations Any asyncio asyncio.Future warnings tornado.ioloop.IOLoop _zmq=zmq zmq._future._AsyncPoller "
        "zmq._future._AsyncSocket"
    ),
    "zmq.eventloop.ioloop": _IOLOOP,
    "zmq.eventloop.zmqstream": (
        f"{_ANY} Awaitable Sequence asyncio pickle queue.Queue tornado.ioloop.IOLoop warnings zmq zmq.POLLIN "
        "zmq.POLLOUT zmq.utils.jsonapi"
    ),
    "zmq.green": "annotations enum.Enum enum.IntEnum enum.IntFlag _zmq=zmq",
    "zmq.green.core": (
        "annotations gevent gevent.event.AsyncResult gevent.hub.get_hub sys time warnings zmq "
        "_original_Context=zmq.Context _original_Socket=zmq.Socket"
    ),
    "zmq.green.device": "annotations NoReturn TYPE_CHECKING zmq",
    "zmq.green.eventloop.ioloop": _IOLOOP,
    "zmq.green.eventloop.zmqstream": "annotations TYPE_CHECKING tornado.ioloop.IOLoop zmq.eventloop.zmqstream",
    "zmq.green.poll": "annotations gevent gevent.select zmq _original_Poller=zmq.Poller",
    "zmq.log.__main__": "argparse datetime.datetime zmq",
    "zmq.log.handlers": f"{_ANY} copy.copy logging zmq",
    "zmq.ssh.tunnel": (
        "annotations Literal TYPE_CHECKING cast overload atexit getpass.getpass getpass.getuser "
        "multiprocessing.Process os re signal socket sys warnings"
    ),
    "zmq.sugar": "annotations zmq.error submod=zmq.sugar.version",
    "zmq.sugar.attrsettr": "annotations Any TypeVar Union errno zmq.constants zmq.sugar.context.OptValT",
    "zmq.sugar.context": (
        f"{_ANY} atexit os threading.Lock weakref.WeakSet warnings.warn zmq zmq.sugar.attrsettr.AttributeSetter "
        "zmq.utils.interop.cast_int_addr"
    ),
    "zmq.sugar.frame": "annotations Literal overload zmq zmq.sugar.attrsettr.AttributeSetter",
    "zmq.sugar.poll": "annotations Any zmq.zmq_poll",
    "zmq.sugar.socket": (
        f"{_ANY} Sequence errno pickle random sys warnings.warn zmq zmq.SocketOption zmq.SocketType "
        "zmq.constants._OptType zmq.sugar.attrsettr.AttributeSetter zmq.utils.interop.cast_int_addr zmq.utils.jsonapi"
    ),
    "zmq.sugar.tracker": "annotations Final threading.Event time zmq.Frame zmq.NotDone",
    "zmq.sugar.version": "annotations cast re re.Match version_info=zmqcy._library.PYZMQ",
    "zmq.utils.garbage": (
        "annotations Final NamedTuple atexit os.getpid struct threading.Event threading.Lock threading.Thread "
        "warnings zmq"
    ),
    "zmq.utils.interop": "Any",
    "zmq.utils.jsonapi": "annotations Any json",
    "zmq.utils.monitor": "annotations Awaitable TypedDict overload struct zmq zmq.error._check_version",
    "zmq.utils.strtypes": "annotations warnings",
    "zmq.utils.win32": "annotations Any Callable os",
    "zmq.utils.z85": "annotations Final Union struct",
}
"""For each module, the sources of its names, except those from `typing`. ``name=source`` if the two differ."""

BEHIND = {"zmq.eventloop.ioloop": "tornado.ioloop", "zmq.green.eventloop.ioloop": "tornado.ioloop"}
"""Modules that re-export all names of another module."""


def names_of(module: str) -> dict[str, str]:
    """Return the imported names of a module of the tree, each with its source."""
    words = [word.rpartition("=") for word in NAMES.get(module, "").split()]
    names = {name or place.rpartition(".")[2]: place for name, _, place in words}
    if module in BEHIND:
        names = {name: f"{BEHIND[module]}.{name}" for name in dir(resolve_name(BEHIND[module]))} | names
    return names


def find(module: str, name: str) -> Any:
    """Return the object that a module of the tree imports under a name.

    Raises
    ------
    LookupError
        The module imports no such name.
    """
    place = names_of(module)[name]
    if place == "annotations":
        return __future__.annotations
    return getattr(typing, place) if place in typing.__all__ else resolve_name(place)
