"""Authentication and access control: CURVE certificates, and the handler that accepts or refuses peers (ZAP, RFC 27).

The handler runs in an event loop: in a separate thread, or in the program's own loop. So a decision that waits, for
example for a database, does not delay other decisions.
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
"""For `Policy`: accept every peer that has a key or a principal."""

_log = logging.getLogger("zmqcy.auth")
_ZAP = "inproc://zeromq.zap.01"  # the endpoint of the handler, by RFC 27


# ------------------------------------------------------------------------------------------------------- certificates

_PUBLIC_HEAD = """\
#   ZeroMQ CURVE Public Certificate
#   Transfer it over a trusted channel, or compare the key afterwards.
"""
_SECRET_HEAD = """\
#   ZeroMQ CURVE **Secret** Certificate
#   Do not share this file, and do not change its mode.
"""
_NAME = re.compile(r"[A-Za-z0-9$_@.&+/-]+")  # a name in the ZeroMQ property language (RFC 4)
_ONE_LINE = re.compile(r"[^\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]*")
_PROPERTY = re.compile(rf"\s+({_NAME.pattern})\s*=\s*(.*?)\s*")


class Certificate:
    """A pair of CURVE keys, or only the public key, with metadata about its owner.

    Parameters
    ----------
    public : bytes or str
        The public key: 40 characters of Z85, or 32 bytes.
    secret : bytes or str, optional
        The secret key: 40 characters of Z85, or 32 bytes.
    metadata : mapping of str to str, optional
        Any properties, such as a name or an address.

    Attributes
    ----------
    public : bytes
        40 characters of Z85.
    secret : bytes or None
        40 characters of Z85.
    metadata : dict
        The properties.

    Raises
    ------
    ValueError
        An argument is not a key, or the two keys are not a pair. The text does not show the keys.

    Examples
    --------
    >>> certificate = zmqcy.auth.Certificate.generate({"name": "server"})
    >>> certificate.save("server.key")  # also writes server.key_secret
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
        """Generate a new pair of keys.

        Parameters
        ----------
        metadata : mapping of str to str, optional
            As for `Certificate`.

        Returns
        -------
        Certificate
            With both keys.

        Raises
        ------
        NotSupported
            This libzmq has no CURVE.
        """
        return cls(*curve_keypair(), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, readable: bool = False) -> Self:
        """Read a certificate file of zmqcy (`save`), czmq or pyzmq.

        Parameters
        ----------
        path : str or path-like
            The file: ``name.key_secret`` with both keys, or ``name.key`` with the public key.
        readable : bool, default False
            Whether to accept a file with a secret key that other users can open.

        Returns
        -------
        Certificate
            With the secret key, if the file contains one.

        Raises
        ------
        PermissionError
            The file contains a secret key, and other users can open it.
        ValueError
            The file is not a certificate.
        OSError
            The file cannot be read.
        """
        with open(path, encoding="utf-8") as file:
            try:
                sections = _parse(file)
            except UnicodeDecodeError:
                raise ValueError(f"Certificate: {os.fspath(path)}: not a certificate, because it is not text") from None
            keys = sections.get("curve", {})
            secret = keys.get("secret-key")
            if secret and not readable:
                _refuse_readable(file, path, "this secret key", ", or readable=True")
        if "public-key" not in keys:
            raise ValueError(f"Certificate: {os.fspath(path)}: not a certificate: section curve has no public-key")
        try:
            return cls(keys["public-key"], secret, sections.get("metadata"))
        except ValueError as error:
            raise ValueError(f"{error} ({os.fspath(path)})") from None

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the public key to a file and, if there is a secret key, both keys to a second file.

        Only its owner can open the second file (mode 0600).

        Parameters
        ----------
        path : str or path-like
            The file for the public key, ``name.key``. The second file is ``name.key_secret``.
        overwrite : bool, default False
            Whether to replace existing files.

        Raises
        ------
        FileExistsError
            A file exists already.
        ValueError
            The format does not support the metadata. A name may contain letters, digits and ``$_@.&+/-``. A value must
            not contain control characters, such as line breaks, or both kinds of quotes.
        OSError
            A file cannot be written. A file is never written partially.
        """
        if self.secret is not None:
            self.save_secret(f"{os.fspath(path)}_secret", overwrite=overwrite)
        _write(path, self._text(_PUBLIC_HEAD, {"public-key": self.public}), 0o644, overwrite)

    def save_secret(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write both keys to a file that only its owner can open (mode 0600).

        Parameters
        ----------
        path, overwrite
            As for `save`.

        Raises
        ------
        ValueError
            There is no secret key, or the format does not support the metadata.
        OSError
            For the same reasons as `save`.

        See Also
        --------
        save : also writes a file with the public key.
        """
        if self.secret is None:
            raise ValueError("save_secret: the certificate has no secret key; use save")
        keys = {"public-key": self.public, "secret-key": self.secret}
        _write(path, self._text(_SECRET_HEAD, keys), 0o600, overwrite)

    def _text(self, head, keys):
        lines = [head, "metadata"]
        for name, value in self.metadata.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"save: metadata must be str, not {name!r}: {value!r:.80}")
            # All readers agree on text in quotes. None of them supports escapes.
            quote = "'" if '"' in value else '"'
            if not _NAME.fullmatch(name) or quote in value or not _ONE_LINE.fullmatch(value):
                raise ValueError(f"save: the file format does not support the metadata {name!r}: {value!r:.80}")
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
    """Raise PermissionError if other users can open an open file. (Its path may name another file by now.)"""
    mode = os.fstat(file.fileno()).st_mode
    if mode & 0o077:
        text = f"other users can open {what} (mode {mode & 0o777:04o}): chmod 600{otherwise}"
        raise PermissionError(1, text, os.fspath(path))


def _parse(lines):
    """Return the sections of a file, each with its properties. Ignore lines that are not properties."""
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
            return text[1:-1]  # czmq allows quotes within
    return re.split(r"\s#", text)[0].rstrip()  # without quotes, as pyzmq writes metadata


def _write(path, text, mode, overwrite):
    """Write a file with a mode atomically: it appears complete, and is never readable for other users before."""
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
                os.link(fresh, path)  # unlike a rename, it fails if the file exists
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
    """Access rules. A peer that no rule accepts is refused.

    A rule can be a function of the peer's credentials. It returns a bool, or the user's name, which the server reads
    with ``frame.get("User-Id")``. It may be a coroutine function. Any other function must be fast, because it blocks
    all other decisions. If it raises, the peer is refused.

    Parameters
    ----------
    allow : str or iterable of str, optional
        The addresses and networks from which peers are accepted, such as ``10.0.0.0/8`` and ``::1``, and ``ipc`` for
        local processes over ipc. By default all.
    deny : str or iterable of str, default ()
        The addresses and networks from which all peers are refused, whatever their credentials.
    null : bool, default False
        Whether to accept peers without credentials (NULL). libzmq asks about them only if the socket has a
        `zap_domain`.
    plain : mapping, path or callable, optional
        A mapping of user names to passwords, which is looked up for each request; the path of a file with a line
        ``user:password`` per user; or a function of a user name and a password. Only its owner may open the file. It is
        read again when it has changed.
    curve : ANY, path, mapping, iterable or callable, optional
        The accepted public keys: `ANY` for all; the path of a folder of certificates (``*.key``), which is read again
        for each request; a mapping of keys to user names; an iterable of keys; or a function of a key (bytes, in Z85).
        Without a name the user is the key.
    gssapi : ANY, mapping, iterable or callable, optional
        The accepted principals, in the same forms, without a path. libzmq has verified them.

    Raises
    ------
    ValueError
        A value is not an address, network or key, or a network has bits set after its prefix.
    NotADirectoryError, FileNotFoundError
        The folder of certificates, or the password file, does not exist.
    PermissionError
        Other users can open the password file.

    Examples
    --------
    >>> policy = zmqcy.auth.Policy(allow="10.0.0.0/8", plain={"alice": "secret"})

    See Also
    --------
    Authenticator : applies policies.
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
        """Return why an address is refused, or None."""
        place = _place(address)
        if place in self._deny or (place is None and self._deny):  # an unreadable address could be a denied one
            return "the address is denied"
        if self._allow is not None and place not in self._allow:
            return "the address is not allowed"
        return None


class _Places:
    """A set of addresses and networks."""

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
    """Convert an IPv4-mapped IPv6 network to IPv4, as `_place` does with addresses."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - 96))


def _place(address):
    """Return the address of a peer, ``ipc`` for a peer over ipc, or None if the text is not an address."""
    if address.partition(":")[0] == "localhost":  # libzmq's form for ipc, followed by user, group and process ids
        return "ipc"
    try:
        place = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(place, "ipv4_mapped", None) or place  # a socket with ipv6=True reports IPv4 as IPv4-mapped IPv6


def _rule_of_passwords(passwords):
    if isinstance(passwords, (str, os.PathLike)):
        return _PasswordFile(passwords)
    return _by_password(passwords) if isinstance(passwords, Mapping) else passwords


class _PasswordFile:
    """The passwords of a file, which is read again when it has changed."""

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
            _log.error("the password file cannot be read, so all peers with a password are refused: %s", error)
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
                        raise ValueError(f"{self.path}: line {number} does not have the form user:password")
                    passwords[username] = password
        self.stamp, self.passwords = stamp, passwords


def _stamp(stat):
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def _by_password(passwords):
    def check(username, password):
        expected = passwords.get(username)
        known = expected is not None
        # Digests have equal lengths, and an unknown user takes as long as a known one: no timing attack.
        given, wanted = (_digest(each) for each in (password, expected if known else ""))
        return hmac.compare_digest(given, wanted) and known and username

    return check


def _digest(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


def _rule_of(allowed, name, normal):
    """Return a function that accepts or refuses one credential."""
    if allowed is None or callable(allowed):
        return allowed
    if allowed is ANY:
        return lambda credential: True
    if isinstance(allowed, (str, bytes)):
        raise TypeError(f"Policy: {name} must be a mapping, an iterable or a callable, not {type(allowed).__name__}")
    pairs = allowed.items() if isinstance(allowed, Mapping) else ((credential, True) for credential in allowed)
    users = {normal(credential): user for credential, user in pairs}
    return lambda credential: users.get(credential, False)  # public keys are not secret: no timing attack


def _rule_of_keys(allowed):
    if isinstance(allowed, (str, os.PathLike)):
        return _Folder(allowed)
    return _rule_of(allowed, "curve", lambda key: to_key("Policy", "a key of curve", getattr(key, "public", key)))


class _Folder:
    """The certificates in a folder. Each file is read again when it has changed."""

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.files = {}  # by name: when the file changed, and its key, or None
        os.scandir(self.path).close()

    def __call__(self, key):
        try:
            self.look()
        except OSError as error:
            _log.error("the folder of certificates cannot be read, so all peers with a key are refused: %s", error)
        return any(each == key for _, each in self.files.values())

    def look(self):
        before, self.files = self.files, {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(".key"):
                    self.take(entry, before.get(entry.name))

    def take(self, entry, known):
        try:
            if not entry.is_file():  # opening a pipe would block until there is a writer
                return
            stamp = _stamp(entry.stat())
            if known is None or known[0] != stamp:
                known = stamp, None
                known = stamp, Certificate.load(entry.path).public
        except FileNotFoundError:  # it was just removed
            return
        except (OSError, ValueError) as error:
            _log.error("a certificate is ignored: %s", error)
            if known is None:
                return
        self.files[entry.name] = known


# --------------------------------------------------------------------------------------------------------- the handler


class Request(NamedTuple):
    """libzmq's request to accept or refuse a peer."""

    domain: str
    address: str
    mechanism: str
    credentials: tuple[bytes | str, ...]


_COUNTS = {"NULL": 0, "PLAIN": 2, "CURVE": 1, "GSSAPI": 1}  # the number of credentials


class Authenticator:
    """Accept or refuse the peers of a context's sockets. It is the ZAP handler of the context.

    ``with`` runs it in a thread, as `start` and `stop` do. ``async with`` runs it in the current asyncio event loop.
    Start it before the servers are bound: a socket with a `zap_domain` raises StateError at `bind` and `connect` while
    no Authenticator runs. After the first start the context has a handler until the context ends. When the
    Authenticator is stopped, or its event loop has ended, this handler refuses every peer.

    Decisions are logged under ``zmqcy.auth``: accepted peers as INFO, refused peers as WARNING, and errors, such as an
    exception of a rule, as ERROR.

    Parameters
    ----------
    context : zmqcy.Context, optional
        The context of the servers, of any class. By default ``zmqcy.Context.instance()``.
    allow, deny, null, plain, curve, gssapi
        The parameters of `Policy`, for all domains that are not in `domains`.
    domains : mapping of str to Policy, optional
        Policies by ZAP domain.

    Raises
    ------
    ValueError, TypeError, OSError
        For the same reasons as `Policy`.

    Examples
    --------
    >>> server_key, client_key = (zmqcy.auth.Certificate.generate() for _ in range(2))
    >>> with zmqcy.auth.Authenticator(ctx, curve=[client_key.public], deny="10.0.0.0/8"):
    ...     public_key = server.serve_curve(server_key, domain="global")
    ...     endpoint = server.bind("tcp://127.0.0.1:*").endpoint
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
                kind = type(policy).__name__  # its repr may contain passwords
                raise TypeError(f"Authenticator: domains must map str to Policy, not {name!r:.80} to {kind}")
        self._log = _log
        self._gate = None
        self._home = None  # the event loop that runs the rules; None: the gate's
        self._deciding = set()  # the tasks in this loop

    def start(self) -> None:
        """Start to accept and refuse peers, in a thread.

        Raises
        ------
        StateError
            The Authenticator runs already.
        ZMQError
            EADDRINUSE: the context has another ZAP handler.
        ContextTerminated
            The context has ended.

        See Also
        --------
        stop
        """
        self._begin(None)

    def stop(self) -> None:
        """Refuse every peer from now on, until the next start or the end of the context.

        Peers whose decision is still pending are refused too. A second call does nothing.
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
        """bool: whether the Authenticator runs."""
        gate = self._gate
        return gate is not None and gate.handler is self and not (self._home is not None and self._home.is_closed())

    def _begin(self, home):
        """Start, in an event loop or, if that is None, in the gate's."""
        if self.running:
            raise StateError(EFSM, "it is running", call="start")
        self._home = home
        self._gate = _admit(self)

    async def _judge(self, request):
        """Return the answer to a request. Runs in the gate's event loop."""
        import asyncio
        from concurrent.futures import Future, InvalidStateError

        if self._home is None:
            return (await self._answer(request))[0]
        answered = Future()

        def settle(answer):
            with suppress(InvalidStateError):  # the Authenticator was stopped meanwhile
                if not answered.done():
                    answered.set_result(answer)

        async def decide():
            answer, error = await self._answer(request)
            settle(answer)
            if isinstance(error, KeyboardInterrupt):  # Ctrl-C belongs to the program that runs this event loop
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
        """Return the answer to a request, and the exception of the rule, or None."""
        try:
            return await self._decide(request), None
        except GeneratorExit:  # the coroutine is destroyed with its loop
            raise
        except BaseException as error:
            # The text of the exception may contain the password: log only the place.
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
                self._log.info("accepted %s: %r", _describe(request), user)
                return b"200", b"OK", user
            reason = "the credentials are unknown or wrong"
        self._log.warning("refused %s: %s", _describe(request), reason)
        return b"400", reason.encode(), ""


_INTERNAL = b"500", b"internal error", ""
_STOPPED = b"400", b"no Authenticator is running", ""


class _Gate:
    """The ZAP handler of a context, from the first start of an Authenticator until the context ends.

    It has a thread with an event loop. While no Authenticator runs, it refuses all peers: without a handler libzmq
    would accept them.
    """

    def __init__(self, address):
        import asyncio

        self.process = os.getpid()
        self.address = address
        self.handler = None
        self.deciding = {}  # the handlers, by task
        # A separate context object, made from the address, does not keep the program's context alive. The end of the
        # program's context wakes the thread, which closes the socket.
        self.socket = Socket(AsyncContext._weak_shadow(address), SocketType.ROUTER)
        self.loop = None
        try:
            _note_handler(address, False)  # before the bind, so that the bind is known to be a gate's
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
            except BaseException as error:  # KeyboardInterrupt in a task of a rule ends the loop too
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
                # Continue: the next receive may succeed.
                _log.error("the handler continues after %s: %s", type(error).__name__, error)
                await asyncio.sleep(0.1)
                continue
            task = self.loop.create_task(self.answer(parts))
            self.deciding[task] = None
            task.add_done_callback(self.deciding.pop)

    async def answer(self, parts):
        """Answer one request."""
        try:
            end = parts.index(b"")  # the end of the envelope
        except ValueError:
            _log.error("a request without an envelope is ignored")  # there is no address for an answer
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
        voucher = _VOUCHER if status == b"200" else b""  # lets Frame.get trust "User-Id"
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
                pass  # the Authenticator was stopped
        _log.warning("refused %s: the Authenticator of the context was stopped", _describe(request))
        return _STOPPED

    def release(self, handler):
        """Remove an Authenticator, and wait until its rules have ended."""
        import asyncio
        from concurrent.futures import TimeoutError

        if self.process != os.getpid():  # a forked child does not have the thread
            return
        with _gates_lock:
            if self.handler is handler:
                self.handler = None
                _note_handler(self.address, False)
        if threading.current_thread() is self.thread:  # a rule has called stop
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
    """Make an Authenticator the handler of its context, and return the gate."""
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
    text = "the context has another ZAP handler, and libzmq supports one per context; stop that one first"
    return ZMQError(EADDRINUSE, text, call="start", detail=_ZAP)


def _forget_gates():
    """Reset all gates in a forked child, which does not have their threads."""
    global _gates_lock
    _gates_lock = threading.RLock()
    _gates.clear()


os.register_at_fork(after_in_child=_forget_gates)


def _close(socket):
    if not socket.closed:
        with suppress(ContextTerminated):
            socket.unbind(_ZAP)  # at once, for the next handler: close takes effect later, in libzmq's thread
        socket.close(0)


def _describe(request):
    return f"{request.mechanism} from {request.address}, domain {request.domain!r}"


def _read(frames):
    """Parse a request. Raise ValueError if it violates RFC 27."""
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
    """Return the name of a user that a rule has accepted without a name."""
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
