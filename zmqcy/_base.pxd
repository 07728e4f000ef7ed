# The C side of what all sockets are, for the other extension modules.

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from zmqcy._context cimport BUSY, CLOSED, FORKED, SHADOW, WATCHED, Context, Signaler, SocketRecord, Watch
from zmqcy.libzmq cimport ZMQ_EVENTS, zmq_errno as last_errno, zmq_getsockopt, zmq_msg_t


cdef class BaseSocket:
    cdef object __weakref__
    cdef SocketRecord record
    cdef bint shared              # others may hold the handle, so that nobody may remember its events
    cdef bint is_shadow
    cdef bint exposed             # somebody waits by its descriptor, whose news a look at the events would take away
    cdef bint networked           # it was bound or connected elsewhere than over inproc
    cdef bint checked             # messages are checked before they are sent: libzmq would tear some of them
    cdef bint only_first          # XSUB: the later parts of a message are no subscriptions
    cdef bint datagram            # what it sends goes by UDP, and libzmq does not look at its size
    cdef readonly bint _heartbeats  # heartbeat_ivl is set
    cdef int long_groups          # that it has joined, and must not bind to udp with
    cdef Context owner
    cdef object frames            # the class of the frames that are received: Frame, or one that descends from it
    cdef object origin            # what a shadow must keep alive
    cdef PyObject *feed           # of its monitor; the collector must not see it, and take the PAIR before the handle
    cdef public object _reads     # weakly: the feed of another socket, which this one is the PAIR of
    cdef set names                # of inproc that it is bound to, or its monitor
    cdef zmq_msg_t *held          # parts that were received and could not be handed over
    cdef int held_first
    cdef int held_count
    cdef int held_more            # whether a part follows the held one that was received last, or ASK
    cdef size_t threshold         # bytes of this many bytes and more are lent, not copied
    cdef size_t quick_size        # what is shorter is sent at once, with the GIL

    cdef int open(self, Context context, object type) except -1
    cdef int enter_slowly(self, str call) except -1
    cdef list shadows(self)
    cdef void let_go(self) noexcept
    cdef void closing(self) noexcept
    cdef void close_handle(self) noexcept
    cdef void stop_monitor(self) noexcept
    cdef void find_descriptor(self) noexcept
    cdef int descriptor(self, str call) except -1
    cdef void set_threshold(self, size_t size) noexcept
    cdef void check_messages(self) noexcept
    cdef bint conflates(self) noexcept
    cdef int current_events(self, str call) except -1
    cdef int attend(self) except -1
    cdef void catch_up(self) noexcept
    cdef int remember_events(self, Watch *watch, str call) except -1
    cdef int hold(self, zmq_msg_t *parts, int count) except -1
    cdef void unhold(self, zmq_msg_t *msg) noexcept
    cdef int keep_feed(self, bytes address, object feed) except -1
    cdef int end_reading(self, object endpoint) except -1
    cdef object get_option(self, int number, str call)
    cdef int check_option(self, int rc, str call, int number) except -1
    cdef object refusal(self, int code, str call, int number, str detail)
    cdef int set_option(self, int number, object value, str call) except -1
    cdef int check_set(self, int rc, str call, int number, object value) except -1
    cdef int64_t on_endpoint(self, str call, object endpoint) except -1
    cdef tuple check_listener(self, str endpoint)
    cdef int check_path(self, bytes endpoint) except -1
    cdef int check_datagrams(self, bytes endpoint) except -1
    cdef int check_handler(self, str call, bytes endpoint) except -1
    cdef int note_name(self, bytes name) except -1
    cdef int lose_name(self, bytes name) except -1
    cdef int on_group(self, str call, object group) except -1


cdef enum:
    MOST_OF_DATAGRAM_GROUP = 127  # bytes: a receiver takes a greater length for negative
    ASK = -1  # libzmq whether a part follows: the last one was not a held one


cdef str long_group(str what)
cdef int make_signaler(Signaler *signaler, void *handle) noexcept nogil
cdef void forget(SocketRecord *record) noexcept
cdef int open_signaler(Signaler *signaler, BaseSocket socket, str call) except -1
cdef void close_signaler(Signaler *signaler, SocketRecord *record) noexcept


cdef inline int enter(BaseSocket socket, str call) except -1:
    # The one check before each call: not closed, not in another thread's hands, not inherited by fork.
    if socket.record.state & (BUSY | CLOSED | FORKED | SHADOW | WATCHED):
        return socket.enter_slowly(call)
    return 0


cdef inline int events_of(void *handle, int *events) noexcept nogil:
    # Read ZMQ_EVENTS, which also makes libzmq look at its commands now. Return 0 or an errno.
    cdef size_t size = sizeof(int)
    if zmq_getsockopt(handle, ZMQ_EVENTS, events, &size) < 0:
        return last_errno()
    return 0
