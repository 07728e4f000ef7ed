"""Serve a device over HTTP: a web page, metrics for Prometheus, health checks, and calls that pause and resume it.

Starlette and uvicorn run in a thread with an event loop: `pip install 'zmqcy[web]'`. uvicorn has no timeouts for
requests and responses, and idle clients can use up its connections: `_Protocol` adds both limits.
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
from collections import deque
from contextlib import asynccontextmanager, suppress
from functools import cache
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, metadata
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
        f"zmqcy.web requires Starlette, uvicorn and prometheus_client: pip install 'zmqcy[web]' ({error})",
        name=error.name,
    ) from None

import zmqcy
from zmqcy.devices import Device
from zmqcy.devices.loop import State
from zmqcy.errors import StateError, TimedOut
from zmqcy.metrics import register_device
from zmqcy.socket_types import types_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from typing_extensions import Self

    from zmqcy.metrics import Registration

CLIENTS = 32  # max connections
READERS = 16  # max of them that read /events, so that other requests always find a free connection
TIMEOUT = 10  # seconds within which a client must send its request, and accept each part of the response
BODY = 4096  # max bytes of a request body, which is read and ignored
PERIOD = 1  # seconds between two samples, and between two messages of /events
SAMPLES = 300  # max samples in /history: five minutes
ADDRESSES = 100  # max peer addresses per side in /events
PATH = 65536  # max bytes of a path
HEADERS = 100  # max headers of a request
DIRECTIONS: Final[tuple[str, ...]] = ("front_to_back", "back_to_front")
# By the name in a sample: the counter in a Flow.
RATES: Final[dict[str, str]] = {"messages": "messages_out", "bytes": "bytes_out", "blocked": "full"}

_log = logging.getLogger(__name__)
# uvicorn logs a warning per malformed request. A client must not be able to fill the log.
_log.addFilter(lambda record: record.levelno >= logging.ERROR or _log.isEnabledFor(logging.DEBUG))


def serve(
    device: Device, address: str, *, name: str, token: str | None = None, registry: CollectorRegistry | None = None
) -> Server:
    """Serve a device over HTTP, in a background thread, until `close`.

    ======================  =========================================================================================
    ``GET /``               the web page
    ``GET /metrics``        metrics for Prometheus
    ``GET /health``         the state as JSON; status 200 while the device is running or paused, otherwise 503
    ``GET /history``        one sample per second of the last five minutes as JSON: the rates per direction
    ``GET /events``         the data of the page, once per second, as server-sent events
    ``POST /pause``         pauses the device; requires ``Authorization: Bearer TOKEN``
    ``POST /resume``        resumes it; requires the token as well
    ======================  =========================================================================================

    There is no encryption, and reading requires no token. Listen on 127.0.0.1, or on a network where every client may
    read this data. A request that arrives over the loopback interface must name this machine in its ``Host`` header:
    otherwise a website could read the page through the browser (DNS rebinding).

    The page lists peers and connection events only if the device was started with `watch`.

    Parameters
    ----------
    device : zmqcy.devices.Device
        The device. It need not be started yet.
    address : str
        The address to listen on: ``127.0.0.1:9100``, ``[::1]:9100``, or ``0.0.0.0:9100`` for all interfaces. Port 0
        selects a free port.
    name : str
        The name of the device on the page and in the metrics.
    token : str, optional
        The token that ``/pause`` and ``/resume`` require: printable ASCII characters without spaces. Without a token
        both are disabled.
    registry : prometheus_client.CollectorRegistry, optional
        A registry whose metrics ``/metrics`` returns in addition to those of the device.

    Returns
    -------
    Server

    Raises
    ------
    OSError
        The address is in use, or is not an address of this machine. The message names the address.
    ValueError
        `address` or `token` is malformed, or the registry already contains a device of this name.
    TypeError
        `device` is not a Device, or another argument has the wrong type.

    Examples
    --------
    >>> with Device(STREAMER, "tcp://*:5557", "tcp://*:5558", watch=True) as device:
    ...     with serve(device, "127.0.0.1:9100", name="jobs") as server:
    ...         print(server.url)
    http://127.0.0.1:9100/
    """
    if not isinstance(device, Device):
        raise TypeError(f"serve: a Device is required, not {device!r:.80}")
    if token is not None and not isinstance(token, str):
        raise TypeError("serve: the token must be a str")
    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ValueError("serve: the token must consist of printable ASCII characters without spaces")
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
    """Return the host of an address, the address family, and the argument for `bind`."""
    if not isinstance(address, str):
        raise TypeError(f"serve: the address must be a str such as '127.0.0.1:9100', not {address!r:.80}")
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/\s]+)):([0-9]{1,5})", address)
    if found is None or int(found[3]) > 65535:
        raise ValueError(f"serve: the address must be HOST:PORT, such as 127.0.0.1:9100, not {address!r:.80}")
    try:
        infos = socket.getaddrinfo(
            found[1] or found[2], int(found[3]), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise type(error)(error.errno, f"serve {address}: {error.strerror}") from None
    return found[1] or found[2], infos[0][0], infos[0][4]


class Server:
    """A running HTTP server, returned by `serve`. As a context manager it closes itself.

    Attributes
    ----------
    url : str
        The URL of the page, with the actual port: ``http://127.0.0.1:9100/``.
    """

    def __init__(self, app: object, listener: socket.socket, registration: Registration) -> None:
        self._listener = listener
        self._registration = registration
        self._closing = threading.Lock()
        host, port = listener.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url: str = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        config = uvicorn.Config(
            app, http=_Protocol, loop="none", ws="none", lifespan="on",
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
        config.load()  # imports modules: a fork during an import in the thread would lock the module in the child
        self._http = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._http.run, args=[[listener]], name="zmqcy web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving and disconnect the clients. The device continues."""
        with self._closing:
            self._http.should_exit = True
            self._thread.join(TIMEOUT)
            self._listener.close()  # the thread closed it, except in a forked process, which has no such thread
            self._registration.unregister()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self):
        return f"<Server of {self._registration.name!r} at {self.url}>"


class _Protocol(H11Protocol):
    """A connection of uvicorn with timeouts. When all are in use, the oldest one without a request is closed."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.logger = self.access_logger = _log
        self.access_log = True
        self.limit_concurrency = CLIENTS + 1  # uvicorn responds with 503 to any further connection

    def connection_made(self, transport):
        super().connection_made(transport)
        waiting = [each for each in self.connections if each is not self and each.is_waiting()]
        if waiting and len(self.connections) > CLIENTS:
            oldest = min(waiting, key=lambda each: each.reading.when())
            oldest.transport.abort()
            self.connections.discard(oldest)
        self.reading = self.writing = self.loop.call_later(TIMEOUT, transport.abort)
        transport.set_write_buffer_limits(0)  # `pause_writing` is called as soon as data is left to send

    def is_waiting(self):
        """Return whether the request is incomplete."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def data_received(self, data):
        super().data_received(data)
        if not self.is_waiting():
            self.reading.cancel()

    def eof_received(self):
        return not self.is_waiting()  # True: respond to a client that has shut down only its sending side

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
    """The application. Calls of the device run in threads: a device in another process may respond slowly."""

    def __init__(self, device, name, token, registry, host):
        self.device, self.name, self.token, self.registry, self.host = device, name, token, registry, host.lower()
        self.constant = {"control": token is not None, "documentation": _find_documentation()}
        self.closing = asyncio.Event()
        self.readers = set()
        self.samples = deque(maxlen=SAMPLES)
        self.latest = None  # the last description of the device
        self.described = asyncio.Event()  # set, and replaced by a new event, once there is a new description
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/metrics", self.metrics),
                Route("/health", self.health),
                Route("/history", self.history),
                Route("/events", self.events),
                Route("/pause", self.steer, methods=["POST"]),
                Route("/resume", self.steer, methods=["POST"]),
            ],
            exception_handlers={404: self.nothing},
            lifespan=self.lifespan,
        )
        self.app.router.redirect_slashes = False

    @asynccontextmanager
    async def lifespan(self, _):
        task = asyncio.create_task(self.sample())
        yield
        self.closing.set()
        await task

    async def sample(self):
        """Describe the device once per `PERIOD`, for /history and for all readers of /events."""
        before, then = None, 0.0
        try:
            while not self.closing.is_set():
                said, now = await asyncio.to_thread(lambda: (self.describe(), time.monotonic()))
                if before is not None and "since" in said and before.get("since") == said["since"]:
                    self.samples.append(_sample(before, said, now - then))
                before, then, self.latest = said, now, said
                self.described.set()
                self.described = asyncio.Event()
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.closing.wait(), PERIOD)
        except RuntimeError:  # the interpreter exits and starts no more threads
            pass
        finally:
            self.closing.set()
            self.described.set()

    def describe(self):
        return _describe(self.device, self.name)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = self.refusal(request)
        if answer is None:
            try:
                await request.body()  # closing a connection with unread data would discard the response
            except ClientDisconnect:
                return
            answer = self.app
        await answer(scope, receive, send)

    def refusal(self, request):
        """Return the error response to a request that this server refuses, or None."""
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
        # DNS rebinding: a website whose name resolves to 127.0.0.1 could read this page through a local browser.
        host, place = headers.get("Host", ""), ipaddress.ip_address(scope["server"][0].partition("%")[0])
        is_local = (getattr(place, "ipv4_mapped", None) or place).is_loopback
        if ((host and is_local) or request.method == "POST") and not _is_own(host, self.host):
            return _text(403, f"Host {host:.80} is not this machine: use localhost or an IP address.")
        return None

    async def nothing(self, request, error):
        return _text(404, "Not found. Paths: /, /metrics, /health, /history, /events, POST /pause, POST /resume.")

    async def page(self, request):
        return HTMLResponse(_load_page()[0])

    async def metrics(self, request):
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return Response(await asyncio.to_thread(encode, self.registry), media_type=kind)

    async def health(self, request):
        said = await asyncio.to_thread(self.describe)
        said = {key: said[key] for key in ("name", "state", "error")}
        return _json(said, 200 if said["state"] in (State.RUNNING.value, State.PAUSED.value) else 503)

    async def history(self, request):
        return _json(list(self.samples))

    async def events(self, request):
        if len(self.readers) >= READERS:
            return _text(503, f"{READERS} clients read /events already.")
        headers = {"Content-Type": "text/event-stream"}
        if request.method == "HEAD":
            return Response(headers=headers)
        task = asyncio.current_task()
        self.readers.add(task)
        task.add_done_callback(self.readers.discard)
        return StreamingResponse(self.stream(), headers=headers)

    async def stream(self):
        try:
            said = await asyncio.to_thread(self.describe)
        except RuntimeError:  # the interpreter exits and starts no more threads
            return
        while not self.closing.is_set():
            sample = self.samples[-1] if self.samples else None
            yield b"data: %s\n\n" % json.dumps({**said, **self.constant, "sample": sample}).encode()
            await self.described.wait()
            said = self.latest

    async def steer(self, request):
        refused = self.unauthorized(request.headers)
        if refused is not None:
            return refused
        try:
            await asyncio.to_thread(getattr(self.device, request.scope["path"][1:]))
        except StateError as error:
            return _text(409, str(error))
        return _json({"state": (await asyncio.to_thread(self.device.statistics)).state})

    def unauthorized(self, headers):
        """Return the error response to a request that may not pause or resume the device, or None."""
        if self.token is None:
            return _text(403, "Pause and resume are disabled: start the server with a token.")
        if headers.get("Origin") not in (None, f"http://{headers['Host']}", f"https://{headers['Host']}"):
            return _text(403, f"Requests from {headers['Origin']:.80} are refused: use the page of this server.")
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _text(401, "A token is required.", {"WWW-Authenticate": 'Bearer realm="zmqcy"'})
        if not hmac.compare_digest(given.strip().encode(), self.token.encode()):
            header = 'Bearer realm="zmqcy", error="invalid_token"'
            return _text(401, "The token is wrong.", {"WWW-Authenticate": header})
        return None


def _text(status, text, headers=None):
    return PlainTextResponse(f"{text}\n", status, headers)


def _json(value, status=200):
    return Response(json.dumps(value), status, media_type="application/json")


@cache
def _load_page():
    """Return the page, and the policy that allows only its own script and style."""
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


def _find_documentation():
    """Return the URL of the documentation that the installed package declares, or None."""
    with suppress(PackageNotFoundError):
        for each in metadata("zmqcy").get_all("Project-URL") or ():
            label, _, url = each.partition(", ")
            if label.lower() == "documentation":
                return url
    return None


def _describe(device, name):
    """Return everything that the page shows of a device, as JSON types."""
    front, back = (side.type.name for side in device._settings.sides[:2])
    said = {
        "name": name,
        "time": time.time(),
        "kind": device._name,
        "types": [front, back],
        "directions": [
            direction
            for direction, source, target in zip(DIRECTIONS, (front, back), (back, front), strict=True)
            if source in types_with("receives") and target in types_with("sends")
        ],
        "versions": {"zmqcy": zmqcy.__version__, "libzmq": zmqcy.zmq_version()},
        "pid": None,
        "peers": None,
        "addresses": None,
        "events": None,
        "error": None,
    }
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
        **{direction: getattr(numbers, direction)._asdict() for direction in DIRECTIONS},
    )
    if numbers.state == State.ENDED.value:
        try:
            device.join(0)
        except TimedOut:  # its sockets are not closed yet
            pass
        except Exception as error:
            said["error"] = str(error)
    if device.watch:
        with suppress(StateError):  # `watch` was set after the start, and takes effect at the next one
            addresses = device.peer_addresses()
            said["peers"] = {side: len(each) for side, each in addresses.items()}
            said["addresses"] = {side: each[:ADDRESSES] for side, each in addresses.items()}
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


def _sample(before, said, seconds):
    """Return the rates per second between two descriptions."""
    return {
        "time": said["time"],
        **{
            direction: {
                name: (said[direction][counter] - before[direction][counter]) / seconds
                for name, counter in RATES.items()
            }
            for direction in said["directions"]
        },
    }


def _is_own(host, given):
    """Return whether a Host header names this machine, and is not a foreign DNS name that resolves to it."""
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::[0-9]+)?", host.lower())
    if found is None:
        return False
    name = found[1] or found[2]
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in ("localhost", given, socket.gethostname().lower())
