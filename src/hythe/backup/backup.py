"""Makes a backup while the installation serves.

    hold off garbage collection ─> snapshot of the database ─> dump, and list of blobs
      ─> copy the blobs that the vault lacks, and read them back ─> manifest ─> release the hold

A backup that is interrupted has no manifest. The next one finds the blobs that it copied.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from hythe.backup.blob_list import ListedBlob, blobs_by_folder, framed
from hythe.backup.dump import dumped
from hythe.backup.errors import BackupDamaged, BackupError
from hythe.backup.place import one_piece
from hythe.backup.progress import TaskProgress
from hythe.backup.pruning import Pruned, prune
from hythe.backup.rows import RowSource, table_shapes
from hythe.backup.vault import (
    BackupManifest,
    MissingBlob,
    Vault,
    blob_list_name,
    database_name,
    secret_key_name,
)
from hythe.database import Database
from hythe.oci.digest import Digest
from hythe.registry.garbage_holds import hold_garbage
from hythe.registry.installation import find_installation
from hythe.registry.storage.port import BlobMissing, BlobStore

T = TypeVar("T")

Verify: TypeAlias = Literal["sizes", "new", "full"]
"""Which blobs are read back: none, only their sizes are compared; those that were copied; or all that are needed."""

OpenSource: TypeAlias = Callable[[], AbstractAsyncContextManager[RowSource]]
"""Opens a snapshot of the database."""

BLOBS_AT_ONCE = 8
"""Blobs to copy at once: small ones wait for the disk or the object store most of the time."""

LARGE_PIECE = 256 << 10
"""Bytes whose hash a thread computes: a smaller piece takes less time than the call."""

HOLD = "a backup"


class BackupTask:
    """Makes one backup."""

    def __init__(
        self, database: Database, blobs: BlobStore, vault: Vault, progress: TaskProgress, verify: Verify
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._vault = vault
        self._progress = progress
        self._verify = verify
        self._missing: list[MissingBlob] = []
        self._count = self._size = self._rows = 0
        self.pruned: Pruned | None = None
        """What was deleted after the backup; None: nothing had to be."""

    async def run(
        self, open_source: OpenSource, version: str, secret_key: bytes | None = None, keep: int = 0
    ) -> BackupManifest:
        """Make the backup and return its manifest; then delete all but the newest ``keep`` ones, unless that is 0.

        ``secret_key`` becomes a part of the backup: give it for an encrypted vault only. Raises GarbageHeld, HoldLost,
        BackupError and the errors of database, blob store and vault.
        """
        async with hold_garbage(self._database, HOLD):
            manifest = await self._make(open_source, version, secret_key)
            if keep:
                self._progress.begin("deleting old backups")
                self.pruned = await prune(self._vault, keep)
        return manifest

    async def _make(self, open_source: OpenSource, version: str, secret_key: bytes | None) -> BackupManifest:
        started = datetime.now(UTC)
        name = f"{started:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        installation = await find_installation(self._database)
        async with open_source() as source:
            size, digest = await self._copy_database(name, source)
            await self._vault.write(blob_list_name(name), framed(source.blobs()))
        await self._copy_blobs(name)
        if secret_key is not None:
            await self._vault.write(secret_key_name(name), one_piece(secret_key))
        manifest = BackupManifest(
            name=name,
            started_at=started,
            finished_at=datetime.now(UTC),
            version=version,
            kind=installation.kind or "",
            installation=installation.id,
            blob_store=installation.blob_store,
            key_fingerprint=installation.key_fingerprint,
            revision=source.revision,
            engine=source.dialect,
            rows=self._rows,
            database_size=size,
            database_digest=digest,
            blobs=self._count,
            blob_size=self._size,
            missing=tuple(self._missing),
            secret_key=secret_key is not None,
        )
        await self._vault.add_manifest(manifest)
        return manifest

    async def _copy_database(self, name: str, source: RowSource) -> tuple[int, str]:
        """Return size and digest of the dump, after it was read back."""
        self._progress.begin("database", unit="rows")
        hasher, size = hashlib.sha256(), 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece, rows in dumped(source, table_shapes()):
                hasher.update(piece)
                size += len(piece)
                self._rows += rows
                self._progress.advance(rows)
                yield piece

        await self._vault.write(database_name(name), pieces())
        if await read_digest(self._vault.read(database_name(name)), "sha256") != (size, hasher.hexdigest()):
            raise BackupDamaged(f"{database_name(name)} has other bytes than were written")
        return size, hasher.hexdigest()

    async def _copy_blobs(self, name: str) -> None:
        total = 0
        async for _, blobs in blobs_by_folder(self._vault, self._vault.read(blob_list_name(name))):
            total += sum(blob.size for blob in blobs)
        self._progress.begin("blobs", total)
        async for folder, blobs in blobs_by_folder(self._vault, self._vault.read(blob_list_name(name))):
            stored = {entry.name: entry.size async for entry in self._vault.place.entries(folder)}
            await in_parallel(partial(self._copy_blob, stored), blobs)

    async def _copy_blob(self, stored: dict[str, int], blob: ListedBlob) -> None:
        digest = Digest.parse(blob.digest)
        name = self._vault.blob_name(digest)
        known = stored.get(name) == self._vault.stored_size(blob.size)
        if known and self._verify == "full":
            known = await self._is_intact(digest, blob.size)
        if not known:
            try:
                await self._vault.write(name, self._checked(digest, blob.size))
            except (BlobMissing, _OtherContent) as error:
                self._missing.append(MissingBlob(blob.digest, str(error)))
                return
            if self._verify != "sizes" and not await self._is_intact(digest, blob.size):
                raise BackupError(
                    f"{self._vault.place.title}/{name} has other bytes than were written",
                    "look for disk errors in the system's log, and make the backup in another place",
                )
        else:
            self._progress.advance(blob.size)
        self._count += 1
        self._size += blob.size

    async def _checked(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob. Raises an error before the last piece if they are others."""
        hasher, seen = digest.hasher(), 0
        waiting = b""
        async for piece in self._blobs.read(digest, 0, size):
            hasher.update(piece)
            seen += len(piece)
            self._progress.advance(len(piece))
            if waiting:
                yield waiting
            waiting = piece
        if seen != size or hasher.hexdigest() != digest.hex:
            raise _OtherContent("its content does not match its digest")
        yield waiting

    async def _is_intact(self, digest: Digest, size: int) -> bool:
        try:
            pieces = self._vault.read(self._vault.blob_name(digest))
            return await read_digest(pieces, digest.algorithm) == (size, digest.hex)
        except BackupDamaged:
            return False


class _OtherContent(Exception):
    """The blob store has other bytes than the digest says."""


async def read_digest(pieces: AsyncIterator[bytes], algorithm: str) -> tuple[int, str]:
    """Return size and digest of the bytes."""
    hasher, size = hashlib.new(algorithm), 0
    async for piece in pieces:
        if len(piece) < LARGE_PIECE:
            hasher.update(piece)
        else:
            await asyncio.to_thread(hasher.update, piece)
        size += len(piece)
    return size, hasher.hexdigest()


async def in_parallel(work: Callable[[T], Awaitable[None]], values: Iterable[T]) -> None:
    """Await ``work`` for each value, BLOBS_AT_ONCE at a time. The first error cancels the rest."""
    waiting = iter(values)

    async def run() -> None:
        for value in waiting:
            await work(value)

    workers = [asyncio.ensure_future(run()) for _ in range(BLOBS_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
