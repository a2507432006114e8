"""Deletes old rows of ``changes``: a server that did not look for so long forgets everything that it has cached.

``change_horizon`` has one row: rows up to ``deleted_to`` were deleted, and those up to ``next`` will be, once they are
older than RETENTION. On PostgreSQL, a position is the oldest transaction that was running, which is not included.
"""

from sqlalchemy import text

from hythe.database.pacing import paced
from hythe.database.port import Database, Dialect
from hythe.periodic import repeat

RETENTION = 300
"""Seconds for which a row is kept at least."""

INTERVAL = 60.0
"""Seconds between two looks for old rows."""

STEP_ROWS: dict[Dialect, int] = {"sqlite": 500, "postgresql": 10_000}
"""Rows that one transaction deletes: SQLite's block the event loop."""

_ADVANCE = {
    "sqlite": text(
        "UPDATE change_horizon SET deleted_to = next, next = (SELECT coalesce(max(position), 0) FROM changes), "
        "noted_at = strftime('%s', 'now') "
        "WHERE abs(strftime('%s', 'now') - noted_at) >= :retention"
    ),
    # After a copy from another server, whose transactions had other numbers, ``next`` may be in the future.
    "postgresql": text(
        "UPDATE change_horizon SET deleted_to = least(next, pg_snapshot_xmin(pg_current_snapshot())), "
        "next = pg_snapshot_xmin(pg_current_snapshot()), noted_at = now() "
        "WHERE noted_at NOT BETWEEN now() - make_interval(secs => :retention) AND now() + interval '1 minute'"
    ),
}
_DELETE = {
    "sqlite": text(
        "DELETE FROM changes WHERE position IN (SELECT position FROM changes "
        "WHERE position <= (SELECT deleted_to FROM change_horizon) ORDER BY position LIMIT :rows)"
    ),
    # Those of the future, too: transactions that were committed are older than the snapshot's end.
    "postgresql": text(
        "DELETE FROM changes WHERE (position, topic) IN (SELECT position, topic FROM changes "
        "WHERE position < (SELECT deleted_to FROM change_horizon) "
        "OR position >= pg_snapshot_xmax(pg_current_snapshot()) LIMIT :rows)"
    ),
}


class ChangeRetention:
    """Deletes old rows in small steps."""

    def __init__(self, database: Database, retention: int = RETENTION) -> None:
        self._database = paced(database)
        self._dialect: Dialect = database.dialect
        self._retention = retention

    async def run(self) -> None:
        """Delete old rows until cancelled."""
        await repeat(self.delete_old, INTERVAL, "expiry of noted changes")

    async def delete_old(self) -> None:
        """Delete the rows that are old enough. Raises UnavailableError."""
        async with self._database.writing(durable=False) as session:
            if not await session.run(_ADVANCE[self._dialect], {"retention": self._retention}):
                return
        rows = deleted = STEP_ROWS[self._dialect]
        while deleted == rows:
            async with self._database.writing(durable=False) as session:
                deleted = await session.run(_DELETE[self._dialect], {"rows": rows})
