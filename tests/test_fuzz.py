"""What `make fuzz` does for long, for some seconds and always the same; and what it found."""

import pytest
from fuzz_calls import run as run_seed


@pytest.mark.timeout(300)  # a seed that hangs is ended by its own clock, and then tells what it did
@pytest.mark.parametrize("seed", [1, 2])
def test_any_argument_of_any_call_gives_a_result_or_an_exception(seed):
    failed = run_seed(seed, 3)
    assert failed is None, failed
