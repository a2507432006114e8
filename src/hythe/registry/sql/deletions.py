"""The SQL that deletes the content of deleted repositories in steps, and marks the dependents of deleted manifests.

A step deletes rows in the order of an index and remembers the last key, so that the next one does not read the rows
that PostgreSQL keeps for a while after their deletion.
"""

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import Column, Row, Table, and_, bindparam, delete, select, tuple_, union_all, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import (
    manifest_blobs,
    manifest_children,
    manifests,
    mirrored_manifests,
    repositories,
    repository_blobs,
    tag_moves,
    tags,
    unmarked_dependents,
)
from hythe.registry.sql.blobs import mark_some
from hythe.registry.sql.usage import names_within

Key: TypeAlias = tuple[Any, ...]
"""A key of an index after the repository's id: texts and numbers."""

MAX_CONTENT = 1024 * 1024
"""Bytes of manifests to delete in one statement, at least one manifest."""

MAX_NAMESPACE_LENGTH = 230
"""Characters of a namespace that fit into the name of a deleted repository; longer ones exist without accounts only."""

_MARK = (
    update(repositories)
    .where(repositories.c.id == bindparam("id_"))
    .values(name=bindparam("name_"), deleted_at=bindparam("at"))
)
_PENDING = (
    select(repositories.c.id)
    .where(repositories.c.deleted_at.is_not(None))
    .order_by(repositories.c.deleted_at, repositories.c.id)
    .limit(100)
)
_PENDING_IN = (
    select(repositories.c.id)
    .where(
        names_within(repositories.c.name, bindparam("namespace", type_=repositories.c.name.type)),
        repositories.c.deleted_at.is_not(None),
    )
    .order_by(repositories.c.id)
)
_LOCK = (
    select(repositories.c.id)
    .where(repositories.c.id == bindparam("id"), repositories.c.deleted_at.is_not(None))
    .with_for_update(skip_locked=True)
)
_REMOVE = delete(repositories).where(repositories.c.id == bindparam("id"))


class Content:
    """The rows of one table that belong to a repository, deleted in the order of an index."""

    def __init__(self, table: Table, *key: Column[Any]) -> None:
        """``key``: the columns that follow the repository's id in the index."""
        self._key = key
        self.first: Key = tuple(column.type.python_type() for column in key)
        own = table.c.repository_id == bindparam("id")
        column: Any = tuple_(*key) if len(key) > 1 else key[0]
        after = _bound("after", key)
        more = [table.c.size] if table is manifests else []
        self.next = select(*key, *more).where(own, column > after).order_by(*key).limit(bindparam("limit"))
        self.remove = delete(table).where(own, column > after, column <= _bound("to", key))

    async def delete_some(
        self, session: Session, repository_id: int, after: Key, limit: int, free_after: datetime
    ) -> tuple[Key | None, int]:
        """Delete up to ``limit`` rows after a key; return the last key, None at the end, and the number of rows."""
        values = {"id": repository_id, **_values("after", after)}
        rows = _within_size(await session.rows(self.next, values | {"limit": limit}))
        if not rows:
            return None, 0
        if self is BLOBS:
            # Before the usage of the namespace, which unlinking changes.
            await mark_some(session, [row.digest for row in rows], free_after)
        last = tuple(rows[-1][: len(self._key)])
        await session.run(self.remove, values | _values("to", last))
        return last, len(rows)


def _bound(name: str, key: Sequence[Column[Any]]) -> Any:
    parts = [bindparam(f"{name}{number}", type_=column.type) for number, column in enumerate(key)]
    return tuple_(*parts) if len(parts) > 1 else parts[0]


def _values(name: str, key: Key) -> dict[str, Any]:
    return {f"{name}{number}": value for number, value in enumerate(key)}


def _within_size(rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    if not rows or "size" not in rows[0]._fields:
        return rows
    size = 0
    for number, row in enumerate(rows):
        size += row.size
        if size > MAX_CONTENT:
            return rows[: max(number, 1)]
    return rows


BLOBS = Content(repository_blobs, repository_blobs.c.digest)
CONTENTS = (
    BLOBS,  # first: these are what a namespace stores
    Content(tags, tags.c.name),
    Content(manifest_blobs, manifest_blobs.c.manifest, manifest_blobs.c.blob),
    Content(manifest_children, manifest_children.c.manifest, manifest_children.c.child),
    Content(mirrored_manifests, mirrored_manifests.c.digest),
    Content(manifests, manifests.c.digest),
    Content(tag_moves, tag_moves.c.tag, tag_moves.c.id),
    Content(unmarked_dependents, unmarked_dependents.c.manifest),
)
"""What a repository contains, in the order of its deletion: no deletion of a row reaches many others."""


async def mark(session: Session, repository_id: int, name: str, at: datetime) -> None:
    """Delete a repository for everyone: it gets a name that no request can have. Lock it first."""
    await session.run(_MARK, {"id_": repository_id, "name_": deleted_name(name, str(repository_id)), "at": at})


def deleted_name(name: str, key: str) -> str:
    """Return the name for the repository ``name`` once it is deleted, in the same namespace, unique by its ``key``."""
    return f"{name.partition('/')[0][:MAX_NAMESPACE_LENGTH]}/-{key}"


async def add_deleted(session: Session, name: str, at: datetime) -> int:
    """Add a deleted repository in the namespace of ``name``, to move to it what is to be deleted; return its id."""
    values = {"name": deleted_name(name, secrets.token_hex(8)), "created_at": at, "deleted_at": at}
    statement = insert(session, repositories).values(values)
    row = await session.row(statement.returning(repositories.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING returned no row")
    return int(row.id)


async def pending(session: Session) -> tuple[int, ...]:
    """Return the ids of some deleted repositories that still have a row, oldest deletion first."""
    return tuple(row.id for row in await session.rows(_PENDING))


async def pending_in(session: Session, namespace: str) -> tuple[int, ...]:
    """Return the ids of a namespace's deleted repositories that still have a row."""
    return tuple(row.id for row in await session.rows(_PENDING_IN, {"namespace": namespace}))


async def lock(session: Session, repository_id: int) -> bool:
    """Lock a deleted repository; return False if it no longer exists, or another server deletes its content."""
    return await session.row(_LOCK, {"id": repository_id}) is not None


async def remove(session: Session, repository_id: int) -> None:
    """Delete the row of a deleted repository without content."""
    await session.run(_REMOVE, {"id": repository_id})


class Unmarked(msgspec.Struct, frozen=True):
    """A manifest whose dependents after ``marked_to`` are to be marked: what it ``listed``, then its referrers."""

    repository_id: int
    manifest: str
    free_after: datetime
    listed: str | None
    marked_to: str


_ALL_UNMARKED = (
    select(unmarked_dependents.c.repository_id, unmarked_dependents.c.manifest)
    .order_by(unmarked_dependents.c.repository_id, unmarked_dependents.c.manifest)
    .limit(100)
)
_IS_UNMARKED = and_(
    unmarked_dependents.c.repository_id == bindparam("id"), unmarked_dependents.c.manifest == bindparam("of")
)
_ONE_UNMARKED = select(unmarked_dependents).where(_IS_UNMARKED)
_SET_MARKED_TO = update(unmarked_dependents).where(_IS_UNMARKED).values(marked_to=bindparam("to"))
_BEGIN_REFERRERS = update(unmarked_dependents).where(_IS_UNMARKED).values(marked_to="", listed=None)
_END_MARKING = delete(unmarked_dependents).where(_IS_UNMARKED)
_LISTED = union_all(
    select(manifest_children.c.child.label("digest")).where(
        manifest_children.c.repository_id == bindparam("id"), manifest_children.c.manifest == bindparam("of")
    ),
    select(manifest_blobs.c.blob).where(
        manifest_blobs.c.repository_id == bindparam("id"), manifest_blobs.c.manifest == bindparam("of")
    ),
)
_REFERRERS = (
    select(manifests.c.digest)
    .where(
        manifests.c.repository_id == bindparam("id"),
        manifests.c.subject == bindparam("of"),
        manifests.c.digest > bindparam("after"),
    )
    .order_by(manifests.c.digest)
    .limit(bindparam("limit"))
)


async def mark_dependents_later(
    session: Session, repository_id: int, digests: Iterable[str], free_after: datetime
) -> None:
    """Record that the dependents of these manifests are still to be marked, from the first one on."""
    statement = insert(session, unmarked_dependents)
    again = statement.on_conflict_do_update(
        index_elements=[unmarked_dependents.c.repository_id, unmarked_dependents.c.manifest],
        set_={name: statement.excluded[name] for name in ("listed", "marked_to", "free_after")},
    )
    for digest in sorted(digests):
        rows = await session.rows(_LISTED, {"id": repository_id, "of": digest})
        listed = " ".join(sorted({row.digest for row in rows}))
        values = {"free_after": free_after, "listed": listed, "marked_to": ""}
        await session.run(again, [{"repository_id": repository_id, "manifest": digest, **values}])


async def unmarked(session: Session) -> tuple[tuple[int, str], ...]:
    """Return some manifests whose dependents are still to be marked, each with the id of its repository."""
    return tuple((row.repository_id, row.manifest) for row in await session.rows(_ALL_UNMARKED))


async def dependents_to_mark(
    session: Session, repository_id: int, manifest: str, limit: int
) -> tuple[Unmarked, tuple[str, ...]] | None:
    """Return the next dependents to mark; None if all are. Lock the repository first."""
    key = {"id": repository_id, "of": manifest}
    row: Any = await session.row(_ONE_UNMARKED, key)
    if row is None:
        return None
    found = Unmarked(row.repository_id, row.manifest, row.free_after, row.listed, row.marked_to)
    if found.listed is not None:
        listed = found.listed.split()
        first = bisect_right(listed, found.marked_to)
        return found, tuple(listed[first : first + limit])
    rows = await session.rows(_REFERRERS, {**key, "after": found.marked_to, "limit": limit})
    return found, tuple(each.digest for each in rows)


async def record_marked(session: Session, found: Unmarked, marked: Sequence[str], limit: int) -> None:
    """Record that these dependents are marked; fewer than ``limit`` are the last of their kind."""
    key = {"id": found.repository_id, "of": found.manifest}
    if len(marked) == limit:
        await session.run(_SET_MARKED_TO, {**key, "to": marked[-1]})
    else:
        await session.run(_END_MARKING if found.listed is None else _BEGIN_REFERRERS, key)
