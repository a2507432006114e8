"""Durability of SQLite's log: commits are synced to the disk together, and the loop never waits for the disk.

SQLite itself (``synchronous=FULL``) syncs inside COMMIT, with its write lock held: one commit after the other. Here
COMMIT only writes (``synchronous=NORMAL``, which keeps the file sound whatever happens), and whoever needs to know that
a commit survives a power cut waits for a sync of the log that began after it. All who come while one runs share the
next. The log is one sequence, so nothing that was acknowledged can depend on something that was not.
"""

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hythe.database.port import UnavailableError

COMMITS_BETWEEN_CHECKPOINTS = 250
"""After so many commits the log is copied into the file; a commit of the registry writes 3 to 10 pages of 4 KiB."""

CHECKPOINT_PATIENCE = 5.0
"""Seconds to wait for other processes when the whole log must be copied."""


class LogSync:
    """Syncs and copies the log of one SQLite file, in one thread."""

    def __init__(self, database: Path) -> None:
        """Work on the log of ``database``, which stays what it is as long as somebody has the database open."""
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self.descriptor: int | None = None
        self.doubtful = False
        self._commits = 0
        self._turn = asyncio.Lock()
        self._next: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-sync")

    async def synced(self) -> None:
        """Return once everything that was committed before survives a power cut. Raises UnavailableError."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._sync_next())
        await asyncio.shield(self._next)

    async def _sync_next(self) -> None:
        async with self._turn:
            self._next = None  # who comes from now on may have committed too late for this one
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync)

    def _sync(self) -> None:
        if self.doubtful:
            self._copy_all()
        try:
            os.fdatasync(self._opened())
        except OSError as error:
            # The kernel tells of what it could not write only once: the next sync could succeed and mean nothing.
            self.doubtful = True
            raise UnavailableError(f"the database's log cannot be synced: {error.strerror}") from error

    def _opened(self) -> int:
        if self.descriptor is None:
            self.descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
            folder = os.open(self._log.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return self.descriptor

    def _copy_all(self) -> None:
        """Bring the database file itself to the disk with everything that the log has, which no longer counts then."""
        connection = sqlite3.connect(self._database, timeout=CHECKPOINT_PATIENCE, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            connection.close()
        if busy:
            raise UnavailableError("the database's log could not be synced before, and the database is in use")
        self.doubtful = False

    async def committed(self, connection: sqlite3.Connection) -> None:
        """Count a commit of ``connection``, and now and then copy the log. Nobody may write meanwhile."""
        self._commits += 1
        if self._commits < COMMITS_BETWEEN_CHECKPOINTS:
            return
        self._commits = 0
        copying = asyncio.get_running_loop().run_in_executor(self._thread, _copy, connection)
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            # The connection belongs to the thread until it is done, whoever waits for it.
            await asyncio.wait([copying])
            raise

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _copy(connection: sqlite3.Connection) -> None:
    # What cannot be copied now stays in the log, and nothing is lost.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
