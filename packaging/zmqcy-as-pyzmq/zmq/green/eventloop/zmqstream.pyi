# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.eventloop import ZMQStream as ZMQStream
from zmqcy.compat.eventloop import gen_log as gen_log
