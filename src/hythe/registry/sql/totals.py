"""What a registry stores in total, from the numbers that triggers keep for each namespace: for metrics."""

import msgspec
from sqlalchemy import func, select

from hythe.database import Session
from hythe.database.tables.registry import namespace_usage, uploads

_TOTALS = select(
    func.coalesce(func.sum(namespace_usage.c.bytes), 0).label("stored"),
    func.coalesce(func.sum(namespace_usage.c.repositories), 0).label("repositories"),
    func.count().label("namespaces"),
)
_UPLOADS = select(
    func.count().label("uploads"), func.coalesce(func.sum(uploads.c.offset), 0).label("uploading")
).select_from(uploads)


class StoredTotals(msgspec.Struct, frozen=True):
    """Bytes that are stored and that unfinished uploads have; a blob in several namespaces counts in each."""

    stored: int
    repositories: int
    namespaces: int
    uploads: int
    uploading: int


async def stored_totals(session: Session) -> StoredTotals:
    """Add up what all namespaces and uploads have."""
    stored, open_uploads = await session.row(_TOTALS), await session.row(_UPLOADS)
    # PostgreSQL's sums are decimals.
    return StoredTotals(*map(int, (*(stored or (0, 0, 0)), *(open_uploads or (0, 0)))))
