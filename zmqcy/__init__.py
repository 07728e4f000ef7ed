"""Exchange messages with ZeroMQ: contexts, sockets, pollers and devices.

Create a context, then sockets, then bind and connect them. Messages are bytes.

Examples
--------
::

    import zmqcy

    with zmqcy.Context() as ctx:
        pull = ctx.socket(zmqcy.PULL)
        pull.bind("tcp://127.0.0.1:*")
        push = ctx.socket(zmqcy.PUSH)
        push.connect(pull.last_endpoint)
        push.send(b"hello")
        print(pull.recv())
"""

# This file imports the public names. Rarely used modules are loaded on first use.

import os as _os
import sys as _sys

_INSTALL = (
    "zmqcy needs libzmq 4.2 or newer. Install a wheel, which includes it (pip install --force-reinstall --only-binary "
    "zmqcy zmqcy), or install libzmq: apt-get install libzmq5, dnf install zeromq, brew install zeromq"
)

_NOT_BUILT = (
    "{} is the source tree of zmqcy, and its C modules are not built for this Python. To use an installed zmqcy, run "
    "Python in another directory. To use the source tree, run `make build` in it, then use its .venv/bin/python"
)

_SUB_INTERPRETER = (
    "zmqcy cannot be imported in a sub-interpreter. Under mod_wsgi set 'WSGIApplicationGroup %{GLOBAL}'. Instead of "
    "concurrent.interpreters or InterpreterPoolExecutor use threads or processes"
)


def _is_sub_interpreter():
    try:
        if _sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters
    except ImportError:  # this Python has no sub-interpreters
        return False
    return interpreters.get_current() != interpreters.get_main()


# Check this before any C module is loaded: a C module loaded in a sub-interpreter refuses the main interpreter later.
if _is_sub_interpreter():
    raise ImportError(_SUB_INTERPRETER, name="zmqcy")

# libzmq loads about 20 libraries. RTLD_LAZY binds their functions on first use, which saves a sixth of the import time.
# It also lets a libzmq that is too old load, so that the error can name its version.
_flags = _sys.getdlopenflags()
_sys.setdlopenflags(_os.RTLD_LAZY)
try:
    from zmqcy import _library
except ImportError as _error:
    if _error.name == "zmqcy" and _os.path.exists(_os.path.join(_os.path.dirname(__file__), "_library.pyx")):
        raise ImportError(_NOT_BUILT.format(_os.path.dirname(__file__)), name="zmqcy", path=__file__) from None
    if "libzmq." not in str(_error):
        raise
    raise ImportError(f"{_error}. {_INSTALL}", name=_error.name, path=_error.path) from None
finally:
    _sys.setdlopenflags(_flags)
if _library.zmq_version_info() < (4, 2, 0):
    raise ImportError(f"libzmq {_library.zmq_version()} is too old. {_INSTALL}", name="zmqcy", path=_library.__file__)

from zmqcy._library import (
    DRAFT_API,
    IPC_PATH_MAX_LEN,
    curve_keypair,
    curve_public,
    has,
    pyzmq_version,
    pyzmq_version_info,
    strerror,
    z85_decode,
    z85_encode,
    zmq_errno,
    zmq_version,
    zmq_version_info,
)
from zmqcy._message import COPY_THRESHOLD, Frame, MessageTracker
from zmqcy._message import Frame as Message
from zmqcy._poll import Poller, select
from zmqcy._proxy import device, proxy, proxy_steerable
from zmqcy.context import Context
from zmqcy.errors import (
    Again,
    ContextTerminated,
    ForkedError,
    HostUnreachable,
    IncompatibleProtocol,
    InterruptedSystemCall,
    InvalidArgument,
    NoIOThread,
    NotDone,
    NotSupported,
    SocketInUse,
    StateError,
    TimedOut,
    ZMQBaseError,
    ZMQBindError,
    ZMQError,
)
from zmqcy.socket import BaseSocket, Socket

__version__ = "0.1.0"

exit_linger = 10_000
"""Maximum time to wait for unsent messages when the process exits, in milliseconds. -1: wait indefinitely.

It applies to sockets whose `linger` was never set. Default: 10,000.
"""

_library.settings = globals()


def __getattr__(name):
    from importlib import import_module

    if name in _ELSEWHERE:
        home, attribute = _ELSEWHERE[name]
        module = import_module(home)
        globals()[name] = found = getattr(module, attribute) if attribute else module
        return found
    constants = import_module("zmqcy.constants")
    if name == "__all__":  # requested by a star import
        return [*_PUBLIC, *constants.__all__]
    if name in constants.__all__:
        globals().update((each, getattr(constants, each)) for each in constants.__all__)
        return globals()[name]
    raise AttributeError(f"module 'zmqcy' has no attribute {name!r}", name=name, obj=constants)


def __dir__():
    from importlib import import_module

    return sorted({*globals(), *_ELSEWHERE, *import_module("zmqcy.constants").__all__})


_ELSEWHERE = {  # names loaded on first use: the module, and the name in the module
    "constants": ("zmqcy.constants", None),
    "error": ("zmqcy.errors", None),
    "get_include": ("zmqcy.building", "get_include"),
    "get_library": ("zmqcy.building", "get_library"),
}
_PUBLIC = [name for name, value in globals().items() if name[0] != "_" and not hasattr(value, "__spec__")]
