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
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TypeAlias

import msgspec

from hythe.database import Database, DatabaseError, Session
from hythe.database.pacing import StepSize, paced
from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.freed_content import FreedBlob, FreedManifest, GarbageTotals
from hythe.registry.garbage_holds import garbage_is_held
from hythe.registry.gc_dry_run import DryRun
from hythe.registry.installation import require_own_blob_store
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import deletions as deletion_store
from hythe.registry.sql import garbage_collection as store
from hythe.registry.sql import garbage_holds as hold_store
from hythe.registry.sql import gc_dry_run as dry_run_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import uploads as upload_store
from hythe.registry.sql.garbage_collection import DuePages, DuePosition, GarbageRun
from hythe.registry.storage.port import BlobStore, StorageError, UploadSession
from hythe.telemetry.metrics import GARBAGE_BYTES, GARBAGE_RUNS
from hythe.wake_ups import WakeUp

DOOM_LIFETIME = timedelta(seconds=60)
"""After this time the process that was deleting a doomed blob is assumed dead."""

DELETE_TIMEOUT = 20.0
"""Maximum seconds of one deletion; far less than DOOM_LIFETIME."""

BLOB_STEP = 200
"""Maximum number of blobs to examine, or whose rows to delete, in one transaction."""

MANIFEST_STEP = 50
"""Maximum number of manifests to examine in one transaction."""

LINK_STEP = 100
"""Maximum number of a repository's blobs to examine in one transaction."""

log = logging.getLogger(__name__)


Report: TypeAlias = Callable[["FreedManifest | FreedBlob"], None]
"""Called with each deleted manifest and blob."""


class Collected(msgspec.Struct, frozen=True):
    """What one run of garbage collection deleted, or would delete in a dry run.

    ``waiting``: the number of manifests and blobs in their grace period; of each kind, MAX_WAITING are counted.
    """

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
    refers to them. Where these are very many, ``Deletions`` marks them later.
    """
    await mark_all_unreferenced(session, repository_id, (digest,), free_after)


async def mark_all_unreferenced(
    session: Session, repository_id: int, digests: Iterable[str], free_after: datetime
) -> None:
    """Do the same for several manifests."""
    level = frozenset(digests)
    reached: set[str] = set()
    blobs: set[str] = set()
    large: set[str] = set()
    while level:
        reached |= level
        found = await manifest_store.some_dependents(session, repository_id, level)
        blobs |= found.blobs
        large |= found.large
        level = found.manifests - reached
    await manifest_store.mark(session, repository_id, reached, free_after, once=True)
    await blob_store.mark_links(session, repository_id, blobs, free_after, once=True)
    await deletion_store.mark_dependents_later(session, repository_id, large, free_after)


class GarbageCollection:
    """The garbage collection of a registry; any number of servers may run it concurrently."""

    def __init__(self, database: Database, storage: BlobStore, policy: Policy, clock: Clock) -> None:
        self._database = paced(database)
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self.requested = WakeUp()
        """Set to begin a run."""
        self._requested_by = ""
        self.running_since: datetime | None = None
        """When the run of this process began; None: there is none."""

    def request(self, by: str) -> None:
        """Let ``run`` begin its next run now, or right after the present one. ``by`` is recorded."""
        self._requested_by = by
        self.requested.set()

    async def collect(self, *, dry_run: bool = False, by: str = "") -> Collected:
        """Free what is due. With ``dry_run``, only report what would be deleted, without writing.

        ``by``: who started it, which is recorded. Raises WrongInstallation, and frees nothing, if the blob store has
        become another one.
        """
        if dry_run:
            return await self._dry_run()
        freed: list[FreedManifest | FreedBlob] = []
        uploads = await self._recorded(by, freed.append)
        async with self._database.reading() as session:
            waiting, next_due = await store.waiting(session)
        manifests = tuple(each for each in freed if isinstance(each, FreedManifest))
        blobs = tuple(each for each in freed if isinstance(each, FreedBlob))
        return Collected(manifests, blobs, uploads, waiting, next_due)

    async def run(self) -> None:
        """Collect repeatedly, with pauses, until cancelled; log failures and retry."""
        while True:
            totals = GarbageTotals()
            by, self._requested_by = self._requested_by, ""
            self.requested.clear()
            try:
                await self._recorded(by, totals.add)
            except Exception:
                # Catch every error: if collection stopped, no one would see it before the disk is full.
                log.exception("garbage collection failed and will be retried in the next run")
            if totals.blobs:
                log.info("freed %d blobs, %d bytes", totals.blobs, totals.bytes)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.requested.wait(), self._policy.garbage_interval.total_seconds())

    async def _recorded(self, by: str, report: Report) -> int:
        """Free what is due, record the run, and return the number of expired uploads."""
        totals = GarbageTotals()

        def count(freed: FreedManifest | FreedBlob) -> None:
            totals.add(freed)
            report(freed)

        started = self.running_since = self._clock()
        try:
            uploads = await self._free(count)
        except Exception as error:
            _count_run("failure", totals)
            await self._record(totals.run(started, self._clock(), by, failure=str(error) or type(error).__name__))
            raise
        finally:
            self.running_since = None
        _count_run("success", totals)
        await self._record(totals.run(started, self._clock(), by, uploads=uploads))
        return uploads

    async def _record(self, run: GarbageRun) -> None:
        try:
            async with self._database.writing(durable=False) as session:
                await store.record(session, run)
        except DatabaseError:
            log.exception("failed to record a garbage collection")

    async def _free(self, report: Report) -> int:
        """Free what is due and return the number of expired uploads."""
        await require_own_blob_store(self._database, self._storage)
        uploads = await self._expire_uploads()
        now = self._clock()
        await self._sweep_manifests(now, report)
        await self._sweep_links(now)
        await self._free_blobs(report)
        return uploads

    async def _dry_run(self) -> Collected:
        now = self._clock()
        stale_before = now - self._policy.upload_lifetime
        manifests: list[FreedManifest] = []
        async with self._database.reading() as session:
            dry_run = DryRun(session, now, no_grace_period=not self._policy.grace)
            for repository_id, digests in (await dry_run.manifests()).items():
                name = await dry_run_store.name(session, repository_id) or ""
                manifests += [FreedManifest(name, digest) for digest in digests]
            blobs = [FreedBlob(*blob) for blob in await dry_run.blobs(now - DOOM_LIFETIME, stale_before)]
            uploads = await dry_run_store.stale_uploads(session, stale_before)
            waiting, next_due = await store.waiting(session)
        return Collected(tuple(manifests), tuple(blobs), uploads, waiting, next_due)

    def _begin_step(self) -> AbstractAsyncContextManager[Session]:
        """Open a transaction that need not survive a power failure: a later durable transaction also commits it before
        bytes are deleted.
        """
        return self._database.writing(durable=False)

    async def _expire_uploads(self) -> int:
        before = self._clock() - self._policy.upload_lifetime
        count = 0
        while stale := await self._stale_uploads(before):
            async with self._begin_step() as session:
                removed = await self._remove_uploads(session, stale, before)
            for upload in removed:
                await self._storage.cancel(upload)
            count += len(removed)
        return count + await self._storage.sweep(self._live_uploads, before)

    async def _stale_uploads(self, before: datetime) -> upload_store.StaleUploads:
        async with self._database.reading() as session:
            return await upload_store.stale(session, before)

    async def _remove_uploads(
        self, session: Session, stale: upload_store.StaleUploads, before: datetime
    ) -> list[UploadSession]:
        for claimed in sorted({claimed for _, claimed in stale if claimed is not None}):
            # The upload died between storing the bytes and recording them.
            await blob_store.lock(session, claimed)
            await store.mark_unrecorded(session, claimed, self._clock())
        ordered = sorted((upload for upload, _ in stale), key=attrgetter("id"))
        return [upload for upload in ordered if await upload_store.remove_stale(session, upload.id, before)]

    async def _live_uploads(self, upload_ids: Sequence[str]) -> frozenset[str]:
        async with self._database.reading() as session:
            return await upload_store.existing(session, upload_ids)

    async def _sweep_manifests(self, now: datetime, report: Report) -> None:
        """Delete unreferenced manifests until none is left; what is still due is then referenced."""
        while await self._sweep_due_manifests(now, report, unmark_referenced=False):
            pass
        await self._sweep_due_manifests(now, report, unmark_referenced=True)

    async def _sweep_due_manifests(self, now: datetime, report: Report, *, unmark_referenced: bool) -> int:
        """Examine what is due in all repositories; return how many manifests were deleted."""
        count, size = 0, StepSize(MANIFEST_STEP)
        async for repository_id, digests in self._due_content(store.due_manifests, now, size):
            async with self._begin_step() as session:
                with size.measured(len(digests)):
                    deleted = await self._delete_unreferenced(
                        session, repository_id, digests, now, unmark_referenced=unmark_referenced
                    )
            for manifest in deleted:
                report(manifest)
            count += len(deleted)
        return count

    async def _due_content(
        self, read: DuePages, now: datetime, size: StepSize
    ) -> AsyncIterator[tuple[int, Sequence[str]]]:
        """Yield all that is due, in parts of one repository that make one transaction."""
        position = DuePosition()
        while True:
            async with self._database.reading() as session:
                page = await read(session, now, position)
            if not page:
                return
            position = page[-1].position
            for repository_id, contents in groupby(page, attrgetter("repository_id")):
                for some in size.split(sorted(content.digest for content in contents)):
                    yield repository_id, some

    async def _delete_unreferenced(
        self, session: Session, repository_id: int, digests: Iterable[str], now: datetime, *, unmark_referenced: bool
    ) -> list[FreedManifest]:
        """Delete the due manifests that are unreferenced; with ``unmark_referenced``, remove the marks of the rest."""
        deleted: list[FreedManifest] = []
        # Its lock keeps pushes out.
        repository = await repository_store.lock_by_id(session, repository_id)
        if repository is None:
            return deleted
        for digest in await store.manifests_still_due(session, repository_id, digests, now):
            if not await manifest_store.needed(session, repository_id, digest):
                await mark_unreferenced(session, repository_id, digest, now + self._policy.grace)
                await manifest_store.remove(session, repository_id, digest)
                deleted.append(FreedManifest(repository.name, digest))
            elif unmark_referenced:
                # Due immediately: if its referrer is deleted in this step, it is marked again.
                await manifest_store.mark(session, repository_id, (digest,), None)
        return deleted

    async def _sweep_links(self, now: datetime) -> None:
        size = StepSize(LINK_STEP)
        async for repository_id, digests in self._due_content(store.due_links, now, size):
            async with self._begin_step() as session:
                if await repository_store.lock_by_id(session, repository_id) is None:
                    continue
                with size.measured(len(digests)):
                    links = await store.links_still_due(session, repository_id, digests, now)
                    needed = await store.needed_links(session, repository_id, links)
                    await blob_store.mark_links(session, repository_id, needed, None)
                    await store.remove_links(session, repository_id, set(links) - needed, now)

    async def _free_blobs(self, report: Report) -> None:
        """Free due blobs, page by page: the bytes of one page are deleted while the next one is doomed.

        None while a backup copies blobs: they stay due.
        """
        if await garbage_is_held(self._database, self._clock()):
            return
        await self._undoom_abandoned()
        size = StepSize(BLOB_STEP)
        deleting: asyncio.Task[None] | None = None
        try:
            async for digests in self._due_blobs(self._clock()):
                doomed = await self._doom_all(digests, size)
                if deleting is not None:
                    await deleting
                deleting = asyncio.create_task(self._delete_doomed(doomed, size, report))
            if deleting is not None:
                await deleting
        except BaseException:
            if deleting is not None:
                deleting.cancel()
                await asyncio.wait([deleting])
            raise

    async def _undoom_abandoned(self) -> None:
        now, position = self._clock(), DuePosition()
        while True:
            async with self._database.reading() as session:
                page = await store.abandoned(session, now - DOOM_LIFETIME, position)
            if not page:
                return
            position = page[-1]
            for some in StepSize(BLOB_STEP).split(sorted(each.digest for each in page)):
                async with self._begin_step() as session:
                    await store.undoom(session, some, now - DOOM_LIFETIME, now)

    async def _due_blobs(self, now: datetime) -> AsyncIterator[Sequence[str]]:
        position = DuePosition()
        while True:
            async with self._database.reading() as session:
                page = await store.due_blobs(session, now, position)
            if not page:
                return
            position = page[-1]
            yield sorted(blob.digest for blob in page)

    async def _doom_all(self, digests: Sequence[str], size: StepSize) -> "_Doomed":
        doomed: list[FreedBlob] = []
        since = asyncio.get_running_loop().time()
        for some in size.split(digests):
            # Durable before bytes are deleted.
            async with self._database.writing() as session:
                with size.measured(len(some)):
                    doomed += await self._doom(session, some)
        return _Doomed(since, doomed)

    async def _delete_doomed(self, doomed: "_Doomed", size: StepSize, report: Report) -> None:
        # End before another collector may assume that this one is dead.
        latest = doomed.since + DOOM_LIFETIME.total_seconds() - 2 * DELETE_TIMEOUT
        if not doomed.blobs or asyncio.get_running_loop().time() > latest:
            return
        kept = await self._delete_bytes(doomed.blobs)
        freed = {blob.digest: blob for blob in doomed.blobs if blob.digest not in kept}
        for some in size.split(list(freed)):
            async with self._database.writing() as session:
                with size.measured(len(some)):
                    await store.remove_doomed(session, some)
            for digest in some:
                report(freed[digest])

    async def _doom(self, session: Session, digests: Sequence[str]) -> list[FreedBlob]:
        """Doom those of the blobs that are still unneeded; keep the others until they are examined again."""
        now = self._clock()
        if await hold_store.valid(session, now, lock=True) is not None:
            return []
        found = await store.usage(session, digests)
        unneeded = [row for row in found if not row.linked and not row.claimed]
        await store.keep_until(session, [row.digest for row in found if row.linked], None)
        claimed = [row.digest for row in found if row.claimed and not row.linked]
        await store.keep_until(session, claimed, now + max(self._policy.grace, DOOM_LIFETIME))
        await store.doom(session, [row.digest for row in unneeded], now)
        return [FreedBlob(row.digest, row.size) for row in unneeded]

    async def _delete_bytes(self, doomed: Sequence[FreedBlob]) -> frozenset[str]:
        """Delete the bytes of doomed blobs; return those that failed or are slow, which are left to the next run."""
        try:
            async with asyncio.timeout(DELETE_TIMEOUT):
                failures = await self._storage.delete([Digest.parse(blob.digest) for blob in doomed])
        except (StorageError, TimeoutError):
            log.exception("failed to delete the content of %d blobs; will be retried in the next run", len(doomed))
            return frozenset(blob.digest for blob in doomed)
        for digest, error in failures.items():
            log.error("failed to delete the content of %s, will be retried in the next run: %s", digest, error)
        return frozenset(map(str, failures))


def _count_run(result: str, totals: GarbageTotals) -> None:
    GARBAGE_RUNS.add(result)
    GARBAGE_BYTES.add(amount=totals.bytes)


class _Doomed(msgspec.Struct, frozen=True):
    """Blobs whose bytes are about to be deleted; ``since`` is the loop's time before the first was doomed."""

    since: float
    blobs: list[FreedBlob]
