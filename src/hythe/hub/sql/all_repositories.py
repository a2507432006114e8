"""All repositories of the hub in the database, for administrators."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, select

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories
from hythe.database.tables.registry import repositories
from hythe.hub.accounts.namespaces import short_name
from hythe.hub.accounts.user import Visibility
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

_NAME_TYPE = repositories.c.name.type
_ALL = select(
    repositories.c.name,
    func.coalesce(hub_repositories.c.taken_down_visibility, hub_repositories.c.visibility).label("visibility"),
    hub_repositories.c.official,
    hub_repositories.c.pulls,
    hub_repositories.c.created_at,
    hub_repositories.c.pushed_at,
    hub_repositories.c.taken_down_at,
    hub_repositories.c.taken_down_reason,
).join_from(repositories, hub_repositories, hub_repositories.c.repository_id == repositories.c.id)
BY_NAME = SortedList(
    _ALL,
    repositories.c.name,
    where=(
        repositories.c.name >= bindparam("first", type_=_NAME_TYPE),
        repositories.c.name < bindparam("end", type_=_NAME_TYPE),
    ),
)
OFFICIAL = SortedList(
    _ALL.add_columns(hub_repositories.c.name.label("own_name"), hub_repositories.c.repository_id),
    hub_repositories.c.name.label("own_name"),
    hub_repositories.c.repository_id,
    where=(
        hub_repositories.c.official.is_(True),
        hub_repositories.c.name >= bindparam("first", type_=_NAME_TYPE),
        hub_repositories.c.name < bindparam("end", type_=_NAME_TYPE),
    ),
)
_ONE = _ALL.where(repositories.c.name == bindparam("name", type_=_NAME_TYPE))


class AdministeredRepository(msgspec.Struct, frozen=True):
    """A repository as administrators see it, without opening it. ``visibility`` is what it is, or was, to others.

    ``taken_down_at`` None: it is not taken down.
    """

    repository: str
    visibility: Visibility
    official: bool
    pulls: int
    created_at: datetime
    pushed_at: datetime | None
    taken_down_at: datetime | None
    taken_down_reason: str


async def beginning_with(
    session: Session, beginning: str, paging: Paging, *, official: bool = False
) -> Page[AdministeredRepository]:
    """Return a page of the repositories whose canonical name begins so.

    ``official``: of the official ones, whose name without the namespace does.
    """
    # Names are in ASCII, and compared by bytes.
    parameters: Mapping[str, Any] = {"first": beginning, "end": beginning + "\x7f"}
    chosen = OFFICIAL if official else BY_NAME
    found = await chosen.slice(session, paging, parameters)
    items = tuple(map(_repository, found.rows))
    return page_of(found, items, await chosen.total(session, parameters), paging)


async def by_name(session: Session, name: str) -> AdministeredRepository | None:
    """Return the repository with this canonical name."""
    row = await session.row(_ONE, {"name": name})
    return _repository(row) if row is not None else None


def _repository(row: Row[Any]) -> AdministeredRepository:
    return AdministeredRepository(
        short_name(row.name),
        Visibility(row.visibility),
        bool(row.official),
        row.pulls,
        row.created_at,
        row.pushed_at,
        row.taken_down_at,
        row.taken_down_reason or "",
    )
