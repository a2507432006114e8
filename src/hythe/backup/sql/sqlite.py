"""Reads and fills SQLite databases. Statements run in threads."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from hythe.backup.errors import BackupError
from hythe.backup.rows import Row, TableShape, filling_statements, from_sqlite, to_sqlite
from hythe.database.port import Dialect
from hythe.registry.installation import COPYING

BLOBS_AT_ONCE = 2000

_STORED_BLOBS = "SELECT digest, size FROM blobs WHERE quarantined_at IS NULL AND deleting_since IS NULL ORDER BY digest"
_SEARCH_INDEX = re.compile(r"USING\s+fts5\s*\(.*content\s*=\s*'[a-z_]+'", re.IGNORECASE | re.DOTALL)


class SQLiteRows:
    """See RowSource and RowTarget."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.revision: str = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]

    async def rows(self, table: TableShape) -> AsyncIterator[Sequence[Row]]:
        """See RowSource.rows."""
        convert = from_sqlite(table)
        text = f"SELECT {_names(table.columns)} FROM {table.name}"  # noqa: S608 (names of our own tables)
        async for rows in self._batches(text, table.rows_at_once):
            yield convert(rows)

    async def blobs(self) -> AsyncIterator[Sequence[Row]]:
        """See RowSource.blobs."""
        async for rows in self._batches(_STORED_BLOBS, BLOBS_AT_ONCE):
            yield rows

    async def _batches(self, text: str, size: int) -> AsyncIterator[Sequence[Row]]:
        with closing(await asyncio.to_thread(self._connection.execute, text)) as cursor:
            while rows := await asyncio.to_thread(cursor.fetchmany, size):
                yield rows

    async def last_ids(self) -> Mapping[str, int]:
        """See RowSource.last_ids. Other tables continue after their largest id."""
        if not self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
            return {}
        return dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence"))

    async def load(self, table: TableShape, batches: AsyncIterator[Sequence[Row]]) -> None:
        """See RowTarget.load."""
        convert = to_sqlite(table)
        places = ", ".join("?" * len(table.columns))
        text = f"INSERT INTO {table.name} ({_names(table.columns)}) VALUES ({places})"  # noqa: S608
        async for rows in batches:
            await asyncio.to_thread(self._insert, text, convert([tuple(row) for row in rows]))

    def _insert(self, text: str, rows: Sequence[Row]) -> None:
        # A cursor that is deleted in another thread would reset the next statement while that runs.
        self._connection.executemany(text, rows).close()

    async def set_unfinished(self, blob_store: str | None) -> None:
        """See RowTarget.set_unfinished."""
        self._connection.execute(
            "UPDATE installation SET kind = ?, blob_store = coalesce(?, blob_store)", (COPYING, blob_store)
        )

    async def finish(self, tables: Sequence[TableShape], last_ids: Mapping[str, int]) -> None:
        """See RowTarget.finish."""
        await asyncio.to_thread(self._finish, tables, last_ids)

    def _finish(self, tables: Sequence[TableShape], last_ids: Mapping[str, int]) -> None:
        known = {table.name for table in tables}
        stored = self._connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
        for name, text in stored:
            if _SEARCH_INDEX.search(text or ""):
                self._connection.execute(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")  # noqa: S608
            if name in known and name in last_ids and "AUTOINCREMENT" in (text or ""):
                self._connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                self._connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, last_ids[name]))
        for statement in filling_statements(tables, "sqlite"):
            self._connection.execute(statement)
        wrong = self._connection.execute("PRAGMA foreign_key_check").fetchone()
        if wrong is not None:
            raise BackupError(f"a row of {wrong[0]} refers to a missing row of {wrong[2]}")


@asynccontextmanager
async def sqlite_snapshot(path: Path) -> AsyncIterator[SQLiteRows]:
    """Open a database as it is now. Until the block ends its write-ahead log grows with what others write."""
    with closing(_connected(f"{path.absolute().as_uri()}?mode=ro")) as connection:
        connection.execute("BEGIN")
        yield SQLiteRows(connection)


class SQLiteExclusive:
    """See ExclusiveDatabase."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.rows = SQLiteRows(connection)

    async def set_kind(self, kind: str) -> None:
        """See ExclusiveDatabase.set_kind."""
        self._run(("UPDATE installation SET kind = ?", (kind,)))

    async def set_blob_store(self, marker: str) -> None:
        """See ExclusiveDatabase.set_blob_store."""
        self._run(("UPDATE installation SET blob_store = ?", (marker,)), ("DELETE FROM uploads", ()))

    def _run(self, *statements: tuple[str, tuple[str, ...]]) -> None:
        for text, values in statements:
            self._connection.execute(text, values)
        # The lock stays until the connection is closed.
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN EXCLUSIVE")


@asynccontextmanager
async def sqlite_exclusive(path: Path) -> AsyncIterator[SQLiteExclusive]:
    """Open a database that no other process has open, or can open until the block ends. Raises BackupError."""
    with closing(_connected(f"{path.absolute().as_uri()}?mode=rw")) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise BackupError(
                f"another process uses {path}", "stop the server, and commands that work on its data, and try again"
            ) from error
        yield SQLiteExclusive(connection)


@asynccontextmanager
async def sqlite_filling(path: Path, tables: Sequence[TableShape]) -> AsyncIterator[SQLiteRows]:
    """Empty and fill tables of a database that no other process uses; commits and syncs if the block succeeds.

    No trigger runs.
    """
    with closing(_connected(f"{path.absolute().as_uri()}?mode=rw")) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("BEGIN IMMEDIATE")
        triggers = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for table in tables:
            connection.execute(f"DELETE FROM {table.name}")  # noqa: S608
        yield SQLiteRows(connection)
        for text in triggers.values():
            connection.execute(text)
        await asyncio.to_thread(connection.execute, "COMMIT")
        await asyncio.to_thread(connection.execute, "PRAGMA wal_checkpoint(TRUNCATE)")


def _connected(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)
