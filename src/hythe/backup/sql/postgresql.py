"""Reads and fills PostgreSQL databases, directly with asyncpg: by cursors and COPY."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from hythe.backup.errors import BackupError
from hythe.backup.rows import Row, TableShape, filling_statements
from hythe.database.port import Dialect, UnavailableError
from hythe.registry.installation import COPYING

BLOBS_AT_ONCE = 2000

_STORED_BLOBS = "SELECT digest, size FROM blobs WHERE quarantined_at IS NULL AND deleting_since IS NULL ORDER BY digest"
_SEQUENCES = """
SELECT owner.relname AS owner, attribute.attname AS attribute, sequence.relname AS name
FROM pg_class sequence
JOIN pg_depend dependency ON dependency.objid = sequence.oid AND dependency.classid = 'pg_class'::regclass
  AND dependency.refclassid = 'pg_class'::regclass AND dependency.deptype IN ('a', 'i')
JOIN pg_class owner ON owner.oid = dependency.refobjid
JOIN pg_attribute attribute ON attribute.attrelid = owner.oid AND attribute.attnum = dependency.refobjsubid
WHERE sequence.relkind = 'S' AND owner.relnamespace = current_schema()::regnamespace
"""
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


class PostgreSQLRows:
    """See RowSource and RowTarget."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: Any, revision: str) -> None:
        self._connection = connection
        self._cursors = 0
        self.revision = revision

    async def rows(self, table: TableShape) -> AsyncIterator[Sequence[Row]]:
        """See RowSource.rows."""
        text = f"SELECT {_names(table.columns)} FROM {table.name}"  # noqa: S608 (names of our own tables)
        async for rows in self._batches(text, table.rows_at_once):
            yield rows

    async def blobs(self) -> AsyncIterator[Sequence[Row]]:
        """See RowSource.blobs."""
        async for rows in self._batches(_STORED_BLOBS, BLOBS_AT_ONCE):
            yield rows

    async def _batches(self, text: str, size: int) -> AsyncIterator[Sequence[Row]]:
        # Not asyncpg's cursors: they stay open until the transaction ends, and an open one forbids ALTER TABLE.
        self._cursors += 1
        name = f"rows_{self._cursors}"
        await self._connection.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {text}")
        while records := await self._connection.fetch(f"FETCH {size} FROM {name}"):
            yield [tuple(record) for record in records]
        await self._connection.execute(f"CLOSE {name}")

    async def last_ids(self) -> Mapping[str, int]:
        """See RowSource.last_ids."""
        found = {}
        for owner, _, name in await self._connection.fetch(_SEQUENCES):
            last, called = await self._connection.fetchrow(f'SELECT last_value, is_called FROM "{name}"')  # noqa: S608
            found[owner] = last if called else last - 1
        return found

    async def load(self, table: TableShape, batches: AsyncIterator[Sequence[Row]]) -> None:
        """See RowTarget.load."""

        async def records() -> AsyncIterator[Row]:
            async for rows in batches:
                for row in rows:
                    yield tuple(row)

        await self._connection.copy_records_to_table(table.name, columns=table.columns, records=records())

    async def set_unfinished(self, blob_store: str | None) -> None:
        """See RowTarget.set_unfinished."""
        text = "UPDATE installation SET kind = $1, blob_store = coalesce($2, blob_store)"
        await self._connection.execute(text, COPYING, blob_store)

    async def finish(self, tables: Sequence[TableShape], last_ids: Mapping[str, int]) -> None:
        """See RowTarget.finish. Generated columns and indexes need nothing."""
        for statement in filling_statements(tables, "postgresql"):
            await self._connection.execute(statement)
        await self._connection.execute("ANALYZE")
        for owner, attribute, name in await self._connection.fetch(_SEQUENCES):
            largest = await self._connection.fetchval(f'SELECT max("{attribute}") FROM "{owner}"')  # noqa: S608
            last = max(largest or 0, last_ids.get(owner, 0))
            await self._connection.execute(
                "SELECT setval($1::text::regclass, $2, $3)", f'"{name}"', last or 1, last > 0
            )


@asynccontextmanager
async def postgresql_snapshot(url: str) -> AsyncIterator[PostgreSQLRows]:
    """Open a database as it is now. Raises UnavailableError."""
    async with _connected(url) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        yield PostgreSQLRows(connection, await _revision(connection))


class PostgreSQLExclusive:
    """See ExclusiveDatabase."""

    def __init__(self, connection: Any, revision: str) -> None:
        self._connection = connection
        self.rows = PostgreSQLRows(connection, revision)

    async def set_kind(self, kind: str) -> None:
        """See ExclusiveDatabase.set_kind."""
        await self._connection.execute("UPDATE installation SET kind = $1", kind)
        await self._commit()

    async def set_blob_store(self, marker: str) -> None:
        """See ExclusiveDatabase.set_blob_store."""
        await self._connection.execute("UPDATE installation SET blob_store = $1", marker)
        await self._connection.execute("DELETE FROM uploads")
        await self._commit()

    async def _commit(self) -> None:
        # A server that starts in between finds the change.
        await self._connection.execute("COMMIT")
        await self._connection.execute("BEGIN")


@asynccontextmanager
async def postgresql_exclusive(url: str) -> AsyncIterator[PostgreSQLExclusive]:
    """Open a database that no one else is connected to; a server that starts waits for the end of the block.

    Raises BackupError, UnavailableError.
    """
    async with _connected(url) as connection:
        await connection.execute("BEGIN")
        await connection.execute("LOCK TABLE installation IN ACCESS EXCLUSIVE MODE")
        if others := await connection.fetchval(_OTHERS):
            raise BackupError(
                f"{others} other connections to the database exist",
                "stop all servers, and commands that work on their data, and try again",
            )
        yield PostgreSQLExclusive(connection, await _revision(connection))


@asynccontextmanager
async def postgresql_filling(url: str, tables: Sequence[TableShape]) -> AsyncIterator[PostgreSQLRows]:
    """Empty and fill tables of a database that no server uses; commits if the block succeeds. Raises UnavailableError.

    No trigger runs.
    """
    async with _connected(url) as connection, connection.transaction():
        names = [f'"{table.name}"' for table in tables]
        for name in names:
            await connection.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER")
        await connection.execute(f"TRUNCATE {', '.join(names)}")
        yield PostgreSQLRows(connection, await _revision(connection))
        for name in names:
            await connection.execute(f"ALTER TABLE {name} ENABLE TRIGGER USER")


async def present_revision(url: str) -> str | None:
    """Return the revision of a database's schema; None if it has none. Raises UnavailableError."""
    async with _connected(url) as connection:
        exists = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        return await _revision(connection) if exists else None


async def installation_kind(url: str) -> str | None:
    """Return the kind of the installation in a database, None if there is none. Raises UnavailableError."""
    async with _connected(url) as connection:
        if not await connection.fetchval("SELECT to_regclass('installation') IS NOT NULL"):
            return None
        row = await connection.fetchrow("SELECT kind FROM installation")
        return None if row is None else str(row["kind"] or "hub")


async def set_kind(url: str, kind: str) -> None:
    """Set the kind of the installation in a database. Raises UnavailableError."""
    async with _connected(url) as connection:
        await connection.execute("UPDATE installation SET kind = $1", kind)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    scheme, _, rest = url.partition("://")
    try:
        connection = await asyncpg.connect(f"{scheme.removesuffix('+asyncpg')}://{rest}")
    except ValueError as error:
        # The error's text may contain a part of the password.
        raise UnavailableError("invalid database URL: write postgresql://USER:PASSWORD@HOST:PORT/NAME") from error
    except (OSError, asyncpg.PostgresError) as error:
        raise UnavailableError(f"the database does not respond: {error}") from error
    try:
        yield connection
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
        raise UnavailableError(f"the database stopped responding: {error}") from error
    finally:
        await connection.close()


async def _revision(connection: Any) -> str:
    return str(await connection.fetchval("SELECT version_num FROM alembic_version"))


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
