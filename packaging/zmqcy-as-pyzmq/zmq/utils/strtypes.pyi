# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.utils import asbytes as asbytes
from zmqcy.compat.utils import b as b
from zmqcy.compat.utils import basestring as basestring
from zmqcy.compat.utils import bytes as bytes
from zmqcy.compat.utils import cast_bytes as cast_bytes
from zmqcy.compat.utils import cast_unicode as cast_unicode
from zmqcy.compat.utils import u as u
from zmqcy.compat.utils import unicode as unicode
