"""Reads the audit log: owners that of their namespaces, administrators all of it; and deletes what has expired."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row

from hythe.database import Database, QueryTimeout, Session
from hythe.database.pacing import paced
from hythe.hub.access.actions import HubAction
from hythe.hub.access.decision import HubAccess
from hythe.hub.actor import HubActor
from hythe.hub.errors import Invalid
from hythe.hub.logs.audit import AuditEntry
from hythe.hub.page import MAX_PAGE_SIZE, Page, Paging
from hythe.hub.sql import audit as store
from hythe.periodic import repeat

SECONDS = 2.0
"""Time limit of one page: filters read entries that they do not show."""

PRUNED_AT_ONCE = 500
INTERVAL = 3600.0
"""Seconds between two deletions of expired entries."""


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: of one ``namespace`` (empty: the whole hub, for administrators), and what they are about.

    ``actor``, ``action`` and ``target`` are exact, ``since`` is inclusive, ``until`` exclusive.
    """

    namespace: str = ""
    actor: str = ""
    action: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


class AuditLog:
    """The audit log of the hub."""

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
        namespaces = await self._namespaces(actor, filters)
        try:
            async with self._database.reading_long(SECONDS) as session:
                values = await self._values(session, filters)
                page = await store.listed(session, paging, values, namespaces)
        except QueryTimeout as error:
            raise Invalid({"since": "must be later, or 'until' earlier: too many entries would be searched"}) from error
        return Page(tuple(map(_entry, page.items)), page.total, paging, page.next, page.previous, page.total_exact)

    async def export(self, actor: HubActor, filters: AuditFilter) -> AsyncIterator[AuditEntry]:
        """Yield all entries, newest first. Raises as ``entries`` does, before the first one."""
        page = await self.entries(actor, filters, Paging(page_size=MAX_PAGE_SIZE))
        while True:
            for entry in page.items:
                yield entry
            if not page.next:
                return
            page = await self.entries(actor, filters, Paging(page_size=MAX_PAGE_SIZE, cursor=page.next))

    async def _namespaces(self, actor: HubActor, filters: AuditFilter) -> tuple[str, ...] | None:
        """Return the namespace, if the actor may read its entries; None for the whole hub."""
        if not filters.namespace:
            await self._access.require_hub(actor, HubAction.VIEW_AUDIT_LOG)
            return None
        if not await self._access.is_admin(actor):
            await self._access.require_namespace(actor, filters.namespace, HubAction.VIEW_NAMESPACE_AUDIT_LOG)
        return (filters.namespace,)

    async def _values(self, session: Session, filters: AuditFilter) -> dict[str, Any]:
        """Return the parameters of the filters; times become ids, in whose order entries are."""
        end = await store.last_id(session) + 1
        first = await store.first_since(session, filters.since) if filters.since else 0
        last = await store.first_since(session, filters.until) if filters.until else None
        return {
            "actor": filters.actor,
            "action": filters.action,
            "target": filters.target,
            "first_id": end if first is None else first,
            "end_id": end if last is None else last,
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
                count = await store.remove_expired(session, before, PRUNED_AT_ONCE)
            removed += count
            if count < PRUNED_AT_ONCE:
                return removed


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
