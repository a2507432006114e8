"""The database port for SQLite: statements run on the event loop; only waiting for the disk takes a thread.

A read takes 6 to 35 µs on the loop and 600 µs through a thread. See ``long_reads`` for the few that take a thread, and
``syncing`` for the durability of commits.
"""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine, Executable, NullPool, Row, create_engine, event

from hythe.database.changes import note_read, note_written
from hythe.database.compiled import CompiledStatements
from hythe.database.long_reads import LongReads, LongReadSession
from hythe.database.port import Dialect, Parameters
from hythe.database.sqlite_changes import SQLiteChanges
from hythe.database.sqlite_errors import sqlite_errors
from hythe.database.sqlite_file import WatchedFile, uri_of
from hythe.database.sqlite_statements import all_rows, first_row, run, sqlite_statements
from hythe.database.syncing import LogSync
from hythe.database.values import check_values
from hythe.telemetry.statements import observe_statement

SQLITE_FILE = "hythe.db"
"""The database file in the data folder."""

BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that writes (``hythe admin``)."""

RETRY_DELAYS = (0.0005, 0.0015)
"""Seconds between two attempts to begin while another process writes; less than its pauses (``pacing``)."""

TURN = 0.003
"""Seconds for which a session runs statements before it lets other tasks run."""

ROWS_AT_ONCE = 100
"""Rows of one statement between which a session may let other tasks run."""

MAX_LOG_PAGES = 16384
"""Pages after which SQLite copies the log itself and blocks the loop; ``LogSync`` does so earlier, except for huge
commits.
"""


class SQLiteDatabase:
    """A SQLite file in WAL mode. Several processes may open it; each writes one transaction at a time."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        """Open the file at ``path``; its folder must exist."""
        self._path = path
        self._file = WatchedFile(path)
        self._engine = sqlite_engine(path)
        self._statements = sqlite_statements()
        self._idle: list[SQLiteSession] = []
        self._writer: SQLiteSession | None = None
        self.changes = SQLiteChanges(path)
        self._turn = asyncio.Lock()
        self._long_reads = LongReads(self._engine)
        self.log = LogSync(path)

    def _open(self) -> "SQLiteSession":
        self._file.require()
        return SQLiteSession(self._engine.connect(), self._statements)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["SQLiteSession"]:
        """See Database.reading."""
        note_read()
        self._file.require_recently()
        with sqlite_errors(self._path):
            session = self._idle.pop() if self._idle else self._open()
            session.turn_ends = perf_counter() + TURN
        try:
            with sqlite_errors(self._path):
                yield session
        finally:
            self._idle.append(session)

    @asynccontextmanager
    async def reading_long(self, seconds: float) -> AsyncIterator[LongReadSession]:
        """See Database.reading_long."""
        note_read()
        self._file.require()
        with sqlite_errors(self._path):
            async with self._long_reads.session(seconds) as session:
                yield session

    @asynccontextmanager
    async def writing(self, *, durable: bool = True) -> AsyncIterator["SQLiteSession"]:
        """See Database.writing."""
        with sqlite_errors(self._path):
            async with self._turn:
                self._file.require()
                session = self._writer = self._writer or self._open()
                await _begin(session.raw)
                session.turn_ends = perf_counter() + TURN
                changes = session.raw.total_changes
                try:
                    yield session
                    session.raw.execute("COMMIT")
                except BaseException:
                    _roll_back(session.raw)
                    raise
                finally:
                    note_written()
                changes = session.raw.total_changes - changes
            if durable:
                await self.log.synced()
            await self.log.committed(changes, self._turn)

    def writing_once(self) -> AbstractAsyncContextManager["SQLiteSession"]:
        """See Database.writing_once."""
        return self.writing(durable=False)

    async def close(self) -> None:
        """See Database.close."""
        self._long_reads.close()
        await self.log.close()
        for session in (*self._idle, self._writer):
            if session is not None:
                session.close()
        self.changes.close()
        self._idle.clear()
        self._writer = None
        self._engine.dispose()


class SQLiteSession:
    """See Session."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: Connection, statements: CompiledStatements) -> None:
        self._connection = connection
        self._statements = statements
        raw = connection.connection.dbapi_connection
        if not isinstance(raw, sqlite3.Connection):
            raise TypeError(f"{raw!r} is not a connection of sqlite3")
        self.raw: sqlite3.Connection = raw
        self.turn_ends: float = 0.0

    async def _let_others_run(self) -> None:
        await asyncio.sleep(0)
        self.turn_ends = perf_counter() + TURN

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """See Session.rows."""
        if perf_counter() > self.turn_ends:
            await self._let_others_run()
        started = perf_counter()
        compiled = self._statements.get(statement, parameters)
        if compiled is None:
            rows = self._connection.execute(statement, parameters).all()
        else:
            rows = all_rows(compiled, self.raw, parameters)
        observe_statement(statement, started)
        return rows

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """See Session.row."""
        if perf_counter() > self.turn_ends:
            await self._let_others_run()
        started = perf_counter()
        compiled = self._statements.get(statement, parameters)
        if compiled is None:
            row = self._connection.execute(statement, parameters).first()
        else:
            row = first_row(compiled, self.raw, parameters)
        observe_statement(statement, started)
        return row

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """See Session.run."""
        if parameters is not None and not isinstance(parameters, Mapping) and len(parameters) > ROWS_AT_ONCE:
            some = range(0, len(parameters), ROWS_AT_ONCE)
            return sum([await self.run(statement, parameters[first : first + ROWS_AT_ONCE]) for first in some])
        if perf_counter() > self.turn_ends:
            await self._let_others_run()
        started = perf_counter()
        compiled = self._statements.get(statement, parameters)
        if compiled is None:
            count = self._connection.execute(statement, parameters).rowcount
        else:
            count = run(compiled, self.raw, parameters).rowcount
        observe_statement(statement, started)
        return count

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def make_private(data: Path) -> None:
    """Create the data folder and the database file for this user only: they contain signing keys and password hashes.

    An existing folder keeps its mode. SQLite gives its other files the mode of the database file.
    """
    data.mkdir(0o700, parents=True, exist_ok=True)
    if not (data / SQLITE_FILE).exists():
        (data / SQLITE_FILE).touch(0o600)


def sqlite_engine(path: Path) -> Engine:
    """Return an engine for an existing file, set up for this package, which starts transactions itself."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(
            uri_of(path), uri=True, check_same_thread=False, timeout=0, cached_statements=512
        ),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "before_cursor_execute", _check)
    return engine


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute(f"PRAGMA wal_autocheckpoint = {MAX_LOG_PAGES}")


def _check(
    _connection: object, _cursor: object, _statement: str, parameters: Any, _context: object, many: bool
) -> None:
    for values in parameters if many else (parameters,):
        check_values(values.values() if isinstance(values, dict) else values)


async def _begin(connection: sqlite3.Connection) -> None:
    """Take the write lock; while another process holds it, wait without blocking the loop."""
    give_up: float | None = None
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            now = asyncio.get_running_loop().time()
            give_up = give_up or now + BUSY_TIMEOUT
            if "locked" not in str(error) or now > give_up:
                raise
            await asyncio.sleep(random.uniform(*RETRY_DELAYS))  # noqa: S311 (jitter is no secret)
        else:
            return


def _roll_back(connection: sqlite3.Connection) -> None:
    """Roll back a transaction, unless SQLite already did (as it does on a full disk)."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
