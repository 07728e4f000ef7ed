# Declarations of libzmq's C API, in the order of zmq.h. The constants for Python are in constants.py. This file has
# only the constants that C code uses, so that an older header compiles too.
#
# A draft function may be missing in the header, in the library, or in both. It is declared weak: its address is NULL if
# the loaded library lacks it. Test `<void *> name is NULL` before each call. The C code below is not in a header file
# of its own, so that modules of other projects that cimport this file need only zmq.h.

cdef extern from *:
    """
    #undef ZMQ_BUILD_DRAFT_API  /* pkg-config may set it, but header and library may have different drafts */
    #include <zmq.h>

    #define ZMQCY_DRAFT __attribute__((weak))
    typedef struct zmq_poller_event_t zmq_poller_event_t;
    extern ZMQCY_DRAFT int zmq_ctx_set_ext(void *, int, const void *, size_t);
    extern ZMQCY_DRAFT int zmq_ctx_get_ext(void *, int, void *, size_t *);
    extern ZMQCY_DRAFT int zmq_join(void *, const char *);
    extern ZMQCY_DRAFT int zmq_leave(void *, const char *);
    extern ZMQCY_DRAFT uint32_t zmq_connect_peer(void *, const char *);
    extern ZMQCY_DRAFT int zmq_disconnect_peer(void *, uint32_t);
    extern ZMQCY_DRAFT int zmq_msg_set_routing_id(zmq_msg_t *, uint32_t);
    extern ZMQCY_DRAFT uint32_t zmq_msg_routing_id(zmq_msg_t *);
    extern ZMQCY_DRAFT int zmq_msg_set_group(zmq_msg_t *, const char *);
    extern ZMQCY_DRAFT const char *zmq_msg_group(zmq_msg_t *);
    extern ZMQCY_DRAFT int zmq_msg_init_buffer(zmq_msg_t *, const void *, size_t);
    extern ZMQCY_DRAFT void *zmq_poller_new(void);
    extern ZMQCY_DRAFT int zmq_poller_destroy(void **);
    extern ZMQCY_DRAFT int zmq_poller_size(void *);
    extern ZMQCY_DRAFT int zmq_poller_add(void *, void *, void *, short);
    extern ZMQCY_DRAFT int zmq_poller_modify(void *, void *, short);
    extern ZMQCY_DRAFT int zmq_poller_remove(void *, void *);
    extern ZMQCY_DRAFT int zmq_poller_wait(void *, zmq_poller_event_t *, long);
    extern ZMQCY_DRAFT int zmq_poller_wait_all(void *, zmq_poller_event_t *, int, long);
    extern ZMQCY_DRAFT int zmq_poller_fd(void *, int *);
    extern ZMQCY_DRAFT int zmq_poller_add_fd(void *, int, void *, short);
    extern ZMQCY_DRAFT int zmq_poller_modify_fd(void *, int, short);
    extern ZMQCY_DRAFT int zmq_poller_remove_fd(void *, int);
    extern ZMQCY_DRAFT int zmq_socket_get_peer_state(void *, const void *, size_t);
    extern ZMQCY_DRAFT int zmq_socket_monitor_versioned(void *, const char *, uint64_t, int, int);
    extern ZMQCY_DRAFT int zmq_socket_monitor_pipes_stats(void *);
    """

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "zmq.h" nogil:
    # Errors
    int ENOTSUP
    int EFSM
    int ENOCOMPATPROTO
    int ETERM
    int EMTHREAD
    int zmq_errno() noexcept
    const char *zmq_strerror(int errnum) noexcept
    void zmq_version(int *major, int *minor, int *patch) noexcept

    # Contexts
    int ZMQ_IO_THREADS
    int ZMQ_MAX_SOCKETS
    int ZMQ_SOCKET_LIMIT
    void *zmq_ctx_new() noexcept
    int zmq_ctx_term(void *context) noexcept
    int zmq_ctx_shutdown(void *context) noexcept
    int zmq_ctx_set(void *context, int option, int value) noexcept
    int zmq_ctx_get(void *context, int option) noexcept

    # Messages
    ctypedef struct zmq_msg_t:
        pass

    ctypedef void zmq_free_fn(void *data, void *hint) noexcept nogil

    int zmq_msg_init(zmq_msg_t *msg) noexcept
    int zmq_msg_init_size(zmq_msg_t *msg, size_t size) noexcept
    int zmq_msg_init_data(zmq_msg_t *msg, void *data, size_t size, zmq_free_fn *ffn, void *hint) noexcept
    int zmq_msg_send(zmq_msg_t *msg, void *socket, int flags) noexcept
    int zmq_msg_recv(zmq_msg_t *msg, void *socket, int flags) noexcept
    int zmq_msg_close(zmq_msg_t *msg) noexcept
    int zmq_msg_move(zmq_msg_t *dest, zmq_msg_t *src) noexcept
    int zmq_msg_copy(zmq_msg_t *dest, zmq_msg_t *src) noexcept
    void *zmq_msg_data(zmq_msg_t *msg) noexcept
    size_t zmq_msg_size(const zmq_msg_t *msg) noexcept
    int zmq_msg_more(const zmq_msg_t *msg) noexcept
    int zmq_msg_get(const zmq_msg_t *msg, int property) noexcept
    int zmq_msg_set(zmq_msg_t *msg, int property, int value) noexcept
    const char *zmq_msg_gets(const zmq_msg_t *msg, const char *property) noexcept

    # Sockets: types, options, flags
    int ZMQ_EVENT_MONITOR_STOPPED
    int ZMQ_PAIR
    int ZMQ_PUB
    int ZMQ_SUB
    int ZMQ_REQ
    int ZMQ_REP
    int ZMQ_DEALER
    int ZMQ_ROUTER
    int ZMQ_PULL
    int ZMQ_PUSH
    int ZMQ_XPUB
    int ZMQ_XSUB
    int ZMQ_STREAM
    int ZMQ_RCVMORE
    int ZMQ_FD
    int ZMQ_EVENTS
    int ZMQ_TYPE
    int ZMQ_LINGER
    int ZMQ_RCVTIMEO
    int ZMQ_SNDTIMEO
    int ZMQ_LAST_ENDPOINT
    int ZMQ_DONTWAIT
    int ZMQ_SNDMORE

    void *zmq_socket(void *context, int type) noexcept
    int zmq_close(void *socket) noexcept
    int zmq_setsockopt(void *socket, int option, const void *value, size_t size) noexcept
    int zmq_getsockopt(void *socket, int option, void *value, size_t *size) noexcept
    int zmq_bind(void *socket, const char *endpoint) noexcept
    int zmq_connect(void *socket, const char *endpoint) noexcept
    int zmq_unbind(void *socket, const char *endpoint) noexcept
    int zmq_disconnect(void *socket, const char *endpoint) noexcept
    int zmq_send(void *socket, const void *data, size_t size, int flags) noexcept
    int zmq_send_const(void *socket, const void *data, size_t size, int flags) noexcept
    int zmq_recv(void *socket, void *data, size_t size, int flags) noexcept
    int zmq_socket_monitor(void *socket, const char *endpoint, int events) noexcept

    # Polling
    ctypedef int zmq_fd_t
    int ZMQ_POLLIN
    int ZMQ_POLLOUT
    int ZMQ_POLLERR
    int ZMQ_POLLPRI

    ctypedef struct zmq_pollitem_t:
        void *socket
        zmq_fd_t fd
        short events
        short revents

    int zmq_poll(zmq_pollitem_t *items, int nitems, long timeout) noexcept

    # Proxies
    int ZMQ_STREAMER
    int ZMQ_FORWARDER
    int ZMQ_QUEUE
    int zmq_proxy(void *frontend, void *backend, void *capture) noexcept
    int zmq_proxy_steerable(void *frontend, void *backend, void *capture, void *control) noexcept

    # Capabilities
    int zmq_has(const char *capability) noexcept

    # Keys
    char *zmq_z85_encode(char *dest, const uint8_t *data, size_t size) noexcept
    uint8_t *zmq_z85_decode(uint8_t *dest, const char *string) noexcept
    int zmq_curve_keypair(char *z85_public_key, char *z85_secret_key) noexcept
    int zmq_curve_public(char *z85_public_key, const char *z85_secret_key) noexcept

    # Atomic counters
    void *zmq_atomic_counter_new() noexcept
    void zmq_atomic_counter_set(void *counter, int value) noexcept
    int zmq_atomic_counter_inc(void *counter) noexcept
    int zmq_atomic_counter_dec(void *counter) noexcept
    int zmq_atomic_counter_value(void *counter) noexcept
    void zmq_atomic_counter_destroy(void **counter) noexcept

    # Timers
    ctypedef void zmq_timer_fn(int timer_id, void *arg) noexcept nogil

    void *zmq_timers_new() noexcept
    int zmq_timers_destroy(void **timers) noexcept
    int zmq_timers_add(void *timers, size_t interval, zmq_timer_fn handler, void *arg) noexcept
    int zmq_timers_cancel(void *timers, int timer_id) noexcept
    int zmq_timers_set_interval(void *timers, int timer_id, size_t interval) noexcept
    int zmq_timers_reset(void *timers, int timer_id) noexcept
    long zmq_timers_timeout(void *timers) noexcept
    int zmq_timers_execute(void *timers) noexcept

    # Helpers of libzmq's own performance tests
    ctypedef void zmq_thread_fn(void *arg) noexcept nogil

    void *zmq_stopwatch_start() noexcept
    unsigned long zmq_stopwatch_intermediate(void *watch) noexcept
    unsigned long zmq_stopwatch_stop(void *watch) noexcept
    void zmq_sleep(int seconds) noexcept
    void *zmq_threadstart(zmq_thread_fn *func, void *arg) noexcept
    void zmq_threadclose(void *thread) noexcept

    # Drafts
    int zmq_ctx_set_ext(void *context, int option, const void *value, size_t size) noexcept
    int zmq_ctx_get_ext(void *context, int option, void *value, size_t *size) noexcept
    int zmq_join(void *socket, const char *group) noexcept
    int zmq_leave(void *socket, const char *group) noexcept
    uint32_t zmq_connect_peer(void *socket, const char *endpoint) noexcept
    int zmq_disconnect_peer(void *socket, uint32_t routing_id) noexcept
    int zmq_msg_set_routing_id(zmq_msg_t *msg, uint32_t routing_id) noexcept
    uint32_t zmq_msg_routing_id(zmq_msg_t *msg) noexcept
    int zmq_msg_set_group(zmq_msg_t *msg, const char *group) noexcept
    const char *zmq_msg_group(zmq_msg_t *msg) noexcept
    int zmq_msg_init_buffer(zmq_msg_t *msg, const void *data, size_t size) noexcept

    ctypedef struct zmq_poller_event_t:
        void *socket
        zmq_fd_t fd
        void *user_data
        short events

    void *zmq_poller_new() noexcept
    int zmq_poller_destroy(void **poller) noexcept
    int zmq_poller_size(void *poller) noexcept
    int zmq_poller_add(void *poller, void *socket, void *user_data, short events) noexcept
    int zmq_poller_modify(void *poller, void *socket, short events) noexcept
    int zmq_poller_remove(void *poller, void *socket) noexcept
    int zmq_poller_wait(void *poller, zmq_poller_event_t *event, long timeout) noexcept
    int zmq_poller_wait_all(void *poller, zmq_poller_event_t *events, int n_events, long timeout) noexcept
    int zmq_poller_fd(void *poller, zmq_fd_t *fd) noexcept
    int zmq_poller_add_fd(void *poller, zmq_fd_t fd, void *user_data, short events) noexcept
    int zmq_poller_modify_fd(void *poller, zmq_fd_t fd, short events) noexcept
    int zmq_poller_remove_fd(void *poller, zmq_fd_t fd) noexcept
    int zmq_socket_get_peer_state(void *socket, const void *routing_id, size_t routing_id_size) noexcept
    int zmq_socket_monitor_versioned(
        void *socket, const char *endpoint, uint64_t events, int event_version, int type) noexcept
    int zmq_socket_monitor_pipes_stats(void *socket) noexcept
