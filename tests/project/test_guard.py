"""`make bench-guard`: two counts are equal, growth is found, and the exit code shows it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import zmqcy

BUILT = Path(zmqcy.__file__).parent.parent

sys.path.insert(0, str(ROOT / "benchmarks"))
import guard  # noqa: E402

sys.path.pop(0)

needs_valgrind = pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
WORK = "try_send, try_recv 8 B"


def changed(tmp_path, name, text):
    """Return a copy of the built package, with other text in one of its files."""
    shutil.copytree(BUILT / "zmqcy", tmp_path / "zmqcy", ignore=shutil.ignore_patterns("*.c", "__pycache__"))
    (tmp_path / "zmqcy" / name).write_text(text)
    return tmp_path


@pytest.mark.slow
@needs_valgrind
def test_counts_repeat_and_a_call_that_has_grown_is_seen(tmp_path, capsys):
    base, again = guard.measure(BUILT, WORK), guard.measure(BUILT, WORK)
    assert 0 < base.own < base.total
    assert again.total == pytest.approx(base.total, rel=0.001)
    assert again.own == pytest.approx(base.own, rel=0.001)
    slower = "class Socket(Socket):\n    def try_recv(self):\n        return super().try_recv()\n"
    source = (BUILT / "zmqcy" / "socket.py").read_text()
    now = guard.measure(changed(tmp_path, "socket.py", source + slower), WORK)
    assert guard.report([(WORK, base, again)], limit=2) == []
    assert guard.report([(WORK, base, now)], limit=2) == [WORK]
    assert "%  <\n" in capsys.readouterr().out
    assert now.own == pytest.approx(base.own, rel=0.001)  # only Python code was added


@pytest.mark.slow
@needs_valgrind
def test_a_call_that_a_tree_lacks_is_none(tmp_path):
    source = (BUILT / "zmqcy" / "__init__.py").read_text()
    tree = changed(tmp_path, "__init__.py", source + "\ndel Poller\n")
    assert guard.measure(tree, "Poller.poll, 1 of 10 sockets ready") is None


@pytest.mark.slow
@needs_valgrind
def test_a_work_that_fails_is_no_count(tmp_path):
    tree = changed(tmp_path, "__init__.py", "raise ImportError('broken')\n")
    with pytest.raises(guard.Unable, match="broken"):
        guard.measure(tree, WORK)


@pytest.mark.slow
@needs_valgrind
def test_a_breakdown_shows_libzmq_in_both_columns_and_adds_up(monkeypatch, capsys):
    monkeypatch.setattr(guard, "ROOT", BUILT)
    assert guard.main(["--breakdown"]) == 0
    rows = [
        re.fullmatch(r"(.*?)\s+([\d,]+)\s+([\d,]+)", line).groups() for line in capsys.readouterr().out.splitlines()[1:]
    ]
    found = {part: [int(figure.replace(",", "")) for figure in figures] for part, *figures in rows}
    total = found.pop("total")
    assert all(
        abs(sum(column) - whole) < 10 for column, whole in zip(zip(*found.values(), strict=True), total, strict=True)
    )
    assert min(found["zmq_send"]) > 100
    assert found["zmqcy's own code"][0] > 10 == found["zmqcy's own code"][1] + 10


@pytest.mark.slow
@needs_valgrind
def test_objects_add_up_to_the_total_of_callgrind(tmp_path):
    command = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={tmp_path / 'out'}", "/bin/ls", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    text = (tmp_path / "out").read_text()
    objects = guard.parse(text)
    assert any("/libc" in name for name in objects)
    assert all(number > 0 for number in objects.values())
    with pytest.raises(guard.Unable, match="add up"):
        guard.parse(text.replace("totals: ", "totals: 1"))


def test_the_median_of_the_samples_counts_less_a_run_of_no_call():
    ours, other = "/tree/zmqcy/_socket.so", "/lib/libzmq.so"
    empty, usual, odd = {other: 100}, {ours: 600, other: 900}, {ours: 900, other: 9900}
    dumps = [empty, usual, odd, usual]
    assert guard.counted(dumps, 10, lambda name: name.startswith("/tree/zmqcy/")) == (140, 60)


def count(total):
    return guard.Count(total, total / 10)


@pytest.mark.parametrize(
    ("base", "now", "limit", "code"),
    [
        (count(1000), count(1021), "2", 1),
        (count(1000), count(1020), "2", 0),
        (count(1000), count(900), "2", 0),
        (count(1000), count(1021), "2.5", 0),
        (count(1000), count(1001), "0", 1),
        (None, count(1000), "2", 0),
        (count(1000), None, "2", 0),
    ],
)
def test_exit_codes(monkeypatch, capsys, base, now, limit, code):
    monkeypatch.setattr(guard, "compare", lambda commit, most: guard.report([(WORK, base, now)], most))
    assert guard.main(["HEAD", "--limit", limit]) == code
    out = capsys.readouterr().out
    assert ("grown by more than" in out) == bool(code)
    assert ("-" in out.splitlines()[2].split()) == (base is None or now is None)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git repository")
def test_trees_are_what_git_knows_and_not_what_was_built(tmp_path):
    base, now = tmp_path / "base", tmp_path / "work"
    now.mkdir()
    guard.extract("HEAD", base)
    guard.copy(now)
    for tree in (base, now):
        assert (tree / "zmqcy" / "_socket.pyx").is_file()
        assert not list(tree.rglob("*.so"))
    assert (now / "benchmarks" / "guard.py").read_bytes() == Path(guard.__file__).read_bytes()


def test_without_valgrind_it_says_what_to_install(tmp_path):
    command = [sys.executable, guard.__file__, "HEAD"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "apt-get install valgrind" in done.stderr
    assert "Traceback" not in done.stderr


@needs_valgrind
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git repository")
def test_an_unknown_commit_is_named(capsys):
    assert guard.main(["no-such-commit"]) == 2
    assert "no-such-commit" in capsys.readouterr().err
