# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.core import Frame as Frame
from zmqcy.compat.core import FrameBase as FrameBase
from zmqcy.compat.core import Message as Message
