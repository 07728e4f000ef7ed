"""pyzmq's modules over zmqcy, for code that says ``import zmq`` and cannot be touched."""

PYZMQ = (27, 3, 0)


def pyzmq_version() -> str:
    """Return the version of pyzmq whose names these are, as ``'27.3.0'``."""
    return ".".join(map(str, PYZMQ))


def pyzmq_version_info() -> tuple[int, int, int]:
    """Return the version of pyzmq whose names these are as three ints."""
    return PYZMQ
