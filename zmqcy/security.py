"""CURVE and PLAIN: how sockets take up a security mechanism, and the form of keys.

`zmqcy.auth` has files of keys, and decides which peers may connect.
"""

from __future__ import annotations

from zmqcy import _library
from zmqcy.errors import EFSM, StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zmqcy.auth import Certificate


class Mechanisms:
    """The security mechanisms of a socket: a base of the classes of sockets."""

    __slots__ = ()

    def serve_curve(self, secret_key: bytes | str | Certificate, domain: str | None = None) -> bytes:
        """Be a CURVE server: clients have to know its public key, and all that is sent is encrypted.

        Parameters
        ----------
        secret_key : bytes, str or zmqcy.auth.Certificate
            The server's secret key: 40 characters of Z85, or 32 bytes.
        domain : str, optional
            The domain of ZAP under which clients have to be let in by their own keys: `bind` and `connect` then raise
            StateError while no `zmqcy.auth.Authenticator` runs. By default whoever knows the public key of the server
            is let in, unless the context has an Authenticator that refuses.

        Returns
        -------
        bytes
            The public key of the server, for its clients: 40 characters of Z85.

        Raises
        ------
        StateError
            The socket has been bound or connected, and libzmq would go on as before.
        ValueError
            `secret_key` is no key.
        NotSupported
            This libzmq has no CURVE.
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
        """Be a CURVE client: send nothing to a server but the one that has this key, and encrypt everything.

        Parameters
        ----------
        server_key : bytes, str or zmqcy.auth.Certificate
            The server's public key: 40 characters of Z85, or 32 bytes.
        keys : tuple or zmqcy.auth.Certificate, optional
            The public and the secret key of the client; by default a new pair.

        Returns
        -------
        bytes
            The public key of the client, by which the server may know it: 40 characters of Z85.

        Raises
        ------
        StateError
            The socket has been bound or connected, and libzmq would go on as before.
        ValueError
            One of them is no key, or the client's are no pair.
        NotSupported
            This libzmq has no CURVE.
        """
        server = to_key("use_curve", "server_key", getattr(server_key, "public", server_key))
        public, secret = _library.curve_keypair() if keys is None else to_pair("use_curve", keys)
        self._check_unused("use_curve")
        self.curve_server = False
        self.curve_serverkey, self.curve_publickey, self.curve_secretkey = server, public, secret
        return public

    def serve_plain(self, domain: str | None = None) -> None:
        """Ask clients for a user name and a password, which an Authenticator has to know.

        PLAIN encrypts nothing: it is for networks that nobody else listens to.

        Parameters
        ----------
        domain : str, optional
            The domain of ZAP; by default as `zap_domain` is set. Where the context has no handler, nobody is let in.

        Raises
        ------
        StateError
            The socket has been bound or connected, and libzmq would go on as before.
        """
        self._check_unused("serve_plain")
        if domain:
            self.zap_domain = domain
        self.plain_server = True

    def use_plain(self, username: str | bytes, password: str | bytes) -> None:
        """Tell servers a user name and a password, in the clear.

        Parameters
        ----------
        username, password : str or bytes
            1 to 255 bytes of UTF-8 each.

        Raises
        ------
        StateError
            The socket has been bound or connected, and libzmq would go on as before.
        ValueError
            One of them is empty or too long.
        """
        # Before anything is set, for None would take PLAIN back.
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
            text = "libzmq takes up security before the first bind or connect only"
            raise StateError(EFSM, text, call=call, detail=self.last_endpoint, socket_type=self.socket_type.name)


def to_key(call: str, name: str, key: object) -> bytes:
    """Return a CURVE key in Z85. The error for what is none does not show it: it may be a secret."""
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
    raise ValueError(f"{call}: {name} must be a key of 40 characters of Z85 or 32 bytes; these {len(key)} are none")


def to_pair(call: str, keys: object) -> tuple[bytes, bytes]:
    """Return the two keys of a pair or certificate in Z85."""
    pair = tuple(keys) if isinstance(keys, (tuple, list)) else (getattr(keys, "public", None), keys)
    if len(pair) != 2 or pair[0] is None:
        raise TypeError(f"{call}: a public and a secret key are required, or a Certificate, not {type(keys).__name__}")
    public, secret = pair[0], getattr(pair[1], "secret", pair[1])
    public, secret = to_key(call, "the public key", public), to_key(call, "the secret key", secret)
    if _library.curve_public(secret) != public:
        raise ValueError(f"{call}: the keys are no pair: the public key is not that of the secret one")
    return public, secret
