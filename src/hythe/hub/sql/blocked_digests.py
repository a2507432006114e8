"""Blocked manifests and blobs in the database, and which repositories have them."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, select, union_all

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.administration import blocked_digests
from hythe.database.tables.registry import manifest_blobs, manifests, repositories
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

_DIGEST = bindparam("digest", type_=blocked_digests.c.digest.type)
LIST = SortedList(select(blocked_digests), blocked_digests.c.digest)
_ADDED = union_all(
    select(_DIGEST.label("digest")),
    select(manifest_blobs.c.blob).where(
        manifest_blobs.c.repository_id == bindparam("repository_id"), manifest_blobs.c.manifest == _DIGEST
    ),
).subquery()
_OF_MANIFEST = (
    select(blocked_digests.c.digest, blocked_digests.c.reason)
    .join_from(_ADDED, blocked_digests, blocked_digests.c.digest == _ADDED.c.digest)
    .limit(1)
)
_REASON = select(blocked_digests.c.reason).where(blocked_digests.c.digest == _DIGEST)
_REMOVE = delete(blocked_digests).where(blocked_digests.c.digest == _DIGEST)
_WITH_MANIFEST = (
    select(repositories.c.name)
    .join_from(manifests, repositories)
    .where(manifests.c.digest == _DIGEST, repositories.c.deleted_at.is_(None))
    .limit(bindparam("at_most"))
)


class BlockedDigest(msgspec.Struct, frozen=True):
    """The digest of a manifest or blob that cannot be pushed."""

    digest: str
    reason: str
    blocked_by: str
    blocked_at: datetime


async def listed(session: Session, paging: Paging) -> Page[BlockedDigest]:
    """Return a page of the blocked digests."""
    found = await LIST.slice(session, paging, {})
    items = tuple(BlockedDigest(row.digest, row.reason, row.blocked_by, row.blocked_at) for row in found.rows)
    return page_of(found, items, await LIST.total(session, {}), paging)


async def of_manifest(session: Session, repository_id: int, digest: str) -> str | None:
    """Return the blocked digest of a stored manifest: its own, or that of one of its blobs."""
    row = await session.row(_OF_MANIFEST, {"repository_id": repository_id, "digest": digest})
    return row.digest if row else None


async def is_blocked(session: Session, digest: str) -> bool:
    """Return whether the digest is blocked."""
    return await session.row(_REASON, {"digest": digest}) is not None


async def put(session: Session, digest: str, reason: str, by: str, at: datetime) -> None:
    """Block a digest, or replace its reason."""
    values = {"digest": digest, "reason": reason, "blocked_by": by, "blocked_at": at}
    statement = upsert(session, blocked_digests).values(values)
    await session.run(statement.on_conflict_do_update(index_elements=["digest"], set_={"reason": reason}))


async def remove(session: Session, digest: str) -> bool:
    """Unblock a digest; return whether it was blocked."""
    return bool(await session.run(_REMOVE, {"digest": digest}))


async def some_repositories(session: Session, digest: str, at_most: int) -> tuple[str, ...]:
    """Return the names of some repositories that have the digest as a manifest."""
    rows = await session.rows(_WITH_MANIFEST, {"digest": digest, "at_most": at_most})
    return tuple(row.name for row in rows)
