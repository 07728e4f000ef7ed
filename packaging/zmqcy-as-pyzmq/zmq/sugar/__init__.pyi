# Written by tools/compat_stubs.py: imports the names of this module from zmqcy.
from zmq import *
from zmq.sugar import attrsettr as attrsettr
from zmq.sugar import context as context
from zmq.sugar import frame as frame
from zmq.sugar import poll as poll
from zmq.sugar import socket as socket
from zmq.sugar import stopwatch as stopwatch
from zmq.sugar import tracker as tracker
from zmq.sugar import version as version
