"""Where things are: the root of the project, the tools of the tests, and the files of tests by name."""

from pathlib import Path

KIT = Path(__file__).resolve().parent
ROOT = KIT.parents[1]
TESTS = {path.name: path for path in KIT.parent.glob("*/test_*.py")}  # no name stands in two folders
