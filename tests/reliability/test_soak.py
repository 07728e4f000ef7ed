"""A short soak test, and a check that it would find failures."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
import soak
from rows import rows

PROGRAM = Path(soak.__file__)


def run(tmp_path, seconds):
    return subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, "--minutes", str(seconds / 60), "--page", tmp_path / "page.html"],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ten_seconds(tmp_path):
    done = run(tmp_path, 10)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for kind in soak.KINDS:
        assert f" {kind}" in done.stdout
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 5
    assert "Nothing was wrong" in page


@pytest.mark.slow
def test_it_says_what_is_wrong(tmp_path):
    done = run(tmp_path, 0)
    assert done.returncode == 1
    assert "push_pull: not one message" in done.stderr
    assert "push_pull: not one message" in (tmp_path / "page.html").read_text()


@rows("change", [lambda m: m[:-1], lambda m: [*m, b""], lambda m: [*m[:-1], m[-1] + b"x"]])
def test_a_torn_message_is_noticed(change):
    message = soak.compose(random.Random(0), 1, 2, 3, parts=2)
    assert soak.look(message) == (1, 2, 3)
    with pytest.raises(soak.Wrong, match="message 3 of 1 is torn"):
        soak.look(change(message))


@rows(("slope", "grown"), [(0, 0), (1000, 66_000)])
def test_growth_is_that_after_the_warm_up(slope, grown):
    it = soak.Soak(0, 0)
    it.directory.cleanup()
    it.samples = [
        {"time": t, "resident": 5_000 + slope * t + (-1) ** t * 10 + 1_000_000 * (t < 30)} for t in range(100)
    ]
    assert it.growth("resident") == pytest.approx(grown, abs=100)
