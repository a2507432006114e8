"""Which files were read and found whole lately, so that what rotted on the disk is not sent as if it were whole.

A blob was hashed when it came. From then on its file is trusted for a day, as long as the disk says that nobody touched
it; then, and after a restart, it is hashed once more beside the next time that it is sent.
"""

import asyncio
import hashlib
import os
import time
from pathlib import Path

from hythe.oci.digest import Digest
from hythe.registry.storage.disk import DiskThreads

TRUSTED_FOR = 24 * 3600.0
"""Seconds after which a file is read again: bytes rot without anybody touching the file."""

CAPACITY = 100_000
"""Files that are remembered, about 200 bytes each."""

THREADS = 2
"""How many files are read at once: more would only take the disk from those who push and pull."""


class IntegrityCache:
    """The files of one store that are known to be whole."""

    def __init__(self, data: Path) -> None:
        self._threads = DiskThreads(data, THREADS)
        self._known: dict[Digest, tuple[tuple[int, ...], float]] = {}
        self._reading: dict[Digest, asyncio.Task[bool]] = {}

    def trust(self, digest: Digest, found: os.stat_result) -> None:
        """Remember that the file which the disk describes so is whole."""
        if len(self._known) >= CAPACITY:
            self._known.clear()
        self._known[digest] = _marks(found), time.monotonic()

    def trusts(self, digest: Digest, found: os.stat_result) -> bool:
        """Whether the file which the disk describes so was whole a short while ago."""
        marks, at = self._known.get(digest, ((), 0.0))
        return marks == _marks(found) and time.monotonic() - at < TRUSTED_FOR

    async def check(self, digest: Digest, path: Path) -> bool:
        """Read the file and say whether it is whole; all who ask meanwhile share the answer.

        Raises StorageUnavailable when it cannot be read, which says nothing about its bytes.
        """
        task = self._reading.get(digest)
        if task is None:
            task = self._reading[digest] = asyncio.create_task(self._read(digest, path))
        return await asyncio.shield(task)

    async def _read(self, digest: Digest, path: Path) -> bool:
        try:
            found = await self._threads.run(_found_whole, digest, path)
        finally:
            del self._reading[digest]
        if found is not None:
            self.trust(digest, found)
        return found is not None

    def close(self) -> None:
        """Wait for what is being read."""
        self._threads.close()


def _found_whole(digest: Digest, path: Path) -> os.stat_result | None:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        return found if hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex else None


def _marks(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
