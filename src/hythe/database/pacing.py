"""Background work that leaves others room: short transactions, and pauses between them.

SQLite has one writer at a time, also among several processes (a hub and ``hythe admin``). A process whose
transactions follow each other without a gap keeps the others waiting for its end.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from time import perf_counter
from typing import TypeVar

from hythe.database.changes import Changes
from hythe.database.maintenance import MaintainedDatabase
from hythe.database.port import Database, Dialect, Session
from hythe.database.sqlite import SQLiteDatabase

STEP_SECONDS = 0.003
"""How long a step of background work should take: until its end, others wait."""

MIN_PART = 8
"""A step is never smaller than this part of its limit: each has a price of its own, on a busy machine most of all."""

MIN_PAUSE = 0.002
"""Minimum seconds between two transactions: others look at least this often whether they can begin."""

T = TypeVar("T")


def paced(database: Database) -> Database:
    """Return the database for background work: after each transaction it pauses for as long as that took.

    PostgreSQL needs no pauses: its transactions do not wait for each other.
    """
    if isinstance(database, MaintainedDatabase):
        return MaintainedDatabase(paced(database.inner), database.maintenance)
    return PacedSQLite(database) if isinstance(database, SQLiteDatabase) else database


class PacedSQLite:
    """See Database. Others can write between any two of its transactions."""

    dialect: Dialect = "sqlite"

    def __init__(self, database: SQLiteDatabase) -> None:
        self._database = database
        self._next = 0.0

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """See Database.reading."""
        return self._database.reading()

    def reading_long(self, seconds: float) -> AbstractAsyncContextManager[Session]:
        """See Database.reading_long."""
        return self._database.reading_long(seconds)

    @asynccontextmanager
    async def writing(self, *, durable: bool = True) -> AsyncIterator[Session]:
        """See Database.writing."""
        await asyncio.sleep(max(0.0, self._next - perf_counter()))
        async with self._database.writing(durable=durable) as session:
            begun = perf_counter()
            try:
                yield session
            finally:
                took = perf_counter() - begun
                self._next = begun + took + max(took, MIN_PAUSE)
        # Changes made during a copy of the log would make the next copy longer.
        await self._database.log.copied()

    def writing_once(self) -> AbstractAsyncContextManager[Session]:
        """See Database.writing_once."""
        return self.writing(durable=False)

    @property
    def changes(self) -> Changes:
        """See Database.changes."""
        return self._database.changes

    async def close(self) -> None:
        """See Database.close."""
        await self._database.close()


class StepSize:
    """How many rows a step of background work examines: as many as take STEP_SECONDS, up to a limit."""

    def __init__(self, limit: int) -> None:
        self.rows = self._least = limit // MIN_PART + 1
        self._limit = limit

    def split(self, values: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield the values in parts for one step each."""
        start = 0
        while start < len(values):
            rows = self.rows
            yield values[start : start + rows]
            start += rows

    @contextmanager
    def measured(self, rows: int) -> Iterator[None]:
        """Measure a step of ``rows`` rows, from which the size of the next ones follows."""
        begun = perf_counter()
        yield
        fitting = rows * STEP_SECONDS / max(perf_counter() - begun, 1e-6)
        # Half way there: one slow read from the disk says little about the next step.
        self.rows = max(self._least, min(self._limit, int(self.rows + fitting) // 2))
