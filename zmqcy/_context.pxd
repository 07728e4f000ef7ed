# The C side of contexts: the records of their sockets, and what outlives them.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from zmqcy._system cimport add, nsec, replace, schedule_t, swap, yield_processor

cdef extern from "_system.h":
    const bint FREE_THREADED "ZMQCY_FREE_THREADED"
    # The object, or None: it is about to go. That is so with a GIL too: its attributes go before it leaves its list,
    # and callbacks of weak references run. Comes after `lock_lists`, or in the critical section that its end waits
    # for.
    object alive "zmqcy_alive"(PyObject *object, PyObject *reference)

cdef enum:
    BUSY = 1    # a thread is in a call that lets go of the GIL
    CLOSED = 2  # the handle is gone
    HELD = 4    # received parts wait in the socket for the next receive
    FORKED = 8  # it is the parent's
    ENDED = 16  # its context closed it
    WATCHED = 32  # somebody remembers its events: the next call on it makes them forget
    SHADOW = 64   # of a socket of ours, which lets go of it before the handle is closed


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


cdef struct Watch:
    # What a socket must know of who remembers its events: a poller, in whose item this stands, or an event loop's side.
    Link of_socket         # among the watches of the socket
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


cdef struct Stats:
    uint64_t messages_sent
    uint64_t bytes_sent
    uint64_t messages_received
    uint64_t bytes_received
    uint64_t waits
    uint64_t would_blocks


cdef struct SocketRecord:
    # What the end of a context, of the process and a fork must know of a socket. It stands in the socket's object.
    void *handle
    PyObject *owner        # that object
    PyObject *reference    # to it; NULL with a GIL
    int type
    int fd                 # its descriptor; -1 for thread-safe types, which have none
    int exclusive          # BUSY, or 0 for thread-safe types: several threads may be in them at once
    nsec spin              # how long a wait tries again before it sleeps
    bint eager             # its last waits were short: it pays to try
    bint asked             # something was sent since the last receive: an answer may come soon
    bint answers_soon      # the last answer did
    int more               # whether another part follows the one that was handed over last
    int begun              # ZMQ_SNDMORE: the last part of a message is still to be sent. LOST: the peer disconnected
    unsigned int turns     # receives after a send, of which every so many finds out whether that is still so
    int state
    long inside            # how many threads are in libzmq, without the GIL: BUSY lasts until the GIL is back
    Signaler signaler      # what `fileno` gives, where `fd` is -1
    bint linger_set        # by the user
    Stats stats
    Link *watches          # each by somebody who keeps the socket
    unsigned int round     # how many times they were told
    int remembered         # the events that they know since then; -1: they have not all read the same ones
    Ending *ending
    SocketRecord *shadows  # those that have the handle of this one
    SocketRecord **head    # of the list that it is in; NULL: of none
    SocketRecord *previous
    SocketRecord *following


cdef struct Ending:
    # What a context shares with the thread that ends it. It outlives both, and is freed when neither can touch it.
    void *handle
    PyObject *owner        # the context that has it first, not a shadow of that; NULL: it has gone
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
    int owners             # the context, its shadows and its sockets
    nsec linger            # the longest that the user asked for among the sockets closed so far
    SocketRecord *sockets  # the open ones
    char[256] last         # the socket closed last that may have messages left, in words
    Ending *next


cdef inline void go_inside(SocketRecord *record) noexcept:
    # Take note that a thread is about to let go of the GIL in a call on the socket. Then come `come_out`, in the end
    # without the GIL, and that BUSY is taken away, with it.
    record.state |= record.exclusive
    add(&record.inside, 1)


cdef inline void come_out(SocketRecord *record) noexcept nogil:
    add(&record.inside, -1)


cdef inline bint is_inside(SocketRecord *record) noexcept nogil:
    return add(&record.inside, 0) != 0


cdef int forks  # between the first process and this one
cdef void *lists  # something: a thread has the lists of sockets, of contexts and of who watches sockets


cdef inline void lock_lists() noexcept nogil:
    # Have the lists for a moment, in which no Python code runs and nobody waits. With a GIL the GIL does that.
    if FREE_THREADED:
        while not replace(&lists, NULL, &lists):
            yield_processor()


cdef inline void unlock_lists() noexcept nogil:
    if FREE_THREADED:
        <void> swap(&lists, NULL)


cdef int enlist(SocketRecord *record, Ending *ending, SocketRecord *original) except -1
cdef bint delist(SocketRecord *record) noexcept
cdef object socket_with(void *handle, bint *known)
cdef void note_last(SocketRecord *record) noexcept


cdef class Context:
    cdef object __weakref__
    cdef Ending *ending
    cdef bint is_shadow
    cdef Context original  # what a shadow is of, where that is a context of ours
    cdef nsec spin_bound   # of new sockets
    cdef object woken      # the other end of the waker
    cdef list ends         # sockets that libzmq will write to when others are gone
    cdef set bound         # names of inproc that its sockets have
    cdef set waiting       # those that its sockets have connected to, and nobody had bound

    cdef int enter(self, str call) except -1
    cdef Context root(self)
    cdef int warn_open(self) except -1
    cdef int note_bind(self, bytes name) except -1
    cdef int note_connect(self, bytes name) except -1
    cdef int note_unbind(self, object names) except -1
    cdef int let_waiting_go(self) except -1
    cdef bint end_unless_open(self) except -1
    cdef int begin_end(self) except -1
    cdef int drop_ends(self) except -1


cdef int prepare_threads(Context context) except -1
cdef char kind_of(object option) except -1


cdef class Property:
    cdef int number
    cdef char kind
    cdef bint readable
    cdef bint writable
    cdef readonly str name
    cdef readonly object option

    cdef str describe(self)
    cdef int unreadable(self) except -1
    cdef int unwritable(self) except -1
