"""The SQL that gives repositories new names, and moves what they store to the count of another namespace.

Lock rows of repositories first, then those of ``namespace_usage``, then ``namespace_blobs`` (see migration 0008).
"""

from sqlalchemy import ColumnElement, Integer, Text, bindparam, case, cast, delete, func, literal, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.registry import (
    blobs,
    manifests,
    namespace_blobs,
    namespace_usage,
    repositories,
    repository_blobs,
)
from hythe.registry.sql.usage import names_within

STEP = 500
"""Rows that one statement renames: between two, SQLite lets the event loop run."""

_RENAME = update(repositories).where(repositories.c.id == bindparam("id_")).values(name=bindparam("name_"))
_NAMESPACE = bindparam("namespace", type_=repositories.c.name.type)
_AFTER: ColumnElement[str] = bindparam("after", type_=Text)
_LAST: ColumnElement[str] = bindparam("last", type_=Text)


def _with_prefix(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return a name with another namespace; ``cut`` is the position of the slash."""
    renamed: ColumnElement[str] = cast(bindparam("new"), Text) + func.substr(column, cast(bindparam("cut"), Integer))
    return renamed


_NEXT = (
    select(repositories.c.name)
    .where(names_within(repositories.c.name, _NAMESPACE), repositories.c.name > _AFTER)
    .order_by(repositories.c.name)
    .limit(literal(STEP))
)
_RENAME_SOME = (
    update(repositories)
    .where(repositories.c.name > _AFTER, repositories.c.name <= _LAST)
    .values(name=_with_prefix(repositories.c.name))
)
_REMOVE_EMPTY_USAGE = delete(namespace_usage).where(
    namespace_usage.c.namespace == bindparam("of"), namespace_usage.c.repositories <= 0, namespace_usage.c.bytes <= 0
)
_RENAME_USAGE = (
    update(namespace_usage).where(namespace_usage.c.namespace == bindparam("old")).values(namespace=bindparam("new"))
)
_NEXT_BLOBS = (
    select(namespace_blobs.c.digest)
    .where(namespace_blobs.c.namespace == bindparam("old"), namespace_blobs.c.digest > _AFTER)
    .order_by(namespace_blobs.c.digest)
    .limit(literal(STEP))
)
_RENAME_BLOBS = (
    update(namespace_blobs)
    .where(
        namespace_blobs.c.namespace == bindparam("old"),
        namespace_blobs.c.digest > _AFTER,
        namespace_blobs.c.digest <= _LAST,
    )
    .values(namespace=bindparam("new"))
)

_LOCK_USAGE = (
    select(namespace_usage.c.namespace, namespace_usage.c.bytes)
    .where(namespace_usage.c.namespace.in_(bindparam("namespaces", expanding=True)))
    .order_by(namespace_usage.c.namespace)
    .with_for_update()
)
_LINKED = select(repository_blobs.c.digest).where(repository_blobs.c.repository_id == bindparam("id"))
_target = namespace_blobs.alias("target")
_MOVED = (
    select(
        func.coalesce(func.sum(case((_target.c.digest.is_(None), blobs.c.size), else_=0)), 0).label("added"),
        func.coalesce(func.sum(case((namespace_blobs.c.repositories <= 1, blobs.c.size), else_=0)), 0).label("freed"),
        select(func.coalesce(func.sum(manifests.c.size), 0))
        .where(manifests.c.repository_id == bindparam("id"))
        .scalar_subquery()
        .label("manifests"),
    )
    .select_from(repository_blobs)
    .join(blobs, blobs.c.digest == repository_blobs.c.digest)
    .outerjoin(
        namespace_blobs,
        (namespace_blobs.c.namespace == bindparam("old")) & (namespace_blobs.c.digest == repository_blobs.c.digest),
    )
    .outerjoin(_target, (_target.c.namespace == bindparam("new")) & (_target.c.digest == repository_blobs.c.digest))
    .where(repository_blobs.c.repository_id == bindparam("id"))
)
_COUNT_LESS = (
    update(namespace_blobs)
    .where(namespace_blobs.c.namespace == bindparam("old"), namespace_blobs.c.digest.in_(_LINKED))
    .values(repositories=namespace_blobs.c.repositories - 1)
)
_REMOVE_UNCOUNTED = delete(namespace_blobs).where(
    namespace_blobs.c.namespace == bindparam("old"),
    namespace_blobs.c.digest.in_(_LINKED),
    namespace_blobs.c.repositories <= 0,
)
_ADD_USAGE = (
    update(namespace_usage)
    .where(namespace_usage.c.namespace == bindparam("of"))
    .values(
        bytes=namespace_usage.c.bytes + bindparam("more_bytes"),
        repositories=namespace_usage.c.repositories + bindparam("more_repositories"),
    )
)
_USED = select(namespace_usage.c.bytes).where(namespace_usage.c.namespace == bindparam("of"))


async def rename(session: Session, repository_id: int, new: str) -> None:
    """Give a repository a new name. Its upload sessions expire. Raises IntegrityError if the name is taken."""
    await session.run(_RENAME, {"id_": repository_id, "name_": new})


async def rename_all(session: Session, old: str, new: str) -> int:
    """Give every repository of a namespace, also deleted ones, its new name; return their number.

    Raises IntegrityError if a name is taken.
    """
    count = 0
    after = ""
    while found := await session.rows(_NEXT, {"namespace": old, "after": after}):
        last = found[-1].name
        names = {"after": after or f"{old}/", "last": last, "new": new, "cut": len(old) + 1}
        count += await session.run(_RENAME_SOME, names)
        after = last
    return count


async def rename_usage(session: Session, old: str, new: str) -> None:
    """Count under its new name what a namespace stores. Nothing else may be locked afterwards."""
    await session.run(_REMOVE_EMPTY_USAGE, {"of": new})
    await session.run(_RENAME_USAGE, {"old": old, "new": new})
    after = ""
    while found := await session.rows(_NEXT_BLOBS, {"old": old, "after": after}):
        last = found[-1].digest
        await session.run(_RENAME_BLOBS, {"old": old, "new": new, "after": after, "last": last})
        after = last


async def move_usage(session: Session, repository_id: int, old: str, new: str) -> int:
    """Count what a repository stores in another namespace; return what that one stores now. Lock the repository."""
    statement = insert(session, namespace_usage).values(namespace=new, bytes=0, repositories=0)
    await session.run(statement.on_conflict_do_nothing())
    await session.rows(_LOCK_USAGE, {"namespaces": [old, new]})
    names = {"old": old, "new": new, "id": repository_id}
    moved = await session.row(_MOVED, names)
    if moved is None:
        raise LookupError("an aggregate returned no row")
    links = (
        select(
            cast(literal(new), namespace_blobs.c.namespace.type), repository_blobs.c.digest, blobs.c.size, literal(1)
        )
        .join(blobs, blobs.c.digest == repository_blobs.c.digest)
        .where(repository_blobs.c.repository_id == repository_id)
    )
    columns = ["namespace", "digest", "size", "repositories"]
    added = insert(session, namespace_blobs).from_select(columns, links)
    counted = {"repositories": namespace_blobs.c.repositories + 1}
    await session.run(added.on_conflict_do_update(index_elements=["namespace", "digest"], set_=counted))
    await session.run(_COUNT_LESS, {"old": old, "id": repository_id})
    await session.run(_REMOVE_UNCOUNTED, {"old": old, "id": repository_id})
    # On SQLite, triggers have counted the bytes of blobs.
    by_triggers = session.dialect == "sqlite"
    added_bytes = int(moved.manifests) + (0 if by_triggers else int(moved.added))
    freed_bytes = int(moved.manifests) + (0 if by_triggers else int(moved.freed))
    await session.run(_ADD_USAGE, {"of": new, "more_bytes": added_bytes, "more_repositories": 1})
    await session.run(_ADD_USAGE, {"of": old, "more_bytes": -freed_bytes, "more_repositories": -1})
    used = await session.row(_USED, {"of": new})
    return int(used.bytes) if used is not None else 0
