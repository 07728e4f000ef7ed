# What the system has under other names on other systems: waiting on a descriptor, the monotonic clock, fork, signals,
# atomic operations.

ctypedef long long nsec  # a time in nanoseconds, or a moment of the monotonic clock

cdef extern from *:
    """
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
    #define zmqcy_yield() SwitchToThread()
    #define zmqcy_poke(fd) ((void) send((SOCKET) (fd), "", 1, 0))
    #define zmqcy_swap(place, value) InterlockedExchangePointer((void *volatile *) (place), value)
    #define zmqcy_replace(place, old, value) \
        (InterlockedCompareExchangePointer((void *volatile *) (place), value, old) == (old))
    #define zmqcy_add(place, value) (InterlockedExchangeAdd((long volatile *) (place), value) + (value))
    #define zmqcy_probe_descriptors(need) (need)
    #define zmqcy_is_foreign(object, function) 0
    #define zmqcy_close(fd) closesocket((SOCKET) (fd))
    #else
    #include <dlfcn.h>
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
    #include <sched.h>
    #include <unistd.h>
    #define zmqcy_yield() sched_yield()
    /* An object of C++ begins with the address of its class's table, which lies in the library that made it. */
    static inline int zmqcy_is_foreign(void *object, void *function) {
        Dl_info maker, own;
        return dladdr(*(void **) object, &maker) && dladdr(function, &own) && maker.dli_fbase != own.dli_fbase;
    }
    static inline void zmqcy_poke(int fd) {
        ssize_t rc = write(fd, "", 1);
        (void) rc;  /* full: it is readable already */
    }
    #define zmqcy_swap(place, value) __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST)
    #define zmqcy_replace(place, old, value) \
        __sync_bool_compare_and_swap(place, old, value)
    #define zmqcy_add(place, value) __atomic_add_fetch(place, value, __ATOMIC_SEQ_CST)
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
    #define zmqcy_close close
    #endif
    #ifdef __linux__
    #include <sys/epoll.h>
    typedef struct epoll_event zmqcy_epoll_event;
    static inline int zmqcy_epoll_open(void) { return epoll_create1(EPOLL_CLOEXEC); }
    static inline int zmqcy_epoll_add(int set, int fd, void *owner) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = owner}};
        return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    }
    #define zmqcy_epoll_remove(set, fd) ((void) epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
    #define zmqcy_epoll_look(set, events, room) epoll_wait(set, events, room, 0)
    #define zmqcy_epoll_owner(event) ((event).data.ptr)
    #else
    typedef void *zmqcy_epoll_event;
    #define zmqcy_epoll_open() (-1)
    #define zmqcy_epoll_add(set, fd, owner) (-1)
    #define zmqcy_epoll_remove(set, fd) ((void) 0)
    #define zmqcy_epoll_look(set, events, room) (-1)
    #define zmqcy_epoll_owner(event) (event)
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
    void yield_processor "zmqcy_yield"() noexcept nogil
    int probe_descriptors "zmqcy_probe_descriptors"(int need) noexcept nogil  # how many could be had
    # whether a C++ object was made by another library than that of a function; 0 where that cannot be told
    bint is_foreign "zmqcy_is_foreign"(void *object, void *function) noexcept nogil
    void poke "zmqcy_poke"(int fd) noexcept nogil  # make the other end readable
    void *swap "zmqcy_swap"(void **place, void *value) noexcept nogil
    bint replace "zmqcy_replace"(void **place, void *old, void *value) noexcept nogil
    long add "zmqcy_add"(long *place, long value) noexcept nogil  # gives the sum
    int close_descriptor "zmqcy_close"(int fd) noexcept nogil
    # Linux's epoll; elsewhere no set can be opened.
    ctypedef struct epoll_event "zmqcy_epoll_event":
        pass
    int epoll_open "zmqcy_epoll_open"() noexcept nogil
    int epoll_add "zmqcy_epoll_add"(int set, int fd, void *owner) noexcept nogil  # readable: the owner is told
    void epoll_remove "zmqcy_epoll_remove"(int set, int fd) noexcept nogil
    int epoll_look "zmqcy_epoll_look"(int set, epoll_event *events, int room) noexcept nogil
    void *epoll_owner "zmqcy_epoll_owner"(epoll_event event) noexcept nogil
