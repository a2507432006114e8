"""The audit log in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select

from hythe.database import Session
from hythe.database.tables.audit import audit_entries
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import MergedList, SortedList, page_of

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
_IN_NAMESPACE = audit_entries.c.namespace == bindparam("namespace", type_=audit_entries.c.namespace.type)


def _list(*where: ColumnElement[bool]) -> SortedList:
    return SortedList(select(audit_entries), audit_entries.c.id, where=(*where, *_FILTERS), descending=True)


OF_HUB = _list()
OF_ACTOR = _list(_BY_ACTOR)
OF_NAMESPACE = _list(_IN_NAMESPACE, _if_given(audit_entries.c.actor, "actor"))

_SINCE = (
    select(audit_entries.c.id)
    .where(audit_entries.c.at >= bindparam("at", type_=audit_entries.c.at.type))
    .order_by(audit_entries.c.at, audit_entries.c.id)
    .limit(1)
)
_LAST = select(audit_entries.c.id).order_by(audit_entries.c.id.desc()).limit(1)
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
    """Return a page of the entries, newest first; ``namespaces`` has a namespace's names, None: of the whole hub.

    ``filters`` has ``actor``, ``action``, ``target`` (empty: any), ``first_id`` and ``end_id``.
    """
    if namespaces is None:
        lists = [(OF_ACTOR if filters["actor"] else OF_HUB, filters)]
    else:
        lists = [(OF_NAMESPACE, {**filters, "namespace": name}) for name in namespaces]
    chosen = MergedList(*lists)
    found = await chosen.slice(session, paging)
    return page_of(found, tuple(found.rows), await chosen.total(session), paging)


async def first_since(session: Session, at: datetime) -> int | None:
    """Return the id of the first entry since this time."""
    row = await session.row(_SINCE, {"at": at})
    return row[0] if row else None


async def last_id(session: Session) -> int:
    """Return the id of the newest entry; 0 if there is none."""
    row = await session.row(_LAST)
    return int(row[0]) if row else 0


async def remove_expired(session: Session, before: datetime, at_most: int) -> int:
    """Delete up to ``at_most`` entries older than ``before``; return how many."""
    return await session.run(_REMOVE, {"before": before, "at_most": at_most})
