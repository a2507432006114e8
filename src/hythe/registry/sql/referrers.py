"""The SQL of referrers: manifests with a ``subject``."""

from typing import Any

import msgspec
from sqlalchemy import Select, bindparam, select

from hythe.database import Session
from hythe.database.tables.registry import manifests, repositories
from hythe.oci.digest import Digest
from hythe.oci.manifest import Descriptor

_ALL: Select[Any] = (
    select(
        manifests.c.media_type,
        manifests.c.digest,
        manifests.c.size,
        manifests.c.annotations,
        manifests.c.artifact_type,
    )
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(
        repositories.c.name == bindparam("repository"),
        manifests.c.subject == bindparam("subject"),
        manifests.c.digest > bindparam("after"),
    )
    .order_by(manifests.c.digest)
    .limit(bindparam("limit"))
)
_OF_TYPE = _ALL.where(manifests.c.artifact_type == bindparam("artifact_type"))

_ANNOTATIONS = msgspec.json.Decoder(dict[str, str])


async def descriptors_after(
    session: Session, repository: str, subject: Digest, artifact_type: str | None, after: str, limit: int
) -> tuple[Descriptor, ...]:
    """Return descriptors of the next referrers, sorted by digest."""
    values = {"repository": repository, "subject": str(subject), "after": after, "limit": limit}
    if artifact_type is None:
        rows = await session.rows(_ALL, values)
    else:
        rows = await session.rows(_OF_TYPE, {**values, "artifact_type": artifact_type})
    return tuple(
        Descriptor(
            media_type=row.media_type,
            digest=row.digest,
            size=row.size,
            annotations=_ANNOTATIONS.decode(row.annotations),
            artifact_type=row.artifact_type,
        )
        for row in rows
    )
