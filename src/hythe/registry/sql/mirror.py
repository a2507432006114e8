"""The SQL of mirrored manifests: when each was last used, and their size."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import blobs, mirrored_manifests, repositories, repository_blobs

_UNUSED = (
    select(repositories.c.name, mirrored_manifests.c.digest, mirrored_manifests.c.used_at)
    .join(repositories, repositories.c.id == mirrored_manifests.c.repository_id)
    .where(mirrored_manifests.c.used_at < bindparam("before"))
    .order_by(mirrored_manifests.c.used_at)
    .limit(bindparam("limit"))
)
_MIRRORED = select(mirrored_manifests.c.repository_id).distinct()
_SIZE = select(func.coalesce(func.sum(blobs.c.size), 0).label("size")).where(
    blobs.c.digest.in_(
        select(repository_blobs.c.digest).where(
            repository_blobs.c.repository_id.in_(_MIRRORED), repository_blobs.c.free_after.is_(None)
        )
    )
)
_USED = (
    update(mirrored_manifests)
    .where(
        mirrored_manifests.c.repository_id == bindparam("repository_id_"),
        mirrored_manifests.c.digest == bindparam("digest_"),
        mirrored_manifests.c.used_at < bindparam("before"),
    )
    .values(used_at=bindparam("at"))
)


async def add(session: Session, repository_id: int, digest: str, at: datetime) -> None:
    """Record that a manifest came from an upstream registry."""
    statement = insert(session, mirrored_manifests).values(repository_id=repository_id, digest=digest, used_at=at)
    keys = [mirrored_manifests.c.repository_id, mirrored_manifests.c.digest]
    await session.run(statement.on_conflict_do_update(index_elements=keys, set_={"used_at": at}))


async def record_use(session: Session, repository_id: int, digest: str, at: datetime, before: datetime) -> None:
    """Record that a manifest was used, unless that was recorded after ``before``."""
    values = {"repository_id_": repository_id, "digest_": digest, "at": at, "before": before}
    await session.run(_USED, values)


async def unused(session: Session, before: datetime, limit: int) -> Sequence[Row[Any]]:
    """Return ``name, digest, used_at`` of manifests last used before then, least recently used first."""
    return await session.rows(_UNUSED, {"before": before, "limit": limit})


async def size(session: Session) -> int:
    """Return how many bytes of blobs the mirrored manifests keep."""
    row = await session.row(_SIZE)
    return int(row.size) if row is not None else 0
