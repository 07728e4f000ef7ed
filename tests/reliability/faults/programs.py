"""Programs that misuse a binding of ZeroMQ, or exhaust a resource. Each runs on zmqcy and on pyzmq, in its own process.

`python programs.py NAME MODULE` runs one of them with `import MODULE as zmq`, and prints its outcome. `run.py` checks
the output, the exit code, stderr, and whether the program exits.
"""

import importlib
import os
import sys
import warnings

from program import PROGRAMS

for chapter in ("threads", "ending", "forks", "signals", "addresses", "limits"):  # in the order of the table
    importlib.import_module(chapter)


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # for a fork with several threads
    faulty, module = sys.argv[1:]
    print(PROGRAMS[faulty].function(importlib.import_module(module)), flush=True)
    os._exit(0)  # the exit of a program is the subject of ending.py
