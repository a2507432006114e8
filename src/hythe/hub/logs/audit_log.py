"""Reads the audit log: owners that of their namespaces, administrators all of it; and deletes what has expired."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row

from hythe.database import Database, QueryTimeout, Session
from hythe.database.pacing import paced
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.accounts.namespaces import canonical_name, short_name
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid
from hythe.hub.logs.audit import AuditEntry, subject_of
from hythe.hub.page import Page, Paging
from hythe.hub.sql import audit as store
from hythe.periodic import repeat

SECONDS = 2.0
"""Time limit of one page: filters read entries that they do not show."""

EXPORTED_AT_ONCE = 500
PRUNED_AT_ONCE = 500
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Times before and after those of all entries, far from the limits of a datetime."""

INTERVAL = 3600.0
"""Seconds between two deletions of expired entries."""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: of one ``namespace`` (empty: the whole hub, for administrators), and what they are about.

    ``repository`` finds what happened to a repository and to its parts under this name. ``actor``, ``action`` and
    ``target`` are exact, ``since`` is inclusive, ``until`` exclusive.
    """

    namespace: str = ""
    repository: str = ""
    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


class AuditLog:
    """The audit log of the hub.

    Owners see what happened in their namespace under all its names, since the account exists; the entries of a
    repository stay with the namespace that it was in. Those of an organization that was a user's account see what
    happened since then: sign-ins and e-mail addresses from before are of a person. Administrators also find those of
    accounts that were deleted.
    """

    def __init__(self, database: Database, access: HubAccess, clock: Callable[[], datetime], retention: int) -> None:
        """Entries are deleted ``retention`` seconds after they were written; 0: never."""
        self._database = database
        self._access = access
        self._clock = clock
        self._retention = retention

    def apply(self, retention: int) -> None:
        """Take over a changed setting."""
        self._retention = retention

    async def entries(self, actor: HubActor, filters: AuditFilter, paging: Paging) -> Page[AuditEntry]:
        """Return a page of the entries, newest first. Raises NotFound, SignInNeeded, Refused, Invalid."""
        async with self._reading(actor, filters) as (session, values):
            page = await store.listed(session, paging, values)
        return Page(tuple(map(_entry, page.items)), page.total, paging, page.next, page.previous, page.total_exact)

    async def export(self, actor: HubActor, filters: AuditFilter) -> AsyncIterator[AuditEntry]:
        """Yield all entries, newest first. Raises as ``entries`` does, before the first one."""
        end: int | None = None
        while True:
            async with self._reading(actor, filters) as (session, values):
                end = values["end_id"] if end is None else end
                rows = await store.entries_before(session, end, EXPORTED_AT_ONCE, values)
            for row in rows:
                yield _entry(row)
            if len(rows) < EXPORTED_AT_ONCE:
                return
            end = rows[-1].id

    @asynccontextmanager
    async def _reading(self, actor: HubActor, filters: AuditFilter) -> AsyncIterator[tuple[Session, Mapping[str, Any]]]:
        """Check access, and open a session for entries with the parameters of the filters."""
        await self._require(actor, filters.namespace)
        try:
            async with self._database.reading_long(SECONDS) as session:
                yield session, await self._values(session, filters)
        except QueryTimeout as error:
            raise Invalid({"since": "must be later, or 'until' earlier: too many entries would be searched"}) from error

    async def _require(self, actor: HubActor, namespace: str) -> None:
        if not namespace:
            await self._access.require_hub(actor, HubAction.VIEW_AUDIT_LOG)
        elif not await self._access.may_hub(actor, HubAction.VIEW_AUDIT_LOG):
            await self._access.require_namespace(actor, namespace, HubAction.VIEW_NAMESPACE_AUDIT_LOG)

    async def _values(self, session: Session, filters: AuditFilter) -> dict[str, Any]:
        """Return the parameters of the filters; times also become ids, in whose order entries are."""
        owned = None
        if filters.namespace:
            owned = await store.owned(session, filters.namespace, HubAction.CONVERT_ACCOUNT.value)
        times = (filters.since, owned.since if owned is not None else None)
        since = max((_within(each) for each in times if each is not None), default=None)
        until = _within(filters.until) if filters.until is not None else None
        first_id, end_id = await store.ids_between(session, since, until)
        repository = short_name(canonical_name(filters.repository)) if filters.repository else ""
        return {
            "namespace": filters.namespace,
            "namespace_id": owned.namespace_id if owned is not None else None,
            "actor": filters.actor,
            "action": filters.action,
            "subject": repository or subject_of(filters.target),
            "target": filters.target,
            "since": since,
            "until": until,
            "first_id": max(first_id, owned.first_id) if owned is not None else first_id,
            "end_id": end_id,
        }

    async def run(self) -> None:
        """Delete expired entries now and then, until cancelled."""
        await repeat(self.prune, INTERVAL, "expiry of the audit log")

    async def prune(self) -> int:
        """Delete expired entries in short transactions; return how many."""
        if not self._retention:
            return 0
        before = self._clock() - timedelta(seconds=self._retention)
        database, removed = paced(self._database), 0
        while True:
            async with database.writing() as session:
                # Each time: another server, with its own clock and setting, may have allowed less in between.
                await store.allow_deletion(session, before)
                count = await store.remove_expired(session, before, PRUNED_AT_ONCE)
            removed += count
            if count < PRUNED_AT_ONCE:
                return removed


def _within(at: datetime) -> datetime:
    return min(max(at, EARLIEST), LATEST)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(
        row.id,
        row.at,
        row.actor,
        row.credential,
        row.address,
        row.action,
        row.namespace,
        row.target,
        msgspec.json.decode(row.detail, type=dict[str, str]),
    )
