"""The functions of `zmq.utils`: JSON, text and bytes, Z85, addresses."""

import builtins
import json
from threading import Thread
from typing import Any

import zmqcy

# ---- jsonapi

jsonmod = json


def dumps(o: object, **kwargs: Any) -> bytes:
    """Return a value as JSON in UTF-8.

    Parameters
    ----------
    o : object
        What json.dumps takes.
    **kwargs
        For json.dumps.
    """
    return json.dumps(o, **kwargs).encode()


def loads(s: bytes | str, **kwargs: Any) -> Any:
    """Return the value of a text in JSON.

    Parameters
    ----------
    s : bytes or str
        The text.
    **kwargs
        For json.loads.
    """
    return json.loads(s if isinstance(s, str) else str(s, "utf-8"), **kwargs)


# ---- strtypes

bytes = builtins.bytes
unicode = str
basestring = (str,)


def cast_bytes(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> builtins.bytes:
    """Return text as bytes, and bytes as they are."""
    if isinstance(s, builtins.bytes):
        return s
    if isinstance(s, str):
        return s.encode(encoding, errors)
    raise TypeError(f"cast_bytes: str or bytes are required, not {s!r:.80}")


def cast_unicode(s: str | bytes, encoding: str = "utf8", errors: str = "strict") -> str:
    """Return bytes as text, and text as it is."""
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
    """Return bytes as Z85; their number is a multiple of 4."""
    return zmqcy.z85_encode(rawbytes)


def decode(z85bytes: Any) -> builtins.bytes:
    """Return the bytes of a text of Z85; its length is a multiple of 5."""
    return zmqcy.z85_decode(z85bytes)


# ---- python -m zmq.curve_keygen


def _main() -> None:
    """Print a new pair of CURVE keys, or the public key of a secret one."""
    import argparse

    parser = argparse.ArgumentParser("python3 -m zmq.curve_keygen", description="Make a pair of CURVE keys.")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--secret", help="a secret key, to print its public key")
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
    """Return an address as an int: of an int, an object of zmqcy or pyzmq, a pointer of ctypes or CFFI."""
    n = getattr(n, "underlying", n)
    n = getattr(n, "value", n)
    if not isinstance(n, int):
        try:
            n = int(n)
        except TypeError:
            raise ValueError(f"cast_int_addr: no address is in {n!r:.80}") from None
    return int(n)


# ---- garbage


class GarbageCollector:
    """What held buffers that pyzmq has lent to libzmq. zmqcy needs no thread for that: this one does nothing."""

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
    """The thread of pyzmq's GarbageCollector. It is never started here."""


gc = GarbageCollector()

# ---- win32


class allow_interrupt:
    """Let Ctrl-C end a wait on Windows. zmqcy's waits end by it anyway, so that this does nothing.

    Parameters
    ----------
    action : callable, optional
        What pyzmq calls at Ctrl-C.
    """

    def __init__(self, action: Any = None) -> None:
        self.action = action

    def __enter__(self) -> "allow_interrupt":
        return self

    def __exit__(self, *exception: object) -> None:
        pass
