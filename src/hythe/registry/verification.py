"""Verification: reads every blob and manifest, compares digests, and quarantines damaged blobs; recounts usage.

A quarantined blob is not served. A client that pushes an image with it is asked for its content, which repairs it. A
blob that is intact again, because its file was restored from a backup, is served again. Unrecorded bytes are left to
garbage collection.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.installation import require_own_blob_store
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import uploads as upload_store
from hythe.registry.sql import usage as usage_store
from hythe.registry.sql import usage_check as usage_check_store
from hythe.registry.sql import verification as store
from hythe.registry.sql.usage_check import NamespaceCount
from hythe.registry.storage.port import BlobMissing, BlobStore

NAMED_REPOSITORIES = 20
"""Maximum number of repositories to name for a damaged blob."""

PARALLEL_READS = 16
"""Number of blobs that are read at a time; each takes the memory of one piece."""

RECORDING_TIME = timedelta(minutes=10)
"""Bytes this recent may still be recorded, even if garbage collection has no grace period."""


class Finding(msgspec.Struct, frozen=True):
    """The result of reading one blob or manifest (``manifest``).

    ``problem`` is empty if it is intact; ``healed`` says that it was damaged before.
    """

    digest: str
    size: int
    problem: str = ""
    repositories: tuple[str, ...] = ()
    manifest: bool = False
    healed: bool = False


class Miscount(msgspec.Struct, frozen=True):
    """A namespace whose usage was wrong, and was corrected."""

    namespace: str
    counted: NamespaceCount
    actual: NamespaceCount


class Verification:
    """Verifies all stored content."""

    def __init__(self, database: Database, storage: BlobStore, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._policy = policy
        self._clock = clock

    async def blobs(self) -> AsyncGenerator[Finding, None]:
        """Verify every recorded blob; quarantine a damaged one, then report it."""
        await require_own_blob_store(self._database, self._storage)
        after = ""
        while True:
            async with self._database.reading() as session:
                rows = await store.blobs_after(session, after)
            async with aclosing(self._check_blobs(rows)) as findings:
                async for finding in findings:
                    yield finding
            if not rows:
                return
            after = rows[-1].digest

    async def manifests(self) -> AsyncIterator[Finding]:
        """Verify every manifest. Report damaged ones; they are in the database, so restore that."""
        after = (0, "")
        while True:
            async with self._database.reading() as session:
                rows = await store.manifests_after(session, *after)
            for row in rows:
                intact = Digest.parse(row.digest).matches(row.content)
                problem = "" if intact else "its content in the database is damaged: restore a backup, or push it again"
                yield Finding(row.digest, len(row.content), problem, (row.name,), manifest=True)
            if not rows:
                return
            after = (rows[-1].repository_id, rows[-1].digest)

    async def strays(self) -> AsyncIterator[Finding]:
        """Find unrecorded bytes, which a power failure may leave, and hand them to garbage collection.

        It keeps them for the grace period: after an incomplete restore they may be all that is left.
        """
        await require_own_blob_store(self._database, self._storage)
        now = self._clock()
        before = now - max(self._policy.grace, RECORDING_TIME)
        async for blob in self._storage.walk():
            if blob.stored_at < before and await self._mark_unrecorded(str(blob.digest), now + self._policy.grace):
                yield Finding(str(blob.digest), blob.size, "it is missing in the database: its space will be freed")

    async def usage(self) -> AsyncIterator[Miscount]:
        """Count again what each namespace stores; correct a wrong count, then report it."""
        after: str | None = ""
        while after is not None:
            async with self._database.reading() as session:
                after = await usage_check_store.counted_after(session, after)
            if after is not None and (wrong := await self._correct(after)):
                yield wrong
        repository = ""
        while True:
            async with self._database.reading() as session:
                uncounted = await usage_check_store.uncounted_after(session, repository)
            if uncounted is None:
                return
            repository = uncounted
            if wrong := await self._correct(repository.partition("/")[0]):
                yield wrong

    async def _correct(self, namespace: str) -> Miscount | None:
        async with self._database.reading() as session:
            counted, actual = await usage_check_store.compare(session, namespace)
        if counted == actual:
            return None
        # Rare; no one can push while it is corrected.
        async with self._database.writing() as session:
            await usage_store.lock(session, namespace)
            counted, actual = await usage_check_store.compare(session, namespace)
            if counted == actual:
                return None
            await usage_check_store.correct(session, namespace, actual)
        return Miscount(namespace, counted, actual)

    async def _mark_unrecorded(self, digest: str, free_after: datetime) -> bool:
        async with self._database.reading() as session:
            if await store.is_recorded(session, digest):
                return False
        async with self._database.writing() as session:
            if not await blob_store.lock(session, digest) or await upload_store.claimed(session, digest):
                return False
            await garbage_store.mark_unrecorded(session, digest, free_after)
        return True

    async def _check_blobs(self, rows: Sequence[Row[Any]]) -> AsyncGenerator[Finding, None]:
        """Verify blobs in order, ``PARALLEL_READS`` at a time: an object store takes long to start each response."""
        waiting: deque[asyncio.Task[Finding]] = deque()
        try:
            for row in rows:
                if len(waiting) == PARALLEL_READS:
                    yield await waiting.popleft()
                check = self._check_blob(row.digest, row.size, quarantined=row.quarantined_at is not None)
                waiting.append(asyncio.create_task(check))
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _check_blob(self, digest: str, size: int, *, quarantined: bool) -> Finding:
        problem = await self._find_problem(Digest.parse(digest), size)
        if not problem:
            return Finding(digest, size, healed=quarantined and await self._release(digest))
        if not await self.quarantine(digest):
            return Finding(digest, size)
        async with self._database.reading() as session:
            names = await repository_store.names_containing(session, digest, NAMED_REPOSITORIES)
        return Finding(digest, size, problem, names)

    async def _find_problem(self, digest: Digest, size: int) -> str:
        hasher = digest.hasher()
        size_read = 0
        try:
            async for piece in self._storage.read(digest):
                hasher.update(piece)
                size_read += len(piece)
        except BlobMissing:
            return "its content is missing, quarantined, or unreadable"
        if size_read != size:
            return f"it has {size_read} bytes instead of {size}"
        return "" if hasher.hexdigest() == digest.hex else "its content does not match its digest"

    async def _release(self, digest: str) -> bool:
        """Serve a quarantined blob again; return False if it is being deleted."""
        async with self._database.writing() as session:
            locked = await blob_store.lock(session, digest)
            if locked:
                await store.release(session, digest)
        return locked

    async def quarantine(self, digest: str) -> bool:
        """Quarantine a damaged blob; return False if it was deleted or is being pushed again."""
        async with self._database.writing() as session:
            locked = await blob_store.lock(session, digest)
            if not locked or await upload_store.claimed(session, digest):
                return False
            if not await store.quarantine(session, digest, self._clock()):
                return False
            # Inside the transaction, so that no upload stores the same blob between the two.
            await self._storage.quarantine(Digest.parse(digest))
        return True
