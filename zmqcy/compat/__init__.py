"""pyzmq's modules on zmqcy, for code that contains ``import zmq`` and cannot be changed.

`install` makes them importable as ``zmq``. TREE lists the modules and the sources of their names.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from threading import Lock
from types import CodeType, ModuleType
from typing import Any

import zmqcy

_CORE = ("zmqcy.compat.core", "zmqcy.constants", "zmqcy")
_DEVICES = ("zmqcy.compat.devices",)
_IOLOOP = ("zmqcy.compat.eventloop: IOLoop PeriodicCallback ZMQIOLoop install",)
_STREAM = ("zmqcy.compat.eventloop: ZMQStream gen_log",)
_FUTURE = ("zmqcy.compat.asyncio: Context Socket Poller CancelledError",)
_TUNNEL = ("zmqcy.compat.ssh: _try_passwordless_openssh", "zmqcy.compat.ssh")
_FRAMES = ("zmqcy.compat.core: Frame Message FrameBase",)
_CONTEXT = (
    "zmqcy.compat.core: Context SyncContext Socket SyncSocket ContextBase OptValT",
    "zmqcy: ZMQError",
    "zmqcy.constants",
)
_SOCKET = (
    "zmqcy.compat.core: Context Socket SyncSocket SocketBase Poller DEFAULT_PROTOCOL",
    "zmqcy: ZMQError ZMQBindError",
)
_MONITOR = ("zmqcy.monitor: parse_monitor_message recv_monitor_message",)
_CERTS = "zmqcy.compat.auth: create_certificates load_certificate load_certificates"
_GREEN = "zmqcy.compat.green: Context Socket Poller _Context _Socket _Poller device"

TREE: dict[str, tuple[str, ...]] = {
    "zmq": _CORE,
    "zmq._future": ("zmqcy.compat.asyncio: _AsyncSocket _AsyncPoller",),
    "zmq._typing": (),
    "zmq.asyncio": ("zmqcy.compat.asyncio: Context Socket Poller ZMQEventLoop ProactorSelectorThreadWarning install",),
    "zmq.auth": ("zmqcy.compat.auth: Authenticator CURVE_ALLOW_ANY", _CERTS),
    "zmq.auth.asyncio": ("zmqcy.compat.auth: AsyncioAuthenticator Authenticator",),
    "zmq.auth.base": ("zmqcy.compat.auth: Authenticator CURVE_ALLOW_ANY VERSION",),
    "zmq.auth.certs": (f"{_CERTS} _write_key_file _cert_public_banner _cert_secret_banner",),
    "zmq.auth.ioloop": ("zmqcy.compat.auth: IOLoopAuthenticator",),
    "zmq.auth.thread": ("zmqcy.compat.auth: ThreadAuthenticator Authenticator",),
    "zmq.backend": _CORE,
    "zmq.backend.cython": _CORE,
    "zmq.backend.cython._zmq": _CORE,
    "zmq.constants": ("zmqcy.compat.core: Event HWM _OptType", "zmqcy.constants"),
    "zmq.curve_keygen": ("zmqcy.compat.utils: _main",),
    "zmq.decorators": ("zmqcy.compat.decorators: context socket",),
    "zmq.devices": _DEVICES,
    "zmq.devices.basedevice": _DEVICES,
    "zmq.devices.monitoredqueue": _DEVICES,
    "zmq.devices.monitoredqueuedevice": _DEVICES,
    "zmq.devices.proxydevice": _DEVICES,
    "zmq.devices.proxysteerabledevice": _DEVICES,
    "zmq.error": (
        "zmqcy.compat.core: ZMQVersionError DraftFDWarning _check_rc _check_version",
        "zmqcy.errors",
    ),
    "zmq.eventloop": _IOLOOP,
    "zmq.eventloop.future": _FUTURE,
    "zmq.eventloop.ioloop": _IOLOOP,
    "zmq.eventloop.zmqstream": _STREAM,
    "zmq.green": (_GREEN, *_CORE),
    "zmq.green.core": (_GREEN,),
    "zmq.green.device": (_GREEN,),
    "zmq.green.eventloop": _IOLOOP,
    "zmq.green.eventloop.ioloop": _IOLOOP,
    "zmq.green.eventloop.zmqstream": _STREAM,
    "zmq.green.poll": (_GREEN,),
    "zmq.log": (),
    "zmq.log.__main__": ("zmqcy.compat.log: main",),
    "zmq.log.handlers": ("zmqcy.compat.log: PUBHandler TopicLogger TOPIC_DELIM",),
    "zmq.ssh": _TUNNEL,
    "zmq.ssh.tunnel": _TUNNEL,
    "zmq.sugar": _CORE,
    "zmq.sugar.attrsettr": ("zmqcy.compat.core: AttributeSetter",),
    "zmq.sugar.context": _CONTEXT,
    "zmq.sugar.frame": _FRAMES,
    "zmq.sugar.poll": ("zmqcy.compat.core: Poller select", "zmqcy: POLLIN POLLOUT POLLERR"),
    "zmq.sugar.socket": _SOCKET,
    "zmq.sugar.stopwatch": ("zmqcy.compat.core: Stopwatch",),
    "zmq.sugar.tracker": ("zmqcy.compat.core: MessageTracker _FINISHED_TRACKER",),
    "zmq.sugar.version": (
        "zmqcy: pyzmq_version pyzmq_version_info zmq_version zmq_version_info",
        "zmqcy.compat.core: __version__ __revision__ VERSION_MAJOR VERSION_MINOR VERSION_PATCH VERSION_EXTRA",
    ),
    "zmq.utils": (),
    "zmq.utils.garbage": ("zmqcy.compat.utils: GarbageCollector GarbageCollectorThread gc",),
    "zmq.utils.interop": ("zmqcy.compat.utils: cast_int_addr",),
    "zmq.utils.jsonapi": ("zmqcy.compat.utils: dumps loads jsonmod",),
    "zmq.utils.monitor": _MONITOR,
    "zmq.utils.strtypes": ("zmqcy.compat.utils: asbytes cast_bytes cast_unicode b u bytes unicode basestring",),
    "zmq.utils.win32": ("zmqcy.compat.utils: allow_interrupt",),
    "zmq.utils.z85": ("zmqcy.compat.utils: encode decode Z85CHARS Z85MAP",),
}
"""pyzmq's modules. For each, the modules of zmqcy that have its names: the listed names, or all public ones.

If two modules have the same name, the first one counts.
"""

LOADED = {
    "zmq": ("zmq.backend", "zmq.constants", "zmq.error", "zmq.sugar", "zmq.utils"),
    "zmq.asyncio": ("zmq._future",),
    "zmq.auth": ("zmq.auth.base", "zmq.auth.certs"),
    "zmq.backend": ("zmq.backend.cython",),
    "zmq.backend.cython": ("zmq.backend.cython._zmq",),
    "zmq.devices": tuple(name for name in TREE if name.startswith("zmq.devices.")),
    "zmq.eventloop": ("zmq.eventloop.ioloop",),
    "zmq.eventloop.future": ("zmq._future",),
    "zmq.green": ("zmq.green.core", "zmq.green.device", "zmq.green.poll"),
    "zmq.green.eventloop": ("zmq.green.eventloop.ioloop",),
    "zmq.ssh": ("zmq.ssh.tunnel",),
    "zmq.sugar": tuple(name for name in TREE if name.startswith("zmq.sugar.")),
    "zmq.utils": ("zmq.utils.interop", "zmq.utils.jsonapi", "zmq.utils.z85"),
}
"""The submodules that are loaded after the import of a module, as in pyzmq."""

RUN = {"zmq.curve_keygen": "_main", "zmq.log.__main__": "main"}
"""The modules that support ``python -m``, each with its main function."""

EXIT_LINGER = 1000
"""Max milliseconds that a process on compat waits for unsent messages at exit, unless it sets another time.

pyzmq drops unsent messages at exit if something still refers to the context.
"""

_tuned = True  # whether new contexts are tuned, if libzmq supports it
_lock = Lock()


def install(tuned: bool | None = None) -> None:
    """Make ``import zmq`` and its submodules import zmqcy.

    Call it before the first import of pyzmq, in any thread. A second call changes only `tuned`.

    Parameters
    ----------
    tuned : bool, optional
        False: each new context is a ``zmqcy.Context(tuned=False)``. True, the initial setting: new contexts are tuned,
        if libzmq has drafts. None does not change the setting.

    Raises
    ------
    ImportError
        pyzmq itself is imported already.

    Examples
    --------
    >>> import zmqcy.compat
    >>> zmqcy.compat.install()
    >>> import zmq
    """
    global _tuned
    with _lock:
        found = sys.modules.get("zmq")
        if found is not None and not isinstance(found, _Module):
            place = getattr(found, "__file__", None) or found
            raise ImportError(
                f"zmqcy.compat.install: pyzmq is imported already, from {place}; call install before that", name="zmq"
            )
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
            if zmqcy.exit_linger == 10_000:
                zmqcy.exit_linger = EXIT_LINGER
        if tuned is not None:
            _tuned = tuned


class _Module(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "COPY_THRESHOLD":  # new sockets read it in zmqcy
            setattr(sys.modules["zmqcy"], name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name != "__path__":
            from zmqcy.compat.imports import find

            with suppress(LookupError, AttributeError, ImportError):
                return find(self.__name__, name)
        text = f"zmqcy.compat has no {self.__name__}.{name}; docs/from-pyzmq.md lists the names that it leaves out"
        if not name.startswith("__"):
            text += ". If a program needs it, ask for it in an issue of zmqcy"
        raise AttributeError(text, name=name, obj=self)

    def __dir__(self) -> list[str]:
        from zmqcy.compat.imports import names_of

        return sorted({*vars(self), *names_of(self.__name__)})


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in TREE:
            package = fullname == "zmq.backend" or any(name.startswith(f"{fullname}.") for name in TREE)
            return ModuleSpec(fullname, self, origin=f"zmqcy.compat as {fullname}", is_package=package)
        if fullname.startswith("zmq."):
            text = f"zmqcy.compat has no module {fullname}; if a program needs it, ask for it in an issue of zmqcy"
            raise ModuleNotFoundError(text, name=fullname)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        names: dict[str, Any] = {}
        for home, public in reversed(homes_of(module.__name__)):
            source = import_module(home)
            names |= {name: getattr(source, name) for name in public}
        homes = [import_module(home) for home, _ in homes_of(module.__name__)]
        module.__file__ = getattr(homes[0] if homes else sys.modules[__name__], "__file__", None)
        names["__all__"] = [name for name in names if name[0] != "_"]
        vars(module).update(names)
        for name in LOADED.get(module.__name__, ()):
            import_module(name)
        vars(module).update(names)  # in zmq.green `device` is the function, not the module

    def get_code(self, name: str) -> CodeType:
        """Return the code that ``python -m`` runs."""
        return compile(f"from {name} import {RUN[name]}; {RUN[name]}()" if name in RUN else "", name, "exec")


def homes_of(module: str) -> list[tuple[str, list[str]]]:
    """Return the modules of zmqcy from which a module of the tree takes names, each with these names."""
    found = []
    for line in TREE[module]:
        home, _, chosen = line.partition(": ")
        found.append((home, chosen.split() or _public(import_module(home))))
    return found


def _public(module: ModuleType) -> list[str]:
    names = [name for name, value in vars(module).items() if name[0] != "_" and not isinstance(value, ModuleType)]
    return list(getattr(module, "__all__", names))
