"""Output of verbs: docker's tables, ``--format`` templates and ``--json``. Data goes to stdout, messages to stderr."""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hythe.cli.command import CommandFailed

_LEAST_WIDTH = 10
_GAP = 3


class Column(NamedTuple):
    """One column of a table: its heading, and the field of a row that it shows."""

    heading: str
    field: str


class Row(NamedTuple):
    """One line of a list: ``fields`` as docker names and writes them, ``data`` as ``--json`` gives them to programs."""

    fields: Mapping[str, str]
    data: Mapping[str, Any]


def add_list_flags(parser: ArgumentParser, quiet: str = "") -> None:
    """Add what every list takes: --format, --json, --no-trunc, and -q where ``quiet`` says what it shows."""
    parser.add_argument("--format", default="", metavar="TEMPLATE", help="a Go template, 'table TEMPLATE' or 'json'")
    parser.add_argument("--no-trunc", action="store_true", help="do not truncate output")
    add_json_flag(parser)
    if quiet:
        parser.add_argument("-q", "--quiet", action="store_true", help=quiet)


def add_json_flag(parser: ArgumentParser) -> None:
    """Add --json, which every verb has."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_json(value: Any) -> None:
    """Print a value of builtins (and msgspec structs) as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_list(rows: Sequence[Row], columns: Sequence[Column], arguments: Namespace, quiet_field: str = "ID") -> None:
    """Print rows as the flags of ``add_list_flags`` say."""
    if arguments.json:
        print_json([row.data for row in rows])
    elif getattr(arguments, "quiet", False) and not arguments.format:
        print_lines(row.fields[quiet_field] for row in rows)
    elif arguments.format and arguments.format != "table":
        _print_formatted(rows, columns, arguments.format)
    else:
        headings = [column.heading for column in columns]
        print_table(headings, [[row.fields[column.field] for column in columns] for row in rows])


def _print_formatted(rows: Sequence[Row], columns: Sequence[Column], pattern: str) -> None:
    from hythe.cli.template import Template

    if pattern == "json":
        pattern = "{{json .}}"
    wants_table = pattern.startswith("table ")
    template = Template(pattern.removeprefix("table ").strip())
    lines = [template.render(row.fields) for row in rows]
    if not wants_table:
        print_lines(lines)
        return
    fields = re.findall(r"\.([A-Z]\w*)", pattern)
    words = {field: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field).upper() for field in fields}
    heading = template.render(words | {column.field: column.heading for column in columns})
    print_table(heading.split("\t"), [line.split("\t") for line in lines])


def print_lines(lines: Any) -> None:
    """Print one item a line."""
    for line in lines:
        print(line)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns under headings, as wide as their widest cell, the way docker's tables look."""
    lines = [headings, *rows]
    widths = [max(_LEAST_WIDTH, _GAP + max(len(line[number]) for line in lines)) for number in range(len(headings))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("".join([*cells[:-1], line[-1]]).rstrip())


def parse_filters(texts: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of ``--filter KEY=VALUE`` by key; raises CommandFailed for an unknown key."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise CommandFailed(f"invalid filter {text!r}", f"filters are KEY=VALUE with {', '.join(known)}", 2)
        filters.setdefault(key, []).append(value)
    return filters


def has_label(labels: Mapping[str, str] | None, wanted: str) -> bool:
    """Whether ``NAME`` or ``NAME=VALUE``, as a filter wants it, is among the labels."""
    name, equals, value = wanted.partition("=")
    return name in (labels or {}) and (not equals or (labels or {})[name] == value)


def truth(text: str) -> bool:
    """Return what a filter's value says; raises CommandFailed when it is neither true nor false."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise CommandFailed(f"{text!r} is not a boolean", "use true or false", 2)
    return values[text.lower()]


def talk(message: str) -> None:
    """Print a message to stderr."""
    print(message, file=sys.stderr)
