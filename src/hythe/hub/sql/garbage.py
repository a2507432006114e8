"""The recorded runs of garbage collection, for administrators."""

from typing import Any

import msgspec
from sqlalchemy import Row, select

from hythe.database import Session
from hythe.database.tables.registry import garbage_collections
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of
from hythe.registry.sql.garbage_collection import GarbageRun

LIST = SortedList(select(garbage_collections), garbage_collections.c.id, descending=True)


async def listed(session: Session, paging: Paging) -> Page[GarbageRun]:
    """Return a page of the runs, newest first."""
    found = await LIST.slice(session, paging, {})
    return page_of(found, tuple(map(_run, found.rows)), await LIST.total(session, {}), paging)


def _run(row: Row[Any]) -> GarbageRun:
    return msgspec.convert(row, GarbageRun, from_attributes=True)
