"""The table of socket types: what its rows say is what libzmq does, and what everything that reads them does."""

import pytest
from rows import rows

import zmqcy
from zmqcy.socket_types import SOCKET_TYPES, TRAITS, Type, in_words, types_with

BY_NAME = {row.name: row for row in SOCKET_TYPES}
HERE = [row for row in SOCKET_TYPES if zmqcy.has("draft") or "draft" not in row.traits]


def test_each_number_has_a_row():
    assert [row.number for row in SOCKET_TYPES] == list(range(21))
    assert len(BY_NAME) == 21


@rows("row", SOCKET_TYPES)
def test_partners_are_partners_of_each_other(row):
    assert all(row.name in BY_NAME[name].partners for name in row.partners)


@rows("row", HERE)
def test_a_row_says_what_libzmq_does(row, socket):
    made = socket(row.number, sndtimeo=0, rcvtimeo=0)
    assert made.thread_safe == ("thread_safe" in row.traits)
    calls = {"sends": lambda: made.send_multipart([b"x"] * (row.parts or 1)), "receives": made.recv}
    for trait, call in calls.items():
        try:
            call()
            refused = False
        except (zmqcy.Again, zmqcy.StateError, zmqcy.HostUnreachable):
            refused = False
        except zmqcy.NotSupported:
            refused = True
        assert refused != (trait in row.traits), trait


def test_a_row_with_an_unknown_trait_is_refused():
    with pytest.raises(ValueError, match="BATON: unknown traits: .*sedns"):
        Type(21, "BATON", "", "sedns", "")


def test_every_trait_is_somewhere():
    assert TRAITS.keys() == set().union(*(row.traits for row in SOCKET_TYPES))


def test_names_in_a_text():
    assert types_with("sends", "in_turn") == ["REQ", "REP"]
    assert [in_words(list("ABC")[:n], "or") for n in range(4)] == ["", "A", "A or B", "A, B or C"]
