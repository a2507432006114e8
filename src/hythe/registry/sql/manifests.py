"""The SQL of manifests and their references."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Column, Executable, Row, Select, Table, bindparam, delete, select, update

from hythe.database import Session
from hythe.database.port import Dialect, insert, insert_for
from hythe.database.tables.registry import manifest_blobs, manifest_children, manifests, repositories, tags
from hythe.oci.digest import Digest
from hythe.oci.manifest import Manifest
from hythe.registry.events import RepositoryRef
from hythe.registry.sql.blobs import BATCH_SIZE, batches

MAX_DEPENDENTS = 200
"""Dependents of one kind to mark in the transaction that deletes a manifest; more are marked later."""

_COLUMNS = select(
    repositories.c.id,
    repositories.c.created_at,
    manifests.c.digest,
    manifests.c.media_type,
    manifests.c.content,
    manifests.c.free_after,
).select_from(repositories)
_BY_DIGEST: Select[Any] = _COLUMNS.join(manifests, manifests.c.repository_id == repositories.c.id).where(
    repositories.c.name == bindparam("name"), manifests.c.digest == bindparam("reference")
)
_BY_TAG: Select[Any] = (
    _COLUMNS.join(tags, tags.c.repository_id == repositories.c.id)
    .join(manifests, (manifests.c.repository_id == tags.c.repository_id) & (manifests.c.digest == tags.c.digest))
    .where(repositories.c.name == bindparam("name"), tags.c.name == bindparam("reference"))
)
_BY_KEY = (manifests.c.repository_id == bindparam("repository_id"), manifests.c.digest == bindparam("digest"))
_EXISTS = select(manifests.c.digest).where(*_BY_KEY).with_for_update()
_DEPTHS = select(manifests.c.digest, manifests.c.index_depth).where(
    manifests.c.repository_id == bindparam("repository_id"),
    manifests.c.digest.in_(bindparam("digests", expanding=True)),
)
_REMOVE = delete(manifests).where(*_BY_KEY)


def _remove_some(reference: Column[Any]) -> Any:
    table = reference.table
    own = (table.c.repository_id == bindparam("repository_id"), table.c.manifest == bindparam("manifest"))
    return delete(table).where(*own, reference.in_(select(reference).where(*own).limit(BATCH_SIZE)))


_REMOVE_REFERENCES = (_remove_some(manifest_children.c.child), _remove_some(manifest_blobs.c.blob))
_MARK = (
    update(manifests)
    .where(
        manifests.c.repository_id == bindparam("repository_id_"),
        manifests.c.digest.in_(bindparam("digests", expanding=True)),
    )
    .values(free_after=bindparam("free_after"))
)
_MARK_ONCE = _MARK.where(manifests.c.free_after.is_(None))
_UNMARK = _MARK.where(manifests.c.free_after.is_not(None))
_RENEW = (
    update(manifests)
    .where(
        manifests.c.repository_id == bindparam("repository_id_"),
        manifests.c.digest == bindparam("digest_"),
        manifests.c.free_after < bindparam("free_after"),
    )
    .values(free_after=bindparam("free_after"))
)
_BLOBS = select(manifest_blobs.c.blob.label("digest")).where(
    manifest_blobs.c.repository_id == bindparam("repository_id"),
    manifest_blobs.c.manifest.in_(bindparam("digests", expanding=True)),
)
_CHILDREN = select(manifest_children.c.child.label("digest")).where(
    manifest_children.c.repository_id == bindparam("repository_id"),
    manifest_children.c.manifest.in_(bindparam("digests", expanding=True)),
)
_REFERRERS = select(manifests.c.digest).where(
    manifests.c.repository_id == bindparam("repository_id"),
    manifests.c.subject.in_(bindparam("digests", expanding=True)),
)
_LISTS = select(manifest_children.c.manifest).where(
    manifest_children.c.repository_id == bindparam("repository_id"),
    manifest_children.c.manifest.in_(bindparam("indexes", expanding=True)),
    manifest_children.c.child == bindparam("digest"),
)
_SOME_REFERRERS = _REFERRERS.limit(MAX_DEPENDENTS + 1)
_SOME_CHILDREN = _CHILDREN.limit(MAX_DEPENDENTS + 1)
_SOME_BLOBS = _BLOBS.limit(MAX_DEPENDENTS + 1)
_TAGGED = (
    select(tags.c.name).where(tags.c.repository_id == bindparam("repository_id"), tags.c.digest == bindparam("digest"))
).limit(1)
_INDEXES_OF = select(manifest_children.c.manifest.label("digest")).where(
    manifest_children.c.repository_id == bindparam("repository_id"), manifest_children.c.child == bindparam("digest")
)
_CONTAINED = _INDEXES_OF.limit(1)
_SOME_INDEXES_OF = _INDEXES_OF.limit(bindparam("limit"))
_SOME_WITH_BLOB = (
    select(manifest_blobs.c.manifest.label("digest"))
    .where(manifest_blobs.c.repository_id == bindparam("repository_id"), manifest_blobs.c.blob == bindparam("digest"))
    .limit(bindparam("limit"))
)
_SHALLOW_INDEXES_OF = (
    _INDEXES_OF.join(
        manifests,
        (manifests.c.repository_id == manifest_children.c.repository_id)
        & (manifests.c.digest == manifest_children.c.manifest),
    )
    .where(manifests.c.index_depth <= bindparam("depth"))
    .limit(1)
)
_subjects = manifests.alias("subjects")
_REFERRING = (
    select(manifests.c.digest)
    .join(
        _subjects,
        (_subjects.c.repository_id == manifests.c.repository_id) & (_subjects.c.digest == manifests.c.subject),
    )
    .where(*_BY_KEY)
)


MANIFESTS_AT_ONCE = 5
"""Manifests whose references one query reads: each can have thousands."""


class StoredManifest(msgspec.Struct, frozen=True):
    """A stored manifest."""

    repository: RepositoryRef
    digest: Digest
    media_type: str
    content: bytes
    free_after: datetime | None


class References(msgspec.Struct, frozen=True):
    """The references of a manifest: blobs, and manifests in an index.

    ``depth``: the levels of indexes, 1 if all its manifests are images.
    """

    blobs: frozenset[str]
    children: frozenset[str]
    depth: int = 0


async def find(session: Session, repository: str, reference: str | Digest) -> StoredManifest | None:
    """Return the manifest of this tag or digest."""
    statement = _BY_DIGEST if isinstance(reference, Digest) else _BY_TAG
    row = await session.row(statement, {"name": repository, "reference": str(reference)})
    if row is None:
        return None
    found = RepositoryRef(row.id, repository, row.created_at)
    return StoredManifest(found, Digest.parse(row.digest), row.media_type, row.content, row.free_after)


async def exists(session: Session, repository_id: int, digest: str) -> bool:
    """Return whether the repository contains this manifest; it stays until the transaction ends."""
    return await session.row(_EXISTS, {"repository_id": repository_id, "digest": digest}) is not None


async def depths(session: Session, repository_id: int, digests: Iterable[str]) -> dict[str, int]:
    """Return those of the digests that are manifests of the repository, each with its levels of indexes."""
    found: dict[str, int] = {}
    for some in batches(digests):
        rows = await session.rows(_DEPTHS, {"repository_id": repository_id, "digests": some})
        found.update((row.digest, row.index_depth) for row in rows)
    return found


async def add(
    session: Session, repository_id: int, digest: str, manifest: Manifest, references: References, at: datetime, by: str
) -> None:
    """Store a manifest; remove the mark of an existing one. Lock the repository first."""
    statement = insert(session, manifests).values(
        repository_id=repository_id,
        digest=digest,
        kind=manifest.kind.value,
        media_type=manifest.media_type,
        artifact_type=manifest.effective_artifact_type,
        subject=manifest.subject.digest if manifest.subject else None,
        annotations=msgspec.json.encode(manifest.annotations).decode(),
        index_depth=references.depth,
        size=len(manifest.content),
        content=manifest.content,
        pushed_at=at,
        pushed_by=by,
    )
    keys = [manifests.c.repository_id, manifests.c.digest]
    await session.run(statement.on_conflict_do_update(index_elements=keys, set_={"free_after": None}))
    own = {"repository_id": repository_id, "manifest": digest}
    if references.blobs:
        rows = [{**own, "blob": blob} for blob in sorted(references.blobs)]
        await session.run(_add_references(session.dialect, manifest_blobs), rows)
    if references.children:
        rows = [{**own, "child": child} for child in sorted(references.children)]
        await session.run(_add_references(session.dialect, manifest_children), rows)


@cache
def _add_references(dialect: Dialect, table: Table) -> Executable:
    """Return the same statement each time: SQLite runs it much faster from the second time on."""
    return insert_for(dialect, table).on_conflict_do_nothing()


async def remove(session: Session, repository_id: int, digest: str) -> bool:
    """Delete a manifest and its tags; return False if it did not exist."""
    for statement in _REMOVE_REFERENCES:
        # In steps, between which others can read: an index may list thousands of manifests.
        deleted = BATCH_SIZE
        while deleted == BATCH_SIZE:
            deleted = await session.run(statement, {"repository_id": repository_id, "manifest": digest})
            await asyncio.sleep(0)
    return await session.run(_REMOVE, {"repository_id": repository_id, "digest": digest}) == 1


async def mark(
    session: Session, repository_id: int, digests: Iterable[str], free_after: datetime | None, *, once: bool = False
) -> None:
    """Set when manifests may be freed if they are unreferenced; with ``once``, only where nothing is set."""
    statement = _UNMARK if free_after is None else _MARK_ONCE if once else _MARK
    for some in batches(digests):
        await session.run(statement, {"repository_id_": repository_id, "digests": some, "free_after": free_after})


async def renew(session: Session, repository_id: int, digest: str, free_after: datetime) -> None:
    """Extend the grace period of a marked manifest: a client asked for it and may build on it."""
    await session.run(_RENEW, {"repository_id_": repository_id, "digest_": digest, "free_after": free_after})


async def dependents(session: Session, repository_id: int, digests: Iterable[str]) -> frozenset[str]:
    """Return the manifests that these may keep alive: the children of an index, and referrers."""
    roots = list(digests)
    children = await _collected(session, _CHILDREN, repository_id, roots, MANIFESTS_AT_ONCE)
    return children | await _collected(session, _REFERRERS, repository_id, roots)


class Dependents(msgspec.Struct, frozen=True):
    """What manifests may keep alive: manifests (children of an index, referrers) and blobs.

    ``large`` are those of the manifests that have more than MAX_DEPENDENTS of a kind, which is not included.
    """

    manifests: frozenset[str]
    blobs: frozenset[str]
    large: frozenset[str]


async def some_dependents(session: Session, repository_id: int, digests: Iterable[str]) -> Dependents:
    """Return what these manifests may keep alive, except where that is very much."""
    roots = list(digests)
    large: set[str] = set()
    kinds = ((_SOME_CHILDREN, MANIFESTS_AT_ONCE), (_SOME_REFERRERS, BATCH_SIZE), (_SOME_BLOBS, MANIFESTS_AT_ONCE))
    children, referrers, contained = [
        await _some_collected(session, statement, repository_id, roots, size, large) for statement, size in kinds
    ]
    return Dependents(children | referrers, contained, frozenset(large))


async def _some_collected(
    session: Session, statement: Select[Any], repository_id: int, digests: Sequence[str], size: int, large: set[str]
) -> frozenset[str]:
    found: set[str] = set()
    todo = list(batches(digests, size))
    while todo:
        some = todo.pop()
        rows = await session.rows(statement, {"repository_id": repository_id, "digests": some})
        if len(rows) <= MAX_DEPENDENTS:
            found.update(row.digest for row in rows)
        elif len(some) == 1:
            large.update(some)
        else:
            todo += batches(some, 1)
    return frozenset(found)


async def lists(session: Session, repository_id: int, indexes: Sequence[str], digest: str) -> bool:
    """Return whether one of these indexes lists the manifest."""
    values = {"repository_id": repository_id, "indexes": indexes, "digest": digest}
    return await session.row(_LISTS, values) is not None


async def some_indexes_of(session: Session, repository_id: int, digest: str, limit: int) -> tuple[str, ...]:
    """Return some of the indexes that list this manifest, which need not exist."""
    rows = await session.rows(_SOME_INDEXES_OF, {"repository_id": repository_id, "digest": digest, "limit": limit})
    return tuple(row.digest for row in rows)


async def some_with_blob(session: Session, repository_id: int, digest: str, limit: int) -> tuple[str, ...]:
    """Return some of the manifests that refer to this blob, which need not exist."""
    rows = await session.rows(_SOME_WITH_BLOB, {"repository_id": repository_id, "digest": digest, "limit": limit})
    return tuple(row.digest for row in rows)


async def shallow_index_of(session: Session, repository_id: int, digest: str, depth: int) -> str | None:
    """Return an index that lists this manifest and has no more than ``depth`` levels of indexes."""
    values = {"repository_id": repository_id, "digest": digest, "depth": depth}
    row = await session.row(_SHALLOW_INDEXES_OF, values)
    return None if row is None else str(row.digest)


async def needed(session: Session, repository_id: int, digest: str) -> bool:
    """Return whether the manifest is tagged, belongs to an index, or its subject exists."""
    key = {"repository_id": repository_id, "digest": digest}
    for statement in (_TAGGED, _CONTAINED, _REFERRING):
        if await session.row(statement, key) is not None:
            return True
    return False


async def _collected(
    session: Session, statement: Select[Any], repository_id: int, digests: Iterable[str], size: int = BATCH_SIZE
) -> frozenset[str]:
    found: set[str] = set()
    for some in batches(digests, size):
        rows: Iterable[Row[Any]] = await session.rows(statement, {"repository_id": repository_id, "digests": some})
        found.update(row.digest for row in rows)
    return frozenset(found)
