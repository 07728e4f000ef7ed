# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.core import MessageTracker as MessageTracker
from zmqcy.compat.core import _FINISHED_TRACKER as _FINISHED_TRACKER
