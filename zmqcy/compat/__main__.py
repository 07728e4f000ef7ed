"""Run a program with zmqcy instead of pyzmq: ``import zmq`` imports zmqcy.

python -m zmqcy.compat [--tuned] program.py [argument...]
python -m zmqcy.compat [--tuned] -m module [argument...]

This also applies to the Python processes that the program starts. --tuned is the default, and does nothing.
"""

import os
import runpy
import sys
from types import TracebackType

from zmqcy.compat import install

_SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_site")  # has sitecustomize.py for child processes


def main() -> None:
    """Run the program or module that the arguments of the process name, as ``python`` does."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--tuned"]:
        del arguments[0]
    by_module = arguments[:1] == ["-m"]
    if by_module:
        del arguments[0]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__ or "usage: python -m zmqcy.compat [-m] PROGRAM [ARGUMENTS]")
    if not by_module and not os.path.exists(arguments[0]):
        path = os.path.abspath(arguments[0])
        print(f"{sys.executable}: can't open file {path!r}: [Errno 2] No such file or directory", file=sys.stderr)
        sys.exit(2)
    os.environ["ZMQCY_AS_ZMQ"] = "1"  # for child processes
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if _SITE not in folders:
        os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *filter(None, folders)])
    install()
    sys.argv = arguments
    try:
        if by_module:
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
            runpy.run_path(os.path.abspath(arguments[0]), run_name="__main__")
    except BaseException:
        _hide_frames()
        raise  # not sys.exit: after Ctrl-C the interpreter must end by the signal


def _hide_frames() -> None:
    """Remove the frames of this module from the traceback that ends the process."""
    hook = sys.excepthook  # the program may have set it

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
            trace = trace.tb_next
        hook(kind, error.with_traceback(trace), trace)

    sys.excepthook = excepthook


_OURS = {__file__, runpy.run_path.__code__.co_filename}

if __name__ == "__main__":
    main()
