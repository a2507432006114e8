"""The SQL of upload sessions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import BigInteger, Row, Update, bindparam, case, delete, false, func, insert, or_, select, true, update

from hythe.database import Session
from hythe.database.tables.registry import uploads
from hythe.registry.access import Limits
from hythe.registry.sql.blobs import batches, lock_key
from hythe.registry.sql.usage import locked_usage
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

_NO_LIMIT = 2**62

# Statements of PostgreSQL that lock, check the limits of a namespace and record, as single transactions. They lock in
# the order of ``sql/blobs.py``, because each part needs a value of the part before.
_DIGEST = bindparam("claimed", type_=uploads.c.digest.type)
_NAMESPACE = bindparam("namespace", type_=uploads.c.repository.type)
_MAX_BYTES = bindparam("max_bytes", type_=BigInteger)
_SIZE = bindparam("size", type_=BigInteger)
_used = locked_usage(_NAMESPACE, _DIGEST, bindparam("except", type_=uploads.c.id.type))
_ADDED = ("id", "repository", "offset", "state", "started_by", "started_at", "touched_at")
_ADD_WITHIN = (
    insert(uploads)
    .from_select(
        _ADDED,
        select(*(bindparam(f"{name}_", type_=uploads.c[name].type).label(name) for name in _ADDED))
        .select_from(_used)
        .where(
            _used.c.open_uploads < bindparam("max_uploads", type_=BigInteger),
            or_(_used.c.stored + _used.c.uploading < _MAX_BYTES, _used.c.blob_size.is_not(None)),
        ),
    )
    .returning(uploads.c.id)
)
_held = select(_DIGEST.label("digest")).where(func.lock_blob(bindparam("key"), _DIGEST)).cte("held")
_used_with_blob = locked_usage(_NAMESPACE, _held.c.digest, bindparam("id_", type_=uploads.c.id.type))
_is_known = func.coalesce(_used_with_blob.c.blob_size == _SIZE, false())
_within = (
    select(_held.c.digest, _is_known.label("is_known"))
    .select_from(_held.join(_used_with_blob, true()))
    .where(or_(_is_known, _used_with_blob.c.stored + _used_with_blob.c.uploading + _SIZE <= _MAX_BYTES))
    .cte("within")
)
_CLAIM_HELD: Update = (
    update(uploads)
    .where(uploads.c.id == bindparam("id_"), _held.c.digest == _DIGEST)
    .values(digest=_held.c.digest, touched_at=bindparam("at"), reserved=_SIZE)
    .returning(false().label("is_known"))
)
_CLAIM_WITHIN: Update = (
    update(uploads)
    .where(uploads.c.id == bindparam("id_"), _within.c.digest == _DIGEST)
    .values(digest=_within.c.digest, touched_at=bindparam("at"), reserved=case((_within.c.is_known, 0), else_=_SIZE))
    .returning(_within.c.is_known)
)


async def add(
    session: Session, upload: UploadSession, repository: str, actor: str, at: datetime, digest: str | None = None
) -> None:
    """Record a new session, optionally with its claim on a digest."""
    values = {"id": upload.id, "repository": repository, "offset": upload.offset, "state": upload.state}
    times = {"started_by": actor, "started_at": at, "touched_at": at}
    await session.run(_ADD, {**values, **times, "digest": digest})


async def add_within(
    session: Session, upload: UploadSession, repository: str, actor: str, at: datetime, limits: Limits, digest: str
) -> bool:
    """Record a new session of PostgreSQL if the limits allow one more, as ``Quota.admit_session`` checks them."""
    values = {"id_": upload.id, "repository_": repository, "offset_": upload.offset, "state_": upload.state}
    times = {"started_by_": actor, "started_at_": at, "touched_at_": at}
    within = {
        "namespace": limits.namespace,
        "claimed": digest,
        "except": "",
        "max_uploads": _NO_LIMIT if limits.uploads is None else limits.uploads,
        "max_bytes": _NO_LIMIT if limits.storage is None else limits.storage,
    }
    return await session.row(_ADD_WITHIN, {**values, **times, **within}) is not None


async def claim_within(
    session: Session, upload_id: str, digest: str, size: int, at: datetime, limits: Limits
) -> bool | None:
    """Hold the blob, and record on PostgreSQL that the session is becoming it, if the limits allow its size.

    Return whether the size was reserved, which a blob that the namespace has does not need; None if nothing was done:
    the session does not exist, the blob is being deleted, or ``Quota.admit_bytes`` would refuse it.
    """
    values = {"id_": upload_id, "claimed": digest, "key": lock_key(digest), "size": size, "at": at}
    if limits.storage is None:
        row = await session.row(_CLAIM_HELD, values)
    else:
        within = {"namespace": limits.namespace, "max_bytes": limits.storage}
        row = await session.row(_CLAIM_WITHIN, {**values, **within})
    return None if row is None else not row.is_known


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
