"""Counts pulls in memory and writes the counts every few seconds, so pulls do not wait for them.

One pull by a client counts once, whatever it needs: an engine that pulls an image for several platforms reads an index,
then manifests that the index lists, by their digests. So a manifest does not count if the same client read an index
that lists it a short time before. HEAD requests do not count.
"""

import asyncio
import contextlib
import time
from collections import Counter, OrderedDict

from hythe.database import Database, DatabaseError
from hythe.hub.sql import repositories as store
from hythe.oci.manifest import MAX_INDEX_DEPTH
from hythe.registry.events import PulledManifest
from hythe.registry.sql import manifests as manifest_store

FLUSH_EVERY = 5.0
"""Seconds between two writes; a killed process loses the counts since the last one."""

PULL_TIME = 600.0
"""Seconds after a manifest of a pull within which the next one belongs to the same pull."""

MAX_OPEN_PULLS = 10_000
"""Pulls of indexes that are remembered, about 400 bytes each."""


class _OpenPull:
    """A client's pull of an index, until ``ends``, with the last indexes that it has read."""

    __slots__ = ("ends", "indexes")

    def __init__(self) -> None:
        self.ends = 0.0
        self.indexes: tuple[str, ...] = ()


class PullCounter:
    """Counts pulls."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._counts: Counter[int] = Counter()
        self._open: OrderedDict[tuple[int, int], _OpenPull] = OrderedDict()

    async def count(self, repository_id: int, pulled: PulledManifest) -> None:
        """Count a manifest that was sent, unless it belongs to a pull that was counted."""
        now = time.monotonic()
        key = (repository_id, pulled.client)
        found = self._open.get(key)
        before = found.indexes if found is not None and found.ends > now else ()
        if pulled.is_index:
            self._remember(key, before, str(pulled.digest), now)
        if not await self._belongs(repository_id, before, pulled):
            self._counts[repository_id] += 1
        elif found is not None:
            found.ends = now + PULL_TIME

    def _remember(self, key: tuple[int, int], before: tuple[str, ...], index: str, now: float) -> None:
        pull = self._open.pop(key, None) or _OpenPull()
        pull.ends = now + PULL_TIME
        pull.indexes = (*(each for each in before if each != index), index)[-MAX_INDEX_DEPTH:]
        self._open[key] = pull
        if len(self._open) > MAX_OPEN_PULLS:
            self._open.popitem(last=False)

    async def _belongs(self, repository_id: int, indexes: tuple[str, ...], pulled: PulledManifest) -> bool:
        """Return whether the manifest was read by its digest, and one of the indexes lists it."""
        if not indexes or pulled.tag is not None:
            return False
        try:
            async with self._database.reading() as session:
                return await manifest_store.lists(session, repository_id, indexes, str(pulled.digest))
        except DatabaseError:
            return False

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
