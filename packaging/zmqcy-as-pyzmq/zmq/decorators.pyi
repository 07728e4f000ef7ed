# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.decorators import context as context
from zmqcy.compat.decorators import socket as socket
