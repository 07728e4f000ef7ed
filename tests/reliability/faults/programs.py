"""Programs that misuse a binding of ZeroMQ, or starve it. Each runs on zmqcy and on pyzmq, in a process of its own.

`python programs.py NAME MODULE` runs one of them with `import MODULE as zmq` and prints what came of it. A program
knows nothing of who runs it: `run.py` judges by output, exit code, stderr and whether it ends at all.
"""

import importlib
import os
import sys
import warnings

from program import PROGRAMS

for chapter in ("threads", "ending", "forks", "signals", "addresses", "limits"):  # in the order of the table
    importlib.import_module(chapter)


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
    faulty, module = sys.argv[1:]
    print(PROGRAMS[faulty].function(importlib.import_module(module)), flush=True)
    os._exit(0)  # how a program ends is a matter of those that ask for it
