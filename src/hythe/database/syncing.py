"""Durability of SQLite's log: commits are synced together, and the event loop never waits for the disk.

SQLite itself (``synchronous=FULL``) syncs in COMMIT while holding the write lock, one commit after the other. Here
COMMIT only writes (``synchronous=NORMAL``, which keeps the file consistent in any case), and callers that need a
durable commit wait for a sync of the log that started after it. Callers that arrive during a sync share the next one.
The log is one sequence, so nothing acknowledged can depend on anything unacknowledged.
"""

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hythe.database.port import UnavailableError

COMMITS_BETWEEN_CHECKPOINTS = 250
"""Number of commits after which the log is copied into the file; a registry's commit writes 3 to 10 pages of 4 KiB."""

CHECKPOINT_TIMEOUT = 5.0
"""Seconds to wait for other processes when the whole log must be copied."""


class LogSync:
    """Syncs and copies the log of one SQLite file, in one thread."""

    def __init__(self, database: Path) -> None:
        """Use the log of ``database``; the file stays the same as long as a connection is open."""
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self.descriptor: int | None = None
        self.doubtful = False
        self._commits = 0
        self._turn = asyncio.Lock()
        self._next: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-sync")

    async def synced(self) -> None:
        """Wait until everything committed before is durable. Raises UnavailableError."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._sync_next())
        await asyncio.shield(self._next)

    async def _sync_next(self) -> None:
        async with self._turn:
            self._next = None  # later callers may have committed too late for this sync
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync)

    def _sync(self) -> None:
        if self.doubtful:
            self._copy_all()
        try:
            os.fdatasync(self._opened())
        except OSError as error:
            # The kernel reports a failed write only once: the next sync could succeed without having written it.
            self.doubtful = True
            raise UnavailableError(f"failed to sync the database's log: {error.strerror}") from error

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
        """Copy the whole log into the database file and sync that, after which the log does not matter."""
        connection = sqlite3.connect(self._database, timeout=CHECKPOINT_TIMEOUT, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            connection.close()
        if busy:
            raise UnavailableError("an earlier sync of the database's log failed, and the database is in use")
        self.doubtful = False

    async def committed(self, connection: sqlite3.Connection) -> None:
        """Count a commit of ``connection``, and regularly copy the log. No one may write during the copy."""
        self._commits += 1
        if self._commits < COMMITS_BETWEEN_CHECKPOINTS:
            return
        self._commits = 0
        copying = asyncio.get_running_loop().run_in_executor(self._thread, _copy, connection)
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:
            # The thread uses the connection until it is done, even if the caller is cancelled.
            await asyncio.wait([copying])
            raise

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _copy(connection: sqlite3.Connection) -> None:
    # Pages that cannot be copied now stay in the log; nothing is lost.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
