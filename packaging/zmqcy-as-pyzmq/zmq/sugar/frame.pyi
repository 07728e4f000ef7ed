# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.compat.core import Frame as Frame
from zmqcy.compat.core import FrameBase as FrameBase
from zmqcy.compat.core import Message as Message
