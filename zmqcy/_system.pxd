# Declarations of _system.h: portability between operating systems and Python versions.

from libc.stdint cimport uint64_t

ctypedef long long nsec  # a duration, or a time of the monotonic clock, in nanoseconds

cdef extern from "_system.h" nogil:
    # Time
    nsec now "zmqcy_now"() noexcept
    void nap "zmqcy_nap"() noexcept  # sleep for 1 ms
    void yield_processor "sched_yield"() noexcept

    # Atomic operations
    void *swap "zmqcy_swap"(void **place, void *value) noexcept
    void *load "zmqcy_load"(void **place) noexcept
    bint replace "zmqcy_replace"(void **place, void *old, void *value) noexcept
    long add "zmqcy_add"(long *place, long value) noexcept  # returns the sum
    void count_up "zmqcy_count"(uint64_t *place, uint64_t more) noexcept  # one writer, any number of readers
    void count_together "zmqcy_count_together"(uint64_t *place, uint64_t more) noexcept  # several writers
    uint64_t counted "zmqcy_counted"(uint64_t *place) noexcept

    # File descriptors
    int longest_path "ZMQCY_LONGEST_PATH"  # maximum length of an ipc path, in bytes
    short POLLIN
    short POLLOUT
    short POLLPRI
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long n, int timeout) noexcept
    int close_descriptor "close"(int fd) noexcept
    void poke "zmqcy_poke"(int fd) noexcept  # make the other end of a pipe readable
    void drain "zmqcy_drain"(int fd) noexcept  # read everything from a non-blocking file descriptor
    int most_descriptors "zmqcy_most_descriptors"() noexcept  # hard limit of the process
    int free_descriptors "zmqcy_free_descriptors"(int need) noexcept  # number of free ones, up to `need`
    # epoll (Linux); on other systems epoll_open fails
    ctypedef struct epoll_event "zmqcy_epoll_event":
        pass
    int epoll_open "zmqcy_epoll_open"() noexcept
    int epoll_add "zmqcy_epoll_add"(int set, int fd, short events, void *owner) noexcept
    void epoll_remove "zmqcy_epoll_remove"(int set, int fd) noexcept
    int epoll_look "zmqcy_epoll_look"(int set, epoll_event *events, int room) noexcept
    void *epoll_owner "zmqcy_epoll_owner"(epoll_event event) noexcept

    # Threads
    ctypedef struct sigset "sigset_t":
        pass
    ctypedef struct schedule_t "zmqcy_schedule":
        int policy  # -1: system default
        int priority  # -1: system default
        int processors  # number of allowed processors; 0: all
        unsigned char[128] allowed
    void block_signals "zmqcy_block_signals"(sigset *saved) noexcept
    void restore_signals "zmqcy_restore_signals"(sigset *saved) noexcept
    int probe_threads "zmqcy_probe_threads"(int need) noexcept  # number of threads that could be started
    int highest_priority "zmqcy_highest_priority"() noexcept
    bint is_policy "zmqcy_is_policy"(int policy) noexcept
    int most_processors "zmqcy_most_processors"() noexcept
    int try_schedule "zmqcy_try_schedule"(schedule_t *schedule) noexcept  # returns 0 or an errno

    # The process
    int at_fork "zmqcy_at_fork"(void (*child)() noexcept nogil) noexcept
    void teach_malloc "zmqcy_teach_malloc"() noexcept

    # Python
    bint has_python "zmqcy_has_python"() noexcept  # whether this thread may use Python objects

    # Libraries: whether an object was made by another library than the one that contains a function; 0 if unknown
    bint is_foreign "zmqcy_is_foreign"(void *object, void *function) noexcept  # for a C++ object with a vtable
    bint is_foreign_context "zmqcy_is_foreign_context"(void *object, void *function) noexcept

cdef extern from "pythread.h" nogil:
    void *PyThread_allocate_lock() noexcept
    void PyThread_free_lock(void *lock) noexcept
    int PyThread_acquire_lock(void *lock, int wait) noexcept
    int PyThread_acquire_lock_timed(void *lock, long long microseconds, int interruptible) noexcept
    void PyThread_release_lock(void *lock) noexcept
    int PY_LOCK_ACQUIRED
