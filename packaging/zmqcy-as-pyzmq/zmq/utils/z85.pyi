# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.utils import Z85CHARS as Z85CHARS
from zmqcy.compat.utils import Z85MAP as Z85MAP
from zmqcy.compat.utils import decode as decode
from zmqcy.compat.utils import encode as encode
