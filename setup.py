"""Build the extension modules: find libzmq, and compile.

Environment variables:
    ZMQCY_LIBZMQ=PREFIX   use libzmq from PREFIX/include and PREFIX/lib instead of pkg-config
    ZMQCY_WHEEL=1         do not set a run-time path to PREFIX/lib: the library is added to the wheel later
    ZMQCY_DEBUG=1         no optimisation; assertions and line numbers
    ZMQCY_SANITIZE=1      as ZMQCY_DEBUG, with AddressSanitizer and UndefinedBehaviorSanitizer; =thread: ThreadSanitizer
    ZMQCY_COVERAGE=1      no optimisation; gcc counts the executions of each line of the .pyx files

`setup.py build_ext --inplace` compiles the modules whose sources have changed, and all modules if a setting has
changed. The object files stay in build/.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from Cython.Compiler import Errors
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

STAMP = Path("build", "settings")
PROCESSES = os.cpu_count() or 1
HOT = {"_message", "_core", "_socket", "_poll"}  # faster with -O3, which only makes the other modules larger
MODULES = [
    "_library",
    "_message",
    "_handle",
    "_options",
    "_context",
    "_base",
    "_core",
    "_socket",
    "_poll",
    "_proxy",
    "_loop",
    "_operations",
    "_aio",
]
MINIMUM = "4.2"
MISSING = f"""
libzmq {MINIMUM} or newer, with its header file, was not found ({{reason}}). Install it:
    Debian, Ubuntu   apt-get install libzmq3-dev pkg-config
    Fedora           dnf install zeromq-devel pkgconf-pkg-config
    macOS            brew install zeromq pkg-config
or set ZMQCY_LIBZMQ=PREFIX to use the libzmq in PREFIX/include and PREFIX/lib
"""


class BuildExt(build_ext):
    """Compile into build/inplace for `pip install -e .` and `build_ext --inplace`: the second finds nothing to do."""

    def finalize_options(self):
        if self.editable_mode or self.inplace:
            self.build_lib = "build/inplace"
        super().finalize_options()


def find_libzmq():
    """Return the compiler and linker settings for libzmq, or stop the build with instructions."""
    prefix = os.environ.get("ZMQCY_LIBZMQ")
    if prefix:
        header = Path(prefix, "include", "zmq.h")
        if not header.is_file():
            raise SystemExit(MISSING.format(reason=f"no include/zmq.h in ZMQCY_LIBZMQ={prefix}"))
        numbers = re.findall(r"#define ZMQ_VERSION_M(?:AJOR|INOR)\s+(\d+)", header.read_text())
        if [int(number) for number in numbers] < [int(number) for number in MINIMUM.split(".")]:
            raise SystemExit(MISSING.format(reason=f"ZMQCY_LIBZMQ={prefix} has version {'.'.join(numbers)}"))
        if not any(Path(prefix, "lib").glob("*zmq*")):
            raise SystemExit(MISSING.format(reason=f"no lib/libzmq in ZMQCY_LIBZMQ={prefix}"))
        lib = str(Path(prefix, "lib").resolve())
        rpath = [] if os.environ.get("ZMQCY_WHEEL") else [lib]
        include = [str(Path(prefix, "include").resolve())]
        return {"include_dirs": include, "library_dirs": [lib], "runtime_library_dirs": rpath, "libraries": ["zmq"]}
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), "--cflags", "--libs", f"libzmq >= {MINIMUM}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise SystemExit(MISSING.format(reason=f"{command[0]}: {error.strerror}")) from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(MISSING.format(reason=error.stderr.strip().splitlines()[0])) from None
    words = found.stdout.split()
    settings = {"-I": "include_dirs", "-L": "library_dirs", "-l": "libraries"}
    result = {name: [w[2:] for w in words if w[:2] == flag] for flag, name in settings.items()}
    result["extra_compile_args"] = [w for w in words if w[:2] not in settings]
    return result


def stamp(settings):
    """Write the settings of this build if they have changed: all modules are then rebuilt."""
    headers = [Path(folder, "zmq.h") for folder in settings["include_dirs"]]
    compiler = [os.environ.get(name) for name in ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS")]
    parts = [Cython.__version__, sys.version, str(settings), str(compiler), Path(__file__).read_text()]
    text = "\n".join(parts + [header.read_text() for header in headers if header.is_file()])
    if not STAMP.is_file() or STAMP.read_text() != text:
        STAMP.parent.mkdir(exist_ok=True)
        STAMP.write_text(text)


def extensions():
    sanitize = os.environ.get("ZMQCY_SANITIZE")
    coverage = bool(os.environ.get("ZMQCY_COVERAGE"))
    debug = bool(sanitize or os.environ.get("ZMQCY_DEBUG"))
    release = not debug and not coverage
    settings = find_libzmq()
    arguments = settings.setdefault("extra_compile_args", [])
    arguments += ["-O0", "-g", "-UNDEBUG"] if debug else ["-O2", "-g0", "-fno-semantic-interposition"]
    if release and sys.platform == "linux":
        settings["extra_link_args"] = ["-Wl,-s"]  # the names of static functions are 10 % of the wheel
    if sanitize:
        kinds = "thread" if sanitize == "thread" else "address,undefined"
        settings["extra_link_args"] = [f"-fsanitize={kinds}"]
        arguments += [f"-fsanitize={kinds}", "-fno-omit-frame-pointer"]
    if coverage:
        settings["extra_link_args"] = ["--coverage", "-Wl,-u,__gcov_dump"]  # called by tools/instrumented.py
        arguments += ["-O0", "--coverage"]
    subprocess.run([sys.executable, "tools/stubs.py"], check=True)
    Errors.LEVEL = 2  # hides Cython's warnings that critical sections do not protect Python attributes
    stamp(settings)
    hot = {**settings, "extra_compile_args": [*arguments, "-O3"]} if release else settings
    modules = [
        Extension(f"zmqcy.{name}", [f"zmqcy/{name}.pyx"], depends=[str(STAMP)], **(hot if name in HOT else settings))
        for name in MODULES
    ]
    return cythonize(
        modules,
        nthreads=PROCESSES,
        force=any(code.stat().st_mtime < STAMP.stat().st_mtime for code in Path("zmqcy").glob("*.c")),
        compiler_directives={
            "language_level": 3,
            "binding": False,  # methods are plain C descriptors, which are the fastest to call
            "embedsignature": True,
            "embedsignature.format": "clinic",  # for inspect.signature
            "annotation_typing": False,  # annotations are for the stubs only
            "boundscheck": debug,
            "wraparound": False,
            "freethreading_compatible": True,
            "auto_pickle": False,  # Cython's __setstate__ does not validate its argument
            "initializedcheck": debug,
        },
    )


if __name__ == "__main__":
    setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt}, options={"build_ext": {"parallel": PROCESSES}})
