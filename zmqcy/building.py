"""For the builds of other projects: where zmqcy's declarations are, which libzmq to link with, hooks of PyInstaller."""

import os

from zmqcy import _library


def get_include() -> str:
    """Return the folder in which Cython finds zmqcy's declarations: an `include_path` of `cythonize`.

    Cython looks there by itself where zmqcy was installed into the environment that it runs in; not where that points
    to a checkout (`pip install -e`). The C compiler needs zmq.h alone, which is libzmq's.

    Returns
    -------
    str
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def get_library() -> str | None:
    """Return the file of the libzmq that zmqcy has loaded, to link with: messages must be those of one library.

    Returns
    -------
    str or None
        Its path: the system's, that of ``ZMQCY_LIBZMQ``, or the one in zmqcy's wheel. None: the system cannot tell.
    """
    import ctypes

    try:
        function = ctypes.CDLL(_library.__file__).zmq_version
        place = (ctypes.c_void_p * 4)()  # Dl_info: the file's name first
        if not ctypes.CDLL(None).dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(place)):
            return None
    except (AttributeError, OSError):
        return None
    return os.path.realpath(os.fsdecode(ctypes.string_at(place[0]))) if place[0] else None


def _get_hook_dirs() -> list[str]:
    """Return the folder of the hooks for PyInstaller, which calls this by an entry point."""
    return [os.path.join(os.path.dirname(os.path.abspath(__file__)), "_pyinstaller")]
