# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.asyncio import _AsyncPoller as _AsyncPoller
from zmqcy.compat.asyncio import _AsyncSocket as _AsyncSocket
