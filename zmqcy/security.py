"""Encryption with CURVE and passwords with PLAIN, for sockets.

`zmqcy.auth` has key files (certificates) and access control.
"""

from __future__ import annotations

from zmqcy import _library
from zmqcy.errors import EFSM, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zmqcy.auth import Certificate


class Mechanisms:
    """The methods of sockets that configure a security mechanism."""

    __slots__ = ()

    def serve_curve(self, secret_key: bytes | str | Certificate, domain: str | None = None) -> bytes:
        """Make the socket a CURVE server: encrypt all traffic, and accept only clients that know its public key.

        Call it before the first `bind` or `connect`.

        Parameters
        ----------
        secret_key : bytes, str or zmqcy.auth.Certificate
            The server's secret key: 40 characters of Z85, or 32 bytes.
        domain : str, optional
            The ZAP domain, in which an Authenticator accepts clients by their own keys. `bind` and `connect` then raise
            StateError while no `zmqcy.auth.Authenticator` runs. By default every client that knows the server's public
            key is accepted, unless an Authenticator of the context refuses it.

        Returns
        -------
        bytes
            The public key of the server, for its clients: 40 characters of Z85.

        Raises
        ------
        StateError
            The socket was already bound or connected: libzmq would ignore the change.
        ValueError
            `secret_key` is not a key.
        NotSupported
            This libzmq has no CURVE.

        Examples
        --------
        >>> public_key, secret_key = zmqcy.curve_keypair()
        >>> server.serve_curve(secret_key) == public_key
        True
        >>> client_key = client.use_curve(public_key)

        See Also
        --------
        use_curve : the client's side.
        zmqcy.auth.Authenticator : accept clients by their keys.
        """
        secret = to_key("serve_curve", "secret_key", getattr(secret_key, "secret", secret_key))
        public = _library.curve_public(secret)
        self._check_unused("serve_curve")
        if domain:
            self.zap_domain = domain
        self.curve_publickey, self.curve_secretkey = public, secret
        self.curve_server = True
        return public

    def use_curve(
        self, server_key: bytes | str | Certificate, keys: tuple[bytes | str, bytes | str] | Certificate | None = None
    ) -> bytes:
        """Make the socket a CURVE client: encrypt all traffic, and talk only to the server with this public key.

        Call it before the first `bind` or `connect`.

        Parameters
        ----------
        server_key : bytes, str or zmqcy.auth.Certificate
            The server's public key: 40 characters of Z85, or 32 bytes.
        keys : tuple or zmqcy.auth.Certificate, optional
            The client's public and secret key. By default a new pair is generated.

        Returns
        -------
        bytes
            The client's public key, by which the server can identify it: 40 characters of Z85.

        Raises
        ------
        StateError
            The socket was already bound or connected: libzmq would ignore the change.
        ValueError
            An argument is not a key, or the client's keys are not a pair.
        NotSupported
            This libzmq has no CURVE.

        See Also
        --------
        serve_curve : the server's side.
        """
        server = to_key("use_curve", "server_key", getattr(server_key, "public", server_key))
        public, secret = _library.curve_keypair() if keys is None else to_pair("use_curve", keys)
        self._check_unused("use_curve")
        self.curve_server = False
        self.curve_serverkey, self.curve_publickey, self.curve_secretkey = server, public, secret
        return public

    def serve_plain(self, domain: str | None = None) -> None:
        """Require a user name and a password from clients, which an Authenticator checks.

        PLAIN encrypts nothing: use it only in trusted networks. Call it before the first `bind` or `connect`.

        Parameters
        ----------
        domain : str, optional
            The ZAP domain. By default `zap_domain` stays as it is. Without an Authenticator all clients are refused.

        Raises
        ------
        StateError
            The socket was already bound or connected: libzmq would ignore the change.

        See Also
        --------
        use_plain : the client's side.
        zmqcy.auth.Authenticator : checks the passwords.
        """
        self._check_unused("serve_plain")
        if domain:
            self.zap_domain = domain
        self.plain_server = True

    def use_plain(self, username: str | bytes, password: str | bytes) -> None:
        """Send a user name and a password to servers, unencrypted.

        Call it before the first `bind` or `connect`.

        Parameters
        ----------
        username, password : str or bytes
            1 to 255 bytes of UTF-8 each.

        Raises
        ------
        StateError
            The socket was already bound or connected: libzmq would ignore the change.
        ValueError
            `username` or `password` is empty or too long.

        See Also
        --------
        serve_plain : the server's side.
        """
        # Check before any option is set: None would switch PLAIN off.
        for name, value in (("username", username), ("password", password)):
            if not isinstance(value, (str, bytes)):
                raise TypeError(f"use_plain: {name} must be str, not {type(value).__name__}")
            if not 0 < len(value.encode() if isinstance(value, str) else value) < 256:
                raise ValueError(f"use_plain: {name} must have 1 to 255 bytes")
        self._check_unused("use_plain")
        self.plain_server = False
        self.plain_username, self.plain_password = username, password

    def _check_unused(self, call):
        if self.last_endpoint:
            text = "libzmq ignores it from now on; call it before the first bind or connect"
            raise StateError(EFSM, text, call=call, detail=self.last_endpoint, socket_type=self.socket_type.name)


def to_key(call: str, name: str, key: object) -> bytes:
    """Return a CURVE key in Z85. Errors do not show the value, which may be secret."""
    if isinstance(key, str):
        key = key.encode("utf-8", "surrogatepass")
    if not isinstance(key, (bytes, bytearray, memoryview)):
        raise TypeError(f"{call}: {name} must be a key of 40 characters of Z85 or 32 bytes, not {type(key).__name__}")
    key = bytes(key)
    try:
        if len(key) == 32:
            return _library.z85_encode(key)
        if len(key) == 40:
            _library.z85_decode(key)
            return key
    except ValueError:
        pass
    raise ValueError(f"{call}: {name} must be a key of 40 characters of Z85 or 32 bytes, not {len(key)} other bytes")


def to_pair(call: str, keys: object) -> tuple[bytes, bytes]:
    """Return the two keys of a pair or certificate in Z85."""
    pair = tuple(keys) if isinstance(keys, (tuple, list)) else (getattr(keys, "public", None), keys)
    if len(pair) != 2 or pair[0] is None:
        raise TypeError(f"{call}: a public and a secret key are required, or a Certificate, not {type(keys).__name__}")
    public, secret = pair[0], getattr(pair[1], "secret", pair[1])
    public, secret = to_key(call, "the public key", public), to_key(call, "the secret key", secret)
    if _library.curve_public(secret) != public:
        raise ValueError(f"{call}: the keys are not a pair: the public key does not belong to the secret key")
    return public, secret
