/* The works of the benchmarks in C, on the libzmq that zmqcy has loaded: the column "C" of the tables.
 *
 *   baseline WORK WHERE [KEY=VALUE ...]
 *
 * WHERE is @URL to bind and print the endpoint, >URL to connect, or - to connect to the endpoint read from stdin.
 * A process exits when its stdin is closed. It prints "start" when the measurement begins, then its results as
 * KEY=VALUE words. KEY is:
 *
 *   mode             single, multipart or views
 *   size             bytes per message
 *   queue            messages per queue; by default 1,000, or 64 MB of large messages
 *   peers            sockets
 *   seconds, count   end of the measured part
 *   back             the second WHERE of a device
 *   capture          the WHERE of a PUSH that gets a copy of each message
 *
 * WORK is:
 *
 *   push, pull              send until the process exits (`peers` sockets); receive, and print the rate
 *   pub, sub                the same; one socket binds and `peers` connect
 *   req, rep                round trips: rate, and p50 and p99 in microseconds
 *   number, check           send `count` numbers, then END; count the missing ones
 *   streamer, queue         zmq_proxy until the process exits
 *   idle                    wait for a message that does not arrive, after a few that did
 *   poll, wake              zmq_poll over `peers` sockets, one of them ready: always the same; another each time
 *   pair, parts, empty, get, set    calls in one thread
 *   threads RECEIVER SENDER [KEY=VALUE ...]    two works over inproc, in two threads of a context
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define CHECK(call)                  \
    do {                             \
        if ((call) < 0) fail(#call); \
    } while (0)
#define END (-1L)

static void *context;
static const char *mode = "single", *back = "", *capture = "";
static long size = 8, queue, peers = 1, count;
static double seconds = 0.3;
static char *data, *buffer;
/* Endpoints are printed and read here: stdout and stdin, or a pipe between two threads. */
static FILE *told, *asked;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *end_with_stdin(void *unused) {
    char rest[64];
    (void)unused;
    while (read(0, rest, sizeof rest) > 0);
    _exit(0);
}

/* ---- sockets */

static void *make(int type) {
    int backlog = 4096, most = (64 << 20) / size;
    void *socket = zmq_socket(context, type);
    if (!socket) fail("zmq_socket");
    CHECK(zmq_setsockopt(socket, ZMQ_BACKLOG, &backlog, sizeof backlog));
    most = queue ? queue : most < 4 ? 4 : most > 1000 ? 1000 : most;
    CHECK(zmq_setsockopt(socket, ZMQ_SNDHWM, &most, sizeof most));
    CHECK(zmq_setsockopt(socket, ZMQ_RCVHWM, &most, sizeof most));
    return socket;
}

static void *attach(void *socket, const char *where) {
    char endpoint[256];
    size_t length = sizeof endpoint;
    if (*where == '>') {
        CHECK(zmq_connect(socket, where + 1));
        return socket;
    }
    CHECK(zmq_bind(socket, where + 1));
    CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &length));
    fprintf(told, "%s\n", endpoint);
    fflush(told);
    return socket;
}

static const char *resolved(const char *where) {
    static char endpoint[256];
    if (strcmp(where, "-")) return where;
    endpoint[0] = '>';
    if (!fgets(endpoint + 1, sizeof endpoint - 1, asked)) exit(1);
    endpoint[strcspn(endpoint, "\n")] = 0;
    return endpoint;
}

static void pair_sockets(long number, void **a, void **b) {
    char url[64];
    snprintf(url, sizeof url, "inproc://pair-%ld", number);
    *a = make(ZMQ_PAIR);
    CHECK(zmq_bind(*a, url));
    *b = make(ZMQ_PAIR);
    CHECK(zmq_connect(*b, url));
}

/* ---- one message of each mode */

static void send_single(void *socket) { CHECK(zmq_send(socket, data, size, 0)); }

static void receive_single(void *socket) {
    int got = zmq_recv(socket, buffer, size, 0);
    if (got != size) fail("a message of another size");
}

static void send_multipart(void *socket) {
    CHECK(zmq_send(socket, data, size, ZMQ_SNDMORE));
    CHECK(zmq_send(socket, data, size, ZMQ_SNDMORE));
    CHECK(zmq_send(socket, data, size, 0));
}

static void receive_multipart(void *socket) {
    for (int part = 0; part < 3; part++) receive_single(socket);
}

static void keep(void *data_, void *hint) {
    (void)data_;
    (void)hint;
}

static void send_view(void *socket) {
    zmq_msg_t msg;
    CHECK(zmq_msg_init_data(&msg, data, size, keep, NULL));
    CHECK(zmq_msg_send(&msg, socket, 0));
}

static void receive_view(void *socket) {
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    CHECK(zmq_msg_recv(&msg, socket, 0));
    if ((long)zmq_msg_size(&msg) != size) fail("a message of another size");
    zmq_msg_close(&msg);
}

typedef void step(void *);

static step *sending(void) {
    return !strcmp(mode, "multipart") ? send_multipart : !strcmp(mode, "views") ? send_view : send_single;
}

static step *receiving(void) {
    return !strcmp(mode, "multipart") ? receive_multipart : !strcmp(mode, "views") ? receive_view : receive_single;
}

/* ---- the measured part: call for `seconds` or `count` messages; read the clock about every 5 ms */

static double repeat(step *once, void *what, double limit, long most, long *calls) {
    double start = now(), last = start, time;
    long chunk = 1, i;
    for (*calls = 0;;) {
        if (most && chunk > most - *calls) chunk = most - *calls;
        for (i = 0; i < chunk; i++) once(what);
        *calls += chunk;
        time = now();
        if (time - start >= limit || *calls == most) return time - start;
        if (time - last < 0.005) chunk *= 2;
        last = time;
    }
}

static void measure(step *once, void *what, long messages) {
    long calls;
    double time;
    repeat(once, what, seconds / 10, count && count < 10 ? 1 : count / 10, &calls);
    puts("start");
    fflush(stdout);
    time = repeat(once, what, seconds, count, &calls);
    printf("rate=%.3f count=%ld\n", calls * messages / time, calls * messages);
    fflush(stdout);
}

/* ---- works between two ends */

static void push(const char *where) {
    void **sockets = calloc(peers, sizeof *sockets);
    step *send = sending();
    long i;
    for (i = 0; i < peers; i++) sockets[i] = attach(make(ZMQ_PUSH), where);
    for (;;)
        for (i = 0; i < peers; i++) {
            if (peers > 1) memcpy(data, &i, sizeof i);
            send(sockets[i]);
        }
}

static void pull(const char *where) {
    void *socket = attach(make(ZMQ_PULL), where);
    char *seen = calloc(peers, 1);
    long from = 0, missing = peers;
    while (missing) { /* until every peer is connected: each sends its own number */
        receiving()(socket);
        if (peers > 1) memcpy(&from, buffer, sizeof from);
        if (!seen[from]) {
            seen[from] = 1;
            missing--;
        }
    }
    measure(receiving(), socket, 1);
}

static void pub(const char *where) {
    void *socket = make(ZMQ_PUB);
    int on = 1;
    CHECK(zmq_setsockopt(socket, ZMQ_XPUB_NODROP, &on, sizeof on));
    attach(socket, where);
    for (;;) send_single(socket);
}

static void receive_each(void *sockets) {
    for (long i = 0; i < peers; i++) receive_single(((void **)sockets)[i]);
}

static void sub(const char *where) {
    void **sockets = calloc(peers, sizeof *sockets);
    for (long i = 0; i < peers; i++) {
        sockets[i] = make(ZMQ_SUB);
        CHECK(zmq_setsockopt(sockets[i], ZMQ_SUBSCRIBE, "", 0));
        attach(sockets[i], where);
    }
    receive_each(sockets);
    measure(receive_each, sockets, peers);
}

static int ascending(const void *a, const void *b) {
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void req(const char *where) {
    void *socket = attach(make(ZMQ_REQ), where);
    long trips = 0, room = 1 << 16;
    double *times = malloc(room * sizeof *times), start, last, time;
    for (int i = 0; i < 10; i++) {
        send_single(socket);
        receive_single(socket);
    }
    puts("start");
    fflush(stdout);
    start = last = now();
    do {
        send_single(socket);
        receive_single(socket);
        time = now();
        if (trips == room) times = realloc(times, (room *= 2) * sizeof *times);
        times[trips++] = time - last;
        last = time;
    } while (time - start < seconds && trips != count);
    qsort(times, trips, sizeof *times, ascending);
    printf("rate=%.3f count=%ld p50=%.4f p99=%.4f\n", trips / (time - start), trips, times[trips / 2] * 1e6,
           times[trips * 99 / 100] * 1e6);
    fflush(stdout);
}

static void rep(const char *where) {
    void *socket = attach(make(ZMQ_REP), where);
    for (;;) {
        receive_single(socket);
        send_single(socket);
    }
}

static void number(const char *where) {
    void *socket = attach(make(ZMQ_PUSH), where);
    for (long i = 0;; i = i < 0 || i + 1 == count ? END : i + 1) CHECK(zmq_send(socket, &i, sizeof i, 0));
}

static void check(const char *where) {
    void *socket = attach(make(ZMQ_PULL), where);
    long wanted = 0, got;
    for (;; wanted++) {
        CHECK(zmq_recv(socket, &got, sizeof got, 0));
        if (got != wanted) break;
    }
    printf("missing=%ld\n", got == END ? count - wanted : count); /* out of order or repeated: all count as missing */
    fflush(stdout);
}

/* ---- works of one process */

static void proxy(const char *where, int front_type, int back_type) {
    void *front = attach(make(front_type), where), *behind = attach(make(back_type), back);
    CHECK(zmq_proxy(front, behind, *capture ? attach(make(ZMQ_PUSH), capture) : NULL));
}

static void send_and_receive(void *pair) {
    sending()(((void **)pair)[0]);
    receiving()(((void **)pair)[1]);
}

static void receive_nothing(void *socket) {
    if (zmq_recv(socket, buffer, size, ZMQ_DONTWAIT) >= 0) fail("a message");
}

static void get_option(void *socket) {
    int value;
    size_t length = sizeof value;
    CHECK(zmq_getsockopt(socket, ZMQ_RCVHWM, &value, &length));
}

static void set_option(void *socket) {
    int value = 10;
    CHECK(zmq_setsockopt(socket, ZMQ_RCVHWM, &value, sizeof value));
}

static zmq_pollitem_t *items;
static void **others;

static void poll_once(void *unused) {
    (void)unused;
    if (zmq_poll(items, peers, 1000) != 1) fail("zmq_poll");
}

static void wake_once(void *unused) {
    static long turn;
    turn = (turn + 7919) % peers; /* a prime: reaches every socket, far from the last one */
    send_single(others[turn]);
    poll_once(unused);
    receive_single(items[turn].socket);
}

static void poll_work(int wakes) {
    items = calloc(peers, sizeof *items);
    others = calloc(peers, sizeof *others);
    for (long i = 0; i < peers; i++) {
        pair_sockets(i, &items[i].socket, &others[i]);
        items[i].events = ZMQ_POLLIN;
    }
    if (!wakes) send_single(others[peers / 2]);
    measure(wakes ? wake_once : poll_once, NULL, 1);
}

static void idle(void) {
    void *pair[2];
    pair_sockets(0, &pair[0], &pair[1]);
    for (int i = 0; i < 100; i++) send_and_receive(pair);
    puts("start");
    fflush(stdout);
    receive_single(pair[1]);
}

/* ---- main */

static int run(const char *work, const char *where) {
    void *pair[2];
    if (!strcmp(work, "push")) push(where);
    else if (!strcmp(work, "pull")) pull(where);
    else if (!strcmp(work, "pub")) pub(where);
    else if (!strcmp(work, "sub")) sub(where);
    else if (!strcmp(work, "req")) req(where);
    else if (!strcmp(work, "rep")) rep(where);
    else if (!strcmp(work, "number")) number(where);
    else if (!strcmp(work, "check")) check(where);
    else if (!strcmp(work, "streamer")) proxy(where, ZMQ_PULL, ZMQ_PUSH);
    else if (!strcmp(work, "queue")) proxy(where, ZMQ_ROUTER, ZMQ_DEALER);
    else if (!strcmp(work, "poll")) poll_work(0);
    else if (!strcmp(work, "wake")) poll_work(1);
    else if (!strcmp(work, "idle")) idle();
    else {
        pair_sockets(0, &pair[0], &pair[1]);
        if (!strcmp(work, "pair")) measure(send_and_receive, pair, 1);
        else if (!strcmp(work, "parts")) {
            mode = "multipart";
            measure(send_and_receive, pair, 1);
        } else if (!strcmp(work, "empty")) measure(receive_nothing, pair[0], 1);
        else if (!strcmp(work, "get")) measure(get_option, pair[0], 1);
        else if (!strcmp(work, "set")) measure(set_option, pair[0], 1);
        else return 2;
    }
    return 0;
}

static void *second(void *work) {
    run(work, resolved("-"));
    return NULL;
}

int main(int argc, char **argv) {
    struct rlimit files;
    pthread_t watcher, thread;
    const char *work = argc > 1 ? argv[1] : "", *where = argc > 2 ? argv[2] : "", *sender = NULL;
    char *value;
    int i = 3, ends[2];
    if (!strcmp(work, "threads") && argc > 3) {
        work = argv[2];
        sender = argv[3];
        where = "@inproc://bench";
        i = 4;
    }
    for (; i < argc && (value = strchr(argv[i], '=')); i++) {
        *value++ = 0;
        if (!strcmp(argv[i], "mode")) mode = value;
        if (!strcmp(argv[i], "size")) size = atol(value);
        if (!strcmp(argv[i], "queue")) queue = atol(value);
        if (!strcmp(argv[i], "peers")) peers = atol(value);
        if (!strcmp(argv[i], "seconds")) seconds = atof(value);
        if (!strcmp(argv[i], "count")) count = atol(value);
        if (!strcmp(argv[i], "back")) back = value;
        if (!strcmp(argv[i], "capture")) capture = value;
    }
    data = calloc(1, size + sizeof(long));
    memset(data, 'x', size);
    buffer = calloc(1, size + sizeof(long));
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 2 * peers + 64);
    told = stdout;
    asked = stdin;
    where = resolved(where);
    pthread_create(&watcher, NULL, end_with_stdin, NULL);
    if (sender) {
        if (pipe(ends)) return 1;
        told = fdopen(ends[1], "w");
        asked = fdopen(ends[0], "r");
        pthread_create(&thread, NULL, second, (void *)sender);
    }
    i = run(work, where);
    if (i) fprintf(stderr, "see the head of baseline.c\n");
    if (!i) pthread_join(watcher, NULL); /* until the parent has read CPU time and memory of this process */
    _exit(i);
}
