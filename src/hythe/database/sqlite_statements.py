"""Runs compiled statements directly on sqlite3; see ``compiled``."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import DBAPIError

from hythe.database.compiled import CompiledStatement, CompiledStatements
from hythe.database.port import Parameters
from hythe.database.values import check_values

_DIALECT = sqlite_dialect(paramstyle="qmark")


def sqlite_statements() -> CompiledStatements:
    """Return an empty cache of statements for SQLite."""
    return CompiledStatements(_DIALECT)


def all_rows(compiled: CompiledStatement, connection: sqlite3.Connection, given: Parameters | None) -> list[Row[Any]]:
    """Run a statement and return all its rows. Raises SQLAlchemy's errors and InvalidValueError."""
    return [compiled.row(found) for found in run(compiled, connection, given).fetchall()]


def first_row(compiled: CompiledStatement, connection: sqlite3.Connection, given: Parameters | None) -> Row[Any] | None:
    """Run a statement and return its first row. Raises the same."""
    cursor = run(compiled, connection, given)
    found = cursor.fetchone()
    cursor.close()  # open, it would block writers
    return None if found is None else compiled.row(found)


def run(compiled: CompiledStatement, connection: sqlite3.Connection, given: Parameters | None) -> sqlite3.Cursor:
    """Run a statement. Raises the same."""
    values: Sequence[Any] = compiled.arguments(given if isinstance(given, Mapping) else {})
    check_values(values)
    try:
        return connection.execute(compiled.text, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(compiled.text, values, error, sqlite3.Error, dialect=_DIALECT) from error
