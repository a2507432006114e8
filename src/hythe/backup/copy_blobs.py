"""Copies the blobs of an installation to another blob store while it serves.

    rounds: copy what the new store lacks, until little is left          the marker there: copying
    finish, while no server runs: the database names the new store's marker (no server starts until the end)
      ─> last round ─> every recorded blob is there, with its size ─> the new store gets the marker

The old store keeps its marker and its blobs: a server that starts with it after the end is refused.
"""

import secrets
from collections.abc import AsyncIterator

from hythe.backup.backup import in_parallel
from hythe.backup.errors import BackupError
from hythe.backup.progress import TaskProgress
from hythe.backup.vault import MissingBlob
from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.installation import find_installation
from hythe.registry.sql import installation as store
from hythe.registry.storage.port import BlobMissing, BlobStore, DigestMismatch

COPYING_BLOBS = "copying"
"""The first word of the marker in a blob store that does not have all blobs yet; the second one is its token."""

BLOBS_AT_ONCE = 500

LITTLE = 20
"""A round that copied no more blobs than this was the last one before the switch."""


class BlobCopy:
    """Copies blobs from one store to another one."""

    def __init__(self, database: Database, source: BlobStore, target: BlobStore, progress: TaskProgress) -> None:
        self._database = database
        self._source = source
        self._target = target
        self._progress = progress
        self._there: set[str] = set()
        self._copied = 0
        self.missing: list[MissingBlob] = []
        """What the last round could not copy, although it is recorded."""

    async def begin(self) -> None:
        """Mark the new store, and find out what an earlier copy has left there. Raises BackupError."""
        installation = await find_installation(self._database)
        marker = await self._target.marker()
        if marker is None:
            if not await self._target.is_empty():
                raise BackupError("the new blob store is not empty", "use an empty bucket, prefix or folder")
            await self._target.set_marker(f"{COPYING_BLOBS} {installation.id}/{secrets.token_hex(16)}", replace=False)
        elif not marker.startswith(f"{COPYING_BLOBS} {installation.id}/"):
            raise BackupError("the new blob store belongs to an installation", "use an empty bucket, prefix or folder")
        async for blob in self._target.walk():
            self._there.add(f"{blob.digest} {blob.size}")

    async def require_source(self) -> None:
        """Raise BackupError unless the old store is this installation's."""
        installation = await find_installation(self._database)
        if not str(await self._source.marker()).startswith(f"{installation.id}/"):
            raise BackupError(
                "the blob store of the settings is not that of the database",
                "name the old store in blob_store or --data",
            )

    async def round(self) -> int:
        """Copy what the new store lacks; return how many blobs that were."""
        self._copied, self.missing = 0, []
        total = sum([size async for _, size in self._lacking()])
        self._progress.begin("blobs", total)
        waiting: list[tuple[str, int]] = []
        async for blob in self._lacking():
            waiting.append(blob)
            if len(waiting) == BLOBS_AT_ONCE:
                await in_parallel(self._copy, waiting)
                waiting = []
        await in_parallel(self._copy, waiting)
        return self._copied

    async def complete(self) -> None:
        """Let the new store be used."""
        await self._target.set_marker(await self.final_marker(), replace=True)

    async def final_marker(self) -> str:
        """Return the marker that the new store gets in the end."""
        return str(await self._target.marker()).removeprefix(f"{COPYING_BLOBS} ")

    async def _lacking(self) -> AsyncIterator[tuple[str, int]]:
        after = ""
        while True:
            async with self._database.reading() as session:
                found = await store.sizes_after(session, after, BLOBS_AT_ONCE)
            if not found:
                return
            after = found[-1][0]
            for digest, size in found:
                if f"{digest} {size}" not in self._there:
                    yield digest, size

    async def _copy(self, blob: tuple[str, int]) -> None:
        text, size = blob
        digest = Digest.parse(text)
        try:
            stored = await self._target.put(digest, self._counted(digest))
        except BlobMissing as error:
            if await self._is_recorded(text):
                self.missing.append(MissingBlob(text, str(error)))
            return
        except DigestMismatch:
            self.missing.append(MissingBlob(text, "its content does not match its digest"))
            return
        if stored != size:
            self.missing.append(MissingBlob(text, f"it has {stored} bytes instead of {size}"))
            return
        self._there.add(f"{text} {size}")
        self._copied += 1

    async def _is_recorded(self, digest: str) -> bool:
        """Return whether the blob still exists: garbage collection may have deleted it since it was listed."""
        async with self._database.reading() as session:
            return await store.is_recorded(session, digest)

    async def _counted(self, digest: Digest) -> AsyncIterator[bytes]:
        async for piece in self._source.read(digest):
            self._progress.advance(len(piece))
            yield piece
