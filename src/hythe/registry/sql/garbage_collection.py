"""The SQL of garbage collection: marked content that is due, and what is unreferenced."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, bindparam, delete, exists, func, select, union, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import blobs, manifest_blobs, manifests, repository_blobs, uploads
from hythe.registry.sql.blobs import batches, mark_some

BATCH_SIZE = 500
"""Number of rows to examine in one transaction, which blocks other writers on SQLite."""

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
        .limit(BATCH_SIZE)
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
_DUE_BLOBS = (
    select(blobs.c.digest, blobs.c.size)
    .where(blobs.c.free_after <= bindparam("now"), blobs.c.deleting_since.is_(None))
    .order_by(blobs.c.digest)
    .limit(bindparam("limit"))
)
_USAGE = select(
    exists().where(repository_blobs.c.digest == bindparam("digest")).label("linked"),
    exists().where(uploads.c.digest == bindparam("digest")).label("claimed"),
)
_LOCKED = (
    select(blobs.c.size)
    .where(blobs.c.digest == bindparam("digest"), blobs.c.deleting_since.is_(None))
    .with_for_update(key_share=True)
)
_DOOM = update(blobs).where(blobs.c.digest == bindparam("digest_")).values(deleting_since=bindparam("at"))
_KEEP_UNTIL = update(blobs).where(blobs.c.digest == bindparam("digest_")).values(free_after=bindparam("free_after"))
_LOCK_DOOMED = (
    select(blobs.c.digest)
    .where(blobs.c.deleting_since <= bindparam("before"))
    .order_by(blobs.c.digest)
    .with_for_update(key_share=True)
)
_UNDOOM = (
    update(blobs)
    .where(blobs.c.deleting_since <= bindparam("before"))
    .values(deleting_since=None, free_after=bindparam("free_after"))
)
_UNDOOM_ONE = _UNDOOM.where(blobs.c.digest == bindparam("digest_"))
_REMOVE_DOOMED = delete(blobs).where(blobs.c.digest == bindparam("digest"), blobs.c.deleting_since.is_not(None))


async def due_repositories(session: Session, now: datetime) -> tuple[int, ...]:
    """Return the ids of repositories that have content that is due."""
    return tuple(row[0] for row in await session.rows(_DUE_REPOSITORIES, {"now": now}))


async def due_manifests(session: Session, repository_id: int, now: datetime, after: str) -> tuple[str, ...]:
    """Return the next due manifests of the repository, sorted by digest."""
    rows = await session.rows(_DUE_MANIFESTS, {"repository_id": repository_id, "now": now, "after": after})
    return tuple(row.digest for row in rows)


async def still_due(session: Session, repository_id: int, digests: Iterable[str], now: datetime) -> tuple[str, ...]:
    """Return which of the manifests are due; no one extends their grace period before the transaction ends."""
    values = {"repository_id": repository_id, "digests": list(digests), "now": now}
    return tuple(row.digest for row in await session.rows(_STILL_DUE, values))


async def due_links(session: Session, repository_id: int, now: datetime) -> tuple[str, ...]:
    """Return some due blobs of the repository; no one extends their grace period before the transaction ends."""
    rows = await session.rows(_DUE_LINKS, {"repository_id": repository_id, "now": now, "after": ""})
    return tuple(row.digest for row in rows)


async def needed_links(session: Session, repository_id: int, digests: Sequence[str]) -> frozenset[str]:
    """Return which of the blobs a manifest of the repository refers to."""
    rows = await session.rows(_NEEDED_LINKS, {"repository_id": repository_id, "digests": digests})
    return frozenset(row.blob for row in rows)


async def remove_links(session: Session, repository_id: int, digests: Iterable[str], free_after: datetime) -> None:
    """Unlink blobs from a repository; they may be freed if no other repository contains them."""
    some = list(digests)
    # Lock blobs before the usage of the namespace, which unlinking changes, as pushes do.
    await mark_some(session, some, free_after)
    for batch in batches(some):
        await session.run(_REMOVE_LINKS, {"repository_id": repository_id, "digests": batch})


async def due_blobs(session: Session, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Return (digest, size) of some due blobs."""
    return await session.rows(_DUE_BLOBS, {"now": now, "limit": limit})


async def usage(session: Session, digest: str) -> Row[Any] | None:
    """Return (linked, claimed) of a blob; None if it was deleted or another process doomed it. Hold it first."""
    if await session.row(_LOCKED, {"digest": digest}) is None:
        return None
    return await session.row(_USAGE, {"digest": digest})


async def doom(session: Session, digest: str, at: datetime) -> None:
    """Doom a blob whose bytes are about to be deleted: from now on it cannot be linked."""
    await session.run(_DOOM, {"digest_": digest, "at": at})


async def keep_until(session: Session, digest: str, free_after: datetime | None) -> None:
    """Keep a blob permanently (None) or until it is examined again."""
    await session.run(_KEEP_UNTIL, {"digest_": digest, "free_after": free_after})


async def remove_doomed(session: Session, digest: str) -> None:
    """Delete the row of a blob whose bytes were deleted."""
    await session.run(_REMOVE_DOOMED, {"digest": digest})


async def undoom(session: Session, before: datetime, free_after: datetime, digest: str | None = None) -> int:
    """Undoom blobs that were doomed before ``before``, because the deleting process died. Their bytes may or may not
    exist.
    """
    values = {"before": before, "free_after": free_after}
    if digest is None:
        await session.rows(_LOCK_DOOMED, {"before": before})
        return await session.run(_UNDOOM, values)
    return await session.run(_UNDOOM_ONE, {**values, "digest_": digest})


async def mark_unrecorded(session: Session, digest: str, at: datetime) -> None:
    """Record unrecorded bytes, so that they are examined like any other due blob."""
    statement = insert(session, blobs).values(digest=digest, size=0, stored_at=at, free_after=at)
    await session.run(
        statement.on_conflict_do_update(
            index_elements=[blobs.c.digest],
            set_={"free_after": at},
            where=blobs.c.deleting_since.is_(None) & blobs.c.free_after.is_(None),
        )
    )


async def waiting(session: Session) -> tuple[int, datetime | None]:
    """Return the number of marked manifests and blobs, and when the first of them is due."""
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
