# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmq.utils import interop as interop
from zmq.utils import jsonapi as jsonapi
from zmq.utils import z85 as z85
