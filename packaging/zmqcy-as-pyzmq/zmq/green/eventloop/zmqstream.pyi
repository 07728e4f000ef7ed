# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.eventloop import ZMQStream as ZMQStream
from zmqcy.compat.eventloop import gen_log as gen_log
