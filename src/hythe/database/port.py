"""The port: what a service may ask of a database, whichever it is.

    DatabaseError                   root
    ├── UnavailableError            no answer, no room, or no write access: try again later, or ask the operator
    ├── InvalidValueError           a value that no column takes, whatever is tried again
    └── SchemaError                 the schema is older or newer than this program

A breach of a unique or foreign key constraint comes through as ``sqlalchemy.exc.IntegrityError``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from sqlalchemy import Executable, Row, Table
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert

Dialect: TypeAlias = Literal["sqlite", "postgresql"]
Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class DatabaseError(Exception):
    """Root of what a database raises of its own."""


class UnavailableError(DatabaseError):
    """The database does not answer, has no room, or may not be written."""


class InvalidValueError(DatabaseError):
    """A text with a NUL character, half of a surrogate pair, or more than fits; a number beyond its column's range."""


class SchemaError(DatabaseError):
    """The schema does not fit this program; the text says which command mends it."""


class Session(Protocol):
    """Statements inside one ``reading`` or ``writing``; each sees what was committed before it began.

    Any of them raises InvalidValueError for a value that cannot be kept, be it only to look for it.
    """

    @property
    def dialect(self) -> Dialect:
        """Which database this is, for the few statements that differ (full-text search)."""

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """Run a statement that returns rows, and return them all."""

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """Run a statement that returns rows, and return the first or None."""

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """Run a statement that changes rows, and return how many; a list of parameters runs it for each."""


class Database(Protocol):
    """An open database."""

    @property
    def dialect(self) -> Dialect:
        """Which database this is."""

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """A session that only reads. Raises UnavailableError."""

    def writing(self, *, durable: bool = True) -> AbstractAsyncContextManager[Session]:
        """A transaction: committed when the block ends, rolled back when it raises. Raises UnavailableError.

        With ``durable``, what was committed survives a power cut; without it, it survives the process's death only
        (counters, last-seen times). SQLite runs one ``writing`` at a time: await nothing slow inside.
        """

    def generation(self) -> int | None:
        """Return a number that changes with every commit, whoever made it; what was read under it still holds.

        None where that cannot be told for less than asking anew costs. Raises UnavailableError.
        """

    async def close(self) -> None:
        """Close every connection."""


def insert(session: Session, table: Table) -> "SQLiteInsert | PostgreSQLInsert":
    """Return an INSERT that knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return insert_for(session.dialect, table)


def insert_for(dialect: Dialect, table: Table) -> "SQLiteInsert | PostgreSQLInsert":
    """Return such an INSERT for a database that is not open yet, to be built once and kept."""
    if dialect == "sqlite":
        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)
