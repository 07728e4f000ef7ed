/* Make libzmq 4.3 abort: close both ends of a connection while multipart messages are in transit.
 *
 *   cc -O1 close_together.c -lzmq -o close_together && ./close_together [ROUNDS]
 *
 * It prints the number of rounds, or aborts with a message of libzmq that names session_base.cpp.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

static void *make(void *context, int type) {
    void *socket = zmq_socket(context, type);
    int none = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    return socket;
}

int main(int argc, char **argv) {
    static char part[30000];
    char endpoint[64];
    int rounds = argc > 1 ? atoi(argv[1]) : 1000, round, i;
    for (round = 0; round < rounds; round++) {
        void *context = zmq_ctx_new();
        void *pull = make(context, ZMQ_PULL), *push = make(context, ZMQ_PUSH);
        size_t size = sizeof endpoint;
        if (zmq_bind(pull, "tcp://127.0.0.1:*") < 0) return 1;
        zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, endpoint, &size);
        zmq_connect(push, endpoint);
        zmq_send(push, part, sizeof part, 0);
        zmq_recv(pull, part, sizeof part, 0);
        for (i = 0; i < 200; i++) {
            if (zmq_send(push, part, sizeof part, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) break;
            zmq_send(push, part, sizeof part, 0);
        }
        zmq_close(pull);
        zmq_close(push);
        zmq_ctx_term(context);
    }
    printf("%d rounds\n", round);
    return 0;
}
