# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.utils import allow_interrupt as allow_interrupt
