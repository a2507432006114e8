"""Stores small blobs in batches: blobs that arrive while one batch is synced form the next.

Alone, a blob of 4 KiB costs two commits of the file system's journal and a dozen thread switches, more than everything
else about its push. A batch writes all blobs, syncs all, renames all, and syncs their folders: two waits for the disk
and one thread for any number of blobs.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.storage.disk import DiskThreads, completed, disk_errors
from hythe.registry.storage.parallel_sync import ParallelSync
from hythe.registry.storage.upload_file import UploadFile

MAX_SMALL_SIZE = 64 * 1024
"""Maximum bytes of a small blob."""

BATCH_SIZE = 64
"""Maximum number of blobs in one batch."""


class SmallBlob:
    """A blob whose bytes are in memory, and its temporary file."""

    def __init__(self, file: UploadFile, pieces: Sequence[bytes], digest: Digest, target: Path) -> None:
        self.file = file
        self.target = target
        self.failure: Exception | None = None
        self.published: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pieces = pieces
        self._digest = digest

    def write(self) -> None:
        """Write and verify the bytes. Raises OSError and DigestMismatch."""
        self.file.write(self._pieces)
        self.file.check(self._digest)

    def move_into_place(self) -> None:
        """Rename the synced file. Raises OSError."""
        self.file.move_into_place(self.target)

    def settle(self) -> None:
        """Report the result to the waiting request."""
        if self.failure is None:
            self.published.set_result(None)
        else:
            self.published.set_exception(self.failure)


class SmallBlobs:
    """Stores the small blobs of one store, one batch at a time."""

    def __init__(self, threads: DiskThreads, folder: Path) -> None:
        """Use ``threads`` for disk operations; errors name ``folder``."""
        self._threads = threads
        self._folder = folder
        self._disk = ParallelSync(BATCH_SIZE)
        self._waiting: list[SmallBlob] = []
        self._publishing: asyncio.Task[None] | None = None

    async def publish(self, blob: SmallBlob) -> None:
        """Wait until the blob is durable. Raises DigestMismatch and StorageUnavailable."""
        self._waiting.append(blob)
        if self._publishing is None:
            self._publishing = asyncio.create_task(self._publish_waiting())
        await completed(blob.published)

    def close(self) -> None:
        """Free the kernel's resources; no blob may be waiting."""
        self._disk.close()

    async def _publish_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_SIZE], self._waiting[BATCH_SIZE:]
                try:
                    await self._threads.run(self._publish, batch)
                finally:
                    for blob in batch:
                        blob.settle()
        finally:
            self._publishing = None
            for blob in self._waiting:
                blob.published.cancel()

    def _publish(self, blobs: Sequence[SmallBlob]) -> None:
        for blob in blobs:
            self._run_step(blob, blob.write)
        self._sync_bytes([blob for blob in blobs if blob.failure is None])
        for blob in blobs:
            self._run_step(blob, blob.move_into_place)
        self._sync_names([blob for blob in blobs if blob.failure is None])

    def _run_step(self, blob: SmallBlob, step: Callable[[], None]) -> None:
        """Run one step for a blob unless an earlier step failed."""
        if blob.failure is not None:
            return
        try:
            with disk_errors(self._folder):
                step()
        except Exception as error:
            blob.failure = error

    def _sync_bytes(self, blobs: Sequence[SmallBlob]) -> None:
        for blob, error in zip(blobs, self._disk.data([blob.file.descriptor for blob in blobs]), strict=True):
            self._run_step(blob, partial(_raise_error, error))

    def _sync_names(self, blobs: Sequence[SmallBlob]) -> None:
        by_folder: dict[Path, list[SmallBlob]] = {}
        for blob in blobs:
            by_folder.setdefault(blob.target.parent, []).append(blob)
        for placed, error in zip(by_folder.values(), self._disk.names(list(by_folder)), strict=True):
            for blob in placed:
                self._run_step(blob, partial(_raise_error, error))


def _raise_error(error: OSError | None) -> None:
    if error is not None:
        raise error
