"""Build the hook against the zmqcy that is installed: `python setup.py build_ext --inplace`."""

import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

import zmqcy

flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "libzmq"], text=True).split()
setup(
    name="guard",
    ext_modules=cythonize(
        [Extension("guard", ["guard.pyx"], extra_compile_args=flags, extra_link_args=flags)],
        include_path=[str(Path(zmqcy.__file__).parent.parent)],  # where `from zmqcy._proxy cimport` looks
        language_level=3,
    ),
)
