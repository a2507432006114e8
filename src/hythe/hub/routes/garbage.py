"""Garbage collection for administrators, in the JSON API."""

from http import HTTPStatus

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.garbage import GarbageState
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices
from hythe.registry.sql.garbage_collection import GarbageRun


async def _state(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> GarbageState:
    return await hub.hub_administration.garbage.state(call.actor)


async def _runs(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[GarbageRun]:
    page = await hub.hub_administration.garbage.runs(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _start(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.garbage.start(call.actor)


_RUNS = "/api/v1/admin/garbage/runs"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/admin/garbage",
        "Show what garbage collection has to do (administrators only)",
        _state,
        reply=GarbageState,
        action=HubAction.VIEW_GARBAGE,
    ),
    Endpoint(
        "GET",
        _RUNS,
        "List the last garbage collections, newest first (administrators only)",
        _runs,
        query=PageQuery,
        reply=PageReply[GarbageRun],
        action=HubAction.VIEW_GARBAGE,
    ),
    Endpoint(
        "POST",
        _RUNS,
        "Start a garbage collection in the background (administrators only)",
        _start,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.COLLECT_GARBAGE,
    ),
)
