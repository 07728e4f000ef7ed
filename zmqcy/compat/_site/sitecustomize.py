"""Make `import zmq` import zmqcy in the processes that a program under ``python -m zmqcy.compat`` starts.

That command adds this folder to PYTHONPATH, and Python imports this file at startup.
"""

import os
import sys
from contextlib import suppress
from importlib import import_module

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != _here]
if os.environ.get("ZMQCY_AS_ZMQ") in ("1", "tuned"):
    try:
        from zmqcy.compat import install
    except ImportError:  # another Python, without zmqcy
        pass
    else:
        install()
_this = sys.modules.pop(__name__)
with suppress(ImportError):
    import_module(__name__)  # the sitecustomize of the environment, which this one hides
sys.modules.setdefault(__name__, _this)
