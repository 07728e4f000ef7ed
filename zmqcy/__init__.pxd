# What other Cython projects cimport: `from zmqcy cimport Hook`, and libzmq's own functions from zmqcy.libzmq.

from zmqcy._proxy cimport BACK_TO_FRONT, DROP, FORWARD, FRONT_TO_BACK, Direction, Hook, Verdict, hook_function
