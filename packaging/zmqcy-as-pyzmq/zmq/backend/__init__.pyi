# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmq import *
from zmq.backend import cython as cython
