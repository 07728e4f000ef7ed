# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.green import Context as Context
from zmqcy.compat.green import Poller as Poller
from zmqcy.compat.green import Socket as Socket
from zmqcy.compat.green import _Context as _Context
from zmqcy.compat.green import _Poller as _Poller
from zmqcy.compat.green import _Socket as _Socket
from zmqcy.compat.green import device as device
