"""The SQL of holds: while one is valid, garbage collection deletes no blob."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import garbage_holds, installation

# The row of the installation is a lock: a hold waits for collectors that have not seen it, and they for it.
_SHARED_LOCK = select(installation.c.number).where(installation.c.number == 1).with_for_update(read=True)
_LOCK = select(installation.c.number).where(installation.c.number == 1).with_for_update()
_VALID = (
    select(garbage_holds.c.id, garbage_holds.c.reason, garbage_holds.c.taken_at, garbage_holds.c.expires_at)
    .where(garbage_holds.c.expires_at > bindparam("now"))
    .order_by(garbage_holds.c.expires_at.desc())
    .limit(1)
)
_EXTEND = (
    update(garbage_holds)
    .where(garbage_holds.c.id == bindparam("hold"), garbage_holds.c.expires_at > bindparam("now"))
    .values(expires_at=bindparam("until"))
)
_REMOVE = delete(garbage_holds).where(garbage_holds.c.id == bindparam("hold"))
_REMOVE_EXPIRED = delete(garbage_holds).where(garbage_holds.c.expires_at <= bindparam("now"))


class GarbageHold(msgspec.Struct, frozen=True):
    """A hold, and why it was taken."""

    id: str
    reason: str
    taken_at: datetime
    expires_at: datetime


async def valid(session: Session, now: datetime, *, lock: bool = False) -> GarbageHold | None:
    """Return a valid hold. With ``lock``, none can be taken until the transaction ends."""
    if lock:
        await session.row(_SHARED_LOCK)
    row = await session.row(_VALID, {"now": now})
    return None if row is None else GarbageHold(row.id, row.reason, row.taken_at, row.expires_at)


async def add(session: Session, hold: GarbageHold) -> GarbageHold | None:
    """Add a hold; return another one that is valid, and then add none."""
    await session.row(_LOCK)
    other = await valid(session, hold.taken_at)
    if other is None:
        await session.run(_REMOVE_EXPIRED, {"now": hold.taken_at})
        await session.run(insert(session, garbage_holds).values(msgspec.structs.asdict(hold)))
    return other


async def extend(session: Session, hold_id: str, now: datetime, until: datetime) -> bool:
    """Extend a hold; return False if it has expired."""
    return await session.run(_EXTEND, {"hold": hold_id, "now": now, "until": until}) > 0


async def remove(session: Session, hold_id: str) -> None:
    """Remove a hold."""
    await session.run(_REMOVE, {"hold": hold_id})
