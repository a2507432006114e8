"""A cache of files whose content was verified recently, so that damaged files are not sent as intact ones.

A blob is hashed when it arrives. Then its file is trusted for a day if its metadata stays the same; after that, and
after a restart, it is hashed again while it is sent the next time.
"""

import asyncio
import hashlib
import os
import time
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.storage.disk import DiskThreads

TRUST_LIFETIME = 24 * 3600.0
"""Seconds after which a file is verified again: disks can lose bits without changing metadata."""

CAPACITY = 100_000
"""Maximum number of files, about 200 bytes each."""

THREADS = 2
"""Number of files to verify concurrently: more would take the disk's bandwidth from pushes and pulls."""


class IntegrityCache:
    """The verified files of one store."""

    def __init__(self, data: Path) -> None:
        self._threads = DiskThreads(data, THREADS)
        self._verified: dict[Digest, tuple[tuple[int, ...], float]] = {}
        self._running: dict[Digest, asyncio.Task[bool]] = {}

    def trust(self, digest: Digest, found: os.stat_result) -> None:
        """Record that the file with this metadata is intact."""
        if len(self._verified) >= CAPACITY:
            self._verified.clear()
        self._verified[digest] = _metadata(found), time.monotonic()

    def trusts(self, digest: Digest, found: os.stat_result) -> bool:
        """Return whether the file with this metadata was verified recently."""
        metadata, at = self._verified.get(digest, ((), 0.0))
        return metadata == _metadata(found) and time.monotonic() - at < TRUST_LIFETIME

    async def check(self, digest: Digest, path: Path) -> bool:
        """Read the file and return whether it is intact; concurrent calls share the result.

        Raises StorageUnavailable if it cannot be read, which says nothing about its content.
        """
        task = self._running.get(digest)
        if task is None:
            task = self._running[digest] = asyncio.create_task(self._read(digest, path))
        return await asyncio.shield(task)

    async def _read(self, digest: Digest, path: Path) -> bool:
        try:
            found = await self._threads.run(_stat_if_intact, digest, path)
        finally:
            del self._running[digest]
        if found is not None:
            self.trust(digest, found)
        return found is not None

    def close(self) -> None:
        """Wait for running verifications."""
        self._threads.close()


def _stat_if_intact(digest: Digest, path: Path) -> os.stat_result | None:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        return found if hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex else None


def _metadata(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
