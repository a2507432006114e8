"""The SQL of the garbage collection: what is marked and due, and what of it nothing needs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, bindparam, delete, exists, func, select, union, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import blobs, manifest_blobs, manifests, repository_blobs, uploads
from hythe.registry.sql.blobs import batches

BATCH = 500
"""How many rows one transaction looks at: on SQLite, nobody else writes meanwhile."""

_DUE_REPOSITORIES = union(
    select(manifests.c.repository_id).where(manifests.c.free_after <= bindparam("now")),
    select(repository_blobs.c.repository_id).where(repository_blobs.c.free_after <= bindparam("now")),
)


def _due_in_repository(table: Table) -> Any:
    return (
        select(table.c.digest)
        .where(
            table.c.repository_id == bindparam("repository_id"),
            table.c.free_after <= bindparam("now"),
            table.c.digest > bindparam("after"),
        )
        .order_by(table.c.digest)
        .limit(BATCH)
        .with_for_update()
    )


_DUE_MANIFESTS = _due_in_repository(manifests)
_DUE_LINKS = _due_in_repository(repository_blobs)
_STILL_DUE = (
    select(manifests.c.digest)
    .where(
        manifests.c.repository_id == bindparam("repository_id"),
        manifests.c.digest.in_(bindparam("digests", expanding=True)),
        manifests.c.free_after <= bindparam("now"),
    )
    .order_by(manifests.c.digest)
    .with_for_update()
)
_NEEDED_LINKS = (
    select(manifest_blobs.c.blob)
    .where(
        manifest_blobs.c.repository_id == bindparam("repository_id"),
        manifest_blobs.c.blob.in_(bindparam("digests", expanding=True)),
    )
    .distinct()
)
_REMOVE_LINKS = delete(repository_blobs).where(
    repository_blobs.c.repository_id == bindparam("repository_id"),
    repository_blobs.c.digest.in_(bindparam("digests", expanding=True)),
)
_MARK_BLOBS = (
    update(blobs)
    .where(blobs.c.digest.in_(bindparam("digests", expanding=True)), blobs.c.deleting_since.is_(None))
    .values(free_after=bindparam("free_after"))
)
_DUE_BLOBS = (
    select(blobs.c.digest, blobs.c.size)
    .where(blobs.c.free_after <= bindparam("now"), blobs.c.deleting_since.is_(None))
    .order_by(blobs.c.digest)
    .limit(bindparam("limit"))
)
_USE = select(
    exists().where(repository_blobs.c.digest == bindparam("digest")).label("linked"),
    exists().where(uploads.c.digest == bindparam("digest")).label("claimed"),
)
_LOCKED = (
    select(blobs.c.size)
    .where(blobs.c.digest == bindparam("digest"), blobs.c.deleting_since.is_(None))
    .with_for_update()
)
_DOOM = update(blobs).where(blobs.c.digest == bindparam("digest_")).values(deleting_since=bindparam("at"))
_SPARE = update(blobs).where(blobs.c.digest == bindparam("digest_")).values(free_after=bindparam("free_after"))
_REPRIEVE = (
    update(blobs)
    .where(blobs.c.deleting_since <= bindparam("before"))
    .values(deleting_since=None, free_after=bindparam("free_after"))
)
_REPRIEVE_ONE = _REPRIEVE.where(blobs.c.digest == bindparam("digest_"))
_BURY = delete(blobs).where(blobs.c.digest == bindparam("digest"), blobs.c.deleting_since.is_not(None))


async def due_repositories(session: Session, now: datetime) -> tuple[int, ...]:
    """Return the ids of repositories that have something that is due."""
    return tuple(row[0] for row in await session.rows(_DUE_REPOSITORIES, {"now": now}))


async def due_manifests(session: Session, repository_id: int, now: datetime, after: str) -> tuple[str, ...]:
    """Return the next manifests of the repository that are due, in the order of their digests."""
    rows = await session.rows(_DUE_MANIFESTS, {"repository_id": repository_id, "now": now, "after": after})
    return tuple(row.digest for row in rows)


async def still_due(session: Session, repository_id: int, digests: Iterable[str], now: datetime) -> tuple[str, ...]:
    """Return those of a few manifests that are due; nobody extends their time before the transaction ends."""
    values = {"repository_id": repository_id, "digests": list(digests), "now": now}
    return tuple(row.digest for row in await session.rows(_STILL_DUE, values))


async def due_links(session: Session, repository_id: int, now: datetime) -> tuple[str, ...]:
    """Return some blobs of the repository that are due; nobody extends their time before the transaction ends."""
    rows = await session.rows(_DUE_LINKS, {"repository_id": repository_id, "now": now, "after": ""})
    return tuple(row.digest for row in rows)


async def needed_links(session: Session, repository_id: int, digests: Sequence[str]) -> frozenset[str]:
    """Return those of the blobs that a manifest of the repository needs."""
    rows = await session.rows(_NEEDED_LINKS, {"repository_id": repository_id, "digests": digests})
    return frozenset(row.blob for row in rows)


async def remove_links(session: Session, repository_id: int, digests: Iterable[str], free_after: datetime) -> None:
    """Take blobs from a repository; they may go altogether when no other has them."""
    for some in batches(digests):
        await session.run(_REMOVE_LINKS, {"repository_id": repository_id, "digests": some})
        await session.run(_MARK_BLOBS, {"digests": some, "free_after": free_after})


async def due_blobs(session: Session, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Return (digest, size) of some blobs that are due."""
    return await session.rows(_DUE_BLOBS, {"now": now, "limit": limit})


async def use(session: Session, digest: str) -> Row[Any] | None:
    """Return (linked, claimed) of a blob, None when it is gone or doomed by somebody else. Hold it first."""
    if await session.row(_LOCKED, {"digest": digest}) is None:
        return None
    return await session.row(_USE, {"digest": digest})


async def doom(session: Session, digest: str, at: datetime) -> None:
    """Say that a blob's bytes are about to be removed: from now on nobody may link to it."""
    await session.run(_DOOM, {"digest_": digest, "at": at})


async def spare(session: Session, digest: str, free_after: datetime | None) -> None:
    """Keep a blob, for good (None) or until it is looked at again."""
    await session.run(_SPARE, {"digest_": digest, "free_after": free_after})


async def bury(session: Session, digest: str) -> None:
    """Forget a blob whose bytes are gone."""
    await session.run(_BURY, {"digest": digest})


async def reprieve(session: Session, before: datetime, free_after: datetime, digest: str | None = None) -> int:
    """Undoom blobs whose remover died: they were doomed before ``before``. Their bytes may or may not be there."""
    values = {"before": before, "free_after": free_after}
    if digest is None:
        return await session.run(_REPRIEVE, values)
    return await session.run(_REPRIEVE_ONE, {**values, "digest_": digest})


async def adopt(session: Session, digest: str, at: datetime) -> None:
    """Record bytes that nobody has recorded, so that they are looked at like any other blob that is due."""
    statement = insert(session, blobs).values(digest=digest, size=0, stored_at=at, free_after=at)
    await session.run(
        statement.on_conflict_do_update(
            index_elements=[blobs.c.digest],
            set_={"free_after": at},
            where=blobs.c.deleting_since.is_(None) & blobs.c.free_after.is_(None),
        )
    )


async def waiting(session: Session) -> tuple[int, datetime | None]:
    """Return how many manifests and blobs are marked, and when the first of them is due."""
    count, first = 0, None
    for table in (manifests, repository_blobs, blobs):
        marked = select(func.count().label("marked"), func.min(table.c.free_after).label("first")).where(
            table.c.free_after.is_not(None)
        )
        row = await session.row(marked)
        if row is not None and row.marked:
            count += row.marked
            first = row.first if first is None else min(first, row.first)
    return count, first
