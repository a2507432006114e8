"""Reads tags with their manifests in one query, from the registry's tables, which only the registry writes."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, case, func, literal_column, select, tuple_

from hythe.database import Session
from hythe.database.tables.registry import OF_IMAGES, manifests, tags
from hythe.hub.page import Key, Page, Paging, Position
from hythe.hub.sql.sorted_list import SortedList, page_of
from hythe.registry.sql.blobs import batches

MAX_PARENT_SIZE = 256 * 1024
"""Bytes; the content of larger manifests is not read for lists of tags."""

MAX_CHILD_SIZE = 32 * 1024
"""Bytes of a manifest in an index. There may be more than a thousand of them in a list of tags."""

CHILDREN_AT_ONCE = 50
"""Manifests that one query reads."""

_COLUMNS = (
    tags.c.name,
    tags.c.digest,
    tags.c.moved_at,
    tags.c.moved_by,
    manifests.c.media_type,
    case((manifests.c.size <= MAX_PARENT_SIZE, manifests.c.content)).label("content"),
)

_SAME_MANIFEST = and_(manifests.c.repository_id == tags.c.repository_id, manifests.c.digest == tags.c.digest)
_OF_REPOSITORY = tags.c.repository_id == bindparam("repository_id")
_ALL = select(*_COLUMNS).join_from(tags, manifests, _SAME_MANIFEST)
_ONE = _ALL.where(_OF_REPOSITORY, tags.c.name == bindparam("name"))

_OF_IMAGES: ColumnElement[bool] = literal_column(OF_IMAGES.replace("name", "tags.name"))
_MOVED = (tags.c.moved_at, tags.c.name)
_RECENT = SortedList(_ALL, *_MOVED, where=(_OF_REPOSITORY, _OF_IMAGES), descending=True)

_START = (datetime.max.replace(tzinfo=UTC), "")
_END = (datetime.min.replace(tzinfo=UTC), "")
"""Keys before and after those of all tags."""


def _bound(prefix: str) -> ColumnElement[Any]:
    return tuple_(*(bindparam(f"{prefix}_{column.key}", type_=column.type) for column in _MOVED))


def _between(*, backwards: bool) -> tuple[Select[Any], Select[Any]]:
    """Return the statements for a key some tags further on, and for the tags before it that match a text."""
    here, start, end = tuple_(*_MOVED), _bound("start"), _bound("end")
    order = [column.asc() if backwards else column.desc() for column in _MOVED]
    keys = select(*_MOVED).where(_OF_REPOSITORY, _OF_IMAGES, here > start if backwards else here < start)
    further = keys.order_by(*order).limit(1).offset(bindparam("further"))
    within = here <= end if backwards else here >= end
    matching = keys.where(within, func.lower(tags.c.name).like(bindparam("pattern"), escape="/"))
    return further, matching.order_by(*order).limit(bindparam("at_most"))


_BETWEEN = {backwards: _between(backwards=backwards) for backwards in (False, True)}
_NAMED = _ALL.where(_OF_REPOSITORY, tags.c.name.in_(bindparam("names", expanding=True)))

EXAMINED_AT_ONCE = 20_000
"""Tags whose names one statement compares with a text."""

MAX_EXAMINED = 100_000
"""Tags whose names are compared for one page; the next page continues behind them."""


async def listed(session: Session, repository_id: int, paging: Paging) -> Page[Row[Any]]:
    """Return a page of the tags, most recently moved first.

    Leaves out tags that only describe an image (cosign's signatures and attestations).
    """
    of = {"repository_id": repository_id}
    found = await _RECENT.slice(session, paging, of)
    return page_of(found, tuple(found.rows), await _RECENT.total(session, of), paging)


async def matching(session: Session, repository_id: int, paging: Paging, part: str) -> Page[Row[Any]]:
    """Return a page of the tags whose names contain ``part``, as above.

    Compares up to MAX_EXAMINED names, so that the page may have few items, or none, and still a next one.
    """
    position = _RECENT.position(paging) or Position(False, _START)
    wanted = paging.offset + paging.page_size
    found, behind = await _keys_matching(session, repository_id, position, part, wanted + 1)
    more, keys = len(found) > wanted, found[paging.offset : wanted]
    onwards = keys[-1] if more else behind
    at_start = position.key == _START and not paging.offset
    back = None if at_start else keys[0] if keys else position.key
    if position.backwards:
        onwards, back, keys = keys[0] if keys else behind or _START, onwards, keys[::-1]
    rows = await session.rows(_NAMED, {"repository_id": repository_id, "names": [name for _, name in keys]})
    by_name = {row.name: row for row in rows}
    return Page(
        tuple(by_name[name] for _, name in keys if name in by_name),
        len(found),
        paging,
        next=str(Position(False, onwards)) if onwards else "",
        previous=str(Position(True, back)) if back else "",
        total_exact=at_start and not onwards,
    )


async def _keys_matching(
    session: Session, repository_id: int, position: Position, part: str, wanted: int
) -> tuple[list[Key], Key | None]:
    """Return keys of matching tags, and the last key that was examined; None at the end of the list."""
    further, matches = _BETWEEN[position.backwards]
    escaped = part.lower().replace("/", "//").replace("%", "/%").replace("_", "/_")
    of = {"repository_id": repository_id}
    found: list[Key] = []
    key: Key = position.key
    for _ in range(MAX_EXAMINED // EXAMINED_AT_ONCE):
        start = _key_parameters("start", key)
        end = await session.row(further, {**of, **start, "further": EXAMINED_AT_ONCE - 1})
        key = tuple(end) if end else _START if position.backwards else _END
        values = {**of, **start, **_key_parameters("end", key), "pattern": f"%{escaped}%"}
        rows = await session.rows(matches, {**values, "at_most": wanted - len(found)})
        found += [tuple(row) for row in rows]
        if len(found) >= wanted or end is None:
            return found, None
    return found, key


def _key_parameters(prefix: str, key: Key) -> dict[str, Any]:
    return {f"{prefix}_{column.key}": value for column, value in zip(_MOVED, key, strict=True)}


async def one(session: Session, repository_id: int, name: str) -> Row[Any] | None:
    """Return one tag with its manifest, unless that is larger than ``MAX_PARENT_SIZE``."""
    return await session.row(_ONE, {"repository_id": repository_id, "name": name})


async def contents(session: Session, repository_id: int, digests: Collection[str]) -> dict[str, tuple[bytes, str]]:
    """Return content and media type of those manifests that exist and are not larger than ``MAX_CHILD_SIZE``."""
    found: dict[str, tuple[bytes, str]] = {}
    columns = (manifests.c.digest, manifests.c.media_type, manifests.c.content)
    fitting = (manifests.c.repository_id == repository_id) & (manifests.c.size <= MAX_CHILD_SIZE)
    for some in batches(digests, CHILDREN_AT_ONCE):
        rows = await session.rows(select(*columns).where(fitting, manifests.c.digest.in_(some)))
        found.update((row.digest, (bytes(row.content), row.media_type)) for row in rows)
    return found
