"""What replication has done, in the database; the last results of each rule are kept."""

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select

from hythe.database import Session
from hythe.database.tables.replication import replication_results as results
from hythe.database.tables.replication import replication_uploads as uploads
from hythe.replication.item import ReplicationOutcome, ReplicationResult

KEPT = 500
"""How many results of a rule are kept."""

_ADD = insert(results)
_OF_RULE = results.c.rule_id == bindparam("rule_id")
_LATEST = select(results).where(_OF_RULE).order_by(results.c.id.desc()).limit(bindparam("limit"))
_OLDEST_KEPT = select(results.c.id).where(_OF_RULE).order_by(results.c.id.desc()).limit(1).offset(KEPT)
_TRIM = delete(results).where(_OF_RULE, results.c.id <= bindparam("up_to"))

_OF_BLOB = (
    uploads.c.rule_id == bindparam("rule_id"),
    uploads.c.repository == bindparam("repository"),
    uploads.c.digest == bindparam("digest"),
)
_UPLOAD = select(uploads.c.upload).where(*_OF_BLOB)
_REMOVE_UPLOAD = delete(uploads).where(*_OF_BLOB)
_ADD_UPLOAD = insert(uploads)


async def add(session: Session, rule_id: int, result: ReplicationResult) -> None:
    """Add a result, and remove what is too old."""
    values = {name: getattr(result, name) for name in ReplicationResult.__struct_fields__}
    values |= {"rule_id": rule_id, "outcome": result.outcome.value, "problem": result.problem[:1000]}
    await session.run(_ADD, values)
    row = await session.row(_OLDEST_KEPT, {"rule_id": rule_id})
    if row is not None:
        await session.run(_TRIM, {"rule_id": rule_id, "up_to": row.id})


async def latest(session: Session, rule_id: int, limit: int) -> tuple[ReplicationResult, ...]:
    """Return the last results of a rule, newest first."""
    rows = await session.rows(_LATEST, {"rule_id": rule_id, "limit": limit})
    return tuple(
        ReplicationResult(
            row.at,
            row.repository,
            row.reference,
            ReplicationOutcome(row.outcome),
            row.bytes,
            row.seconds,
            row.problem,
        )
        for row in rows
    )


async def upload_of(session: Session, rule_id: int, repository: str, digest: str) -> str | None:
    """Return the upload that was begun for a blob."""
    values = {"rule_id": rule_id, "repository": repository, "digest": digest}
    row = await session.row(_UPLOAD, values)
    return str(row.upload) if row else None


async def set_upload(
    session: Session, rule_id: int, repository: str, digest: str, upload: str | None, now: datetime
) -> None:
    """Record the upload of a blob; None: it has ended."""
    values = {"rule_id": rule_id, "repository": repository, "digest": digest}
    await session.run(_REMOVE_UPLOAD, values)
    if upload is not None:
        await session.run(_ADD_UPLOAD, {**values, "upload": upload, "touched_at": now})
