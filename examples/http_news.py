"""HTTP and ZeroMQ in one event loop: post news to one server, and read it from any server. Needs aiohttp.

    python http_news.py [HTTP_PORT [NEWS_ENDPOINT [OTHER_NEWS_ENDPOINT ...]]]

    curl --no-buffer http://127.0.0.1:8080/cats                        read server-sent events
    curl --data 'a cat was born' http://127.0.0.1:8080/cats            publish

A PUB socket at NEWS_ENDPOINT publishes the posted news. Each reader has its own SUB socket, which is connected to that
endpoint and to those of the other servers. A slow reader fills only its own queue, and misses the messages that do not
fit.
"""

import socket
import sys
from contextlib import suppress

from aiohttp import web

import zmqcy
from zmqcy.asyncio import Context

QUIET = 15_000  # ms without news after which a comment is written, to detect disconnected readers


class News:
    def __init__(self, endpoint, others):
        self.context = Context(linger=0)
        self.publisher = self.context.socket(zmqcy.PUB)
        self.sources = [self.publisher.bind(endpoint).endpoint, *others]

    async def post(self, request):
        await self.publisher.send_multipart([request.match_info["topic"].encode(), await request.read()])
        return web.Response(status=202, text="published\n")

    async def get(self, request):
        topic = request.match_info["topic"].encode()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        async with self.context.socket(zmqcy.SUB) as subscriber:
            subscriber.subscribe(topic)
            for source in self.sources:
                subscriber.connect(source)
            with suppress(zmqcy.ContextTerminated, ConnectionResetError):  # the server or the reader stopped
                await self.deliver(subscriber, topic, response)
        return response

    async def deliver(self, subscriber, topic, response):
        while True:
            try:
                subject, news = await subscriber.recv_multipart(timeout=QUIET)
            except zmqcy.TimedOut:
                await response.write(b": nothing new\n\n")
                continue
            if subject == topic:  # a subscription matches all topics with this prefix
                lines = b"".join(b"data: %s\n" % line for line in news.splitlines())
                await response.write(lines + b"\n")

    async def shutdown(self, app):
        self.context.shutdown()  # stops all readers

    async def cleanup(self, app):
        await self.context.aclose()


async def make_app(news):
    app = web.Application()
    app.add_routes([web.post("/{topic}", news.post), web.get("/{topic}", news.get)])
    app.on_shutdown.append(news.shutdown)
    app.on_cleanup.append(news.cleanup)
    return app


def main(port="8080", endpoint="tcp://127.0.0.1:*", *others):
    try:
        listener = socket.create_server(("127.0.0.1", int(port)))
        news = News(endpoint, others)
    except OSError as error:  # ZMQError is an OSError
        sys.exit(str(error))
    print("news", news.sources[0])
    print(f"http http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    with listener:
        web.run_app(make_app(news), sock=listener, print=None, shutdown_timeout=1)  # until Ctrl-C or SIGTERM


if __name__ == "__main__":
    main(*sys.argv[1:])
