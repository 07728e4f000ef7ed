# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.utils import GarbageCollector as GarbageCollector
from zmqcy.compat.utils import GarbageCollectorThread as GarbageCollectorThread
from zmqcy.compat.utils import gc as gc
