"""Verification: every blob and manifest is read again and compared with its digest; what is rotten is put aside.

A rotten blob is quarantined: it is not served any more, and whoever pushes an image with it is asked for its bytes,
which heals it. One that is whole again, since its file was put back from a backup, is served again. Bytes that nobody
has recorded are handed to the garbage collection.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec

from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.clock import Clock
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import garbage_collection as garbage_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import uploads as upload_store
from hythe.registry.sql import verification as store
from hythe.registry.storage.port import BlobMissing, BlobStore

NAMED_REPOSITORIES = 20
"""How many of the repositories that have a damaged blob are named."""

RECORDING_TIME = timedelta(minutes=10)
"""Bytes that came within this time may be about to be recorded, even when garbage has no grace period."""


class Finding(msgspec.Struct, frozen=True):
    """What is known of one blob, or of a manifest (``manifest``), after reading it again.

    ``problem`` is empty when all is well; ``healed`` says that it was not before.
    """

    digest: str
    size: int
    problem: str = ""
    repositories: tuple[str, ...] = ()
    manifest: bool = False
    healed: bool = False


class Verification:
    """Reads everything again."""

    def __init__(self, database: Database, storage: BlobStore, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._policy = policy
        self._clock = clock

    async def blobs(self) -> AsyncIterator[Finding]:
        """Read every recorded blob; a damaged one is quarantined before it is reported."""
        after = ""
        while True:
            async with self._database.reading() as session:
                rows = await store.blobs_after(session, after)
            for row in rows:
                yield await self._checked(row.digest, row.size, quarantined=row.quarantined_at is not None)
            if not rows:
                return
            after = rows[-1].digest

    async def manifests(self) -> AsyncIterator[Finding]:
        """Read every manifest. One that is damaged is reported; it lies in the database, so restore that."""
        after = (0, "")
        while True:
            async with self._database.reading() as session:
                rows = await store.manifests_after(session, *after)
            for row in rows:
                whole = Digest.parse(row.digest).matches(row.content)
                problem = "" if whole else "its bytes in the database were damaged: restore a backup, or push it again"
                yield Finding(row.digest, len(row.content), problem, (row.name,), manifest=True)
            if not rows:
                return
            after = (rows[-1].repository_id, rows[-1].digest)

    async def strays(self) -> AsyncIterator[Finding]:
        """Find bytes that nobody has recorded, as a power cut may leave them, for the garbage collection to free."""
        now = self._clock()
        before = now - max(self._policy.grace, RECORDING_TIME)
        async for blob in self._storage.walk():
            if blob.stored_at < before and await self._adopted(str(blob.digest), now):
                yield Finding(str(blob.digest), blob.size, "nobody knows of it: its space is freed")

    async def _adopted(self, digest: str, now: datetime) -> bool:
        async with self._database.reading() as session:
            if await store.is_recorded(session, digest):
                return False
        async with self._database.writing() as session:
            if not await blob_store.hold(session, digest) or await upload_store.claimed(session, digest):
                return False
            await garbage_store.adopt(session, digest, now)
        return True

    async def _checked(self, digest: str, size: int, *, quarantined: bool) -> Finding:
        problem = await self._trouble(Digest.parse(digest), size)
        if not problem:
            return Finding(digest, size, healed=quarantined and await self._released(digest))
        if not await self.quarantine(digest):
            return Finding(digest, size)
        async with self._database.reading() as session:
            names = await repository_store.names_holding(session, digest, NAMED_REPOSITORIES)
        return Finding(digest, size, problem, names)

    async def _trouble(self, digest: Digest, size: int) -> str:
        hasher = digest.hasher()
        came = 0
        try:
            async for piece in self._storage.read(digest):
                hasher.update(piece)
                came += len(piece)
        except BlobMissing:
            return "its bytes are missing, were put aside before, or cannot be read"
        if came != size:
            return f"it has {came} bytes instead of {size}"
        return "" if hasher.hexdigest() == digest.hex else "its bytes have another digest"

    async def _released(self, digest: str) -> bool:
        """Serve a blob again that was put aside; False when it is being removed just now."""
        async with self._database.writing() as session:
            whole = await blob_store.hold(session, digest)
            if whole:
                await store.release(session, digest)
        return whole

    async def quarantine(self, digest: str) -> bool:
        """Put a damaged blob aside; False when it went in the meantime, or is just being pushed anew."""
        async with self._database.writing() as session:
            whole = await blob_store.hold(session, digest)
            if not whole or await upload_store.claimed(session, digest):
                return False
            if not await store.quarantine(session, digest, self._clock()):
                return False
            # Inside the transaction, so that nobody stores the same blob anew between the two.
            await self._storage.quarantine(Digest.parse(digest))
        return True
