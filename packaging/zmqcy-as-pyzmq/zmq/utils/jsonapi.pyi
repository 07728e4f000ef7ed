# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.utils import dumps as dumps
from zmqcy.compat.utils import jsonmod as jsonmod
from zmqcy.compat.utils import loads as loads
