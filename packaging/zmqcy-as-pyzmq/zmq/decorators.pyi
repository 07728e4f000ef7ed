# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.decorators import context as context
from zmqcy.compat.decorators import socket as socket
