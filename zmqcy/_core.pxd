# The fields of the C classes, and what the other extension modules call.

from zmqcy.libzmq cimport zmq_msg_t

ctypedef long long nsec  # a time in nanoseconds, or a moment of the monotonic clock

cdef extern from *:
    """
    /* What the system has under other names: waiting on a descriptor, the monotonic clock, the fork handler. */
    #ifdef _WIN32
    #include <winsock2.h>
    typedef WSAPOLLFD zmqcy_pollfd;
    static inline int zmqcy_poll(zmqcy_pollfd *fds, unsigned long n, int timeout) {
        int rc = WSAPoll(fds, n, timeout);
        if (rc < 0) errno = EINVAL;
        return rc;
    }
    static inline long long zmqcy_now(void) { return (long long) GetTickCount64() * 1000000; }
    #define zmqcy_at_fork(handler) 0
    #define zmqcy_block_signals(saved) ((void) (saved))
    #define zmqcy_restore_signals(saved) ((void) (saved))
    typedef int zmqcy_sigset;
    #define zmqcy_nap() Sleep(1)
    #define zmqcy_probe_descriptors(need) (need)
    #else
    #include <poll.h>
    #include <pthread.h>
    #include <signal.h>
    #include <time.h>
    typedef struct pollfd zmqcy_pollfd;
    #define zmqcy_poll poll
    static inline long long zmqcy_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long) now.tv_sec * 1000000000 + now.tv_nsec;
    }
    #define zmqcy_at_fork(handler) pthread_atfork(NULL, NULL, handler)
    typedef sigset_t zmqcy_sigset;
    static inline void zmqcy_block_signals(zmqcy_sigset *saved) {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, saved);
    }
    #define zmqcy_restore_signals(saved) pthread_sigmask(SIG_SETMASK, saved, NULL)
    static inline void zmqcy_nap(void) {
        struct timespec one = {0, 1000000};
        nanosleep(&one, NULL);
    }
    #include <errno.h>
    #include <fcntl.h>
    #include <unistd.h>
    static inline int zmqcy_probe_descriptors(int need) {
        int fds[64], got = 0, i;
        while (got < need && got < 64) {
            int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (fd < 0 && errno != EMFILE && errno != ENFILE) return need;
            if (fd < 0) break;
            fds[got++] = fd;
        }
        for (i = 0; i < got; i++) close(fds[i]);
        return got;
    }
    #endif
    """
    short POLLIN
    short POLLOUT
    short POLLERR
    short POLLPRI
    short POLLNVAL
    ctypedef struct pollfd "zmqcy_pollfd":
        int fd
        short events
        short revents
    ctypedef struct sigset "zmqcy_sigset":
        pass
    int poll "zmqcy_poll"(pollfd *fds, unsigned long n, int timeout) noexcept nogil
    nsec now "zmqcy_now"() noexcept nogil
    int at_fork "zmqcy_at_fork"(void (*child)() noexcept nogil) noexcept nogil
    void block_signals "zmqcy_block_signals"(sigset *saved) noexcept nogil
    void restore_signals "zmqcy_restore_signals"(sigset *saved) noexcept nogil
    void nap "zmqcy_nap"() noexcept nogil
    int probe_descriptors "zmqcy_probe_descriptors"(int need) noexcept nogil  # how many could be had


cdef enum:
    BUSY = 1    # a thread is in a call that lets go of the GIL
    CLOSED = 2  # the handle is gone
    HELD = 4    # received parts wait in `held` for the next receive

cdef enum:
    QUIET = 1 << 30  # beside ZMQ_DONTWAIT: return 0 instead of raising Again


cdef struct Ending:
    # What a context shares with the thread that ends it. It outlives both, and is freed when neither can touch it.
    void *handle
    void *done           # a lock, held until zmq_ctx_term has returned
    bint started         # the thread runs: the handle belongs to it
    bint finished        # zmq_ctx_term has returned
    bint abandoned       # the user broke off the wait: nobody waits for it at exit
    bint warned
    bint running         # a socket was made, so that libzmq's threads run
    bint foreign         # a shadow: another library ends it
    int owners           # the context and its sockets
    nsec linger          # the longest that the user asked for among the sockets closed so far
    void *sockets        # the first of the open ones (Socket)
    char[256] last       # the socket closed last that may have messages left, in words
    Ending *next


cdef class Context:
    cdef object __weakref__
    cdef Ending *ending
    cdef unsigned int generation
    cdef bint is_shadow

    cdef int enter(self, str call) except -1
    cdef int warn_open(self) except -1


cdef class Socket:
    cdef object __weakref__
    cdef void *handle
    cdef int state
    cdef bint inside              # libzmq, without the GIL: BUSY lasts until the GIL is back
    cdef unsigned int generation  # of the process that made it
    cdef unsigned int operations  # how many calls touched it: who remembers its events compares
    cdef bint shared              # others may hold the handle, so that the count above is no proof
    cdef bint is_shadow
    cdef int fd
    cdef int type_number
    cdef bint linger_set          # by the user
    cdef Context owner
    cdef object origin            # what a shadow must keep alive
    cdef Ending *ending
    cdef void *previous
    cdef void *following
    cdef zmq_msg_t *held          # parts that were received and could not be handed over
    cdef int held_first
    cdef int held_count

    cdef int open(self, Context context, object type) except -1
    cdef int refuse(self, str call) except -1
    cdef int put(self, const char *data, size_t size, int flags, object timeout, str call) except -1
    cdef int put_slowly(self, const char *data, size_t size, int flags, object timeout, str call) except -1
    cdef int send_message(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
    cdef int put_parts(self, list parts, int flags, object timeout) except -1
    cdef int get(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
    cdef int get_slowly(self, zmq_msg_t *msg, int flags, object timeout, str call) except -1
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
    cdef void release(self) noexcept


# The one check before each call: not closed, not in another thread's hands, not inherited by fork.
cdef int admit(Socket socket, str call) except -1
cdef int interrupted(int number) except -1
cdef unsigned int current_generation() noexcept
cdef int take_back(void *handle, int type_number, Py_ssize_t left) noexcept nogil
cdef int events_of(void *handle, int *events) noexcept nogil
cdef int wait_on(void *handle, int fd, short events, nsec deadline) noexcept nogil
cdef int remaining(nsec deadline) noexcept nogil
cdef nsec deadline_after(object timeout, str call) except -2
cdef object error(int number, str call, Socket socket, str detail=*, str text=*)
cdef int to_int(object value, str call, str name, int low=*, int high=*) except? -1
cdef int to_flags(object flags, str call) except -1
