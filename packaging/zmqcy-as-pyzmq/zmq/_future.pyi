# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.asyncio import _AsyncPoller as _AsyncPoller
from zmqcy.compat.asyncio import _AsyncSocket as _AsyncSocket
