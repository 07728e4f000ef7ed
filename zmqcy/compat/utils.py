"""`zmq.utils`: JSON, conversion of str and bytes, Z85, addresses."""

import builtins
import json
from threading import Thread
from typing import Any

import zmqcy

# ---- jsonapi

jsonmod = json


def dumps(o: object, **kwargs: Any) -> bytes:
    """Serialize a value as JSON in UTF-8.

    Parameters
    ----------
    o : object
        A value that json.dumps supports.
    **kwargs
        Passed to json.dumps.
    """
    return json.dumps(o, **kwargs).encode()


def loads(s: bytes | str, **kwargs: Any) -> Any:
    """Parse JSON.

    Parameters
    ----------
    s : bytes or str
        The text.
    **kwargs
        Passed to json.loads.
    """
    return json.loads(s if isinstance(s, str) else str(s, "utf-8"), **kwargs)


# ---- strtypes

bytes = builtins.bytes
unicode = str
basestring = (str,)


def cast_bytes(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> builtins.bytes:
    """Encode str, and return bytes unchanged."""
    if isinstance(s, builtins.bytes):
        return s
    if isinstance(s, str):
        return s.encode(encoding, errors)
    raise TypeError(f"cast_bytes: str or bytes are required, not {s!r:.80}")


def cast_unicode(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> str:
    """Decode bytes, and return str unchanged."""
    if isinstance(s, str):
        return s
    if isinstance(s, builtins.bytes):
        return s.decode(encoding, errors)
    raise TypeError(f"cast_unicode: str or bytes are required, not {s!r:.80}")


asbytes = b = cast_bytes
u = cast_unicode

# ---- z85

Z85CHARS = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
Z85MAP = {character: value for value, character in enumerate(Z85CHARS)}


def encode(rawbytes: Any) -> builtins.bytes:
    """Encode bytes as Z85. Their number must be a multiple of 4."""
    return zmqcy.z85_encode(rawbytes)


def decode(z85bytes: Any) -> builtins.bytes:
    """Decode Z85. Its length must be a multiple of 5."""
    return zmqcy.z85_decode(z85bytes)


# ---- python -m zmq.curve_keygen


def _main() -> None:
    """Print a new pair of CURVE keys, or the public key of a secret key."""
    import argparse

    parser = argparse.ArgumentParser("python3 -m zmq.curve_keygen", description="Generate a pair of CURVE keys.")
    parser.add_argument("--json", action="store_true", help="print the keys as JSON")
    parser.add_argument("--secret", help="print the public key of this secret key")
    chosen = parser.parse_args()
    public, secret = zmqcy.curve_keypair()
    if chosen.secret:
        public, secret = zmqcy.curve_public(chosen.secret.encode()), chosen.secret.encode()
    if chosen.json:
        print(json.dumps({"public": public.decode(), "secret": secret.decode()}, indent=1))
    else:
        print(f"== CURVE PUBLIC KEY ==\n{public.decode()}\n\n== CURVE SECRET KEY ==\n{secret.decode()}")


# ---- interop


def cast_int_addr(n: Any) -> int:
    """Convert an address to an int: from an int, an object of zmqcy or pyzmq, or a pointer of ctypes or CFFI."""
    n = getattr(n, "underlying", n)
    n = getattr(n, "value", n)
    if not isinstance(n, int):
        try:
            n = int(n)
        except TypeError:
            raise ValueError(f"cast_int_addr: an address is required, not {n!r:.80}") from None
    return int(n)


# ---- garbage


class GarbageCollector:
    """pyzmq's owner of zero-copy buffers. It does nothing here: zmqcy needs no thread for them."""

    url = "inproc://zmqcy.has.no.gc"

    def __init__(self, context: Any = None) -> None:
        self.context = context
        self.refs: dict[int, Any] = {}

    def is_alive(self) -> bool:
        """Return False: there is no thread."""
        return False

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class GarbageCollectorThread(Thread):
    """The thread of pyzmq's GarbageCollector. zmqcy never starts it."""


gc = GarbageCollector()

# ---- win32


class allow_interrupt:
    """Do nothing. In pyzmq it makes Ctrl-C end a wait on Windows; in zmqcy Ctrl-C ends every wait.

    Parameters
    ----------
    action : callable, optional
        Not used. pyzmq calls it after Ctrl-C.
    """

    def __init__(self, action: Any = None) -> None:
        self.action = action

    def __enter__(self) -> "allow_interrupt":
        return self

    def __exit__(self, *exception: object) -> None:
        pass
