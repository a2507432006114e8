"""SQL of the outbox of commit statuses: one row per build, with the status to send."""

from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Row, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import builds
from hythe.database.tables.forges import forge_statuses
from hythe.forges.port import CommitStatus

BATCH_SIZE = 50


class QueuedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A status to send; ``version`` counts the statuses of the build."""

    build_id: int
    linked_account_id: int
    forge_repository: str
    status: CommitStatus
    version: int
    attempts: int


class SendResult(msgspec.Struct, frozen=True):
    """The result of an attempt; ``due_at`` None: no further attempt."""

    attempts: int
    due_at: datetime | None
    outcome: str


async def put(session: Session, queued: QueuedStatus, now: datetime) -> None:
    """Replace the build's status; an unchanged status is not sent again."""
    values = {
        "linked_account_id": queued.linked_account_id,
        "forge_repository": queued.forge_repository,
        "status": msgspec.json.encode(queued.status).decode(),
        "attempts": 0,
        "due_at": now,
        "outcome": "",
    }
    statement = insert(session, forge_statuses).values(build_id=queued.build_id, version=1, **values)
    newer = values | {"version": forge_statuses.c.version + 1}
    differs = forge_statuses.c.status != values["status"]
    await session.run(statement.on_conflict_do_update(index_elements=["build_id"], set_=newer, where=differs))


async def due(session: Session, now: datetime) -> list[QueuedStatus]:
    """Return some statuses to send now, in the order of the builds."""
    statement = select(forge_statuses).where(forge_statuses.c.due_at <= now)
    rows = await session.rows(statement.order_by(forge_statuses.c.due_at).limit(BATCH_SIZE))
    return [_queued(row) for row in sorted(rows, key=attrgetter("build_id"))]


async def claim(session: Session, queued: QueuedStatus, now: datetime, until: datetime) -> bool:
    """Reserve a status for this server until ``until``; return False if another server was first."""
    where = (
        forge_statuses.c.build_id == queued.build_id,
        forge_statuses.c.version == queued.version,
        forge_statuses.c.due_at <= now,
    )
    return bool(await session.run(update(forge_statuses).where(*where).values(due_at=until)))


async def settle(session: Session, queued: QueuedStatus, result: SendResult, now: datetime) -> None:
    """Store the result of an attempt. If the status has changed since, send the new one again.

    Another server may have sent the new status during the attempt, and the forge keeps the last one it receives.
    """
    of_build = update(forge_statuses).where(forge_statuses.c.build_id == queued.build_id)
    values = {"attempts": result.attempts, "due_at": result.due_at, "outcome": result.outcome[:500]}
    if not await session.run(of_build.where(forge_statuses.c.version == queued.version).values(values)):
        await session.run(of_build.values(due_at=now))


async def has_unsent(session: Session, configuration_id: int) -> bool:
    """Whether the configuration's builds have a status that was not attempted yet."""
    unsent = (forge_statuses.c.due_at.is_not(None), forge_statuses.c.attempts == 0)
    joined = forge_statuses.join(builds, forge_statuses.c.build_id == builds.c.id)
    statement = (
        select(forge_statuses.c.build_id)
        .select_from(joined)
        .where(builds.c.configuration_id == configuration_id, *unsent)
    )
    return await session.row(statement.limit(1)) is not None


def _queued(row: Row[Any]) -> QueuedStatus:
    return QueuedStatus(
        build_id=row.build_id,
        linked_account_id=row.linked_account_id,
        forge_repository=row.forge_repository,
        status=msgspec.json.decode(row.status, type=CommitStatus),
        version=row.version,
        attempts=row.attempts,
    )
