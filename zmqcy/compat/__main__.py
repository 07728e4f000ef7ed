"""Run a program whose ``import zmq`` is to get zmqcy.

python -m zmqcy.compat program.py [argument...]
python -m zmqcy.compat -m module [argument...]
"""

import os
import runpy
import sys

from zmqcy.compat import install


def main() -> None:
    """Run what the arguments of the process name, as ``python`` does."""
    arguments = sys.argv[1:]
    by_module = arguments[:1] == ["-m"]
    if by_module:
        del arguments[0]
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    os.environ["ZMQCY_AS_ZMQ"] = "1"  # for the processes that it starts, where `zmqcy compat enable` was run
    install()
    sys.argv = arguments
    if by_module:
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.realpath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
