# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.asyncio import Context as Context
from zmqcy.compat.asyncio import Poller as Poller
from zmqcy.compat.asyncio import ProactorSelectorThreadWarning as ProactorSelectorThreadWarning
from zmqcy.compat.asyncio import Socket as Socket
from zmqcy.compat.asyncio import ZMQEventLoop as ZMQEventLoop
from zmqcy.compat.asyncio import install as install
