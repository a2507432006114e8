"""Counts pulls in memory and writes the counts every few seconds, so pulls do not wait for them."""

import asyncio
import contextlib
from collections import Counter

from hythe.database import Database, DatabaseError
from hythe.hub.sql import repositories as store

FLUSH_EVERY = 5.0
"""Seconds between two writes; a killed process loses the counts since the last one."""


class PullCounter:
    """Counts pulls: GET requests for manifests."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: Counter[int] = Counter()

    def count(self, repository_id: int) -> None:
        """Count one pull."""
        self._counts[repository_id] += 1

    async def flush(self) -> None:
        """Write the counts; keep them for the next time if the database is unavailable."""
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        try:
            async with self._database.writing(durable=False) as session:
                await store.add_pulls(session, counts)
        except DatabaseError:
            self._counts.update(counts)

    async def run(self) -> None:
        """Flush regularly until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY)
                await self.flush()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await self.flush()
