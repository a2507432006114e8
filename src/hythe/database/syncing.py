"""Durability of SQLite's log: commits are synced together, and the event loop never waits for the disk.

SQLite itself (``synchronous=FULL``) syncs in COMMIT while holding the write lock, one commit after the other. Here
COMMIT only writes (``synchronous=NORMAL``, which keeps the file consistent in any case), and callers that need a
durable commit wait for a sync of the log that started after it. Callers that arrive during a sync share the next one.
The log is one sequence, so nothing acknowledged can depend on anything unacknowledged.

The log is regularly copied into the file, so that it starts again. Most of that happens while others write: copying
a thousand pages and syncing them takes 20 to 100 ms. Writers only wait for the copy of pages that were added later.
"""

import asyncio
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hythe.database.port import UnavailableError
from hythe.database.sqlite_file import uri_of

COMMITS_BETWEEN_CHECKPOINTS = 250
"""Number of commits after which the log is copied into the file; a registry's commit writes 3 to 10 pages of 4 KiB."""

CHANGES_BETWEEN_CHECKPOINTS = 1000
"""Number of changed rows after which it is copied earlier: a row of garbage collection writes 2 to 3 pages."""

MAX_GROWTH = 0.5
"""The part of COMMITS_ or CHANGES_BETWEEN_CHECKPOINTS that may be added while the log is copied."""

COPIES = 2
"""How often the log is copied while others write, before they wait for the rest."""

CHECKPOINT_TIMEOUT = 5000
"""Milliseconds to wait for other processes when the whole log must be copied."""


class LogSync:
    """Syncs and copies the log of one SQLite file, in a thread each."""

    def __init__(self, database: Path) -> None:
        """Use the log of ``database``; the file stays the same as long as a connection is open."""
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self.descriptor: int | None = None
        self.doubtful = False
        self._commits = 0
        self._changes = 0
        self._turn = asyncio.Lock()
        self._next: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-sync")
        self._copying: asyncio.Task[None] | None = None
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="sqlite-copy")
        self._copier_connection: sqlite3.Connection | None = None

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
            raise UnavailableError(f"failed to sync {self._log}: {error.strerror}") from error

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
        connection = _connect(self._database)
        try:
            connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT}")
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        finally:
            connection.close()
        if busy:
            raise UnavailableError("an earlier sync of the database's log failed, and the database is in use")
        self.doubtful = False

    async def committed(self, changes: int, writers: asyncio.Lock) -> None:
        """Count a commit that changed rows, and regularly copy the log. ``writers`` keeps others from writing.

        Returns immediately, except when commits come faster than the log is copied. Call it while others may write.
        """
        self._commits += 1
        self._changes += changes
        full = max(self._commits / COMMITS_BETWEEN_CHECKPOINTS, self._changes / CHANGES_BETWEEN_CHECKPOINTS)
        if self._copying is None and full >= 1:
            self._commits = self._changes = 0
            self._copying = asyncio.create_task(self._copy_log(writers))
        elif self._copying is not None and full >= MAX_GROWTH:
            await self.copied()

    async def copied(self) -> None:
        """Wait for a running copy of the log."""
        if self._copying is not None:
            await asyncio.wait([self._copying])

    async def _copy_log(self, writers: asyncio.Lock) -> None:
        loop = asyncio.get_running_loop()
        try:
            for _ in range(COPIES):
                if await loop.run_in_executor(self._copier, self._copy):
                    return
            async with writers:
                await loop.run_in_executor(self._copier, self._copy)
        finally:
            self._copying = None

    def _copy(self) -> bool:
        """Copy what the log has now; return whether it is empty, because no one wrote or read during the copy."""
        # Pages that cannot be copied now stay in the log; nothing is lost.
        with suppress(sqlite3.OperationalError):
            connection = self._copier_connection = self._copier_connection or _connect(self._database)
            busy, logged, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return not busy and logged == copied
        return True

    async def close(self) -> None:
        """Wait for the threads."""
        await self.copied()
        self._thread.shutdown()
        self._copier.shutdown()
        if self._copier_connection is not None:
            self._copier_connection.close()
            self._copier_connection = None
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def _connect(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(uri_of(database), uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection
