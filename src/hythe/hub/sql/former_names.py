"""Former names in the database: which account or repository a name that no longer exists belongs to now."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, func, insert, literal, select, union_all, update

from hythe.database import Session
from hythe.database.tables.hub import hub_repositories, namespaces
from hythe.database.tables.names import former_namespaces, former_repositories
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

MAX_NAMES = 500
"""Names of one repository that are looked at."""


class Successor(msgspec.Struct, frozen=True):
    """What a name refers to now: a namespace, and in it (or in another) a repository, None: no such repository."""

    namespace: str
    repository: str | None


class FormerName(msgspec.Struct, frozen=True):
    """A former name, of a repository or (without ``/``) of the account itself, and where it leads."""

    name: str
    target: str
    since: datetime
    renamed_by: str


_now = namespaces.alias("now")
_named = namespaces.alias("named")
_HELD_BY = func.coalesce(
    select(_named.c.id).where(_named.c.name == bindparam("namespace")).scalar_subquery(),
    select(former_namespaces.c.namespace_id)
    .where(former_namespaces.c.name == bindparam("namespace"))
    .scalar_subquery(),
)
_FULL_NAME = _now.c.name + "/" + hub_repositories.c.name
_PRESENT = (
    select(_FULL_NAME)
    .join_from(hub_repositories, _now, _now.c.id == hub_repositories.c.namespace_id)
    .where(hub_repositories.c.namespace_id == namespaces.c.id, hub_repositories.c.name == bindparam("name"))
)
_FORMER = (
    select(_FULL_NAME)
    .select_from(former_repositories)
    .join(hub_repositories, hub_repositories.c.repository_id == former_repositories.c.repository_id)
    .join(_now, _now.c.id == hub_repositories.c.namespace_id)
    .where(former_repositories.c.namespace_id == namespaces.c.id, former_repositories.c.name == bindparam("name"))
)
_SUCCESSOR = select(
    namespaces.c.name,
    func.coalesce(
        _PRESENT.correlate(namespaces).scalar_subquery(), _FORMER.correlate(namespaces).scalar_subquery()
    ).label("repository"),
).where(namespaces.c.id == _HELD_BY)
_ACCOUNT = (
    select(namespaces.c.name, namespaces.c.id, former_namespaces.c.followed_at)
    .join(former_namespaces, former_namespaces.c.namespace_id == namespaces.c.id)
    .where(former_namespaces.c.name == bindparam("name"))
)
_PLACE = select(
    namespaces.c.name,
    select(former_repositories.c.repository_id)
    .where(former_repositories.c.namespace_id == namespaces.c.id, former_repositories.c.name == bindparam("name"))
    .scalar_subquery()
    .label("repository_id"),
).where(namespaces.c.id == bindparam("namespace_id"))
_REMOVE_REPOSITORY = delete(former_repositories).where(
    former_repositories.c.namespace_id == bindparam("namespace_id"), former_repositories.c.name == bindparam("name")
)
_REMOVE_NAMESPACE = delete(former_namespaces).where(former_namespaces.c.name == bindparam("name"))
_UNFOLLOWED = (
    select(former_namespaces.c.name, namespaces.c.id, namespaces.c.name.label("present"))
    .join_from(former_namespaces, namespaces)
    .where(former_namespaces.c.followed_at.is_(None))
    .order_by(former_namespaces.c.name)
    .limit(20)
)
_OF_REPOSITORIES = (
    select(
        former_repositories.c.name,
        former_repositories.c.since,
        former_repositories.c.renamed_by,
        (_now.c.name + "/" + hub_repositories.c.name).label("target"),
    )
    .select_from(former_repositories)
    .join(hub_repositories, hub_repositories.c.repository_id == former_repositories.c.repository_id)
    .join(_now, _now.c.id == hub_repositories.c.namespace_id)
)
OF_NAMESPACE = SortedList(
    _OF_REPOSITORIES,
    former_repositories.c.name,
    where=(former_repositories.c.namespace_id == bindparam("namespace_id"),),
)
_OWN = (
    select(former_namespaces)
    .where(former_namespaces.c.namespace_id == bindparam("namespace_id"))
    .order_by(former_namespaces.c.name)
    .limit(100)
)
# A repository has had every former name of every namespace in which it is or was.
_PLACES = union_all(
    select(hub_repositories.c.namespace_id, hub_repositories.c.name).where(
        hub_repositories.c.repository_id == bindparam("repository_id")
    ),
    select(former_repositories.c.namespace_id, former_repositories.c.name).where(
        former_repositories.c.repository_id == bindparam("repository_id")
    ),
).subquery("places")
_NAMES = union_all(
    select((namespaces.c.name + "/" + _PLACES.c.name).label("name")).join_from(
        _PLACES, namespaces, namespaces.c.id == _PLACES.c.namespace_id
    ),
    select((former_namespaces.c.name + "/" + _PLACES.c.name).label("name")).join_from(
        _PLACES, former_namespaces, former_namespaces.c.namespace_id == _PLACES.c.namespace_id
    ),
).limit(literal(MAX_NAMES))


async def successor(session: Session, namespace: str, name: str) -> Successor | None:
    """Return what NAMESPACE/NAME refers to now; None if neither has another name now."""
    row = await session.row(_SUCCESSOR, {"namespace": namespace, "name": name})
    if row is None or row.repository == f"{namespace}/{name}" or (row.repository is None and row.name == namespace):
        return None
    return Successor(row.name, row.repository)


async def account(session: Session, name: str) -> str | None:
    """Return the present name of the account that had this name."""
    row = await session.row(_ACCOUNT, {"name": name})
    return None if row is None else str(row.name)


async def holder(session: Session, name: str) -> tuple[int, bool] | None:
    """Return the id of the namespace that had this name, and whether everything in it has followed."""
    row = await session.row(_ACCOUNT, {"name": name})
    return None if row is None else (int(row.id), row.followed_at is not None)


async def place(session: Session, namespace_id: int, name: str) -> tuple[str, int | None]:
    """Return a namespace's present name, and the id of the repository that had the name in it, if there is one."""
    row = await session.row(_PLACE, {"namespace_id": namespace_id, "name": name})
    return ("", None) if row is None else (row.name, row.repository_id)


async def keep_account(session: Session, namespace_id: int, name: str, at: datetime, by: str) -> None:
    """Keep the name that a namespace had."""
    values = {"name": name, "namespace_id": namespace_id, "since": at, "renamed_by": by}
    await session.run(insert(former_namespaces).values(values))


async def keep_repository(
    session: Session, namespace_id: int, name: str, repository_id: int, at: datetime, by: str
) -> None:
    """Keep the name that a repository had in a namespace."""
    values = {"namespace_id": namespace_id, "name": name, "repository_id": repository_id}
    await session.run(insert(former_repositories).values(**values, since=at, renamed_by=by))


async def end_repository(session: Session, namespace_id: int, name: str) -> bool:
    """Forget the former name of a repository; return False if there is none."""
    return bool(await session.run(_REMOVE_REPOSITORY, {"namespace_id": namespace_id, "name": name}))


async def end_account(session: Session, name: str) -> None:
    """Forget the former name of an account."""
    await session.run(_REMOVE_NAMESPACE, {"name": name})


async def unfollowed(session: Session) -> list[tuple[str, int, str]]:
    """Return some former names that search or finished builds still have, with id and name of the namespace now."""
    return [(row.name, row.id, row.present) for row in await session.rows(_UNFOLLOWED)]


async def set_followed(session: Session, name: str, at: datetime) -> None:
    """Note that nothing has this former name any more."""
    await session.run(update(former_namespaces).where(former_namespaces.c.name == name).values(followed_at=at))


async def of_account(session: Session, namespace_id: int, target: str) -> tuple[FormerName, ...]:
    """Return the former names of an account."""
    rows = await session.rows(_OWN, {"namespace_id": namespace_id})
    return tuple(FormerName(row.name, target, row.since, row.renamed_by) for row in rows)


async def of_namespace(session: Session, namespace_id: int, namespace: str, paging: Paging) -> Page[FormerName]:
    """Return a page of the names that repositories had in a namespace."""
    parameters = {"namespace_id": namespace_id}
    found = await OF_NAMESPACE.slice(session, paging, parameters)
    total = await OF_NAMESPACE.total(session, parameters)
    items = tuple(FormerName(f"{namespace}/{row.name}", row.target, row.since, row.renamed_by) for row in found.rows)
    return page_of(found, items, total, paging)


async def names_of(session: Session, repository_id: int) -> list[str]:
    """Return the names under which a repository can be pulled, at most ``MAX_NAMES``: the present and former ones."""
    return [str(row.name) for row in await session.rows(_NAMES, {"repository_id": repository_id})]
