"""Repositories of the index in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, ScalarSelect, bindparam, delete, func, insert, literal_column, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.hub import hub_repositories, namespaces, search_documents, users
from hythe.hub.accounts.plan import Plan
from hythe.hub.accounts.user import Visibility
from hythe.hub.page import MAX_COUNTED, Page, Paging
from hythe.hub.repositories.repository import Repository
from hythe.hub.sql.access_context import PRIVATE, PUBLIC
from hythe.hub.sql.plans import plan_columns, plan_of
from hythe.hub.sql.sorted_list import SortedList, page_of

COLUMNS: tuple[ColumnElement[Any], ...] = (
    hub_repositories.c.repository_id,
    hub_repositories.c.namespace_id,
    namespaces.c.name.label("namespace"),
    hub_repositories.c.name,
    hub_repositories.c.visibility,
    hub_repositories.c.official,
    hub_repositories.c.description,
    hub_repositories.c.full_description,
    hub_repositories.c.stars,
    hub_repositories.c.pulls,
    hub_repositories.c.created_at,
    hub_repositories.c.updated_at,
    hub_repositories.c.pushed_at,
    select(1).where(build_configurations.c.repository_id == hub_repositories.c.repository_id).exists().label("built"),
)

_COUNT_ALL = select(func.count()).select_from(
    select(hub_repositories.c.repository_id)
    .where(hub_repositories.c.namespace_id == bindparam("namespace_id"))
    .limit(bindparam("at_most"))
    .subquery()
)
_ALL = select(*COLUMNS).join_from(hub_repositories, namespaces)
_BY_ID = _ALL.where(hub_repositories.c.repository_id == bindparam("repository_id"))


CHANGED = (hub_repositories.c.updated_at, hub_repositories.c.name)
_IN_NAMESPACE = (hub_repositories.c.namespace_id == bindparam("namespace_id"), hub_repositories.c.listed)
IN_NAMESPACE = SortedList(_ALL, *CHANGED, where=_IN_NAMESPACE, descending=True)
PUBLIC_IN_NAMESPACE = SortedList(_ALL, *CHANGED, where=(*_IN_NAMESPACE, PUBLIC), descending=True)
NEWEST_PUBLIC = SortedList(
    _ALL,
    hub_repositories.c.created_at,
    hub_repositories.c.name,
    hub_repositories.c.namespace_id,
    where=(hub_repositories.c.listed, PUBLIC),
    descending=True,
)


# The document of search goes with it, in the order in which changes of a repository lock the two rows.
_REMOVE = delete(hub_repositories).where(hub_repositories.c.repository_id == bindparam("repository_id"))


class Owner(msgspec.Struct, frozen=True):
    """The owner of a namespace, with the plan to enforce."""

    user_id: int
    default_visibility: Visibility
    plan: Plan


_OWNER = (
    select(
        users.c.id,
        users.c.default_visibility,
        *plan_columns(users),
    )
    .select_from(namespaces)
    .join(users, users.c.id == namespaces.c.user_id)
    .where(namespaces.c.id == bindparam("namespace_id"))
    .with_for_update(of=users)
)


_LOCK = (
    select(hub_repositories.c.repository_id)
    .where(hub_repositories.c.repository_id == bindparam("repository_id"))
    .with_for_update(key_share=True)
)


async def add(session: Session, repository_id: int, namespace_id: int, name: str, values: Mapping[str, Any]) -> None:
    """Add the index row of a new repository of the registry."""
    fixed = {"repository_id": repository_id, "namespace_id": namespace_id, "name": name, "stars": 0, "pulls": 0}
    await session.run(insert(hub_repositories).values(fixed | dict(values)))


async def by_id(session: Session, repository_id: int) -> Repository | None:
    """Return a repository by its id."""
    row = await session.row(_BY_ID, {"repository_id": repository_id})
    return repository_of(row) if row else None


async def lock(session: Session, repository_id: int) -> None:
    """Lock the index row of a repository until the transaction ends."""
    await session.row(_LOCK, {"repository_id": repository_id})


async def change(session: Session, repository_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of a repository."""
    await session.run(update(hub_repositories).where(hub_repositories.c.repository_id == repository_id).values(values))


async def record_push(session: Session, repository_id: int, at: datetime) -> None:
    """Record a push; the first one makes the repository appear in lists."""
    row = await session.row(select(hub_repositories.c.listed).where(hub_repositories.c.repository_id == repository_id))
    await change(session, repository_id, {"pushed_at": at, "updated_at": at, "listed": True})
    if row is not None and not row.listed:
        await index(session, repository_id)


async def index(session: Session, repository_id: int) -> None:
    """Update the search document of one repository; only public ones have one."""
    repository = await by_id(session, repository_id)
    if repository is None:
        return
    if repository.private:
        await session.run(delete(search_documents).where(search_documents.c.repository_id == repository_id))
        return
    values = {"name": repository.full_name, "description": repository.description}
    statement = upsert(session, search_documents).values(repository_id=repository_id, **values)
    await session.run(statement.on_conflict_do_update(index_elements=["repository_id"], set_=values))


async def index_if_listed(session: Session, repository_id: int) -> None:
    """Update the search document of a repository that lists show."""
    row = await session.row(select(hub_repositories.c.listed).where(hub_repositories.c.repository_id == repository_id))
    if row is not None and row.listed:
        await index(session, repository_id)


async def remove(session: Session, repository_id: int) -> None:
    """Remove a repository from the index and from search."""
    await session.run(_REMOVE, {"repository_id": repository_id})


def private_count(user_id: ColumnElement[int], at_most: int = MAX_COUNTED) -> ScalarSelect[int]:
    """Return the subquery that counts the private repositories of an account's namespace, up to ``at_most``."""
    return _private_count(user_id, literal_column(str(at_most)))


def _private_count(user_id: ColumnElement[int], at_most: ColumnElement[int]) -> ScalarSelect[int]:
    private = (
        select(hub_repositories.c.repository_id)
        .join(namespaces, namespaces.c.id == hub_repositories.c.namespace_id)
        .where(namespaces.c.user_id == user_id, PRIVATE)
        .limit(at_most)
        .correlate_except(hub_repositories, namespaces)
        .subquery()
    )
    return select(func.count()).select_from(private).scalar_subquery()


_COUNT_PRIVATE = select(_private_count(bindparam("user_id", type_=namespaces.c.user_id.type), bindparam("at_most")))


async def count_all(session: Session, namespace_id: int, at_most: int) -> int:
    """Return the number of repositories of a namespace, counted up to ``at_most``."""
    row = await session.row(_COUNT_ALL, {"namespace_id": namespace_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def count_private(session: Session, user_id: int, at_most: int) -> int:
    """Return the number of private repositories of an account's namespace, counted up to ``at_most``."""
    row = await session.row(_COUNT_PRIVATE, {"user_id": user_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def owner_of(session: Session, namespace_id: int) -> Owner | None:
    """Return and lock the owner of a namespace; None if no account owns it."""
    row = await session.row(_OWNER, {"namespace_id": namespace_id})
    if row is None:
        return None
    return Owner(row.id, Visibility(row.default_visibility), plan_of(row))


async def in_namespace(session: Session, namespace_id: int, paging: Paging, *, only_public: bool) -> Page[Repository]:
    """Return a page of a namespace's repositories, most recently changed first."""
    found = PUBLIC_IN_NAMESPACE if only_public else IN_NAMESPACE
    return await _page(session, found, paging, {"namespace_id": namespace_id})


async def newest_public(session: Session, paging: Paging) -> Page[Repository]:
    """Return a page of the public repositories, newest first."""
    return await _page(session, NEWEST_PUBLIC, paging, {})


async def add_pulls(session: Session, counts: Mapping[int, int]) -> None:
    """Increase the pull counters."""
    statement = (
        update(hub_repositories)
        .where(hub_repositories.c.repository_id == bindparam("which"))
        .values(pulls=hub_repositories.c.pulls + bindparam("more"))
    )
    await session.run(statement, [{"which": which, "more": more} for which, more in sorted(counts.items())])


async def _page(session: Session, of: SortedList, paging: Paging, parameters: Mapping[str, Any]) -> Page[Repository]:
    found = await of.slice(session, paging, parameters)
    total = await of.total(session, parameters)
    return page_of(found, tuple(map(repository_of, found.rows)), total, paging)


def repository_of(row: Row[Any]) -> Repository:
    """Return the Repository of a row with COLUMNS."""
    return Repository(
        row.repository_id,
        row.namespace,
        row.name,
        Visibility(row.visibility),
        row.official,
        row.description,
        row.full_description,
        row.stars,
        row.pulls,
        row.created_at,
        row.updated_at,
        row.pushed_at,
        bool(row.built),
    )
