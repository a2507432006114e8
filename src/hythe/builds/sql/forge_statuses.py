"""Rows of the outbox of commit statuses: one a build, which says what is to be said of it now."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import builds
from hythe.database.tables.forges import forge_statuses
from hythe.forges.port import CommitStatus


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A status to be sent; ``version`` counts what was to be said of the build."""

    build_id: int
    linked_account_id: int
    forge_repository: str
    status: CommitStatus
    version: int
    attempts: int


class Sent(msgspec.Struct, frozen=True):
    """How it went; ``due_at`` None: it is over."""

    attempts: int
    due_at: datetime | None
    outcome: str


async def put(session: Session, outgoing: Outgoing, now: datetime) -> None:
    """Write what is to be said of a build now, in the place of what was; the same is not said twice."""
    values = {
        "linked_account_id": outgoing.linked_account_id,
        "forge_repository": outgoing.forge_repository,
        "status": msgspec.json.encode(outgoing.status).decode(),
        "attempts": 0,
        "due_at": now,
        "outcome": "",
    }
    statement = insert(session, forge_statuses).values(build_id=outgoing.build_id, version=1, **values)
    newer = values | {"version": forge_statuses.c.version + 1}
    differs = forge_statuses.c.status != values["status"]
    await session.run(statement.on_conflict_do_update(index_elements=["build_id"], set_=newer, where=differs))


async def due(session: Session, now: datetime) -> list[Outgoing]:
    """Return what is to be sent now, in the order of the builds."""
    rows = await session.rows(
        select(forge_statuses).where(forge_statuses.c.due_at <= now).order_by(forge_statuses.c.build_id).limit(50)
    )
    return [_outgoing(row) for row in rows]


async def claim(session: Session, outgoing: Outgoing, now: datetime, until: datetime) -> bool:
    """Keep other servers from sending this until ``until``; returns False when another was first."""
    where = (
        forge_statuses.c.build_id == outgoing.build_id,
        forge_statuses.c.version == outgoing.version,
        forge_statuses.c.due_at <= now,
    )
    return bool(await session.run(update(forge_statuses).where(*where).values(due_at=until)))


async def settle(session: Session, outgoing: Outgoing, sent: Sent, now: datetime) -> None:
    """Write how it went; where something newer is to be said by now, say that again.

    Another server may have said it while this one was still at it, and the forge believes what comes last.
    """
    of_build = update(forge_statuses).where(forge_statuses.c.build_id == outgoing.build_id)
    values = {"attempts": sent.attempts, "due_at": sent.due_at, "outcome": sent.outcome[:500]}
    if not await session.run(of_build.where(forge_statuses.c.version == outgoing.version).values(values)):
        await session.run(of_build.values(due_at=now))


async def any_untried(session: Session, configuration_id: int) -> bool:
    """Whether something is to be said of a set-up's builds that nobody has tried to say yet."""
    untried = (forge_statuses.c.due_at.is_not(None), forge_statuses.c.attempts == 0)
    joined = forge_statuses.join(builds, forge_statuses.c.build_id == builds.c.id)
    statement = (
        select(forge_statuses.c.build_id)
        .select_from(joined)
        .where(builds.c.configuration_id == configuration_id, *untried)
    )
    return await session.row(statement.limit(1)) is not None


def _outgoing(row: Row[Any]) -> Outgoing:
    return Outgoing(
        build_id=row.build_id,
        linked_account_id=row.linked_account_id,
        forge_repository=row.forge_repository,
        status=msgspec.json.decode(row.status, type=CommitStatus),
        version=row.version,
        attempts=row.attempts,
    )
