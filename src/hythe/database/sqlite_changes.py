"""What was committed to a SQLite file, by any process: see ``changes``."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextvars import Context
from pathlib import Path

from hythe.database.changes import MAX_TOPICS, Changes
from hythe.database.port import UnavailableError
from hythe.database.sqlite_errors import sqlite_errors
from hythe.database.sqlite_file import uri_of

_LAST = "SELECT coalesce(max(position), 0) FROM changes"
_CHANGED = "SELECT position, topic FROM changes WHERE position > ? ORDER BY position LIMIT ?"
_DELETED = "SELECT deleted_to FROM change_horizon"


class SQLiteChanges(Changes):
    """Asks SQLite whether anything was committed, which takes 2 µs, and only then for the changes.

    The connection never writes: for its own commits ``data_version`` would stay the same. SQLite has one writer at a
    time, so the order of the rows is that of the commits.
    """

    def __init__(self, path: Path) -> None:
        """Watch the file at ``path``."""
        super().__init__()
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None
        self._seen = 0
        self._calls: list[Callable[[bool], None]] = []

    async def position(self) -> int:
        """See Changes.position."""
        return self._current()

    def when_known(self, call: Callable[[bool], None]) -> None:
        """See Changes.when_known: requests that arrive in one turn of the event loop share one look."""
        self._calls.append(call)
        if len(self._calls) == 1:
            asyncio.get_running_loop().call_soon(self._make_calls, context=Context())

    def _make_calls(self) -> None:
        calls, self._calls = self._calls, []
        try:
            self._current()
            known = True
        except UnavailableError:
            known = False
        for call in calls:
            call(known)

    def _current(self) -> int:
        connection = self._connection
        with sqlite_errors(self._path):
            if connection is None:
                connection = self._connection = sqlite3.connect(uri_of(self._path), uri=True, isolation_level=None)
            version: int = connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                self._look(connection)
                # Only now: after an error, the next call looks again.
                self._version = version
        return self._position

    def _look(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(_CHANGED, (self._seen, MAX_TOPICS + 1)).fetchall()
        # After the rows: if some were deleted before these were read, this says so.
        horizon = connection.execute(_DELETED).fetchone()
        known = self._version is not None and horizon is not None and horizon[0] <= self._seen
        if known and len(rows) <= MAX_TOPICS:
            self._seen = rows[-1][0] if rows else self._seen
            self.take_over({topic for _, topic in rows})
        else:
            self._seen = connection.execute(_LAST).fetchone()[0]
            self.forget_all()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._version = None
