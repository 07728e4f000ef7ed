/* A peer in plain C on libzmq. The protocol is in matrix.py. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define MOST 16    /* max words per line */
#define PARTS 4096 /* max parts of an echoed message */

static const char *const NAMES[] = {"PAIR",   "PUB",  "SUB",  "REQ",  "REP", "DEALER",
                                    "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"};
static void *context, *peer, *handler;
static pthread_t handling;
static char username[256], password[256];
static uint32_t table[256];

static uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t size) {
    crc = ~crc;
    while (size--) crc = table[(crc ^ *data++) & 255] ^ (crc >> 8);
    return ~crc;
}

static void fail(void) { printf("error %s\n", zmq_strerror(zmq_errno())); }

/* The ZAP handler. It accepts peers with this user name and password. */
static void *handle(void *unused) {
    for (;;) {
        char parts[8][256] = {{0}};
        int more = 1, count = 0;
        size_t size = sizeof more;
        while (more) {
            int got = zmq_recv(handler, parts[count & 7], 255, 0);
            if (got < 0) return unused; /* ETERM */
            parts[count++ & 7][got] = 0;
            zmq_getsockopt(handler, ZMQ_RCVMORE, &more, &size);
        }
        int good = count == 8 && !strcmp(parts[6], username) && !strcmp(parts[7], password);
        const char *answer[] = {"1.0", parts[1], good ? "200" : "400", "", "user", ""};
        for (int i = 0; i < 6; i++) zmq_send(handler, answer[i], strlen(answer[i]), i < 5 ? ZMQ_SNDMORE : 0);
    }
}

static int secure(char **words) {
    int one = 1;
    if (!strcmp(words[0], "null")) return 0;
    if (!strcmp(words[0], "curve-server"))
        return zmq_setsockopt(peer, ZMQ_CURVE_SERVER, &one, sizeof one) ||
               zmq_setsockopt(peer, ZMQ_CURVE_SECRETKEY, words[1], 41);
    if (!strcmp(words[0], "curve-client"))
        return zmq_setsockopt(peer, ZMQ_CURVE_SERVERKEY, words[1], 41) ||
               zmq_setsockopt(peer, ZMQ_CURVE_PUBLICKEY, words[2], 41) ||
               zmq_setsockopt(peer, ZMQ_CURVE_SECRETKEY, words[3], 41);
    if (!strcmp(words[0], "plain-server")) {
        strcpy(username, words[1]);
        strcpy(password, words[2]);
        if (!handler) {
            handler = zmq_socket(context, ZMQ_REP);
            if (zmq_bind(handler, "inproc://zeromq.zap.01") || pthread_create(&handling, NULL, handle, NULL)) return -1;
        }
        return zmq_setsockopt(peer, ZMQ_PLAIN_SERVER, &one, sizeof one);
    }
    return zmq_setsockopt(peer, ZMQ_PLAIN_USERNAME, words[1], strlen(words[1])) ||
           zmq_setsockopt(peer, ZMQ_PLAIN_PASSWORD, words[2], strlen(words[2]));
}

static void open_socket(char **words) {
    int zero = 0, time = 5000, kind = 0;
    char endpoint[1024];
    size_t size = sizeof endpoint;
    while (strcmp(words[1], NAMES[kind])) kind++;
    peer = zmq_socket(context, kind);
    zmq_setsockopt(peer, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(peer, ZMQ_SNDTIMEO, &time, sizeof time);
    int binds = !strcmp(words[2], "bind");
    if (secure(words + 4) || (binds ? zmq_bind : zmq_connect)(peer, words[3])) {
        fail();
        return;
    }
    zmq_getsockopt(peer, ZMQ_LAST_ENDPOINT, endpoint, &size);
    printf("ok %s\n", binds ? endpoint : words[3]);
}

static int send_part(const char *spec, int more) {
    if (*spec == '=') return zmq_send(peer, spec + 1, strlen(spec + 1), more) < 0;
    size_t size = strtoul(spec, NULL, 10);
    zmq_msg_t message;
    zmq_msg_init_size(&message, size);
    unsigned char *data = zmq_msg_data(&message);
    for (size_t i = 0; i < size; i++) data[i] = i % 251;
    return zmq_msg_send(&message, peer, more) < 0;
}

static void send_messages(char *specs) {
    char *outer, *inner;
    for (char *spec = strtok_r(specs, "/", &outer); spec; spec = strtok_r(NULL, "/", &outer)) {
        char *next;
        for (char *part = strtok_r(spec, ",", &inner); part; part = next) {
            next = strtok_r(NULL, ",", &inner);
            char *times = *part == '=' ? NULL : strchr(part, 'x');
            for (long left = times ? atol(times + 1) : 1; left; left--)
                if (send_part(part, left > 1 || next ? ZMQ_SNDMORE : 0)) {
                    fail();
                    return;
                }
        }
    }
    puts("ok");
}

/* Echo messages. A REP must receive all parts of a message before it sends. */
static void echo(int count, int milliseconds) {
    static zmq_msg_t parts[PARTS];
    zmq_setsockopt(peer, ZMQ_RCVTIMEO, &milliseconds, sizeof milliseconds);
    while (count--) {
        int length = 0, more = 1;
        while (more) {
            zmq_msg_init(&parts[length]);
            if (length == PARTS - 1 || zmq_msg_recv(&parts[length], peer, 0) < 0) {
                fail();
                return;
            }
            more = zmq_msg_more(&parts[length++]);
        }
        for (int i = 0; i < length; i++)
            if (zmq_msg_send(&parts[i], peer, i < length - 1 ? ZMQ_SNDMORE : 0) < 0) {
                fail();
                return;
            }
    }
    puts("ok");
}

static void receive(int count, int milliseconds) {
    long number = 0, total = 0;
    size_t size = 0;
    uint32_t crc = 0;
    zmq_setsockopt(peer, ZMQ_RCVTIMEO, &milliseconds, sizeof milliseconds);
    while (number < count) {
        zmq_msg_t message;
        zmq_msg_init(&message);
        if (zmq_msg_recv(&message, peer, 0) < 0) {
            if (zmq_errno() == EAGAIN) break;
            fail();
            return;
        }
        int more = zmq_msg_more(&message);
        char mark[32];
        sprintf(mark, "%zu%c", zmq_msg_size(&message), more ? '+' : '.');
        crc = crc32_of(crc32_of(crc, (unsigned char *)mark, strlen(mark)), zmq_msg_data(&message),
                       zmq_msg_size(&message));
        size += zmq_msg_size(&message);
        total++;
        number += !more;
        zmq_msg_close(&message);
    }
    printf("got %ld %ld %zu %u\n", number, total, size, crc);
}

static void subscribe(const char *topic) {
    int type;
    size_t size = sizeof type;
    char message[256] = "\x01";
    zmq_getsockopt(peer, ZMQ_TYPE, &type, &size);
    int failed = type == ZMQ_XSUB ? zmq_send(peer, strcat(message, topic), 1 + strlen(topic), 0) < 0
                                  : zmq_setsockopt(peer, ZMQ_SUBSCRIBE, topic, strlen(topic));
    if (failed) fail();
    else puts("ok");
}

int main(void) {
    static char line[65536];
    int major, minor, patch;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
    zmq_version(&major, &minor, &patch);
    printf("hello C libzmq-%d.%d.%d knows tcp plain plain-server", major, minor, patch);
    for (const char *const *each = (const char *const[]){"ipc", "curve", NULL}; *each; each++)
        if (zmq_has(*each)) printf(" %s", *each);
    puts(zmq_has("WS") ? " ws" : ""); /* libzmq lists WS in capitals only */
    fflush(stdout);
    context = zmq_ctx_new();
    while (fgets(line, sizeof line, stdin)) {
        char *words[MOST] = {0}, *rest;
        int count = 0;
        for (char *word = strtok_r(line, " \n", &rest); word && count < MOST - 1; word = strtok_r(NULL, " \n", &rest))
            words[count++] = word;
        if (!strcmp(words[0], "open")) open_socket(words);
        else if (!strcmp(words[0], "subscribe")) subscribe(words[1]);
        else if (!strcmp(words[0], "send")) send_messages(words[1]);
        else if (!strcmp(words[0], "close")) puts(zmq_close(peer) ? "error close" : "ok");
        else (strcmp(words[0], "echo") ? receive : echo)(atoi(words[1]), atoi(words[2]));
        fflush(stdout);
    }
    zmq_ctx_shutdown(context);
    if (handler) {
        pthread_join(handling, NULL);
        zmq_close(handler);
    }
    zmq_ctx_term(context);
    return 0;
}
