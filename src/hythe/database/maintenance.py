"""Maintenance: a server that refuses every change for a while, and answers everything else.

The database refuses, so that no route and no background task can be forgotten: a transaction that writes fails like
with an unreachable database, which every route reports in its own form. The server refuses requests that would change
something before that (``server/maintenance_gate``), because they may have effects elsewhere first: the bytes of an
upload, a webhook at a forge.

Still written is what protects and serves reads: counts of failed passwords, last uses, and the keys of tokens.
"""

import asyncio
from contextlib import AbstractAsyncContextManager

from hythe.database.changes import Changes
from hythe.database.port import Database, Dialect, Session, UnavailableError

RETRY_AFTER = 60
"""Seconds after which a client should try again."""


class UnderMaintenance(UnavailableError):
    """The server refuses changes for a while."""

    def __init__(self) -> None:
        text = "this server is read-only for maintenance, and accepts no changes: try again later"
        super().__init__(text, text)


class Maintenance:
    """Whether a server is read-only."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.apply(read_only=read_only)

    @property
    def read_only(self) -> bool:
        """Whether changes are refused now."""
        return self.begun.is_set()

    def apply(self, *, read_only: bool) -> None:
        """Begin or end it; transactions that have begun continue."""
        (self.begun if read_only else self.ended).set()
        (self.ended if read_only else self.begun).clear()


class MaintainedDatabase:
    """See Database. Refuses to write during maintenance."""

    def __init__(self, inner: Database, maintenance: Maintenance) -> None:
        self.inner = inner
        self.maintenance = maintenance

    @property
    def dialect(self) -> Dialect:
        """See Database.dialect."""
        return self.inner.dialect

    def reading(self) -> AbstractAsyncContextManager[Session]:
        """See Database.reading."""
        return self.inner.reading()

    def reading_long(self, seconds: float) -> AbstractAsyncContextManager[Session]:
        """See Database.reading_long."""
        return self.inner.reading_long(seconds)

    def writing(self, *, durable: bool = True) -> AbstractAsyncContextManager[Session]:
        """See Database.writing. Raises UnderMaintenance."""
        if self.maintenance.read_only:
            raise UnderMaintenance
        return self.inner.writing(durable=durable)

    def writing_once(self) -> AbstractAsyncContextManager[Session]:
        """See Database.writing_once. Raises UnderMaintenance."""
        if self.maintenance.read_only:
            raise UnderMaintenance
        return self.inner.writing_once()

    @property
    def changes(self) -> Changes:
        """See Database.changes."""
        return self.inner.changes

    async def close(self) -> None:
        """See Database.close."""
        await self.inner.close()


def maintenance_of(database: Database) -> Maintenance:
    """Return the maintenance of a database; one that never begins if it has none."""
    return database.maintenance if isinstance(database, MaintainedDatabase) else Maintenance()


def for_upkeep(database: Database) -> Database:
    """Return the database for what is written during maintenance, too."""
    return database.inner if isinstance(database, MaintainedDatabase) else database
