"""What errors of asyncpg mean: see ``port``."""

from collections.abc import Sequence
from typing import Any

from asyncpg import (
    IntegrityConstraintViolationError,
    InterfaceError,
    InternalClientError,
    InvalidCachedStatementError,
    PostgresError,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from hythe.database.port import InvalidValueError, QueryTimeout, UnavailableError

_UNAVAILABLE = ("08", "25006", "26000", "28", "3D000", "40", "42P05", "53", "55P03", "57P", "58", "XX")
"""SQLSTATE classes: connection, read-only, lost prepared statement, login refused, no such database, serialization
failure, prepared statement of another client, no resources, lock not available, shutdown, system error, internal error.
"""

_REASONS = {
    "53100": "the disk of the PostgreSQL server is full: free space there",
    "53300": "PostgreSQL has no free connections: raise its max_connections",
    "25006": "PostgreSQL is read-only, perhaps a standby: connect to the primary",
    "XX001": "PostgreSQL found damaged data: look at its log, and restore a backup if necessary",
    "XX002": "PostgreSQL found a damaged index: look at its log, and rebuild the index",
}
"""What to do, by SQLSTATE."""

_INVALID_VALUE = "22"
"""SQLSTATE class of invalid values: a NUL character, a text too long, a number out of range."""

_CANCELLED = "57014"
"""SQLSTATE of a statement that ``statement_timeout`` has ended."""

_LOST = ("08", "57P01", "57P02", "57P03", "57P05")
"""SQLSTATE classes of a connection that has ended."""

_STALE = ("26000", "42P05")
"""SQLSTATEs of prepared statements that the server has lost, or has from another client (behind a pooler)."""

DRIVER_ERRORS = (OSError, PostgresError, InterfaceError, InternalClientError, ValueError)
"""What asyncpg raises; ValueError for values that it cannot encode, and for URLs."""


def translated(error: BaseException, text: str = "", arguments: Sequence[Any] = ()) -> Exception:
    """Return the error of the port, or SQLAlchemy's, for one of DRIVER_ERRORS that a statement raised."""
    state = _state(error)
    if isinstance(error, IntegrityConstraintViolationError):
        return IntegrityError(text, arguments, error)
    if state == _CANCELLED:
        return QueryTimeout("the query took longer than its time limit")
    if state.startswith(_INVALID_VALUE) or isinstance(error, ValueError):
        return InvalidValueError(f"the database rejected a value: {error}")
    if isinstance(error, OSError):
        return UnavailableError(f"the database does not respond: {error}")
    if not isinstance(error, PostgresError | InterfaceError | InternalClientError):
        raise TypeError(f"no error of the driver: {error!r}")
    if state.startswith(_UNAVAILABLE) or not isinstance(error, PostgresError) or is_stale(error):
        return UnavailableError(f"the database is temporarily unavailable: {reason(error)}")
    return DBAPIError(text, arguments, error)


def reason(error: BaseException) -> str:
    """Return what PostgreSQL said, and what to do about it if that is known."""
    hint = _REASONS.get(_state(error), "")
    return f"{hint} ({error})" if hint else str(error)


def is_lost(error: BaseException) -> bool:
    """Return whether an error says that its connection has ended."""
    return isinstance(error, OSError) or _state(error).startswith(_LOST)


def is_stale(error: BaseException) -> bool:
    """Return whether a prepared statement must be prepared again: the schema changed, or the server lost it.

    asyncpg's OutdatedSchemaCacheError is an InternalClientError.
    """
    return isinstance(error, InvalidCachedStatementError | InternalClientError) or _state(error) in _STALE


def _state(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", None) or "")
