# What the system has under other names on other systems: waiting on a descriptor, the monotonic clock, fork, signals,
# atomic operations.

from libc.stdint cimport uint64_t

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
    #define zmqcy_load(place) (*(void *volatile *) (place))
    #define zmqcy_add(place, value) (InterlockedExchangeAdd((long volatile *) (place), value) + (value))
    #define zmqcy_count(place, more) (*(unsigned long long volatile *) (place) += (more))
    #define zmqcy_counted(place) (*(unsigned long long volatile *) (place))
    #define zmqcy_probe_descriptors(need) (need)
    #define zmqcy_most_descriptors() INT_MAX
    #define zmqcy_probe_threads(need) (need)
    #define zmqcy_highest_priority() INT_MAX
    #define zmqcy_is_policy(policy) 1
    #define zmqcy_most_processors() INT_MAX
    typedef struct { int policy, priority, processors; unsigned char allowed[128]; int error; } zmqcy_schedule;
    #define zmqcy_try_schedule(schedule) 0
    #define zmqcy_is_foreign(object, function) 0
    #define zmqcy_is_foreign_context(object, function) 0
    #define zmqcy_close(fd) closesocket((SOCKET) (fd))
    #define zmqcy_longest_path 107
    static inline void zmqcy_drain(int fd) {
        char bytes[64];
        while (recv((SOCKET) fd, bytes, sizeof bytes, 0) > 0);
    }
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
    #include <sys/un.h>
    #include <unistd.h>
    #define zmqcy_longest_path ((int) sizeof(((struct sockaddr_un *) NULL)->sun_path) - 1)
    #define zmqcy_yield() sched_yield()
    /* An object of C++ begins with the address of its class's table, which lies in the library that made it. */
    static inline int zmqcy_is_foreign(void *object, void *function) {
        Dl_info maker, own;
        return dladdr(*(void **) object, &maker) && dladdr(function, &own) && maker.dli_fbase != own.dli_fbase;
    }
    /* libzmq's context is no such object, but has a mailbox, which is one, as a field: after some 300 bytes of 648. */
    static inline int zmqcy_is_foreign_context(void *object, void *function) {
        Dl_info maker, own;
        int i, others = 0;
        if (!dladdr(function, &own)) return 0;
        for (i = 0; i < 56; i++)
            if (dladdr(((void **) object)[i], &maker)) {
                if (maker.dli_fbase == own.dli_fbase) return 0;
                others++;
            }
        return others > 0;
    }
    static inline void zmqcy_poke(int fd) {
        ssize_t rc = write(fd, "", 1);
        (void) rc;  /* full: it is readable already */
    }
    #define zmqcy_swap(place, value) __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST)
    #define zmqcy_replace(place, old, value) \
        __sync_bool_compare_and_swap(place, old, value)
    /* not ACQUIRE: after a swap of another place it must not be carried out before that (ARM with LDAPR, POWER) */
    #define zmqcy_load(place) __atomic_load_n(place, __ATOMIC_SEQ_CST)
    #define zmqcy_add(place, value) __atomic_add_fetch(place, value, __ATOMIC_SEQ_CST)
    /* one thread counts, others look: plain loads and stores, that are whole */
    #define zmqcy_count(place, more) \
        __atomic_store_n(place, __atomic_load_n(place, __ATOMIC_RELAXED) + (more), __ATOMIC_RELAXED)
    #define zmqcy_counted(place) __atomic_load_n(place, __ATOMIC_RELAXED)
    #include <limits.h>
    #include <stdlib.h>
    #include <sys/resource.h>
    static inline int zmqcy_most_descriptors(void) {
        struct rlimit limit;
        return getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max > INT_MAX ? INT_MAX : (int) limit.rlim_max;
    }
    static inline int zmqcy_probe_descriptors(int need) {
        struct rlimit limit;
        int few[64], got = 0, i;
        int *fds = few;
        if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < (rlim_t) need) return (int) limit.rlim_cur;
        if (need > 64 && !(fds = (int *) malloc(need * sizeof(int)))) return 0;
        while (got < need) {
            int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
            if (fd < 0 && errno != EMFILE && errno != ENFILE) break;
            if (fd < 0) { need = got; break; }
            fds[got++] = fd;
        }
        for (i = 0; i < got; i++) close(fds[i]);
        if (fds != few) free(fds);
        return need;  /* an error of another kind is no lack of descriptors */
    }
    static inline void *zmqcy_wait_thread(void *gate) {
        pthread_mutex_lock((pthread_mutex_t *) gate);
        pthread_mutex_unlock((pthread_mutex_t *) gate);
        return NULL;
    }
    static inline int zmqcy_probe_threads(int need) {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        pthread_t few[8], *threads = few;
        int got = 0, i;
        if (need > 8 && !(threads = (pthread_t *) malloc(need * sizeof(pthread_t)))) return 0;
        pthread_mutex_lock(&gate);
        while (got < need && !pthread_create(&threads[got], NULL, zmqcy_wait_thread, &gate)) got++;
        pthread_mutex_unlock(&gate);
        for (i = 0; i < got; i++) pthread_join(threads[i], NULL);
        if (threads != few) free(threads);
        return got;
    }
    typedef struct {
        int policy, priority;  /* -1: as the system has it */
        int processors;        /* how many are allowed; 0: all */
        unsigned char allowed[128];
        int error;
    } zmqcy_schedule;
    static inline int zmqcy_highest_priority(void) {
        int fifo = sched_get_priority_max(SCHED_FIFO), rr = sched_get_priority_max(SCHED_RR);
        return fifo > rr ? fifo : rr;
    }
    #define zmqcy_is_policy(policy) (sched_get_priority_min(policy) != -1)
    #define zmqcy_most_processors() ((int) sysconf(_SC_NPROCESSORS_CONF))
    /* What a thread of libzmq does to itself as it begins, and aborts where it fails. */
    static inline void *zmqcy_schedule_thread(void *argument) {
        zmqcy_schedule *schedule = (zmqcy_schedule *) argument;
        struct sched_param param;
        int policy, nice_instead;
        if ((schedule->error = pthread_getschedparam(pthread_self(), &policy, &param))) return NULL;
        if (schedule->policy >= 0) policy = schedule->policy;
        nice_instead = policy != SCHED_FIFO && policy != SCHED_RR;
        if (nice_instead) param.sched_priority = 0;
        else if (schedule->priority >= 0) param.sched_priority = schedule->priority;
        if ((schedule->error = pthread_setschedparam(pthread_self(), policy, &param))) return NULL;
    #ifdef __linux__
        if (nice_instead && schedule->priority > 0) {  /* elsewhere it would be the whole process */
            errno = EINVAL;
            if (nice(-20) == -1) schedule->error = errno;
        }
        if (!schedule->error && schedule->processors) {
            cpu_set_t set;
            int i;
            CPU_ZERO(&set);
            for (i = 0; i < 1024; i++) if (schedule->allowed[i / 8] >> i % 8 & 1) CPU_SET(i, &set);
            schedule->error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
        }
    #endif
        return NULL;
    }
    static inline int zmqcy_try_schedule(zmqcy_schedule *schedule) {
        pthread_t thread;
        int error = pthread_create(&thread, NULL, zmqcy_schedule_thread, schedule);
        if (error) return error;
        pthread_join(thread, NULL);
        return schedule->error;
    }
    #define zmqcy_close close
    static inline void zmqcy_drain(int fd) {
        char bytes[64];
        while (read(fd, bytes, sizeof bytes) > 0);
    }
    #endif
    #ifdef __linux__
    #include <sys/epoll.h>
    typedef struct epoll_event zmqcy_epoll_event;
    static inline int zmqcy_epoll_open(void) { return epoll_create1(EPOLL_CLOEXEC); }
    static inline int zmqcy_epoll_add(int set, int fd, short events, void *owner) {
        /* epoll's numbers are those of poll() */
        struct epoll_event event = {.events = (unsigned short) events, .data = {.ptr = owner}};
        return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    }
    #define zmqcy_epoll_remove(set, fd) ((void) epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
    #define zmqcy_epoll_look(set, events, room) epoll_wait(set, events, room, 0)
    #define zmqcy_epoll_owner(event) ((event).data.ptr)
    #else
    typedef void *zmqcy_epoll_event;
    #define zmqcy_epoll_open() (errno = ENOSYS, -1)
    #define zmqcy_epoll_add(set, fd, events, owner) (-1)
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
    int most_descriptors "zmqcy_most_descriptors"() noexcept nogil  # that the process may have, if it asks for them
    int probe_threads "zmqcy_probe_threads"(int need) noexcept nogil  # how many could be started
    ctypedef struct schedule_t "zmqcy_schedule":
        int policy  # -1: as the system has it
        int priority  # likewise
        int processors  # how many are allowed; 0: all
        unsigned char[128] allowed
    int highest_priority "zmqcy_highest_priority"() noexcept nogil
    bint is_policy "zmqcy_is_policy"(int policy) noexcept nogil
    int most_processors "zmqcy_most_processors"() noexcept nogil
    int try_schedule "zmqcy_try_schedule"(schedule_t *schedule) noexcept nogil  # an errno
    # whether a C++ object was made by another library than that of a function; 0 where that cannot be told
    bint is_foreign "zmqcy_is_foreign"(void *object, void *function) noexcept nogil
    # the same for a context of libzmq
    bint is_foreign_context "zmqcy_is_foreign_context"(void *object, void *function) noexcept nogil
    void poke "zmqcy_poke"(int fd) noexcept nogil  # make the other end readable
    void *swap "zmqcy_swap"(void **place, void *value) noexcept nogil
    void *load "zmqcy_load"(void **place) noexcept nogil
    bint replace "zmqcy_replace"(void **place, void *old, void *value) noexcept nogil
    void drain "zmqcy_drain"(int fd) noexcept nogil  # of one that does not block: make it readable no more
    long add "zmqcy_add"(long *place, long value) noexcept nogil  # gives the sum
    void count_up "zmqcy_count"(uint64_t *place, uint64_t more) noexcept nogil  # for others to look at meanwhile
    uint64_t counted "zmqcy_counted"(uint64_t *place) noexcept nogil
    int close_descriptor "zmqcy_close"(int fd) noexcept nogil
    int longest_path "zmqcy_longest_path"  # characters of an address of ipc
    # Linux's epoll; elsewhere no set can be opened.
    ctypedef struct epoll_event "zmqcy_epoll_event":
        pass
    int epoll_open "zmqcy_epoll_open"() noexcept nogil
    int epoll_add "zmqcy_epoll_add"(int set, int fd, short events, void *owner) noexcept nogil
    void epoll_remove "zmqcy_epoll_remove"(int set, int fd) noexcept nogil
    int epoll_look "zmqcy_epoll_look"(int set, epoll_event *events, int room) noexcept nogil
    void *epoll_owner "zmqcy_epoll_owner"(epoll_event event) noexcept nogil
