# Sockets of libzmq, and how they and their contexts end. For the other extension modules.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from zmqcy._system cimport add, count_together, count_up, nsec, replace, schedule_t, swap, yield_processor
from zmqcy.libzmq cimport ZMQ_EVENTS, zmq_errno as last_errno, zmq_getsockopt, zmq_msg_t

cdef extern from "_system.h":
    const bint FREE_THREADED "ZMQCY_FREE_THREADED"
    # The object, or None: it is about to go. That is so with a GIL too: its attributes go before it leaves its list,
    # and callbacks of weak references run. Comes after `lock_lists`, or in the critical section that its end waits
    # for.
    object alive "zmqcy_alive"(PyObject *object, PyObject *reference)

cdef enum:
    # The state of a handle:
    BUSY = 1      # a thread is in a call that lets go of the GIL
    CLOSED = 2    # there is no socket, or no longer
    FORKED = 4    # it is the parent's
    ENDED = 8     # its context closed it
    WATCHED = 16  # somebody remembers its events: the next call on it makes them forget


cdef struct Link:
    # A place in a list. All lists are one thread's at a time: see `lock_lists`.
    void *owner            # what stands there
    Link *following
    Link **place           # the pointer to this link: the list's head, or `following` of the link before; NULL: in none


cdef struct Signaler:
    # The descriptor of a poller of libzmq's that has one thread-safe socket. It stays readable until it is drained; who
    # drains it reads the events of the socket after that. It has to be gone before the socket is closed.
    void *poller           # NULL: there is none
    int fd


cdef struct User:
    # An object that has a handle.
    Link of_handle
    PyObject *object
    PyObject *reference    # to the object; NULL with a GIL


cdef struct Watch:
    # What a handle must know of who remembers its events: a poller, in whose item this stands, or an event loop's side.
    Link of_socket         # among the watches of the handle
    Link of_poller         # among what the poller must read again; in no list while it remembers the events
    Link **unread          # that list; NULL: it is no poller's
    int epoll              # the set that the socket's descriptor is in, or -1
    Signaler signaler      # what has a descriptor for it, where the socket has none
    void (*tell)(object listener) noexcept  # called before the events change
    PyObject *listener
    PyObject *reference    # to the listener; NULL: it is there as long as this
    bint *wanted           # whether `tell` is; NULL: always
    unsigned int round     # of those in which it was


cdef inline void insert(Link *link, Link **head) noexcept:
    link.following = head[0]
    link.place = head
    if head[0] is not NULL:
        head[0].place = &link.following
    head[0] = link


cdef inline void remove(Link *link) noexcept:
    if link.place is not NULL:
        link.place[0] = link.following
        if link.following is not NULL:
            link.following.place = link.place
        link.place = NULL


cdef void *lists  # something: a thread has the lists of handles, of contexts, of users and of watches


cdef inline void lock_lists() noexcept nogil:
    # Have the lists for a moment, in which no Python code runs and nobody waits. With a GIL the GIL does that.
    if FREE_THREADED:
        while not replace(&lists, NULL, &lists):
            yield_processor()


cdef inline void unlock_lists() noexcept nogil:
    if FREE_THREADED:
        <void> swap(&lists, NULL)


cdef struct Stats:
    uint64_t messages_sent
    uint64_t bytes_sent
    uint64_t messages_received
    uint64_t bytes_received
    uint64_t waits
    uint64_t would_blocks


cdef struct Ending:
    # What a context shares with the thread that ends it. It outlives both, and is freed when neither can touch it.
    void *handle
    PyObject *owner        # the ContextHandle that has it; NULL: it has gone
    PyObject *reference    # to the owner; NULL with a GIL
    void *done             # a lock, held until zmq_ctx_term has returned
    bint started           # the thread runs: the handle belongs to it
    long finished          # 1: zmq_ctx_term has returned; by `add`, for its thread writes it
    bint abandoned         # the user broke off the wait: nobody waits for it at exit
    bint warned
    bint running           # a socket was made, so that libzmq's threads run
    schedule_t schedule    # of libzmq's threads, as the user wants it
    bint foreign           # another library made it, and ends it
    void *keeper           # a socket for the connections over inproc that wait for a bind, until the end
    bint forked            # it is the parent's
    void *waker            # 1 more than a descriptor to write to in the end; NULL: none; LATE: it has ended
    int owners             # the ContextHandle and the handles of its sockets
    nsec linger            # the longest that the user asked for among the sockets closed so far
    Link *handles          # of the open sockets
    char[256] last         # the socket closed last that may have messages left, in words
    Ending *next


cdef class ContextHandle:
    # A context of libzmq's. The Context that made it, its shadows and the handles of its sockets share it. It ends the
    # context when the last of them has gone.
    cdef object __weakref__
    cdef Ending *ending    # NULL: there is no context
    cdef bint unchecked    # whether the first socket finds out what libzmq's threads need
    cdef bint untuned      # its sockets have libzmq's own batch sizes, and malloc is left alone
    cdef object woken      # the other end of the waker
    cdef list ends         # sockets that libzmq will write to when others are gone
    cdef set bound         # names of inproc that its sockets have
    cdef set waiting       # those that its sockets have connected to, and nobody had bound

    cdef int enter(self, str call) except -1
    cdef bint is_closed(self) noexcept
    cdef int note_bind(self, bytes name) except -1
    cdef int note_unbind(self, object names) except -1
    cdef int note_connect(self, bytes name) except -1
    cdef int let_waiting_go(self) except -1
    cdef int keep_end(self, object end) except -1
    cdef int drop_ends(self) except -1
    cdef int shutdown(self) except -1
    cdef int begin_end(self) except -1
    cdef bint end_unless_open(self) except -1
    cdef object end_soon(self)
    cdef int has_ended(self) except -1


cdef class Handle:
    # A socket of libzmq's. The socket object that makes it has it first, and each shadow of that has it too. It closes
    # the socket when the last of them has gone.
    cdef object __weakref__
    cdef void *socket
    cdef int type
    cdef int traits               # of its type
    cdef int state
    cdef int exclusive            # BUSY, or 0 for thread-safe types: several threads may be in them at once
    cdef int begun                # SNDMORE: the last part of a message is still to be sent. LOST: the peer disconnected
    cdef bint tried               # a part has just found no room: its next attempt begins with a look at the events
    cdef size_t quick_size        # what is shorter is sent at once; 0: all is checked before, libzmq would tear some
    cdef size_t threshold         # bytes of this many bytes and more are lent, not copied
    cdef Stats stats
    cdef bint asked               # something was sent since the last receive: an answer may come soon
    cdef bint answers_soon        # the last answer did
    cdef bint eager               # its last waits were short: it pays to try
    cdef nsec spin                # how long a wait tries again before it sleeps
    cdef int fd                   # its descriptor; -1 for thread-safe types, which have none
    cdef Signaler signaler        # what `fileno` gives, where `fd` is -1
    cdef long inside              # how many threads are in libzmq, without the GIL: BUSY lasts until the GIL is back

    cdef zmq_msg_t *held          # parts for the next receives, the last one first; NULL: none
    cdef int held_count
    cdef int more                 # whether another part follows the one that was handed over last

    cdef bint foreign             # something else made it: only `close` closes it
    cdef bint elsewhere           # others may use the socket without our knowledge: nobody may remember its events
    cdef bint exposed             # somebody waits by its descriptor, whose news a look at the events would take away
    cdef bint networked           # it was bound or connected elsewhere than over inproc
    cdef bint only_first          # XSUB: the later parts of a message are no subscriptions
    cdef bint datagram            # what it sends goes by UDP, and libzmq does not look at its size
    cdef bint heartbeats          # heartbeat_ivl is set
    cdef bint linger_set          # by the user
    cdef int long_groups          # that it has joined, and must not bind to udp with
    cdef ContextHandle context    # that serves it; None: it is foreign
    cdef set names                # of inproc that it is bound to, or its monitor
    cdef PyObject *feed           # of its monitor; the collector must not see it, and take the PAIR before the handle
    cdef object reads             # weakly: the feed of another socket, which this one is the PAIR of

    cdef Link *users
    cdef Link *watches            # each by somebody who keeps a user
    cdef unsigned int round       # how many times they were told
    cdef int remembered           # the events that they know since then; -1: they have not all read the same ones
    cdef Ending *ending
    cdef Link of_context          # among the handles of the ending, or the strays
    cdef PyObject *reference      # to this; NULL with a GIL

    cdef int enlist(self, Ending *ending) except -1
    cdef int join(self, User *user, object who) except -1
    cdef void leave(self, User *user) noexcept
    cdef list living(self)
    cdef void forget(self) noexcept
    cdef void withdraw(self) noexcept
    cdef int hold(self, zmq_msg_t *parts, int count) except -1
    cdef void unhold(self, zmq_msg_t *msg) noexcept
    cdef void set_type(self, int number) noexcept
    cdef void check_messages(self) noexcept
    cdef void stop_monitor(self) noexcept
    cdef int close(self) except -1
    cdef void shut(self) noexcept


cdef inline void count(int exclusive, uint64_t *place, uint64_t more) noexcept nogil:
    # Others may look at the number meanwhile; in a thread-safe socket they may count, too.
    if exclusive:
        count_up(place, more)
    else:
        count_together(place, more)


cdef inline void go_inside(Handle handle) noexcept:
    # Take note that a thread is about to let go of the GIL in a call on the socket. Then come `come_out`, in the end
    # without the GIL, and that `exclusive` is taken away, with it: BUSY of a thread-safe type is another thread's that
    # closes it.
    handle.state |= handle.exclusive
    add(&handle.inside, 1)


cdef inline void come_out(Handle handle) noexcept nogil:
    add(&handle.inside, -1)


cdef inline bint is_inside(Handle handle) noexcept nogil:
    return add(&handle.inside, 0) != 0


cdef inline int events_of(void *socket, int *events) noexcept nogil:
    # Read ZMQ_EVENTS, which also makes libzmq look at its commands now. Return 0 or an errno.
    cdef size_t size = sizeof(int)
    if zmq_getsockopt(socket, ZMQ_EVENTS, events, &size) < 0:
        return last_errno()
    return 0


cdef int enter_slowly(Handle handle, str call) except -1


cdef PyObject *reference_to(object owner) except? NULL
cdef Handle handle_with(void *socket, bint *known)
cdef void *own_socket(void *context, int type) noexcept nogil
cdef int make_signaler(Signaler *signaler, void *socket) noexcept nogil
cdef void close_signaler(Signaler *signaler, Handle handle) noexcept

cdef Ending *new_ending(void *context, object owner) except NULL
cdef ContextHandle context_with(void *context)
cdef bint has_finished(Ending *ending) noexcept nogil
cdef bint start_ending(Ending *ending) noexcept
cdef list sockets_of(Ending *ending)
cdef int end_within(Ending *ending, long long microseconds) noexcept nogil
