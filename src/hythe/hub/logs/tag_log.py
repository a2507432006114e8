"""Reads the tag log: its checkpoint, tiles and entries, proofs, and the entries of a tag for those who may read it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid, NotFound, SignInNeeded
from hythe.hub.sql import tag_log as store
from hythe.hub.sql.tag_log import EntryRow, LogRow
from hythe.transparency import tiles
from hythe.transparency.entry import DELETED, Entry, bundle
from hythe.transparency.tiles import WIDTH, Tile, TileSlice
from hythe.transparency.tree import HASH_SIZE, NodeReader, consistency_proof, inclusion_proof
from hythe.transparency.verification import LoggedEntry, LogPage

PAGE_SIZE = 50
"""Entries of a tag in one response, each with a proof of up to 32 bytes for each doubling of the log."""

T = TypeVar("T")


class TagLogService:
    """Serves the tag log. Anyone may read what has no names, and on an open hub the entries, which have public ones."""

    def __init__(self, database: Database, access: HubAccess) -> None:
        self._database = database
        self._access = access

    async def checkpoint(self) -> str:
        """Return the newest signed checkpoint. Raises NotFound within the first second of a new hub."""
        async with self._database.reading() as session:
            return (await _log(session)).checkpoint

    async def key(self) -> str:
        """Return the public key of the log as ``NAME+ID+KEY``. Raises NotFound."""
        async with self._database.reading() as session:
            return (await _log(session)).public_key

    async def tile(self, level: int, wanted: TileSlice) -> bytes:
        """Return the first hashes of a tile. Raises NotFound if the log does not have as many."""
        async with self._database.reading() as session:
            tile = Tile(level, wanted.number)
            found = (await store.tiles(session, [tile])).get(tile, b"")[: wanted.width * HASH_SIZE]
        if len(found) < wanted.width * HASH_SIZE:
            raise NotFound("the log does not have this tile yet")
        return found

    async def bundle(self, actor: HubActor, wanted: TileSlice) -> bytes:
        """Return entries of the log. Raises NotFound if it does not have as many, SignInNeeded on a closed hub."""
        if self._access.reader(actor).nothing:
            raise SignInNeeded("sign in to read the names of public repositories")
        first = wanted.number * WIDTH
        async with self._database.reading() as session:
            found = await store.contents(session, first, first + wanted.width)
        if len(found) < wanted.width:
            raise NotFound("the log does not have these entries yet")
        return bundle(found)

    async def inclusion(self, number: int, size: int) -> list[bytes]:
        """Return the audit path of an entry in the log's first ``size`` entries. Raises NotFound, Invalid."""
        async with self._database.reading() as session:
            await _require_size(session, size)
            if number >= size:
                raise Invalid({"number": f"must be smaller than the size, {size}"})
            return await _computed(session, lambda read: inclusion_proof(number, size, read))

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the proof that the log of ``new`` entries begins with that of ``old``. Raises NotFound, Invalid."""
        async with self._database.reading() as session:
            await _require_size(session, new, "new")
            if old > new:
                raise Invalid({"old": f"must not be larger than new, {new}"})
            return await _computed(session, lambda read: consistency_proof(old, new, read))

    async def of_tag(self, actor: HubActor, repository: str, tag: str, size: int, before: int) -> LogPage:
        """Return entries of a tag with numbers below ``before``, newest first, with proofs for the first ``size``.

        Renames of the repository are among them. Raises NotFound, Invalid.
        """
        name = canonical_name(repository)
        context = await self._access.require_repository(actor, name, HubAction.VIEW_REPOSITORY)
        if context.repository_id is None:
            raise NotFound(f"repository {name!r} does not exist")
        async with self._database.reading() as session:
            await _require_size(session, size)
            rows, more = await _rows_of(session, context.repository_id, tag, min(before, size))
            known = await store.repository(session, context.repository_id)
            proofs = await _computed(
                session, lambda read: [inclusion_proof(row.number, size, read) for row in rows] if rows else []
            )
        items = tuple(_item(row, proof) for row, proof in zip(rows, proofs, strict=True))
        salt = known.salt if known is not None and any(item.concealed for item in items) else ""
        return LogPage(name, tag, size, salt, items, items[-1].number if more else None)


async def _log(session: Session) -> LogRow:
    found = await store.log(session)
    if found is None:
        raise NotFound("the tag log is being created", "try again in a second")
    return found


async def _require_size(session: Session, size: int, field: str = "size") -> None:
    present = (await _log(session)).size
    if size > present:
        raise Invalid({field: f"must not be larger than the log, which has {present} entries"})


async def _computed(session: Session, compute: Callable[[NodeReader], T]) -> T:
    """Return what ``compute`` returns for the log's tree; it may hash a few thousand times."""
    found = await store.tiles(session, tiles.tiles_for(compute))
    return await asyncio.to_thread(compute, tiles.reader(found))


async def _rows_of(session: Session, repository_id: int, tag: str, before: int) -> tuple[Sequence[EntryRow], bool]:
    """Return entries of a tag and of its repository, newest first, and whether there are more.

    Entries before a deletion are about an earlier repository: SQLite can give its id to another one.
    """
    limit = PAGE_SIZE + 1
    general = list(await store.of_tag(session, repository_id, "", before, limit))
    deletion = next((i for i, row in enumerate(general) if _plain(row).kind == DELETED), None)
    since = -1 if deletion is None else general[deletion].number
    moves = await store.of_tag(session, repository_id, tag, before, limit)
    rows = sorted((*general[:deletion], *moves), key=lambda row: row.number, reverse=True)
    rows = [row for row in rows if row.number > since]
    return rows[:PAGE_SIZE], len(rows) > PAGE_SIZE


def _plain(row: EntryRow) -> Entry:
    return Entry.parse(row.content if row.plain is None else row.plain)


def _item(row: EntryRow, proof: list[bytes]) -> LoggedEntry:
    return LoggedEntry(row.number, _plain(row), row.plain is not None, tuple(each.hex() for each in proof))
