"""A fixture to start commands."""

import subprocess

import pytest
from commands import COMMAND


@pytest.fixture
def start():
    """A function that starts a command and waits for `ready`. It returns the process and the first endpoint.

    With `ready=False` it does not wait, and returns only the process.
    """
    processes = []

    def begin(*arguments, ready=True, **options):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*COMMAND, *map(str, arguments)], **pipes)
        processes.append(process)
        if not ready:
            return process
        line = process.stderr.readline()
        word, endpoint, *_ = (line if isinstance(line, str) else line.decode()).split()
        assert word == "ready", line
        return process, endpoint

    yield begin
    for process in processes:
        process.kill()
        process.communicate()
