"""Who may connect: certificates of CURVE keys, and the handler that libzmq asks about each peer (ZAP, RFC 27).

A handler is a coroutine, in a thread with an event loop of its own, or in a task. So a decision that waits, for a
database say, holds up no other.
"""

import hashlib
import hmac
import inspect
import ipaddress
import logging
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from errno import EADDRINUSE
from pathlib import Path
from typing import NamedTuple

from zmqcy._library import curve_keypair, z85_encode
from zmqcy.asyncio import Context as AsyncContext
from zmqcy.asyncio import Socket
from zmqcy.constants import SocketType
from zmqcy.context import Context
from zmqcy.errors import EFSM, ContextTerminated, StateError, ZMQError
from zmqcy.socket import _ZAP, _key, _pair


class _Any:
    __slots__ = ()

    def __repr__(self):
        return "zmqcy.auth.ANY"


ANY = _Any()
"""For `Policy`: whoever has a key, or a principal, whichever it is."""

_log = logging.getLogger("zmqcy.auth")


# ------------------------------------------------------------------------------------------------------- certificates

_PUBLIC_HEAD = """\
#   ZeroMQ CURVE Public Certificate
#   Hand it over in a way that nobody can change it on, or compare it afterwards.
"""
_SECRET_HEAD = """\
#   ZeroMQ CURVE **Secret** Certificate
#   Give this file to nobody, and leave its mode as it is.
"""
_NAME = re.compile(r"[A-Za-z0-9$_@.&+/-]+")  # as the ZeroMQ property language (RFC 4) has names
_PROPERTY = re.compile(rf"\s+({_NAME.pattern})\s*=\s*(.*?)\s*")


class Certificate:
    """A pair of CURVE keys, or the public one alone, with what is to be known about its owner.

    Parameters
    ----------
    public : bytes or str
        The public key: 40 characters of Z85, or 32 bytes.
    secret : bytes or str, optional
        The secret key.
    metadata : mapping of str to str, optional
        Anything: a name, an address.

    Attributes
    ----------
    public : bytes
        40 characters of Z85.
    secret : bytes or None
        40 characters of Z85.
    metadata : dict

    Raises
    ------
    ValueError
        One of them is no key, or the two are no pair; the text shows neither.
    """

    __slots__ = ("metadata", "public", "secret")

    def __init__(self, public, secret=None, metadata=None):
        if secret is None:
            self.public, self.secret = _key("Certificate", "the public key", public), None
        else:
            self.public, self.secret = _pair("Certificate", (public, secret))
        self.metadata = dict(metadata or {})

    @classmethod
    def generate(cls, metadata=None):
        """Make a new pair of keys.

        Parameters
        ----------
        metadata : mapping of str to str, optional
            As of `Certificate`.

        Returns
        -------
        Certificate

        Raises
        ------
        NotSupported
            This libzmq has no CURVE.
        """
        return cls(*curve_keypair(), metadata)

    @classmethod
    def load(cls, path, *, readable=False):
        """Read a certificate, as `save`, czmq and pyzmq write them.

        Parameters
        ----------
        path : str or path-like
            The file: ``name.key_secret`` with both keys, or ``name.key`` with the public one.
        readable : bool, default False
            Whether a file with a secret key may be one that others than its owner can open.

        Returns
        -------
        Certificate

        Raises
        ------
        PermissionError
            Others can open the file, and there is a secret key in it.
        ValueError
            It is no certificate.
        OSError
            The file cannot be read.
        """
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode  # of the file that is read, not of what may have its name by now
            try:
                sections = _parse(file)
            except UnicodeDecodeError:
                raise ValueError(f"Certificate: {os.fspath(path)}: it is no text") from None
        keys = sections.get("curve", {})
        secret = keys.get("secret-key")
        if secret and mode & 0o077 and not readable and os.name == "posix":
            text = f"others can open this secret key (mode {mode & 0o777:04o}): chmod 600, or readable=True"
            raise PermissionError(1, text, os.fspath(path))
        if "public-key" not in keys:
            raise ValueError(f"Certificate: {os.fspath(path)}: there is no public-key in a section curve")
        try:
            return cls(keys["public-key"], secret, sections.get("metadata"))
        except ValueError as error:
            raise ValueError(f"{error} ({os.fspath(path)})") from None

    def save(self, path, *, overwrite=False):
        """Write the public key to a file, and both keys, if it has both, to another one that only its owner can open.

        Parameters
        ----------
        path : str or path-like
            The file for the public key, ``name.key``. The other one is ``name.key_secret``.
        overwrite : bool, default False
            Whether files that exist are replaced.

        Raises
        ------
        FileExistsError
            There is such a file.
        ValueError
            The metadata cannot be written: a name has other characters than letters, digits and ``$_@.&+/-``, a value
            has line breaks, or both kinds of quotes.
        OSError
            A file cannot be written. There never is a half of one.
        """
        if self.secret is not None:
            self.save_secret(f"{os.fspath(path)}_secret", overwrite=overwrite)
        _write(path, self._text(_PUBLIC_HEAD, {"public-key": self.public}), 0o644, overwrite)

    def save_secret(self, path, *, overwrite=False):
        """Write both keys to a file that only its owner can open (mode 0600).

        Parameters
        ----------
        path, overwrite
            As of `save`.

        Raises
        ------
        ValueError
            There is no secret key, or the metadata cannot be written.
        OSError
            As `save` does.
        """
        if self.secret is None:
            raise ValueError("save_secret: the certificate has no secret key")
        keys = {"public-key": self.public, "secret-key": self.secret}
        _write(path, self._text(_SECRET_HEAD, keys), 0o600, overwrite)

    def _text(self, head, keys):
        lines = [head, "metadata"]
        for name, value in self.metadata.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"save: metadata must be str, not {name!r}: {value!r:.80}")
            # In quotes it is the same to all readers; none of them has an escape.
            quote = "'" if '"' in value else '"'
            if not _NAME.fullmatch(name) or quote in value or len(value.splitlines()) > 1 or "\0" in value:
                raise ValueError(f"save: the file's format has no place for metadata {name!r}: {value!r:.80}")
            lines.append(f"    {name} = {quote}{value}{quote}")
        lines += ["curve", *(f'    {name} = "{key.decode()}"' for name, key in keys.items()), ""]
        return "\n".join(lines)

    def __eq__(self, other):
        if not isinstance(other, Certificate):
            return NotImplemented
        same = hmac.compare_digest(self.secret or b"", other.secret or b"")
        return same and (self.public, self.metadata) == (other.public, other.metadata)

    __hash__ = None

    def __repr__(self):
        return f"<Certificate {self.public.decode()}{'' if self.secret is None else ' with its secret key'}>"


def _parse(lines):
    """Return the sections of a file, each with its properties. What is not understood is left out."""
    sections = {}
    section = None
    for line in lines:
        line = line.rstrip("\r\n")
        if found := re.fullmatch(rf"({_NAME.pattern})\s*(#.*)?", line):
            section = sections.setdefault(found[1], {})
        elif section is not None and (found := _PROPERTY.fullmatch(line)):
            section[found[1]] = _value(found[2])
    return sections


def _value(text):
    if text[:1] in ("'", '"'):
        quote = text[0]
        if found := re.fullmatch(f"{quote}([^{quote}]*){quote}\\s*(#.*)?", text):
            return found[1]
        if len(text) > 1 and text[-1] == quote:
            return text[1:-1]  # czmq does not mind quotes within
    return re.split(r"\s#", text)[0].rstrip()  # as pyzmq writes metadata


def _write(path, text, mode, overwrite):
    """Make a file that is there in whole, and from the beginning for nobody else, or not at all."""
    path = os.fspath(path)
    fresh = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(fresh, path)
        else:
            try:
                os.link(fresh, path)  # unlike a rename it fails where there is a file
            except FileExistsError as error:
                raise FileExistsError(error.errno, error.strerror, path) from None
    finally:
        if os.path.lexists(fresh):
            os.unlink(fresh)


# ------------------------------------------------------------------------------------------------------------ policies


class Policy:
    """Rules on who is let in. What no rule lets in is refused.

    A function that decides takes what the peer shows, and returns whether to let it in, or the name under which the
    server's frames know it (``frame.get("User-Id")``). It may be a coroutine function; one that is not has to be quick,
    for all others wait meanwhile. A peer for which it raises is refused.

    Parameters
    ----------
    allow : str or iterable of str, optional
        Addresses and networks, as ``10.0.0.0/8`` and ``::1``, that peers may come from, and ``ipc`` for this machine's
        processes over ipc. By default any.
    deny : str or iterable of str, default ()
        Those that peers may not come from, whatever else they show.
    null : bool, default False
        Whether peers without any credentials (NULL) are let in. libzmq asks about them only where the socket has a
        `zap_domain`.
    plain : mapping or callable, optional
        Passwords by user names, looked up at each request; or what decides on a user name and a password.
    curve : ANY, path, mapping, iterable or callable, optional
        Public keys: all of them; a folder of certificates (``*.key``), which is looked at again at each request; names
        of users by key; keys; or what decides on a key in Z85 (bytes). Without a name the user is the key.
    gssapi : ANY, mapping, iterable or callable, optional
        Principals, likewise, which libzmq has verified.

    Raises
    ------
    ValueError
        It is no address, network or key; a network has bits set beside its prefix.
    NotADirectoryError, FileNotFoundError
        There is no such folder.
    """

    def __init__(self, *, allow=None, deny=(), null=False, plain=None, curve=None, gssapi=None):
        self._allow = None if allow is None else _Places("allow", allow)
        self._deny = _Places("deny", deny)
        self._rules = {
            "NULL": (lambda: True) if null else None,
            "PLAIN": _by_password(plain) if isinstance(plain, Mapping) else plain,
            "CURVE": _rule_of_keys(curve),
            "GSSAPI": _rule_of(gssapi, "gssapi", lambda principal: principal),
        }
        for name, rule in self._rules.items():
            if rule is not None and not callable(rule):
                raise TypeError(f"Policy: {name.lower()} must be a mapping or a callable, not {type(rule).__name__}")

    def _objection(self, address):
        """Say why a peer may not come from there, or None."""
        place = _place(address)
        if place in self._deny or (place is None and self._deny):  # what cannot be read might be what is denied
            return "the address is denied"
        if self._allow is not None and place not in self._allow:
            return "the address is not allowed"
        return None


class _Places:
    """Addresses and networks."""

    def __init__(self, name, places):
        if isinstance(places, (bytes, int)):
            raise TypeError(f"Policy: {name} must be addresses and networks, not {places!r}")
        places = [places] if isinstance(places, str) else list(places)
        self.ipc = "ipc" in places
        try:
            self.networks = [_unmapped(ipaddress.ip_network(place)) for place in places if place != "ipc"]
        except ValueError as error:
            raise ValueError(f"Policy: {name}: {error}") from None

    def __bool__(self):
        return self.ipc or bool(self.networks)

    def __contains__(self, place):
        if place == "ipc":
            return self.ipc
        return place is not None and any(place in network for network in self.networks)


def _unmapped(network):
    """Return a network of IPv4 within IPv6 as one of IPv4, as `_place` has addresses."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - 96))


def _place(address):
    """Return the address of a peer, ``ipc`` for one over ipc, and None for what is none."""
    if address.partition(":")[0] == "localhost":  # so libzmq has ipc, with the ids of user, group and process
        return "ipc"
    try:
        place = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(place, "ipv4_mapped", None) or place  # how a socket with ipv6=True shows IPv4


def _by_password(passwords):
    def check(username, password):
        expected = passwords.get(username)
        known = expected is not None
        # Digests have one length, and an unknown user costs what a known one does.
        given, wanted = (_digest(each) for each in (password, expected if known else ""))
        return hmac.compare_digest(given, wanted) and known and username

    return check


def _digest(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


def _rule_of(allowed, name, normal):
    """Return a function that decides on one credential."""
    if allowed is None or callable(allowed):
        return allowed
    if allowed is ANY:
        return lambda credential: True
    if isinstance(allowed, (str, bytes)):
        raise TypeError(f"Policy: {name} must be a mapping, an iterable or a callable, not {type(allowed).__name__}")
    pairs = allowed.items() if isinstance(allowed, Mapping) else ((credential, True) for credential in allowed)
    users = {normal(credential): user for credential, user in pairs}
    return lambda credential: users.get(credential, False)  # a public key is no secret: its time may be seen


def _rule_of_keys(allowed):
    if isinstance(allowed, (str, os.PathLike)):
        return _Folder(allowed)
    return _rule_of(allowed, "curve", lambda key: _key("Policy", "a key of curve", getattr(key, "public", key)))


class _Folder:
    """The certificates in a folder. A file is read again when it has changed."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.files = {}  # by name: when it changed, and its key, or None
        os.scandir(self.path).close()

    def __call__(self, key):
        try:
            self.look()
        except OSError as error:
            _log.error("no certificates, nobody is let in by one: %s", error)
        return any(each == key for _, each in self.files.values())

    def look(self):
        before, self.files = self.files, {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(".key") and entry.is_file():  # to open a pipe would wait for a writer
                    self.take(entry, before.get(entry.name))

    def take(self, entry, known):
        try:
            stat = entry.stat()
            stamp = stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
            if known is None or known[0] != stamp:
                known = stamp, None
                known = stamp, Certificate.load(entry.path).public
        except FileNotFoundError:  # it has just gone
            return
        except (OSError, ValueError) as error:
            _log.error("a certificate is left out: %s", error)
            if known is None:
                return
        self.files[entry.name] = known


# --------------------------------------------------------------------------------------------------------- the handler


class Request(NamedTuple):
    """What libzmq asks: whether a peer may come in."""

    domain: str
    address: str
    mechanism: str
    credentials: tuple


_COUNTS = {"NULL": 0, "PLAIN": 2, "CURVE": 1, "GSSAPI": 1}  # of credentials


class Authenticator:
    """Decide which peers the sockets of a context let in: the handler of ZAP.

    ``with`` runs it in a thread, as `start` and `stop` do; ``async with`` in a task of asyncio. Start it before the
    servers are bound, and stop it after they are closed: while there is no handler a libzmq without drafts lets in
    whoever knows the key of a CURVE server, and anybody to a NULL server. Decisions are logged under ``zmqcy.auth``:
    those who are let in as INFO, the others as WARNING, and errors, as of functions that decide, as ERROR.

    Parameters
    ----------
    context : zmqcy.Context, optional
        The context of the servers, of any kind; by default ``zmqcy.Context.instance()``.
    allow, deny, null, plain, curve, gssapi
        As of `Policy`: for all domains without a policy of their own.
    domains : mapping of str to Policy, optional
        Policies by domain.

    Raises
    ------
    ValueError, TypeError, OSError
        As `Policy` does.

    Examples
    --------
    >>> with Authenticator(ctx, curve=[client_key], deny="10.0.0.0/8"), ctx:  # which ends first
    ...     server = ctx.socket(REP)
    ...     server.serve_curve(secret_key)
    ...     server.bind("tcp://*:5555")
    """

    def __init__(
        self, context=None, *, allow=None, deny=(), null=False, plain=None, curve=None, gssapi=None, domains=None
    ):
        self.context = Context.instance() if context is None else context
        self._policy = Policy(allow=allow, deny=deny, null=null, plain=plain, curve=curve, gssapi=gssapi)
        self._domains = dict(domains or {})
        for name, policy in self._domains.items():
            if not isinstance(name, str) or not isinstance(policy, Policy):
                raise TypeError(f"Authenticator: domains must be Policies by str, not {policy!r} by {name!r}")
        self._socket = self._thread = self._loop = self._task = None

    def start(self):
        """Answer from now on, in a thread.

        Raises
        ------
        StateError
            It is running.
        ZMQError
            EADDRINUSE: the context has another handler.
        ContextTerminated
            The context has ended.
        """
        import threading

        # Of a context of its own, so that the end of the other one wakes the thread, and leaves the socket to it.
        self._open(AsyncContext.shadow(self.context))
        begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(begun,), name="zmqcy-authenticator", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            _close(self._socket)
            raise
        begun.wait()

    def stop(self):
        """Answer no longer, and wait until the thread has ended. Stopping it again does nothing."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():  # in a forked child it is not
            with suppress(RuntimeError):  # the loop is closed: the context has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
            thread.join()
        self._socket = self._loop = self._task = None

    def _run(self, begun):
        import asyncio

        async def serve():
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            begun.set()
            await self._serve(self._socket)

        try:
            asyncio.run(serve())
        except asyncio.CancelledError:
            pass
        finally:
            begun.set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.stop()

    async def __aenter__(self):
        import asyncio

        loop = asyncio.get_running_loop()  # first: without one nothing is opened
        self._open(self.context)
        self._task = loop.create_task(self._serve(self._socket))
        return self

    async def __aexit__(self, *exception):
        import asyncio

        task, self._task = self._task, None
        task.cancel()
        await asyncio.wait([task])
        _close(self._socket)  # the task may have been cancelled before it began
        self._socket = None

    @property
    def running(self):
        """bool: whether it answers."""
        return self._socket is not None and not self._socket.closed

    def _open(self, context):
        if self.running:
            raise StateError(EFSM, "it is running", call="start")
        socket = Socket(context, SocketType.ROUTER)
        try:
            socket.bind(_ZAP)
        except BaseException as error:
            socket.close(0)
            if isinstance(error, ZMQError) and error.errno == EADDRINUSE:
                text = "the context has another handler of ZAP, and libzmq asks but one"
                raise ZMQError(EADDRINUSE, text, call="start", detail=_ZAP) from None
            raise
        self._socket = socket

    async def _serve(self, socket):
        import asyncio

        deciding = set()
        try:
            while not socket.closed:
                try:
                    parts = await socket.recv_multipart()
                except ContextTerminated:
                    break
                except Exception as error:
                    if not socket.closed:  # by the end of the context; whatever else it is, the next may do better
                        _log.error("the handler goes on after %s: %s", type(error).__name__, error)
                        await asyncio.sleep(0.1)
                    continue
                task = asyncio.ensure_future(self._answer(socket, parts))
                deciding.add(task)
                task.add_done_callback(deciding.discard)
        finally:
            _close(socket)
            for task in deciding:
                task.cancel()

    async def _answer(self, socket, parts):
        """Answer one request."""
        try:
            end = parts.index(b"")  # of the envelope
        except ValueError:
            _log.error("a request without an envelope is ignored")  # there is nobody to answer to
            return
        envelope, frames = parts[: end + 1], parts[end + 1 :]
        serial = frames[1] if len(frames) > 1 else b""
        try:
            request = _read(frames)
        except ValueError as error:
            _log.error("malformed request: %s", error)
            status, text, user = b"500", b"malformed request", ""
        else:
            status, text, user = await self._decide(request)
        if not socket.closed:
            try:
                await socket.send_multipart([*envelope, b"1.0", serial, status, text, user.encode(), b""])
            except ZMQError as error:
                _log.error("the answer was not sent: %s", error)

    async def _decide(self, request):
        import asyncio

        where = f"{request.mechanism} from {request.address}, domain {request.domain!r}"
        policy = self._domains.get(request.domain, self._policy)
        reason = policy._objection(request.address)
        if reason is None:
            rule = policy._rules[request.mechanism]
            if rule is None:
                reason = "no rule for this mechanism"
            else:
                try:
                    user = rule(*request.credentials)
                    if inspect.isawaitable(user):
                        user = await user
                    if not isinstance(user, (str, bool, type(None))):
                        raise TypeError(f"a rule must return bool or str, not {type(user).__name__}")
                    if user is True:
                        user = _user_of(request)
                    if isinstance(user, str) and (len(user.encode()) > 255 or "\0" in user):
                        raise ValueError("a rule returned a name of more than 255 bytes, or with a null byte")
                except (Exception, SystemExit, asyncio.CancelledError) as error:
                    # The text of the exception may have the password in it; where it was raised says enough.
                    _log.error("refused %s: %s was raised in %s", where, type(error).__name__, _place_of(error))
                    return b"500", b"internal error", ""
                if user or (user == "" and request.mechanism == "NULL"):
                    _log.info("let in %s: %r", where, user)
                    return b"200", b"OK", user
                reason = "the credentials are unknown or wrong"
        _log.warning("refused %s: %s", where, reason)
        return b"400", reason.encode(), ""


def _close(socket):
    if not socket.closed:
        with suppress(ContextTerminated):
            socket.unbind(_ZAP)  # at once, for the next handler: libzmq closes later, in a thread
        socket.close(0)


def _read(frames):
    """Return what a request says. Raise ValueError for one that is not as RFC 27 has it."""
    if not frames or frames[0] != b"1.0":
        raise ValueError(f"version {frames[0] if frames else b''!r:.40}, not 1.0")
    if len(frames) < 6:
        raise ValueError(f"{len(frames)} frames")
    domain, address, _, mechanism, *credentials = frames[2:]
    count = _COUNTS.get(mechanism.decode("ascii", "replace"))
    if count is None:
        raise ValueError(f"mechanism {mechanism!r:.40}")
    if len(credentials) != count:
        raise ValueError(f"{mechanism.decode()} with {len(credentials)} credentials")
    if mechanism == b"CURVE":
        if len(credentials[0]) != 32:
            raise ValueError(f"a key of {len(credentials[0])} bytes")
        credentials = [z85_encode(credentials[0])]
    else:
        try:
            credentials = [each.decode() for each in credentials]
        except UnicodeDecodeError:
            raise ValueError("credentials that are not UTF-8") from None
    return Request(domain.decode(errors="replace"), address.decode(errors="replace"), mechanism.decode(),
                   tuple(credentials))  # fmt: skip


def _user_of(request):
    """Return the name of a user that was let in without one."""
    if request.mechanism == "NULL":
        return ""
    name = request.credentials[0]
    return name.decode() if isinstance(name, bytes) else name


def _place_of(error):
    """Return the file and line in which an exception was raised."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
