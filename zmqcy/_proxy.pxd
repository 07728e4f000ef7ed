# Cimport this to write a C function that a device calls for each message: see examples/cython_hook.

from zmqcy.libzmq cimport zmq_msg_t


cdef enum Direction:
    FRONT_TO_BACK = 0
    BACK_TO_FRONT = 1


cdef enum Verdict:
    # The return values of a hook. A positive errno ends the device with that error, any other value with EINVAL.
    FORWARD = 0
    DROP = -2              # not -1, the error value of libzmq's functions


# The device calls it for each message, without the GIL. While it runs, the hook may read the parts, and replace a part
# with another message (zmq_msg_close, then zmq_msg_init_size; the flags do not matter). To remove the last parts, close
# them and reduce `count`, but not to 0. Never increase `count`. Do not close the parts of a message that you drop. Do
# not close them either if the hook ends the device: the message returns to its source in its current state. For ROUTER
# the first part is the routing id.
ctypedef int (*hook_function)(void *user, zmq_msg_t *parts, int *count, Direction direction) noexcept nogil


cdef class Hook:
    cdef hook_function function
    cdef void *user        # the first argument of the function; it must stay valid as long as the hook exists
