"""How much memory a process has, for the tests and the soak."""

import os

import pytest

INSTRUMENTED = bool(os.environ.get("ZMQCY_INSTRUMENTED"))  # by tools/instrumented.py
limited = pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer needs more addresses than a limit leaves")


def resident():
    """Return the resident pages of this process in bytes; skip the test where they say nothing."""
    if INSTRUMENTED:
        pytest.skip("a sanitizer keeps memory that was freed")
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
