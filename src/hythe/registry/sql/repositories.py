"""The SQL of repositories. A repository's row is also the lock for changes to its content.

Transactions that add blobs hold it shared; those that change manifests or tags, or free content, hold it exclusively.
SQLite has only one writer and needs no locks.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import catalog_entries, repositories, repository_blobs
from hythe.registry.access import Listing
from hythe.registry.events import RepositoryRef

_BY_NAME = select(repositories).where(repositories.c.name == bindparam("name"))
_LOCK_SHARED = _BY_NAME.with_for_update(read=True)
_LOCK_EXCLUSIVE = _BY_NAME.with_for_update()
_LOCK_EXCLUSIVE_BY_ID = select(repositories).where(repositories.c.id == bindparam("id")).with_for_update()
_IN_CATALOG = (
    select(catalog_entries.c.name)
    .where(catalog_entries.c.name > bindparam("after"))
    .order_by(catalog_entries.c.name)
    .limit(bindparam("limit"))
)
_IN_CATALOG_FOR = _IN_CATALOG.where(catalog_entries.c.audience == bindparam("audience"))
_IN_CATALOG_NAMED = _IN_CATALOG.where(catalog_entries.c.name.in_(bindparam("names", expanding=True)))
_CONTAINING = (
    select(repositories.c.name)
    .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
    .where(repository_blobs.c.digest == bindparam("digest"), repositories.c.deleted_at.is_(None))
    .order_by(repositories.c.id)
    .limit(bindparam("limit"))
)
_NAME = select(repositories.c.name).where(repositories.c.id == bindparam("id"))


async def find(session: Session, name: str) -> RepositoryRef | None:
    """Return the repository with this name."""
    return _repository(await session.row(_BY_NAME, {"name": name}))


async def lock(session: Session, name: str, *, exclusive: bool) -> RepositoryRef | None:
    """Return the repository with this name, locked until the transaction ends."""
    return _repository(await session.row(_LOCK_EXCLUSIVE if exclusive else _LOCK_SHARED, {"name": name}))


async def lock_by_id(session: Session, repository_id: int) -> RepositoryRef | None:
    """Return the repository with this id, locked exclusively until the transaction ends."""
    return _repository(await session.row(_LOCK_EXCLUSIVE_BY_ID, {"id": repository_id}))


async def create(session: Session, name: str, at: datetime) -> bool:
    """Add a repository; return False if one with this name exists."""
    statement = insert(session, repositories).values(name=name, created_at=at).on_conflict_do_nothing()
    return await session.run(statement) == 1


async def name_of(session: Session, repository_id: int) -> str | None:
    """Return the name of the repository with this id."""
    row = await session.row(_NAME, {"id": repository_id})
    return None if row is None else str(row.name)


async def in_catalog(session: Session, listing: Listing, after: str, limit: int) -> tuple[str, ...]:
    """Return the next names, sorted, of listed repositories that contain a manifest."""
    values = {"after": after, "limit": limit}
    if listing.audiences is None:
        return tuple(row.name for row in await session.rows(_IN_CATALOG, values))
    found = [await session.rows(_IN_CATALOG_FOR, values | {"audience": each}) for each in listing.audiences]
    if listing.names:
        found.append(await session.rows(_IN_CATALOG_NAMED, values | {"names": listing.names}))
    return tuple(sorted({row.name for rows in found for row in rows})[:limit])


async def names_containing(session: Session, digest: str, limit: int) -> tuple[str, ...]:
    """Return names of repositories that contain this blob."""
    return tuple(row.name for row in await session.rows(_CONTAINING, {"digest": digest, "limit": limit}))


def _repository(row: Row[Any] | None) -> RepositoryRef | None:
    return None if row is None else RepositoryRef(row.id, row.name, row.created_at)
