"""The SQL of tags, their history and the patterns of immutable tags."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select

from hythe.database import Session, port
from hythe.database.tables.registry import repositories, tag_moves, tag_rules, tags
from hythe.oci.digest import Digest
from hythe.registry.events import TagMove

_OF_TAG = (tags.c.repository_id == bindparam("repository_id"), tags.c.name == bindparam("tag"))
_TARGET = select(tags.c.digest).where(*_OF_TAG).with_for_update()
_REMOVE = delete(tags).where(*_OF_TAG)
_TAGS_OF = select(tags.c.name).where(
    tags.c.repository_id == bindparam("repository_id"), tags.c.digest == bindparam("digest")
)
_REMOVE_SOME = delete(tags).where(
    tags.c.repository_id == bindparam("repository_id"), tags.c.name.in_(bindparam("names", expanding=True))
)
_POINTING_AT = _TAGS_OF.order_by(tags.c.name)
_SOME_POINTING_AT = _TAGS_OF.limit(bindparam("limit"))
_POINTING_AT_AFTER = _POINTING_AT.where(tags.c.name > bindparam("after")).limit(bindparam("limit"))
_NAMES = (
    select(tags.c.name)
    .where(tags.c.repository_id == bindparam("repository_id"), tags.c.name > bindparam("after"))
    .order_by(tags.c.name)
    .limit(bindparam("limit"))
)
_HISTORY = (
    select(tag_moves)
    .where(
        # A join would keep PostgreSQL from reading the moves in the order of the index.
        tag_moves.c.repository_id
        == select(repositories.c.id).where(repositories.c.name == bindparam("repository")).scalar_subquery(),
        tag_moves.c.tag == bindparam("tag"),
        tag_moves.c.id < bindparam("before"),
    )
    .order_by(tag_moves.c.id.desc())
    .limit(bindparam("limit"))
)
_WAS_AT = (
    select(tag_moves.c.id)
    .where(
        tag_moves.c.repository_id == bindparam("repository_id"),
        tag_moves.c.tag == bindparam("tag"),
        tag_moves.c.digest == bindparam("digest"),
    )
    .limit(1)
)
_ADD_MOVES = insert(tag_moves)
_RULES = (
    select(tag_rules.c.pattern)
    .where(tag_rules.c.repository_id == bindparam("repository_id"))
    .order_by(tag_rules.c.pattern)
)
_REMOVE_RULES = delete(tag_rules).where(tag_rules.c.repository_id == bindparam("repository_id"))
_ADD_RULES = insert(tag_rules)

NAMES_AT_ONCE = 1000
"""Tags that one statement reads, which takes about 2 ms."""

MAX_MOVE_NUMBER = 2**62
"""A ``before`` larger than the number of any move."""


async def target(session: Session, repository_id: int, tag: str) -> str | None:
    """Return the digest of a tag. Lock the repository first to rely on it."""
    row = await session.row(_TARGET, {"repository_id": repository_id, "tag": tag})
    return None if row is None else str(row.digest)


async def set_target(session: Session, repository_id: int, tag: str, digest: str, at: datetime, by: str) -> None:
    """Set a tag to a manifest."""
    statement = port.insert(session, tags).values(
        repository_id=repository_id, name=tag, digest=digest, moved_at=at, moved_by=by
    )
    keys = [tags.c.repository_id, tags.c.name]
    moved = {"digest": digest, "moved_at": at, "moved_by": by}
    await session.run(statement.on_conflict_do_update(index_elements=keys, set_=moved))


async def remove(session: Session, repository_id: int, tag: str) -> None:
    """Delete a tag."""
    await session.run(_REMOVE, {"repository_id": repository_id, "tag": tag})


async def remove_some(session: Session, repository_id: int, names: Sequence[str]) -> None:
    """Delete tags."""
    await session.run(_REMOVE_SOME, {"repository_id": repository_id, "names": names})


async def pointing_at(session: Session, repository_id: int, digest: str) -> tuple[str, ...]:
    """Return the tags of a manifest."""
    rows = await session.rows(_POINTING_AT, {"repository_id": repository_id, "digest": digest})
    return tuple(row.name for row in rows)


async def some_pointing_at(session: Session, repository_id: int, digest: str, limit: int) -> tuple[str, ...]:
    """Return some tags of a manifest."""
    values = {"repository_id": repository_id, "digest": digest, "limit": limit}
    return tuple(row.name for row in await session.rows(_SOME_POINTING_AT, values))


async def pointing_at_after(
    session: Session, repository_id: int, digest: str, after: str, limit: int
) -> tuple[str, ...]:
    """Return the next tags of a manifest, sorted; reads all of them."""
    values = {"repository_id": repository_id, "digest": digest, "after": after, "limit": limit}
    return tuple(row.name for row in await session.rows(_POINTING_AT_AFTER, values))


async def names_after(session: Session, repository_id: int, after: str, limit: int) -> tuple[str, ...]:
    """Return the next tags, sorted."""
    names: list[str] = []
    while len(names) < limit:
        some = min(NAMES_AT_ONCE, limit - len(names))
        rows = await session.rows(_NAMES, {"repository_id": repository_id, "after": after, "limit": some})
        names += [row[0] for row in rows]
        if len(rows) < some:
            break
        after = names[-1]
    return tuple(names)


async def add_moves(session: Session, repository_id: int, moves: Iterable[TagMove], by: str) -> None:
    """Append to the history."""
    rows = [
        {
            "repository_id": repository_id,
            "tag": move.tag,
            "digest": str(move.digest) if move.digest else None,
            "previous": str(move.previous) if move.previous else None,
            "moved_at": move.at,
            "moved_by": by,
        }
        for move in moves
    ]
    if rows:
        await session.run(_ADD_MOVES, rows)


async def history(session: Session, repository: str, tag: str, before: int, limit: int) -> tuple[Row[Any], ...]:
    """Return a tag's moves before number ``before``, newest first."""
    values = {"repository": repository, "tag": tag, "before": before, "limit": limit}
    return tuple(await session.rows(_HISTORY, values))


async def was_target(session: Session, repository_id: int, tag: str, digest: Digest) -> bool:
    """Return whether the tag ever had this digest."""
    values = {"repository_id": repository_id, "tag": tag, "digest": str(digest)}
    return await session.row(_WAS_AT, values) is not None


async def rules(session: Session, repository_id: int) -> tuple[str, ...]:
    """Return the patterns of immutable tags."""
    return tuple(row.pattern for row in await session.rows(_RULES, {"repository_id": repository_id}))


async def set_rules(session: Session, repository_id: int, patterns: Iterable[str]) -> None:
    """Replace the patterns."""
    await session.run(_REMOVE_RULES, {"repository_id": repository_id})
    rows = [{"repository_id": repository_id, "pattern": pattern} for pattern in sorted(set(patterns))]
    if rows:
        await session.run(_ADD_RULES, rows)
