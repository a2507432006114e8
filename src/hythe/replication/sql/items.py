"""What is behind, in the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, case, delete, func, literal_column, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.registry import manifests
from hythe.database.tables.replication import replication_items as items
from hythe.replication.item import ReplicationBacklog, ReplicationItem

MAX_COUNTED = 10_000
"""What is behind is counted up to this number: a first comparison may find millions."""

_TIME = items.c.due_at.type
_ZERO: ColumnElement[int] = literal_column("0")
_OF_RULE = items.c.rule_id == bindparam("rule_id")
_OF_ID = items.c.id == bindparam("item_id")
_DUE = (
    select(items)
    .where(_OF_RULE, items.c.due_at <= bindparam("now", type_=_TIME))
    .order_by(items.c.due_at)
    .limit(bindparam("limit"))
)
_HELD_NOW = (
    select(items.c.id)
    .where(_OF_RULE, items.c.due_at > bindparam("now", type_=_TIME), items.c.lease != literal_column("''"))
    .limit(bindparam("at_most"))
    .subquery()
)
_RUNNING = select(func.count()).select_from(_HELD_NOW)
_CLAIM = (
    update(items)
    .where(_OF_ID, items.c.due_at <= bindparam("now", type_=_TIME))
    .values(lease=bindparam("new_lease"), due_at=bindparam("until", type_=_TIME))
)
_HELD = (_OF_ID, items.c.lease == bindparam("held"))
_KEEP = update(items).where(*_HELD).values(due_at=bindparam("until", type_=_TIME))
_SET_BYTES = update(items).where(*_HELD).values(bytes=bindparam("size"))
_DONE = delete(items).where(*_HELD, items.c.version == bindparam("seen"))
_AGAIN = (
    update(items)
    .where(*_HELD)
    .values(lease="", due_at=bindparam("at", type_=_TIME), attempts=bindparam("tried"), problem=bindparam("why"))
)
_HURRY = (
    update(items)
    .where(items.c.rule_id == bindparam("of_rule"), items.c.lease == literal_column("''"))
    .values(due_at=bindparam("at", type_=_TIME))
)
_FORGET = delete(items).where(_OF_RULE)
_WINDOW = (
    select(items.c.bytes, items.c.created_at, items.c.attempts)
    .where(_OF_RULE)
    .order_by(items.c.created_at)
    .limit(bindparam("at_most"))
    .subquery()
)
_BACKLOG: Select[Any] = select(
    func.count().label("items"),
    func.coalesce(func.sum(_WINDOW.c.bytes), _ZERO).label("size"),
    func.min(_WINDOW.c.created_at).label("oldest"),
    func.coalesce(func.sum(case((_WINDOW.c.attempts > _ZERO, literal_column("1")), else_=_ZERO)), _ZERO).label(
        "failed"
    ),
).select_from(_WINDOW)
_SUBJECT = select(manifests.c.subject).where(
    manifests.c.repository_id == bindparam("repository_id"), manifests.c.digest == bindparam("digest")
)
_OLDEST = select(items).where(_OF_RULE).order_by(items.c.created_at).limit(bindparam("limit"))


async def add(
    session: Session,
    rule_id: int,
    repository: str,
    references: Sequence[str],
    now: datetime,
    due_at: datetime,
    size: int = 0,
) -> None:
    """Add items of ``size`` bytes, or note on those that exist that something happened again."""
    if not references:
        return
    new = {"version": 1, "bytes": size, "created_at": now, "due_at": due_at, "lease": "", "attempts": 0, "problem": ""}
    rows = [{**new, "rule_id": rule_id, "repository": repository, "reference": each} for each in references]
    statement = upsert(session, items)
    changed = {"version": items.c.version + 1}
    # A reference that failed before is worth another attempt; one that is being copied keeps its lease.
    changed["due_at"] = case((items.c.lease == "", statement.excluded.due_at), else_=items.c.due_at)
    await session.run(
        statement.on_conflict_do_update(index_elements=["rule_id", "repository", "reference"], set_=changed), rows
    )


async def has_subject(session: Session, repository_id: int, digest: str) -> bool:
    """Return whether a manifest of this hub describes another one, as signatures do."""
    row = await session.row(_SUBJECT, {"repository_id": repository_id, "digest": digest})
    return row is not None and row.subject is not None


async def due(session: Session, rule_id: int, now: datetime, limit: int) -> list[ReplicationItem]:
    """Return items of a rule that are due, oldest first."""
    rows = await session.rows(_DUE, {"rule_id": rule_id, "now": now, "limit": limit})
    return [_item(row) for row in rows]


async def running(session: Session, rule_id: int, now: datetime) -> int:
    """Return how many items of a rule any server works on; its concurrency bounds them."""
    row = await session.row(_RUNNING, {"rule_id": rule_id, "now": now, "at_most": MAX_COUNTED})
    return int(row[0]) if row else 0


async def claim(session: Session, item_id: int, lease: str, now: datetime, until: datetime) -> bool:
    """Reserve a due item until then; return False if another server has it."""
    values = {"item_id": item_id, "new_lease": lease, "now": now, "until": until}
    return bool(await session.run(_CLAIM, values))


async def keep(session: Session, item: ReplicationItem, until: datetime) -> bool:
    """Extend the lease of an item; return whether it is still held."""
    return bool(await session.run(_KEEP, {"item_id": item.id, "held": item.lease, "until": until}))


async def set_bytes(session: Session, item: ReplicationItem, size: int) -> None:
    """Record how many bytes an item has to copy."""
    await session.run(_SET_BYTES, {"item_id": item.id, "held": item.lease, "size": size})


async def done(session: Session, item: ReplicationItem) -> bool:
    """Remove an item; return False if something happened since it was claimed, or the lease was lost."""
    values = {"item_id": item.id, "held": item.lease, "seen": item.version}
    return bool(await session.run(_DONE, values))


async def release(session: Session, item: ReplicationItem, attempts: int, problem: str, due_at: datetime) -> None:
    """Give an item back, to be worked on again from ``due_at`` on."""
    values = {"item_id": item.id, "held": item.lease, "tried": attempts, "why": problem[:1000], "at": due_at}
    await session.run(_AGAIN, values)


async def hurry(session: Session, rule_id: int, now: datetime) -> None:
    """Let every item of a rule be due now, also after failures."""
    await session.run(_HURRY, {"of_rule": rule_id, "at": now})


async def forget(session: Session, rule_id: int) -> None:
    """Remove every item of a rule; who works on one loses its lease."""
    await session.run(_FORGET, {"rule_id": rule_id})


async def backlog(session: Session, rule_id: int) -> ReplicationBacklog:
    """Return what is behind of a rule, counted up to MAX_COUNTED."""
    row = await session.row(_BACKLOG, {"rule_id": rule_id, "at_most": MAX_COUNTED})
    if row is None:
        return ReplicationBacklog(0, 0, None, 0)
    count = int(row.items)
    return ReplicationBacklog(count, int(row.size), row.oldest, int(row.failed), count < MAX_COUNTED)


async def oldest(session: Session, rule_id: int, limit: int) -> list[ReplicationItem]:
    """Return what is behind of a rule, the oldest first."""
    return [_item(row) for row in await session.rows(_OLDEST, {"rule_id": rule_id, "limit": limit})]


def _item(row: Row[Any]) -> ReplicationItem:
    return ReplicationItem(**{name: getattr(row, name) for name in ReplicationItem.__struct_fields__})
