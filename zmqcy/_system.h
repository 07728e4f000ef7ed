/* Portability between operating systems (Linux, macOS) and Python versions, and other C code of the modules. */

#ifndef ZMQCY_SYSTEM_H
#define ZMQCY_SYSTEM_H

#include <Python.h> /* must be first; it defines _GNU_SOURCE */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#endif

/* ---- time */

static inline long long zmqcy_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void zmqcy_nap(void) {
    struct timespec millisecond = {0, 1000000};
    nanosleep(&millisecond, NULL);
}

/* ---- atomic operations */

#define zmqcy_swap(place, value) __atomic_exchange_n(place, value, __ATOMIC_SEQ_CST)
#define zmqcy_replace(place, old, value) __sync_bool_compare_and_swap(place, old, value)
/* Not ACQUIRE: the load must not be reordered before an earlier swap of another variable (ARM with LDAPR, POWER). */
#define zmqcy_load(place) __atomic_load_n(place, __ATOMIC_SEQ_CST)
#define zmqcy_add(place, value) __atomic_add_fetch(place, value, __ATOMIC_SEQ_CST)
/* One thread writes, others read: plain loads and stores that are not torn. */
#define zmqcy_count(place, more) \
    __atomic_store_n(place, __atomic_load_n(place, __ATOMIC_RELAXED) + (more), __ATOMIC_RELAXED)
/* several threads write */
#define zmqcy_count_together(place, more) __atomic_fetch_add(place, more, __ATOMIC_RELAXED)
#define zmqcy_counted(place) __atomic_load_n(place, __ATOMIC_RELAXED)

/* ---- file descriptors */

#define ZMQCY_LONGEST_PATH ((int)sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static inline void zmqcy_poke(int fd) {
    ssize_t rc = write(fd, "", 1);
    (void)rc; /* a full pipe is readable already */
}

static inline void zmqcy_drain(int fd) {
    char bytes[64];
    while (read(fd, bytes, sizeof bytes) > 0);
}

static inline int zmqcy_most_descriptors(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max > INT_MAX ? INT_MAX : (int)limit.rlim_max;
}

/* Count the free file descriptors of the process, up to `need`, without opening any: poll() returns POLLNVAL for a
 * number that is not open. Start at the highest number, because the system assigns the lowest free one. The result
 * ignores the limit of the whole system, and files that other threads open meanwhile. */
static inline int zmqcy_free_descriptors(int need) {
    struct rlimit limit;
    struct pollfd items[64];
    int found = 0, above, count, i;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return need;
    above = limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur;
    while (found < need && above > 0) {
        count = above < 64 ? above : 64;
        for (i = 0; i < count; i++) items[i] = (struct pollfd){.fd = --above};
        if (poll(items, count, 0) < 0) return need;
        for (i = 0; i < count; i++) found += (items[i].revents & POLLNVAL) != 0;
    }
    return found < need ? found : need;
}

#ifdef __linux__
typedef struct epoll_event zmqcy_epoll_event;

static inline int zmqcy_epoll_open(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int zmqcy_epoll_add(int set, int fd, short events, void *owner) {
    /* the event bits of epoll are those of poll() */
    struct epoll_event event = {.events = (unsigned short)events, .data = {.ptr = owner}};
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

#define zmqcy_epoll_remove(set, fd) ((void)epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL))
#define zmqcy_epoll_look(set, events, room) epoll_wait(set, events, room, 0)
#define zmqcy_epoll_owner(event) ((event).data.ptr)
#else
typedef void *zmqcy_epoll_event;
#define zmqcy_epoll_open() (errno = ENOSYS, -1)
#define zmqcy_epoll_add(set, fd, events, owner) (-1)
#define zmqcy_epoll_remove(set, fd) ((void)0)
#define zmqcy_epoll_look(set, events, room) (-1)
#define zmqcy_epoll_owner(event) (event)
#endif

/* ---- threads */

static inline void zmqcy_block_signals(sigset_t *saved) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, saved);
}

#define zmqcy_restore_signals(saved) ((void)pthread_sigmask(SIG_SETMASK, saved, NULL))

static inline void *zmqcy_wait_thread(void *gate) {
    pthread_mutex_lock((pthread_mutex_t *)gate);
    pthread_mutex_unlock((pthread_mutex_t *)gate);
    return NULL;
}

static inline int zmqcy_probe_threads(int need) {
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t few[8], *threads = few;
    int got = 0, i;
    if (need > 8 && !(threads = (pthread_t *)malloc(need * sizeof(pthread_t)))) return 0;
    pthread_mutex_lock(&gate);
    while (got < need && !pthread_create(&threads[got], NULL, zmqcy_wait_thread, &gate)) got++;
    pthread_mutex_unlock(&gate);
    for (i = 0; i < got; i++) pthread_join(threads[i], NULL);
    if (threads != few) free(threads);
    return got;
}

typedef struct {
    int policy, priority; /* -1: system default */
    int processors;       /* number of allowed processors; 0: all */
    unsigned char allowed[128];
    int error;
} zmqcy_schedule;

static inline int zmqcy_highest_priority(void) {
    int fifo = sched_get_priority_max(SCHED_FIFO), rr = sched_get_priority_max(SCHED_RR);
    return fifo > rr ? fifo : rr;
}

#define zmqcy_is_policy(policy) (sched_get_priority_min(policy) != -1)
#define zmqcy_most_processors() ((int)sysconf(_SC_NPROCESSORS_CONF))

/* Do what a thread of libzmq does when it starts. libzmq aborts if one of these steps fails. */
static inline void *zmqcy_schedule_thread(void *argument) {
    zmqcy_schedule *schedule = (zmqcy_schedule *)argument;
    struct sched_param param;
    int policy, nice_instead;
    if ((schedule->error = pthread_getschedparam(pthread_self(), &policy, &param))) return NULL;
    if (schedule->policy >= 0) policy = schedule->policy;
    nice_instead = policy != SCHED_FIFO && policy != SCHED_RR;
    if (nice_instead) param.sched_priority = 0;
    else if (schedule->priority >= 0) param.sched_priority = schedule->priority;
    if ((schedule->error = pthread_setschedparam(pthread_self(), policy, &param))) return NULL;
#ifdef __linux__
    if (nice_instead && schedule->priority > 0) { /* on other systems nice() affects the whole process */
        errno = EINVAL;
        if (nice(-20) == -1) schedule->error = errno;
    }
    if (!schedule->error && schedule->processors) {
        cpu_set_t set;
        int i;
        CPU_ZERO(&set);
        for (i = 0; i < 1024; i++)
            if (schedule->allowed[i / 8] >> i % 8 & 1) CPU_SET(i, &set);
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

/* ---- the process */

#define zmqcy_at_fork(child) pthread_atfork(NULL, NULL, child)

/* glibc returns large blocks, and free memory at the top of the heap, to the system. So a program that receives
 * messages of about 100 KB would map new pages for each message. glibc raises its thresholds to the size of the largest
 * block that was ever freed. This frees a large block whose pages are never touched. */
static inline void zmqcy_teach_malloc(void) {
    void *(*volatile allocate)(size_t) = malloc; /* volatile: the compiler must not remove the two calls */
    free(allocate(16 << 20));
}

/* ---- libraries: whether an object was made by another library than the one that contains a function */

/* A C++ object starts with a pointer to its vtable, which is in the library that made the object. */
static inline int zmqcy_is_foreign(void *object, void *function) {
    Dl_info maker, own;
    return dladdr(*(void **)object, &maker) && dladdr(function, &own) && maker.dli_fbase != own.dli_fbase;
}

/* A libzmq context has no vtable. But one of its fields is a mailbox, which has one, at about byte 300 of 648. */
static inline int zmqcy_is_foreign_context(void *object, void *function) {
    Dl_info maker, own;
    int i, others = 0;
    if (!dladdr(function, &own)) return 0;
    for (i = 0; i < 56; i++)
        if (dladdr(((void **)object)[i], &maker)) {
            if (maker.dli_fbase == own.dli_fbase) return 0;
            others++;
        }
    return others > 0;
}

/* ---- Python */

/* Whether this thread may use Python objects: it has the GIL or, in a free-threaded build, is attached. */
static inline int zmqcy_has_python(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked() != NULL;
#elif PY_VERSION_HEX >= 0x030C0000
    return _PyThreadState_UncheckedGet() != NULL;
#else /* _PyThreadState_UncheckedGet returns the state of the thread that has the GIL, in any thread */
    PyThreadState *state = PyGILState_GetThisThreadState();
    return state != NULL && state == _PyThreadState_UncheckedGet();
#endif
}

#ifdef Py_GIL_DISABLED
#define ZMQCY_FREE_THREADED 1
/* A weak reference also returns an object whose `__dealloc__` waits for one of our locks. Such an object is not tracked
 * by the GC. CPython 3.13 also returns it to the thread that frees it, after `__del__`: dropping that reference would
 * free the object twice. */
static inline PyObject *zmqcy_alive(PyObject *object, PyObject *reference) {
    if (reference == NULL) return Py_NewRef(object != NULL ? object : Py_None);
    if (!PyObject_GC_IsTracked(object)) return Py_NewRef(Py_None);
    if (PyWeakref_GetRef(reference, &object) < 0) PyErr_Clear();
    if (object != NULL && !PyObject_GC_IsTracked(object)) Py_CLEAR(object);
    return object != NULL ? object : Py_NewRef(Py_None);
}
#else
#define ZMQCY_FREE_THREADED 0
static inline PyObject *zmqcy_alive(PyObject *object, PyObject *reference) {
    (void)reference;
    return Py_NewRef(object != NULL && Py_REFCNT(object) > 0 ? object : Py_None);
}
#endif

/* A future ends `await` with StopIteration or, if the interpreter calls am_send, without an exception. Python 3.12 and
 * later do not call am_send. Creating an exception costs as much as receiving a message, so one exception is reused
 * while nothing else refers to it. It keeps its last value alive, so only small values are returned this way. */
#if PY_VERSION_HEX >= 0x030C0000 && !defined(Py_GIL_DISABLED)
static inline int zmqcy_stop_by_the_same(PyObject *value) {
    static PyObject *again = NULL;
    PyStopIterationObject *stop = (PyStopIterationObject *)again;
    if (stop != NULL && (Py_REFCNT(stop) > 1 || stop->traceback != NULL || stop->context != NULL)) Py_CLEAR(again);
    if (again == NULL && (again = PyObject_CallNoArgs(PyExc_StopIteration)) == NULL) {
        PyErr_Clear();
        return 0;
    }
    stop = (PyStopIterationObject *)again;
    Py_XSETREF(stop->value, Py_NewRef(value));
    PyErr_SetRaisedException(Py_NewRef(again));
    return 1;
}
#define ZMQCY_SMALL(value) (PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) <= 4096)
#else
#define ZMQCY_SMALL(value) 0
#define zmqcy_stop_by_the_same(value) 0
#endif

static inline void zmqcy_stop(PyObject *value) {
    if (ZMQCY_SMALL(value) && zmqcy_stop_by_the_same(value)) return;
    if (PyTuple_Check(value) || PyExceptionInstance_Check(value)) { /* PyErr_SetObject would unpack or raise these */
        PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, NULL);
        if (stop != NULL) PyErr_SetObject(PyExc_StopIteration, stop);
        Py_XDECREF(stop);
    } else if (value != Py_None) {
        PyErr_SetObject(PyExc_StopIteration, value);
    }
}

static inline PyObject *zmqcy_next(PyObject *self) {
    PyObject *value = NULL;
    if (Py_TYPE(self)->tp_as_async->am_send(self, Py_None, &value) == PYGEN_RETURN) {
        zmqcy_stop(value);
        Py_DECREF(value);
        return NULL;
    }
    return value;
}

static inline void zmqcy_iterate_by(PyObject *type, int (*send)(PyObject *, PyObject *, PyObject **)) {
    ((PyTypeObject *)type)->tp_as_async->am_send = (sendfunc)send;
    ((PyTypeObject *)type)->tp_iternext = zmqcy_next;
}

static inline PyObject *zmqcy_made_here(PyTypeObject *type, PyObject *arguments, PyObject *options) {
    (void)arguments;
    (void)options;
    return PyErr_Format(PyExc_TypeError, "cannot create '%s' instances: an operation of a socket returns them",
                        type->tp_name);
}

/* Forbid calls of the type: an instance would have no socket and no loop. */
static inline void zmqcy_make_only_here(PyObject *type) {
    ((PyTypeObject *)type)->tp_new = zmqcy_made_here;
    ((PyTypeObject *)type)->tp_vectorcall = NULL;
    PyType_Modified((PyTypeObject *)type);
}

#endif
