"""zmqcy.compat under the name zmq."""

import sys

from zmqcy.compat import install

del sys.modules[__name__]  # so that the import below finds the module of zmqcy.compat
install()
import zmq  # noqa: E402, F401
