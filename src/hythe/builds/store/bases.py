"""Rows of base images: what a set-up's images were last built from."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_bases, build_setups
from hythe.database.tables.registry import repositories


async def replace(session: Session, setup_id: int, found: Mapping[str, str], now: datetime) -> None:
    """Write what a set-up is built from now."""
    await session.run(delete(build_bases).where(build_bases.c.setup_id == setup_id))
    for reference, digest in found.items():
        values = {"setup_id": setup_id, "reference": reference, "digest": digest, "checked_at": now}
        await session.run(insert(session, build_bases).values(values))


async def built_from(session: Session, reference: str) -> list[int]:
    """Return the ids of the set-ups that are built from this image, always in the same order."""
    statement = select(build_bases.c.setup_id).where(build_bases.c.reference == reference)
    rows = await session.rows(statement.order_by(build_bases.c.setup_id))
    return [row.setup_id for row in rows]


async def bases_of(session: Session, repository: str) -> list[str]:
    """Return what the set-up of this repository is built from."""
    statement = (
        select(build_bases.c.reference)
        .join(build_setups, build_setups.c.id == build_bases.c.setup_id)
        .join(repositories, repositories.c.id == build_setups.c.repository_id)
        .where(repositories.c.name == repository)
    )
    return [row.reference for row in await session.rows(statement)]


async def due(session: Session, before: datetime, most: int) -> list[tuple[str, str]]:
    """Return the bases with a host, of set-ups that want to know, that were not looked at since ``before``."""
    statement = (
        select(build_bases.c.reference, build_bases.c.digest)
        .join(build_setups, build_setups.c.id == build_bases.c.setup_id)
        .where(
            build_bases.c.checked_at < before,
            build_setups.c.active.is_(True),
            build_setups.c.options.contains('"base_link":true'),
        )
        .distinct()
        .limit(most)
    )
    return [(row.reference, row.digest) for row in await session.rows(statement) if _has_host(row.reference)]


async def looked_at(session: Session, reference: str, known: str, digest: str, now: datetime) -> bool:
    """Write when a base was looked at, and what it is; returns False when another server was first."""
    where = (build_bases.c.reference == reference, build_bases.c.digest == known)
    return bool(await session.run(update(build_bases).where(*where).values(digest=digest, checked_at=now)))


def _has_host(reference: str) -> bool:
    first = reference.partition("/")[0]
    return "." in first or ":" in first or first == "localhost"
