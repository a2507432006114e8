"""The SQL of referrers: manifests with a ``subject``."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, Select, bindparam, func, literal_column, select

from hythe.database import Session
from hythe.database.tables.registry import manifests, repositories
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor
from hythe.registry.sql.blobs import batches

NOTICEABLE_SIZE = 10_000
"""Characters of annotations that take a noticeable time to decode: other tasks run before."""

_REPOSITORY_ID = select(repositories.c.id).where(repositories.c.name == bindparam("repository")).scalar_subquery()
_SIZES: Select[Any] = (
    select(manifests.c.digest, manifests.c.size)
    .where(
        manifests.c.repository_id == _REPOSITORY_ID,
        manifests.c.subject == bindparam("subject"),
        manifests.c.digest > bindparam("after"),
    )
    .order_by(manifests.c.digest)
    .limit(bindparam("limit"))
)
# The index contains the beginning of the type. A condition on the whole type would keep SQLite from using it.
_SIZES_OF_TYPE = _SIZES.where(
    func.substr(manifests.c.artifact_type, literal_column("1"), literal_column("200")) == bindparam("beginning"),
    func.substr(manifests.c.artifact_type, literal_column("201")) == bindparam("rest"),
)

_DESCRIPTORS = (
    select(
        manifests.c.media_type,
        manifests.c.digest,
        manifests.c.size,
        manifests.c.annotations,
        manifests.c.artifact_type,
    )
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(repositories.c.name == bindparam("repository"), manifests.c.digest.in_(bindparam("digests", expanding=True)))
    .order_by(manifests.c.digest)
)

_ANNOTATIONS = msgspec.json.Decoder(dict[str, str])


async def sizes_after(
    session: Session, repository: str, subject: Digest, artifact_type: str | None, after: str, limit: int
) -> tuple[tuple[str, int], ...]:
    """Return digest and size in bytes of the next referrers, sorted by digest."""
    values = {"repository": repository, "subject": str(subject), "after": after, "limit": limit}
    if artifact_type is None:
        rows = await session.rows(_SIZES, values)
    else:
        kind = {"beginning": artifact_type[:200], "rest": artifact_type[200:]}
        rows = await session.rows(_SIZES_OF_TYPE, values | kind)
    return tuple((row.digest, row.size) for row in rows)


async def descriptors(session: Session, repository: str, digests: Sequence[str]) -> tuple[Descriptor, ...]:
    """Return the descriptors of these referrers, sorted by digest."""
    found: list[Descriptor] = []
    for some in batches(digests):
        rows = await session.rows(_DESCRIPTORS, {"repository": repository, "digests": some})
        for row in rows:
            if len(row.annotations) > NOTICEABLE_SIZE:
                await asyncio.sleep(0)
            found.append(_descriptor(row))
    return tuple(found)


def _descriptor(row: Row[Any]) -> Descriptor:
    return Descriptor(
        media_type=row.media_type,
        digest=row.digest,
        size=row.size,
        annotations=_ANNOTATIONS.decode(row.annotations),
        artifact_type=row.artifact_type,
    )
