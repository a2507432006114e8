"""Patterns of names that no new account, organization or repository may take, in the database."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, func, select

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.administration import blocked_names

_ALL = select(blocked_names).order_by(blocked_names.c.pattern)
_MATCHING = (
    select(blocked_names.c.reason)
    .where(bindparam("name", type_=blocked_names.c.pattern.type).like(blocked_names.c.like_pattern, escape="\\"))
    .limit(1)
)
_REMOVE = delete(blocked_names).where(blocked_names.c.pattern == bindparam("pattern"))
_COUNT = select(func.count()).select_from(blocked_names)


class BlockedName(msgspec.Struct, frozen=True):
    """A blocked pattern: ``*`` stands for any text."""

    pattern: str
    reason: str
    blocked_by: str
    blocked_at: datetime


async def listed(session: Session) -> tuple[BlockedName, ...]:
    """Return all patterns; they are few."""
    rows = await session.rows(_ALL)
    return tuple(BlockedName(row.pattern, row.reason, row.blocked_by, row.blocked_at) for row in rows)


async def count(session: Session) -> int:
    """Return the number of patterns."""
    row = await session.row(_COUNT)
    return int(row[0]) if row else 0


async def is_blocked(session: Session, name: str) -> bool:
    """Return whether a pattern matches the name."""
    return await session.row(_MATCHING, {"name": name}) is not None


async def put(session: Session, pattern: str, like_pattern: str, reason: str, by: str, at: datetime) -> None:
    """Add a pattern, or replace its reason."""
    values = {"pattern": pattern, "like_pattern": like_pattern, "reason": reason, "blocked_by": by, "blocked_at": at}
    statement = upsert(session, blocked_names).values(values)
    await session.run(statement.on_conflict_do_update(index_elements=["pattern"], set_={"reason": reason}))


async def remove(session: Session, pattern: str) -> bool:
    """Remove a pattern; return whether there was one."""
    return bool(await session.run(_REMOVE, {"pattern": pattern}))
