"""Reports of abuse: users report repositories, and administrators resolve or dismiss the reports."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.administration.takedowns import TakedownReason, TakedownService
from hythe.hub.errors import Invalid, NotFound, Refused, TooManyAttempts
from hythe.hub.logs import audit
from hythe.hub.page import Page, Paging
from hythe.hub.sql import abuse_reports as store

MAX_TEXT = 2000
MAX_REPORTS = 20
"""Reports that an account can make in PERIOD."""

PERIOD = timedelta(days=1)


class Category(Enum):
    """What is wrong with a repository."""

    MALWARE = "malware"
    SECRETS = "secrets"
    COPYRIGHT = "copyright"
    SPAM = "spam"
    OTHER = "other"


class ReportState(Enum):
    """What became of a report."""

    OPEN = "open"
    RESOLVED = "resolved"
    DISMISSED = "dismissed"


class NewReport(msgspec.Struct, frozen=True):
    """A report of a repository."""

    category: Category
    text: Annotated[str, Meta(max_length=MAX_TEXT)]


class ReportClosing(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an administrator closes a report. ``take_down``: why the repository is taken down, too; empty: it is not."""

    outcome: ReportState
    note: Annotated[str, Meta(max_length=MAX_TEXT)] = ""
    take_down: Annotated[str, Meta(max_length=500)] = ""


class AbuseReport(msgspec.Struct, frozen=True):
    """A report. ``repository`` is the name that it had then."""

    id: int
    repository: str
    reporter: str
    category: Category
    text: str
    state: ReportState
    created_at: datetime
    note: str
    closed_by: str
    closed_at: datetime | None


class AbuseReports:
    """The reports of abuse."""

    def __init__(
        self, database: Database, access: HubAccess, takedowns: TakedownService, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._access = access
        self._takedowns = takedowns
        self._clock = clock

    async def report(self, actor: HubActor, repository: str, new: NewReport) -> None:
        """Report a repository. Raises NotFound, SignInNeeded, Refused, Invalid, TooManyAttempts."""
        self._access.require_account(actor, HubAction.REPORT_REPOSITORY)
        full_name, now, text = canonical_name(repository), self._clock(), new.text.strip()
        if not 1 <= len(text) <= MAX_TEXT:
            raise Invalid({"text": f"must have 1 to {MAX_TEXT} characters: say what is wrong"})
        async with self._database.writing() as session:
            await self._access.require_repository(actor, full_name, HubAction.VIEW_REPOSITORY, session)
            if await store.recent(session, actor.name, now - PERIOD, MAX_REPORTS) >= MAX_REPORTS:
                raise TooManyAttempts(round(PERIOD.total_seconds()), f"you made {MAX_REPORTS} reports within a day")
            values = {"repository": full_name, "reporter": actor.name, "category": new.category.value, "text": text}
            closing = {"state": ReportState.OPEN.value, "note": "", "closed_by": ""}
            await store.add(session, {**values, **closing, "created_at": now})
            # In no namespace: its owners do not learn who reported them.
            await audit.record(session, actor, HubAction.REPORT_REPOSITORY, short_name(full_name), at=self._clock())

    async def list(self, actor: HubActor, state: ReportState, paging: Paging) -> Page[AbuseReport]:
        """Return the reports in a state, newest first, for administrators. Raises SignInNeeded, Refused."""
        await self._access.require_hub(actor, HubAction.VIEW_REPORTS)
        async with self._database.reading() as session:
            page = await store.listed(session, state.value, paging)
        return Page(tuple(map(_report, page.items)), page.total, paging, page.next, page.previous, page.total_exact)

    async def get(self, actor: HubActor, report_id: int) -> AbuseReport:
        """Return a report, for administrators. Raises SignInNeeded, Refused, NotFound."""
        await self._access.require_hub(actor, HubAction.VIEW_REPORTS)
        async with self._database.reading() as session:
            return await _found(session, report_id)

    async def close(self, actor: HubActor, report_id: int, closing: ReportClosing) -> AbuseReport:
        """Resolve or dismiss a report, for administrators. Raises SignInNeeded, Refused, NotFound, Invalid."""
        if closing.outcome is ReportState.OPEN:
            raise Invalid({"outcome": "must be resolved or dismissed"})
        if closing.take_down and closing.outcome is not ReportState.RESOLVED:
            raise Invalid({"take_down": "must be empty for a report that is dismissed"})
        await self._access.require_hub(actor, HubAction.CLOSE_REPORT)
        async with self._database.writing() as session:
            found = await _found(session, report_id)
            state, note = closing.outcome.value, closing.note.strip()
            if not await store.close(session, report_id, state, note, actor.name, self._clock()):
                raise Refused(f"this report is closed already: {found.state.value} by {found.closed_by}")
            if closing.take_down:
                await self._takedowns.take_down_in(session, actor, found.repository, TakedownReason(closing.take_down))
            target, detail = short_name(found.repository), {"report": report_id, "state": state, "note": note}
            await audit.record(session, actor, HubAction.CLOSE_REPORT, target, detail=detail, at=self._clock())
            return await _found(session, report_id)


async def _found(session: Session, report_id: int) -> AbuseReport:
    row = await store.by_id(session, report_id) if report_id < 2**63 else None
    if row is None:
        raise NotFound(f"there is no report {report_id}")
    return _report(row)


def _report(row: Row[Any]) -> AbuseReport:
    return AbuseReport(
        row.id,
        short_name(row.repository),
        row.reporter,
        Category(row.category),
        row.text,
        ReportState(row.state),
        row.created_at,
        row.note,
        row.closed_by,
        row.closed_at,
    )
