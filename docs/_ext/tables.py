"""Directives that generate tables of options, of enum members and of socket types.

    .. options:: sockets      (or contexts)
    .. constants:: Event
    .. types:: all          (or drafts)

Defaults are read from the loaded libzmq.
"""

from enum import Enum
from functools import cache

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import zmqcy
from zmqcy import constants
from zmqcy.options import ALIASES, CONTEXT_OPTIONS, OWNERS, SOCKET_OPTIONS
from zmqcy.socket_types import SOCKET_TYPES

TYPES = {"uint64": "int", "int64": "int", "fd": "int", "duration": "int, timedelta", "string": "str", "key": "Z85"}
ACCESS = {"r": "read", "w": "set", "rw": "read, set"}
# Options whose values differ between sockets or machines.
NO_DEFAULT = {"fd", "events", "type", "last_endpoint", "thread_safe", "socket_limit", "rcvmore", "mechanism"}


def text_of(text):
    """Return nodes for text with `code` in backticks."""
    for index, part in enumerate(text.split("`")):
        if part:
            yield nodes.literal(text=part) if index % 2 else nodes.Text(part)


def paragraph(text, *classes):
    return nodes.paragraph("", "", *text_of(text), classes=list(classes))


def table(head, rows, kind):
    """Return a table; each cell is a str or a list of paragraphs."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]

    def row(cells):
        made = nodes.row()
        for cell in cells:
            made += nodes.entry("", *([paragraph(cell)] if isinstance(cell, str) else cell))
        return made

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *map(row, rows))
    return nodes.table("", group, classes=[kind])


def default_of(option, make):
    """Return the default of an option as text, or an empty str if it has none that is useful."""
    if "r" not in option.access or option.name in NO_DEFAULT:
        return ""
    owner = make(min(OWNERS.get(option.number, {"DEALER"})))
    try:
        value = getattr(owner, option.name)
    except zmqcy.ZMQError:  # this libzmq does not have the option
        return ""
    if option.kind == "key" or value in (b"", ""):
        return "none"
    return f"`{value}`"


class Options(SphinxDirective):
    required_arguments = 1

    def run(self):
        with zmqcy.Context() as context:
            if self.arguments[0] == "sockets":
                made = cache(lambda name: context.socket(getattr(zmqcy, name)))
                return self.describe("Socket", SOCKET_OPTIONS, made)
            return self.describe("Context", CONTEXT_OPTIONS, lambda _: context)

    def describe(self, owner, options, make):
        names = {number: name for name, number in ALIASES.items()}
        python = self.env.get_domain("py")
        rows = []
        for option in sorted(options, key=lambda option: option.name):
            anchor = f"zmqcy.{owner}.{option.name}"
            name = nodes.literal(text=option.name, ids=[anchor])
            python.note_object(anchor, "attribute", anchor, location=name)
            what = option.text
            if owner == "Socket":
                if option.number in OWNERS:
                    what += f" Only for {', '.join(sorted(OWNERS[option.number]))}."
                if option.name in names:
                    what += f" Also `{names[option.name]}`."
            if option.draft:
                what += " Draft."
            kind = TYPES.get(option.kind, option.kind) + (f" ({option.unit})" if option.unit else "")
            default = default_of(option, make)
            facts = [kind, *([f"default {default}"] if default else []), ACCESS[option.access]]
            facts.append(f"`ZMQ_{option.name.upper()}`")
            rows.append([[nodes.paragraph("", "", name)], [paragraph(what), paragraph(" · ".join(facts), "facts")]])
        return [table(["option", "description"], rows, "options")]


class Constants(SphinxDirective):
    required_arguments = 1

    def run(self):
        enum = getattr(constants, self.arguments[0])
        assert issubclass(enum, Enum)
        anchor = f"zmqcy.{enum.__name__}"
        target = nodes.paragraph("", "", ids=[anchor])
        self.env.get_domain("py").note_object(anchor, "class", anchor, location=target)
        target += [nodes.strong(text=enum.__name__), nodes.Text(": ")]
        target += list(text_of(enum.__doc__.split("\n\n")[0].replace("``", "`")))
        older = {}
        for name, member in enum.__members__.items():
            if name != member.name:
                older.setdefault(member, []).append(f"`{name}`")
        rows = [[f"`{m.name}`", f"{int(m)}", ", ".join(older.get(m, []))] for m in enum.__members__.values()]
        seen = [row for index, row in enumerate(rows) if row not in rows[:index]]
        head = ["name", "value", "other names"]
        if not older:
            head, seen = head[:2], [row[:2] for row in seen]
        return [target, table(head, seen, "constants")]


class Types(SphinxDirective):
    required_arguments = 1

    def run(self):
        rows = [
            [
                f"`{row.name}`",
                row.text + (" Draft." if "draft" in row.traits and self.arguments[0] == "all" else ""),
                ", ".join(f"`{name}`" for name in row.partners),
                ", ".join(word for word in ("sends", "receives") if word in row.traits),
                f"{row.parts or 'any'}",
                "several" if "thread_safe" in row.traits else "one at a time",
            ]
            for row in SOCKET_TYPES
            if "draft" in row.traits or self.arguments[0] == "all"
        ]
        return [table(["type", "purpose", "peers", "messages", "parts", "threads"], rows, "types")]


def setup(app):
    app.add_directive("options", Options)
    app.add_directive("constants", Constants)
    app.add_directive("types", Types)
    return {"parallel_read_safe": True, "version": zmqcy.__version__}
