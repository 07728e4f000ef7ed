"""A device over HTTP: a page to look at, metrics for Prometheus, health for whoever restarts it, and pause and resume.

Starlette and uvicorn speak HTTP, in a thread with an event loop: `pip install 'zmqcy[web]'`. uvicorn has no deadlines
for requests and answers, and lets idle clients keep others out: `_Protocol` prevents both.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import logging
import re
import socket
import threading
import time
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from importlib.resources import files

try:
    import h11
    import uvicorn
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise ModuleNotFoundError(
        f"zmqcy.web needs Starlette, uvicorn and prometheus_client: pip install 'zmqcy[web]' ({error})", name=error.name
    ) from None

from zmqcy.devices import Device
from zmqcy.devices.loop import State
from zmqcy.errors import StateError, TimedOut
from zmqcy.metrics import register_device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from zmqcy.metrics import Registration

CLIENTS = 32  # at a time
READERS = 16  # of them, how many may have the stream of events: the others are for what asks and goes
TIMEOUT = 10  # seconds that a client may take to send its request, and to take a part of the answer
BODY = 4096  # bytes of a request that are read, and not looked at
PERIOD = 1  # seconds from one event of the stream to the next
PATH = 65536  # bytes
HEADERS = 100  # of a request

_log = logging.getLogger(__name__)
# uvicorn warns of each malformed request. A peer must not be able to fill the log.
_log.addFilter(lambda record: record.levelno >= logging.ERROR or _log.isEnabledFor(logging.DEBUG))


def serve(
    device: Device, address: str, *, name: str, token: str | None = None, registry: CollectorRegistry | None = None
) -> Server:
    """Serve a device over HTTP, in a thread of its own, until `close`.

    ``GET /`` is the page, ``/metrics`` what Prometheus scrapes, ``/events`` the numbers once a second as server-sent
    events. ``/health`` has the state as JSON: with 200 while the device runs or is paused, else with 503. ``POST
    /pause`` and ``/resume`` with ``Authorization: Bearer TOKEN`` steer the device. All but these anybody may read who
    reaches the address, without encryption: serve on 127.0.0.1, or where only those who may see it come. A request over
    the loopback interface must name this machine as its ``Host``, so that no page of another site can read it.

    The page shows peers and events of a device that is watched, and otherwise says that this one is not.

    Parameters
    ----------
    device : zmqcy.devices.Device
        The device, started or not.
    address : str
        Where to listen: ``127.0.0.1:9100``, ``[::1]:9100``, ``0.0.0.0:9100`` for all addresses. Port 0 is a free one.
    name : str
        What the page and the metrics call it.
    token : str, optional
        What pause and resume want to have, of printable ASCII characters; without it they are off.
    registry : prometheus_client.CollectorRegistry, optional
        What ``/metrics`` has beside the device; by default nothing.

    Returns
    -------
    Server

    Raises
    ------
    OSError
        The address is in use, or none of this machine: the text names it.
    ValueError
        `address` or `token` is not right, or the registry has a device of this name.
    TypeError
        `device` is no Device, or another argument of the wrong type.
    """
    if not isinstance(device, Device):
        raise TypeError(f"serve: a Device is required, not {device!r:.80}")
    if token is not None and not isinstance(token, str):
        raise TypeError("serve: the token must be a str")
    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ValueError("serve: the token must be of printable ASCII characters, without spaces")
    host, family, target = _resolve(address)
    registry = CollectorRegistry(auto_describe=False) if registry is None else registry
    registration = register_device(device, name, registry)
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(2 * CLIENTS)
        return Server(_App(device, name, token, registry, host), listener, registration)
    except BaseException as error:
        listener.close()
        registration.unregister()
        if isinstance(error, OSError):
            raise type(error)(error.errno, f"serve {address}: {error.strerror}") from None
        raise


def _resolve(address):
    """Return the host of an address, the family, and what `bind` takes."""
    if not isinstance(address, str):
        raise TypeError(f"serve: the address must be a str, as '127.0.0.1:9100', not {address!r:.80}")
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})", address)
    if found is None or int(found[3]) > 65535:
        raise ValueError(f"serve: the address must be HOST:PORT, as 127.0.0.1:9100, not {address!r:.80}")
    try:
        infos = socket.getaddrinfo(
            found[1] or found[2], int(found[3]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise type(error)(error.errno, f"serve {address}: {error.strerror}") from None
    return found[1] or found[2], infos[0][0], infos[0][4]


class Server:
    """What `serve` returns: a context manager that closes it.

    Attributes
    ----------
    url : str
        Where it is, the port resolved: ``http://127.0.0.1:9100/``.
    """

    def __init__(self, app: object, listener: socket.socket, registration: Registration) -> None:
        self._listener = listener
        self._registration = registration
        self._closing = threading.Lock()
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url: str = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        config = uvicorn.Config(
            app, http=_Protocol, loop="none", ws="none", lifespan="off",
            log_config=None, proxy_headers=False, server_header=False,
            backlog=2 * CLIENTS, h11_max_incomplete_event_size=2 * PATH,
            headers=[
                ("Server", "zmqcy"),
                ("Connection", "close"),
                ("Content-Security-Policy", _load_page()[1]),
                ("X-Content-Type-Options", "nosniff"),
                ("Referrer-Policy", "no-referrer"),
                ("Cache-Control", "no-store"),
            ],
        )  # fmt: skip
        config.load()  # it imports, and a fork during an import in the thread would lock the module in the child
        self._http = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._http.run, args=[[listener]], name="zmqcy web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Serve no longer, and send the clients away. The device goes on."""
        with self._closing:
            self._http.should_exit = True
            self._thread.join(TIMEOUT)
            self._listener.close()  # the thread did; in a forked process there is none
            self._registration.unregister()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self):
        return f"<Server of {self._registration.name!r} at {self.url}>"


class _Protocol(H11Protocol):
    """A connection of uvicorn, plus deadlines. One without a request so far is closed when others need its place."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.logger = self.access_logger = _log
        self.access_log = True
        self.limit_concurrency = CLIENTS + 1  # uvicorn answers this one with 503

    def connection_made(self, transport):
        super().connection_made(transport)
        waiting = [each for each in self.connections if each is not self and each.is_waiting()]
        if waiting and len(self.connections) > CLIENTS:
            oldest = min(waiting, key=lambda each: each.reading.when())
            oldest.transport.abort()
            self.connections.discard(oldest)
        self.reading = self.writing = self.loop.call_later(TIMEOUT, transport.abort)
        transport.set_write_buffer_limits(0)  # it calls `pause_writing` when the client does not take all at once

    def is_waiting(self):
        """Tell whether the request has not arrived, or not all of it."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data):
        super().data_received(data)
        if not self.is_waiting():
            self.reading.cancel()

    def eof_received(self):
        return not self.is_waiting()  # True: answer a client that has only shut down its sending side

    def pause_writing(self):
        super().pause_writing()
        self.writing = self.loop.call_later(TIMEOUT, self.transport.abort)

    def resume_writing(self):
        super().resume_writing()
        self.writing.cancel()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self.reading.cancel()
        self.writing.cancel()

    def shutdown(self):
        super().shutdown()
        self.config.app.closing.set()
        if self.is_waiting() or self.flow.write_paused:
            self.transport.abort()


class _App:
    """Answers requests. Calls of the device run in threads: one in a process may not answer for long."""

    def __init__(self, device, name, token, registry, host):
        self.device, self.name, self.token, self.registry, self.host = device, name, token, registry, host.lower()
        self.closing = asyncio.Event()
        self.readers = set()
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/metrics", self.metrics),
                Route("/health", self.health),
                Route("/events", self.events),
                Route("/pause", self.steer, methods=["POST"]),
                Route("/resume", self.steer, methods=["POST"]),
            ],
            exception_handlers={404: self.nothing},
        )
        self.app.router.redirect_slashes = False

    async def __call__(self, scope, receive, send):
        request = Request(scope, receive)
        answer = self.refusal(request)
        if answer is None:
            try:
                await request.body()  # closing a connection with unread data would discard the answer
            except ClientDisconnect:
                return
            answer = self.app
        await answer(scope, receive, send)

    def refusal(self, request):
        """Return the answer to a request that this server does not take, or None."""
        scope, headers = request.scope, request.headers
        for status, found in (
            (501, request.method not in ("GET", "HEAD", "POST")),
            (505, scope["http_version"] not in ("1.0", "1.1")),
            (414, len(scope["raw_path"]) > PATH),
            (431, len(headers) > HEADERS),
            (413, "Transfer-Encoding" in headers or int(headers.get("Content-Length", 0)) > BODY),
        ):
            if found:
                return _text(status, HTTPStatus(status).phrase)
        # DNS rebinding: a page of another site, in a browser of this machine, resolves its own name to this address.
        host, place = headers.get("Host", ""), ipaddress.ip_address(scope["server"][0].partition("%")[0])
        is_local = (getattr(place, "ipv4_mapped", None) or place).is_loopback
        if ((host and is_local) or request.method == "POST") and not _is_own(host, self.host):
            return _text(403, f"This is not {host:.80}.")
        return None

    async def nothing(self, request, error):
        return _text(404, "There are /, /metrics, /health and /events, and for POST /pause and /resume.")

    async def page(self, request):
        return HTMLResponse(_load_page()[0])

    async def metrics(self, request):
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return Response(await asyncio.to_thread(encode, self.registry), media_type=kind)

    async def health(self, request):
        said = await asyncio.to_thread(_describe, self.device, self.name)
        said = {key: said[key] for key in ("name", "state", "error")}
        return _json(said, 200 if said["state"] in (State.RUNNING.value, State.PAUSED.value) else 503)

    async def events(self, request):
        if len(self.readers) >= READERS:
            return _text(503, "There are too many who watch.")
        headers = {"Content-Type": "text/event-stream"}
        if request.method == "HEAD":
            return Response(headers=headers)
        task = asyncio.current_task()
        self.readers.add(task)
        task.add_done_callback(self.readers.discard)
        return StreamingResponse(self.stream(), headers=headers)

    async def stream(self):
        while not self.closing.is_set():
            try:
                said = await asyncio.to_thread(_describe, self.device, self.name)
            except RuntimeError:  # the interpreter exits, and starts no more threads
                return
            yield b"data: %s\n\n" % json.dumps({**said, "control": self.token is not None}).encode()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.closing.wait(), PERIOD)

    async def steer(self, request):
        problem = self.problem(request.headers)
        if problem is not None:
            return _text(403, problem)
        try:
            await asyncio.to_thread(getattr(self.device, request.scope["path"][1:]))
        except StateError as error:
            return _text(409, str(error))
        return _json({"state": (await asyncio.to_thread(self.device.statistics)).state})

    def problem(self, headers):
        """Return why a request may not pause or resume the device, or None."""
        if self.token is None:
            return "Pause and resume are off, for this server has no token."
        if headers.get("Origin") not in (None, f"http://{headers['Host']}", f"https://{headers['Host']}"):
            return "This is for its own page, not for those of others."
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return None if scheme.lower() == "bearer" and right else "The token is not right."


def _text(status, text):
    return PlainTextResponse(f"{text}\n", status)


def _json(value, status=200):
    return Response(json.dumps(value), status, media_type="application/json")


@cache
def _load_page():
    """Return the page and the policy that lets its own script and style run, and no others."""
    page = files("zmqcy").joinpath("page.html").read_text("utf-8")

    def hashes(tag):
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    policy = (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), policy


def _describe(device, name):
    """Return all that the page shows of a device, as JSON has it."""
    said = {"name": name, "time": time.time(), "pid": None, "peers": None, "events": None, "error": None}
    try:
        numbers = device.statistics()
        said["endpoints"] = device.endpoints
    except StateError:
        return {**said, "state": "not started"}
    said.update(
        state=numbers.state,
        since=numbers.since.timestamp(),
        pid=device.pid,
        waits=numbers.waits,
        front_to_back=numbers.front_to_back._asdict(),
        back_to_front=numbers.back_to_front._asdict(),
    )
    if numbers.state == State.ENDED.value:
        try:
            device.join(0)
        except TimedOut:  # its sockets are about to be closed
            pass
        except Exception as error:
            said["error"] = str(error)
    if device.watch:
        with suppress(StateError):  # it is watched from its next start on
            said["peers"] = device.peers()
            said["events"] = [
                {
                    "time": each.time.timestamp(),
                    "side": each.side,
                    "name": each.event.name,
                    "endpoint": each.event.endpoint,
                    "peer": each.event.peer,
                    "reason": each.event.reason,
                }
                for each in device.events()
            ]
    return said


def _is_own(host, given):
    """Say whether a Host header is this machine's, and not a name that somebody else's DNS has lead to it."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::[0-9]+)?", host.lower())
    if found is None:
        return False
    name = found[1] or found[2]
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in ("localhost", given, socket.gethostname().lower())
