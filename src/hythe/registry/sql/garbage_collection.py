"""The SQL of garbage collection: marked content that is due, and what is unreferenced.

Due rows are read in pages, in the order of the partial indexes ``ix_.._due``: a page costs as much as it returns,
however much is stored, marked or already deleted.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from sqlalchemy import Column, Row, Select, Table, bindparam, delete, exists, func, literal, select, tuple_, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.metadata import Timestamp
from hythe.database.tables.registry import (
    blobs,
    garbage_collections,
    manifest_blobs,
    manifests,
    repository_blobs,
    uploads,
)
from hythe.registry.sql.blobs import batches, lock_some, mark_some

PAGE_SIZE = 500
"""Number of due rows to read at once."""

MAX_WAITING = 1000
"""Up to this number the rows of a table that wait for the end of their grace period are counted."""


MAX_RUNS = 200
"""How many runs stay recorded."""

MAX_FAILURE = 500
"""Characters of a recorded failure."""


class GarbageRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of garbage collection, and what it deleted; ``bytes`` is the size of the blobs.

    ``started_by`` is empty for the periodic runs of a server. ``failure`` is empty if it succeeded; a run that failed
    may have deleted something before.
    """

    started_at: datetime
    finished_at: datetime
    started_by: str
    manifests: int
    blobs: int
    bytes: int
    uploads: int
    failure: str

    @property
    def is_idle(self) -> bool:
        """Whether it succeeded, and found nothing to delete."""
        return not (self.manifests or self.blobs or self.uploads or self.failure)


class DueNow(msgspec.Struct, frozen=True):
    """How many manifests and blobs are due now, and the size of these blobs; what is still needed stays.

    Of each kind, MAX_WAITING are counted; ``exact``: there are no more.
    """

    manifests: int
    blobs: int
    bytes: int
    exact: bool


class DuePosition(msgspec.Struct, frozen=True):
    """A row in the order of an index of due rows: reading continues after it."""

    at: datetime = datetime.min.replace(tzinfo=UTC)
    repository_id: int = 0
    digest: str = ""


class DueContent(msgspec.Struct, frozen=True):
    """A manifest of a repository, or its link to a blob, that is due."""

    repository_id: int
    digest: str
    position: DuePosition


class DuePages(Protocol):
    """Reads the next page of due content after a position."""

    async def __call__(self, session: Session, now: datetime, after: DuePosition, /) -> tuple[DueContent, ...]:
        """Return the next rows."""


def _after(*columns: Column[Any]) -> Any:
    return tuple_(*columns) > tuple_(*(bindparam(f"after_{column.name}", type_=column.type) for column in columns))


def _due_in_repositories(table: Table) -> Any:
    order = (table.c.free_after, table.c.repository_id, table.c.digest)
    due = select(*order).where(table.c.free_after <= bindparam("now"), _after(*order))
    return due.order_by(*order).limit(PAGE_SIZE)


_DUE_MANIFESTS = _due_in_repositories(manifests)
_DUE_LINKS = _due_in_repositories(repository_blobs)


def _still_due(table: Table) -> Any:
    return (
        select(table.c.digest)
        .where(
            table.c.repository_id == bindparam("repository_id"),
            table.c.digest.in_(bindparam("digests", expanding=True)),
            table.c.free_after <= bindparam("now"),
        )
        .order_by(table.c.digest)
        .with_for_update()
    )


_MANIFESTS_STILL_DUE = _still_due(manifests)
_LINKS_STILL_DUE = _still_due(repository_blobs)
_IS_NEEDED = exists().where(
    manifest_blobs.c.repository_id == repository_blobs.c.repository_id,
    manifest_blobs.c.blob == repository_blobs.c.digest,
)
_NEEDED_LINKS = select(repository_blobs.c.digest).where(
    repository_blobs.c.repository_id == bindparam("repository_id"),
    repository_blobs.c.digest.in_(bindparam("digests", expanding=True)),
    _IS_NEEDED,
)
_REMOVE_LINKS = delete(repository_blobs).where(
    repository_blobs.c.repository_id == bindparam("repository_id"),
    repository_blobs.c.digest.in_(bindparam("digests", expanding=True)),
)
_DUE_BLOBS = (
    select(blobs.c.digest, blobs.c.free_after)
    .where(blobs.c.free_after <= bindparam("now"), _after(blobs.c.free_after, blobs.c.digest))
    .order_by(blobs.c.free_after, blobs.c.digest)
    .limit(PAGE_SIZE)
)
_OF_DIGESTS = blobs.c.digest.in_(bindparam("digests", expanding=True))
_USAGE = select(
    blobs.c.digest,
    blobs.c.size,
    exists().where(repository_blobs.c.digest == blobs.c.digest).label("linked"),
    exists().where(uploads.c.digest == blobs.c.digest).label("claimed"),
).where(_OF_DIGESTS, blobs.c.deleting_since.is_(None))
# A doomed blob is due for nothing else.
_DOOM = update(blobs).where(_OF_DIGESTS).values(deleting_since=bindparam("at"), free_after=None)
_KEEP_UNTIL = update(blobs).where(_OF_DIGESTS).values(free_after=bindparam("free_after"))
_ABANDONED = (
    select(blobs.c.digest, blobs.c.deleting_since)
    .where(blobs.c.deleting_since <= bindparam("before"), _after(blobs.c.deleting_since, blobs.c.digest))
    .order_by(blobs.c.deleting_since, blobs.c.digest)
    .limit(PAGE_SIZE)
)
_UNDOOM = (
    update(blobs)
    .where(_OF_DIGESTS, blobs.c.deleting_since <= bindparam("before"))
    .values(deleting_since=None, free_after=bindparam("free_after"))
)
_REMOVE_DOOMED = delete(blobs).where(_OF_DIGESTS, blobs.c.deleting_since.is_not(None))


def _waiting(table: Table) -> Any:
    marked = select(table.c.free_after).where(table.c.free_after.is_not(None)).order_by(table.c.free_after)
    some = marked.limit(MAX_WAITING).subquery()
    return select(func.count().label("marked"), func.min(some.c.free_after, type_=Timestamp()).label("first"))


def _due_now(table: Table, size: Any) -> Any:
    due = select(size.label("size")).where(table.c.free_after <= bindparam("now")).order_by(table.c.free_after)
    some = due.limit(MAX_WAITING).subquery()
    return select(func.count().label("due"), func.coalesce(func.sum(some.c.size), 0).label("bytes")).select_from(some)


_DUE_NOW = tuple(
    _due_now(table, size)
    for table, size in ((manifests, literal(0)), (repository_blobs, literal(0)), (blobs, blobs.c.size))
)
_RUNS = garbage_collections
_FORGET_IDLE = delete(_RUNS).where(_RUNS.c.idle.is_(True), _RUNS.c.id < bindparam("newest"))
_LAST_KEPT = select(_RUNS.c.id).order_by(_RUNS.c.id.desc()).limit(1).offset(MAX_RUNS).scalar_subquery()
_FORGET_OLD = delete(_RUNS).where(_RUNS.c.id <= _LAST_KEPT)
_WAITING = tuple(_waiting(table) for table in (manifests, repository_blobs, blobs))


async def due_manifests(session: Session, now: datetime, after: DuePosition) -> tuple[DueContent, ...]:
    """Return the next due manifests of all repositories."""
    return await _due_content(session, _DUE_MANIFESTS, now, after)


async def due_links(session: Session, now: datetime, after: DuePosition) -> tuple[DueContent, ...]:
    """Return the next due links of all repositories to blobs."""
    return await _due_content(session, _DUE_LINKS, now, after)


async def manifests_still_due(
    session: Session, repository_id: int, digests: Iterable[str], now: datetime
) -> tuple[str, ...]:
    """Return which of the manifests are due; no one extends their grace period before the transaction ends."""
    values = {"repository_id": repository_id, "digests": list(digests), "now": now}
    return tuple(row.digest for row in await session.rows(_MANIFESTS_STILL_DUE, values))


async def links_still_due(
    session: Session, repository_id: int, digests: Iterable[str], now: datetime
) -> tuple[str, ...]:
    """Return which of the blobs are due there; no one extends their grace period before the transaction ends."""
    values = {"repository_id": repository_id, "digests": list(digests), "now": now}
    return tuple(row.digest for row in await session.rows(_LINKS_STILL_DUE, values))


async def needed_links(session: Session, repository_id: int, digests: Sequence[str]) -> frozenset[str]:
    """Return which of the repository's blobs a manifest there refers to."""
    rows = await session.rows(_NEEDED_LINKS, {"repository_id": repository_id, "digests": digests})
    return frozenset(row.digest for row in rows)


async def remove_links(session: Session, repository_id: int, digests: Iterable[str], free_after: datetime) -> None:
    """Unlink blobs from a repository; they may be freed if no other repository contains them."""
    some = list(digests)
    # Lock blobs before the usage of the namespace, which unlinking changes, as pushes do.
    await mark_some(session, some, free_after)
    for batch in batches(some):
        await session.run(_REMOVE_LINKS, {"repository_id": repository_id, "digests": batch})


async def due_blobs(session: Session, now: datetime, after: DuePosition) -> tuple[DuePosition, ...]:
    """Return the next due blobs, some of which a process may be deleting: the index alone answers."""
    values = {"now": now, "after_free_after": after.at, "after_digest": after.digest}
    rows = await session.rows(_DUE_BLOBS, values)
    return tuple(DuePosition(row.free_after, 0, row.digest) for row in rows)


async def usage(session: Session, digests: Sequence[str]) -> Sequence[Row[Any]]:
    """Return (digest, size, linked, claimed) of the blobs that exist and are not being deleted.

    They are locked until the transaction ends.
    """
    await lock_some(session, digests)
    return await session.rows(_USAGE, {"digests": digests})


async def doom(session: Session, digests: Sequence[str], at: datetime) -> None:
    """Doom blobs whose bytes are about to be deleted: from now on they cannot be linked. Lock them first."""
    if digests:
        await session.run(_DOOM, {"digests": digests, "at": at})


async def keep_until(session: Session, digests: Sequence[str], free_after: datetime | None) -> None:
    """Keep blobs permanently (None) or until they are examined again. Lock them first."""
    if digests:
        await session.run(_KEEP_UNTIL, {"digests": digests, "free_after": free_after})


async def remove_doomed(session: Session, digests: Sequence[str]) -> None:
    """Delete the rows of blobs whose bytes were deleted."""
    if session.dialect == "postgresql":
        # The DELETE would lock them in an order of its own.
        await lock_some(session, digests)
    await session.run(_REMOVE_DOOMED, {"digests": digests})


async def abandoned(session: Session, before: datetime, after: DuePosition) -> tuple[DuePosition, ...]:
    """Return the next blobs that were doomed before ``before``: the process that was deleting them died."""
    values = {"before": before, "after_deleting_since": after.at, "after_digest": after.digest}
    rows = await session.rows(_ABANDONED, values)
    return tuple(DuePosition(row.deleting_since, 0, row.digest) for row in rows)


async def undoom(session: Session, digests: Sequence[str], before: datetime, free_after: datetime) -> int:
    """Undoom those of the blobs that were doomed before ``before``; return their number.

    Their bytes may or may not exist.
    """
    await lock_some(session, digests)
    return await session.run(_UNDOOM, {"digests": digests, "before": before, "free_after": free_after})


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
    """Return the number of marked manifests, links and blobs, and when the first of them is due.

    Of each kind, at most MAX_WAITING are counted.
    """
    count, first = 0, None
    for statement in _WAITING:
        row = await session.row(statement)
        if row is not None and row.marked:
            count += row.marked
            first = row.first if first is None else min(first, row.first)
    return count, first


async def due_now(session: Session, now: datetime) -> DueNow:
    """Return what the next run examines; blobs of repositories count as blobs."""
    found = [await session.row(statement, {"now": now}) for statement in _DUE_NOW]
    counts = [int(row.due) if row else 0 for row in found]
    size = sum(int(row.bytes) for row in found if row)
    return DueNow(counts[0], counts[1] + counts[2], size, max(counts) < MAX_WAITING)


async def record(session: Session, run: GarbageRun) -> None:
    """Record a run, and forget older ones: of the idle runs only the newest stays."""
    values = {**msgspec.structs.asdict(run), "idle": run.is_idle}
    row = await session.row(insert(session, _RUNS).values(values).returning(_RUNS.c.id))
    if run.is_idle and row is not None:
        await session.run(_FORGET_IDLE, {"newest": row.id})
    await session.run(_FORGET_OLD)


async def _due_content(
    session: Session, statement: Select[Any], now: datetime, after: DuePosition
) -> tuple[DueContent, ...]:
    at = {"after_free_after": after.at, "after_repository_id": after.repository_id, "after_digest": after.digest}
    rows = await session.rows(statement, {"now": now, **at})
    return tuple(
        DueContent(row.repository_id, row.digest, DuePosition(row.free_after, row.repository_id, row.digest))
        for row in rows
    )
