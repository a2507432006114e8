"""The SQL of upload sessions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Row, bindparam, delete, insert, select, update

from hythe.database import Session
from hythe.database.tables.registry import uploads
from hythe.registry.sql.blobs import batches
from hythe.registry.storage.port import UploadSession

StaleUploads: TypeAlias = tuple[tuple[UploadSession, str | None], ...]
"""Upload sessions, each with the digest that it claims."""

_ADD = insert(uploads)
_FIND = select(uploads).where(uploads.c.id == bindparam("id"), uploads.c.repository == bindparam("repository"))
_SAVE = (
    update(uploads)
    .where(uploads.c.id == bindparam("id_"))
    .values(offset=bindparam("offset_"), state=bindparam("state_"), touched_at=bindparam("at"), digest=None, reserved=0)
)
_SET_OFFSET = (
    update(uploads)
    .where(uploads.c.id == bindparam("id_"))
    .values(offset=bindparam("offset_"), state=bindparam("state_"), touched_at=bindparam("at"))
)
_CLAIM = (
    update(uploads)
    .where(uploads.c.id == bindparam("id_"))
    .values(digest=bindparam("claimed"), touched_at=bindparam("at"), reserved=bindparam("reserved_"))
)
_TOUCH = update(uploads).where(uploads.c.id == bindparam("id_")).values(touched_at=bindparam("at"))
_RESERVE = _TOUCH.values(reserved=bindparam("reserved_"))
_REMOVE = delete(uploads).where(uploads.c.id == bindparam("id"))
_END = _REMOVE.where(uploads.c.digest == bindparam("claimed"))
_REMOVE_STALE = _REMOVE.where(uploads.c.touched_at < bindparam("before"))
_STALE = select(uploads).where(uploads.c.touched_at < bindparam("before")).order_by(uploads.c.touched_at).limit(100)
_EXISTING = select(uploads.c.id).where(uploads.c.id.in_(bindparam("ids", expanding=True)))
_CLAIMED = select(uploads.c.id).where(uploads.c.digest == bindparam("digest")).limit(1)


async def add(
    session: Session, upload: UploadSession, repository: str, actor: str, at: datetime, digest: str | None = None
) -> None:
    """Record a new session, optionally with its claim on a digest."""
    values = {"id": upload.id, "repository": repository, "offset": upload.offset, "state": upload.state}
    times = {"started_by": actor, "started_at": at, "touched_at": at}
    await session.run(_ADD, {**values, **times, "digest": digest})


async def find(session: Session, upload_id: str, repository: str) -> UploadSession | None:
    """Return a session of this repository."""
    row = await session.row(_FIND, {"id": upload_id, "repository": repository})
    return None if row is None else _upload(row)


async def save(session: Session, upload: UploadSession, at: datetime) -> bool:
    """Record a session's offset and remove its claim; return False if the session was deleted."""
    values = {"id_": upload.id, "offset_": upload.offset, "state_": upload.state, "at": at}
    return await session.run(_SAVE, values) == 1


async def set_offset(session: Session, upload: UploadSession, at: datetime) -> None:
    """Record the offset that was found for a session; keep its claim."""
    values = {"id_": upload.id, "offset_": upload.offset, "state_": upload.state, "at": at}
    await session.run(_SET_OFFSET, values)


async def claim(session: Session, upload_id: str, digest: str, reserved: int, at: datetime) -> bool:
    """Record that the session is becoming this blob, of ``reserved`` bytes if that is known.

    Return False if the session was deleted. Hold the blob first.
    """
    values = {"id_": upload_id, "claimed": digest, "reserved_": reserved, "at": at}
    return await session.run(_CLAIM, values) == 1


async def reserve(session: Session, upload_id: str, reserved: int, at: datetime) -> bool:
    """Record how many bytes the session may have by the end of its request; return False if it was deleted."""
    return await session.run(_RESERVE, {"id_": upload_id, "reserved_": reserved, "at": at}) == 1


async def touch(session: Session, upload_id: str, at: datetime) -> None:
    """Record that the session is in use."""
    await session.run(_TOUCH, {"id_": upload_id, "at": at})


async def claimed(session: Session, digest: str) -> bool:
    """Return whether a session is becoming this blob."""
    return await session.row(_CLAIMED, {"digest": digest}) is not None


async def remove(session: Session, upload_id: str) -> bool:
    """Delete a session; return False if it does not exist."""
    return await session.run(_REMOVE, {"id": upload_id}) == 1


async def end(session: Session, upload_id: str, digest: str) -> bool:
    """Delete a session that has become this blob; return False if it does not exist or lost its claim."""
    return await session.run(_END, {"id": upload_id, "claimed": digest}) == 1


async def remove_stale(session: Session, upload_id: str, before: datetime) -> bool:
    """Delete a session, unless it was used since ``before``; return whether it was deleted."""
    return await session.run(_REMOVE_STALE, {"id": upload_id, "before": before}) == 1


async def stale(session: Session, before: datetime) -> StaleUploads:
    """Return some sessions last used before ``before``."""
    return tuple((_upload(row), row.digest) for row in await session.rows(_STALE, {"before": before}))


async def existing(session: Session, upload_ids: Iterable[str]) -> frozenset[str]:
    """Return which of the sessions exist."""
    found: set[str] = set()
    for some in batches(upload_ids):
        found.update(row.id for row in await session.rows(_EXISTING, {"ids": some}))
    return frozenset(found)


def _upload(row: Row[Any]) -> UploadSession:
    return UploadSession(row.id, row.offset, row.state)
