# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.utils import dumps as dumps
from zmqcy.compat.utils import jsonmod as jsonmod
from zmqcy.compat.utils import loads as loads
