"""`zmq.auth`: certificate files, and authenticators that can be reconfigured while they run.

They use the handler of `zmqcy.auth`, with pyzmq's rules: peers without credentials (NULL) and peers with GSSAPI are
accepted. Domains are matched by their exact name; ``"*"`` is the domain of sockets without a `zap_domain`.
"""

import asyncio
import glob
import hmac
import inspect
import ipaddress
import logging
import os
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import zmqcy.auth
from zmqcy.compat.core import Context

CURVE_ALLOW_ANY = "*"
VERSION = b"1.0"

_Path = str | os.PathLike[str]


# ------------------------------------------------------------------------------------------------------- certificates


def create_certificates(key_dir: _Path, name: str, metadata: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Generate a pair of CURVE keys, and write it to two files. Existing files are replaced.

    Parameters
    ----------
    key_dir : str or path-like
        The folder.
    name : str
        The name of the files, without ``.key`` and ``.key_secret``.
    metadata : mapping of str to str, optional
        Properties of the owner.

    Returns
    -------
    tuple of str
        The path of the file with the public key, and of the file with both keys, which only its owner can open.

    Raises
    ------
    OSError
        A file cannot be written.
    ValueError
        The format does not support the metadata.
    """
    path = os.path.join(key_dir, f"{name}.key")
    zmqcy.auth.Certificate.generate(metadata).save(path, overwrite=True)
    return path, f"{path}_secret"


def load_certificate(filename: _Path) -> tuple[bytes, bytes | None]:
    """Read a certificate.

    Parameters
    ----------
    filename : str or path-like
        The file.

    Returns
    -------
    tuple
        The public key, and the secret key or None: 40 characters of Z85 each.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The file is not a certificate.
    """
    found = zmqcy.auth.Certificate.load(filename, readable=True)
    return found.public, found.secret


def load_certificates(directory: _Path = ".") -> dict[bytes, bool]:
    """Read the public keys of all certificates in a folder.

    Parameters
    ----------
    directory : str or path-like, default "."
        The folder with files ``*.key``.

    Returns
    -------
    dict
        The public keys, each with the value True.

    Raises
    ------
    OSError
        `directory` is not a folder, or a file cannot be read.
    ValueError
        A file is not a certificate.
    """
    os.scandir(directory).close()
    files = glob.glob(os.path.join(glob.escape(os.fspath(directory)), "*.key"))
    return {load_certificate(file)[0]: True for file in files}


_cert_public_banner = "#   Made on {0} by zmqcy\n#   ZeroMQ CURVE public certificate\n\n"
_cert_secret_banner = "#   Made on {0} by zmqcy\n#   ZeroMQ CURVE secret certificate: do not share it\n\n"


def _write_key_file(
    key_filename: _Path,
    banner: str,
    public_key: str | bytes,
    secret_key: str | bytes | None = None,
    metadata: Mapping[Any, Any] | None = None,
    encoding: str = "utf-8",
) -> None:
    """Write given keys to a certificate file. Only its owner can open a file with a secret key.

    Parameters
    ----------
    key_filename : str or path-like
        The file.
    banner : str
        The text at the beginning. ``{0}`` is replaced by the time.
    public_key, secret_key : str or bytes
        The keys.
    metadata : mapping, optional
        Properties of the owner.
    encoding : str, default "utf-8"
        The encoding of keys and metadata that are bytes.
    """

    def text(value: Any) -> str:
        return value.decode(encoding) if isinstance(value, bytes) else str(value)

    lines = ["metadata", *(f"    {text(name)} = {text(value)}" for name, value in (metadata or {}).items()), "curve"]
    lines.append(f'    public-key = "{text(public_key)}"')
    if secret_key:
        lines.append(f'    secret-key = "{text(secret_key)}"')
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with open(os.open(key_filename, flags, 0o600 if secret_key else 0o666), "w", encoding="utf-8") as file:
        file.write(banner.format(datetime.now()) + "\n".join([*lines, ""]))


# ------------------------------------------------------------------------------------------------------ authenticators


def _place(address: str) -> Any:
    """Return an address in a normal form, or a text that is not an address unchanged.

    IPv4-mapped IPv6 addresses become IPv4: a socket with `ipv6` reports IPv4 peers in this form.
    """
    try:
        place = ipaddress.ip_address(address)
    except ValueError:
        return address
    return getattr(place, "ipv4_mapped", None) or place


class _Handler(zmqcy.auth.Authenticator):
    """zmqcy's handler, which applies the rules of an Authenticator."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner.context)
        self._owner = owner
        self._log = owner.log

    async def _decide(self, request: Any) -> tuple[bytes, bytes, str]:
        where = f"{request.mechanism} from {request.address}, domain {request.domain!r}"
        user, reason = await self._owner._decide(request)
        if user is None:
            self._log.warning("DENIED %s: %s", where, reason)
            return b"400", reason.encode(), ""
        self._log.debug("ALLOWED %s: %r", where, user)
        return b"200", b"OK", user


class Authenticator:
    """The rules by which `ThreadAuthenticator` and `AsyncioAuthenticator` accept peers.

    Parameters
    ----------
    context : Context, optional
        The context of the servers. By default ``zmq.Context.instance()``.
    encoding : str, default "utf-8"
        Not used: names and passwords are UTF-8.
    log : logging.Logger, optional
        The logger. By default ``zmq.auth``.
    """

    allow_any: bool

    def __init__(self, context: Any = None, encoding: str = "utf-8", log: Any = None) -> None:
        self.context = context or Context.instance()
        self.encoding = encoding
        self.log = log or logging.getLogger("zmq.auth")
        self.allow_any = False
        self.passwords: dict[str, dict[str, str]] = {}
        self.certs: dict[str, dict[bytes, bool]] = {}
        self.credentials_providers: dict[str, Any] = {}
        self._allowed: set[Any] = set()
        self._denied: set[Any] = set()
        self._handler: Any = None

    @property
    def zap_socket(self) -> Any:
        """Socket or None: the ZAP socket, while the authenticator runs. Do not use it: it belongs to another thread."""
        return self._handler and self._handler._gate and self._handler._gate.socket

    def start(self) -> None:
        """Raise NotImplementedError: use `ThreadAuthenticator` or `AsyncioAuthenticator`."""
        raise NotImplementedError("start: use a ThreadAuthenticator or an AsyncioAuthenticator")

    def stop(self) -> None:
        """Stop answering authentication requests."""

    def allow(self, *addresses: str) -> None:
        """Accept peers from these addresses only.

        Raises
        ------
        ValueError
            `deny` was called before: only one of the two can be used.
        """
        if self._denied:
            raise ValueError("allow: some addresses are denied; use allow or deny, not both")
        self._allowed.update(map(_place, addresses))

    def deny(self, *addresses: str) -> None:
        """Refuse peers from these addresses.

        Raises
        ------
        ValueError
            `allow` was called before: only one of the two can be used.
        """
        if self._allowed:
            raise ValueError("deny: some addresses are allowed; use allow or deny, not both")
        self._denied.update(map(_place, addresses))

    def configure_plain(self, domain: str = "*", passwords: dict[str, str] | None = None) -> None:
        """Accept peers with a user name and a password (PLAIN).

        Parameters
        ----------
        domain : str, default "*"
            The `zap_domain` of the servers. ``"*"``: servers without a `zap_domain`.
        passwords : dict of str, optional
            Passwords by user name. They are looked up for each request.
        """
        self.passwords[domain] = {} if passwords is None else passwords

    def configure_curve(self, domain: str = "*", location: _Path = ".") -> None:
        """Accept peers whose certificates are in a folder (CURVE). The folder is read now.

        Parameters
        ----------
        domain : str, default "*"
            The `zap_domain` of the servers. ``"*"``: servers without a `zap_domain`.
        location : str or path-like, default "."
            The folder. CURVE_ALLOW_ANY: accept every key, in all domains.
        """
        if location == CURVE_ALLOW_ANY:
            self.allow_any = True
            return
        self.allow_any = False
        try:
            self.certs[domain] = load_certificates(location)
        except (OSError, ValueError) as error:
            self.log.error("the certificates of domain %r cannot be read: %s", domain, error)

    def configure_curve_callback(self, domain: str = "*", credentials_provider: Any = None) -> None:
        """Accept peers whose public keys an object accepts.

        Parameters
        ----------
        domain : str, default "*"
            The `zap_domain` of the servers. ``"*"``: servers without a `zap_domain`.
        credentials_provider : object
            Its ``callback(domain, key)`` returns whether to accept a key (bytes, in Z85). It may be a coroutine
            function.
        """
        self.allow_any = False
        if credentials_provider is None:
            self.log.error("configure_curve_callback: there is no credentials_provider for domain %r", domain)
        else:
            self.credentials_providers[domain] = credentials_provider

    def configure_gssapi(self, domain: str = "*", location: str | None = None) -> None:
        """Do nothing: every peer that GSSAPI has verified is accepted."""

    def curve_user_id(self, client_public_key: bytes) -> str:
        """Return the user name for a key: the key itself, unless a subclass overrides this method."""
        return client_public_key.decode()

    async def _decide(self, request: Any) -> tuple[str | None, str]:
        """Return the user, or None and the reason for the refusal."""
        places = {
            _place(request.address),
            _place(request.address.partition("%")[0]),
        }  # also without the interface: a rule for fe80::1 applies to every interface
        if self._allowed and not places & self._allowed:
            return None, "the address is not allowed"
        if places & self._denied:
            return None, "the address is denied"
        domain = request.domain or "*"
        if request.mechanism == "NULL":
            return "anonymous", ""
        if request.mechanism == "PLAIN":
            return self._decide_plain(domain, *request.credentials)
        if request.mechanism == "CURVE":
            return await self._decide_curve(domain, *request.credentials)
        return request.credentials[0], ""

    def _decide_plain(self, domain: str, username: str, password: str) -> tuple[str | None, str]:
        expected = self.passwords.get(domain, {}).get(username)
        known = expected is not None
        if hmac.compare_digest(password.encode(), (expected if expected is not None else "").encode()) and known:
            return username, ""
        return None, "the user or the password is unknown" if domain in self.passwords else "the domain is unknown"

    async def _decide_curve(self, domain: str, key: bytes) -> tuple[str | None, str]:
        if self.allow_any:
            allowed: Any = True
        elif domain in self.credentials_providers:
            allowed = self.credentials_providers[domain].callback(domain, key)
            if inspect.isawaitable(allowed):
                allowed = await allowed
        elif domain in self.certs:
            allowed = self.certs[domain].get(key)
        else:
            return None, "the domain is unknown"
        return (self.curve_user_id(key), "") if allowed else (None, "the key is unknown")


class ThreadAuthenticator(Authenticator):
    """An Authenticator that runs in a thread.

    Parameters
    ----------
    context, encoding, log
        As for `Authenticator`.
    """

    @property
    def thread(self) -> Any:
        """threading.Thread or None: the thread in which it runs."""
        return self._handler and self._handler._gate and self._handler._gate.thread

    def start(self) -> None:
        """Start answering authentication requests."""
        handler = _Handler(self)
        handler.start()
        self._handler = handler

    def stop(self) -> None:
        """Stop the authenticator, and wait until its thread has ended."""
        if self._handler is not None:
            self._handler.stop()
            self._handler = None

    def is_alive(self) -> bool:
        """Return whether the authenticator runs."""
        return self.thread is not None and self.thread.is_alive()


class AsyncioAuthenticator(Authenticator):
    """An Authenticator that runs in an event loop.

    Parameters
    ----------
    context : Context, optional
        As for `Authenticator`.
    loop : asyncio.AbstractEventLoop, optional
        The event loop. By default the loop that runs at `start`.
    encoding, log
        As for `Authenticator`.
    """

    def __init__(self, context: Any = None, loop: Any = None, encoding: str = "utf-8", log: Any = None) -> None:
        super().__init__(context, encoding, log)
        self.loop = loop

    def start(self) -> None:
        """Start answering authentication requests."""
        handler: Any = _Handler(self)
        handler._begin(self.loop or asyncio.get_running_loop())
        self._handler = handler

    def stop(self) -> None:
        """Stop answering authentication requests."""
        if self._handler is not None:
            self._handler.stop()
            self._handler = None


class IOLoopAuthenticator(AsyncioAuthenticator):
    """The older name of AsyncioAuthenticator.

    Parameters
    ----------
    context, encoding, log
        As for `Authenticator`.
    io_loop : object, optional
        Not used. The authenticator uses the loop that runs at `start`.
    """

    def __init__(self, context: Any = None, encoding: str = "utf-8", log: Any = None, io_loop: Any = None) -> None:
        super().__init__(context, None, encoding, log)
        if io_loop is not None:
            text = "IOLoopAuthenticator: io_loop is not used, and not needed"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
