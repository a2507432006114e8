"""Deletes many blobs from a local disk: the files in one thread, then one sync of each folder.

One by one, each deletion waits for a sync of its folder. More threads delete no faster while the event loop runs: they
take turns with it for Python's lock. With four, it waited twice as long, and a quarter fewer blobs were freed.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.storage.disk import DiskThreads, disk_errors
from hythe.registry.storage.parallel_sync import ParallelSync
from hythe.registry.storage.port import StorageError, StorageUnavailable

FILES_AT_ONCE = 50
"""Files to delete in one call of a thread: a cancelled deletion ends after it."""

FOLDERS_AT_ONCE = 64
"""Folders to sync in one call of a thread."""


class Deletion:
    """Deletes the blobs of one store."""

    def __init__(self, threads: DiskThreads, blobs: Path) -> None:
        """Use ``threads`` for disk operations; ``blobs`` is the folder of all blobs."""
        self._threads = threads
        self._blobs = blobs
        self._disk = ParallelSync(FOLDERS_AT_ONCE)
        self._syncing = asyncio.Lock()

    async def delete(self, digests: Sequence[Digest]) -> dict[Digest, StorageError]:
        """Delete blobs durably; return the errors of those that may remain. A missing file is no error."""
        failures: dict[Digest, StorageError] = {}
        ordered = sorted(digests)
        for start in range(0, len(ordered), FILES_AT_ONCE):
            failures.update(await self._threads.run(self._unlink, ordered[start : start + FILES_AT_ONCE]))
        async with self._syncing:
            for folders in self._by_folder([digest for digest in ordered if digest not in failures]):
                failures.update(await self._threads.run(self._sync, folders))
        return failures

    def close(self) -> None:
        """Free the kernel's resources; no deletion may be running."""
        self._disk.close()

    def _folder(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.algorithm}/{digest.hex[:2]}"

    def _by_folder(self, digests: Sequence[Digest]) -> Iterator[dict[str, list[Digest]]]:
        """Yield up to FOLDERS_AT_ONCE folders, each with its blobs."""
        folders: dict[str, list[Digest]] = {}
        for folder, found in groupby(digests, self._folder):
            folders[folder] = list(found)
            if len(folders) == FOLDERS_AT_ONCE:
                yield folders
                folders = {}
        if folders:
            yield folders

    def _unlink(self, digests: Sequence[Digest]) -> dict[Digest, StorageError]:
        failures: dict[Digest, StorageError] = {}
        for digest in digests:
            try:
                os.unlink(f"{self._folder(digest)}/{digest.hex}")  # noqa: PTH108 (a Path costs more than the deletion)
            except OSError as error:
                try:
                    with disk_errors(self._blobs):
                        self._raise_unless_missing(error)
                except StorageUnavailable as unavailable:
                    failures[digest] = unavailable
        return failures

    def _raise_unless_missing(self, error: OSError) -> None:
        """Raise the error, unless the file or its folder does not exist while the store does."""
        if not isinstance(error, FileNotFoundError):
            raise error
        self._blobs.stat()

    def _sync(self, folders: dict[str, list[Digest]]) -> dict[Digest, StorageError]:
        failures: dict[Digest, StorageError] = {}
        for digests, error in zip(folders.values(), self._disk.names(list(folders)), strict=True):
            try:
                with disk_errors(self._blobs):
                    if error is not None:
                        self._raise_unless_missing(error)
            except StorageUnavailable as unavailable:
                failures.update(dict.fromkeys(digests, unavailable))
        return failures
