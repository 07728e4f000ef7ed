# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.utils import GarbageCollector as GarbageCollector
from zmqcy.compat.utils import GarbageCollectorThread as GarbageCollectorThread
from zmqcy.compat.utils import gc as gc
