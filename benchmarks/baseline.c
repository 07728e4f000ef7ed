/* The work of the benchmarks in C, against the libzmq that zmqcy was built with: what the ratios beside "C" mean.
 *
 *   baseline push URL SIZE COUNT    connect, send
 *   baseline pull URL SIZE COUNT    bind, print the endpoint, receive, print messages a second
 *   baseline pull-connected URL SIZE COUNT    the same, but connect
 *   baseline req URL SIZE COUNT     connect, round trips, print them a second
 *   baseline rep URL SIZE COUNT     bind, print the endpoint, echo
 *   baseline streamer FRONT BACK    bind both, print the endpoints, run zmq_proxy until killed
 *   baseline pair SIZE COUNT        inproc, send then receive in one thread, print pairs a second
 *   baseline multipart SIZE COUNT   the same with messages of three parts
 *   baseline poll SOCKETS COUNT     zmq_poll, one of them readable, print polls a second
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#define CHECK(call) do { if ((call) < 0) { fprintf(stderr, "%s: %s\n", #call, zmq_strerror(zmq_errno())); exit(1); } } while (0)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void *open_socket(void *context, int type, const char *url, int bind) {
    char endpoint[256];
    size_t size = sizeof endpoint;
    void *socket = zmq_socket(context, type);
    if (!bind) {
        CHECK(zmq_connect(socket, url));
        return socket;
    }
    CHECK(zmq_bind(socket, url));
    CHECK(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size));
    puts(endpoint);
    fflush(stdout);
    return socket;
}

static size_t receive(void *socket, int *more) {
    zmq_msg_t msg;
    size_t size;
    zmq_msg_init(&msg);
    CHECK(zmq_msg_recv(&msg, socket, 0));
    size = zmq_msg_size(&msg);
    *more = zmq_msg_more(&msg);
    zmq_msg_close(&msg);
    return size;
}

static void expect(void *socket, size_t size) {
    int more;
    size_t got = receive(socket, &more);
    if (got != size) { fprintf(stderr, "%zu bytes where %zu were sent\n", got, size); exit(1); }
}

int main(int argc, char **argv) {
    const char *work = argc > 1 ? argv[1] : "";
    void *context = zmq_ctx_new(), *a, *b;
    double start;
    long i, size, count;
    char *data;
    if (!strcmp(work, "streamer") && argc == 4) {
        a = open_socket(context, ZMQ_PULL, argv[2], 1);
        b = open_socket(context, ZMQ_PUSH, argv[3], 1);
        zmq_proxy(a, b, NULL);
        return 0;
    }
    if (argc < 4) { fprintf(stderr, "see the head of baseline.c\n"); return 2; }
    size = atol(argv[argc - 2]);
    count = atol(argv[argc - 1]);
    data = calloc(1, size + 1);
    if (!strcmp(work, "push")) {
        a = open_socket(context, ZMQ_PUSH, argv[2], 0);
        for (i = 0; i <= count; i++) CHECK(zmq_send(a, data, size, 0));
        while (getchar() != EOF) ;  /* the receiver has it all when the parent closes stdin */
    } else if (!strncmp(work, "pull", 4)) {
        a = open_socket(context, ZMQ_PULL, argv[2], !strcmp(work, "pull"));
        if (strcmp(work, "pull")) { puts(argv[2]); fflush(stdout); }
        expect(a, size);
        start = now();
        for (i = 0; i < count; i++) expect(a, size);
        printf("%.1f\n", count / (now() - start));
    } else if (!strcmp(work, "req")) {
        a = open_socket(context, ZMQ_REQ, argv[2], 0);
        for (i = 0; i < 10; i++) { CHECK(zmq_send(a, data, size, 0)); expect(a, size); }
        start = now();
        for (i = 0; i < count; i++) { CHECK(zmq_send(a, data, size, 0)); expect(a, size); }
        printf("%.1f\n", count / (now() - start));
    } else if (!strcmp(work, "rep")) {
        a = open_socket(context, ZMQ_REP, argv[2], 1);
        for (i = 0; i < count + 10; i++) { expect(a, size); CHECK(zmq_send(a, data, size, 0)); }
    } else if (!strcmp(work, "pair") || !strcmp(work, "multipart")) {
        int parts = strcmp(work, "pair") ? 3 : 1, part, more;
        a = zmq_socket(context, ZMQ_PAIR);
        b = zmq_socket(context, ZMQ_PAIR);
        CHECK(zmq_bind(a, "inproc://pair"));
        CHECK(zmq_connect(b, "inproc://pair"));
        start = now();
        for (i = 0; i < count; i++) {
            for (part = 1; part <= parts; part++) CHECK(zmq_send(a, data, size, part < parts ? ZMQ_SNDMORE : 0));
            do receive(b, &more); while (more);
        }
        printf("%.1f\n", count / (now() - start));
        zmq_close(b);
    } else if (!strcmp(work, "poll")) {
        zmq_pollitem_t *items = calloc(size, sizeof *items);
        void **peers = calloc(size, sizeof *peers);
        char url[64];
        CHECK(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 2 * size + 16));
        for (i = 0; i < size; i++) {
            snprintf(url, sizeof url, "inproc://poll-%ld", i);
            items[i].socket = zmq_socket(context, ZMQ_PAIR);
            items[i].events = ZMQ_POLLIN;
            CHECK(zmq_bind(items[i].socket, url));
            peers[i] = zmq_socket(context, ZMQ_PAIR);
            CHECK(zmq_connect(peers[i], url));
        }
        CHECK(zmq_send(peers[size / 2], "x", 1, 0));
        start = now();
        for (i = 0; i < count; i++)
            if (zmq_poll(items, size, 1000) != 1) { fprintf(stderr, "poll\n"); return 1; }
        printf("%.1f\n", count / (now() - start));
        return 0;
    } else {
        fprintf(stderr, "see the head of baseline.c\n");
        return 2;
    }
    zmq_close(a);
    zmq_ctx_term(context);
    return 0;
}
