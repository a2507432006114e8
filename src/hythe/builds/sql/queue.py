"""The SQL of the queue. Every change to a running build checks its fence."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    select,
    text,
    update,
)

from hythe.builds.sql.builds import end
from hythe.builds.status import BuildStatus
from hythe.database import Session
from hythe.database.tables.builds import build_workers, builds
from hythe.database.tables.hub import users
from hythe.worker.protocol import BuildResult, BuildStep

CLAIM_LOCK = 0x6275696C
"""PostgreSQL's advisory lock for claims, so that limits per account hold on all servers together."""

_QUEUED = BuildStatus.QUEUED.value
_RUNNING = BuildStatus.RUNNING.value
# As the index ix_builds_waiting says it: SQLite uses that only for the same words, without parameters.
_UNFINISHED = builds.c.status.in_([literal_column(f"'{_QUEUED}'"), literal_column(f"'{_RUNNING}'")])

# As the index ix_builds_queued says it.
_IS_QUEUED = builds.c.status == literal_column(f"'{_QUEUED}'")
_RUNNING_BY_ACCOUNT = (
    select(builds.c.account, func.count().label("running"))
    .where(_UNFINISHED, builds.c.status == _RUNNING)
    .group_by(builds.c.account)
)
_CANDIDATE = (builds.c.id, builds.c.fence, builds.c.status, builds.c.account, builds.c.cancelled_by)


def _least(column: Column[Any], *where: ColumnElement[bool]) -> ScalarSelect[Any]:
    """Return the least value of a column among queued builds, which the index ix_builds_queued has."""
    return select(func.min(column)).where(_IS_QUEUED, *where).correlate_except(builds).scalar_subquery()


def _start_order() -> Select[Any]:
    """Walk the index of queued builds from each account to the next, and in each to the build of the last turn."""
    accounts = select(_least(builds.c.account).label("account")).cte("accounts", recursive=True)
    following = _least(builds.c.account, builds.c.account > accounts.c.account)
    accounts = accounts.union_all(select(following).where(accounts.c.account.is_not(None)))
    held = _RUNNING_BY_ACCOUNT.subquery("held")
    turns = (
        select(
            accounts.c.account,
            _least(builds.c.id, builds.c.account == accounts.c.account).label("id"),
            func.coalesce(held.c.running, 0).label("turn"),
        )
        .select_from(accounts.outerjoin(held, held.c.account == accounts.c.account))
        .where(accounts.c.account.is_not(None))
        .cte("turns", recursive=True)
    )
    later = _least(builds.c.id, builds.c.account == turns.c.account, builds.c.id > turns.c.id)
    turns = turns.union_all(
        select(turns.c.account, later, turns.c.turn + 1).where(
            turns.c.id.is_not(None), turns.c.turn < bindparam("last_turn")
        )
    )
    reached = select(turns.c.id, turns.c.turn).where(turns.c.id.is_not(None), turns.c.turn <= bindparam("last_turn"))
    front = reached.limit(bindparam("at_most")).subquery("front")
    return (
        select(front.c.turn, builds.c.id, builds.c.account, builds.c.configuration_id, builds.c.concurrency_key)
        .join_from(front, builds, builds.c.id == front.c.id)
        .order_by(front.c.turn, front.c.id)
        .limit(bindparam("first"))
    )


_START_ORDER = _start_order()


class Lease(msgspec.Struct, frozen=True):
    """A worker's lease of a build: the digest of its key, and ``fence``, the number of the claim."""

    build_id: int
    fence: int
    key_digest: str


class LeaseState(msgspec.Struct, frozen=True):
    """The state of a build that its worker needs to know."""

    cancelled_by: str
    lease_until: datetime
    log_size: int


class WaitingBuild(msgspec.Struct, frozen=True):
    """A queued build.

    ``turn`` is how many builds its account runs and will have started before it: builds should start in the order of
    their turns, and those of the same turn in the order in which they were queued. So accounts take turns.
    """

    turn: int
    build_id: int
    account: str
    configuration_id: int
    concurrency_key: str

    @property
    def key(self) -> tuple[int, int]:
        """The sort key of the order in which builds should start."""
        return self.turn, self.build_id


class Candidate(msgspec.Struct, frozen=True):
    """The build that a worker should get next: a queued one, or a running one whose worker was lost."""

    build_id: int
    fence: int
    status: BuildStatus
    account: str
    cancelled_by: str


class LeasedBuild(msgspec.Struct, frozen=True):
    """A running build, with its worker and the end of its lease."""

    build_id: int
    account: str
    concurrency_key: str
    worker: str
    lease_until: datetime


async def lock_claims(session: Session) -> None:
    """Block other claims until this transaction ends."""
    if session.dialect == "postgresql":
        await session.run(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})


async def candidate(session: Session, now: datetime, per_account: int, attempts: int) -> Candidate | None:
    """Return the next build, None if no build can start.

    A build whose worker was lost comes first, and of these one that is not started again: it was cancelled, or has had
    all its ``attempts``. Otherwise a build can start if no other with its concurrency key is
    running and its account is not blocked and below its limit; the account with the fewest running builds comes first,
    then the build that has waited longest.
    """
    ends = (builds.c.cancelled_by != "") | (builds.c.fence >= attempts)
    lost = await session.row(
        select(*_CANDIDATE)
        .where(_UNFINISHED, builds.c.status == _RUNNING, builds.c.lease_until < now)
        .order_by(case((ends, 0), else_=1), builds.c.id)
        .limit(1)
    )
    if lost is not None:
        return _candidate(lost)
    held_by = _RUNNING_BY_ACCOUNT.subquery("held")
    other = builds.alias("other")
    busy = (
        select(other.c.id)
        .where(other.c.concurrency_key == builds.c.concurrency_key, other.c.status == _RUNNING)
        .exists()
    )
    blocked = select(1).where(users.c.name == builds.c.account, users.c.blocked_at.is_not(None)).exists()
    running = func.coalesce(held_by.c.running, 0)
    statement = (
        select(*_CANDIDATE)
        .select_from(builds.outerjoin(held_by, held_by.c.account == builds.c.account))
        .where(_UNFINISHED, builds.c.status == _QUEUED, ~busy, ~blocked)
        .order_by(running, builds.c.id)
        .limit(1)
    )
    if per_account:
        statement = statement.where(running < per_account)
    row = await session.row(statement)
    return _candidate(row) if row else None


def _candidate(row: Row[Any]) -> Candidate:
    return Candidate(row.id, row.fence, BuildStatus(row.status), row.account, row.cancelled_by)


async def take(session: Session, lease: Lease, worker: str, now: datetime, until: datetime) -> bool:
    """Claim a build by compare-and-swap on its fence; return whether it succeeded."""
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
    """Return the state of a leased build, None if the lease was lost."""
    columns = select(builds.c.cancelled_by, builds.c.lease_until, builds.c.log_size)
    row = await session.row(columns.where(_held(lease)))
    return LeaseState(row.cancelled_by, row.lease_until, row.log_size) if row else None


async def extend(session: Session, lease: Lease, until: datetime) -> bool:
    """Extend a lease."""
    return bool(await session.run(update(builds).where(_held(lease)).values(lease_until=until)))


async def set_steps(session: Session, lease: Lease, steps: tuple[BuildStep, ...]) -> bool:
    """Record the steps so far."""
    return bool(await session.run(update(builds).where(_held(lease)).values(steps=_json(steps))))


async def set_log_size(session: Session, lease: Lease, size: int) -> bool:
    """Record the size of the log."""
    return bool(await session.run(update(builds).where(_held(lease)).values(log_size=size)))


async def set_commit(session: Session, lease: Lease, commit: str, message: str, author: str) -> bool:
    """Record the commit of the checkout."""
    values = {"commit": commit, "message": message, "author": author}
    return bool(await session.run(update(builds).where(_held(lease)).values(values)))


async def set_tags(session: Session, lease: Lease, tags: tuple[str, ...]) -> bool:
    """Record the Docker tags of the build."""
    return bool(await session.run(update(builds).where(_held(lease)).values(tags=_json(tags))))


async def finish(
    session: Session, lease: Lease, status: BuildStatus, reason: str, digest: str, result: BuildResult, now: datetime
) -> bool:
    """End a leased build; return False if the lease was lost."""
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
    """Mark a build as failed because its workers were lost too often."""
    where = (builds.c.id == build_id, builds.c.fence == fence, builds.c.status == _RUNNING)
    values = {
        "status": BuildStatus.FAILED.value,
        "reason": reason,
        "finished_at": now,
        "key_digest": "",
        "lease_until": None,
    }
    return bool(await session.run(update(builds).where(*where).values(values)))


async def refuse(session: Session, account: str, reason: str, now: datetime) -> list[int]:
    """Mark the queued builds of an account as failed; return their ids."""
    queued = (builds.c.account == account, builds.c.status == _QUEUED)
    return await end(session, *queued, status=BuildStatus.FAILED.value, reason=reason, finished_at=now)


async def cancel(session: Session, build_id: int, by: str, now: datetime) -> BuildStatus | None:
    """Cancel a queued build, or request that a running one stops; return its status, None if it has finished."""
    waiting = update(builds).where(builds.c.id == build_id, builds.c.status == _QUEUED)
    reason = f"cancelled by {by}"
    values = {"status": BuildStatus.CANCELLED.value, "cancelled_by": by, "finished_at": now, "reason": reason}
    if await session.run(waiting.values(values)):
        return BuildStatus.QUEUED
    running = update(builds).where(builds.c.id == build_id, builds.c.status == _RUNNING)
    return BuildStatus.RUNNING if await session.run(running.values(cancelled_by=by)) else None


async def end_all(session: Session, configuration_id: int, by: str, now: datetime) -> list[int]:
    """Cancel every unfinished build of a configuration, including leased ones; return their ids."""
    return await _end_unfinished(session, builds.c.configuration_id == configuration_id, by, now)


async def end_account(session: Session, account: str, by: str, now: datetime) -> list[int]:
    """Cancel every unfinished build of an account, including leased ones; return their ids."""
    return await _end_unfinished(session, builds.c.account == account, by, now)


async def _end_unfinished(session: Session, where: ColumnElement[bool], by: str, now: datetime) -> list[int]:
    return await end(
        session,
        where,
        _UNFINISHED,
        status=BuildStatus.CANCELLED.value,
        cancelled_by=by,
        reason=f"cancelled by {by}",
        finished_at=now,
        key_digest="",
        lease_until=None,
    )


async def unfinished(session: Session, configuration_id: int) -> list[int]:
    """Return the ids of a configuration's unfinished builds."""
    rows = await session.rows(
        select(builds.c.id).where(builds.c.configuration_id == configuration_id, _UNFINISHED).order_by(builds.c.id)
    )
    return [row.id for row in rows]


async def has_unfinished(session: Session) -> bool:
    """Whether any build is queued or running."""
    return await session.row(select(builds.c.id).where(_UNFINISHED).limit(1)) is not None


async def waiting(session: Session, last_turn: int, at_most: int, first: int | None = None) -> list[WaitingBuild]:
    """Return the queued builds up to a turn, or the ``first`` of them, in the order in which they should start.

    The cost grows with these builds and with the accounts that have queued ones. If there are more than ``at_most``,
    builds that were queued long after others of their account are missing.
    """
    limits = {"last_turn": last_turn, "at_most": at_most, "first": at_most if first is None else first}
    rows = await session.rows(_START_ORDER, limits)
    return [WaitingBuild(row.turn, row.id, row.account, row.configuration_id, row.concurrency_key) for row in rows]


async def count_waiting(session: Session, at_most: int, account: str = "", before: int = 0) -> int:
    """Count queued builds, up to ``at_most``; with ``account``, only its builds that were queued ``before`` one."""
    where = (_IS_QUEUED, builds.c.account == account, builds.c.id < before) if account else (_IS_QUEUED,)
    counted = select(builds.c.id).where(*where).limit(at_most).subquery("counted")
    row = await session.row(select(func.count()).select_from(counted))
    return int(row[0]) if row else 0


async def leased(session: Session, limit: int) -> list[LeasedBuild]:
    """Return running builds, oldest first."""
    columns = select(
        builds.c.id, builds.c.account, builds.c.concurrency_key, builds.c.worker, builds.c.lease_until
    ).where(_UNFINISHED, builds.c.status == _RUNNING, builds.c.lease_until.is_not(None))
    rows = await session.rows(columns.order_by(builds.c.id).limit(limit))
    return [LeasedBuild(row.id, row.account, row.concurrency_key, row.worker, row.lease_until) for row in rows]


async def drains(session: Session, worker: str) -> bool:
    """Return whether the worker with this name gets no more builds."""
    where = (build_workers.c.name == worker, build_workers.c.draining.is_(True))
    return await session.row(select(build_workers.c.id).where(*where)) is not None


async def running_by_account(session: Session) -> dict[str, int]:
    """Return the number of running builds of each account."""
    return {row.account: row.running for row in await session.rows(_RUNNING_BY_ACCOUNT)}


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
