"""Rows of workers, as they described themselves when they asked for a build."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_workers

MAX_LISTED = 500
"""Maximum number of workers in the list."""

_ID = bindparam("worker_id", type_=build_workers.c.id.type)
_NAMED = select(build_workers).where(build_workers.c.name == bindparam("name"))
_BY_ID = select(build_workers).where(build_workers.c.id == _ID)
_LISTED = select(build_workers).order_by(build_workers.c.seen_at.desc()).limit(MAX_LISTED)
_REMOVE = delete(build_workers).where(build_workers.c.id == _ID)
_REMOVE_UNSEEN = delete(build_workers).where(build_workers.c.seen_at < bindparam("before"))
_SET_DRAINING = update(build_workers).where(build_workers.c.id == _ID).values(draining=bindparam("is_draining"))


class WorkerDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says about itself; an older version sends only its name."""

    name: str
    version: str
    platform: str
    builder: str
    isolation: str
    concurrency: int
    address: str


class WorkerRow(WorkerDescription, frozen=True, kw_only=True):
    """A worker. ``draining``: it gets no more builds."""

    id: int
    first_seen_at: datetime
    seen_at: datetime
    draining: bool


async def named(session: Session, name: str) -> WorkerRow | None:
    """Return the worker with this name."""
    row = await session.row(_NAMED, {"name": name})
    return _worker(row) if row else None


async def by_id(session: Session, worker_id: int) -> WorkerRow | None:
    """Return a worker."""
    row = await session.row(_BY_ID, {"worker_id": worker_id})
    return _worker(row) if row else None


async def listed(session: Session) -> tuple[WorkerRow, ...]:
    """Return the workers, those seen last first."""
    return tuple(_worker(row) for row in await session.rows(_LISTED))


async def put(session: Session, worker: WorkerDescription, now: datetime) -> None:
    """Record a worker that was seen now."""
    values = msgspec.structs.asdict(worker)
    statement = insert(session, build_workers).values(**values, first_seen_at=now, seen_at=now, draining=False)
    await session.run(statement.on_conflict_do_update(index_elements=["name"], set_={**values, "seen_at": now}))


async def set_draining(session: Session, worker_id: int, *, draining: bool) -> None:
    """Let a worker get no more builds, or let it get builds again."""
    await session.run(_SET_DRAINING, {"worker_id": worker_id, "is_draining": draining})


async def remove(session: Session, worker_id: int) -> None:
    """Remove a worker from the list."""
    await session.run(_REMOVE, {"worker_id": worker_id})


async def remove_unseen(session: Session, before: datetime) -> None:
    """Remove the workers that were last seen before then."""
    await session.run(_REMOVE_UNSEEN, {"before": before})


def _worker(row: Row[Any]) -> WorkerRow:
    return msgspec.convert(row, WorkerRow, from_attributes=True)
