"""Who may connect: certificates of CURVE keys, and the handler that libzmq asks about each peer (ZAP, RFC 27).

A handler is a coroutine, in a thread with an event loop of its own, or in a task. So a decision that waits, for a
database say, holds up no other.
"""

# mypy: disable-error-code="assignment"

from __future__ import annotations

import hashlib
import hmac
import inspect
import ipaddress
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from errno import EADDRINUSE, ENOTSOCK
from pathlib import Path
from typing import NamedTuple

from zmqcy._base import _note_handler
from zmqcy._library import curve_keypair, z85_encode
from zmqcy._message import _VOUCHER
from zmqcy.asyncio import Context as AsyncContext
from zmqcy.asyncio import Socket
from zmqcy.constants import SocketType
from zmqcy.context import Context
from zmqcy.errors import EFSM, ETERM, ContextTerminated, StateError, ZMQError
from zmqcy.security import to_key, to_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any, Final, TypeAlias

    from typing_extensions import Self

    from zmqcy import _context


class _Any:
    __slots__ = ()

    def __repr__(self):
        return "zmqcy.auth.ANY"


ANY: Final[_Any] = _Any()
"""For `Policy`: whoever has a key, or a principal, whichever it is."""

_log = logging.getLogger("zmqcy.auth")
_ZAP = "inproc://zeromq.zap.01"  # where RFC 27 has the handler


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
_ONE_LINE = re.compile(r"[^\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]*")
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
    public: bytes
    secret: bytes | None
    metadata: dict[str, str]

    def __init__(
        self, public: bytes | str, secret: bytes | str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        if secret is None:
            self.public, self.secret = to_key("Certificate", "the public key", public), None
        else:
            self.public, self.secret = to_pair("Certificate", (public, secret))
        self.metadata = dict(metadata or {})

    @classmethod
    def generate(cls, metadata: Mapping[str, str] | None = None) -> Self:
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
    def load(cls, path: str | os.PathLike[str], *, readable: bool = False) -> Self:
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
            try:
                sections = _parse(file)
            except UnicodeDecodeError:
                raise ValueError(f"Certificate: {os.fspath(path)}: it is no text") from None
            keys = sections.get("curve", {})
            secret = keys.get("secret-key")
            if secret and not readable:
                _refuse_readable(file, path, "this secret key", ", or readable=True")
        if "public-key" not in keys:
            raise ValueError(f"Certificate: {os.fspath(path)}: there is no public-key in a section curve")
        try:
            return cls(keys["public-key"], secret, sections.get("metadata"))
        except ValueError as error:
            raise ValueError(f"{error} ({os.fspath(path)})") from None

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
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
            has line breaks or other control characters, or both kinds of quotes.
        OSError
            A file cannot be written. There never is a half of one.
        """
        if self.secret is not None:
            self.save_secret(f"{os.fspath(path)}_secret", overwrite=overwrite)
        _write(path, self._text(_PUBLIC_HEAD, {"public-key": self.public}), 0o644, overwrite)

    def save_secret(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
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
            if not _NAME.fullmatch(name) or quote in value or not _ONE_LINE.fullmatch(value):
                raise ValueError(f"save: the file's format has no place for metadata {name!r}: {value!r:.80}")
            lines.append(f"    {name} = {quote}{value}{quote}")
        lines += ["curve", *(f'    {name} = "{key.decode()}"' for name, key in keys.items()), ""]
        return "\n".join(lines)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Certificate):
            return NotImplemented
        same = hmac.compare_digest(self.secret or b"", other.secret or b"")
        return same and (self.public, self.metadata) == (other.public, other.metadata)

    __hash__ = None

    def __repr__(self):
        return f"<Certificate {self.public.decode()}{'' if self.secret is None else ' with its secret key'}>"


def _refuse_readable(file, path, what, otherwise=""):
    """Raise where others than its owner can open a file: the one that is read, not what may have its name by now."""
    mode = os.fstat(file.fileno()).st_mode
    if mode & 0o077:
        text = f"others can open {what} (mode {mode & 0o777:04o}): chmod 600{otherwise}"
        raise PermissionError(1, text, os.fspath(path))


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


if TYPE_CHECKING:
    _Key: TypeAlias = bytes | str | Certificate
    _Verdict: TypeAlias = bool | str | None
    _Decision: TypeAlias = _Verdict | Awaitable[_Verdict]
    _Addresses: TypeAlias = str | Iterable[str]
    _Passwords: TypeAlias = (
        str | os.PathLike[str] | Mapping[str, str] | Mapping[str, bytes] | Callable[[str, str], _Decision]
    )
    _Keys: TypeAlias = _Any | str | os.PathLike[str] | Mapping[Any, str] | Iterable[_Key] | Callable[[bytes], _Decision]
    _Principals: TypeAlias = _Any | Mapping[str, str] | Iterable[str] | Callable[[str], _Decision]


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
    plain : mapping, path or callable, optional
        Passwords by user names, looked up at each request; a file with a line ``user:password`` per user, which only
        its owner can open, and which is read again when it has changed; or what decides on a user name and a password.
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
        There is no such folder, or no such file of passwords.
    PermissionError
        Others than its owner can open the file of passwords.
    """

    def __init__(
        self,
        *,
        allow: _Addresses | None = None,
        deny: _Addresses = (),
        null: bool = False,
        plain: _Passwords | None = None,
        curve: _Keys | None = None,
        gssapi: _Principals | None = None,
    ) -> None:
        self._allow = None if allow is None else _Places("allow", allow)
        self._deny = _Places("deny", deny)
        self._rules = {
            "NULL": (lambda: True) if null else None,
            "PLAIN": _rule_of_passwords(plain),
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


def _rule_of_passwords(passwords):
    if isinstance(passwords, (str, os.PathLike)):
        return _PasswordFile(passwords)
    return _by_password(passwords) if isinstance(passwords, Mapping) else passwords


class _PasswordFile:
    """The passwords of a file. It is read again when it has changed."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.stamp = None
        self.passwords = {}
        self.check = _by_password(self)
        self.look()

    def __call__(self, username, password):
        try:
            self.look()
        except (OSError, ValueError) as error:
            self.stamp, self.passwords = None, {}
            _log.error("no passwords, nobody is let in by one: %s", error)
        return self.check(username, password)

    def get(self, username):
        return self.passwords.get(username)

    def look(self):
        stamp = _stamp(os.stat(self.path))
        if stamp == self.stamp:
            return
        passwords = {}
        with open(self.path, encoding="utf-8") as file:
            _refuse_readable(file, self.path, "these passwords")
            for number, line in enumerate(file, 1):
                line = line.rstrip("\r\n")
                if line and not line.startswith("#"):
                    username, colon, password = line.partition(":")
                    if not colon:
                        raise ValueError(f"{self.path}: line {number} is not user:password")
                    passwords[username] = password
        self.stamp, self.passwords = stamp, passwords


def _stamp(stat):
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


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
    return _rule_of(allowed, "curve", lambda key: to_key("Policy", "a key of curve", getattr(key, "public", key)))


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
                if entry.name.endswith(".key"):
                    self.take(entry, before.get(entry.name))

    def take(self, entry, known):
        try:
            if not entry.is_file():  # to open a pipe would wait for a writer
                return
            stamp = _stamp(entry.stat())
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
    credentials: tuple[bytes | str, ...]


_COUNTS = {"NULL": 0, "PLAIN": 2, "CURVE": 1, "GSSAPI": 1}  # of credentials


class Authenticator:
    """Decide which peers the sockets of a context let in: the handler of ZAP.

    ``with`` has it decide in a thread, as `start` and `stop` do; ``async with`` in the running event loop of asyncio.
    Start it before the servers are bound: a socket with a `zap_domain` raises StateError at `bind` and `connect` while
    no Authenticator runs. From the first start on the context has a handler until it ends. Once the Authenticator is
    stopped, or its event loop has ended, this handler refuses every peer.

    Decisions are logged under ``zmqcy.auth``: accepted peers as INFO, refused ones as WARNING, and errors, such as an
    exception of a function that decides, as ERROR.

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
    >>> with ctx, Authenticator(ctx, curve=[client_key], deny="10.0.0.0/8"):
    ...     server = ctx.socket(REP)
    ...     server.serve_curve(secret_key)
    ...     server.bind("tcp://*:5555")
    """

    def __init__(
        self,
        context: _context.Context | None = None,
        *,
        allow: _Addresses | None = None,
        deny: _Addresses = (),
        null: bool = False,
        plain: _Passwords | None = None,
        curve: _Keys | None = None,
        gssapi: _Principals | None = None,
        domains: Mapping[str, Policy] | None = None,
    ) -> None:
        self.context: _context.Context = Context.instance() if context is None else context
        self._policy = Policy(allow=allow, deny=deny, null=null, plain=plain, curve=curve, gssapi=gssapi)
        self._domains = dict(domains or {})
        for name, policy in self._domains.items():
            if not isinstance(name, str) or not isinstance(policy, Policy):
                kind = type(policy).__name__  # its text may have passwords
                raise TypeError(f"Authenticator: domains must be Policies by str, not {kind} by {name!r:.80}")
        self._log = _log
        self._gate = None
        self._home = None  # the event loop that decides; None: the one of the gate
        self._deciding = set()  # tasks of that loop

    def start(self) -> None:
        """Decide from now on, in a thread.

        Raises
        ------
        StateError
            It is running.
        ZMQError
            EADDRINUSE: the context has another handler.
        ContextTerminated
            The context has ended.
        """
        self._begin(None)

    def stop(self) -> None:
        """Decide no longer: until the context ends, or another start, every peer is refused.

        Peers about which a function still decides are refused too. Stopping it again does nothing.
        """
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.release(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        import asyncio

        self._begin(asyncio.get_running_loop())
        return self

    async def __aexit__(self, *exception: object) -> None:
        import asyncio

        self.stop()
        for task in self._deciding:
            task.cancel()
        if self._deciding:
            await asyncio.wait(self._deciding)

    @property
    def running(self) -> bool:
        """bool: whether it decides."""
        gate = self._gate
        return gate is not None and gate.handler is self and not (self._home is not None and self._home.is_closed())

    def _begin(self, home):
        """Decide from now on, in an event loop or, where it is None, in that of the gate."""
        if self.running:
            raise StateError(EFSM, "it is running", call="start")
        self._home = home
        self._gate = _admit(self)

    async def _judge(self, request):
        """Return the answer to a request. It runs in the loop of the gate."""
        import asyncio
        from concurrent.futures import Future, InvalidStateError

        if self._home is None:
            return (await self._answer(request))[0]
        answered = Future()

        def settle(answer):
            with suppress(InvalidStateError):  # it was stopped meanwhile
                if not answered.done():
                    answered.set_result(answer)

        async def decide():
            answer, error = await self._answer(request)
            settle(answer)
            if isinstance(error, KeyboardInterrupt):  # Ctrl-C, which is for the program whose loop this is
                raise error

        def begin():
            task = self._home.create_task(decide())
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)
            task.add_done_callback(lambda task: settle(_INTERNAL))  # it may have been cancelled before it began

        with suppress(RuntimeError):  # the loop is closed
            self._home.call_soon_threadsafe(begin)
        waiting = asyncio.wrap_future(answered)
        while not (closed := self._home.is_closed()) or answered.done():
            done, _ = await asyncio.wait([waiting], timeout=1)
            if done:
                return waiting.result()
        assert closed
        self._log.error("refused %s: the event loop of the Authenticator has ended", _describe(request))
        return _INTERNAL

    async def _answer(self, request):
        """Return the answer to a request, and the exception that was raised instead of a decision."""
        try:
            return await self._decide(request), None
        except GeneratorExit:  # the coroutine is thrown away with its loop
            raise
        except BaseException as error:
            # The text of the exception may have the password in it; where it was raised says enough.
            where = _describe(request), type(error).__name__, _place_of(error)
            self._log.error("refused %s: %s was raised in %s", *where)
            return _INTERNAL, error

    async def _decide(self, request):
        policy = self._domains.get(request.domain, self._policy)
        reason = policy._objection(request.address)
        rule = policy._rules[request.mechanism]
        if reason is None and rule is None:
            reason = "no rule for this mechanism"
        if reason is None:
            user = rule(*request.credentials)
            if inspect.isawaitable(user):
                user = await user
            if not isinstance(user, (str, bool, type(None))):
                raise TypeError(f"a rule must return bool or str, not {type(user).__name__}")
            if user is True:
                user = _user_of(request)
            if isinstance(user, str) and (len(user.encode()) > 255 or "\0" in user):
                raise ValueError("a rule returned a name of more than 255 bytes, or with a null byte")
            if user or (user == "" and request.mechanism == "NULL"):
                self._log.info("let in %s: %r", _describe(request), user)
                return b"200", b"OK", user
            reason = "the credentials are unknown or wrong"
        self._log.warning("refused %s: %s", _describe(request), reason)
        return b"400", reason.encode(), ""


_INTERNAL = b"500", b"internal error", ""
_STOPPED = b"400", b"no Authenticator is running", ""


class _Gate:
    """The handler that libzmq asks in a context, from the first start of an Authenticator until the context ends.

    It has a thread with an event loop. Where no Authenticator decides, it refuses: without a handler libzmq would let
    everybody in.
    """

    def __init__(self, address):
        import asyncio

        self.process = os.getpid()
        self.address = address
        self.handler = None
        self.deciding = {}  # the handlers, by the task
        # Of a context of its own, and made by the address: the end of the other context wakes the thread, which closes
        # the socket, and a context that is dropped is not kept alive.
        self.socket = Socket(AsyncContext._weak_shadow(address), SocketType.ROUTER)
        self.loop = None
        try:
            _note_handler(address, False)  # before the bind, which is then known to be that of a gate
            self.socket.bind(_ZAP)
            self.loop = asyncio.new_event_loop()
            self.thread = threading.Thread(target=self.run, name="zmqcy-authenticator", daemon=True)
            self.thread.start()
        except BaseException as error:
            _note_handler(address, None)
            if self.loop is not None:
                self.loop.close()
            _close(self.socket)
            if isinstance(error, ZMQError) and error.errno == EADDRINUSE:
                raise _taken() from None
            raise

    def run(self):
        serving = self.loop.create_task(self.serve())
        while True:
            try:
                self.loop.run_until_complete(serving)
                break
            except BaseException as error:  # KeyboardInterrupt of a task that a rule made ends the loop too
                with suppress(Exception):
                    _log.error("the handler continues after %s: %s", type(error).__name__, error)
                if serving.done():
                    time.sleep(0.1)
                    serving = self.loop.create_task(self.serve())
        with _gates_lock:
            _gates.pop(self.address, None)
            _note_handler(self.address, None)
            self.handler = None
        _close(self.socket)
        self.loop.run_until_complete(self.cancel(list(self.deciding)))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    async def serve(self):
        import asyncio

        while not self.socket.closed:
            try:
                parts = await self.socket.recv_multipart()
            except Exception as error:
                if isinstance(error, ZMQError) and error.errno in (ENOTSOCK, ETERM):  # the context ends
                    break
                # Whatever it is, the next receive may do better.
                _log.error("the handler continues after %s: %s", type(error).__name__, error)
                await asyncio.sleep(0.1)
                continue
            task = self.loop.create_task(self.answer(parts))
            self.deciding[task] = None
            task.add_done_callback(self.deciding.pop)

    async def answer(self, parts):
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
            status, text, user = await self.decide(request)
        voucher = _VOUCHER if status == b"200" else b""  # by which a Frame knows that the user is not the peer's word
        if not self.socket.closed:
            try:
                await self.socket.send_multipart([*envelope, b"1.0", serial, status, text, user.encode(), voucher])
            except ContextTerminated:
                pass
            except ZMQError as error:
                _log.error("the answer was not sent: %s", error)

    async def decide(self, request):
        import asyncio

        handler = self.deciding[asyncio.current_task()] = self.handler
        if handler is not None:
            try:
                return await handler._judge(request)
            except asyncio.CancelledError:
                pass  # by its stop
        _log.warning("refused %s: the Authenticator of the context was stopped", _describe(request))
        return _STOPPED

    def release(self, handler):
        """Have an Authenticator decide no longer, and wait until its rules have ended."""
        import asyncio
        from concurrent.futures import TimeoutError

        if self.process != os.getpid():  # in a forked child there is no such thread
            return
        with _gates_lock:
            if self.handler is handler:
                self.handler = None
                _note_handler(self.address, False)
        if threading.current_thread() is self.thread:  # a rule stops it
            return
        tasks = self.cancel(None, handler)
        try:
            ended = asyncio.run_coroutine_threadsafe(tasks, self.loop)
        except RuntimeError:  # the loop is closed: the context has ended
            tasks.close()
            self.thread.join()
            return
        while self.thread.is_alive():
            with suppress(TimeoutError):
                ended.result(0.1)
                break
        if self.socket.closed:  # the context has ended
            self.thread.join()
            tasks.close()

    async def cancel(self, tasks, handler=None):
        import asyncio

        if tasks is None:
            tasks = [task for task, each in self.deciding.items() if each is handler]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


_gates = {}  # by the address of the context
_gates_lock = threading.RLock()


def _admit(handler):
    """Have an Authenticator decide for its context, and return the gate."""
    address = handler.context.underlying
    with _gates_lock:
        gate = _gates.get(address) or _Gate(address)
        if gate.handler is not None and gate.handler.running:
            raise _taken()
        gate.handler = handler
        _gates[address] = gate
        _note_handler(address, True)
    return gate


def _taken():
    text = "the context has another handler of ZAP, and libzmq asks but one"
    return ZMQError(EADDRINUSE, text, call="start", detail=_ZAP)


def _forget_gates():
    """Begin anew in a forked child, where the gates have no threads."""
    global _gates_lock
    _gates_lock = threading.RLock()
    _gates.clear()


os.register_at_fork(after_in_child=_forget_gates)


def _close(socket):
    if not socket.closed:
        with suppress(ContextTerminated):
            socket.unbind(_ZAP)  # at once, for the next handler: libzmq closes later, in a thread
        socket.close(0)


def _describe(request):
    return f"{request.mechanism} from {request.address}, domain {request.domain!r}"


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
