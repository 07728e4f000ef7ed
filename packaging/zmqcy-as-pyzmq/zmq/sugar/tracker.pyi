# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.core import MessageTracker as MessageTracker
from zmqcy.compat.core import _FINISHED_TRACKER as _FINISHED_TRACKER
