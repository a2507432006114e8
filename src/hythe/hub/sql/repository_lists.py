"""Lists of repositories that a user may see, merged of ranges of indexes.

A user with few grants gets those that they are for; one whose teams have a role on very many repositories gets a walk
through the organization's repositories, of which then many belong to the list.
"""

from collections.abc import Collection

from sqlalchemy import bindparam, func, select

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces, users
from hythe.database.tables.organizations import collaborators, organization_members
from hythe.database.tables.registry import catalog_entries
from hythe.hub.accounts.user import Visibility
from hythe.hub.page import Page, Paging
from hythe.hub.repositories.repository import Repository
from hythe.hub.sql.access_context import (
    INTERNAL,
    NOT_TAKEN_DOWN,
    PRIVATE,
    granted_ids,
    has_second_factor,
    is_granted,
    shared_namespaces,
)
from hythe.hub.sql.repositories import CHANGED, COLUMNS, IN_NAMESPACE, PUBLIC_IN_NAMESPACE, repository_of
from hythe.hub.sql.sorted_list import MergedList, SortedList, page_of

FEW = 1000
"""Grants of a user that a list may read and sort."""

_USER_ID = bindparam("user_id", type_=users.c.id.type)
_ALL = select(*COLUMNS).join_from(hub_repositories, namespaces)
_LISTED = hub_repositories.c.listed
_HERE = (hub_repositories.c.namespace_id == bindparam("namespace_id"), _LISTED)
_ELSEWHERE = (hub_repositories.c.namespace_id.not_in(bindparam("excluded", expanding=True)), _LISTED)
_GRANTED = hub_repositories.c.repository_id.in_(granted_ids(_USER_ID))
_COLLABORATES = hub_repositories.c.repository_id.in_(
    select(collaborators.c.repository_id).where(collaborators.c.user_id == _USER_ID)
)

INTERNAL_IN_NAMESPACE = SortedList(_ALL, *CHANGED, where=(*_HERE, INTERNAL), descending=True)
GRANTED_IN_NAMESPACE = SortedList(
    _ALL, *CHANGED, where=(*_HERE, PRIVATE, _GRANTED, has_second_factor(_USER_ID)), descending=True
)
WALK_OF_GRANTED = SortedList(_ALL, *CHANGED, where=(*_HERE, PRIVATE, is_granted(_USER_ID)), descending=True)
WALK_OF_ROLES = SortedList(_ALL, *CHANGED, where=(*_HERE, is_granted(_USER_ID)), descending=True)
GRANTED_ELSEWHERE = SortedList(
    _ALL, *CHANGED, where=(*_ELSEWHERE, _GRANTED, has_second_factor(_USER_ID)), descending=True
)
COLLABORATIONS = SortedList(
    _ALL, *CHANGED, where=(*_ELSEWHERE, _COLLABORATES, has_second_factor(_USER_ID)), descending=True
)

_COUNT_GRANTED = select(func.count()).select_from(granted_ids(_USER_ID).limit(bindparam("at_most")).subquery())
_WHOLE = select(namespaces.c.id).where(namespaces.c.user_id == _USER_ID).union_all(shared_namespaces(_USER_ID))
_MEMBER_OF = (
    select(namespaces.c.id, namespaces.c.name)
    .join(organization_members, organization_members.c.organization_id == namespaces.c.user_id)
    .where(organization_members.c.user_id == _USER_ID)
)


# The registry has the full names of repositories with content, with an index in the order of the catalog: a page that
# counted others would end before it is full, and the catalog with it.
_SHARED = (
    # A parameter, with which no engine reads the index of all private repositories.
    hub_repositories.c.visibility == Visibility.PRIVATE.value,
    NOT_TAKEN_DOWN,
    catalog_entries.c.name > bindparam("after"),
)
_NAMES = select(catalog_entries.c.name).join_from(
    hub_repositories, catalog_entries, catalog_entries.c.repository_id == hub_repositories.c.repository_id
)
_GRANTED_NAMES = (
    _NAMES.where(*_SHARED, _GRANTED, has_second_factor(_USER_ID))
    .order_by(catalog_entries.c.name)
    .limit(bindparam("at_most"))
)
_COLLABORATION_NAMES = (
    _NAMES.where(*_SHARED, _COLLABORATES, has_second_factor(_USER_ID))
    .order_by(catalog_entries.c.name)
    .limit(bindparam("at_most"))
)
_WALK_OF_NAMES = (
    _NAMES.where(*_SHARED, catalog_entries.c.name < bindparam("before"), is_granted(_USER_ID))
    .order_by(catalog_entries.c.name)
    .limit(bindparam("at_most"))
)


async def in_namespace(session: Session, namespace_id: int, user_id: int, paging: Paging) -> Page[Repository]:
    """Return a page of a namespace's repositories that a user may see who has no role on all of them.

    These are the public and internal ones, and those that teams or collaboration share with the user.
    """
    here = {"namespace_id": namespace_id}
    granted = GRANTED_IN_NAMESPACE if await _has_few(session, user_id) else WALK_OF_GRANTED
    return await _page(
        session,
        MergedList((PUBLIC_IN_NAMESPACE, here), (INTERNAL_IN_NAMESPACE, here), (granted, {**here, "user_id": user_id})),
        paging,
    )


async def of_user(session: Session, user_id: int, paging: Paging) -> Page[Repository]:
    """Return a page of the repositories that a user has a role on, most recently changed first."""
    whole = [int(row.id) for row in await session.rows(_WHOLE, {"user_id": user_id})]
    lists = [(IN_NAMESPACE, {"namespace_id": each}) for each in whole]
    if await _has_few(session, user_id):
        return await _page(session, MergedList(*lists, (GRANTED_ELSEWHERE, _except(user_id, whole))), paging)
    member_of = {int(row.id) for row in await session.rows(_MEMBER_OF, {"user_id": user_id})} - set(whole)
    lists += [(WALK_OF_ROLES, {"namespace_id": each, "user_id": user_id}) for each in sorted(member_of)]
    others = (COLLABORATIONS, _except(user_id, (*whole, *sorted(member_of))))
    return await _page(session, MergedList(*lists, others), paging)


async def shared_names(session: Session, user_id: int, after: str, at_most: int) -> tuple[str, ...]:
    """Return the next names of the catalog, sorted, that teams or collaboration share with an account: private ones."""
    values = {"user_id": user_id, "after": after, "at_most": at_most}
    if await _has_few(session, user_id):
        return tuple(row.name for row in await session.rows(_GRANTED_NAMES, values))
    found = {row.name for row in await session.rows(_COLLABORATION_NAMES, values)}
    walked = 0
    for first, end in sorted((f"{row.name}/", f"{row.name}0") for row in await session.rows(_MEMBER_OF, values)):
        # "0" follows "/": this is the range of the names in the organization.
        if walked < at_most and after < end:
            within = {**values, "after": max(after, first), "before": end, "at_most": at_most - walked}
            rows = await session.rows(_WALK_OF_NAMES, within)
            walked += len(rows)
            found.update(row.name for row in rows)
    return tuple(sorted(found)[:at_most])


def _except(user_id: int, excluded: Collection[int]) -> dict[str, object]:
    return {"user_id": user_id, "excluded": list(excluded)}


async def _has_few(session: Session, user_id: int) -> bool:
    row = await session.row(_COUNT_GRANTED, {"user_id": user_id, "at_most": FEW + 1})
    return row is None or int(row[0]) <= FEW


async def _page(session: Session, of: MergedList, paging: Paging) -> Page[Repository]:
    found = await of.slice(session, paging)
    return page_of(found, tuple(map(repository_of, found.rows)), await of.total(session), paging)
