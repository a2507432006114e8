"""The SQL that counts again what a namespace stores, to compare it with what the triggers counted."""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, bindparam, delete, func, insert, or_, select, true, update

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


_links, _counts = _sums(_linked.subquery()).subquery("linked"), _sums(_counted.subquery()).subquery("counted")
_usage = namespace_usage.c.namespace == _NAMESPACE
# One statement, so that it sees one moment: a push between two would look like a wrong count.
_COMPARED = select(
    select(namespace_usage.c.bytes).where(_usage).scalar_subquery().label("counted_bytes"),
    select(namespace_usage.c.repositories).where(_usage).scalar_subquery().label("counted_repositories"),
    _counts.c.blobs.label("counted_blobs"),
    _counts.c.links.label("counted_links"),
    _links.c.bytes.label("linked_bytes"),
    select(func.sum(manifests.c.size))
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(_in_namespace)
    .scalar_subquery()
    .label("manifest_bytes"),
    select(func.count())
    .select_from(repositories)
    .where(_in_namespace, repositories.c.deleted_at.is_(None))
    .scalar_subquery()
    .label("repositories"),
    _links.c.blobs,
    _links.c.links,
).select_from(_links.join(_counts, true()))
_HAS_USAGE = select(namespace_usage.c.namespace).where(_usage)
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


async def compare(session: Session, namespace: str) -> tuple[NamespaceCount, NamespaceCount]:
    """Return what the triggers counted, and what is counted again, at one moment."""
    row = await session.row(_COMPARED, {"namespace": namespace})
    if row is None:
        raise LookupError("an aggregate returned no row")
    counted = NamespaceCount(
        row.counted_bytes or 0, row.counted_repositories or 0, row.counted_blobs, int(row.counted_links or 0)
    )
    stored = int(row.linked_bytes or 0) + int(row.manifest_bytes or 0)
    return counted, NamespaceCount(stored, row.repositories, row.blobs, int(row.links or 0))


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
        if await session.row(_HAS_USAGE, {"namespace": namespace}) is None:
            return name
        after = f"{namespace}/{LAST_CHARACTER}" if slash else name
    return None
