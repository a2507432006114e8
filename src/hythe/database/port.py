"""The port: what services need from a database.

    DatabaseError                   root
    ├── UnavailableError            not responding, full, or not writable: retry later, or ask the operator
    ├── InvalidValueError           a value that no column can store; a retry does not help
    ├── QueryTimeout                a long read took longer than its limit
    └── SchemaError                 the schema is older or newer than this program

Violations of unique and foreign key constraints raise ``sqlalchemy.exc.IntegrityError``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from sqlalchemy import Executable, Row, Table
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from hythe.database.changes import Changes

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert

Dialect: TypeAlias = Literal["sqlite", "postgresql"]
Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class DatabaseError(Exception):
    """Root of the errors of a database."""


class UnavailableError(DatabaseError):
    """The database does not respond, is full, or is not writable.

    ``cause`` is a description for clients, without paths, or "".
    """

    def __init__(self, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause


class InvalidValueError(DatabaseError):
    """A text contains a NUL character or a lone surrogate, or is too long; or a number is out of range."""


class QueryTimeout(DatabaseError):
    """A statement of a long read took longer than its time limit."""


class SchemaError(DatabaseError):
    """The schema does not match this program; the message names the command to run."""


class Session(Protocol):
    """Runs statements in one ``reading`` or ``writing``; each sees everything that was committed before it began.

    Each may raise InvalidValueError for a value that cannot be stored, even if it is only searched for.
    """

    @property
    def dialect(self) -> Dialect:
        """The database's dialect, for the few statements that differ (full-text search)."""

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """Run a statement and return all its rows."""

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """Run a statement and return its first row, or None."""

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """Run a statement that changes rows and return their number; a list of parameters runs it for each."""


class Database(Protocol):
    """An open database."""

    @property
    def dialect(self) -> Dialect:
        """The database's dialect."""

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """Open a read-only session for statements that take a few milliseconds. Raises UnavailableError.

        SQLite runs them on the event loop.
        """

    def reading_long(self, seconds: float) -> AbstractAsyncContextManager[Session]:
        """Open a read-only session for statements whose cost grows with what is stored (full-text search, checks).

        SQLite runs them in a few threads, for which a session may have to wait, and which cost about 0.5 ms a
        statement. A statement that takes longer than ``seconds`` ends the session with QueryTimeout. Raises
        UnavailableError.
        """

    def writing(self, *, durable: bool = True) -> AbstractAsyncContextManager[Session]:
        """Open a transaction: commits when the block ends, rolls back if it raises. Raises UnavailableError.

        With ``durable``, commits survive a power failure; otherwise only the death of the process (for counters and
        last-use times). SQLite runs one ``writing`` at a time: do not await anything slow inside.
        """

    def writing_once(self) -> AbstractAsyncContextManager[Session]:
        """Open a session for a single statement, which is a transaction that is not durable (see ``writing``).

        PostgreSQL needs a third of the time: the statement commits itself. Raises UnavailableError, after which it may
        have been committed.
        """

    @property
    def changes(self) -> Changes:
        """What was committed, by any process, for caches."""

    async def close(self) -> None:
        """Close all connections."""


def insert(session: Session, table: Table) -> "SQLiteInsert | PostgreSQLInsert":
    """Return an INSERT that supports ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    return insert_for(session.dialect, table)


def insert_for(dialect: Dialect, table: Table) -> "SQLiteInsert | PostgreSQLInsert":
    """Return such an INSERT for a dialect, to be built once and kept."""
    if dialect == "sqlite":
        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table)
