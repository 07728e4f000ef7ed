# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.eventloop import IOLoop as IOLoop
from zmqcy.compat.eventloop import PeriodicCallback as PeriodicCallback
from zmqcy.compat.eventloop import ZMQIOLoop as ZMQIOLoop
from zmqcy.compat.eventloop import install as install
from zmq.eventloop import ioloop as ioloop
