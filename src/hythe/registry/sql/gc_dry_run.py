"""The SQL of the dry run of garbage collection: reads only and takes no locks, so it blocks no one."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Row, Table, bindparam, exists, func, or_, select

from hythe.database import Session
from hythe.database.tables.registry import (
    blobs,
    manifest_blobs,
    manifest_children,
    manifests,
    repositories,
    repository_blobs,
    tags,
    uploads,
)
from hythe.registry.sql.blobs import batches

_REPOSITORY: BindParameter[int] = bindparam("repository_id")
_DIGESTS: BindParameter[str] = bindparam("digests", expanding=True)


def _unmarked(table: Table) -> Any:
    return select(table.c.digest).where(
        table.c.repository_id == _REPOSITORY, table.c.digest.in_(_DIGESTS), table.c.free_after.is_(None)
    )


_NAME = select(repositories.c.name).where(repositories.c.id == _REPOSITORY)
_UNMARKED_MANIFESTS, _UNMARKED_LINKS = _unmarked(manifests), _unmarked(repository_blobs)
_TAGGED = select(tags.c.digest).where(tags.c.repository_id == _REPOSITORY, tags.c.digest.in_(_DIGESTS)).distinct()
_CONTAINED = select(manifest_children.c.child.label("digest"), manifest_children.c.manifest.label("needed_by")).where(
    manifest_children.c.repository_id == _REPOSITORY, manifest_children.c.child.in_(_DIGESTS)
)
_subjects = manifests.alias("subjects")
_REFERRING = (
    select(manifests.c.digest, manifests.c.subject.label("needed_by"))
    .join(
        _subjects,
        (_subjects.c.repository_id == manifests.c.repository_id) & (_subjects.c.digest == manifests.c.subject),
    )
    .where(manifests.c.repository_id == _REPOSITORY, manifests.c.digest.in_(_DIGESTS))
)
_USES = (
    select(manifest_blobs.c.blob, func.count().label("uses"))
    .where(manifest_blobs.c.repository_id == _REPOSITORY)
    .group_by(manifest_blobs.c.blob)
)
_USES_OF_BLOBS = _USES.where(manifest_blobs.c.blob.in_(_DIGESTS))
_USES_BY_MANIFESTS = _USES.where(manifest_blobs.c.manifest.in_(_DIGESTS))
_DEAD = blobs.c.deleting_since <= bindparam("doomed_before")
_UNCLAIMED = (
    select(
        blobs.c.digest,
        blobs.c.size,
        select(func.count())
        .where(repository_blobs.c.digest == blobs.c.digest)
        .correlate(blobs)
        .scalar_subquery()
        .label("links"),
    )
    .where(
        blobs.c.digest.in_(_DIGESTS),
        or_(blobs.c.deleting_since.is_(None), _DEAD),
        ~exists().where(uploads.c.digest == blobs.c.digest, uploads.c.touched_at >= bindparam("stale_before")),
    )
    .order_by(blobs.c.digest)
)
_STALE_UPLOADS = select(func.count()).select_from(uploads).where(uploads.c.touched_at < bindparam("before"))


async def name(session: Session, repository_id: int) -> str | None:
    """Return a repository's name."""
    row = await session.row(_NAME, {"repository_id": repository_id})
    return row.name if row else None


async def unmarked_manifests(session: Session, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
    """Return which of the manifests are not marked."""
    return frozenset(row.digest for row in await _of_digests(session, _UNMARKED_MANIFESTS, repository_id, digests))


async def unmarked_links(session: Session, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
    """Return which of the blobs are not marked in the repository."""
    return frozenset(row.digest for row in await _of_digests(session, _UNMARKED_LINKS, repository_id, digests))


async def tagged(session: Session, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
    """Return which of the manifests are tagged."""
    return frozenset(row.digest for row in await _of_digests(session, _TAGGED, repository_id, digests))


async def needed_by(session: Session, repository_id: int, digests: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of a manifest and another one that refers to it: an index that contains it, or its subject."""
    rows = [
        *await _of_digests(session, _CONTAINED, repository_id, digests),
        *await _of_digests(session, _REFERRING, repository_id, digests),
    ]
    return [(row.digest, row.needed_by) for row in rows]


async def uses_of_blobs(session: Session, repository_id: int, digests: Iterable[str]) -> dict[str, int]:
    """Return for each of the blobs how many of the repository's manifests refer to it."""
    return {row.blob: row.uses for row in await _of_digests(session, _USES_OF_BLOBS, repository_id, digests)}


async def uses_by_manifests(session: Session, repository_id: int, digests: Iterable[str]) -> list[tuple[str, int]]:
    """Return the blobs that these manifests refer to, with the number of references; a blob can appear repeatedly."""
    return [(row.blob, row.uses) for row in await _of_digests(session, _USES_BY_MANIFESTS, repository_id, digests)]


async def unclaimed(
    session: Session, digests: Iterable[str], doomed_before: datetime, stale_before: datetime
) -> list[Row[Any]]:
    """Return (digest, size, links) of the blobs that no active upload claims and no process is deleting."""
    found: list[Row[Any]] = []
    times = {"doomed_before": doomed_before, "stale_before": stale_before}
    for some in batches(digests):
        found += await session.rows(_UNCLAIMED, {"digests": some, **times})
    return found


async def stale_uploads(session: Session, before: datetime) -> int:
    """Return the number of uploads that were last used before then."""
    row = await session.row(_STALE_UPLOADS, {"before": before})
    return int(row[0]) if row else 0


async def _of_digests(session: Session, statement: Any, repository_id: int, digests: Iterable[str]) -> list[Row[Any]]:
    found: list[Row[Any]] = []
    for some in batches(digests):
        found += await session.rows(statement, {"repository_id": repository_id, "digests": some})
    return found
