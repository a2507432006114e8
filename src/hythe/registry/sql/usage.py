"""The SQL for the usage of a namespace: stored bytes, and upload sessions.

A namespace is the first component of a repository's name. Triggers keep ``namespace_usage`` and ``namespace_blobs``
(migration 0008). The bytes of upload sessions are summed: few are open at a time.
"""

from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    TableValuedAlias,
    and_,
    bindparam,
    case,
    column,
    func,
    literal,
    select,
)

from hythe.database import Session
from hythe.database.tables.registry import namespace_blobs, namespace_usage, uploads
from hythe.registry.storage.port import UploadSession

MAX_IDLE_SESSIONS = 1000
"""Maximum number of sessions to delete at once."""

_NAMESPACE: ColumnElement[str] = bindparam("namespace", type_=namespace_usage.c.namespace.type)


def names_within(repository: ColumnElement[str], namespace: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that the name of a repository is ``namespace``/.., as a range of its index."""
    after_slash = chr(ord("/") + 1)
    return and_(repository > namespace + literal("/"), repository < namespace + literal(after_slash))


def upload_count(namespace: ColumnElement[str]) -> ScalarSelect[int]:
    """Return the subquery that counts the upload sessions of a namespace."""
    within = names_within(uploads.c.repository, namespace)
    return select(func.count()).select_from(uploads).where(within).scalar_subquery()


_bytes_of_session = case((uploads.c.offset > uploads.c.reserved, uploads.c.offset), else_=uploads.c.reserved)
_USAGE = select(
    select(namespace_usage.c.bytes).where(namespace_usage.c.namespace == _NAMESPACE).scalar_subquery().label("stored"),
    func.count().label("open_uploads"),
    func.sum(case((uploads.c.id == bindparam("upload_id"), 0), else_=_bytes_of_session)).label("uploading"),
    select(namespace_blobs.c.size)
    .where(namespace_blobs.c.namespace == _NAMESPACE, namespace_blobs.c.digest == bindparam("digest"))
    .scalar_subquery()
    .label("blob_size"),
).where(names_within(uploads.c.repository, _NAMESPACE))
_IDLE_SESSIONS = (
    select(uploads)
    .where(
        names_within(uploads.c.repository, _NAMESPACE),
        uploads.c.touched_at < bindparam("before"),
        uploads.c.digest.is_(None),
    )
    .order_by(uploads.c.repository)
    .limit(MAX_IDLE_SESSIONS)
)


def locked_usage(
    namespace: ColumnElement[str], digest: ColumnElement[str], upload_id: ColumnElement[str]
) -> TableValuedAlias:
    """Return what a namespace uses, as a table with one row; only on PostgreSQL. See ``lock``."""
    columns = [column(name, BigInteger) for name in ("stored", "open_uploads", "uploading", "blob_size")]
    return func.lock_namespace_usage(namespace, digest, upload_id).table_valued(*columns)


_LOCKED_USAGE = select(locked_usage(_NAMESPACE, bindparam("digest"), bindparam("upload_id")))


class Usage(msgspec.Struct, frozen=True):
    """What a namespace uses: stored bytes, and its upload sessions with their bytes, except the caller's session.

    ``blob_size`` is the size of the blob that was asked for, None if the namespace does not have it.
    """

    stored: int
    uploads: int
    uploading: int
    blob_size: int | None


async def lock(session: Session, namespace: str, digest: str = "", upload_id: str = "") -> Usage:
    """Return what a namespace uses; no other transaction changes it through ``lock`` until this one ends.

    SQLite has only one writer. On PostgreSQL a function locks the row, then reads (migration 0008).
    """
    statement = _LOCKED_USAGE if session.dialect == "postgresql" else _USAGE
    row = await session.row(statement, {"namespace": namespace, "digest": digest, "upload_id": upload_id})
    if row is None:
        raise LookupError("the query returned no row")
    return Usage(row.stored or 0, row.open_uploads, int(row.uploading or 0), row.blob_size)


async def idle_sessions(session: Session, namespace: str, before: datetime) -> tuple[UploadSession, ...]:
    """Return the namespace's sessions that were last used before ``before`` and are not becoming a blob, by id."""
    rows: Any = await session.rows(_IDLE_SESSIONS, {"namespace": namespace, "before": before})
    return tuple(UploadSession(row.id, row.offset, row.state) for row in sorted(rows, key=attrgetter("id")))
