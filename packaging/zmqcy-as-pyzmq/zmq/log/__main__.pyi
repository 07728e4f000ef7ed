# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.log import main as main
