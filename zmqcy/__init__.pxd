# Names for other Cython projects: `from zmqcy cimport Hook`. The functions of libzmq are in zmqcy.libzmq.

from zmqcy._proxy cimport BACK_TO_FRONT, DROP, FORWARD, FRONT_TO_BACK, Direction, Hook, Verdict, hook_function
