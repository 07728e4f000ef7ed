# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.auth import Authenticator as Authenticator
from zmqcy.compat.auth import CURVE_ALLOW_ANY as CURVE_ALLOW_ANY
from zmqcy.compat.auth import VERSION as VERSION
