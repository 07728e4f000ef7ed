# What a Cython project cimports to look into a device's messages in C: see examples/cython_hook.

from zmqcy.libzmq cimport zmq_msg_t


cdef enum Direction:
    FRONT_TO_BACK = 0
    BACK_TO_FRONT = 1


cdef enum Verdict:
    # What a hook returns; or an errno, which is positive, to end the loop. Anything else ends it with EINVAL.
    FORWARD = 0
    DROP = -2              # not -1, which the calls of libzmq return for an error


# Called for each message in hand, without the GIL. The parts are the hook's while it runs: it may read them, and
# replace one with another message (zmq_msg_close, then zmq_msg_init_size; its flags do not matter). To take the last
# ones away it closes them and makes `count` less, but not 0, and never more. It does not close what it drops, nor what
# it ends the loop with: that goes back to its source, as the hook has left it. For ROUTER the first part is the routing
# id.
ctypedef int (*hook_function)(void *user, zmq_msg_t *parts, int *count, Direction direction) noexcept nogil


cdef class Hook:
    cdef hook_function function
    cdef void *user        # the first argument of the function; what it points to lives as long as the hook
