from datetime import timedelta

from zmqcy import constants as constants
from zmqcy import errors as error  # noqa: F401
from zmqcy._library import curve_keypair as curve_keypair
from zmqcy._library import curve_public as curve_public
from zmqcy._library import has as has
from zmqcy._library import pyzmq_version as pyzmq_version
from zmqcy._library import pyzmq_version_info as pyzmq_version_info
from zmqcy._library import strerror as strerror
from zmqcy._library import z85_decode as z85_decode
from zmqcy._library import z85_encode as z85_encode
from zmqcy._library import zmq_errno as zmq_errno
from zmqcy._library import zmq_version as zmq_version
from zmqcy._library import zmq_version_info as zmq_version_info
from zmqcy._message import Frame as Frame
from zmqcy._message import Frame as Message  # noqa: F401
from zmqcy._message import MessageTracker as MessageTracker
from zmqcy._poll import Poller as Poller
from zmqcy._poll import select as select
from zmqcy._proxy import device as device
from zmqcy._proxy import proxy as proxy
from zmqcy._proxy import proxy_steerable as proxy_steerable
from zmqcy.building import get_include as get_include
from zmqcy.building import get_library as get_library
from zmqcy.constants import *  # noqa: F403  # as __getattr__ does
from zmqcy.context import Context as Context
from zmqcy.errors import Again as Again
from zmqcy.errors import ContextTerminated as ContextTerminated
from zmqcy.errors import ForkedError as ForkedError
from zmqcy.errors import HostUnreachable as HostUnreachable
from zmqcy.errors import IncompatibleProtocol as IncompatibleProtocol
from zmqcy.errors import InterruptedSystemCall as InterruptedSystemCall
from zmqcy.errors import InvalidArgument as InvalidArgument
from zmqcy.errors import NoIOThread as NoIOThread
from zmqcy.errors import NotDone as NotDone
from zmqcy.errors import NotSupported as NotSupported
from zmqcy.errors import SocketInUse as SocketInUse
from zmqcy.errors import StateError as StateError
from zmqcy.errors import TimedOut as TimedOut
from zmqcy.errors import ZMQBaseError as ZMQBaseError
from zmqcy.errors import ZMQBindError as ZMQBindError
from zmqcy.errors import ZMQError as ZMQError
from zmqcy.socket import BaseSocket as BaseSocket
from zmqcy.socket import Socket as Socket

__version__: str
COPY_THRESHOLD: int
DRAFT_API: bool
IPC_PATH_MAX_LEN: int
exit_linger: float | timedelta | None

def __dir__() -> list[str]: ...
