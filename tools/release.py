#!/usr/bin/env python3
"""Check that this commit can be released: `make release`. All checks run. Each failed check says what to do."""

import argparse
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


def version_of(root: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', (root / "zmqcy" / "__init__.py").read_text(), re.M)
    if found is None:
        raise SystemExit("release: zmqcy/__init__.py has no __version__")
    return found[1]


def changelog(root: Path, version: str) -> str | None:
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.M)
    newest = headings[0] if headings else "nothing"
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", newest):
        return f"the first section of CHANGELOG.md is {newest!r}; change it to '{version} (YEAR-MONTH-DAY)'"
    return None


def tag(root: Path, version: str) -> str | None:
    tags = git(root, "tag", "--points-at", "HEAD").split()
    return None if f"v{version}" in tags else f"this commit has no tag; run: git tag -a v{version}"


def clean(root: Path, version: str) -> str | None:
    changed = git(root, "status", "--porcelain").splitlines()
    return f"uncommitted changes: {', '.join(line[3:] for line in changed)}" if changed else None


def built(root: Path, version: str) -> str | None:
    sdist = root / "dist" / f"zmqcy-{version}.tar.gz"
    if not sdist.is_file():
        return f"dist/{sdist.name} is missing; run: make sdist"
    # Wheels built for tests are in a subfolder.
    wheels = list((root / "wheelhouse").glob(f"zmqcy-{version}-*.whl"))
    if not wheels:
        return f"wheelhouse/zmqcy-{version}-*.whl is missing; run: make wheel"
    committed = int(git(root, "log", "-1", "--format=%ct"))
    old = [path.name for path in [sdist, *wheels] if path.stat().st_mtime < committed]
    return f"older than the commit, build again: {', '.join(old)}" if old else None


def docs(root: Path, version: str) -> str | None:
    pages = "".join(path.read_text() for path in [root / "README.md", *(root / "docs").glob("*.md")])
    missing = [
        path.name for path in sorted((root / "docs").glob("*.md")) if f"({path.name}" not in pages.replace("docs/", "")
    ]
    return f"no page links to docs/: {', '.join(missing)}" if missing else None


CHECKS = [changelog, tag, clean, built, docs]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    root = parser.parse_args().root
    version = version_of(root)
    failed = 0
    for check in CHECKS:
        problem = check(root, version)
        failed += problem is not None
        print(f"{check.__name__:10} {problem or 'ok'}")
    if failed:
        raise SystemExit(f"release: {version} is not ready")
    print(f"{version} is ready; to publish it, run: git push origin v{version}")


if __name__ == "__main__":
    main()
