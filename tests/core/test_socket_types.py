"""The table of socket types: libzmq, and all code that reads the table, behave as its rows describe."""

import pytest
from paths import ROOT
from rows import rows

import zmqcy
from zmqcy.devices import Device
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


@rows("number, name", [(64, "BATON"), (-1, "BATON"), (21, "SIXTEEN_LETTERS_")])
def test_a_row_that_c_code_has_no_room_for_is_refused(number, name):
    with pytest.raises(ValueError, match="the number must be less than 64, and the name at most 15 characters long"):
        Type(number, name, "", "sends", "")


def test_every_trait_is_somewhere():
    assert TRAITS.keys() == set().union(*(row.traits for row in SOCKET_TYPES))


def test_names_in_a_text():
    assert types_with("sends", "in_turn") == ["REQ", "REP"]
    assert [in_words(list("ABC")[:n], "or") for n in range(4)] == ["", "A", "A or B", "A, B or C"]


def test_docstrings_name_the_types_of_the_table():
    assert f"A {in_words(types_with('capture'), 'or')} socket" in zmqcy.proxy.__doc__
    assert f"A {in_words(types_with('control'), 'or')} socket" in zmqcy.proxy_steerable.__doc__
    assert f"{in_words(types_with('capture', 'offered'), 'or')}." in Device.__doc__


# BATON replaces PUSH, and LATER replaces XSUB: libzmq must know their numbers.
CHANGED = f"""
import importlib.util
import sys

spec = importlib.util.spec_from_file_location("zmqcy.socket_types", {str(ROOT / "zmqcy" / "socket_types.py")!r})
table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(table)
changed = [
    table.Type(8, "BATON", "Send `parts` alone.", "sends offered binds control", "PULL", 1, "affinity", "backlog"),
    table.Type(10, "LATER", "Come later.", "draft receives", "PUB"),
]
rows = {{row.number: row for row in (*table.SOCKET_TYPES, *changed)}}
table.SOCKET_TYPES = tuple(rows.values())
table.ALIASES.update(PUSH="BATON", DOWNSTREAM="BATON", XSUB="LATER")
sys.modules[spec.name] = table

import pytest
import zmqcy
from zmqcy import BATON, LATER, PULL

ctx = zmqcy.Context(linger=0)
"""


def test_a_type_is_what_its_row_says(run):
    run(
        CHANGED
        + """
assert BATON is zmqcy.SocketType.PUSH and BATON == 8
baton, pull = ctx.socket(BATON), ctx.socket(PULL)
assert "BATON" in repr(baton) and baton.socket_type is BATON
pull.bind("inproc://x")
baton.connect("inproc://x")
baton.send(b"alone")
assert pull.recv() == b"alone"
with pytest.raises(zmqcy.InvalidArgument, match=r"2 parts \\(BATON\\): .*exactly one part"):
    baton.send_multipart([b"two", b"parts"])
with pytest.raises(zmqcy.InvalidArgument, match=r"SNDMORE \\(BATON\\)"):
    baton.send(b"x", zmqcy.SNDMORE)
with pytest.raises(zmqcy.NotSupported, match=r"recv \\(BATON\\)"):
    baton.recv(zmqcy.DONTWAIT)
if not zmqcy.has("draft"):
    with pytest.raises(zmqcy.NotSupported, match="type=LATER: this libzmq was built without the draft API"):
        ctx.socket(LATER)
"""
    )


def test_devices_and_commands_read_a_row(run):
    run(
        CHANGED
        + """
from zmqcy.cli.messages import RECEIVING, SENDING, send
from zmqcy.devices import CAPTURES, Device

with pytest.raises(zmqcy.InvalidArgument, match="must be a PAIR, PUB, DEALER or XPUB"):
    zmqcy.proxy(ctx.socket(PULL), ctx.socket(BATON), ctx.socket(BATON))
with pytest.raises(ValueError, match="no message can pass between LATER and PULL"):
    Device((LATER, PULL), "inproc://a", "inproc://b")
assert BATON not in CAPTURES
assert SENDING.choices[-1] == "baton" and "baton" not in RECEIVING.choices
assert "router or baton" in send.help and "router and baton sockets bind" in send.help
"""
    )


def test_options_and_stubs_read_a_row(run):
    run(
        CHANGED
        + f"""
from zmqcy.options import OWNERS, REFUSED

assert OWNERS[zmqcy.AFFINITY] == REFUSED[zmqcy.BACKLOG] == {{"BATON"}}
with zmqcy.Context(affinity=1, backlog=7) as context:
    baton, pull = context.socket(BATON), context.socket(PULL)
    assert (baton.affinity, baton.backlog, pull.affinity, pull.backlog) == (1, 100, 0, 7)

sys.path.insert(0, {str(ROOT / "tools")!r})
import stubs

lines = list(stubs.constants_stub())
assert "    BATON = 8" in lines and "LATER: Final = SocketType.LATER" in lines
"""
    )


def test_the_reference_lists_a_row(run):
    pytest.importorskip("sphinx")
    run(
        CHANGED
        + f"""
sys.path.insert(0, {str(ROOT / "docs" / "_ext")!r})
import tables

def written(which):
    directive = tables.Types.__new__(tables.Types)
    directive.arguments = [which]
    return directive.run()[0].astext()

assert "Send parts alone." in written("all") and "LATER" in written("all")
assert "LATER" in written("drafts") and "BATON" not in written("drafts")
"""
    )
