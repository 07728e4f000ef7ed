# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmqcy.monitor import parse_monitor_message as parse_monitor_message
from zmqcy.monitor import recv_monitor_message as recv_monitor_message
