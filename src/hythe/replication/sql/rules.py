"""Replication rules in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, literal_column, or_, select, update

from hythe.database import Session
from hythe.database.tables.replication import replication_rules as rules
from hythe.replication.rule import DISABLED_UNTIL, Direction, ReplicationRule

_ALL = select(rules).order_by(rules.c.name)
_BY_NAME = select(rules).where(rules.c.name == bindparam("name"))
_BY_ID = select(rules).where(rules.c.id == bindparam("rule_id"))
_HOLD = select(rules.c.id).where(rules.c.id == bindparam("rule_id")).with_for_update(read=True, key_share=True)
_COUNT = select(func.count()).select_from(rules)
_ADD = insert(rules)
_REMOVE = delete(rules).where(rules.c.id == bindparam("rule_id"))
_TIME = rules.c.compare_at.type
_REQUEST = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"))
    .values(compare_at=bindparam("at", type_=_TIME), compare_lease="", paused_until=None)
)
_CLAIM = (
    update(rules)
    .where(
        rules.c.id == bindparam("rule_id"),
        rules.c.compare_at <= bindparam("now", type_=_TIME),
        or_(rules.c.paused_until.is_(None), rules.c.paused_until <= bindparam("now", type_=_TIME)),
    )
    .values(compare_at=bindparam("until", type_=_TIME), compare_lease=bindparam("lease"))
)
_KEEP = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"), rules.c.compare_lease == bindparam("lease"))
    .values(compare_at=bindparam("until", type_=_TIME))
)
_COMPARED = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"), rules.c.compare_lease == bindparam("lease"))
    .values(
        compare_at=bindparam("next_at", type_=_TIME),
        compare_lease="",
        compared_at=bindparam("now", type_=_TIME),
    )
)
_RETRY = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"), rules.c.compare_lease == bindparam("lease"))
    .values(compare_at=bindparam("until", type_=_TIME), compare_lease="")
)
_PAUSE = (
    update(rules)
    .where(
        rules.c.id == bindparam("rule_id"),
        or_(rules.c.paused_until.is_(None), rules.c.paused_until < bindparam("disabled", type_=_TIME)),
    )
    .values(
        failures=bindparam("count"),
        paused_until=bindparam("until", type_=_TIME),
        problem=bindparam("why"),
    )
)
_RESUME = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"), rules.c.failures > literal_column("0"))
    .values(failures=0, paused_until=None, problem="")
)
_CHANGED = (
    "username",
    "secret",
    "repositories",
    "tags",
    "destination",
    "deletions",
    "override",
    "events",
    "interval",
    "concurrency",
    "rate",
    "failures",
    "problem",
    "compare_lease",
)
_CHANGE = (
    update(rules)
    .where(rules.c.id == bindparam("rule_id"))
    .values(
        {name: bindparam(f"new_{name}") for name in _CHANGED}
        | {name: bindparam(f"new_{name}", type_=_TIME) for name in ("compare_at", "paused_until")}
    )
)
_LOCK = update(rules).where(rules.c.id == bindparam("rule_id")).values(concurrency=rules.c.concurrency)


async def listed(session: Session) -> tuple[ReplicationRule, ...]:
    """Return all rules by name; they are few."""
    return tuple(_rule(row) for row in await session.rows(_ALL))


async def by_name(session: Session, name: str) -> ReplicationRule | None:
    """Return the rule with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return _rule(row) if row else None


async def by_id(session: Session, rule_id: int) -> ReplicationRule | None:
    """Return the rule with this id."""
    row = await session.row(_BY_ID, {"rule_id": rule_id})
    return _rule(row) if row else None


async def count(session: Session) -> int:
    """Return the number of rules."""
    row = await session.row(_COUNT)
    return int(row[0]) if row else 0


async def add(session: Session, values: Mapping[str, Any]) -> None:
    """Add a rule. ``values``: those of the columns, with the patterns as tuples."""
    texts = {name: " ".join(values[name]) for name in ("repositories", "tags")}
    await session.run(_ADD, {**values, **texts, "direction": values["direction"].value})


async def change(session: Session, rule: ReplicationRule) -> None:
    """Store what can change of a rule."""
    values = {name: getattr(rule, name) for name in _CHANGED if name != "secret"}
    values |= {name: " ".join(values[name]) for name in ("repositories", "tags")}
    values |= {"secret": rule.sealed, "compare_at": rule.compare_at, "paused_until": rule.paused_until}
    await session.run(_CHANGE, {f"new_{name}": value for name, value in values.items()} | {"rule_id": rule.id})


async def remove(session: Session, rule_id: int) -> None:
    """Remove a rule with all that belongs to it."""
    await session.run(_REMOVE, {"rule_id": rule_id})


async def request_comparison(session: Session, rule_id: int, at: datetime) -> None:
    """Let a comparison begin at that time, and end a pause."""
    await session.run(_REQUEST, {"rule_id": rule_id, "at": at})


async def claim_comparison(session: Session, rule_id: int, lease: str, now: datetime, until: datetime) -> bool:
    """Reserve a due comparison until then; return False if none is due, or another server has it."""
    values = {"rule_id": rule_id, "lease": lease, "now": now, "until": until}
    return bool(await session.run(_CLAIM, values))


async def keep_comparison(session: Session, rule_id: int, lease: str, until: datetime) -> bool:
    """Extend the lease of a comparison; return whether it is still held."""
    return bool(await session.run(_KEEP, {"rule_id": rule_id, "lease": lease, "until": until}))


async def end_comparison(session: Session, rule_id: int, lease: str, now: datetime, next_at: datetime | None) -> None:
    """Record that a comparison ended, and when the next one is due."""
    await session.run(_COMPARED, {"rule_id": rule_id, "lease": lease, "now": now, "next_at": next_at})


async def retry_comparison(session: Session, rule_id: int, lease: str, at: datetime) -> None:
    """Record that a comparison failed, and when the next one is due."""
    await session.run(_RETRY, {"rule_id": rule_id, "lease": lease, "until": at})


async def pause(session: Session, rule_id: int, failures: int, until: datetime, problem: str) -> None:
    """Record a failure of the other registry, and try nothing before ``until``; a disabled rule stays so."""
    values = {"rule_id": rule_id, "count": failures, "until": until, "why": problem, "disabled": DISABLED_UNTIL}
    await session.run(_PAUSE, values)


async def resume(session: Session, rule_id: int) -> None:
    """Record that the other registry works."""
    await session.run(_RESUME, {"rule_id": rule_id})


async def lock(session: Session, rule_id: int) -> bool:
    """Lock a rule until the transaction ends; return whether it exists."""
    return bool(await session.run(_LOCK, {"rule_id": rule_id}))


async def hold(session: Session, rule_id: int) -> bool:
    """Keep a rule from being removed until the transaction ends; return whether it exists. Changes do not wait."""
    return await session.row(_HOLD, {"rule_id": rule_id}) is not None


def _rule(row: Row[Any]) -> ReplicationRule:
    values = {name: getattr(row, name) for name in ReplicationRule.__struct_fields__ if name != "sealed"}
    return ReplicationRule(
        **values
        | {
            "sealed": row.secret,
            "direction": Direction(row.direction),
            "repositories": tuple(row.repositories.split()),
            "tags": tuple(row.tags.split()),
        }
    )
