"""How much storage namespaces use, in the database."""

import msgspec
from sqlalchemy import bindparam, func, select

from hythe.database import Session
from hythe.database.tables.registry import namespace_usage

_LARGEST = (
    select(namespace_usage)
    .order_by(namespace_usage.c.bytes.desc(), namespace_usage.c.namespace)
    .limit(bindparam("limit"))
)
_TOTAL = select(
    func.coalesce(func.sum(namespace_usage.c.bytes), 0).label("bytes"),
    func.coalesce(func.sum(namespace_usage.c.repositories), 0).label("repositories"),
    func.count().label("namespaces"),
)


class NamespaceStorage(msgspec.Struct, frozen=True):
    """What a namespace uses; ``bytes`` counts each blob once."""

    namespace: str
    bytes: int
    repositories: int


class StorageReport(msgspec.Struct, frozen=True):
    """The sums over all namespaces, and the largest ones. A blob in several namespaces counts in each."""

    bytes: int
    repositories: int
    namespaces: int
    largest: tuple[NamespaceStorage, ...]


async def report(session: Session, limit: int) -> StorageReport:
    """Return the sums and the largest namespaces."""
    largest = await session.rows(_LARGEST, {"limit": limit})
    total = await session.row(_TOTAL)
    sums = (int(total.bytes), int(total.repositories), int(total.namespaces)) if total else (0, 0, 0)
    return StorageReport(*sums, tuple(NamespaceStorage(row.namespace, row.bytes, row.repositories) for row in largest))
