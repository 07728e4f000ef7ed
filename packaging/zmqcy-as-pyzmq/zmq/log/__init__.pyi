# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
