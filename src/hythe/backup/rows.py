"""The rows of a database in a form that does not depend on its engine.

A row is a tuple of None, bool, int, str, bytes, and datetime in UTC. SQLite stores times as text and booleans as
numbers; ``row_converter`` converts them. PostgreSQL's driver returns rows in this form already.
"""

import hashlib
import importlib
import pkgutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from sqlalchemy import Boolean, Column, LargeBinary, Table, Text

import hythe.database.tables as table_files
from hythe.database.port import Dialect
from hythe.database.schema import MIGRATIONS
from hythe.database.tables.metadata import METADATA, Timestamp

Row: TypeAlias = tuple[Any, ...]
Kind: TypeAlias = Literal["plain", "boolean", "time"]

ROWS_AT_ONCE = 2000
"""Rows to read or write at once."""

LARGE_ROWS_AT_ONCE = 64
"""The same for tables with columns of unlimited size: manifests have up to some megabytes each."""


DERIVED = ("search_postings", "search_term_forms")
"""Tables that are not copied but filled from others: each engine divides texts into words in its own way."""


class TableShape(msgspec.Struct, frozen=True):
    """A table and its columns: names and kinds, in the order of the values of a row."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows_at_once: int = ROWS_AT_ONCE


class TableContent(msgspec.Struct, frozen=True):
    """How many rows a table has, and their digest, which does not depend on their order."""

    rows: int
    digest: str


class RowSource(Protocol):
    """A database of which all rows are read as they were at one moment."""

    dialect: Dialect
    revision: str

    def rows(self, table: TableShape) -> AsyncIterator[Sequence[Row]]:
        """Yield the rows of a table in batches."""

    def blobs(self) -> AsyncIterator[Sequence[Row]]:
        """Yield (digest, size) of the blobs whose bytes should be in the blob store, sorted by digest."""

    async def last_ids(self) -> Mapping[str, int]:
        """Return the last id that each table has given to a row, for tables with a sequence."""


class RowTarget(Protocol):
    """A database that is filled in one transaction; its triggers do not run."""

    def rows(self, table: TableShape) -> AsyncIterator[Sequence[Row]]:
        """Yield the rows of a table in batches."""

    async def load(self, table: TableShape, batches: AsyncIterator[Sequence[Row]]) -> None:
        """Insert rows into an empty table."""

    async def set_unfinished(self, blob_store: str | None) -> None:
        """Mark the installation as not complete, and set the marker of its blob store unless it is None."""

    async def finish(self, tables: Sequence[TableShape], last_ids: Mapping[str, int]) -> None:
        """Rebuild what follows from the rows of these tables: DERIVED ones, search indexes and sequences."""


class ExclusiveDatabase(Protocol):
    """A database that no server uses, or can begin to use until it is closed."""

    @property
    def rows(self) -> RowSource:
        """Its rows."""

    async def set_kind(self, kind: str) -> None:
        """Set the installation's kind at once."""

    async def set_blob_store(self, marker: str) -> None:
        """Name another blob store at once, and end the sessions of uploads, whose bytes are in the one before."""


class RowsDigest:
    """Computes a TableContent."""

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows."""
        encode, count, total = msgspec.msgpack.Encoder().encode, 0, 0
        for row in rows:
            total += int.from_bytes(hashlib.blake2b(encode(row), digest_size=16).digest(), "big")
            count += 1
        self._rows += count
        self._sum = (self._sum + total) % (1 << 128)

    @property
    def content(self) -> TableContent:
        """What was added."""
        return TableContent(self._rows, f"{self._sum:032x}")


def table_shapes() -> tuple[TableShape, ...]:
    """Return this program's tables, each after those that its foreign keys refer to."""
    for file in pkgutil.iter_modules(table_files.__path__):
        importlib.import_module(f"{table_files.__name__}.{file.name}")
    return tuple(_shape(table) for table in METADATA.sorted_tables)


def _shape(table: Table) -> TableShape:
    large = any(isinstance(column.type, LargeBinary | Text) for column in table.columns)
    stored = [column for column in table.columns if column.computed is None]
    return TableShape(
        str(table.name),
        tuple(str(column.name) for column in stored),
        tuple(_kind(column) for column in stored),
        LARGE_ROWS_AT_ONCE if large else ROWS_AT_ONCE,
    )


def _kind(column: "Column[Any]") -> Kind:
    if isinstance(column.type, Timestamp):
        return "time"
    return "boolean" if isinstance(column.type, Boolean) else "plain"


def filling_statements(tables: Sequence[TableShape], dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that fill DERIVED tables, if they are among the tables."""
    if not any(table.name in DERIVED for table in tables):
        return ()
    spec = spec_from_file_location("search_postings", MIGRATIONS / "versions" / "0033_search_postings.py")
    if spec is None or spec.loader is None:
        raise ImportError("this installation has no migrations: reinstall hythe")
    migration = module_from_spec(spec)
    spec.loader.exec_module(migration)
    statements: tuple[str, ...] = migration.FILL[dialect]
    return statements


def from_sqlite(table: TableShape) -> Callable[[Sequence[Row]], Sequence[Row]]:
    """Return what converts rows as SQLite stores them."""
    return _converter(table, {"time": _parsed_time, "boolean": bool})


def to_sqlite(table: TableShape) -> Callable[[Sequence[Row]], Sequence[Row]]:
    """Return what converts rows to how SQLite stores them."""
    return _converter(table, {"time": _time_text})


def _converter(
    table: TableShape, conversions: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Sequence[Row]], Sequence[Row]]:
    changed = [(place, conversions[kind]) for place, kind in enumerate(table.kinds) if kind in conversions]
    if not changed:
        return lambda rows: rows

    def convert(rows: Sequence[Row]) -> Sequence[Row]:
        converted = []
        for row in rows:
            values = list(row)
            for place, conversion in changed:
                if values[place] is not None:
                    values[place] = conversion(values[place])
            converted.append(tuple(values))
        return converted

    return convert


def _parsed_time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _time_text(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat(" ", "microseconds")
