"""Measure the memory of a process, for the tests and the soak."""

import os

import pytest

INSTRUMENTED = bool(os.environ.get("ZMQCY_INSTRUMENTED"))  # set by tools/instrumented.py
limited = pytest.mark.skipif(INSTRUMENTED, reason="a sanitizer needs more addresses than the limit allows")


def resident():
    """Return the resident memory of this process in bytes. Skip the test under a sanitizer."""
    if INSTRUMENTED:
        pytest.skip("a sanitizer keeps memory that was freed")
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
