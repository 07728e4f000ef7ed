# Written by tools/compat_stubs.py: where the names of this module live in zmqcy.
from zmqcy.monitor import parse_monitor_message as parse_monitor_message
from zmqcy.monitor import recv_monitor_message as recv_monitor_message
