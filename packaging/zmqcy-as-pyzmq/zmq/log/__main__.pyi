# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.log import main as main
