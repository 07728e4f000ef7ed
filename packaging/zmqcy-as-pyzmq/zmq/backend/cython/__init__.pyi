# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmq import *
from zmq.backend.cython import _zmq as _zmq
