"""The SQL of blobs and of the links from repositories to blobs.

Transactions that lock several of these take them in this order, since another order could deadlock on PostgreSQL:

1. the row of the repository
2. a digest (``lock``), then its row of ``blobs``; of several (``lock_some``), in the order of the digests
3. the usage of the namespace, which linking and unlinking changes
4. upload sessions; of several, in the order of their ids
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import ARRAY, BigInteger, Boolean, Executable, bindparam, delete, func, null, select, update
from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

from hythe.database import Session
from hythe.database.port import Dialect, insert_for
from hythe.database.tables.registry import blobs, repositories, repository_blobs

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgreSQLInsert

_Insert: TypeAlias = "SQLiteInsert | PostgreSQLInsert"

BATCH_SIZE = 500
"""Maximum number of values in one IN list."""

_FIND = (
    select(
        repositories.c.id.label("repository_id"),
        repository_blobs.c.digest,
        repository_blobs.c.free_after,
        blobs.c.size,
        blobs.c.quarantined_at,
    )
    .select_from(repositories)
    .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
    .join(blobs, blobs.c.digest == repository_blobs.c.digest)
    .where(repositories.c.name == bindparam("name"), repository_blobs.c.digest == bindparam("digest"))
)
_LOCK = select(func.lock_blob(bindparam("key"), bindparam("digest"), type_=Boolean).label("usable"))
_LOCK_DIGESTS = select(
    func.pg_advisory_xact_lock(func.unnest(bindparam("keys", type_=ARRAY(BigInteger))).column_valued("key"))
)
_DOOMED = select(blobs.c.deleting_since).where(blobs.c.digest == bindparam("digest"))
_LINKED = select(repository_blobs.c.digest).where(
    repository_blobs.c.repository_id == bindparam("repository_id"),
    repository_blobs.c.digest.in_(bindparam("digests", expanding=True)),
)
_USABLE = _LINKED.join(blobs, blobs.c.digest == repository_blobs.c.digest).where(blobs.c.quarantined_at.is_(None))
_UNLINK = delete(repository_blobs).where(
    repository_blobs.c.repository_id == bindparam("repository_id"), repository_blobs.c.digest == bindparam("digest")
)
_MARK_LINK = (
    update(repository_blobs)
    .where(
        repository_blobs.c.repository_id == bindparam("repository_id_"),
        repository_blobs.c.digest.in_(bindparam("digests", expanding=True)),
    )
    .values(free_after=bindparam("free_after"))
)
_MARK_LINK_ONCE = _MARK_LINK.where(repository_blobs.c.free_after.is_(None))
_RENEW_LINK = (
    update(repository_blobs)
    .where(
        repository_blobs.c.repository_id == bindparam("repository_id_"),
        repository_blobs.c.digest == bindparam("digest_"),
        repository_blobs.c.free_after < bindparam("free_after"),
    )
    .values(free_after=bindparam("free_after"))
)
_MARK = (update(blobs).where(blobs.c.digest == bindparam("digest_"), blobs.c.deleting_since.is_(None))).values(
    free_after=bindparam("free_after")
)
_MARK_SOME = (
    update(blobs)
    .where(blobs.c.digest.in_(bindparam("digests", expanding=True)), blobs.c.deleting_since.is_(None))
    .values(free_after=bindparam("free_after"))
)
_LOCK_ROWS = (
    select(blobs.c.digest)
    .where(blobs.c.digest.in_(bindparam("digests", expanding=True)))
    .order_by(blobs.c.digest)
    .with_for_update(key_share=True)
)


class FoundBlob:
    """A blob in a repository; ``free_after`` is set if no manifest there refers to it."""

    __slots__ = ("digest", "free_after", "quarantined", "repository_id", "size")

    def __init__(
        self, repository_id: int, digest: str, size: int, free_after: datetime | None, quarantined: bool
    ) -> None:
        self.repository_id = repository_id
        self.digest = digest
        self.size = size
        self.free_after = free_after
        self.quarantined = quarantined


async def find(session: Session, repository: str, digest: str) -> FoundBlob | None:
    """Return the blob if the repository with this name contains it."""
    row = await session.row(_FIND, {"name": repository, "digest": digest})
    if row is None:
        return None
    return FoundBlob(row.repository_id, row.digest, row.size, row.free_after, row.quarantined_at is not None)


async def lock(session: Session, digest: str) -> bool:
    """Lock one blob until the transaction ends; return False if its bytes are being deleted.

    SQLite has only one writer. The row may not exist yet, so PostgreSQL locks the digest too (migration 0034).
    """
    if session.dialect == "postgresql":
        locked = await session.row(_LOCK, {"key": lock_key(digest), "digest": digest})
        return locked is not None and bool(locked.usable)
    row = await session.row(_DOOMED, {"digest": digest})
    return row is None or row.deleting_since is None


async def lock_some(session: Session, digests: Iterable[str]) -> None:
    """Lock blobs until the transaction ends, as ``lock`` does for one; BATCH_SIZE at most.

    PostgreSQL has room for some thousand locked digests in all transactions.
    """
    ordered = sorted(digests)
    if session.dialect == "postgresql":
        await session.rows(_LOCK_DIGESTS, {"keys": [lock_key(digest) for digest in ordered]})
        await session.rows(_LOCK_ROWS, {"digests": ordered})


async def add(session: Session, digest: str, size: int, at: datetime) -> None:
    """Record that a blob is stored and intact. Hold it first."""
    await session.run(_add(session.dialect), {"digest": digest, "size": size, "stored_at": at})


async def link(session: Session, repository_id: int, digest: str, at: datetime, free_after: datetime) -> None:
    """Link a blob to a repository, marked with ``free_after`` if no manifest refers to it. Hold it first."""
    values = {"repository_id": repository_id, "digest": digest, "linked_at": at, "free_after": free_after}
    await session.run(_link(session.dialect), values)


async def add_linked(
    session: Session, repository_id: int, digest: str, size: int, at: datetime, free_after: datetime
) -> None:
    """Do what ``add`` and ``link`` do, on PostgreSQL in one statement."""
    if session.dialect == "sqlite":
        await add(session, digest, size, at)
        await link(session, repository_id, digest, at, free_after)
        return
    values = {"repository_id_": repository_id, "digest_": digest, "size_": size}
    await session.run(_add_linked(), {**values, "stored_at_": at, "linked_at_": at, "free_after_": free_after})


async def unlink(session: Session, repository_id: int, digest: str) -> bool:
    """Unlink a blob from a repository; return False if it was not linked."""
    return await session.run(_UNLINK, {"repository_id": repository_id, "digest": digest}) == 1


async def usable(session: Session, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
    """Return which of the digests the repository contains without known damage."""
    found: set[str] = set()
    for some in batches(digests):
        rows = await session.rows(_USABLE, {"repository_id": repository_id, "digests": some})
        found.update(row.digest for row in rows)
    return frozenset(found)


async def mark_links(
    session: Session, repository_id: int, digests: Iterable[str], free_after: datetime | None, *, once: bool = False
) -> None:
    """Set when a repository's blobs may be freed; with ``once``, only where nothing is set."""
    statement = _MARK_LINK_ONCE if once else _MARK_LINK
    for some in batches(digests):
        await session.run(statement, {"repository_id_": repository_id, "digests": some, "free_after": free_after})


async def renew_link(session: Session, repository_id: int, digest: str, free_after: datetime) -> None:
    """Extend the grace period of an unreferenced blob: a client asked for it and may build on it."""
    values = {"repository_id_": repository_id, "digest_": digest, "free_after": free_after}
    await session.run(_RENEW_LINK, values)


async def mark(session: Session, digest: str, free_after: datetime) -> None:
    """Set when a blob may be freed if no repository contains it."""
    await session.run(_MARK, {"digest_": digest, "free_after": free_after})


async def mark_some(session: Session, digests: Iterable[str], free_after: datetime) -> None:
    """Set when blobs may be freed if no repository contains them.

    A transaction that calls it again passes greater digests.
    """
    for some in batches(sorted(digests)):
        if session.dialect == "postgresql":
            # The UPDATE would lock them in an order of its own.
            await session.rows(_LOCK_ROWS, {"digests": some})
        await session.run(_MARK_SOME, {"digests": some, "free_after": free_after})


def batches(values: Iterable[str], size: int = BATCH_SIZE) -> Iterator[Sequence[str]]:
    """Yield the values in lists short enough for an IN."""
    ordered = list(values)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def lock_key(digest: str) -> int:
    """Return the number under which PostgreSQL locks a digest."""
    return int.from_bytes(hashlib.blake2b(digest.encode(), digest_size=8).digest(), signed=True)


@cache
def _add(dialect: Dialect) -> Executable:
    return _adding(insert_for(dialect, blobs))


@cache
def _link(dialect: Dialect) -> Executable:
    return _linking(insert_for(dialect, repository_blobs))


@cache
def _add_linked() -> Executable:
    names = ("digest", "size", "stored_at")
    stored = insert_for("postgresql", blobs).values({name: bindparam(f"{name}_") for name in names})
    added = _adding(stored).returning(blobs.c.digest).cte("added")
    # Selected from the blob, so that its row is locked before the link's.
    given = (
        bindparam(f"{name}_", type_=repository_blobs.c[name].type)
        for name in ("repository_id", "linked_at", "free_after")
    )
    columns = ("digest", "repository_id", "linked_at", "free_after")
    linked = insert_for("postgresql", repository_blobs).from_select(columns, select(added.c.digest, *given))
    return _linking(linked)


def _adding(statement: _Insert) -> _Insert:
    renewed = {"size": statement.excluded.size, "free_after": null(), "quarantined_at": null()}
    return statement.on_conflict_do_update(index_elements=[blobs.c.digest], set_=renewed)


def _linking(statement: _Insert) -> _Insert:
    # A link that a manifest refers to has no free_after, and gets none.
    return statement.on_conflict_do_update(
        index_elements=[repository_blobs.c.repository_id, repository_blobs.c.digest],
        set_={"free_after": statement.excluded.free_after},
        where=repository_blobs.c.free_after.is_not(None),
    )
