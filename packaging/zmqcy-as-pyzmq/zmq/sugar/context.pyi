# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.constants import *
from zmqcy.compat.core import Context as Context
from zmqcy.compat.core import ContextBase as ContextBase
from zmqcy.compat.core import OptValT as OptValT
from zmqcy.compat.core import Socket as Socket
from zmqcy.compat.core import SyncContext as SyncContext
from zmqcy.compat.core import SyncSocket as SyncSocket
from zmqcy import ZMQError as ZMQError
