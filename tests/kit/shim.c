/* A library to preload. It makes calls of zmqcy's extension modules fail, or interrupts them:
 *
 * - shim_arm makes calls of one function fail with an errno, after a number of calls that succeed.
 * - shim_before runs a function before a call, and shim_signal raises a signal. The call then continues.
 * - While shim_counting is 1, calls_NAME counts the calls of each function.
 *
 * It ignores calls by libzmq itself, which aborts if malloc fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

static struct {
    char name[64]; /* name of the function; empty: none */
    long after;    /* number of calls that succeed first */
    long times;    /* number of calls that fail then; -1: all */
    int error;
    long calls, failed;
    void (*before)(void);
} armed;

void shim_arm(const char *name, long after, long times, int error) {
    armed.name[0] = 0;
    armed.after = after;
    armed.times = times;
    armed.error = error;
    armed.calls = armed.failed = 0;
    armed.before = NULL;
    __sync_synchronize();
    strncpy(armed.name, name, sizeof armed.name - 1);
}

static void arm_before(const char *name, long after, void (*call)(void), int error) {
    shim_arm("", after, 1, error);
    armed.before = call;
    __sync_synchronize();
    strncpy(armed.name, name, sizeof armed.name - 1);
}

void shim_before(const char *name, long after, void (*call)(void)) { arm_before(name, after, call, 0); }

static int signal_number;
static void strike(void) { raise(signal_number); }

/* Raise a signal before the call, which then fails unless error is 0. A Python callback could not do this: Python would
 * run the signal handler in the callback, before the tested call. */
void shim_signal(const char *name, long after, int number, int error) {
    signal_number = number;
    arm_before(name, after, strike, error);
}

long shim_counting;
long shim_calls(void) { return armed.calls; }
long shim_failed(void) { return armed.failed; }

static int is_ours(void *caller) {
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "zmqcy/_");
}

static int fails(const char *name, void *caller) {
    long call;
    int error;
    if (!armed.name[0] || strcmp(name, armed.name) || !is_ours(caller)) return 0;
    call = __sync_fetch_and_add(&armed.calls, 1);
    if (call < armed.after || (armed.times >= 0 && call >= armed.after + armed.times)) return 0;
    error = armed.error;
    if (armed.before) {
        armed.name[0] = 0;
        armed.before(); /* may call shim_arm again */
        if (!error) return 0;
    } else {
        __sync_fetch_and_add(&armed.failed, 1);
    }
    errno = error;
    return 1;
}

/* WRAP(return type, return value of a failed call, name, parameters, arguments) */
#define WRAP(type, bad, name, parameters, arguments)                                  \
    long calls_##name;                                                                \
    type name parameters {                                                            \
        static type(*real) parameters;                                                \
        void *caller = __builtin_return_address(0);                                   \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);                \
        if (shim_counting && is_ours(caller)) __sync_fetch_and_add(&calls_##name, 1); \
        if (fails(#name, caller)) return bad;                                         \
        return real arguments;                                                        \
    }

WRAP(void *, NULL, zmq_ctx_new, (void), ())
WRAP(int, -1, zmq_ctx_set, (void *c, int o, int v), (c, o, v))
WRAP(int, -1, zmq_ctx_get, (void *c, int o), (c, o))
WRAP(int, -1, zmq_ctx_term, (void *c), (c))
WRAP(int, -1, zmq_ctx_shutdown, (void *c), (c))
WRAP(void *, NULL, zmq_socket, (void *c, int t), (c, t))
WRAP(int, -1, zmq_close, (void *s), (s))
WRAP(int, -1, zmq_bind, (void *s, const char *a), (s, a))
WRAP(int, -1, zmq_unbind, (void *s, const char *a), (s, a))
WRAP(int, -1, zmq_connect, (void *s, const char *a), (s, a))
WRAP(int, -1, zmq_disconnect, (void *s, const char *a), (s, a))
WRAP(int, -1, zmq_getsockopt, (void *s, int o, void *v, size_t *n), (s, o, v, n))
WRAP(int, -1, zmq_setsockopt, (void *s, int o, const void *v, size_t n), (s, o, v, n))
WRAP(int, -1, zmq_socket_monitor, (void *s, const char *a, int e), (s, a, e))
WRAP(int, -1, zmq_msg_init_size, (zmq_msg_t * m, size_t n), (m, n))
WRAP(int, -1, zmq_msg_init_data, (zmq_msg_t * m, void *d, size_t n, zmq_free_fn *f, void *h), (m, d, n, f, h))
WRAP(int, -1, zmq_msg_copy, (zmq_msg_t * d, zmq_msg_t *s), (d, s))
WRAP(int, -1, zmq_msg_move, (zmq_msg_t * d, zmq_msg_t *s), (d, s))
WRAP(int, -1, zmq_msg_send, (zmq_msg_t * m, void *s, int f), (m, s, f))
WRAP(int, -1, zmq_msg_recv, (zmq_msg_t * m, void *s, int f), (m, s, f))
WRAP(int, -1, zmq_send, (void *s, const void *d, size_t n, int f), (s, d, n, f))
WRAP(int, -1, zmq_poll, (zmq_pollitem_t * i, int n, long t), (i, n, t))
WRAP(int, -1, zmq_curve_keypair, (char *p, char *s), (p, s))
WRAP(int, -1, zmq_curve_public, (char *p, const char *s), (p, s))
WRAP(int, -1, poll, (struct pollfd * f, nfds_t n, int t), (f, n, t))
WRAP(int, -1, epoll_create1, (int f), (f))
WRAP(int, -1, epoll_ctl, (int e, int o, int f, struct epoll_event *v), (e, o, f, v))
WRAP(int, -1, epoll_wait, (int e, struct epoll_event *v, int n, int t), (e, v, n, t))
#ifdef ZMQ_HAVE_POLLER /* libzmq has drafts */
WRAP(void *, NULL, zmq_poller_new, (void), ())
WRAP(int, -1, zmq_poller_add, (void *p, void *s, void *u, short e), (p, s, u, e))
WRAP(int, -1, zmq_poller_fd, (void *p, zmq_fd_t *f), (p, f))
#endif

/* malloc, calloc and realloc must not call dlsym, which calls them. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) { return fails("malloc", __builtin_return_address(0)) ? NULL : __libc_malloc(n); }
void *calloc(size_t k, size_t n) { return fails("calloc", __builtin_return_address(0)) ? NULL : __libc_calloc(k, n); }
void *realloc(void *p, size_t n) { return fails("realloc", __builtin_return_address(0)) ? NULL : __libc_realloc(p, n); }
