"""Sorted lists in the database: a page costs the same at any depth, because it begins at a key of an index.

A list needs an index whose columns are those of its condition, followed by those of its sort key.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, select, tuple_

from hythe.database import Session
from hythe.database.tables.metadata import Timestamp
from hythe.hub.page import MAX_COUNTED, Key, Page, Paging, Position

T = TypeVar("T")


class Slice(msgspec.Struct, frozen=True):
    """The rows of one page, with the cursors of the pages around it."""

    rows: Sequence[Row[Any]]
    next: str
    previous: str


class SortedList:
    """The statements of a list, sorted by ``key``, whose columns are unique together and all in one direction."""

    def __init__(
        self,
        statement: Select[Any],
        *key: ColumnElement[Any],
        where: Sequence[ColumnElement[bool]] = (),
        descending: bool = False,
    ) -> None:
        """Page through the rows of ``statement`` that meet ``where``; they contain the columns of ``key`` by name.

        ``where`` names only the table of the key: rows are skipped and counted in an index, without the tables that
        ``statement`` joins.
        """
        statement = statement.where(*where)
        self._names = tuple(column.key or "" for column in key)
        self._types = tuple(_python_type(column) for column in key)
        self._first = _sorted(statement, key, descending=descending)
        self._after = _from(statement, key, descending=descending)
        self._before = _from(statement, key, descending=not descending)
        keys = select(*key).where(*where)
        self._nth = keys.order_by(*_order(key, descending=descending)).limit(1).offset(bindparam("skipped"))
        self._keys = keys.order_by(*_order(key, descending=descending)).limit(bindparam("at_most"))
        few = keys.order_by(*_order(key, descending=descending)).limit(bindparam("at_most")).subquery()
        self._count = select(func.count()).select_from(few)

    async def slice(self, session: Session, paging: Paging, parameters: Mapping[str, Any]) -> Slice:
        """Return the rows of a page. Raises Invalid for a cursor of another list."""
        position = self.position(paging)
        if position is None and paging.offset:
            last = await session.row(self._nth, {**parameters, "skipped": paging.offset - 1})
            if last is None:
                return Slice((), "", "")
            position = Position(False, self.key_of(last))
        rows = await self.rows(session, position, paging.page_size + 1, parameters)
        return self.cut(rows, position, paging.page_size)

    async def rows(
        self, session: Session, position: Position | None, limit: int, parameters: Mapping[str, Any]
    ) -> Sequence[Row[Any]]:
        """Return the next rows after a position, or backwards, those before it."""
        values = {**parameters, "page_size": limit}
        if position is None:
            return await session.rows(self._first, values)
        statement = self._before if position.backwards else self._after
        return await session.rows(statement, {**values, **self.bound(position.key)})

    async def keys(self, session: Session, limit: int, parameters: Mapping[str, Any]) -> list[Key]:
        """Return the first sort keys."""
        rows = await session.rows(self._keys, {**parameters, "at_most": limit})
        return [self.key_of(row) for row in rows]

    def position(self, paging: Paging) -> Position | None:
        """Return the position of a cursor. Raises Invalid."""
        return Position.parse(paging.cursor, *self._types) if paging.cursor else None

    async def total(self, session: Session, parameters: Mapping[str, Any]) -> tuple[int, bool]:
        """Return the number of items, counted up to MAX_COUNTED, and whether there are no more."""
        row = await session.row(self._count, {**parameters, "at_most": MAX_COUNTED + 1})
        found = int(row[0]) if row else 0
        return min(found, MAX_COUNTED), found <= MAX_COUNTED

    def bound(self, key: Key) -> dict[str, Any]:
        """Return the parameters of a key."""
        return {f"key_{name}": value for name, value in zip(self._names, key, strict=True)}

    def key_of(self, row: Row[Any]) -> Key:
        """Return the sort key of a row."""
        return tuple(getattr(row, name) for name in self._names)

    def cut(self, rows: Sequence[Row[Any]], position: Position | None, size: int) -> Slice:
        """Return the rows of a page out of one row more, with its cursors."""
        backwards = position is not None and position.backwards
        more, rows = len(rows) > size, rows[:size]
        if backwards:
            rows = rows[::-1]
        if not rows:
            return Slice((), "", "")
        following = str(Position(False, self.key_of(rows[-1]))) if more or backwards else ""
        preceding = str(Position(True, self.key_of(rows[0]))) if (more if backwards else position) else ""
        return Slice(rows, following, preceding)


class MergedList:
    """Lists in descending order of the same sort key as one. No row is in two of them.

    A page reads a page of each list.
    """

    def __init__(self, *lists: tuple[SortedList, Mapping[str, Any]]) -> None:
        """Each list comes with its parameters; there is at least one."""
        self._lists = lists

    async def slice(self, session: Session, paging: Paging) -> Slice:
        """Return the rows of a page. Raises Invalid for a cursor of another list."""
        first, _ = self._lists[0]
        position = first.position(paging)
        if position is None and paging.offset:
            keys = [key for each, values in self._lists for key in await each.keys(session, paging.offset, values)]
            if len(keys) < paging.offset:
                return Slice((), "", "")
            position = Position(False, sorted(keys, reverse=True)[paging.offset - 1])
        limit = paging.page_size + 1
        rows = [row for each, values in self._lists for row in await each.rows(session, position, limit, values)]
        backwards = position is not None and position.backwards
        rows.sort(key=first.key_of, reverse=not backwards)
        return first.cut(rows[:limit], position, paging.page_size)

    async def total(self, session: Session) -> tuple[int, bool]:
        """Return the number of items, counted up to MAX_COUNTED, and whether there are no more."""
        counted = [await each.total(session, values) for each, values in self._lists]
        found = sum(count for count, _ in counted)
        return min(found, MAX_COUNTED), found <= MAX_COUNTED and all(exact for _, exact in counted)


def page_of(found: Slice, items: tuple[T, ...], total: tuple[int, bool], paging: Paging) -> Page[T]:
    """Return a page of these items, made of the rows of a slice."""
    return Page(items, total[0], paging, found.next, found.previous, total[1])


def _python_type(column: ColumnElement[Any]) -> type:
    return datetime if isinstance(column.type, Timestamp) else column.type.python_type


def _order(key: Sequence[ColumnElement[Any]], *, descending: bool) -> list[ColumnElement[Any]]:
    return [column.desc() if descending else column.asc() for column in key]


def _sorted(statement: Select[Any], key: Sequence[ColumnElement[Any]], *, descending: bool) -> Select[Any]:
    return statement.order_by(*_order(key, descending=descending)).limit(bindparam("page_size"))


def _from(statement: Select[Any], key: Sequence[ColumnElement[Any]], *, descending: bool) -> Select[Any]:
    here = tuple_(*key)
    there = tuple_(*(bindparam(f"key_{column.key}", type_=column.type) for column in key))
    return _sorted(statement.where(here < there if descending else here > there), key, descending=descending)
