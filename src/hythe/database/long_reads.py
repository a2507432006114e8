"""Long reads on SQLite: statements in threads with connections of their own, interrupted after a time limit.

``sqlite3`` releases Python's interpreter lock while SQLite searches, so the event loop keeps running.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from sqlite3 import Connection as RawConnection
from time import perf_counter
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Row

from hythe.database.compiled import CompiledStatements
from hythe.database.port import Dialect, Parameters, QueryTimeout
from hythe.database.sqlite_statements import all_rows, first_row, sqlite_statements
from hythe.telemetry.statements import observe_statement

T = TypeVar("T")

THREADS = 3
"""Long reads that run at once; others wait for a thread."""


class LongReads:
    """The threads of one database. They and their connections start with the first long read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads: ThreadPoolExecutor | None = None
        self._free = asyncio.Semaphore(THREADS)
        self._idle: list[LongReadSession] = []

    @asynccontextmanager
    async def session(self, seconds: float) -> AsyncIterator["LongReadSession"]:
        """Wait for a thread, and return a session whose statements take at most ``seconds`` each."""
        async with self._free:
            session = self._idle.pop() if self._idle else await self._open()
            session.seconds = seconds
            try:
                yield session
            finally:
                self._idle.append(session)

    async def _open(self) -> "LongReadSession":
        threads = self._threads = self._threads or ThreadPoolExecutor(THREADS, "long-read")
        return LongReadSession(await asyncio.wrap_future(threads.submit(self._engine.connect)), threads)

    def close(self) -> None:
        """Close the connections and end the threads; no session may be open."""
        for session in self._idle:
            session.close()
        self._idle.clear()
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


class LongReadSession:
    """See Session; each statement runs in a thread and raises QueryTimeout after ``seconds``."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: Connection, threads: ThreadPoolExecutor) -> None:
        raw = connection.connection.dbapi_connection
        if not isinstance(raw, RawConnection):
            raise TypeError(f"{raw!r} is not a connection of sqlite3")
        self._connection: Connection = connection
        self._raw: RawConnection = raw
        self._threads: ThreadPoolExecutor = threads
        self._statements: CompiledStatements = sqlite_statements()
        self.seconds: float = 0.0

    async def rows(self, statement: Executable, parameters: Parameters | None = None) -> Sequence[Row[Any]]:
        """See Session.rows."""
        return await self._bounded(statement, lambda: self._rows(statement, parameters))

    async def row(self, statement: Executable, parameters: Parameters | None = None) -> Row[Any] | None:
        """See Session.row."""
        return await self._bounded(statement, lambda: self._row(statement, parameters))

    async def run(self, statement: Executable, parameters: Parameters | None = None) -> int:
        """Raise TypeError: a long read changes nothing."""
        raise TypeError("a long read cannot change rows: use Database.writing")

    def _rows(self, statement: Executable, parameters: Parameters | None) -> Sequence[Row[Any]]:
        compiled = self._statements.get(statement, parameters)
        if compiled is None:
            return self._connection.execute(statement, parameters).all()
        return all_rows(compiled, self._raw, parameters)

    def _row(self, statement: Executable, parameters: Parameters | None) -> Row[Any] | None:
        compiled = self._statements.get(statement, parameters)
        if compiled is None:
            return self._connection.execute(statement, parameters).first()
        return first_row(compiled, self._raw, parameters)

    async def _bounded(self, statement: Executable, work: Callable[[], T]) -> T:
        """Run a statement by ``work`` in a thread; interrupt it after ``seconds``, or when the caller is cancelled."""
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            self._raw.interrupt()

        timer = asyncio.get_running_loop().call_later(self.seconds, interrupt)
        started = perf_counter()
        running = asyncio.wrap_future(self._threads.submit(work))
        try:
            result = await asyncio.shield(running)
            observe_statement(statement, started)
            return result
        except asyncio.CancelledError:
            # The connection belongs to the thread until the statement has ended.
            self._raw.interrupt()
            await asyncio.wait([running])
            raise
        except Exception as error:
            if interrupted and "interrupted" in str(error):
                raise QueryTimeout(f"the query took more than {self.seconds:g} s") from error
            raise
        finally:
            timer.cancel()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
