"""Build the hook against the installed zmqcy: `python setup.py build_ext --inplace`."""

import os
import shlex
import subprocess

from Cython.Build import cythonize
from setuptools import Extension, setup

import zmqcy

if prefix := os.environ.get("ZMQCY_LIBZMQ"):  # the prefix that zmqcy's build uses for zmq.h
    headers = ["-I", os.path.join(prefix, "include")]
else:
    headers = shlex.split(subprocess.check_output(["pkg-config", "--cflags", "libzmq"], text=True))
library = zmqcy.get_library()  # the libzmq that zmqcy has loaded, because the messages belong to it
link = [library, f"-Wl,-rpath,{os.path.dirname(library)}"]
setup(
    name="guard",
    ext_modules=cythonize(
        [Extension("guard", ["guard.pyx"], extra_compile_args=headers, extra_link_args=link)],
        include_path=[zmqcy.get_include()],  # for `from zmqcy cimport`
        language_level=3,
    ),
)
