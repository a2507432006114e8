"""Compiles statements once and runs them directly on sqlite3.

A registry runs the same few dozen statements. SQLAlchemy needs 50 to 70 µs for each execution, even with its caches;
SQLite needs 5. So a statement that is run a second time is compiled to its text, parameter order and type conversions;
statements that are built for each call still go through SQLAlchemy.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import CompoundSelect, Delete, Executable, Insert, Row, Select, Update
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from hythe.database.port import Parameters
from hythe.database.values import check_values

_DIALECT = sqlite_dialect(paramstyle="qmark")

_Conversion: TypeAlias = Callable[[Any], Any]


class CompiledStatement:
    """A compiled statement for parameters with fixed names."""

    __slots__ = ("_arguments", "_row", "names", "text")

    def __init__(self, compiled: SQLCompiler, names: frozenset[str]) -> None:
        self.names = names
        self.text = str(compiled)
        self._arguments = [_argument(compiled, name, names) for name in compiled.positiontup or ()]
        self._row = _row_maker(compiled)

    def run(self, connection: sqlite3.Connection, parameters: Parameters | None) -> sqlite3.Cursor:
        """Run the statement. Raises SQLAlchemy's errors and InvalidValueError."""
        named = parameters if isinstance(parameters, Mapping) else {}
        values = [
            constant if name is None else named[name] if convert is None else convert(named[name])
            for name, convert, constant in self._arguments
        ]
        check_values(values)
        try:
            return connection.execute(self.text, values)
        except sqlite3.Error as error:
            raise DBAPIError.instance(self.text, values, error, sqlite3.Error, dialect=_DIALECT) from error

    def rows(self, cursor: sqlite3.Cursor) -> Sequence[Row[Any]]:
        """Return all rows."""
        return [self._row(found) for found in cursor.fetchall()]

    def row(self, cursor: sqlite3.Cursor) -> Row[Any] | None:
        """Return the first row and close the cursor, which would block writers."""
        found = cursor.fetchone()
        cursor.close()
        return None if found is None else self._row(found)


class CompiledStatements:
    """The statements of a database that were run more than once, as long as they are referenced."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Executable, CompiledStatement | bool] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, statement: Executable, parameters: Parameters | None) -> CompiledStatement | None:
        """Return the statement compiled for parameters with these names; None if SQLAlchemy must run it."""
        known = self._known.get(statement)
        if known is None:
            self._known[statement] = True  # run once
            return None
        if known is True and (parameters is None or isinstance(parameters, Mapping)):
            known = self._known[statement] = _compiled(statement, frozenset(parameters or ())) or False
        if isinstance(known, CompiledStatement) and _fits(known, parameters):
            return known
        return None


def _fits(compiled: CompiledStatement, parameters: Parameters | None) -> bool:
    if parameters is None:
        return not compiled.names
    return isinstance(parameters, Mapping) and parameters.keys() == compiled.names


def _compiled(statement: Executable, names: frozenset[str]) -> CompiledStatement | None:
    """Return None if the statement's text depends on its values, or its values on more than its parameters."""
    if not isinstance(statement, Select | CompoundSelect | Insert | Update | Delete):
        return None
    compiled = statement.compile(dialect=_DIALECT, column_keys=sorted(names))
    if not isinstance(compiled, SQLCompiler):
        return None
    if compiled.post_compile_params or compiled.literal_execute_params or compiled.escaped_bind_names:
        return None
    if isinstance(statement, Insert | Update) and (compiled.insert_prefetch or compiled.update_prefetch):
        return None
    columns = [entry.keyname for entry in compiled._result_columns]
    return None if len(set(columns)) < len(columns) else CompiledStatement(compiled, names)


def _argument(compiled: SQLCompiler, name: str, names: frozenset[str]) -> tuple[str | None, _Conversion | None, Any]:
    """Return the source of a value: (parameter, conversion, None), or (None, None, constant)."""
    bind = compiled.binds[name]
    convert = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    if bind.key in names:
        return bind.key, convert, None
    if bind.required:
        raise KeyError(f"the parameter {bind.key!r} is missing")
    value = bind.effective_value
    return None, None, value if convert is None else convert(value)


def _row_maker(compiled: SQLCompiler) -> Callable[[Sequence[Any]], Row[Any]]:
    columns = compiled._result_columns
    conversions = [entry.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for entry in columns]
    metadata = SimpleResultMetaData([entry.keyname for entry in columns])
    processors = conversions if any(conversions) else None
    key_to_index = metadata._key_to_index
    return lambda found: Row(metadata, processors, key_to_index, found)
