/* A peer on czmq. The protocol is in matrix.py. */
#include <czmq.h>

static const char *const NAMES[] = {"PAIR",   "PUB",  "SUB",  "REQ",  "REP", "DEALER",
                                    "ROUTER", "PULL", "PUSH", "XPUB", "XSUB"};
static zsock_t *peer;
static zactor_t *auth;
static uint32_t table[256];

static uint32_t crc32_of(uint32_t crc, const byte *data, size_t size) {
    crc = ~crc;
    while (size--) crc = table[(crc ^ *data++) & 255] ^ (crc >> 8);
    return ~crc;
}

static void fail(const char *call) { printf("error %s: %s\n", call, zmq_strerror(zmq_errno())); }

static void secure(char **words) {
    if (streq(words[0], "curve-server")) {
        zsock_set_curve_server(peer, 1);
        zsock_set_curve_secretkey(peer, words[1]);
    } else if (streq(words[0], "curve-client")) {
        zsock_set_curve_serverkey(peer, words[1]);
        zsock_set_curve_publickey(peer, words[2]);
        zsock_set_curve_secretkey(peer, words[3]);
    } else if (streq(words[0], "plain-server")) {
        char path[] = "/tmp/czmq-peer-XXXXXX";
        int file = mkstemp(path);
        dprintf(file, "%s=%s\n", words[1], words[2]);
        close(file);
        auth = zactor_new(zauth, NULL);
        zstr_sendx(auth, "PLAIN", path, NULL);
        zsock_wait(auth);
        unlink(path);
        zsock_set_plain_server(peer, 1);
    } else if (streq(words[0], "plain-client")) {
        zsock_set_plain_username(peer, words[1]);
        zsock_set_plain_password(peer, words[2]);
    }
}

static void open_socket(char **words) {
    int kind = 0, binds = streq(words[2], "bind");
    while (strneq(words[1], NAMES[kind])) kind++;
    peer = zsock_new(kind);
    zsock_set_linger(peer, 0);
    zsock_set_sndtimeo(peer, 5000);
    secure(words + 4);
    if ((binds ? zsock_bind(peer, "%s", words[3]) : zsock_connect(peer, "%s", words[3])) < 0) fail(words[2]);
    else {
        char *endpoint = binds ? zsock_last_endpoint(peer) : strdup(words[3]);
        printf("ok %s\n", endpoint);
        free(endpoint);
    }
}

static zmsg_t *message(char *spec) {
    zmsg_t *made = zmsg_new();
    char *rest;
    for (char *part = strtok_r(spec, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        if (*part == '=') {
            zmsg_addstr(made, part + 1);
            continue;
        }
        char *times = strchr(part, 'x');
        size_t size = strtoul(part, NULL, 10);
        byte *data = malloc(size + 1);
        for (size_t i = 0; i < size; i++) data[i] = i % 251;
        for (long left = times ? atol(times + 1) : 1; left; left--) zmsg_addmem(made, data, size);
        free(data);
    }
    return made;
}

static void send_messages(char *specs) {
    char *rest;
    for (char *spec = strtok_r(specs, "/", &rest); spec; spec = strtok_r(NULL, "/", &rest)) {
        zmsg_t *next = message(spec);
        if (zmsg_send(&next, peer)) {
            fail("zmsg_send");
            zmsg_destroy(&next);
            return;
        }
    }
    puts("ok");
}

static void receive(int count, int milliseconds) {
    size_t number = 0, total = 0, size = 0;
    uint32_t crc = 0;
    zsock_set_rcvtimeo(peer, milliseconds);
    for (zmsg_t *next; number < (size_t)count && (next = zmsg_recv(peer)); number++) {
        size_t left = zmsg_size(next);
        total += left;
        for (zframe_t *part = zmsg_first(next); part; part = zmsg_next(next)) {
            char mark[32];
            sprintf(mark, "%zu%c", zframe_size(part), --left ? '+' : '.');
            crc = crc32_of(crc32_of(crc, (byte *)mark, strlen(mark)), zframe_data(part), zframe_size(part));
            size += zframe_size(part);
        }
        zmsg_destroy(&next);
    }
    printf("got %zu %zu %zu %u\n", number, total, size, crc);
}

static void echo(int count, int milliseconds) {
    zsock_set_rcvtimeo(peer, milliseconds);
    while (count--) {
        zmsg_t *next = zmsg_recv(peer);
        if (!next || zmsg_send(&next, peer)) {
            fail("echo");
            return;
        }
    }
    puts("ok");
}

static void subscribe(const char *topic) {
    if (zsock_type(peer) == ZMQ_XSUB) {
        char text[256] = "\x01";
        zstr_send(peer, strcat(text, topic));
    } else zsock_set_subscribe(peer, topic);
    puts("ok");
}

int main(void) {
    static char line[65536];
    int major, minor, patch;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
    zmq_version(&major, &minor, &patch);
    printf("hello czmq %d.%d.%d (libzmq-%d.%d.%d) knows tcp ipc plain plain-server", CZMQ_VERSION_MAJOR,
           CZMQ_VERSION_MINOR, CZMQ_VERSION_PATCH, major, minor, patch);
    printf("%s%s\n", zmq_has("curve") ? " curve" : "", zmq_has("WS") ? " ws" : ""); /* libzmq: in capitals only */
    fflush(stdout);
    zsys_handler_set(NULL);
    zsys_init();
    while (fgets(line, sizeof line, stdin)) {
        char *words[16] = {0}, *rest;
        int count = 0;
        for (char *word = strtok_r(line, " \n", &rest); word && count < 15; word = strtok_r(NULL, " \n", &rest))
            words[count++] = word;
        if (streq(words[0], "open")) open_socket(words);
        else if (streq(words[0], "subscribe")) subscribe(words[1]);
        else if (streq(words[0], "send")) send_messages(words[1]);
        else if (streq(words[0], "recv")) receive(atoi(words[1]), atoi(words[2]));
        else if (streq(words[0], "echo")) echo(atoi(words[1]), atoi(words[2]));
        else {
            zsock_destroy(&peer);
            zactor_destroy(&auth);
            puts("ok");
        }
        fflush(stdout);
    }
    return 0;
}
