"""Routes of the audit log."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.logs.audit import AuditEntry
from hythe.hub.logs.audit_log import AuditFilter
from hythe.hub.page import MAX_CURSOR_LENGTH, PAGE_SIZE, Paging
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageReply, page_reply
from hythe.hub.service import HubServices

_Text = Annotated[str, Meta(max_length=300)]
_Time = Annotated[datetime, Meta(tz=True)]


class AuditQuery(msgspec.Struct, frozen=True):
    """Filters of the audit log; ``namespace`` empty: the whole hub, for administrators."""

    namespace: _Text = ""
    repository: _Text = ""
    actor: _Text = ""
    action: _Text = ""
    target: _Text = ""
    since: _Time | None = None
    until: _Time | None = None

    def filters(self) -> AuditFilter:
        """Return the filters of the service."""
        return msgspec.convert(self, AuditFilter, from_attributes=True)


class AuditPageQuery(AuditQuery, frozen=True):
    """The filters, and the requested page."""

    page: int = 1
    page_size: int = PAGE_SIZE
    cursor: Annotated[str, Meta(max_length=MAX_CURSOR_LENGTH)] = ""


async def _list(hub: HubServices, call: ApiRequest[Nothing, AuditPageQuery]) -> PageReply[AuditEntry]:
    query = call.query
    page = await hub.audit_log.entries(call.actor, query.filters(), Paging(query.page, query.page_size, query.cursor))
    return page_reply(page, page.items)


async def _export(hub: HubServices, call: ApiRequest[Nothing, AuditQuery]) -> Response:
    return await json_lines(hub, call.actor, call.query.filters())


async def json_lines(hub: HubServices, actor: HubActor, filters: AuditFilter) -> Response:
    """Return all entries as a file of JSON lines. Raises NotFound, SignInNeeded, Refused, Invalid."""
    entries = hub.audit_log.export(actor, filters)
    first = await anext(entries, None)  # refusals become responses, not broken streams
    headers = {"Content-Disposition": 'attachment; filename="audit-log.jsonl"'}
    return StreamingResponse(_lines(first, entries), media_type="application/jsonl", headers=headers)


async def _lines(first: AuditEntry | None, entries: AsyncIterator[AuditEntry]) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield msgspec.json.encode(first) + b"\n"
    async for entry in entries:
        yield msgspec.json.encode(entry) + b"\n"


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/audit",
        "List entries of the audit log, newest first",
        _list,
        query=AuditPageQuery,
        reply=PageReply[AuditEntry],
        action=HubAction.VIEW_NAMESPACE_AUDIT_LOG,
    ),
    Endpoint(
        "GET",
        "/api/v1/audit/export",
        "Export entries of the audit log as JSON lines",
        _export,
        query=AuditQuery,
        action=HubAction.VIEW_NAMESPACE_AUDIT_LOG,
    ),
)
