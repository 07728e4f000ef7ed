# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.auth import AsyncioAuthenticator as AsyncioAuthenticator
from zmqcy.compat.auth import Authenticator as Authenticator
