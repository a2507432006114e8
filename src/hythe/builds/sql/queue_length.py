"""How many builds wait and run, and since when: for metrics."""

from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, String, func, literal_column, select

from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.database.tables.builds import builds

MAX_COUNTED = 100_000
"""Builds of each kind that are counted."""

# As the index ix_builds_waiting says it: SQLite uses that only for the same words, without parameters.
_QUEUED: ColumnElement[str] = literal_column(f"'{BuildStatus.QUEUED.value}'", String)
_RUNNING: ColumnElement[str] = literal_column(f"'{BuildStatus.RUNNING.value}'", String)
_UNFINISHED = builds.c.status.in_([_QUEUED, _RUNNING])
_queued = select(builds.c.id).where(_UNFINISHED, builds.c.status == _QUEUED).limit(MAX_COUNTED).subquery("queued")
_running = select(builds.c.id).where(_UNFINISHED, builds.c.status == _RUNNING).limit(MAX_COUNTED).subquery("running")
_oldest = select(func.min(builds.c.id)).where(_UNFINISHED, builds.c.status == _QUEUED).scalar_subquery()
_LENGTH = select(
    select(func.count()).select_from(_queued).scalar_subquery().label("queued"),
    select(func.count()).select_from(_running).scalar_subquery().label("running"),
    select(builds.c.created_at).where(builds.c.id == _oldest).scalar_subquery().label("oldest"),
)


class QueueLength(msgspec.Struct, frozen=True):
    """Queued and running builds; ``oldest``: when the build was queued that waits for longest."""

    queued: int
    running: int
    oldest: datetime | None


async def queue_length(session: Session) -> QueueLength:
    """Count the builds that have not ended."""
    row = await session.row(_LENGTH)
    return QueueLength(row.queued, row.running, row.oldest) if row else QueueLength(0, 0, None)
