# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.utils import asbytes as asbytes
from zmqcy.compat.utils import b as b
from zmqcy.compat.utils import basestring as basestring
from zmqcy.compat.utils import bytes as bytes
from zmqcy.compat.utils import cast_bytes as cast_bytes
from zmqcy.compat.utils import cast_unicode as cast_unicode
from zmqcy.compat.utils import u as u
from zmqcy.compat.utils import unicode as unicode
