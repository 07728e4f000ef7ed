# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.compat.log import PUBHandler as PUBHandler
from zmqcy.compat.log import TOPIC_DELIM as TOPIC_DELIM
from zmqcy.compat.log import TopicLogger as TopicLogger
