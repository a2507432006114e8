"""Pull counters: counted in memory, written together every few seconds, so that a pull never waits for a counter."""

import asyncio
import contextlib
from collections import Counter

from hythe.database import Database, DatabaseError
from hythe.hub.sql import repositories as store

FLUSH_EVERY = 5.0
"""Seconds between two writings; what was counted since the last is lost when the process is killed."""


class PullCounter:
    """Counts pulls of manifests by GET."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: Counter[int] = Counter()

    def count(self, repository_id: int) -> None:
        """Count one pull."""
        self._counts[repository_id] += 1

    async def flush(self) -> None:
        """Write what was counted; what cannot be written now is kept for the next time."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            async with self._database.writing(durable=False) as session:
                await store.add_pulls(session, counts)
        except DatabaseError:
            self._counts.update(counts)

    async def run(self) -> None:
        """Flush until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY)
                await self.flush()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await self.flush()
