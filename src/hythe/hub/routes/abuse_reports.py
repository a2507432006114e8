"""Reports of abuse in the JSON API."""

from http import HTTPStatus
from typing import Any

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.abuse_reports import AbuseReport, NewReport, ReportClosing, ReportState
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices


class ReportsQuery(PageQuery, frozen=True):
    """The state of the reports, and the requested page."""

    state: ReportState = ReportState.OPEN


async def _report(hub: HubServices, call: ApiRequest[NewReport, Nothing]) -> None:
    await hub.hub_administration.reports.report(call.actor, repository_path(call), call.body)


async def _list(hub: HubServices, call: ApiRequest[Nothing, ReportsQuery]) -> PageReply[AbuseReport]:
    page = await hub.hub_administration.reports.list(call.actor, call.query.state, call.query.paging())
    return page_reply(page, page.items)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> AbuseReport:
    return await hub.hub_administration.reports.get(call.actor, _report_id(call))


async def _close(hub: HubServices, call: ApiRequest[ReportClosing, Nothing]) -> AbuseReport:
    return await hub.hub_administration.reports.close(call.actor, _report_id(call), call.body)


def _report_id(call: ApiRequest[Any, Any]) -> int:
    text = str(call.path["report"])
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise NotFound("the report does not exist")
    return int(text)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/repositories/{namespace}/{name:path}/reports",
        "Report a repository for abuse",
        _report,
        body=NewReport,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.REPORT_REPOSITORY,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/reports",
        "List reports of abuse, newest first (administrators only)",
        _list,
        query=ReportsQuery,
        reply=PageReply[AbuseReport],
        action=HubAction.VIEW_REPORTS,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/reports/{report}",
        "Get a report of abuse (administrators only)",
        _get,
        reply=AbuseReport,
        action=HubAction.VIEW_REPORTS,
    ),
    Endpoint(
        "POST",
        "/api/v1/admin/reports/{report}/close",
        "Resolve or dismiss a report, and take the repository down (administrators only)",
        _close,
        body=ReportClosing,
        reply=AbuseReport,
        action=HubAction.CLOSE_REPORT,
    ),
)
