"""Queued e-mail in the JSON API."""

from hythe.hub.access.actions import HubAction
from hythe.hub.mail.mail_message import MailMessage
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[MailMessage]:
    page = await hub.mail.list(call.actor, call.query.paging())
    return page_reply(page, page.items)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/admin/mail",
        "List the e-mail of the last days, newest first (administrators only)",
        _list,
        query=PageQuery,
        reply=PageReply[MailMessage],
        action=HubAction.VIEW_MAIL,
    ),
)
