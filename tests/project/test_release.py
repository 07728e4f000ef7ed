"""The checks before a release, on a small repository, and the rules for workflows."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from paths import ROOT

SCRIPT = ROOT / "tools" / "release.py"

if shutil.which("git") is None:
    pytest.skip("needs git", allow_module_level=True)


def git(root, *words):
    identity = {
        f"GIT_{who}_{what}": "zmqcy@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    # git sets these if the tests run in a hook.
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    subprocess.run(["git", *words], cwd=root, env=environment, check=True, capture_output=True)


@pytest.fixture
def ready(tmp_path):
    """A repository that can be released."""
    for name, text in {
        "zmqcy/__init__.py": '__version__ = "1.2.3"\n',
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2027-01-31)\n\n- Something.\n\n## 1.2.2 (2026-12-24)\n",
        "README.md": "[guide](docs/guide.md#there)\n",
        "docs/guide.md": "[cli](cli.md)\n",
        "docs/cli.md": "text\n",
        ".gitignore": "dist/\nwheelhouse/\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "release")
    git(tmp_path, "tag", "v1.2.3")
    for name in ("dist/zmqcy-1.2.3.tar.gz", "wheelhouse/zmqcy-1.2.3-cp311-cp311-manylinux_2_28_x86_64.whl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("built")
        later = time.time() + 60  # than the commits of a test
        os.utime(tmp_path / name, (later, later))
    return tmp_path


def check(root):
    command = [sys.executable, str(SCRIPT), "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if not line.endswith(" ok")]
    return done.returncode, lines, done.stderr


def test_what_is_ready(ready):
    assert check(ready) == (0, ["1.2.3 is ready; to publish it, run: git push origin v1.2.3"], "")


def unreleased(root):
    path = root / "CHANGELOG.md"
    path.write_text(path.read_text().replace("2027-01-31", "not yet released"))
    git(root, "commit", "-qam", "changelog")
    git(root, "tag", "-f", "v1.2.3")


def other_version(root):
    (root / "wheelhouse").rename(root / "wheelhouse-of-another")
    git(root, "clean", "-fdq")


def for_tests(root):
    [wheel] = (root / "wheelhouse").iterdir()
    (root / "wheelhouse" / "for-tests").mkdir()
    wheel.rename(root / "wheelhouse" / "for-tests" / wheel.name)


def old(root):
    os.utime(root / "dist" / "zmqcy-1.2.3.tar.gz", (0, 0))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            unreleased,
            "changelog  the first section of CHANGELOG.md is '1.2.3 (not yet released)'; "
            "change it to '1.2.3 (YEAR-MONTH-DAY)'",
        ),
        (lambda root: git(root, "tag", "-d", "v1.2.3"), "tag        this commit has no tag; run: git tag -a v1.2.3"),
        (lambda root: (root / "new.py").write_text(""), "clean      uncommitted changes: new.py"),
        (lambda root: shutil.rmtree(root / "dist"), "built      dist/zmqcy-1.2.3.tar.gz is missing; run: make sdist"),
        (other_version, "built      wheelhouse/zmqcy-1.2.3-*.whl is missing; run: make wheel"),
        (for_tests, "built      wheelhouse/zmqcy-1.2.3-*.whl is missing; run: make wheel"),
        (old, "built      older than the commit, build again: zmqcy-1.2.3.tar.gz"),
    ],
)
def test_what_is_not_ready(ready, spoil, problem):
    spoil(ready)
    status, lines, errors = check(ready)
    assert status == 1
    assert lines == [problem]
    assert errors == "release: 1.2.3 is not ready\n"


def test_a_page_that_nobody_finds(ready):
    (ready / "README.md").write_text("nothing\n")
    git(ready, "commit", "-qam", "readme")
    git(ready, "tag", "-f", "v1.2.3")
    assert check(ready)[1] == ["docs       no page links to docs/: guide.md"]


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_tokens_may_only_read(path):
    text = path.read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, comment in used:
        assert action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action), action
        assert action.startswith("./") or re.fullmatch(r" # v\d+(\.\d+)+", comment), action
    assert re.search(r"^permissions:\n  contents: read$", text, re.M)
