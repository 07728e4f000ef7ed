# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.constants import *
from zmqcy.compat.core import Event as Event  # type: ignore[assignment]
from zmqcy.compat.core import HWM as HWM
from zmqcy.compat.core import _OptType as _OptType
