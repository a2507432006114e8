"""Deletes mirrored content that was not requested within ``mirror_age``, and the least recently used
beyond ``mirror_size``.
"""

import asyncio
import logging
from datetime import datetime, timedelta

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.access import Actor
from hythe.registry.clock import Clock
from hythe.registry.manifests import Manifests
from hythe.registry.policy import Policy
from hythe.registry.sql import mirror as store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as tag_store

USE_PRECISION = timedelta(hours=1)
"""Precision of the time at which content was last used."""

DELETE_BATCH_SIZE = 100

SIZE_TIMEOUT = 300.0
"""Maximum seconds of adding up the sizes of all mirrored blobs."""

log = logging.getLogger(__name__)


class MirrorExpiry:
    """Deletes manifests; garbage collection frees their blobs."""

    def __init__(self, database: Database, manifests: Manifests, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._manifests = manifests
        self._policy = policy
        self._clock = clock

    async def run(self) -> None:
        """Delete old and excess content repeatedly until cancelled."""
        while True:
            try:
                await self.expire()
            except Exception:
                log.exception("failed to clean up mirrored content; will be retried")
            await asyncio.sleep(self._policy.garbage_interval.total_seconds())

    async def expire(self) -> int:
        """Delete old and excess mirrored manifests; return their number."""
        deleted = 0
        if self._policy.mirror_age:
            while count := await self._delete_unused(self._clock() - self._policy.mirror_age, DELETE_BATCH_SIZE):
                deleted += count
        while self._policy.mirror_size and await self._stored_size() > self._policy.mirror_size:
            count = await self._delete_unused(self._clock() + USE_PRECISION, 1)
            if not count:
                break
            deleted += count
        return deleted

    async def _stored_size(self) -> int:
        async with self._database.reading_long(SIZE_TIMEOUT) as session:
            return await store.size(session)

    async def _delete_unused(self, before: datetime, limit: int) -> int:
        async with self._database.reading() as session:
            rows = await store.unused(session, before, limit)
        for row in rows:
            await self._delete(row.name, Digest.parse(row.digest))
        return len(rows)

    async def _delete(self, repository: str, digest: Digest) -> None:
        async with self._database.writing() as session:
            found = await repository_store.lock(session, repository, exclusive=True)
            if found is None:
                return
            tags = await tag_store.pointing_at(session, found.id, str(digest))
            await self._manifests.remove(session, found, digest, tags, mirror_actor(repository))


def mirror_actor(repository: str) -> Actor:
    """Return the actor that moves a mirrored repository's tags."""
    return Actor(f"mirror:{repository.partition('/')[0]}")
