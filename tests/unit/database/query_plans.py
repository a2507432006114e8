"""Records the statements of sessions, and finds in their plans what reads more than is asked for."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection as RawConnection
from types import FrameType
from typing import Any, TypeVar

import psycopg
from sqlalchemy import ClauseElement, Executable, Insert, Row
from sqlalchemy.dialects.postgresql.asyncpg import dialect as postgresql_dialect
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.sqltypes import TupleType

from hythe.database import Session
from hythe.database.port import Dialect, Parameters

T = TypeVar("T")


@dataclass(frozen=True)
class Statement:
    """A statement as the database receives it, with bound parameters. ``name``: its variable, or the function."""

    name: str
    text: str
    parameters: tuple[Any, ...]


@dataclass
class Recorder:
    """What sessions ran, and where."""

    names: dict[int, str]
    statements: dict[str, Statement] = field(default_factory=dict)
    lines: set[tuple[str, int]] = field(default_factory=set)
    executed: set[str] = field(default_factory=set)
    current: str = ""

    def note(self, statement: Executable, frame: FrameType) -> None:
        """Note that a caller is about to run a statement."""
        module = str(frame.f_globals["__name__"])
        self.lines.add((module, frame.f_lineno))
        self.current = self.names.get(id(statement), f"{module.removeprefix('hythe.')}.{frame.f_code.co_name}")
        self.executed.add(self.current)

    def before_execution(
        self, _connection: object, _cursor: object, text: str, parameters: Any, _context: object, many: bool
    ) -> None:
        """Note the text of the statement (SQLAlchemy's event before_cursor_execute)."""
        self.received(text, parameters[0] if many else parameters)

    def received(self, text: str, parameters: Sequence[Any]) -> None:
        """Note the text of the statement."""
        if self.current:
            self.statements.setdefault(text, Statement(self.current, text, tuple(parameters)))


MAX_REPEATS = 20
"""How often one call runs a statement; then it finds no more rows, so that loops over thousands of rows end."""


class RecordedSession:
    """See Session. Each call of a function has its own."""

    def __init__(self, session: Session, recorder: Recorder) -> None:
        self._session = session
        self._recorder = recorder
        self._repeats: Counter[tuple[str, int]] = Counter()
        self.dialect: Dialect = session.dialect

    def _is_repeated(self, statement: Executable, frame: FrameType) -> bool:
        self._recorder.note(statement, frame)
        place = (frame.f_code.co_filename, frame.f_lineno)
        self._repeats[place] += 1
        return self._repeats[place] > MAX_REPEATS

    def rows(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Coroutine[Any, Any, Sequence[Row[Any]]]:
        """See Session.rows."""
        repeated = self._is_repeated(statement, sys._getframe(1))
        return _result([]) if repeated else self._session.rows(statement, parameters)

    def row(self, statement: Executable, parameters: Parameters | None = None) -> Coroutine[Any, Any, Row[Any] | None]:
        """See Session.row."""
        repeated = self._is_repeated(statement, sys._getframe(1))
        return _result(None) if repeated else self._session.row(statement, parameters)

    def run(self, statement: Executable, parameters: Parameters | None = None) -> Coroutine[Any, Any, int]:
        """See Session.run."""
        repeated = self._is_repeated(statement, sys._getframe(1))
        return _result(0) if repeated else self._session.run(statement, parameters)


async def _result(value: T) -> T:
    return value


def compiled(name: str, statement: Executable, dialect: Dialect) -> Statement | None:
    """Return the text of a statement with bound parameters; None for one that inserts what it is given."""
    if isinstance(statement, Insert) and statement.select is None:
        return None
    assert isinstance(statement, ClauseElement)
    engine = sqlite_dialect(paramstyle="qmark") if dialect == "sqlite" else postgresql_dialect()
    result = statement.compile(dialect=engine)
    assert isinstance(result, SQLCompiler)
    numbers = itertools.count(len(result.positiontup or ()) + 1)

    def values(match: re.Match[str]) -> str:
        kind = result.binds[match[1]].type
        width = len(kind.types) if isinstance(kind, TupleType) else 1
        places = [[f"${next(numbers)}" if dialect == "postgresql" else "?" for _ in range(width)] for _ in range(3)]
        listed = ", ".join(f"({', '.join(each)})" if width > 1 else each[0] for each in places)
        return f"VALUES {listed}" if width > 1 and dialect == "sqlite" else listed

    text = re.sub(r"__\[POSTCOMPILE_(\w+)[^\]]*\]", values, str(result))
    order = {number: f"${place}" for place, number in enumerate(dict.fromkeys(re.findall(r"\$\d+", text)), 1)}
    text = re.sub(r"\$\d+", lambda match: order[match[0]], text)
    count = text.count("?") if dialect == "sqlite" else len(order)
    return Statement(name, text, (None,) * count)


_FEW_ROWS = (
    "_due",
    "_deleting_since",
    "_deleted_at",
    "_admins",
    "_waiting",
    "_unfollowed",
    "_unapplied",
    "_taken_down",
)
"""The ends of the names of partial indexes that hold only the rows that are looked for."""


def sqlite_findings(connection: RawConnection, statement: Statement) -> set[str]:
    """Return what SQLite's plan does to many rows.

    Without ANALYZE, which the hub does not run, plans do not depend on the rows.
    """
    query = f"EXPLAIN QUERY PLAN {statement.text}"
    details = [str(row[-1]) for row in connection.execute(query, statement.parameters)]
    results = {match[1] for detail in details if (match := re.match(r"(?:MATERIALIZE|CO-ROUTINE) (\S+)", detail))}
    found = set()
    for detail in details:
        scanned = re.match(r"SCAN (\S+)(?: AS \S+)?( VIRTUAL TABLE)?(?: USING (?:COVERING )?INDEX (\S+))?", detail)
        if scanned and (scanned[3] or "").endswith(_FEW_ROWS):
            continue
        if scanned and not scanned[2] and scanned[1] not in results | {"CONSTANT"} and not scanned[1].startswith("("):
            found.add(f"scans {scanned[1]}" + (f" by {scanned[3]}" if scanned[3] else ""))
        if "AUTOMATIC" in detail:
            found.add("builds an index")
        if detail.startswith("USE TEMP B-TREE"):
            found.add("sorts")
    return found | _counts(statement)


def postgresql_findings(connection: psycopg.Connection[Any], statement: Statement) -> set[str]:
    """Return what PostgreSQL's generic plan does to many rows."""
    connection.execute(f"PREPARE examined AS {statement.text}".encode())
    try:
        arguments = f"({', '.join(['NULL'] * len(statement.parameters))})" if statement.parameters else ""
        row = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE examined{arguments}".encode()).fetchone()
    finally:
        connection.execute("DEALLOCATE examined")
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return _nodes(plan[0]["Plan"]) | _counts(statement)


def _nodes(plan: dict[str, Any]) -> set[str]:
    found = set()
    kind = plan["Node Type"]
    if kind == "Seq Scan":
        found.add(f"scans {plan['Relation Name']}")
    is_index = kind in ("Index Scan", "Index Only Scan")
    if is_index and "Index Cond" not in plan and not plan["Index Name"].endswith(_FEW_ROWS):
        found.add(f"scans {plan['Relation Name']} by {plan['Index Name']}")
    if kind in ("Sort", "Incremental Sort"):
        found.add("sorts")
    for each in plan.get("Plans", ()):
        found |= _nodes(each)
    return found


def _counts(statement: Statement) -> set[str]:
    """Return that the statement counts or sums all that it finds, without a limit."""
    aggregates = re.search(r"\b(count|sum|max|min|avg)\(", statement.text, re.IGNORECASE)
    limited = re.search(r"FROM \(SELECT.*\sLIMIT\s", statement.text, re.DOTALL)
    return {"counts"} if aggregates and not limited else set()
