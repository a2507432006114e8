"""The garbage collection: frees what nothing needs any more, while the registry serves.

    a tag, manifest or repository is deleted, a blob is uploaded
      └─> what may be unneeded now gets ``free_after``: the end of its grace period          (mark_unneeded)
            └─> when that is over: is it still unneeded?  then it goes, else the mark goes   (GarbageCollection.collect)

What is looked at is what was marked, so the cost grows with what was deleted and not with what is stored. Somebody who
asks for something that is marked gets its grace period extended (``Blobs.get``, ``Manifests.get``).

How a blob's bytes go without taking a pushed blob with them:
  1. doomed, in one transaction, if no repository has it and no upload claims it (an upload claims before it stores);
  2. its bytes are deleted, and uploads of the same blob wait meanwhile;
  3. its row is deleted.
A collector that dies after 1 or 2 leaves a doomed row, which counts for nothing after ``DOOM_LIFETIME``.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database, Session
from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.gc_dry_run import DryRun
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as store
from hythe.registry.sql import gc_dry_run as forecast_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import uploads as upload_store
from hythe.registry.storage.port import BlobStore, StorageError

DOOM_LIFETIME = timedelta(seconds=60)
"""After this time whoever was removing a doomed blob is dead."""

DELETE_PATIENCE = 20.0
"""Seconds that one removal may take; far less than DOOM_LIFETIME."""

DOOMED_AT_ONCE = 20
"""How many blobs are removed between two transactions."""

SWEPT_AT_ONCE = 50
"""How many manifests one transaction looks at: on SQLite nobody is served meanwhile, and each takes 0.3 ms."""

log = logging.getLogger(__name__)


class FreedManifest(msgspec.Struct, frozen=True):
    """A manifest that went, or would go."""

    repository: str
    digest: str


class FreedBlob(msgspec.Struct, frozen=True):
    """A blob whose ``size`` bytes were freed, or would be."""

    digest: str
    size: int


class Collected(msgspec.Struct, frozen=True):
    """What one round of the garbage collection did, or would do."""

    manifests: tuple[FreedManifest, ...]
    blobs: tuple[FreedBlob, ...]
    uploads: int
    waiting: int
    next_due: datetime | None

    @property
    def freed_bytes(self) -> int:
        """How many bytes went."""
        return sum(blob.size for blob in self.blobs)


async def mark_unneeded(session: Session, repository_id: int, digest: str, free_after: datetime) -> None:
    """Mark a manifest, and all that is there for its sake, for a look after ``free_after``.

    That is what an index contains, referrers and blobs; what else needs them is found out then.
    """
    level = frozenset({digest})
    reached: set[str] = set()
    while level:
        reached |= level
        level = await manifest_store.dependents(session, repository_id, level) - reached
    await manifest_store.mark(session, repository_id, reached, free_after, once=True)
    blobs = await manifest_store.blobs_of(session, repository_id, reached)
    await blob_store.mark_links(session, repository_id, blobs, free_after, once=True)


class GarbageCollection:
    """The garbage collection of a registry; any number of servers may run it at once."""

    def __init__(self, database: Database, storage: BlobStore, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._policy = policy
        self._clock = clock

    async def collect(self, *, dry_run: bool = False) -> Collected:
        """Free what is due; with ``dry_run``, only find out what would go, by reading alone."""
        if dry_run:
            return await self._foreseen()
        uploads = await self._expire_uploads()
        manifests = await self._sweep_repositories()
        blobs = await self._remove_blobs()
        waiting, next_due = await self._waiting()
        return Collected(tuple(manifests), tuple(blobs), uploads, waiting, next_due)

    async def run(self) -> None:
        """Collect for ever, with pauses; what fails is logged and tried again."""
        while True:
            try:
                collected = await self.collect()
                if collected.blobs:
                    log.info("freed %d blobs, %d bytes", len(collected.blobs), collected.freed_bytes)
            except Exception:
                # Whatever it was, this must not be the last round: nobody would notice before the disk is full.
                log.exception("the garbage collection could not finish: it goes on in the next round")
            await asyncio.sleep(self._policy.garbage_interval.total_seconds())

    async def _foreseen(self) -> Collected:
        now = self._clock()
        stale_before = now - self._policy.upload_lifetime
        manifests: list[FreedManifest] = []
        async with self._database.reading() as session:
            forecast = DryRun(session, now, at_once=not self._policy.grace)
            for repository_id in await store.due_repositories(session, now):
                name = await forecast_store.name(session, repository_id) or ""
                manifests += [FreedManifest(name, digest) for digest in await forecast.manifests(repository_id)]
            blobs = [FreedBlob(*blob) for blob in await forecast.blobs(now - DOOM_LIFETIME, stale_before)]
            uploads = await forecast_store.stale_uploads(session, stale_before)
            waiting, next_due = await store.waiting(session)
        return Collected(tuple(manifests), tuple(blobs), uploads, waiting, next_due)

    async def _waiting(self) -> tuple[int, datetime | None]:
        async with self._database.reading() as session:
            return await store.waiting(session)

    async def _expire_uploads(self) -> int:
        now = self._clock()
        before = now - self._policy.upload_lifetime
        count = 0
        while True:
            async with self._database.writing(durable=False) as session:
                stale = await upload_store.stale(session, before)
                for upload, claimed in stale:
                    await upload_store.remove(session, upload.id)
                    if claimed is not None:
                        # It died between storing the bytes and recording them.
                        await blob_store.hold(session, claimed)
                        await store.adopt(session, claimed, now)
            for upload, _ in stale:
                await self._storage.cancel(upload)
            count += len(stale)
            if not stale:
                break
        async with self._database.reading() as session:
            live = await upload_store.ids(session)
        return count + await self._storage.sweep(live, before)

    async def _sweep_repositories(self) -> list[FreedManifest]:
        now = self._clock()
        freed: list[FreedManifest] = []
        async with self._database.reading() as session:
            due = await store.due_repositories(session, now)
        for repository_id in due:
            freed += await self._sweep_repository(repository_id, now)
        return freed

    def _step(self) -> AbstractAsyncContextManager[Session]:
        """A transaction that need not survive a power cut: bytes go only after a durable one, which takes all along."""
        return self._database.writing(durable=False)

    async def _sweep_repository(self, repository_id: int, now: datetime) -> list[FreedManifest]:
        """Take what is due and unneeded from one repository, whose lock keeps pushes out for a step at a time."""
        async with self._step() as session:
            repository = await repository_store.lock_by_id(session, repository_id)
        if repository is None:
            return []
        gone = await self._sweep_manifests(repository_id, now)
        await self._sweep_links(repository_id, now)
        return [FreedManifest(repository.name, digest) for digest in gone]

    async def _sweep_manifests(self, repository_id: int, now: datetime) -> list[str]:
        """Remove what nothing needs, until nothing more is found; then what is still due is there to stay."""
        gone: list[str] = []
        while removed := await self._pass_over_manifests(repository_id, now, spare=False):
            gone += removed
        return gone + await self._pass_over_manifests(repository_id, now, spare=True)

    async def _pass_over_manifests(self, repository_id: int, now: datetime, *, spare: bool) -> list[str]:
        removed: list[str] = []
        after = ""
        while True:
            async with self._step() as session:
                due = await store.due_manifests(session, repository_id, now, after)
            if not due:
                return removed
            after = due[-1]
            for some in blob_store.batches(due, SWEPT_AT_ONCE):
                async with self._step() as session:
                    removed += await self._remove_unneeded(session, repository_id, some, now, spare=spare)
                await asyncio.sleep(0)

    async def _remove_unneeded(
        self, session: Session, repository_id: int, digests: Iterable[str], now: datetime, *, spare: bool
    ) -> list[str]:
        """Remove what nothing needs of what is still due; with ``spare``, the rest is due no more."""
        removed: list[str] = []
        if await repository_store.lock_by_id(session, repository_id) is None:
            return removed
        for digest in await store.still_due(session, repository_id, digests, now):
            if not await manifest_store.needed(session, repository_id, digest):
                await mark_unneeded(session, repository_id, digest, now + self._policy.grace)
                await manifest_store.remove(session, repository_id, digest)
                removed.append(digest)
            elif spare:
                # At once: when what needs it goes in this very step, it is marked anew.
                await manifest_store.mark(session, repository_id, (digest,), None)
        return removed

    async def _sweep_links(self, repository_id: int, now: datetime) -> None:
        while True:
            async with self._step() as session:
                if await repository_store.lock_by_id(session, repository_id) is None:
                    return
                links = await store.due_links(session, repository_id, now)
                needed = await store.needed_links(session, repository_id, links)
                await blob_store.mark_links(session, repository_id, needed, None)
                await store.remove_links(session, repository_id, set(links) - needed, now)
            if not links:
                return
            await asyncio.sleep(0)

    async def _remove_blobs(self) -> list[FreedBlob]:
        now = self._clock()
        freed: list[FreedBlob] = []
        async with self._database.writing(durable=False) as session:
            await store.reprieve(session, now - DOOM_LIFETIME, now)
        while True:
            async with self._database.writing() as session:
                due = await store.due_blobs(session, now, DOOMED_AT_ONCE)
                doomed = [blob for row in due if (blob := await self._doom(session, row.digest, row.size))]
            if not due:
                return freed
            freed += await self._remove_doomed(doomed)

    async def _doom(self, session: Session, digest: str, size: int) -> FreedBlob | None:
        now = self._clock()
        await blob_store.hold(session, digest)
        use = await store.use(session, digest)
        if use is None:
            return None
        if use.linked:
            await store.spare(session, digest, None)
        elif use.claimed:
            await store.spare(session, digest, now + max(self._policy.grace, DOOM_LIFETIME))
        else:
            await store.doom(session, digest, now)
            return FreedBlob(digest, size)
        return None

    async def _remove_doomed(self, doomed: list[FreedBlob]) -> list[FreedBlob]:
        """Remove doomed blobs, as long as nobody can take this collector for dead."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + DOOM_LIFETIME.total_seconds() - 2 * DELETE_PATIENCE
        freed = []
        for blob in doomed:
            if loop.time() > give_up:
                break
            if await self._remove_bytes(blob):
                freed.append(blob)
        return freed

    async def _remove_bytes(self, blob: FreedBlob) -> bool:
        """Delete a doomed blob's bytes and row. What takes too long is left to the next round."""
        try:
            async with asyncio.timeout(DELETE_PATIENCE):
                await self._storage.delete(Digest.parse(blob.digest))
        except (StorageError, TimeoutError):
            log.exception("the bytes of %s could not be removed: tried again in the next round", blob.digest)
            return False
        async with self._database.writing() as session:
            await store.bury(session, blob.digest)
        return True
