"""Helpers for building other projects: Cython declarations, the libzmq to link with, PyInstaller hooks."""

import os

from zmqcy import _library


def get_include() -> str:
    """Return the folder of zmqcy's Cython declarations, for the `include_path` of `cythonize`.

    Cython finds this folder itself if zmqcy is installed in its environment, but not after ``pip install -e``. The C
    compiler needs only libzmq's zmq.h.

    Returns
    -------
    str
        An absolute path.
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def get_library() -> str | None:
    """Return the path of the libzmq that zmqcy has loaded, to link your extension with the same library.

    Two copies of libzmq in a process cannot exchange messages.

    Returns
    -------
    str or None
        The path of the system's libzmq, of ``ZMQCY_LIBZMQ``, or of the one in zmqcy's wheel. None: the path
        cannot be determined.
    """
    import ctypes

    try:
        function = ctypes.CDLL(_library.__file__).zmq_version
        place = (ctypes.c_void_p * 4)()  # Dl_info; its first field is the file name
        if not ctypes.CDLL(None).dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(place)):
            return None
    except (AttributeError, OSError):
        return None
    return os.path.realpath(os.fsdecode(ctypes.string_at(place[0]))) if place[0] else None


def _get_hook_dirs() -> list[str]:
    """Return the folder of the PyInstaller hooks. PyInstaller calls this through an entry point."""
    return [os.path.join(os.path.dirname(os.path.abspath(__file__)), "_pyinstaller")]
