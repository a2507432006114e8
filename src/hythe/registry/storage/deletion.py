"""Deletes many blobs from a local disk: files in several threads, then one sync of each folder.

One by one, each deletion waits for a sync of its folder; and one thread deletes 2,000 files a second where four delete
3,000 to 5,000.
"""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.storage.disk import DiskThreads, disk_errors
from hythe.registry.storage.parallel_sync import ParallelSync
from hythe.registry.storage.port import StorageError, StorageUnavailable

THREADS = 4
"""Threads that delete at once; the store has twice as many, so that requests do not wait."""

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

    async def delete(self, paths: Mapping[Digest, Path]) -> dict[Digest, StorageError]:
        """Delete files durably; return the errors of those that may remain. A missing file is no error."""
        failures: dict[Digest, StorageError] = {}
        ordered = sorted(paths.items(), key=lambda item: item[1])
        parts = (ordered[start : start + FILES_AT_ONCE] for start in range(0, len(ordered), FILES_AT_ONCE))

        async def work() -> None:
            for part in parts:
                failures.update(await self._threads.run(self._unlink, part))

        await asyncio.gather(*(work() for _ in range(THREADS)))
        deleted = [item for item in ordered if item[0] not in failures]
        async with self._syncing:
            for folders in _by_folder(deleted):
                failures.update(await self._threads.run(self._sync, folders))
        return failures

    def close(self) -> None:
        """Free the kernel's resources; no deletion may be running."""
        self._disk.close()

    def _unlink(self, files: list[tuple[Digest, Path]]) -> dict[Digest, StorageError]:
        failures: dict[Digest, StorageError] = {}
        for digest, path in files:
            try:
                with disk_errors(self._blobs):
                    self._unlink_one(path)
            except StorageUnavailable as error:
                failures[digest] = error
        return failures

    def _unlink_one(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            self._blobs.stat()  # the store itself must be there

    def _sync(self, folders: dict[Path, list[Digest]]) -> dict[Digest, StorageError]:
        failures: dict[Digest, StorageError] = {}
        for digests, error in zip(folders.values(), self._disk.names(list(folders)), strict=True):
            try:
                with disk_errors(self._blobs):
                    _raise_unless_missing(error)
            except StorageUnavailable as unavailable:
                failures.update(dict.fromkeys(digests, unavailable))
        return failures


def _by_folder(files: list[tuple[Digest, Path]]) -> Iterator[dict[Path, list[Digest]]]:
    """Yield up to FOLDERS_AT_ONCE folders, each with its blobs."""
    folders: dict[Path, list[Digest]] = {}
    for folder, found in groupby(files, lambda item: item[1].parent):
        folders[folder] = [digest for digest, _ in found]
        if len(folders) == FOLDERS_AT_ONCE:
            yield folders
            folders = {}
    if folders:
        yield folders


def _raise_unless_missing(error: OSError | None) -> None:
    """Raise the error of a sync; a folder that never existed had no blobs."""
    if error is not None and not isinstance(error, FileNotFoundError):
        raise error
