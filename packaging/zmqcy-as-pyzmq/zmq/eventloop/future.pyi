# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.asyncio import CancelledError as CancelledError
from zmqcy.compat.asyncio import Context as Context
from zmqcy.compat.asyncio import Poller as Poller
from zmqcy.compat.asyncio import Socket as Socket
