# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmq.utils import interop as interop
from zmq.utils import jsonapi as jsonapi
from zmq.utils import z85 as z85
