# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.utils import cast_int_addr as cast_int_addr
