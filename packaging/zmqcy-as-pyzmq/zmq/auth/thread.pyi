# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.auth import Authenticator as Authenticator
from zmqcy.compat.auth import ThreadAuthenticator as ThreadAuthenticator
