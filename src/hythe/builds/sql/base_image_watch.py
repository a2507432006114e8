"""Rows of base images: what the images of a build configuration were last built from."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_base_images, build_configurations
from hythe.database.tables.registry import repositories


async def replace(session: Session, configuration_id: int, found: Mapping[str, str], now: datetime) -> None:
    """Replace the base images of a configuration."""
    await session.run(delete(build_base_images).where(build_base_images.c.configuration_id == configuration_id))
    for reference, digest in found.items():
        values = {"configuration_id": configuration_id, "reference": reference, "digest": digest, "checked_at": now}
        await session.run(insert(session, build_base_images).values(values))


async def built_from(session: Session, references: Collection[str]) -> list[int]:
    """Return the ids of the configurations that are built from one of these images, in ascending order."""
    statement = select(build_base_images.c.configuration_id).where(build_base_images.c.reference.in_(references))
    rows = await session.rows(statement.distinct().order_by(build_base_images.c.configuration_id))
    return [row.configuration_id for row in rows]


async def bases_of(session: Session, repository: str) -> list[str]:
    """Return the base images of a repository."""
    statement = (
        select(build_base_images.c.reference)
        .join(build_configurations, build_configurations.c.id == build_base_images.c.configuration_id)
        .join(repositories, repositories.c.id == build_configurations.c.repository_id)
        .where(repositories.c.name == repository)
    )
    return [row.reference for row in await session.rows(statement)]


async def due(session: Session, before: datetime, limit: int) -> list[tuple[str, str]]:
    """Return base images of other registries, with the known digest, that were last checked before then."""
    statement = (
        select(build_base_images.c.reference, build_base_images.c.digest)
        .join(build_configurations, build_configurations.c.id == build_base_images.c.configuration_id)
        .where(
            build_base_images.c.checked_at < before,
            build_configurations.c.active.is_(True),
            build_configurations.c.options.contains('"base_link":true'),
        )
        .distinct()
        .limit(limit)
    )
    return [(row.reference, row.digest) for row in await session.rows(statement) if _has_host(row.reference)]


async def set_checked(session: Session, reference: str, known: str, digest: str, now: datetime) -> bool:
    """Record a check and its digest; return False if another server was first."""
    where = (build_base_images.c.reference == reference, build_base_images.c.digest == known)
    return bool(await session.run(update(build_base_images).where(*where).values(digest=digest, checked_at=now)))


def _has_host(reference: str) -> bool:
    first = reference.partition("/")[0]
    return "." in first or ":" in first or first == "localhost"
