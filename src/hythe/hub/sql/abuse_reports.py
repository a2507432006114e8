"""Reports of abuse in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, literal_column, select, update

from hythe.database import Session
from hythe.database.tables.administration import abuse_reports
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

_ADD = insert(abuse_reports)
_BY_ID = select(abuse_reports).where(abuse_reports.c.id == bindparam("report_id", type_=abuse_reports.c.id.type))
LIST = SortedList(
    select(abuse_reports),
    abuse_reports.c.id,
    where=(abuse_reports.c.state == bindparam("state", type_=abuse_reports.c.state.type),),
    descending=True,
)
_RECENT = (
    select(literal_column("1"))
    .where(
        abuse_reports.c.reporter == bindparam("reporter"),
        abuse_reports.c.created_at > bindparam("since", type_=abuse_reports.c.created_at.type),
    )
    .limit(bindparam("at_most"))
    .subquery()
)
_COUNT_RECENT = select(func.count()).select_from(_RECENT)
_CLOSE = (
    update(abuse_reports)
    .where(abuse_reports.c.id == bindparam("report_id"), abuse_reports.c.state == literal_column("'open'"))
    .values(state=bindparam("outcome"), note=bindparam("why"), closed_by=bindparam("by"), closed_at=bindparam("at"))
)


async def add(session: Session, values: Mapping[str, Any]) -> None:
    """Add an open report."""
    await session.run(_ADD, values)


async def recent(session: Session, reporter: str, since: datetime, at_most: int) -> int:
    """Return how many reports an account made since then, counted up to ``at_most``."""
    row = await session.row(_COUNT_RECENT, {"reporter": reporter, "since": since, "at_most": at_most})
    return int(row[0]) if row else 0


async def by_id(session: Session, report_id: int) -> Row[Any] | None:
    """Return a report."""
    return await session.row(_BY_ID, {"report_id": report_id})


async def listed(session: Session, state: str, paging: Paging) -> Page[Row[Any]]:
    """Return a page of the reports in a state, newest first."""
    found = await LIST.slice(session, paging, {"state": state})
    return page_of(found, tuple(found.rows), await LIST.total(session, {"state": state}), paging)


async def close(session: Session, report_id: int, state: str, note: str, by: str, at: datetime) -> bool:
    """Close an open report; return whether it was open."""
    values = {"report_id": report_id, "outcome": state, "why": note, "by": by, "at": at}
    return bool(await session.run(_CLOSE, values))
