#!/usr/bin/env python3
"""Build a libzmq 4.3.4 with drafts into a prefix, for tests; no wheel that is published carries it.

The source is what the source distribution of pyzmq 25.1.2 brings along: pip fetches it, its SHA-256 is pinned here, and
nothing of it is built but libzmq: tcp, ipc, inproc, udp, CURVE where libsodium is installed, no ws. Then
`ZMQCY_LIBZMQ=PREFIX pip install .` builds zmqcy with draft sockets, and with options such as ZMQ_OUT_BATCH_SIZE.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE, VERSION = "pyzmq", "25.1.2"
SHA256 = "93f1aa311e8bb912e34f004cf186407a4e90eec4f0ecc0efd26056bf7eda0226"
INSIDE = f"{PACKAGE}-{VERSION}/bundled/zeromq/"
MARK = Path("share", "zmqcy", "libzmq-for-tests")

# What libzmq's own configuration would find out, for the two systems that this is for.
DEFINED = {
    "linux": [
        "ZMQ_HAVE_LINUX", "ZMQ_IOTHREAD_POLLER_USE_EPOLL", "ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC", "ZMQ_HAVE_EVENTFD",
        "ZMQ_HAVE_EVENTFD_CLOEXEC", "ZMQ_HAVE_SOCK_CLOEXEC", "ZMQ_HAVE_SO_BINDTODEVICE", "ZMQ_HAVE_SO_PEERCRED",
        "ZMQ_HAVE_SO_KEEPALIVE", "ZMQ_HAVE_TCP_KEEPCNT", "ZMQ_HAVE_TCP_KEEPIDLE", "ZMQ_HAVE_TCP_KEEPINTVL",
        "ZMQ_HAVE_PTHREAD_SETNAME_2", "ZMQ_HAVE_PTHREAD_SET_AFFINITY", "HAVE_ACCEPT4",
    ],
    "darwin": [
        "ZMQ_HAVE_OSX", "ZMQ_IOTHREAD_POLLER_USE_KQUEUE", "ZMQ_HAVE_LOCAL_PEERCRED", "ZMQ_HAVE_SO_KEEPALIVE",
        "ZMQ_HAVE_TCP_KEEPALIVE", "ZMQ_HAVE_PTHREAD_SETNAME_1",
    ],
    "both": [
        "ZMQ_BUILD_DRAFT_API", "ZMQ_USE_CV_IMPL_STL11", "ZMQ_POLL_BASED_ON_POLL", "ZMQ_HAVE_IPC", "ZMQ_HAVE_UIO",
        "ZMQ_HAVE_IFADDRS", "ZMQ_HAVE_NOEXCEPT", "HAVE_POSIX_MEMALIGN", "HAVE_IF_NAMETOINDEX", "HAVE_CLOCK_GETTIME",
        "HAVE_FORK", "HAVE_MKDTEMP", "HAVE_STRNLEN",
    ],
    "libsodium": ["ZMQ_HAVE_CURVE", "ZMQ_USE_LIBSODIUM"],
}  # fmt: skip


def fail(text: str) -> None:
    raise SystemExit(f"build_libzmq: {text}")


def run(command: list[str]) -> str:
    """Return what a command prints; one that cannot be run, or fails, ends the build with its words."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        fail(f"{command[0]}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        fail(f"{shlex.join(command)}\n{error.stderr.strip()}")
    raise AssertionError


def download(folder: Path) -> Path:
    print(f"asking pip for the source distribution of {PACKAGE} {VERSION}")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", str(folder)]
    # Its metadata is all that pip makes of it; without isolation nothing has to be installed for that.
    run([*pip, "--no-deps", "--no-build-isolation", "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}"])
    return folder / f"{PACKAGE}-{VERSION}.tar.gz"


def extract(archive: Path, folder: Path) -> Path:
    """Unpack libzmq from the archive, if that is the one whose hash is pinned; return its folder."""
    try:
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
    except OSError as error:
        fail(f"{archive}: {error.strerror}")
    if found != SHA256:
        fail(f"{archive} is not the {PACKAGE}-{VERSION}.tar.gz that is pinned: its SHA-256 is {found}, not {SHA256}")
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(INSIDE):
                target = folder / member.name.removeprefix(INSIDE)
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())
    return folder


def libsodium() -> list[str] | None:
    """Return the compiler's and linker's words for libsodium; None where it is not installed."""
    try:
        found = subprocess.run(["pkg-config", "--cflags", "--libs", "libsodium"], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.split() if found.returncode == 0 else None


def compile_all(source: Path, compiler: list[str], stage: Path) -> None:
    """Compile libzmq, and lay it out under `stage` as an installation."""
    sodium = libsodium()
    print("with" if sodium is not None else "without", "CURVE (libsodium, by pkg-config)")
    names = [*DEFINED[sys.platform], *DEFINED["both"], *(DEFINED["libsodium"] if sodium is not None else [])]
    # libzmq defines a strlcpy of its own where there is none; glibc has one since 2.38.
    (source / "probe.cpp").write_text("#include <string.h>\nint main() { return strlcpy(nullptr, nullptr, 0) != 0; }\n")
    probe = [*compiler, "-fsyntax-only", str(source / "probe.cpp")]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        names.append("ZMQ_HAVE_STRLCPY")
    header = [*(f"#define {name} 1" for name in names), "#define ZMQ_CACHELINE_SIZE 64"]
    (source / "src" / "platform.hpp").write_text("\n".join(header) + "\n")
    # Relative paths, in a folder whose name does not come up: two builds give the same bytes.
    flags = ["-std=gnu++11", "-O2", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", "-D_REENTRANT", "-DNDEBUG", "-w"]
    flags += ["-DZMQ_CUSTOM_PLATFORM_HPP", f"-ffile-prefix-map={source}=libzmq", f"-I{source / 'src'}"]
    # ws and wss need a SHA-1 that this archive does not have.
    files = sorted(file for file in (source / "src").glob("*.cpp") if not file.name.startswith("ws"))
    print(f"compiling {len(files)} files with {shlex.join(compiler)}", flush=True)

    def compile_one(file: Path) -> str:
        target = str(file.with_suffix(".o"))
        run([*compiler, *flags, f"-I{source / 'include'}", *(sodium or []), "-c", str(file), "-o", target])
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, files))
    lib = stage / "lib"
    lib.mkdir(parents=True)
    if sys.platform == "linux":
        name, plain = "libzmq.so.5", "libzmq.so"
        link = ["-shared", f"-Wl,-soname,{name}", "-Wl,-s", "-lpthread", "-lrt"]
    else:
        name, plain = "libzmq.5.dylib", "libzmq.dylib"
        link = ["-dynamiclib", f"-Wl,-install_name,@rpath/{name}"]
    run([*compiler, "-o", str(lib / name), *objects, *(sodium or []), *link])
    (lib / plain).symlink_to(name)
    shutil.copytree(source / "include", stage / "include")
    shutil.copy(source / "src" / "zmq_draft.h", stage / "include" / "zmq_draft.h")
    licenses = stage / "share" / "licenses" / "libzmq"
    licenses.mkdir(parents=True)
    for text in ("COPYING", "COPYING.LESSER"):
        shutil.copy(source / text, licenses / text)
    (stage / MARK).parent.mkdir(parents=True)


def identity(compiler: list[str]) -> str:
    """Return what a prefix is made of: another script, compiler or libsodium makes another one."""
    parts = [Path(__file__).read_text(), run([*compiler, "--version"]), str(libsodium())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def build(prefix: Path, archive: Path | None) -> None:
    if sys.platform not in DEFINED:
        fail(f"Linux and macOS only, not {sys.platform}")
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    wanted = identity(compiler)
    if (prefix / MARK).is_file() and (prefix / MARK).read_text() == wanted:
        print(f"{prefix} has it already")
        return
    if prefix.exists() and any(prefix.iterdir()) and not (prefix / MARK).is_file():
        fail(f"{prefix} is not empty, and not made by this script: name another prefix")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    # Made beside the prefix and moved there when it is whole: what was interrupted is not taken for an installation.
    with tempfile.TemporaryDirectory(prefix=".libzmq-", dir=prefix.parent) as temporary:
        folder = Path(temporary)
        source = extract(archive or download(folder), folder / "source")
        stage = folder / "stage"
        compile_all(source, compiler, stage)
        (stage / MARK).write_text(wanted)
        if prefix.exists():
            shutil.rmtree(prefix)
        stage.rename(prefix)
    print(f"libzmq 4.3.4 with drafts, for tests, is in {prefix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("prefix", type=Path, metavar="PREFIX", help="the folder to make, with include/ and lib/")
    parser.add_argument("--archive", type=Path, help=f"a {PACKAGE}-{VERSION}.tar.gz that is here already")
    arguments = parser.parse_args()
    build(arguments.prefix.absolute(), arguments.archive)


if __name__ == "__main__":
    main()
