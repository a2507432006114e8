"""The SQL of the tag log."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from hythe.database import Session, port
from hythe.database.tables.tag_log import (
    tag_log,
    tag_log_entries,
    tag_log_queue,
    tag_log_repositories,
    tag_log_tiles,
)
from hythe.transparency.tiles import Tile

_LOG = select(tag_log).where(tag_log.c.number == 1)
_LOCKED_LOG = _LOG.with_for_update(skip_locked=True)
_SET_CHECKPOINT = (
    update(tag_log).where(tag_log.c.number == 1).values(size=bindparam("size_"), checkpoint=bindparam("checkpoint_"))
)
_SET_KEY = (
    update(tag_log)
    .where(tag_log.c.number == 1)
    .values(
        public_key=bindparam("public_key_"), private_key=bindparam("private_key_"), checkpoint=bindparam("checkpoint_")
    )
)
_WAITING = (
    select(tag_log_queue)
    .where(tag_log_queue.c.id > bindparam("after"))
    .order_by(tag_log_queue.c.id)
    .limit(bindparam("limit"))
)
_REMOVE_WAITING = delete(tag_log_queue).where(tag_log_queue.c.id.in_(bindparam("ids", expanding=True)))
_REPOSITORIES = select(tag_log_repositories).where(
    tag_log_repositories.c.repository_id.in_(bindparam("ids", expanding=True))
)
_REPOSITORY = select(tag_log_repositories).where(tag_log_repositories.c.repository_id == bindparam("repository_id"))
_REMOVE_REPOSITORIES = delete(tag_log_repositories).where(
    tag_log_repositories.c.repository_id.in_(bindparam("ids", expanding=True))
)
_ADD_REPOSITORIES = insert(tag_log_repositories)
_ADD_ENTRIES = insert(tag_log_entries)
_OF_TAG = (
    select(tag_log_entries.c.number, tag_log_entries.c.content, tag_log_entries.c.plain)
    .where(
        tag_log_entries.c.repository_id == bindparam("repository_id"),
        tag_log_entries.c.tag == bindparam("tag"),
        tag_log_entries.c.number < bindparam("before"),
    )
    .order_by(tag_log_entries.c.number.desc())
    .limit(bindparam("limit"))
)
_CONTENTS = (
    select(tag_log_entries.c.content)
    .where(tag_log_entries.c.number >= bindparam("first"), tag_log_entries.c.number < bindparam("end"))
    .order_by(tag_log_entries.c.number)
)
_TILE = select(tag_log_tiles.c.hashes).where(
    tag_log_tiles.c.level == bindparam("level"), tag_log_tiles.c.number == bindparam("number")
)


class LogRow(msgspec.Struct, frozen=True):
    """The log: its name, its keys, and its newest checkpoint. ``private_key`` is sealed."""

    origin: str
    public_key: str
    private_key: str
    size: int
    checkpoint: str


class QueuedEntry(msgspec.Struct, frozen=True):
    """What is to be appended to the log. ``public``: with plain names."""

    id: int
    kind: str
    repository_id: int
    repository: str
    public: bool
    tag: str | None
    digest: str | None
    previous: str | None
    new_name: str | None
    at: datetime


class LoggedRepository(msgspec.Struct, frozen=True):
    """A repository of the log: the key of its HMACs (hex), and whether its last entry has plain names."""

    repository_id: int
    salt: str
    public: bool


class EntryRow(msgspec.Struct, frozen=True):
    """An entry: the leaf, and the entry in plain form if the leaf has HMACs."""

    number: int
    content: bytes
    plain: bytes | None


class NewEntry(msgspec.Struct, frozen=True):
    """An entry to append; ``tag`` is empty if it is about the whole repository."""

    number: int
    repository_id: int
    tag: str
    content: bytes
    plain: bytes | None


async def log(session: Session) -> LogRow | None:
    """Return the log; None before the hub's first start with one."""
    return _log(await session.row(_LOG))


async def locked_log(session: Session) -> LogRow | None:
    """Return the log, locked until the transaction ends; None if another server has locked it."""
    return _log(await session.row(_LOCKED_LOG))


def _log(row: Any) -> LogRow | None:
    if row is None:
        return None
    return LogRow(row.origin, row.public_key, row.private_key, row.size, row.checkpoint)


async def create(session: Session, log: LogRow) -> None:
    """Add the log, unless another server has."""
    values = {"number": 1, **msgspec.structs.asdict(log)}
    await session.run(port.insert(session, tag_log).values(values).on_conflict_do_nothing())


async def set_checkpoint(session: Session, size: int, checkpoint: str) -> None:
    """Record the checkpoint for a new size."""
    await session.run(_SET_CHECKPOINT, {"size_": size, "checkpoint_": checkpoint})


async def set_key(session: Session, public_key: str, private_key: str, checkpoint: str) -> None:
    """Replace the keys of the log, and record the checkpoint that the new one signed; ``private_key`` is sealed."""
    keys = {"public_key_": public_key, "private_key_": private_key}
    await session.run(_SET_KEY, {**keys, "checkpoint_": checkpoint})


async def waiting(session: Session, after: int, limit: int) -> tuple[QueuedEntry, ...]:
    """Return the next entries of the queue, oldest first.

    Ids of one repository rise with its commits, because each change locks it; others may commit in any order.
    """
    rows = await session.rows(_WAITING, {"after": after, "limit": limit})
    return tuple(msgspec.convert(row._mapping, QueuedEntry) for row in rows)


async def remove_waiting(session: Session, ids: Sequence[int]) -> None:
    """Remove entries from the queue."""
    await session.run(_REMOVE_WAITING, {"ids": ids})


async def repositories(session: Session, ids: Collection[int]) -> dict[int, LoggedRepository]:
    """Return the repositories of the log with these ids."""
    rows = await session.rows(_REPOSITORIES, {"ids": sorted(ids)})
    return {row.repository_id: LoggedRepository(row.repository_id, row.salt, row.public) for row in rows}


async def repository(session: Session, repository_id: int) -> LoggedRepository | None:
    """Return the repository of the log with this id."""
    row = await session.row(_REPOSITORY, {"repository_id": repository_id})
    return None if row is None else LoggedRepository(row.repository_id, row.salt, row.public)


async def replace_repositories(session: Session, removed: Collection[int], added: Collection[LoggedRepository]) -> None:
    """Delete the rows of some repositories, and add new ones."""
    if removed:
        await session.run(_REMOVE_REPOSITORIES, {"ids": sorted(removed)})
    if added:
        await session.run(_ADD_REPOSITORIES, [msgspec.structs.asdict(each) for each in added])


async def add_entries(session: Session, entries: Sequence[NewEntry]) -> None:
    """Append entries."""
    await session.run(_ADD_ENTRIES, [msgspec.structs.asdict(entry) for entry in entries])


async def of_tag(session: Session, repository_id: int, tag: str, before: int, limit: int) -> tuple[EntryRow, ...]:
    """Return entries of a tag, or with an empty tag those about the whole repository, newest first."""
    values = {"repository_id": repository_id, "tag": tag, "before": before, "limit": limit}
    rows = await session.rows(_OF_TAG, values)
    return tuple(EntryRow(row.number, bytes(row.content), row.plain and bytes(row.plain)) for row in rows)


async def contents(session: Session, first: int, end: int) -> list[bytes]:
    """Return the leaves from ``first`` up to ``end``."""
    return [bytes(row.content) for row in await session.rows(_CONTENTS, {"first": first, "end": end})]


async def tiles(session: Session, wanted: Iterable[Tile]) -> dict[Tile, bytes]:
    """Return the hashes of those of these tiles that exist."""
    found = {}
    for tile in wanted:
        row = await session.row(_TILE, {"level": tile.level, "number": tile.number})
        if row is not None:
            found[tile] = bytes(row.hashes)
    return found


async def set_tiles(session: Session, changed: dict[Tile, bytes]) -> None:
    """Add or replace tiles."""
    statement = port.insert(session, tag_log_tiles)
    replacing = statement.on_conflict_do_update(
        index_elements=[tag_log_tiles.c.level, tag_log_tiles.c.number], set_={"hashes": statement.excluded.hashes}
    )
    rows = [{"level": tile.level, "number": tile.number, "hashes": content} for tile, content in changed.items()]
    await session.run(replacing, rows)
