#!/usr/bin/env python3
"""Build a libzmq with drafts into a prefix, for wheels or for tests. Build zmqcy with it: ZMQCY_LIBZMQ=PREFIX.

    build_libzmq.py PREFIX --archive zeromq-4.3.5.tar.gz   for wheels: with CMake, ws and CURVE (libsodium)
    build_libzmq.py PREFIX --source FOLDER                 for wheels, from a source tree; its origin is not checked
    build_libzmq.py PREFIX                                 for tests: from the source distribution of pyzmq 25.1.2

The SHA-256 of an archive must be pinned in this file. --libsodium ARCHIVE also builds libsodium and links it
statically, so that the system's is not needed. Otherwise pkg-config finds libsodium. The libzmq for tests is version
4.3.4, which pip downloads. It needs only a compiler, has no ws, and has CURVE only if libsodium is installed. Published
wheels do not contain it.
"""

import argparse
import ctypes
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PACKAGE, VERSION = "pyzmq", "25.1.2"
# By SHA-256: the kind of the archive, its name, and the folder to extract.
PINNED = {
    "6653ef5910f17954861fe72332e68b03ca6e4d9c7160eb3a8de5a5a913bfab43": (
        "libzmq", "zeromq-4.3.5.tar.gz", "zeromq-4.3.5/",
    ),
    "0ff5a531c9ffaf0dfdc7dc78d13d1383088f454896d252934c429b2554d10559": (
        "libzmq", "zeromq3_4.3.4.orig.tar.gz", "libzmq-4.3.4/",  # from Debian 12
    ),
    "ebb65ef6ca439333c2bb41a0c1990587288da07f6c7fd07cb3a18cc18d30ce19": (
        "libsodium", "libsodium-1.0.20.tar.gz", "libsodium-1.0.20/",
    ),
    "8ac7448f09ab85811607bdd21ec2464495ac8b7c66d146bf545b0f08fb9220ba": (
        "libsodium", "PyNaCl-1.5.0.tar.gz", "PyNaCl-1.5.0/src/libsodium/",  # 1.0.18
    ),
    "93f1aa311e8bb912e34f004cf186407a4e90eec4f0ecc0efd26056bf7eda0226": (
        "tests", f"{PACKAGE}-{VERSION}.tar.gz", f"{PACKAGE}-{VERSION}/bundled/zeromq/",
    ),
}  # fmt: skip
MARKS = {"tests": Path("share", "zmqcy", "libzmq-for-tests"), "libzmq": Path("share", "zmqcy", "libzmq")}
LIBRARY = "libzmq.so" if sys.platform == "linux" else "libzmq.dylib"

# For tests: the results of libzmq's configuration on the two supported systems.
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


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Return the output of a command. If it cannot run or fails, exit with its output."""
    try:
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=True, cwd=cwd, env=environment
        ).stdout
    except OSError as error:
        fail(f"{command[0]}: {error.strerror}")
    except subprocess.CalledProcessError as error:
        # A failed configuration prints the reason at its end.
        said = "\n".join((error.stdout + error.stderr).strip().splitlines()[-40:])
        fail(f"{shlex.join(command)}\n{said}")
    raise AssertionError


# -------------------------------------------------------------------------------------------------------------- sources


def download(folder: Path) -> Path:
    print(f"downloading the source distribution of {PACKAGE} {VERSION} with pip")
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "-d", str(folder)]
    # pip only reads its metadata; without build isolation that installs nothing.
    run([*pip, "--no-deps", "--no-build-isolation", "--no-binary", PACKAGE, f"{PACKAGE}=={VERSION}"])
    return folder / f"{PACKAGE}-{VERSION}.tar.gz"


def pinned(archive: Path, *kinds: str) -> tuple[str, str]:
    """Return the kind of a pinned archive, and the folder to extract; fail for any other archive."""
    try:
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
    except OSError as error:
        fail(f"{archive}: {error.strerror}")
    if found not in PINNED or PINNED[found][0] not in kinds:
        names = ", ".join(f"{name} ({sha})" for sha, (kind, name, _) in PINNED.items() if kind in kinds)
        fail(f"{archive} is not a pinned archive: its SHA-256 is {found}. Use one of: {names}")
    kind, name, inside = PINNED[found]
    print(f"{archive.name} is {name}, SHA-256 {found}")
    return kind, inside


def extract(archive: Path, inside: str, folder: Path) -> Path:
    """Extract one folder of an archive, with the times of its files, which make compares."""
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.startswith(inside):
                target = folder / member.name.removeprefix(inside)
                target.parent.mkdir(parents=True, exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())
                os.utime(target, (member.mtime, member.mtime))
    return folder


def licenses(source: Path, stage: Path, name: str) -> None:
    """Copy the licence files: COPYING and COPYING.LESSER of libzmq up to 4.3.4, LICENSE since 4.3.5."""
    texts = [source / text for text in ("LICENSE", "COPYING", "COPYING.LESSER") if (source / text).is_file()]
    if not texts:
        fail(f"{source} has no licence file, so a build of it must not be distributed")
    folder = stage / "share" / "licenses" / name
    folder.mkdir(parents=True)
    for text in texts:
        shutil.copy(text, folder)


def libsodium() -> list[str] | None:
    """Return the compiler and linker flags for libsodium, or None if it is not installed."""
    try:
        found = subprocess.run(["pkg-config", "--cflags", "--libs", "libsodium"], capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.split() if found.returncode == 0 else None


# ----------------------------------------------------------------------------------------------------------- for wheels


def build_libsodium(source: Path, home: Path) -> None:
    """Build a static libsodium that can be linked into a shared library."""
    print("building libsodium", flush=True)
    flags = f"{os.environ.get('CFLAGS', '')} -O3 -fPIC -ffile-prefix-map={source}=libsodium".strip()
    words = ["--disable-shared", "--enable-static", "--with-pic", "--disable-dependency-tracking", "-q"]
    run(["sh", "configure", f"--prefix={home}", *words], cwd=source, env={"CFLAGS": flags})
    run(["make", "-s", f"-j{os.cpu_count()}", "install"], cwd=source)


def build_to_ship(source: Path, stage: Path, prefix: Path, sodium: Path | None) -> None:
    """Build libzmq with its CMakeLists.txt, and install it under `stage`."""
    tree = stage.parent / "build"
    flags = f"{os.environ.get('CXXFLAGS', '')} -ffile-prefix-map={source}=libzmq -ffile-prefix-map={tree}=build".strip()
    link = os.environ.get("LDFLAGS", "")
    if sys.platform == "linux":
        link += " -Wl,--exclude-libs,ALL"  # do not export the symbols of static libraries
        if platform.libc_ver()[0] != "glibc":
            link += " -static-libstdc++ -static-libgcc"  # not every musl system has the shared ones
    settings = {
        "CMAKE_BUILD_TYPE": "Release",  # -O3
        "CMAKE_INSTALL_PREFIX": str(prefix),
        "CMAKE_INSTALL_LIBDIR": "lib",
        "CMAKE_INSTALL_NAME_DIR": f"{prefix}/lib",
        "CMAKE_C_FLAGS": flags,
        "CMAKE_CXX_FLAGS": flags,
        "CMAKE_CXX_VISIBILITY_PRESET": "hidden",
        "CMAKE_C_VISIBILITY_PRESET": "hidden",
        "CMAKE_VISIBILITY_INLINES_HIDDEN": "ON",
        "CMAKE_SHARED_LINKER_FLAGS": link.strip(),
        "CMAKE_POLICY_VERSION_MINIMUM": "3.5",  # CMake 4 rejects the minimum version of libzmq 4.3.5
        "BUILD_SHARED": "ON",
        "ENABLE_DRAFTS": "ON",
        "ENABLE_WS": "ON",
        "ENABLE_CURVE": "ON",
        "WITH_LIBSODIUM": "ON",
        "WITH_LIBSODIUM_STATIC": "ON" if sodium else "OFF",
        **dict.fromkeys(
            ["BUILD_STATIC", "BUILD_TESTS", "WITH_PERF_TOOL", "WITH_DOCS", "WITH_DOC", "WITH_TLS", "WITH_NSS"], "OFF"
        ),
        **dict.fromkeys(["WITH_LIBBSD", "WITH_OPENPGM", "WITH_NORM", "WITH_VMCI", "ENABLE_CPACK"], "OFF"),
    }
    env = {}
    if sodium:
        env = {"PKG_CONFIG_PATH": f"{sodium}/lib/pkgconfig", "CMAKE_PREFIX_PATH": str(sodium)}
    print("configuring libzmq", flush=True)
    words = [f"-D{name}={value}" for name, value in settings.items()]
    said = run(["cmake", "-S", str(source), "-B", str(tree), *words], env=env)
    if "Using libsodium for CURVE" not in said:
        fail("CMake did not find libsodium, and used another implementation of CURVE")
    print("building libzmq", flush=True)
    run(["cmake", "--build", str(tree), "--parallel", str(os.cpu_count() or 1)])
    run(["cmake", "--install", str(tree), "--prefix", str(stage), "--strip"])
    licenses(source, stage, "libzmq")
    library = ctypes.CDLL(str(stage / "lib" / LIBRARY))
    # The name is "WS" in 4.3.4 and 4.3.5.
    lacking = [name for name in ("draft", "curve", "ipc", "WS") if library.zmq_has(name.encode()) != 1]
    if lacking:
        fail(f"the built libzmq lacks: {', '.join(lacking)}")


# ------------------------------------------------------------------------------------------------------------ for tests


def build_for_tests(source: Path, compiler: list[str], stage: Path) -> None:
    """Compile libzmq, and install it under `stage`."""
    sodium = libsodium()
    print("with" if sodium is not None else "without", "CURVE (libsodium, found by pkg-config)")
    names = [*DEFINED[sys.platform], *DEFINED["both"], *(DEFINED["libsodium"] if sodium is not None else [])]
    # libzmq defines strlcpy if libc has none; glibc has it since 2.38.
    (source / "probe.cpp").write_text("#include <string.h>\nint main() { return strlcpy(nullptr, nullptr, 0) != 0; }\n")
    probe = [*compiler, "-fsyntax-only", str(source / "probe.cpp")]
    if subprocess.run(probe, capture_output=True).returncode == 0:
        names.append("ZMQ_HAVE_STRLCPY")
    header = [*(f"#define {name} 1" for name in names), "#define ZMQ_CACHELINE_SIZE 64"]
    (source / "src" / "platform.hpp").write_text("\n".join(header) + "\n")
    # Map the paths of the temporary folder, so that two builds are identical.
    flags = ["-std=gnu++11", "-O2", "-fPIC", "-fvisibility=hidden", "-D_GNU_SOURCE", "-D_REENTRANT", "-DNDEBUG", "-w"]
    flags += ["-DZMQ_CUSTOM_PLATFORM_HPP", f"-ffile-prefix-map={source}=libzmq", f"-I{source / 'src'}"]
    # ws and wss need a SHA-1 implementation, which this archive does not have.
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
    licenses(source, stage, "libzmq")


# ----------------------------------------------------------------------------------------------------------- the prefix


def needed(kind: str, sodium: Path | None) -> None:
    """Fail if a command or library for the build is missing; name its package."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))[0]
    commands = {compiler: "g++", **({"cmake": "cmake", "pkg-config": "pkg-config"} if kind == "libzmq" else {})}
    if sodium:
        commands["make"] = "make"
    for command, package in commands.items():
        if shutil.which(command) is None:
            fail(f"{command}: not found; install the package {package}")
    if kind == "libzmq" and not sodium and libsodium() is None:
        fail(
            "pkg-config does not find libsodium: apt-get install libsodium-dev, dnf install libsodium-devel, "
            "brew install libsodium; or build it with --libsodium ARCHIVE"
        )


def identity(*parts: str) -> str:
    """Return a hash of all that a build depends on: this script, archive, compiler, settings, libsodium."""
    settings = [
        f"{name}={os.environ.get(name)}" for name in ("CFLAGS", "CXXFLAGS", "LDFLAGS", "MACOSX_DEPLOYMENT_TARGET")
    ]
    parts = (Path(__file__).read_text(), *settings, str(libsodium()), *parts)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def build(prefix: Path, archive: Path | None, source: Path | None, sodium: Path | None) -> None:
    if sys.platform not in DEFINED:
        fail(f"this works on Linux and macOS, not on {sys.platform}")
    kind, inside = "libzmq" if source else "tests", ""
    if archive:
        kind, inside = pinned(archive, "libzmq", "tests")
    if source and not ((source / "CMakeLists.txt").is_file() and (source / "src" / "zmq.cpp").is_file()):
        fail(f"{source} is not a source tree of libzmq: it has no CMakeLists.txt or no src/zmq.cpp")
    inside_sodium = pinned(sodium, "libsodium")[1] if sodium else ""
    if sodium and kind == "tests":
        fail("--libsodium requires --source or an archive of libzmq")
    needed(kind, sodium)
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    version = run([*compiler, "--version"])
    mark = prefix / MARKS[kind]
    # A source folder may have changed: always build.
    wanted = identity(version, inside, inside_sodium) if not source else ""
    if wanted and mark.is_file() and mark.read_text() == wanted:
        print(f"{prefix} is up to date")
        return
    if prefix.exists() and any(prefix.iterdir()) and not any((prefix / each).is_file() for each in MARKS.values()):
        fail(f"{prefix} is not empty, and this script did not make it: choose another prefix")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    # Build in another folder and rename it at the end, so that an interrupted build leaves no partial installation.
    with tempfile.TemporaryDirectory(prefix=".libzmq-", dir=prefix.parent) as temporary:
        folder = Path(temporary)
        stage = folder / "stage"
        if kind == "tests" and not archive:
            archive = download(folder)
            inside = pinned(archive, "tests")[1]
        tree = source or extract(archive or Path(), inside, folder / "source")
        if kind == "tests":
            build_for_tests(tree, compiler, stage)
        else:
            home = folder / "libsodium" if sodium else None
            if sodium and home:
                code = extract(sodium, inside_sodium, folder / "libsodium-source")
                build_libsodium(code, home)
                licenses(code, stage, "libsodium")
            build_to_ship(tree, stage, prefix, home)
        (stage / MARKS[kind]).parent.mkdir(parents=True, exist_ok=True)
        (stage / MARKS[kind]).write_text(wanted)
        if prefix.exists():
            shutil.rmtree(prefix)
        stage.rename(prefix)
    header = (prefix / "include" / "zmq.h").read_text()
    numbers = ".".join(re.findall(r"#define ZMQ_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header))
    print(f"libzmq {numbers} with drafts, {'for tests' if kind == 'tests' else 'for wheels'}, is in {prefix}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("prefix", type=Path, metavar="PREFIX", help="the folder to make, with include/ and lib/")
    which = parser.add_mutually_exclusive_group()
    names = ", ".join(name for kind, name, _ in PINNED.values() if kind != "libsodium")
    which.add_argument("--archive", type=Path, help=f"one of: {names}")
    which.add_argument("--source", type=Path, metavar="FOLDER", help="a source tree of libzmq, 4.3.5 or newer")
    names = ", ".join(name for kind, name, _ in PINNED.values() if kind == "libsodium")
    parser.add_argument("--libsodium", type=Path, metavar="ARCHIVE", help=f"also build libsodium, one of: {names}")
    arguments = parser.parse_args()
    source = arguments.source.absolute() if arguments.source else None
    build(arguments.prefix.absolute(), arguments.archive, source, arguments.libsodium)


if __name__ == "__main__":
    main()
