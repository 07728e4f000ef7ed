"""A test that loops over a table reports the rows that fail, and runs all rows."""

import pytest
from rows import rows

import zmqcy


def test_each_row_that_fails_is_named_and_the_others_are_looked_at():
    seen = []

    @rows("number", [pytest.param(1, id="one"), pytest.param(2, id="two"), pytest.param(3, id="three")])
    def check(base, number):
        seen.append(number)
        assert base + number == 12

    with pytest.raises(pytest.fail.Exception) as caught:
        check(base=10)
    assert seen == [1, 2, 3]
    text = str(caught.value)
    assert text.startswith("2 of 3 rows: one, three\n---- one\n")
    assert "AssertionError" in text and "---- two" not in text


def test_an_exception_that_did_not_come_is_a_failure_of_its_row():
    @rows(("text", "good"), [("1", True), ("x", False)])
    def check(text, good):
        with pytest.raises(ValueError, match="x"):
            int(text)

    with pytest.raises(pytest.fail.Exception, match="1 of 2 rows: '1'-True\n"):
        check()


def test_a_skip_is_for_its_row():
    @rows("name", ["a", "b"], ids=str)
    def check(name):
        if name == "a":
            pytest.skip("no a")
        raise KeyError(name)

    with pytest.raises(pytest.fail.Exception, match="1 of 2 rows: b\n"):
        check()


def test_all_rows_skipped():
    @rows("name", ["a", "b"])
    def check(name):
        pytest.skip(f"no {name}")

    with pytest.raises(pytest.skip.Exception, match="no a"):
        check()


@rows("outer", [1, 2])
@rows("inner", [3, 4])
def test_tables_multiply_and_fixtures_come(tmp_path, outer, inner):
    (tmp_path / f"{outer}{inner}").touch()
    assert len(list(tmp_path.iterdir())) == 2 * (outer - 1) + inner - 2


@rows("number", [1, 2])
def test_the_sockets_of_a_row_are_closed_after_it(ctx, socket, number):
    assert ctx._open_sockets() == []
    for _ in range(number):
        socket(zmqcy.PULL)
