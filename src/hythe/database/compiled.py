"""Compiles statements once, so that they can be run directly on the drivers sqlite3 and asyncpg.

A hub runs the same few hundred statements. SQLAlchemy's connections need 50 to 800 µs for each execution, even with
their caches; the databases need 5 to 50. So a statement that is run a second time is compiled to its text, parameter
order and type conversions. A statement that was built for one call is compiled for that call, with SQLAlchemy's cache
of statements that have the same form.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from sqlalchemy import CompoundSelect, Delete, Executable, Insert, Row, Select, Update
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.util import LRUCache

from hythe.database.port import Parameters

FORMS = 500
"""Different forms of statements built for one call whose compiled text is kept."""

_NUMERIC = 1700
"""PostgreSQL's type of numbers that Python has as Decimal; only conversions of numbers ask for a type."""

_Conversion: TypeAlias = Any
"""A function from value to value; None: as it is."""
RowMaker: TypeAlias = Callable[[Sequence[Any]], Row[Any]]
"""Makes a row of the driver's values."""


class CompiledStatement:
    """A compiled statement for parameters with fixed names."""

    __slots__ = ("_arguments", "names", "row", "text")

    def __init__(self, compiled: SQLCompiler, names: frozenset[str]) -> None:
        self.names = names
        self.text = str(compiled)
        self.row: RowMaker = _row_maker(compiled)
        self._arguments = [_argument(compiled, name, names) for name in compiled.positiontup or ()]

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values for the driver, in the order of the text."""
        return [
            constant if name is None else parameters[name] if convert is None else convert(parameters[name])
            for name, convert, constant in self._arguments
        ]


class Call(NamedTuple):
    """A statement with the values of one execution; ``row`` is None if the text alone does not tell its columns."""

    text: str
    arguments: list[Any]
    row: RowMaker | None


class CompiledStatements:
    """The statements of a database that were run more than once, as long as they are referenced."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._known: WeakKeyDictionary[Executable, CompiledStatement | bool] = WeakKeyDictionary()
        self._forms: LRUCache[Any, Any] = LRUCache(FORMS)
        self._rows: WeakKeyDictionary[SQLCompiler, RowMaker | None] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, statement: Executable, parameters: Parameters | None) -> CompiledStatement | None:
        """Return the statement compiled for parameters with these names; None if it must be compiled for each call."""
        known = self._known.get(statement)
        if known is None:
            self._known[statement] = True  # run once
            return None
        if known is True and (parameters is None or isinstance(parameters, Mapping)):
            known = self._known[statement] = self._compiled(statement, frozenset(parameters or ())) or False
        if isinstance(known, CompiledStatement) and _fits(known, parameters):
            return known
        return None

    def _compiled(self, statement: Executable, names: frozenset[str]) -> CompiledStatement | None:
        """Return None if the statement's text depends on its values, or its values on more than its parameters."""
        if not isinstance(statement, Select | CompoundSelect | Insert | Update | Delete):
            return None
        compiled = statement.compile(dialect=self._dialect, column_keys=sorted(names))
        if not isinstance(compiled, SQLCompiler):
            return None
        if compiled.post_compile_params or compiled.literal_execute_params or compiled.escaped_bind_names:
            return None
        if isinstance(statement, Insert | Update) and (compiled.insert_prefetch or compiled.update_prefetch):
            return None
        columns = [entry.keyname for entry in compiled._result_columns]
        return None if len(set(columns)) < len(columns) else CompiledStatement(compiled, names)

    def for_call(self, statement: Executable, parameters: Mapping[str, Any]) -> Call:
        """Compile a statement for one execution."""
        return self.for_calls(statement, [parameters])[0]

    def for_calls(self, statement: Executable, parameters: Sequence[Mapping[str, Any]]) -> list[Call]:
        """Compile a statement for executions with the same names of parameters."""
        names, many = sorted(parameters[0]), len(parameters) > 1
        compiled, extracted, collected, _ = statement._compile_w_cache(
            self._dialect, compiled_cache=self._forms, column_keys=names, for_executemany=many
        )
        if not isinstance(compiled, SQLCompiler):  # a definition
            return [Call(str(compiled), [], None)]
        if isinstance(statement, Insert | Update) and (compiled.insert_prefetch or compiled.update_prefetch):
            raise NotImplementedError(f"a column has a default that Python computes: {compiled}")
        row = self._row_maker(compiled)
        calls = []
        for number, given in enumerate(parameters):
            values = compiled.construct_params(
                given,
                _group_number=number if many else None,
                extracted_parameters=extracted,
                escape_names=False,
                _collected_params=collected,
            )
            calls.append(Call(*_text_and_arguments(compiled, values), row))
        return calls

    def _row_maker(self, compiled: SQLCompiler) -> RowMaker | None:
        if compiled not in self._rows:
            self._rows[compiled] = _row_maker(compiled) if compiled._result_columns else None
        return self._rows[compiled]


def row_maker_for(columns: Sequence[str]) -> RowMaker:
    """Return what makes rows of values that need no conversion."""
    return _row_maker_of(columns, [])


def _fits(compiled: CompiledStatement, parameters: Parameters | None) -> bool:
    if parameters is None:
        return not compiled.names
    return isinstance(parameters, Mapping) and parameters.keys() == compiled.names


def _argument(compiled: SQLCompiler, name: str, names: frozenset[str]) -> tuple[str | None, _Conversion, Any]:
    """Return the source of a value: (parameter, conversion, None), or (None, None, constant)."""
    bind = compiled.binds[name]
    convert = bind.type.dialect_impl(compiled.dialect).bind_processor(compiled.dialect)
    if bind.key in names:
        return bind.key, convert, None
    if bind.required:
        raise KeyError(f"the parameter {bind.key!r} is missing")
    value = bind.effective_value
    return None, None, value if convert is None else convert(value)


def _text_and_arguments(compiled: SQLCompiler, values: MutableMapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the text with a place for each value of its lists, and the values in the order of the places."""
    text, conversions = compiled.string, dict[str, Any](compiled._bind_processors)
    order: Sequence[str] = compiled.positiontup or ()
    if compiled.literal_execute_params or compiled.post_compile_params:
        expanded = compiled._process_parameters_for_postcompile(values)
        text, order = expanded.statement, expanded.positiontup or ()
        values = {**values, **expanded.additional_parameters}
        conversions.update(expanded.processors)
    return text, [conversions[key](values[key]) if key in conversions else values[key] for key in order]


def _row_maker(compiled: SQLCompiler) -> RowMaker:
    columns, dialect = compiled._result_columns, compiled.dialect
    conversions = [entry.type.dialect_impl(dialect).result_processor(dialect, _NUMERIC) for entry in columns]
    return _row_maker_of([entry.keyname for entry in columns], conversions)


def _row_maker_of(columns: Sequence[str], conversions: Sequence[_Conversion]) -> RowMaker:
    metadata = SimpleResultMetaData(columns)
    processors = conversions if any(conversions) else None
    key_to_index = metadata._key_to_index
    return lambda found: Row(metadata, processors, key_to_index, found)
