# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.core import Context as Context
from zmqcy.compat.core import DEFAULT_PROTOCOL as DEFAULT_PROTOCOL
from zmqcy.compat.core import Poller as Poller
from zmqcy.compat.core import Socket as Socket
from zmqcy.compat.core import SocketBase as SocketBase
from zmqcy.compat.core import SyncSocket as SyncSocket
from zmqcy import ZMQBindError as ZMQBindError
from zmqcy import ZMQError as ZMQError
