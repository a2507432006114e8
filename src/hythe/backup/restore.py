"""Restores a backup into an empty installation, on either engine and blob store.

    marker "restoring" in the blob store ─> missing blobs, each compared with its digest ─> rows, compared
      ─> new marker in blob store and database ─> the database can be used

Each step can be repeated: an interrupted restore continues with the blobs that are missing. Until its end no server
starts, since the database is empty while the blob store is not, or it is not complete.
"""

import secrets
from collections.abc import AsyncIterator

from hythe.backup.backup import in_parallel, read_digest
from hythe.backup.blob_list import ListedBlob, blobs_by_folder
from hythe.backup.destinations import Destination
from hythe.backup.dump import DumpReader, check_contents
from hythe.backup.errors import BackupDamaged, BackupError
from hythe.backup.place import Missing, read_whole
from hythe.backup.progress import TaskProgress
from hythe.backup.vault import (
    BackupManifest,
    MissingBlob,
    Vault,
    blob_list_name,
    database_name,
    secret_key_name,
)
from hythe.oci.digest import Digest
from hythe.registry.storage.port import BlobStore, DigestMismatch

RESTORING = "restoring"
"""The first word of the marker in a blob store that is being restored, before the name of the backup."""


class RestoreTask:
    """Restores one backup."""

    def __init__(self, vault: Vault, manifest: BackupManifest, progress: TaskProgress) -> None:
        self._vault = vault
        self._manifest = manifest
        self._progress = progress
        self._missing: list[MissingBlob] = []

    async def check(self, destination: Destination, blobs: BlobStore, *, existing_blobs: bool) -> None:
        """Raise BackupError unless database and blob store are empty, or have what an earlier restore left.

        With ``existing_blobs``, the blob store may have blobs: it is that of the installation whose database is lost.
        """
        await destination.require_empty()
        marker = await blobs.marker()
        if existing_blobs or (marker or "").startswith(self._marker):
            return
        if marker is not None or not await blobs.is_empty():
            raise BackupError(
                "the blob store is not empty",
                "use an empty one; if it is that of the installation whose database is lost, add --existing-blobs",
            )

    async def run(self, destination: Destination, blobs: BlobStore) -> list[MissingBlob]:
        """Restore the backup; return the blobs that are missing in it, or damaged.

        Raises BackupDamaged and the errors of the stores.
        """
        await blobs.set_marker(self._marker, replace=True)
        await self._restore_blobs(blobs)
        marker = f"{self._manifest.installation}/{secrets.token_hex(16)}"
        await destination.prepare(self._manifest.revision)
        await self._restore_rows(destination, marker)
        await blobs.set_marker(marker, replace=True)
        await destination.complete(self._manifest.kind)
        return self._missing

    async def secret_key(self) -> bytes | None:
        """Return the key that seals secrets, if it is in the backup."""
        if not self._manifest.secret_key:
            return None
        return await read_whole(self._vault.read(secret_key_name(self._manifest.name)))

    @property
    def _marker(self) -> str:
        return f"{RESTORING} {self._manifest.name}"

    async def _restore_blobs(self, blobs: BlobStore) -> None:
        self._progress.begin("blobs", self._manifest.blob_size)
        name = blob_list_name(self._manifest.name)
        async for _, listed in blobs_by_folder(self._vault, self._vault.read(name)):
            await in_parallel(lambda blob: self._restore_blob(blobs, blob), listed)

    async def _restore_blob(self, blobs: BlobStore, blob: ListedBlob) -> None:
        digest = Digest.parse(blob.digest)
        stored = await blobs.stat(digest)
        if stored is not None and stored.size == blob.size:
            self._progress.advance(blob.size)
            return
        try:
            await blobs.put(digest, self._counted(self._vault.read(self._vault.blob_name(digest))))
        except (Missing, BackupDamaged, DigestMismatch) as error:
            self._missing.append(MissingBlob(blob.digest, str(error)))

    async def _counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in pieces:
            self._progress.advance(len(piece))
            yield piece

    async def _restore_rows(self, destination: Destination, marker: str) -> None:
        """Load the dump after its digest was compared: no byte of a damaged one is used."""
        name, manifest = database_name(self._manifest.name), self._manifest
        if await read_digest(self._vault.read(name), "sha256") != (manifest.database_size, manifest.database_digest):
            raise BackupDamaged(f"{name} has other bytes than were written")
        self._progress.begin("database", manifest.database_size)
        reader = DumpReader(self._counted(self._vault.read(name)))
        header = await reader.header()
        async with destination.filling(header.tables) as target:
            trailer = await reader.load(header, target)
            self._progress.begin("checking the database")
            await check_contents(target, header.tables, trailer.contents)
            await target.finish(header.tables, trailer.last_ids)
            await target.set_unfinished(marker)
