"""Takes down repositories in the database and restores them, and lists those that are taken down."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, select, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.database.tables.registry import catalog_entries
from hythe.hub.accounts.user import Visibility
from hythe.hub.page import Page, Paging
from hythe.hub.sql.repositories import index
from hythe.hub.sql.sorted_list import SortedList, page_of

HIDDEN = "taken down"
"""The audience of the catalog entries of repositories that are taken down: none."""

_ID = bindparam("repository_id", type_=hub_repositories.c.repository_id.type)
_CHANGED = update(hub_repositories).where(hub_repositories.c.repository_id == bindparam("changed_id"))
_TAKE_DOWN = _CHANGED.where(hub_repositories.c.taken_down_at.is_(None)).values(
    taken_down_at=bindparam("at"),
    taken_down_reason=bindparam("reason"),
    taken_down_visibility=hub_repositories.c.visibility,
    taken_down_listed=hub_repositories.c.listed,
    visibility=Visibility.PRIVATE.value,
    listed=False,
)
_HIDE = (
    update(catalog_entries).where(catalog_entries.c.repository_id == bindparam("changed_id")).values(audience=HIDDEN)
)
_RESTORE = _CHANGED.where(hub_repositories.c.taken_down_at.is_not(None)).values(
    taken_down_at=None,
    taken_down_reason=None,
    taken_down_visibility=None,
    taken_down_listed=None,
    # The trigger of this column puts the repository back into the catalog.
    visibility=hub_repositories.c.taken_down_visibility,
    listed=hub_repositories.c.taken_down_listed,
)
_OFFICIAL = _CHANGED.values(official=bindparam("is_official"))
_STATE = select(hub_repositories.c.listed).where(hub_repositories.c.repository_id == _ID)
LIST = SortedList(
    select(
        hub_repositories.c.taken_down_at,
        hub_repositories.c.repository_id,
        (namespaces.c.name + "/" + hub_repositories.c.name).label("repository"),
        hub_repositories.c.taken_down_reason,
        hub_repositories.c.taken_down_visibility,
    ).join_from(hub_repositories, namespaces),
    hub_repositories.c.taken_down_at,
    hub_repositories.c.repository_id,
    where=(hub_repositories.c.taken_down_at.is_not(None),),
    descending=True,
)


class TakenDown(msgspec.Struct, frozen=True):
    """A repository that is taken down. ``visibility`` is what it had, and gets back."""

    repository: str
    reason: str
    at: datetime
    visibility: Visibility


async def take_down(session: Session, repository_id: int, reason: str, at: datetime) -> bool:
    """Hide a repository from lists, search and catalog; return whether it was there to see before."""
    values: Mapping[str, Any] = {"changed_id": repository_id, "reason": reason, "at": at}
    if not await session.run(_TAKE_DOWN, values):
        return False
    await session.run(_HIDE, {"changed_id": repository_id})
    await index(session, repository_id)
    return True


async def restore(session: Session, repository_id: int) -> bool:
    """Show a repository as before; return whether it was taken down."""
    if not await session.run(_RESTORE, {"changed_id": repository_id}):
        return False
    row = await session.row(_STATE, {"repository_id": repository_id})
    if row is not None and row.listed:
        await index(session, repository_id)
    return True


async def set_official(session: Session, repository_id: int, *, official: bool) -> None:
    """Mark a repository as official, or not."""
    await session.run(_OFFICIAL, {"changed_id": repository_id, "is_official": official})


async def listed(session: Session, paging: Paging) -> Page[TakenDown]:
    """Return a page of the repositories that are taken down, the last one first."""
    found = await LIST.slice(session, paging, {})
    items = tuple(
        TakenDown(row.repository, row.taken_down_reason, row.taken_down_at, Visibility(row.taken_down_visibility))
        for row in found.rows
    )
    return page_of(found, items, await LIST.total(session, {}), paging)
