"""Repositories of the index in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.hub import hub_repositories, namespaces, search_documents, users
from hythe.hub.page import Paging
from hythe.hub.plan import Plan
from hythe.hub.repository import Repository
from hythe.hub.sql.access_context import seen_by
from hythe.hub.sql.plans import plan_columns, plan_of
from hythe.hub.user import Visibility

MAX_COUNTED = 10_000
"""The maximum total of a list: counting more items would cost more than showing a page."""

COLUMNS: tuple[ColumnElement[Any], ...] = (
    hub_repositories.c.repository_id,
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


async def add(session: Session, repository_id: int, namespace_id: int, name: str, values: Mapping[str, Any]) -> None:
    """Add the index row of a new repository of the registry."""
    fixed = {"repository_id": repository_id, "namespace_id": namespace_id, "name": name, "stars": 0, "pulls": 0}
    await session.run(insert(hub_repositories).values(fixed | dict(values)))


async def by_id(session: Session, repository_id: int) -> Repository | None:
    """Return a repository by its id."""
    row = await session.row(_BY_ID, {"repository_id": repository_id})
    return repository_of(row) if row else None


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
    """Update the search document of one repository."""
    repository = await by_id(session, repository_id)
    if repository is None:
        return
    values = {"name": repository.full_name, "description": repository.description}
    statement = upsert(session, search_documents).values(repository_id=repository_id, **values)
    await session.run(statement.on_conflict_do_update(index_elements=["repository_id"], set_=values))


async def remove(session: Session, repository_id: int) -> None:
    """Remove a repository from the index and from search."""
    await session.run(delete(search_documents).where(search_documents.c.repository_id == repository_id))
    await session.run(delete(hub_repositories).where(hub_repositories.c.repository_id == repository_id))


def private_count(user_id: ColumnElement[int] | int) -> ScalarSelect[int]:
    """Return the subquery that counts the private repositories of an account's namespace."""
    return (
        select(func.count())
        .select_from(hub_repositories)
        .join(namespaces)
        .where(namespaces.c.user_id == user_id, hub_repositories.c.visibility == Visibility.PRIVATE.value)
        .scalar_subquery()
    )


async def count_all(session: Session, namespace_id: int, at_most: int) -> int:
    """Return the number of repositories of a namespace, counted up to ``at_most``."""
    row = await session.row(_COUNT_ALL, {"namespace_id": namespace_id, "at_most": at_most})
    return int(row[0]) if row else 0


async def count_private(session: Session, user_id: int) -> int:
    """Return the number of private repositories of an account's namespace."""
    row = await session.row(select(private_count(user_id)))
    return int(row[0]) if row else 0


async def owner_of(session: Session, namespace_id: int) -> Owner | None:
    """Return and lock the owner of a namespace; None if no account owns it."""
    row = await session.row(_OWNER, {"namespace_id": namespace_id})
    if row is None:
        return None
    return Owner(row.id, Visibility(row.default_visibility), plan_of(row))


async def in_namespace(
    session: Session, namespace_id: int, user_id: int | None, paging: Paging
) -> tuple[tuple[Repository, ...], int]:
    """Return a page of a namespace's repositories, most recently changed first, and how many the account may see."""
    statement = _ALL.where(hub_repositories.c.namespace_id == namespace_id, hub_repositories.c.listed)
    return await _page(session, seen_by(statement, user_id), paging, hub_repositories.c.updated_at.desc())


async def newest_public(session: Session, paging: Paging) -> tuple[tuple[Repository, ...], int]:
    """Return a page of the public repositories, newest first, and their number."""
    statement = seen_by(_ALL.where(hub_repositories.c.listed), None)
    return await _page(session, statement, paging, hub_repositories.c.created_at.desc())


async def add_pulls(session: Session, counts: Mapping[int, int]) -> None:
    """Increase the pull counters."""
    statement = (
        update(hub_repositories)
        .where(hub_repositories.c.repository_id == bindparam("which"))
        .values(pulls=hub_repositories.c.pulls + bindparam("more"))
    )
    await session.run(statement, [{"which": which, "more": more} for which, more in sorted(counts.items())])


async def _page(
    session: Session, statement: Select[Any], paging: Paging, *order: ColumnElement[Any]
) -> tuple[tuple[Repository, ...], int]:
    ordered = statement.order_by(*order, hub_repositories.c.repository_id.desc())
    rows = await session.rows(ordered.offset(paging.offset).limit(paging.page_size))
    counted = await session.row(select(func.count()).select_from(statement.limit(MAX_COUNTED).subquery()))
    return tuple(repository_of(row) for row in rows), int(counted[0]) if counted else 0


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
