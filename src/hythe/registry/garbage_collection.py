"""Garbage collection: frees unreferenced content while the registry serves requests.

    a tag, manifest or repository is deleted, a blob is uploaded
      └─> content that may be unreferenced gets ``free_after``, the end of its grace period  (mark_unreferenced)
            └─> after that: if it is unreferenced, delete it, else remove the mark           (GarbageCollection.collect)

Only marked content is examined, so the cost grows with what was deleted and not with what is stored. A request for
marked content extends its grace period (``Blobs.get``, ``Manifests.get``).

How the content of a blob is deleted without losing a concurrent push of the same blob:
  1. one transaction dooms the blob if no repository contains it and no upload claims it (uploads claim, then store);
  2. its bytes are deleted, while uploads of the same blob wait;
  3. its row is deleted.
A collector that dies after 1 or 2 leaves a doomed row, which no longer counts after ``DOOM_LIFETIME``.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from operator import attrgetter

import msgspec

from hythe.database import Database, Session
from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.gc_dry_run import DryRun
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as store
from hythe.registry.sql import gc_dry_run as dry_run_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import uploads as upload_store
from hythe.registry.storage.port import BlobStore, StorageError

DOOM_LIFETIME = timedelta(seconds=60)
"""After this time the process that was deleting a doomed blob is assumed dead."""

DELETE_TIMEOUT = 20.0
"""Maximum seconds of one deletion; far less than DOOM_LIFETIME."""

BLOB_BATCH_SIZE = 20
"""Number of blobs to delete between two transactions."""

MANIFEST_BATCH_SIZE = 50
"""Number of manifests to examine in one transaction: it blocks other requests on SQLite, for 0.3 ms a manifest."""

log = logging.getLogger(__name__)


class FreedManifest(msgspec.Struct, frozen=True):
    """A manifest that was deleted, or would be in a dry run."""

    repository: str
    digest: str


class FreedBlob(msgspec.Struct, frozen=True):
    """A blob whose ``size`` bytes were freed, or would be in a dry run."""

    digest: str
    size: int


class Collected(msgspec.Struct, frozen=True):
    """What one run of garbage collection deleted, or would delete in a dry run."""

    manifests: tuple[FreedManifest, ...]
    blobs: tuple[FreedBlob, ...]
    uploads: int
    waiting: int
    next_due: datetime | None

    @property
    def freed_bytes(self) -> int:
        """The number of freed bytes."""
        return sum(blob.size for blob in self.blobs)


async def mark_unreferenced(session: Session, repository_id: int, digest: str, free_after: datetime) -> None:
    """Mark a manifest and everything it alone may keep for examination after ``free_after``.

    These are the children of an index, referrers and blobs; garbage collection checks later whether anything else
    refers to them.
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
    """The garbage collection of a registry; any number of servers may run it concurrently."""

    def __init__(self, database: Database, storage: BlobStore, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._policy = policy
        self._clock = clock

    async def collect(self, *, dry_run: bool = False) -> Collected:
        """Free what is due. With ``dry_run``, only report what would be deleted, without writing."""
        if dry_run:
            return await self._dry_run()
        uploads = await self._expire_uploads()
        manifests = await self._sweep_repositories()
        blobs = await self._remove_blobs()
        waiting, next_due = await self._waiting()
        return Collected(tuple(manifests), tuple(blobs), uploads, waiting, next_due)

    async def run(self) -> None:
        """Collect repeatedly, with pauses, until cancelled; log failures and retry."""
        while True:
            try:
                collected = await self.collect()
                if collected.blobs:
                    log.info("freed %d blobs, %d bytes", len(collected.blobs), collected.freed_bytes)
            except Exception:
                # Catch every error: if collection stopped, no one would see it before the disk is full.
                log.exception("garbage collection failed and will be retried in the next run")
            await asyncio.sleep(self._policy.garbage_interval.total_seconds())

    async def _dry_run(self) -> Collected:
        now = self._clock()
        stale_before = now - self._policy.upload_lifetime
        manifests: list[FreedManifest] = []
        async with self._database.reading() as session:
            dry_run = DryRun(session, now, no_grace_period=not self._policy.grace)
            for repository_id in await store.due_repositories(session, now):
                name = await dry_run_store.name(session, repository_id) or ""
                manifests += [FreedManifest(name, digest) for digest in await dry_run.manifests(repository_id)]
            blobs = [FreedBlob(*blob) for blob in await dry_run.blobs(now - DOOM_LIFETIME, stale_before)]
            uploads = await dry_run_store.stale_uploads(session, stale_before)
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
                for claimed in sorted({claimed for _, claimed in stale if claimed is not None}):
                    # The upload died between storing the bytes and recording them.
                    await blob_store.lock(session, claimed)
                    await store.mark_unrecorded(session, claimed, now)
                for upload in sorted((upload for upload, _ in stale), key=attrgetter("id")):
                    await upload_store.remove(session, upload.id)
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

    def _begin_step(self) -> AbstractAsyncContextManager[Session]:
        """Open a transaction that need not survive a power failure: a later durable transaction also commits it before
        bytes are deleted.
        """
        return self._database.writing(durable=False)

    async def _sweep_repository(self, repository_id: int, now: datetime) -> list[FreedManifest]:
        """Delete what is due and unreferenced in one repository, whose lock keeps pushes out for one step at a time."""
        async with self._begin_step() as session:
            repository = await repository_store.lock_by_id(session, repository_id)
        if repository is None:
            return []
        deleted = await self._sweep_manifests(repository_id, now)
        await self._sweep_links(repository_id, now)
        return [FreedManifest(repository.name, digest) for digest in deleted]

    async def _sweep_manifests(self, repository_id: int, now: datetime) -> list[str]:
        """Delete unreferenced content until none is left; what is still due is then referenced."""
        deleted: list[str] = []
        while batch := await self._sweep_due_manifests(repository_id, now, unmark_referenced=False):
            deleted += batch
        return deleted + await self._sweep_due_manifests(repository_id, now, unmark_referenced=True)

    async def _sweep_due_manifests(self, repository_id: int, now: datetime, *, unmark_referenced: bool) -> list[str]:
        deleted: list[str] = []
        after = ""
        while True:
            async with self._begin_step() as session:
                due = await store.due_manifests(session, repository_id, now, after)
            if not due:
                return deleted
            after = due[-1]
            for batch in blob_store.batches(due, MANIFEST_BATCH_SIZE):
                async with self._begin_step() as session:
                    deleted += await self._delete_unreferenced(
                        session, repository_id, batch, now, unmark_referenced=unmark_referenced
                    )
                await asyncio.sleep(0)

    async def _delete_unreferenced(
        self, session: Session, repository_id: int, digests: Iterable[str], now: datetime, *, unmark_referenced: bool
    ) -> list[str]:
        """Delete the due manifests that are unreferenced; with ``unmark_referenced``, remove the marks of the rest."""
        deleted: list[str] = []
        if await repository_store.lock_by_id(session, repository_id) is None:
            return deleted
        for digest in await store.still_due(session, repository_id, digests, now):
            if not await manifest_store.needed(session, repository_id, digest):
                await mark_unreferenced(session, repository_id, digest, now + self._policy.grace)
                await manifest_store.remove(session, repository_id, digest)
                deleted.append(digest)
            elif unmark_referenced:
                # Due immediately: if its referrer is deleted in this step, it is marked again.
                await manifest_store.mark(session, repository_id, (digest,), None)
        return deleted

    async def _sweep_links(self, repository_id: int, now: datetime) -> None:
        while True:
            async with self._begin_step() as session:
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
            await store.undoom(session, now - DOOM_LIFETIME, now)
        while True:
            async with self._database.writing() as session:
                due = await store.due_blobs(session, now, BLOB_BATCH_SIZE)
                doomed = [blob for row in due if (blob := await self._doom(session, row.digest, row.size))]
            if not due:
                return freed
            freed += await self._remove_doomed(doomed)

    async def _doom(self, session: Session, digest: str, size: int) -> FreedBlob | None:
        now = self._clock()
        await blob_store.lock(session, digest)
        usage = await store.usage(session, digest)
        if usage is None:
            return None
        if usage.linked:
            await store.keep_until(session, digest, None)
        elif usage.claimed:
            await store.keep_until(session, digest, now + max(self._policy.grace, DOOM_LIFETIME))
        else:
            await store.doom(session, digest, now)
            return FreedBlob(digest, size)
        return None

    async def _remove_doomed(self, doomed: list[FreedBlob]) -> list[FreedBlob]:
        """Delete doomed blobs before another collector may assume that this one is dead."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DOOM_LIFETIME.total_seconds() - 2 * DELETE_TIMEOUT
        freed = []
        for blob in doomed:
            if loop.time() > deadline:
                break
            if await self._remove_bytes(blob):
                freed.append(blob)
        return freed

    async def _remove_bytes(self, blob: FreedBlob) -> bool:
        """Delete the bytes and the row of a doomed blob; leave slow deletions to the next run."""
        try:
            async with asyncio.timeout(DELETE_TIMEOUT):
                await self._storage.delete(Digest.parse(blob.digest))
        except (StorageError, TimeoutError):
            log.exception("failed to delete the content of %s; will be retried in the next run", blob.digest)
            return False
        async with self._database.writing() as session:
            await store.remove_doomed(session, blob.digest)
        return True
