"""Reads tags with their manifests in one query, from the registry's tables, which only the registry writes."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select

from hythe.database import Session
from hythe.database.tables.registry import manifests, tags
from hythe.hub.page import Paging

_COLUMNS = (
    tags.c.name,
    tags.c.digest,
    tags.c.moved_at,
    tags.c.moved_by,
    manifests.c.media_type,
    manifests.c.content,
)

_DIGEST_LENGTH = len("sha256-") + 64
_OF_IMAGES = or_(tags.c.name.not_like("sha256-%"), func.length(tags.c.name) < _DIGEST_LENGTH)
"""Tags that users set, without those of cosign and of the referrers fallback, ``sha256-HEX[.att]``."""


def _tags(repository_id: int) -> Select[Any]:
    same = and_(manifests.c.repository_id == tags.c.repository_id, manifests.c.digest == tags.c.digest)
    return select(*_COLUMNS).join_from(tags, manifests, same).where(tags.c.repository_id == repository_id)


async def listed(
    session: Session, repository_id: int, paging: Paging, part: str = ""
) -> tuple[Sequence[Row[Any]], int]:
    """Return a page of the tags whose names contain ``part``, most recently moved first, and their number.

    Leaves out tags that only describe an image (cosign's signatures and attestations).
    """
    fitting = (_OF_IMAGES, tags.c.name.icontains(part, autoescape=True)) if part else (_OF_IMAGES,)
    ordered = _tags(repository_id).where(*fitting).order_by(tags.c.moved_at.desc(), tags.c.name)
    rows = await session.rows(ordered.offset(paging.offset).limit(paging.page_size))
    counted = await session.row(select(func.count()).where(tags.c.repository_id == repository_id, *fitting))
    return rows, int(counted[0]) if counted else 0


async def one(session: Session, repository_id: int, name: str) -> Row[Any] | None:
    """Return one tag with its manifest."""
    return await session.row(_tags(repository_id).where(tags.c.name == name))


async def contents(session: Session, repository_id: int, digests: Collection[str]) -> dict[str, tuple[str, bytes]]:
    """Return media type and content of those manifests that exist."""
    columns = (manifests.c.digest, manifests.c.media_type, manifests.c.content)
    of_repository = manifests.c.repository_id == repository_id
    rows = await session.rows(select(*columns).where(of_repository, manifests.c.digest.in_(digests)))
    return {row.digest: (row.media_type, bytes(row.content)) for row in rows}
