"""A publisher, a forwarder device, and subscribers that miss no message.

    python pubsub.py                               run all as threads of one process
    python pubsub.py forwarder FRONTEND BACKEND    or run each as its own process, in any order
    python pubsub.py publisher FRONTEND
    python pubsub.py subscriber BACKEND TOPIC

The topics are `cats` and `dogs`. A publisher drops messages without a subscriber, so it has to know when its
subscribers are connected. An XPUB socket receives each subscription, as a byte 1 and the topic. The forwarder passes
subscriptions to the publisher, which begins when both topics have a subscriber. The forwarder runs until Ctrl-C.
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
    """Wait until each topic has a subscriber; send some messages per topic, then an empty one."""
    with context.socket(zmqcy.XPUB) as socket:
        socket.connect(url)
        unwanted = set(TOPICS)
        while unwanted:
            message = socket.recv()
            if message[0] == 1:
                unwanted.discard(message[1:])
            elif message[1:] in TOPICS:  # the last subscriber has disconnected
                unwanted.add(message[1:])
        for number in range(COUNT):
            for topic in TOPICS:
                socket.send_multipart([topic, b"%d" % number])
        for topic in TOPICS:
            socket.send_multipart([topic, b""])
    return f"published {COUNT} messages on each of {len(TOPICS)} topics"


def subscribe(context, url, topic):
    """Yield the messages of a topic until an empty one arrives."""
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
    # The context exits first, which stops the forwarder. Then the pool has no threads to wait for.
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
                sys.exit(__doc__ or "wrong arguments: see the top of this file")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
