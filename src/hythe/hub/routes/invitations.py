"""Invitations in the JSON API."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.organizations.invitations import NewInvitation
from hythe.hub.repositories.collaborator import Invitation
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.service import HubServices


class InvitationLink(msgspec.Struct, frozen=True):
    """The secret of a link that was sent by e-mail."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]


def _number(call: ApiRequest[Any, Any]) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise NotFound("this invitation does not exist")
    return int(text)


async def _invite(hub: HubServices, call: ApiRequest[NewInvitation, Nothing]) -> Invitation:
    return await hub.invitations.invite(call.actor, call.path["organization"], call.body)


async def _of_organization(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[Invitation]:
    page = await hub.invitations.of_organization(call.actor, call.path["organization"], call.query.paging())
    return page_reply(page, page.items)


async def _cancel(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.invitations.cancel(call.actor, call.path["organization"], _number(call))


async def _own(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[Invitation]:
    page = await hub.invitations.of_actor(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _accept(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> Invitation:
    return await hub.invitations.accept(call.actor, _number(call))


async def _accept_link(hub: HubServices, call: ApiRequest[InvitationLink, Nothing]) -> Invitation:
    return await hub.invitations.accept_link(call.actor, call.body.token)


async def _decline(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.invitations.decline(call.actor, _number(call))


async def _decline_link(hub: HubServices, call: ApiRequest[InvitationLink, Nothing]) -> None:
    await hub.invitations.decline_link(call.actor, call.body.token)


_OF_ORGANIZATION = "/api/v1/organizations/{organization}/invitations"
_OWN = "/api/v1/invitations"

ENDPOINTS = (
    Endpoint(
        "POST",
        _OF_ORGANIZATION,
        "Invite a user or an e-mail address to an organization",
        _invite,
        body=NewInvitation,
        reply=Invitation,
        status=HTTPStatus.CREATED,
        action=HubAction.INVITE_MEMBER,
    ),
    Endpoint(
        "GET",
        _OF_ORGANIZATION,
        "List the pending invitations to an organization",
        _of_organization,
        query=PageQuery,
        reply=PageReply[Invitation],
        action=HubAction.VIEW_INVITATIONS,
    ),
    Endpoint(
        "DELETE",
        f"{_OF_ORGANIZATION}/{{id}}",
        "Cancel an invitation to an organization",
        _cancel,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.CANCEL_INVITATION,
    ),
    Endpoint(
        "GET",
        _OWN,
        "List your invitations",
        _own,
        query=PageQuery,
        reply=PageReply[Invitation],
        action=HubAction.VIEW_OWN_INVITATIONS,
    ),
    Endpoint(
        "POST",
        f"{_OWN}/{{id}}/accept",
        "Accept an invitation",
        _accept,
        reply=Invitation,
        action=HubAction.ACCEPT_INVITATION,
    ),
    Endpoint(
        "POST",
        f"{_OWN}/link",
        "Accept the invitation of a link in an e-mail",
        _accept_link,
        body=InvitationLink,
        reply=Invitation,
        action=HubAction.ACCEPT_INVITATION,
    ),
    Endpoint(
        "POST",
        f"{_OWN}/link/decline",
        "Decline the invitation of a link in an e-mail",
        _decline_link,
        body=InvitationLink,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.DECLINE_INVITATION,
    ),
    Endpoint(
        "POST",
        f"{_OWN}/{{id}}/decline",
        "Decline an invitation",
        _decline,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.DECLINE_INVITATION,
    ),
)
