"""The SQL of the installation's row, and of samples of recorded blobs."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, or_, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import blobs, installation

_ROW = select(installation.c.id, installation.c.kind, installation.c.blob_store, installation.c.key_fingerprint).where(
    installation.c.number == 1
)
_SET_KIND = update(installation).where(installation.c.kind.is_(None)).values(kind=bindparam("kind_"))
_SET_BLOB_STORE = (
    update(installation)
    .where(or_(installation.c.blob_store.is_(None), installation.c.blob_store == bindparam("before")))
    .values(blob_store=bindparam("marker"))
)
_SET_KEY_FINGERPRINT = update(installation).values(key_fingerprint=bindparam("fingerprint"))
_NEXT_BLOBS = (
    select(blobs.c.digest)
    .where(blobs.c.digest >= bindparam("start"), blobs.c.quarantined_at.is_(None), blobs.c.deleting_since.is_(None))
    .order_by(blobs.c.digest)
    .limit(bindparam("limit"))
)
_STORED = (blobs.c.quarantined_at.is_(None), blobs.c.deleting_since.is_(None))
_SIZES = (
    select(blobs.c.digest, blobs.c.size)
    .where(blobs.c.digest > bindparam("after"), *_STORED)
    .order_by(blobs.c.digest)
    .limit(bindparam("limit"))
)
_RECORDED = select(blobs.c.digest).where(blobs.c.digest == bindparam("digest"), *_STORED)


class InstallationRow(msgspec.Struct, frozen=True):
    """What all servers of an installation share.

    ``kind`` is ``hub`` or ``registry``, None until the next start after an upgrade. ``blob_store`` is the marker in the
    blob store, None until it is written. ``key_fingerprint`` is that of the key that seals secrets, None in a registry.
    """

    id: str
    kind: str | None
    blob_store: str | None
    key_fingerprint: str | None


async def find(session: Session) -> InstallationRow | None:
    """Return the row; None if nothing has used this database yet."""
    row = await session.row(_ROW)
    return None if row is None else InstallationRow(row.id, row.kind, row.blob_store, row.key_fingerprint)


async def add(session: Session, installation_id: str, kind: str, at: datetime) -> None:
    """Add the row, unless another server has."""
    values = {"number": 1, "id": installation_id, "kind": kind, "created_at": at}
    await session.run(insert(session, installation).values(values).on_conflict_do_nothing())


async def set_kind(session: Session, kind: str) -> None:
    """Record the kind, unless another server has."""
    await session.run(_SET_KIND, {"kind_": kind})


async def set_blob_store(session: Session, marker: str, before: str | None = None) -> None:
    """Record the marker of the blob store, unless it already has another one than ``before``."""
    await session.run(_SET_BLOB_STORE, {"marker": marker, "before": before or ""})


async def set_key_fingerprint(session: Session, fingerprint: str) -> None:
    """Record the fingerprint of the key that seals secrets."""
    await session.run(_SET_KEY_FINGERPRINT, {"fingerprint": fingerprint})


async def blobs_after(session: Session, start: str, limit: int) -> list[str]:
    """Return the first recorded blobs at or after ``start`` that should be in the blob store."""
    return [str(row.digest) for row in await session.rows(_NEXT_BLOBS, {"start": start, "limit": limit})]


async def sizes_after(session: Session, after: str, limit: int) -> list[tuple[str, int]]:
    """Return the next recorded blobs that should be in the blob store, and their sizes."""
    rows = await session.rows(_SIZES, {"after": after, "limit": limit})
    return [(str(row.digest), int(row.size)) for row in rows]


async def is_recorded(session: Session, digest: str) -> bool:
    """Return whether a blob should be in the blob store."""
    return await session.row(_RECORDED, {"digest": digest}) is not None
