# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.auth import Authenticator as Authenticator
from zmqcy.compat.auth import CURVE_ALLOW_ANY as CURVE_ALLOW_ANY
from zmqcy.compat.auth import VERSION as VERSION
