"""zmqcy.compat under the name zmq."""

import sys

from zmqcy.compat import install

del sys.modules[__name__]  # this module: the import below is to find the one of zmqcy.compat
install()
import zmq  # noqa: E402, F401
