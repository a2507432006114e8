"""Where rows are loaded: a database that is empty until all rows are there and were compared.

    require_empty ─> prepare (the schema) ─> filling (one transaction) ─> complete (from now on, servers can use it)

What is interrupted before ``complete`` can be repeated from the beginning.
"""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from hythe.backup.errors import BackupError
from hythe.backup.rows import RowTarget, TableShape
from hythe.database.migration import upgrade
from hythe.database.opening import sqlite_in_use
from hythe.database.schema import known_revisions
from hythe.database.sqlite import SQLITE_FILE
from hythe.registry.installation import COPYING
from hythe.registry.storage.disk import disk_errors, sync_folder

STAGING = "incoming"
"""The folder in the data folder in which a SQLite database is filled."""


class Destination(Protocol):
    """A database to load rows into."""

    title: str

    async def require_empty(self) -> None:
        """Raise BackupError if the database is in use."""

    async def prepare(self, revision: str) -> None:
        """Create the schema of this revision. Raises BackupError if the database has another one."""

    def filling(self, tables: Sequence[TableShape]) -> AbstractAsyncContextManager[RowTarget]:
        """Empty these tables and fill them; what the block did is committed if it succeeds."""

    async def complete(self, kind: str) -> None:
        """Upgrade the schema to this program's, and let servers use the database."""


class SQLiteDestination:
    """See Destination. The file gets its name last."""

    def __init__(self, data: Path) -> None:
        """The database is to be in the folder ``data``."""
        self.title = str(data / SQLITE_FILE)
        self._data = data
        self._staging = data / STAGING

    async def require_empty(self) -> None:
        """See Destination.require_empty."""
        if sqlite_in_use(self._data):
            raise BackupError(f"{self.title} exists already", "use an empty --data folder, or move the file away")

    async def prepare(self, revision: str) -> None:
        """See Destination.prepare."""
        _require_known(revision)
        with disk_errors(self._data):
            shutil.rmtree(self._staging, ignore_errors=True)
        await upgrade(self._staging, revision=revision)

    @asynccontextmanager
    async def filling(self, tables: Sequence[TableShape]) -> AsyncIterator[RowTarget]:
        """See Destination.filling."""
        from hythe.backup.sql.sqlite import sqlite_filling

        async with sqlite_filling(self._staging / SQLITE_FILE, tables) as target:
            yield target

    async def complete(self, kind: str) -> None:
        """See Destination.complete."""
        from hythe.backup.sql.sqlite import sqlite_exclusive

        await upgrade(self._staging)
        async with sqlite_exclusive(self._staging / SQLITE_FILE) as database:
            await database.set_kind(kind)
        await self.require_empty()
        with disk_errors(self._data):
            for file in self._data.glob(f"{SQLITE_FILE}*"):
                file.unlink()  # an empty database, with its log
            os.rename(self._staging / SQLITE_FILE, self._data / SQLITE_FILE)  # noqa: PTH104
            sync_folder(self._data)
            shutil.rmtree(self._staging)


class PostgreSQLDestination:
    """See Destination. Until it is complete, the kind of its installation refuses servers."""

    def __init__(self, url: str) -> None:
        """Load into the database at ``url``."""
        self.title = "the database at that URL"
        self._url = url

    async def require_empty(self) -> None:
        """See Destination.require_empty. A schema without an installation is empty."""
        from hythe.backup.sql.postgresql import installation_kind

        if await installation_kind(self._url) not in (None, COPYING):
            raise BackupError(f"{self.title} is in use already", "use an empty database")

    async def prepare(self, revision: str) -> None:
        """See Destination.prepare."""
        from hythe.backup.sql.postgresql import present_revision

        _require_known(revision)
        present = await present_revision(self._url)
        if present is None:
            await upgrade(Path(), self._url, revision)
        elif present != revision:
            raise BackupError(
                f"{self.title} has the schema {present}, and the rows that of {revision}",
                "use an empty database, without tables",
            )

    @asynccontextmanager
    async def filling(self, tables: Sequence[TableShape]) -> AsyncIterator[RowTarget]:
        """See Destination.filling."""
        from hythe.backup.sql.postgresql import postgresql_filling

        async with postgresql_filling(self._url, tables) as target:
            yield target

    async def complete(self, kind: str) -> None:
        """See Destination.complete."""
        from hythe.backup.sql.postgresql import set_kind

        await upgrade(Path(), self._url)
        await set_kind(self._url, kind)


def open_destination(data: Path, database_url: str) -> Destination:
    """Return the database of these settings."""
    return PostgreSQLDestination(database_url) if database_url else SQLiteDestination(data)


def _require_known(revision: str) -> None:
    if revision not in known_revisions():
        raise BackupError(
            f"the rows have the schema {revision}, which this version does not know",
            "install the newer version of hythe",
        )
