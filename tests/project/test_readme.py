"""The README: its lines of Python run, and the commands that it names are there."""

import re
import signal
import subprocess
import sys
import threading

import pytest
from paths import ROOT

import zmqcy

README = (ROOT / "README.md").read_text()


TEN, THIRTY = re.findall(r"```python\n(.*?)```", README, re.S)
LIMIT = 30  # seconds that the service may take


def test_the_ten_lines_run(run):
    assert run(TEN).stdout == "b'HELLO'\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_service_in_thirty_lines_answers_and_ends_with_what_it_took(number):
    assert len([line for line in THIRTY.splitlines() if line]) <= 30
    code = THIRTY.replace(":5555", ":*")
    assert code != THIRTY
    service = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    late = threading.Timer(LIMIT, service.kill)
    late.start()
    try:
        with service, zmqcy.Context(linger=0) as context:
            client = context.socket(zmqcy.DEALER, rcvtimeo=LIMIT * 1000)
            client.connect(service.stdout.readline().split()[-1])
            for request in range(100):
                client.send_multipart([b"%d" % request, b"hello"])
            assert client.recv_multipart() == [b"0", b"HELLO"]
            service.send_signal(number)  # it has begun with all of them, or leaves the rest
            assert client.recv_multipart() == [b"1", b"HELLO"]
            out, errors = service.communicate()
            assert (service.returncode, out, errors) == (0, "", "")
    finally:
        late.cancel()
        service.kill()


def test_what_it_names_is_there():
    named = re.findall(r"(?:tests|benchmarks|docs)/[\w/-]+\.(?:py|md)|[\w-]+\.md", README)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_its_make_targets_are_there():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", README, re.M)) <= set(targets)
