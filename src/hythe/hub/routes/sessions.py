"""Sessions of accounts in the JSON API."""

from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices
from hythe.hub.sign_in.session import WebSession


class EndedSessions(msgspec.Struct, frozen=True):
    """How many sessions were ended."""

    ended: int


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[WebSession]:
    page = await hub.sessions.list(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _revoke(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.sessions.revoke(call.actor, call.path["session"])


async def _revoke_others(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> EndedSessions:
    return EndedSessions(await hub.sessions.revoke_others(call.actor))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/users/me/sessions",
        "List your sessions, newest first",
        _list,
        query=PageQuery,
        reply=PageReply[WebSession],
        action=HubAction.VIEW_SESSIONS,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/users/me/sessions",
        "End all your sessions but the one of this request",
        _revoke_others,
        reply=EndedSessions,
        action=HubAction.SIGN_OUT,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/users/me/sessions/{session}",
        "End one of your sessions",
        _revoke,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.SIGN_OUT,
    ),
)
