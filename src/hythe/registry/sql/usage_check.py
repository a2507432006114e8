"""The SQL that counts again what a namespace stores, to compare it with what the triggers counted."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, update

from hythe.database import Session
from hythe.database.tables.registry import blobs, manifests, namespace_blobs, namespace_usage, repositories
from hythe.database.tables.registry import repository_blobs as links
from hythe.registry.sql.usage import names_within

LAST_CHARACTER = "\U0010ffff"
"""Sorts after every character of a repository's name."""

_NAMESPACE: ColumnElement[str] = bindparam("namespace", type_=namespace_usage.c.namespace.type)
_in_namespace = or_(repositories.c.name == _NAMESPACE, names_within(repositories.c.name, _NAMESPACE))
_linked = (
    select(links.c.digest, blobs.c.size, func.count().label("repositories"))
    .join(repositories, repositories.c.id == links.c.repository_id)
    .join(blobs, blobs.c.digest == links.c.digest)
    .where(_in_namespace)
    .group_by(links.c.digest, blobs.c.size)
)
_counted = select(namespace_blobs).where(namespace_blobs.c.namespace == _NAMESPACE)


def _sums(rows: Any) -> Any:
    """Return the number of blobs, of links, and of bytes."""
    return select(
        func.count().label("blobs"), func.sum(rows.c.repositories).label("links"), func.sum(rows.c.size).label("bytes")
    ).select_from(rows)


_LINKED = _sums(_linked.subquery())
_COUNTED = _sums(_counted.subquery())
_MANIFEST_BYTES = (
    select(func.sum(manifests.c.size).label("bytes"))
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(_in_namespace)
)
_REPOSITORIES = (
    select(func.count().label("repositories"))
    .select_from(repositories)
    .where(_in_namespace, repositories.c.deleted_at.is_(None))
)
_USAGE = select(namespace_usage).where(namespace_usage.c.namespace == _NAMESPACE)
_FORGET_BLOBS = delete(namespace_blobs).where(namespace_blobs.c.namespace == _NAMESPACE)
_COUNT_BLOBS = insert(namespace_blobs).from_select(
    ["digest", "size", "repositories", "namespace"], _linked.add_columns(_NAMESPACE)
)
_SET_USAGE = (
    update(namespace_usage)
    .where(namespace_usage.c.namespace == bindparam("namespace_"))
    .values(bytes=bindparam("bytes_"), repositories=bindparam("repositories_"))
)
_ADD_USAGE = insert(namespace_usage)
_FORGET_USAGE = delete(namespace_usage).where(namespace_usage.c.namespace == _NAMESPACE)
_COUNTED_AFTER = (
    select(namespace_usage.c.namespace)
    .where(namespace_usage.c.namespace > bindparam("after"))
    .order_by(namespace_usage.c.namespace)
    .limit(1)
)
_REPOSITORY_AFTER = (
    select(repositories.c.name).where(repositories.c.name > bindparam("after")).order_by(repositories.c.name).limit(1)
)


class NamespaceCount(msgspec.Struct, frozen=True):
    """What a namespace stores: bytes in all, repositories, distinct blobs, and links from repositories to them."""

    bytes: int
    repositories: int
    blobs: int
    links: int


async def counted(session: Session, namespace: str) -> NamespaceCount:
    """Return what the triggers counted."""
    key = {"namespace": namespace}
    usage, sums = await session.row(_USAGE, key), await session.row(_COUNTED, key)
    if sums is None:
        raise LookupError("an aggregate returned no row")
    stored, in_namespace = (usage.bytes, usage.repositories) if usage is not None else (0, 0)
    return NamespaceCount(stored, in_namespace, sums.blobs, int(sums.links or 0))


async def count(session: Session, namespace: str) -> NamespaceCount:
    """Count again."""
    key = {"namespace": namespace}
    sums, described = await session.row(_LINKED, key), await session.row(_MANIFEST_BYTES, key)
    found = await session.row(_REPOSITORIES, key)
    if sums is None or described is None or found is None:
        raise LookupError("an aggregate returned no row")
    stored = int(sums.bytes or 0) + int(described.bytes or 0)
    return NamespaceCount(stored, found.repositories, sums.blobs, int(sums.links or 0))


async def correct(session: Session, namespace: str, actual: NamespaceCount) -> None:
    """Replace what the triggers counted. Lock the namespace's usage first."""
    key = {"namespace": namespace}
    await session.run(_FORGET_BLOBS, key)
    await session.run(_COUNT_BLOBS, key)
    if not actual.repositories and not actual.bytes:
        await session.run(_FORGET_USAGE, key)
        return
    values = {"bytes": actual.bytes, "repositories": actual.repositories}
    named = {"namespace_": namespace, **{f"{name}_": value for name, value in values.items()}}
    if not await session.run(_SET_USAGE, named):
        await session.run(_ADD_USAGE, {"namespace": namespace, **values})


async def counted_after(session: Session, after: str) -> str | None:
    """Return the next namespace with a count, sorted; None at the end."""
    row = await session.row(_COUNTED_AFTER, {"after": after})
    return row and str(row.namespace)


async def uncounted_after(session: Session, after: str) -> str | None:
    """Return the name of the next repository whose namespace has no count, sorted; None at the end."""
    while row := await session.row(_REPOSITORY_AFTER, {"after": after}):
        name = str(row.name)
        namespace, slash, _ = name.partition("/")
        if await session.row(_USAGE, {"namespace": namespace}) is None:
            return name
        after = f"{namespace}/{LAST_CHARACTER}" if slash else name
    return None
