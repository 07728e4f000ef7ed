"""A publisher, a forwarder device and subscribers who miss nothing.

    python pubsub.py                               all of them, as threads of one process
    python pubsub.py forwarder FRONTEND BACKEND    or each in a process of its own, in any order
    python pubsub.py publisher FRONTEND
    python pubsub.py subscriber BACKEND TOPIC

The topics are `cats` and `dogs`. A publisher drops what nobody has asked for, so it has to know that its subscribers
are there. An XPUB socket is told: it receives each subscription, a byte of 1 and the topic. The forwarder hands what
its own XPUB was told on to the publisher, which begins when both topics are wanted. The forwarder runs until Ctrl-C.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import zmqcy

TOPICS = [b"cats", b"dogs"]
COUNT = 5


def forward(frontend, backend):
    with suppress(zmqcy.ContextTerminated):
        zmqcy.device(zmqcy.FORWARDER, frontend, backend)


def publish(context, url):
    """Wait until each topic has a subscriber, send it some messages, and an empty one as the last."""
    with context.socket(zmqcy.XPUB) as socket:
        socket.connect(url)
        unwanted = set(TOPICS)
        while unwanted:
            message = socket.recv()
            if message[0] == 1:
                unwanted.discard(message[1:])
            elif message[1:] in TOPICS:  # the last who wanted it is gone
                unwanted.add(message[1:])
        for number in range(COUNT):
            for topic in TOPICS:
                socket.send_multipart([topic, b"%d" % number])
        for topic in TOPICS:
            socket.send_multipart([topic, b""])
    return f"published {COUNT} messages on each of {len(TOPICS)} topics"


def subscribe(context, url, topic):
    """Yield the messages of a topic until its last one."""
    with context.socket(zmqcy.SUB) as socket:
        socket.subscribe(topic)
        socket.connect(url)
        while True:
            _, body = socket.recv_multipart()
            if not body:
                return
            yield f"{topic.decode()} {body.decode()}"


def collect(*arguments):
    return list(subscribe(*arguments))


def in_one_process():
    # The context goes first, and takes the forwarder with it; then the pool has no thread to wait for.
    with ThreadPoolExecutor(len(TOPICS) + 2) as pool, zmqcy.Context() as context:
        frontend, backend = context.socket(zmqcy.XSUB), context.socket(zmqcy.XPUB)
        frontend.bind("inproc://frontend")
        backend.bind("inproc://backend")
        pool.submit(forward, frontend, backend)
        subscribers = [pool.submit(collect, context, "inproc://backend", topic) for topic in TOPICS]
        print(pool.submit(publish, context, "inproc://frontend").result())
        for subscriber in subscribers:
            print(*subscriber.result(), sep="\n")


def main(arguments):
    if not arguments:
        return in_one_process()
    with zmqcy.Context() as context:
        match arguments:
            case "forwarder", frontend_url, backend_url:
                frontend, backend = context.socket(zmqcy.XSUB), context.socket(zmqcy.XPUB)
                print("frontend", frontend.bind(frontend_url).endpoint, flush=True)
                print("backend", backend.bind(backend_url).endpoint, flush=True)
                forward(frontend, backend)
            case "publisher", url:
                print(publish(context, url))
            case "subscriber", url, topic if topic.encode() in TOPICS:
                for line in subscribe(context, url, topic.encode()):
                    print(line, flush=True)
            case _:
                sys.exit(__doc__ or "wrong arguments: see the head of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
