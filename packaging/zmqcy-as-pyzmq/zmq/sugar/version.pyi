# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy import pyzmq_version as pyzmq_version
from zmqcy import pyzmq_version_info as pyzmq_version_info
from zmqcy import zmq_version as zmq_version
from zmqcy import zmq_version_info as zmq_version_info
from zmqcy.compat.core import VERSION_EXTRA as VERSION_EXTRA
from zmqcy.compat.core import VERSION_MAJOR as VERSION_MAJOR
from zmqcy.compat.core import VERSION_MINOR as VERSION_MINOR
from zmqcy.compat.core import VERSION_PATCH as VERSION_PATCH
from zmqcy.compat.core import __revision__ as __revision__
from zmqcy.compat.core import __version__ as __version__
