# C declarations of socket and context handles, and of their end, for the other extension modules.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from zmqcy._system cimport add, count_together, count_up, nsec, replace, schedule_t, swap, yield_processor
from zmqcy.libzmq cimport ZMQ_EVENTS, zmq_errno as last_errno, zmq_getsockopt, zmq_msg_t

cdef extern from "_system.h":
    const bint FREE_THREADED "ZMQCY_FREE_THREADED"
    # Return a reference to the object, or None if it is being freed. That can happen with a GIL too: an object leaves
    # its list only after its attributes are cleared and callbacks of weak references have run. Call it after
    # `lock_lists`, or in the critical section that the object's `__dealloc__` waits for.
    object alive "zmqcy_alive"(PyObject *object, PyObject *reference)

cdef enum:
    # State of a handle:
    BUSY = 1      # a thread is in a call that releases the GIL
    CLOSED = 2    # no socket yet, or the socket is closed
    FORKED = 4    # the socket belongs to the parent process
    ENDED = 8     # the context has closed the socket
    WATCHED = 16  # a watch remembers the events: the next call on the socket invalidates them


cdef struct Link:
    # A node of a linked list. `lock_lists` protects all lists.
    void *owner            # the element
    Link *following
    Link **place           # address of the pointer to this link: head, or `following` of the link before; NULL: no list


cdef struct Signaler:
    # A libzmq poller with one thread-safe socket, for its file descriptor. The descriptor stays readable until it is
    # drained; after draining, read the events of the socket. Destroy the poller before the socket is closed.
    void *poller           # NULL: no poller
    int fd


cdef struct User:
    # An object that shares a handle.
    Link of_handle
    PyObject *object
    PyObject *reference    # to the object; NULL with a GIL


cdef struct Watch:
    # A watch of a socket: a poller (the watch is a field of its item) or an event loop that remembers the events.
    Link of_socket         # node in the watches of the handle
    Link of_poller         # node in the poller's list of unread sockets; in no list while the poller remembers events
    Link **unread          # head of that list; NULL: not a poller
    int epoll              # epoll set that contains the socket's file descriptor, or -1
    Signaler signaler      # for a thread-safe socket, which has no file descriptor
    void (*tell)(object listener) noexcept  # called before the events change
    PyObject *listener
    PyObject *reference    # to the listener; NULL: the listener lives as long as the watch
    bint *wanted           # whether to call `tell`; NULL: always
    unsigned int round     # the last round in which `tell` was called


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


cdef void *lists  # a spin lock for the lists of handles, contexts, users and watches; not NULL: locked


cdef inline void lock_lists() noexcept nogil:
    # Lock the lists. The holder runs no Python code and does not block. With a GIL the GIL is the lock.
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
    # State shared by a context and the thread that terminates it. It is freed when neither uses it any more.
    void *handle           # libzmq's context
    PyObject *owner        # its ContextHandle; NULL: freed
    PyObject *reference    # to the owner; NULL with a GIL
    void *done             # a lock, held until zmq_ctx_term has returned
    bint started           # the thread was started, and owns the context
    long finished          # 1: zmq_ctx_term has returned; accessed with `add`, because the thread writes it
    bint abandoned         # the wait was interrupted (Ctrl-C): do not wait for this context at exit
    bint warned
    bint running           # a socket was made: libzmq's threads are running
    schedule_t schedule    # scheduling of libzmq's threads, as set by the user
    bint foreign           # made by another library, which terminates it
    void *keeper           # socket for pending inproc connections: see `ContextHandle.let_waiting_go`
    bint forked            # belongs to the parent process
    void *waker            # 1 + the file descriptor to write to at the end; NULL: none; LATE: the context has ended
    int owners             # number of owners: the ContextHandle and the handles of its sockets
    nsec linger            # maximum `linger` set by the user among the closed sockets
    bint unlimited         # a socket whose linger was never set was closed: its messages may wait indefinitely
    Link *handles          # handles of the open sockets
    char[256] last         # description of the last closed socket that may have unsent messages
    Ending *next


cdef class ContextHandle:
    # A libzmq context, shared by the Context that made it, its shadows and the handles of its sockets. The context is
    # terminated when the last of them is freed.
    cdef object __weakref__
    cdef Ending *ending    # NULL: no context
    cdef bint unchecked    # skip the checks for threads and file descriptors before the first socket
    cdef bint untuned      # do not change the batch sizes of its sockets, nor malloc
    cdef object woken      # file descriptor that the waker makes readable
    cdef list ends         # PAIR sockets that libzmq still has to write a monitor's last event to
    cdef set bound         # inproc names that its sockets are bound to
    cdef set waiting       # inproc names that its sockets are connected to, and that were not bound then

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
    # A libzmq socket, shared by the socket object that made it and its shadows. The socket is closed when the last of
    # them is freed.
    cdef object __weakref__
    cdef void *socket
    cdef int type
    cdef int traits               # traits of the type
    cdef int state
    cdef int exclusive            # BUSY; 0 for thread-safe types, which several threads may use at once
    cdef int begun                # SNDMORE: a multipart message is incomplete. LOST: its peer disconnected meanwhile
    cdef bint tried               # the last send would have blocked: the next attempt reads the events first
    cdef size_t quick_size        # shorter messages skip all checks; 0: check every message, libzmq could tear some
    cdef size_t threshold         # minimum size of bytes that are sent zero-copy
    cdef Stats stats
    cdef bint asked               # a message was sent since the last receive: a reply may arrive soon
    cdef bint answers_soon        # the last reply arrived soon
    cdef bint eager               # the last waits were short: spin
    cdef nsec spin                # maximum time to spin before sleeping
    cdef int fd                   # file descriptor (ZMQ_FD); -1: a thread-safe type, which has none
    cdef Signaler signaler        # file descriptor for `fileno` if `fd` is -1
    cdef long inside              # number of threads inside libzmq without the GIL; BUSY lasts until the GIL is back

    cdef zmq_msg_t *held          # parts for the next receives, last part first; NULL: none
    cdef int held_count
    cdef int more                 # whether another part follows the part returned last

    cdef bint foreign             # made by another library: only `close` closes it
    cdef bint elsewhere           # other code may use the socket unnoticed: its events must not be remembered
    cdef bint exposed             # user code waits for the file descriptor; reading the events would consume its edge
    cdef bint networked           # bound or connected over a transport other than inproc
    cdef bint only_first          # XSUB: only the first part of a message can be a subscription
    cdef bint datagram            # sends over UDP, where libzmq does not check sizes
    cdef bint heartbeats          # heartbeat_ivl is set
    cdef bint linger_set          # the user has set linger
    cdef int long_groups          # number of joined groups with names too long for udp
    cdef ContextHandle context    # None: foreign
    cdef set names                # inproc names that it, or its monitor, is bound to
    cdef PyObject *feed           # feed of its monitor; hidden from the GC, which could free the PAIR before the handle
    cdef object reads             # weak reference to the feed of the socket whose monitor events this PAIR receives

    cdef Link *users              # objects that share the handle
    cdef Link *watches            # the owner of each watch keeps a user alive
    cdef unsigned int round       # number of times that the watches were told
    cdef int remembered           # events that all watches have read since then; -1: not all have read the same
    cdef Ending *ending
    cdef Link of_context          # node in the handles of the ending, or in the strays
    cdef PyObject *reference      # weak reference to this handle; NULL with a GIL

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
    # Add to a counter. Other threads may read it meanwhile; with a thread-safe socket they may also count.
    if exclusive:
        count_up(place, more)
    else:
        count_together(place, more)


cdef inline void go_inside(Handle handle) noexcept:
    # Mark the socket as used before a call releases the GIL. After the call: `come_out` (without the GIL), then
    # `state &= ~exclusive` (with the GIL). Not `~BUSY`: on a thread-safe type, BUSY may be set by a thread in `close`.
    handle.state |= handle.exclusive
    add(&handle.inside, 1)


cdef inline void come_out(Handle handle) noexcept nogil:
    add(&handle.inside, -1)


cdef inline bint is_inside(Handle handle) noexcept nogil:
    return add(&handle.inside, 0) != 0


cdef inline int events_of(void *socket, int *events) noexcept nogil:
    # Read ZMQ_EVENTS, which also makes libzmq process pending commands. Return 0 or an errno.
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
