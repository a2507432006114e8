"""The audit log in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, func, insert, or_, select

from hythe.database import Session
from hythe.database.tables.audit import audit_entries
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

_ADD = insert(audit_entries)


def _if_given(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    given = bindparam(name, type_=column.type)
    return or_(given == "", column == given)


_FILTERS = (
    audit_entries.c.id >= bindparam("first_id", type_=audit_entries.c.id.type),
    audit_entries.c.id < bindparam("end_id", type_=audit_entries.c.id.type),
    _if_given(audit_entries.c.action, "action"),
    _if_given(audit_entries.c.target, "target"),
)
_BY_ACTOR = audit_entries.c.actor == bindparam("actor", type_=audit_entries.c.actor.type)
_IN_NAMESPACES = audit_entries.c.namespace.in_(bindparam("namespaces", expanding=True))


def _list(*where: ColumnElement[bool]) -> SortedList:
    return SortedList(select(audit_entries), audit_entries.c.id, where=(*where, *_FILTERS), descending=True)


OF_HUB = _list()
OF_ACTOR = _list(_BY_ACTOR)
OF_NAMESPACES = _list(_IN_NAMESPACES, _if_given(audit_entries.c.actor, "actor"))
"""In a namespace, which may have had other names."""

_SINCE = select(func.min(audit_entries.c.id)).where(
    audit_entries.c.at >= bindparam("at", type_=audit_entries.c.at.type)
)
_LAST = select(func.max(audit_entries.c.id))
_EXPIRED = (
    select(audit_entries.c.id)
    .where(audit_entries.c.at < bindparam("before", type_=audit_entries.c.at.type))
    .order_by(audit_entries.c.at)
    .limit(bindparam("at_most"))
)
_REMOVE = delete(audit_entries).where(audit_entries.c.id.in_(_EXPIRED))


async def add(session: Session, values: Mapping[str, Any]) -> None:
    """Add an entry."""
    await session.run(_ADD, values)


async def listed(
    session: Session, paging: Paging, filters: Mapping[str, Any], namespaces: Sequence[str] | None
) -> Page[Row[Any]]:
    """Return a page of the entries, newest first; ``namespaces`` None: of the whole hub.

    ``filters`` has ``actor``, ``action``, ``target`` (empty: any), ``first_id`` and ``end_id``.
    """
    parameters = dict(filters)
    if namespaces is not None:
        chosen = OF_NAMESPACES
        parameters["namespaces"] = list(namespaces)
    else:
        chosen = OF_ACTOR if filters["actor"] else OF_HUB
    found = await chosen.slice(session, paging, parameters)
    return page_of(found, tuple(found.rows), await chosen.total(session, parameters), paging)


async def first_since(session: Session, at: datetime) -> int | None:
    """Return the id of the first entry since this time."""
    row = await session.row(_SINCE, {"at": at})
    return row[0] if row else None


async def last_id(session: Session) -> int:
    """Return the id of the newest entry; 0 if there is none."""
    row = await session.row(_LAST)
    return int(row[0]) if row and row[0] is not None else 0


async def remove_expired(session: Session, before: datetime, at_most: int) -> int:
    """Delete up to ``at_most`` entries older than ``before``; return how many."""
    return await session.run(_REMOVE, {"before": before, "at_most": at_most})
