"""The audit log in the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.audit import audit_entries, audit_expiry
from hythe.database.tables.hub import namespaces, users
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

DISORDER = timedelta(minutes=15)
"""Entries whose times are further apart have ids in their order.

The clocks of servers differ, and an entry gets its time before its id: its transaction waits for others in between.
"""


class Owned(msgspec.Struct, frozen=True):
    """A namespace, and what its owners see of its log.

    ``since``: when its account was made, because an earlier one may have had the same id. ``first_id``: the last entry
    since then by which it changed hands; 0: there is none.
    """

    namespace_id: int
    since: datetime
    first_id: int


_ADD = insert(audit_entries).values(
    namespace_id=select(namespaces.c.id).where(namespaces.c.name == bindparam("owned_by")).scalar_subquery()
)
_OWNED = (
    select(namespaces.c.id, users.c.created_at)
    .join_from(namespaces, users, users.c.id == namespaces.c.user_id)
    .where(namespaces.c.name == bindparam("name"))
)
_LATEST = (
    select(audit_entries.c.id)
    .where(
        audit_entries.c.namespace_id == bindparam("namespace_id", type_=audit_entries.c.namespace_id.type),
        audit_entries.c.action == bindparam("action", type_=audit_entries.c.action.type),
        audit_entries.c.at >= bindparam("since", type_=audit_entries.c.at.type),
    )
    .order_by(audit_entries.c.id.desc())
    .limit(1)
)


def _equals(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == bindparam(column.key, type_=column.type)


def _if_given(column: ColumnElement[str]) -> ColumnElement[bool]:
    given = bindparam(column.key, type_=column.type)
    return or_(given == "", column == given)


_SINCE_TIME, _UNTIL_TIME = (bindparam(name, type_=audit_entries.c.at.type) for name in ("since", "until"))
_FILTERS = (
    audit_entries.c.id >= bindparam("first_id", type_=audit_entries.c.id.type),
    audit_entries.c.id < bindparam("end_id", type_=audit_entries.c.id.type),
    or_(_SINCE_TIME.is_(None), audit_entries.c.at >= _SINCE_TIME),
    or_(_UNTIL_TIME.is_(None), audit_entries.c.at < _UNTIL_TIME),
    _if_given(audit_entries.c.target),
)


def _list(*where: ColumnElement[bool], filtered: Sequence[ColumnElement[str]] = ()) -> SortedList:
    """Return the list for which an index has the columns of ``where``; entries are read to filter by others."""
    conditions = (*where, *map(_if_given, filtered), *_FILTERS)
    return SortedList(select(audit_entries), audit_entries.c.id, where=conditions, descending=True)


_ACTOR, _ACTION, _SUBJECT = audit_entries.c.actor, audit_entries.c.action, audit_entries.c.subject
_IN_NAMESPACE, _NAMED = _equals(audit_entries.c.namespace_id), _equals(audit_entries.c.namespace)

OF_HUB = _list()
ABOUT_SUBJECT = _list(_equals(_SUBJECT), filtered=(_ACTOR, _ACTION))
OF_ACTOR = _list(_equals(_ACTOR), filtered=(_ACTION,))
OF_ACTION = _list(_equals(_ACTION))
OF_NAMESPACE = _list(_IN_NAMESPACE, filtered=(_ACTOR,))
OF_NAMESPACE_ABOUT_SUBJECT = _list(_equals(_SUBJECT), _IN_NAMESPACE, filtered=(_ACTOR, _ACTION))
OF_NAMESPACE_ACTION = _list(_IN_NAMESPACE, _equals(_ACTION), filtered=(_ACTOR,))
UNDER_NAME = _list(_NAMED, filtered=(_ACTOR, _ACTION))
UNDER_NAME_ABOUT_SUBJECT = _list(_equals(_SUBJECT), _NAMED, filtered=(_ACTOR, _ACTION))

_BEFORE = (
    select(audit_entries.c.id)
    .where(audit_entries.c.at < bindparam("at", type_=audit_entries.c.at.type))
    .order_by(audit_entries.c.at.desc(), audit_entries.c.id.desc())
    .limit(1)
)
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
    """Add an entry; the name ``namespace`` decides to which namespace it belongs from now on."""
    await session.run(_ADD, {**values, "owned_by": values["namespace"]})


async def owned(session: Session, namespace: str, changing_hands: str) -> Owned | None:
    """Return the namespace of the account that has this name now, which an action can give to other owners."""
    row = await session.row(_OWNED, {"name": namespace})
    if row is None:
        return None
    values = {"namespace_id": row.id, "action": changing_hands, "since": row.created_at}
    changed = await session.row(_LATEST, values)
    return Owned(row.id, row.created_at, changed.id if changed else 0)


async def listed(session: Session, paging: Paging, filters: Mapping[str, Any]) -> Page[Row[Any]]:
    """Return a page of the entries, newest first.

    ``filters`` has ``namespace_id`` (None: any), ``namespace``, ``actor``, ``action``, ``subject`` and ``target``
    (empty: any), ``since`` and ``until`` (None: any), and ``first_id`` and ``end_id``, between which the ids of these
    times are.
    """
    chosen = _chosen(filters)
    found = await chosen.slice(session, paging, filters)
    return page_of(found, tuple(found.rows), await chosen.total(session, filters), paging)


async def entries_before(session: Session, entry_id: int, limit: int, filters: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Return the next older entries, newest first, without counting them; ``filters`` as above."""
    return await _chosen(filters).rows(session, None, limit, {**filters, "end_id": entry_id})


def _chosen(filters: Mapping[str, Any]) -> SortedList:
    """Return the list that reads the fewest entries: about a subject are few, by an actor more, of an action most."""
    if filters["namespace_id"] is not None:
        if filters["subject"]:
            return OF_NAMESPACE_ABOUT_SUBJECT
        return OF_NAMESPACE_ACTION if filters["action"] else OF_NAMESPACE
    if filters["namespace"]:
        return UNDER_NAME_ABOUT_SUBJECT if filters["subject"] else UNDER_NAME
    if filters["subject"]:
        return ABOUT_SUBJECT
    if filters["actor"]:
        return OF_ACTOR
    return OF_ACTION if filters["action"] else OF_HUB


async def ids_between(session: Session, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return ids that no entry of these times is before, or at or after; some between them are of other times."""
    before = await session.row(_BEFORE, {"at": since - DISORDER}) if since is not None else None
    after = await session.row(_SINCE, {"at": until + DISORDER}) if until is not None else None
    return before[0] if before else 0, after[0] if after else await _last_id(session) + 1


async def _last_id(session: Session) -> int:
    """Return the id of the newest entry; 0 if there is none."""
    row = await session.row(_LAST)
    return int(row[0]) if row else 0


async def allow_deletion(session: Session, before: datetime) -> None:
    """Let entries be deleted that are older than ``before``; the database refuses to delete others."""
    statement = upsert(session, audit_expiry).values(id=1, expired_before=before)
    await session.run(
        statement.on_conflict_do_update(
            index_elements=["id"], set_={"expired_before": statement.excluded.expired_before}
        )
    )


async def remove_expired(session: Session, before: datetime, at_most: int) -> int:
    """Delete up to ``at_most`` entries older than ``before``; return how many."""
    return await session.run(_REMOVE, {"before": before, "at_most": at_most})
