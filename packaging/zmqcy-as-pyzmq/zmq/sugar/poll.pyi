# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.core import Poller as Poller
from zmqcy.compat.core import select as select
from zmqcy import POLLERR as POLLERR
from zmqcy import POLLIN as POLLIN
from zmqcy import POLLOUT as POLLOUT
