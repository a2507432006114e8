"""The SQL of verification: all content, piece by piece."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, exists, select, tuple_, update

from hythe.database import Session
from hythe.database.tables.registry import blobs, manifests, repositories, repository_blobs

_BLOBS = (
    select(blobs.c.digest, blobs.c.size, blobs.c.quarantined_at)
    .where(
        blobs.c.digest > bindparam("after"),
        blobs.c.deleting_since.is_(None),
        exists().where(repository_blobs.c.digest == blobs.c.digest),
    )
    .order_by(blobs.c.digest)
    .limit(200)
)
_MANIFESTS = (
    select(
        manifests.c.repository_id,
        manifests.c.digest,
        manifests.c.content,
        select(repositories.c.name)
        .where(repositories.c.id == manifests.c.repository_id)
        .scalar_subquery()
        .label("name"),
    )
    .where(tuple_(manifests.c.repository_id, manifests.c.digest) > tuple_(bindparam("id"), bindparam("digest")))
    .order_by(manifests.c.repository_id, manifests.c.digest)
    .limit(50)
)
_RECORDED = select(blobs.c.digest).where(blobs.c.digest == bindparam("digest"))
_QUARANTINE = (
    update(blobs)
    .where(blobs.c.digest == bindparam("digest_"), blobs.c.deleting_since.is_(None))
    .values(quarantined_at=bindparam("at"))
)
_RELEASE = update(blobs).where(blobs.c.digest == bindparam("digest_")).values(quarantined_at=None)


async def blobs_after(session: Session, after: str) -> Sequence[Row[Any]]:
    """Return (digest, size, quarantined_at) of the next blobs, sorted."""
    return await session.rows(_BLOBS, {"after": after})


async def manifests_after(session: Session, repository_id: int, digest: str) -> Sequence[Row[Any]]:
    """Return (repository_id, digest, content, name of the repository) of the next manifests, sorted."""
    return await session.rows(_MANIFESTS, {"id": repository_id, "digest": digest})


async def is_recorded(session: Session, digest: str) -> bool:
    """Return whether this blob has a row."""
    return await session.row(_RECORDED, {"digest": digest}) is not None


async def quarantine(session: Session, digest: str, at: datetime) -> bool:
    """Quarantine a blob; return False if it was deleted."""
    return await session.run(_QUARANTINE, {"digest_": digest, "at": at}) == 1


async def release(session: Session, digest: str) -> None:
    """Remove a blob from quarantine."""
    await session.run(_RELEASE, {"digest_": digest})
