"""Reads tags with their manifests in one query, from the registry's tables, which only the registry writes."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, case, func, or_, select

from hythe.database import Session
from hythe.database.tables.registry import manifests, tags
from hythe.hub.page import Paging
from hythe.registry.sql.blobs import batches

MAX_PARENT_SIZE = 256 * 1024
"""Bytes; the content of larger manifests is not read for lists of tags."""

MAX_CHILD_SIZE = 32 * 1024
"""Bytes of a manifest in an index. There may be more than a thousand of them in a list of tags."""

CHILDREN_AT_ONCE = 50
"""Manifests that one query reads."""

_COLUMNS = (
    tags.c.name,
    tags.c.digest,
    tags.c.moved_at,
    tags.c.moved_by,
    manifests.c.media_type,
    case((manifests.c.size <= MAX_PARENT_SIZE, manifests.c.content)).label("content"),
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
    """Return one tag with its manifest, unless that is larger than ``MAX_PARENT_SIZE``."""
    return await session.row(_tags(repository_id).where(tags.c.name == name))


async def contents(session: Session, repository_id: int, digests: Collection[str]) -> dict[str, tuple[bytes, str]]:
    """Return content and media type of those manifests that exist and are not larger than ``MAX_CHILD_SIZE``."""
    found: dict[str, tuple[bytes, str]] = {}
    columns = (manifests.c.digest, manifests.c.media_type, manifests.c.content)
    fitting = (manifests.c.repository_id == repository_id) & (manifests.c.size <= MAX_CHILD_SIZE)
    for some in batches(digests, CHILDREN_AT_ONCE):
        rows = await session.rows(select(*columns).where(fitting, manifests.c.digest.in_(some)))
        found.update((row.digest, (bytes(row.content), row.media_type)) for row in rows)
    return found
