"""Output of verbs: docker's tables, ``--format`` templates and ``--json``. Data goes to stdout, messages to stderr."""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hythe.cli.command import CommandFailed
from hythe.control_characters import escape_line

_MIN_WIDTH = 10
_GAP = 3


class Column(NamedTuple):
    """A column of a table: its heading, and the field that it shows."""

    heading: str
    field: str


class Row(NamedTuple):
    """A row of a list: ``fields`` in docker's names and formats for people, ``data`` for ``--json``."""

    fields: Mapping[str, str]
    data: Mapping[str, Any]


def add_list_flags(parser: ArgumentParser, quiet: str = "") -> None:
    """Add the flags of every list: --format, --json, --no-trunc, and -q if ``quiet`` is its help text."""
    parser.add_argument(
        "--format",
        default="",
        metavar="TEMPLATE",
        help="format the output with a Go template, 'table TEMPLATE' or 'json'",
    )
    parser.add_argument("--no-trunc", action="store_true", help="do not truncate output")
    add_json_flag(parser)
    if quiet:
        parser.add_argument("-q", "--quiet", action="store_true", help=quiet)


def add_json_flag(parser: ArgumentParser) -> None:
    """Add --json, which nearly every verb has."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_list(rows: Sequence[Row], columns: Sequence[Column], arguments: Namespace, quiet_field: str = "ID") -> None:
    """Print rows in the format that the flags of ``add_list_flags`` select."""
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
    lines = [template.render({name: on_one_line(value) for name, value in row.fields.items()}) for row in rows]
    if not wants_table:
        print_lines(lines)
        return
    fields = re.findall(r"\.([A-Z]\w*)", pattern)
    words = {field: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field).upper() for field in fields}
    heading = template.render(words | {column.field: column.heading for column in columns})
    print_table(heading.split("\t"), [line.split("\t") for line in lines])


def on_one_line(text: str) -> str:
    """Return a field as it is printed: with line breaks escaped on a terminal, unchanged in a file or pipe."""
    return escape_line(text) if sys.stdout.isatty() else text


def print_lines(lines: Any) -> None:
    """Print one item per line."""
    for line in lines:
        print(line)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table like docker's: each column is as wide as its widest cell. Control characters are escaped."""
    lines = [headings, *([escape_line(cell) for cell in row] for row in rows)]
    widths = [max(_MIN_WIDTH, _GAP + max(len(line[number]) for line in lines)) for number in range(len(headings))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("".join([*cells[:-1], line[-1]]).rstrip())


def parse_filters(texts: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """Return the values of ``--filter KEY=VALUE`` by key. Raises CommandFailed for an unknown key."""
    filters: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise CommandFailed(f"invalid filter {text!r}", f"use KEY=VALUE with one of {', '.join(known)}", 2)
        filters.setdefault(key, []).append(value)
    return filters


def has_label(labels: Mapping[str, str] | None, wanted: str) -> bool:
    """Whether the labels contain ``wanted``, which is ``NAME`` or ``NAME=VALUE``."""
    name, equals, value = wanted.partition("=")
    return name in (labels or {}) and (not equals or (labels or {})[name] == value)


def parse_boolean(text: str) -> bool:
    """Return the value of a boolean filter. Raises CommandFailed if it is neither true nor false."""
    values = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in values:
        raise CommandFailed(f"{text!r} is not a boolean", "use true or false", 2)
    return values[text.lower()]


def print_message(message: str) -> None:
    """Print a message to stderr."""
    print(message, file=sys.stderr)
