# The C side of sockets, for the other extension modules.

from zmqcy._context cimport Context, SocketRecord
from zmqcy._system cimport nsec
from zmqcy.libzmq cimport zmq_msg_t

cdef enum:
    QUIET = 1 << 30  # beside ZMQ_DONTWAIT: return 0 instead of raising Again


cdef class Socket:
    cdef object __weakref__
    cdef SocketRecord record
    cdef unsigned int operations  # how many calls touched it: who remembers its events compares
    cdef bint shared              # others may hold the handle, so that the count above is no proof
    cdef bint is_shadow
    cdef Context owner
    cdef object origin            # what a shadow must keep alive
    cdef zmq_msg_t *held          # parts that were received and could not be handed over
    cdef int held_first
    cdef int held_count

    cdef int open(self, Context context, object type) except -1
    cdef int refuse(self, str call) except -1
    cdef int put(self, const char *data, size_t size, int flags, object timeout, str call) except -1
    cdef int put_slowly(self, const char *data, size_t size, int flags, object timeout, str call) except -1
    cdef int send_message(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
    cdef int complete(self, bint out, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1
    cdef int put_parts(self, list parts, int flags, object timeout) except -1
    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
    cdef int would_block(self, int flags, nsec waited, str call) except -1
    cdef nsec deadline_of(self, object timeout, int option, str call) except -2
    cdef int current_events(self, str call) except -1
    cdef int hold(self, zmq_msg_t *parts, int count) except -1
    cdef void unhold(self, zmq_msg_t *msg) noexcept
    cdef void find_descriptor(self) noexcept
    cdef object get_option(self, int number, str call)
    cdef int check_option(self, int rc, str call, int number) except -1
    cdef int set_option(self, int number, object value, str call) except -1
    cdef int check_set(self, int rc, str call, int number, object value) except -1
    cdef int on_endpoint(self, str call, object endpoint) except -1
    cdef void close_handle(self) noexcept


# The one check before each call: not closed, not in another thread's hands, not inherited by fork.
cdef int admit(Socket socket, str call) except -1
cdef int take_back(void *handle, int type, Py_ssize_t left) noexcept nogil
cdef int events_of(void *handle, int *events) noexcept nogil
