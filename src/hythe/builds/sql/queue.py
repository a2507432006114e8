"""The queue's SQL: claims, leases, ends. Every change of a running build names its fence."""

from datetime import datetime

import msgspec
from sqlalchemy import ColumnElement, and_, func, literal, or_, select, text, update

from hythe.builds.build import Result, Step
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.database.tables.builds import builds

CLAIM_LOCK = 0x6275696C
"""PostgreSQL's advisory lock under which a build is picked: limits per account hold over all hosts."""

_QUEUED = BuildStatus.QUEUED.value
_RUNNING = BuildStatus.RUNNING.value


class Lease(msgspec.Struct, frozen=True):
    """A worker's hold on a build: ``key`` is what it shows, ``fence`` which claim of the build it is."""

    build_id: int
    fence: int
    key_digest: str


class LeaseState(msgspec.Struct, frozen=True):
    """What a row says to the worker that holds it."""

    cancelled_by: str
    lease_until: datetime
    log_size: int


class WaitingBuild(msgspec.Struct, frozen=True):
    """A build that waits, as far as its place depends on it."""

    build_id: int
    account: str
    configuration_id: int


async def lock_claims(session: Session) -> None:
    """Let nobody else pick a build until this transaction ends."""
    if session.dialect == "postgresql":
        await session.run(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})


async def candidate(session: Session, now: datetime, per_account: int) -> tuple[int, int, str] | None:
    """Return (id, fence, status) of the build that is next, None when nothing can start.

    A build can start when no other of its concurrency_key is running and its account is below its limit. The account with the
    fewest running builds comes first, then the build that waited longest; one whose worker is lost comes before.
    """
    lost = await session.row(
        select(builds.c.id, builds.c.fence, builds.c.status)
        .where(builds.c.status == _RUNNING, builds.c.lease_until < now)
        .order_by(builds.c.id)
        .limit(1)
    )
    if lost is not None:
        return lost.id, lost.fence, lost.status
    held = select(builds.c.account, func.count().label("running")).where(builds.c.status == _RUNNING)
    held_by = held.group_by(builds.c.account).subquery("held")
    other = builds.alias("other")
    busy = (
        select(other.c.id)
        .where(other.c.concurrency_key == builds.c.concurrency_key, other.c.status == _RUNNING)
        .exists()
    )
    running = func.coalesce(held_by.c.running, 0)
    statement = (
        select(builds.c.id, builds.c.fence, builds.c.status)
        .select_from(builds.outerjoin(held_by, held_by.c.account == builds.c.account))
        .where(builds.c.status == _QUEUED, ~busy)
        .order_by(running, builds.c.id)
        .limit(1)
    )
    if per_account:
        statement = statement.where(running < per_account)
    row = await session.row(statement)
    return (row.id, row.fence, row.status) if row else None


async def take(session: Session, lease: Lease, worker: str, now: datetime, until: datetime) -> bool:
    """Claim a build whose fence is still the one before the lease's, by compare-and-swap; returns whether it worked."""
    started = func.coalesce(builds.c.started_at, literal(now, builds.c.started_at.type))
    return bool(
        await session.run(
            update(builds)
            .where(
                builds.c.id == lease.build_id,
                builds.c.fence == lease.fence - 1,
                builds.c.status.in_((_QUEUED, _RUNNING)),
            )
            .values(
                status=_RUNNING,
                fence=lease.fence,
                key_digest=lease.key_digest,
                worker=worker,
                lease_until=until,
                started_at=started,
                steps="[]",
            )
        )
    )


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        builds.c.id == lease.build_id,
        builds.c.fence == lease.fence,
        builds.c.key_digest == lease.key_digest,
        builds.c.status == _RUNNING,
    )


async def held(session: Session, lease: Lease) -> LeaseState | None:
    """Return what the row says, None when the lease is lost."""
    columns = select(builds.c.cancelled_by, builds.c.lease_until, builds.c.log_size)
    row = await session.row(columns.where(_held(lease)))
    return LeaseState(row.cancelled_by, row.lease_until, row.log_size) if row else None


async def extend(session: Session, lease: Lease, until: datetime) -> bool:
    """Move the lease's end."""
    return bool(await session.run(update(builds).where(_held(lease)).values(lease_until=until)))


async def set_steps(session: Session, lease: Lease, steps: tuple[Step, ...]) -> bool:
    """Write the steps so far."""
    return bool(await session.run(update(builds).where(_held(lease)).values(steps=_json(steps))))


async def set_log_size(session: Session, lease: Lease, size: int) -> bool:
    """Write how long the log is."""
    return bool(await session.run(update(builds).where(_held(lease)).values(log_size=size)))


async def set_commit(session: Session, lease: Lease, commit: str, message: str, author: str) -> bool:
    """Write which commit the checkout found, where none was known before."""
    values = {"commit": commit, "message": message, "author": author}
    return bool(await session.run(update(builds).where(_held(lease)).values(values)))


async def set_tags(session: Session, lease: Lease, tags: tuple[str, ...]) -> bool:
    """Write which Docker tags the build gets."""
    return bool(await session.run(update(builds).where(_held(lease)).values(tags=_json(tags))))


async def finish(
    session: Session, lease: Lease, status: BuildStatus, reason: str, digest: str, result: Result, now: datetime
) -> bool:
    """End a build that this lease holds; returns False when it does not hold it any more."""
    return bool(
        await session.run(
            update(builds)
            .where(_held(lease))
            .values(
                status=status.value,
                reason=reason,
                digest=digest,
                result=_json(result),
                finished_at=now,
                lease_until=None,
                key_digest="",
            )
        )
    )


async def give_up(session: Session, build_id: int, fence: int, reason: str, now: datetime) -> bool:
    """End as failed a build whose workers were lost too often."""
    where = (builds.c.id == build_id, builds.c.fence == fence, builds.c.status == _RUNNING)
    values = {
        "status": BuildStatus.FAILED.value,
        "reason": reason,
        "finished_at": now,
        "key_digest": "",
        "lease_until": None,
    }
    return bool(await session.run(update(builds).where(*where).values(values)))


async def cancel(session: Session, build_id: int, by: str, now: datetime) -> BuildStatus | None:
    """Cancel a waiting build, or ask a running one to stop; returns the status it had, None when it was over."""
    waiting = update(builds).where(builds.c.id == build_id, builds.c.status == _QUEUED)
    reason = f"cancelled by {by}"
    values = {"status": BuildStatus.CANCELLED.value, "cancelled_by": by, "finished_at": now, "reason": reason}
    if await session.run(waiting.values(values)):
        return BuildStatus.QUEUED
    running = update(builds).where(builds.c.id == build_id, builds.c.status == _RUNNING)
    return BuildStatus.RUNNING if await session.run(running.values(cancelled_by=by)) else None


async def end_all(session: Session, configuration_id: int, by: str, now: datetime) -> list[int]:
    """End as cancelled every build of a set-up that waits or runs, whoever holds it; returns their ids."""
    wanted = or_(builds.c.status == _QUEUED, builds.c.status == _RUNNING)
    values = {
        "status": BuildStatus.CANCELLED.value,
        "cancelled_by": by,
        "reason": f"cancelled by {by}",
        "finished_at": now,
        "key_digest": "",
        "lease_until": None,
    }
    ended = (
        update(builds)
        .where(builds.c.configuration_id == configuration_id, wanted)
        .values(values)
        .returning(builds.c.id)
    )
    return sorted(row.id for row in await session.rows(ended))


async def unfinished(session: Session, configuration_id: int) -> list[int]:
    """Return the ids of a set-up's builds that wait or run."""
    wanted = or_(builds.c.status == _QUEUED, builds.c.status == _RUNNING)
    rows = await session.rows(
        select(builds.c.id).where(builds.c.configuration_id == configuration_id, wanted).order_by(builds.c.id)
    )
    return [row.id for row in rows]


async def any_waiting(session: Session) -> bool:
    """Whether any build waits or runs."""
    wanted = or_(builds.c.status == _QUEUED, builds.c.status == _RUNNING)
    return await session.row(select(builds.c.id).where(wanted).limit(1)) is not None


async def waiting(session: Session, most: int) -> list[WaitingBuild]:
    """Return the builds that wait, the oldest first, at most so many."""
    columns = select(builds.c.id, builds.c.account, builds.c.configuration_id).where(builds.c.status == _QUEUED)
    rows = await session.rows(columns.order_by(builds.c.id).limit(most))
    return [WaitingBuild(row.id, row.account, row.configuration_id) for row in rows]


async def running_by_account(session: Session) -> dict[str, int]:
    """Return how many builds of each account are running."""
    statement = select(builds.c.account, func.count().label("running")).where(builds.c.status == _RUNNING)
    return {row.account: row.running for row in await session.rows(statement.group_by(builds.c.account))}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
