"""Run the command line in new processes, also with a terminal."""

import os
import select
import subprocess
import sys

COMMAND = [sys.executable, "-m", "zmqcy"]
LIMIT = 50  # max seconds of a command
ANY = "tcp://127.0.0.1:*"


def cli(*arguments, **options):
    """Run a command, and return the finished process with its output, as bytes unless `text` is true."""
    if "input" not in options:
        options = {"stdin": subprocess.DEVNULL, **options}
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, timeout=LIMIT, **options)


def fails(done, code, *words):
    """Assert that a command ended with an exit code and one line that contains all words."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert len([line for line in text.splitlines() if not line.startswith("ready ")]) == 1, text
    for word in words:
        assert word in text


def closed(redirection, *arguments):
    """Run a command with a standard stream that the shell has closed."""
    line = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *arguments]
    return subprocess.run(line, capture_output=True, timeout=LIMIT)


def read(terminal):
    """Read the output on a terminal until its other end is closed, and close it."""
    shown = b""
    while select.select([terminal], [], [], LIMIT)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # EIO: the other end is closed
            break
    os.close(terminal)
    return shown
