"""One test for a whole table: `rows` takes the arguments of `pytest.mark.parametrize`, and loops within one case."""

import functools
import inspect
import re
import traceback

import pytest

NOTED = (Exception, pytest.fail.Exception)


def name_of(value, ids, place):
    """Return pytest's name for a value, without an address."""
    if callable(ids):
        return str(ids(value))
    if ids is not None:
        return str(list(ids)[place])
    return getattr(value, "__name__", None) or re.sub(r" at 0x\w+", "", f"{value!r}")[:60]


def rows(names, table, ids=None):
    """Run a test for each row of a table, in one test case. The result names each failed row, with its traceback.

    Fixtures are set up once for all rows: use `parametrize` if a test closes or changes a fixture. The sockets that a
    row leaves in `ctx` are closed after it, so that a long table needs few file descriptors.
    """
    names = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
    prepared = []
    for place, row in enumerate(table):
        title, values = (row.id, row.values) if hasattr(row, "marks") else (None, row if len(names) > 1 else (row,))
        assert len(values) == len(names), row
        if title is None and len(names) > 1 and ids is not None and not callable(ids):
            title = list(ids)[place]
        title = title or "-".join(name_of(value, ids, place) for value in values)
        prepared.append((title, dict(zip(names, values, strict=True))))

    def decorate(function):
        signature = inspect.signature(function)
        assert set(names) <= signature.parameters.keys(), names

        @functools.wraps(function)
        def test(**fixtures):
            request = fixtures.get("request")
            if "request" not in signature.parameters:
                fixtures.pop("request", None)
            ctx = request.getfixturevalue("ctx") if request and "ctx" in request.fixturenames else None
            before = ctx._open_sockets() if ctx else []
            failed, skipped = {}, []
            for title, values in prepared:
                try:
                    function(**fixtures, **values)
                except pytest.skip.Exception as skip:
                    skipped.append(str(skip))
                except NOTED as error:
                    failed[title] = "".join(traceback.format_exception(type(error), error, error.__traceback__.tb_next))
                for socket in ctx._open_sockets() if ctx else []:
                    if not any(socket is each for each in before):
                        socket.close(0)
            if failed:
                text = "\n".join(f"---- {title}\n{trace}" for title, trace in failed.items())
                pytest.fail(f"{len(failed)} of {len(prepared)} rows: {', '.join(failed)}\n{text}", pytrace=False)
            if len(skipped) == len(prepared):
                pytest.skip(skipped[0] if skipped else "the table is empty")

        left = [each for name, each in signature.parameters.items() if name not in names]
        if "request" not in signature.parameters:
            left.append(inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY))
        test.__signature__ = signature.replace(parameters=left)
        return test

    return decorate
