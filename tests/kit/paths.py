"""Paths: the root of the project, the helpers of the tests, and the test files by name."""

from pathlib import Path

KIT = Path(__file__).resolve().parent
ROOT = KIT.parents[1]
TESTS = {path.name: path for path in KIT.parent.glob("*/test_*.py")}  # the names are unique
