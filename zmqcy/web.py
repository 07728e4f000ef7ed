"""A device over HTTP: a page to look at, metrics for Prometheus, health for whoever restarts it, and pause and resume.

It needs prometheus_client: `pip install zmqcy[metrics]`. Each client has a thread; how many there may be, and how long
one may take, is bounded.
"""

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
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from socketserver import TCPServer, ThreadingMixIn

from zmqcy.devices import Device
from zmqcy.errors import StateError, TimedOut
from zmqcy.metrics import register_device

CLIENTS = 32  # at a time
READERS = 16  # of them, how many may have the stream of events: the others are for what asks and goes
TIMEOUT = 10  # seconds that a client may take to send its request, and to take a part of the answer
BODY = 4096  # bytes of a request that are read, and not looked at
PERIOD = 1  # seconds from one event of the stream to the next

_log = logging.getLogger(__name__)


def serve(device, address, *, name, token=None, registry=None):
    """Serve a device over HTTP, in threads of its own, until `close`.

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
    from prometheus_client import CollectorRegistry

    if not isinstance(device, Device):
        raise TypeError(f"serve: a Device is required, not {device!r:.80}")
    if token is not None and not isinstance(token, str):
        raise TypeError("serve: the token must be a str")
    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ValueError("serve: the token must be of printable ASCII characters, without spaces")
    host, family, target = _resolve(address)
    registry = CollectorRegistry(auto_describe=False) if registry is None else registry
    registration = register_device(device, name, registry)
    try:
        return Server(_HTTPServer(device, name, token, registry, host, family, target), registration)
    except OSError as error:
        registration.unregister()
        raise type(error)(error.errno, f"serve {address}: {error.strerror}") from None
    except BaseException:
        registration.unregister()
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

    def __init__(self, http, registration):
        self._http = http
        self._registration = registration
        self._closing = threading.Lock()
        host, port = self._http.server_address[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        try:
            threading.Thread(target=self._http.serve_forever, args=[0.2], name="zmqcy web", daemon=True).start()
        except RuntimeError:  # no thread to be had
            self._http.server_close()
            raise

    def close(self):
        """Serve no longer, and send the clients away. The device goes on."""
        with self._closing:
            self._http.shutdown()
            self._http.server_close()
            self._http.send_away()
            self._registration.unregister()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def __repr__(self):
        return f"<Server of {self._registration.name!r} at {self.url}>"


class _HTTPServer(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, device, name, token, registry, host, family, target):
        self.host = host.lower()
        self.device, self.name, self.token, self.registry = device, name, token, registry
        self.address_family = family
        self.clients = {}  # the time at which a request must be there, or None where it is
        self.changed = threading.Condition()  # the clients
        self.readers = threading.BoundedSemaphore(READERS)
        self.closing = threading.Event()
        super().__init__(target, _Handler)

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for a name

    def process_request(self, request, client_address):
        request.settimeout(TIMEOUT)
        with self.changed:
            full = len(self.clients) >= CLIENTS
            waiting = next((each for each, deadline in self.clients.items() if deadline is not None), None)
            if full and waiting is not None:  # who came first, and has not asked for anything yet
                self._cut(waiting)
                del self.clients[waiting]
                full = False
            if not full:
                self.clients[request] = time.monotonic() + TIMEOUT
        if full:
            with suppress(OSError):
                request.send(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread to be had
            self._forget(request)
            raise

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self):
        """Send away who sends a request too slowly; `serve_forever` calls it again and again."""
        now = time.monotonic()
        with self.changed:
            for request, deadline in self.clients.items():
                if deadline is not None and deadline < now:
                    self._cut(request)

    def received(self, request):
        """Have a client no longer under the deadline of its request."""
        with self.changed:
            if request in self.clients:
                self.clients[request] = None

    def _cut(self, request):
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def _forget(self, request):
        with self.changed:
            self.clients.pop(request, None)
            self.changed.notify_all()

    def send_away(self):
        self.closing.set()
        with self.changed:
            for each in self.clients:
                self._cut(each)
            self.changed.wait_for(lambda: not self.clients, TIMEOUT)

    def handle_error(self, request, client_address):
        """Say nothing of a client that has gone, or was too slow; the rest is for the log."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            _log.exception("a request of %s failed", client_address[0])


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
    if numbers.state == "ended":
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


class _Handler(BaseHTTPRequestHandler):
    timeout = None  # the server has set it
    default_request_version = "HTTP/1.0"  # what is no request at all gets an answer with a status too

    def do_GET(self):
        self.server.received(self.request)
        path = self.path.partition("?")[0]
        host = self.headers.get("Host")
        if host and self._is_local() and not _is_own(host, self.server.host):
            return self._answer(403, f"This is not {host:.80}.")  # a name that a page of others has led here
        if path == "/":
            page, policy = _load_page()
            self._answer(200, page, "text/html; charset=utf-8", policy)
        elif path == "/metrics":
            self._metrics()
        elif path == "/health":
            said = _describe(self.server.device, self.server.name)
            said = {key: said[key] for key in ("name", "state", "error")}
            self._answer_json(200 if said["state"] in ("running", "paused") else 503, said)
        elif path == "/events":
            self._stream()
        elif path in ("/pause", "/resume"):
            self._answer(405, "POST is required", allow="POST")
        else:
            self._answer(404, "There are /, /metrics, /health and /events, and for POST /pause and /resume.")

    do_HEAD = do_GET

    def _is_local(self):
        """Tell whether the client is a program of this machine, which may be a browser that shows any page."""
        place = ipaddress.ip_address(self.request.getsockname()[0].partition("%")[0])
        return (getattr(place, "ipv4_mapped", None) or place).is_loopback

    def do_POST(self):
        path = self.path.partition("?")[0]
        try:
            size = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            size = -1
        if not 0 <= size <= BODY:
            return self._answer(413 if size > BODY else 400, "A body is not wanted.")
        self.rfile.read(size)  # or the system would throw the answer away with it
        self.server.received(self.request)
        if path not in ("/pause", "/resume"):
            known = path in ("/", "/metrics", "/health", "/events")
            return self._answer(405 if known else 404, "POST is for /pause and /resume.", allow="GET, HEAD")
        refusal = self._refusal()
        if refusal is not None:
            return self._answer(403, refusal)
        try:
            getattr(self.server.device, path[1:])()
        except StateError as error:
            return self._answer(409, str(error))
        return self._answer_json(200, {"state": self.server.device.statistics().state})

    def _refusal(self):
        """Say why a request may not steer the device, or return None."""
        if self.server.token is None:
            return "Pause and resume are off, for this server has no token."
        host = self.headers.get("Host", "")
        if not _is_own(host, self.server.host):
            return f"This is not {host:.80}."  # a name that some page had lead here
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}" and origin != f"https://{host}":
            return "This is for its own page, not for those of others."
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.server.token.encode())
        return None if scheme.lower() == "bearer" and right else "The token is not right."

    def _metrics(self):
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(self.headers.get("Accept", ""))
        self._answer(200, encode(self.server.registry), kind)

    def _stream(self):
        if not self.server.readers.acquire(blocking=False):
            return self._answer(503, "There are too many who watch.")
        try:
            self._head(200, "text/event-stream")
            self.end_headers()
            while self.command != "HEAD":
                said = _describe(self.server.device, self.server.name)
                said["control"] = self.server.token is not None
                self.wfile.write(b"data: %s\n\n" % json.dumps(said).encode())
                if self.server.closing.wait(PERIOD):
                    break
        finally:
            self.server.readers.release()

    def _head(self, code, kind, policy="default-src 'none'; frame-ancestors 'none'"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")

    def _answer(self, code, body, kind="text/plain; charset=utf-8", policy=None, allow=None):
        if isinstance(body, str):
            body = f"{body}\n".encode("utf-8", "replace")
        self._head(code, kind, *([policy] if policy else []))
        if allow is not None and code == 405:
            self.send_header("Allow", allow)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer_json(self, code, value):
        self._answer(code, json.dumps(value).encode(), "application/json")

    def send_error(self, code, message=None, explain=None):
        """Answer what is no request that is known; the base class calls it."""
        self.close_connection = True
        self._answer(code, HTTPStatus(code).phrase)

    def version_string(self):
        return "zmqcy"

    def log_message(self, text, *arguments):
        # The request may have what a terminal obeys.
        _log.debug("%s", "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text % arguments))


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
