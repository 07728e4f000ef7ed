# The C side of sockets, for the other extension modules.

from zmqcy._context cimport Context, SocketRecord
from zmqcy._message cimport MessageTracker
from zmqcy._system cimport nsec
from zmqcy._transfer cimport Batch, Catch, Part
from zmqcy.libzmq cimport zmq_msg_t

cdef enum:
    QUIET = 1 << 30  # beside ZMQ_DONTWAIT: return 0 instead of raising Again


cdef class Socket:
    cdef object __weakref__
    cdef SocketRecord record
    cdef bint shared              # others may hold the handle, so that nobody may remember its events
    cdef bint is_shadow
    cdef Context owner
    cdef object origin            # what a shadow must keep alive
    cdef zmq_msg_t *held          # parts that were received and could not be handed over
    cdef int held_first
    cdef int held_count
    cdef int held_more            # whether a part follows the held one that was received last, or ASK
    cdef size_t threshold         # bytes of this many bytes and more are lent, not copied
    cdef size_t quick_size        # what is shorter is sent at once, with the GIL

    cdef int open(self, Context context, object type) except -1
    cdef int enter_slowly(self, str call) except -1
    cdef bint put_quickly(self, const char *data, size_t size, int flags) noexcept
    cdef object put_tracked(self, list parts, int flags, object copy, object track, object timeout, str call)
    cdef object put_many(self, object messages, bint nested, object flags, object timeout, str call)
    cdef Py_ssize_t put_parts(
        self, list parts, list ends, int flags, object copy, MessageTracker tracker, object timeout,
        str call) except -1
    cdef int load(
        self, Batch *batch, list parts, list ends, int flags, object copy, MessageTracker tracker, str call) except -1
    cdef int prepare(self, Part *part, object data, bint copied, MessageTracker tracker, str call) except -1
    cdef int complete(
        self, Batch *batch, zmq_msg_t *msg, int flags, object timeout, str call, int number) except -1
    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
    cdef object keep(self, zmq_msg_t *msg, str call)
    cdef list gather(
        self, Py_ssize_t limit, bint whole, bint nested, bint framed, int flags, object timeout, str call)
    cdef int catch_held(self, Catch *haul) noexcept
    cdef bint unpack(self, Catch *haul, list result, bint nested, bint framed, str call) except -1
    cdef int hold_frames(self, list frames) except -1
    cdef void set_threshold(self, size_t size) noexcept
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
