"""E-mail addresses of accounts in the JSON API."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.email_addresses import EmailChange, EmailState
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class LinkToken(msgspec.Struct, frozen=True):
    """The value of ``token`` in a link from an e-mail."""

    token: Annotated[str, Meta(min_length=1, max_length=100)]


class NewEmail(msgspec.Struct, frozen=True):
    """An e-mail address that an administrator knows to belong to the user."""

    email: Annotated[str, Meta(max_length=254)]


class EmailReply(msgspec.Struct, frozen=True):
    """The account whose address was confirmed or restored, and the address."""

    username: str
    email: str


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> EmailState:
    return await hub.emails.state(call.actor)


async def _change(hub: HubServices, call: ApiRequest[EmailChange, Nothing]) -> EmailState:
    return await hub.emails.request_change(call.actor, call.body)


async def _send_again(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> EmailState:
    return await hub.emails.send_again(call.actor)


async def _confirm(hub: HubServices, call: ApiRequest[LinkToken, Nothing]) -> EmailReply:
    user = await hub.emails.confirm(call.body.token, call.address)
    return EmailReply(user.name, user.email)


async def _restore(hub: HubServices, call: ApiRequest[LinkToken, Nothing]) -> EmailReply:
    user = await hub.emails.undo(call.body.token, call.address)
    return EmailReply(user.name, user.email)


async def _set(hub: HubServices, call: ApiRequest[NewEmail, Nothing]) -> EmailReply:
    user = await hub.emails.set(call.actor, call.path["username"], call.body.email)
    return EmailReply(user.name, user.email)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/users/me/email",
        "Get your e-mail address, and the one that waits for confirmation",
        _get,
        reply=EmailState,
        action=HubAction.VIEW_EMAIL,
    ),
    Endpoint(
        "PUT",
        "/api/v1/users/me/email",
        "Change your e-mail address, with your password; the link in an e-mail to the new address completes it",
        _change,
        body=EmailChange,
        reply=EmailState,
        status=HTTPStatus.ACCEPTED,
        action=HubAction.REQUEST_EMAIL_CHANGE,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/me/email/confirmation",
        "Send the e-mail again that confirms your address",
        _send_again,
        reply=EmailState,
        status=HTTPStatus.ACCEPTED,
        action=HubAction.REQUEST_CONFIRMATION,
    ),
    Endpoint(
        "PUT",
        "/api/v1/users/{username}/email",
        "Set or confirm an account's e-mail address (administrators only)",
        _set,
        body=NewEmail,
        reply=EmailReply,
        action=HubAction.SET_EMAIL,
    ),
    Endpoint(
        "POST",
        "/api/v1/email-addresses/confirm",
        "Confirm an e-mail address with the token of its link",
        _confirm,
        body=LinkToken,
        reply=EmailReply,
        action=HubAction.CONFIRM_EMAIL,
    ),
    Endpoint(
        "POST",
        "/api/v1/email-addresses/restore",
        "Undo a change of an e-mail address with the token of its link; ends all sessions and logins",
        _restore,
        body=LinkToken,
        reply=EmailReply,
        action=HubAction.RESTORE_EMAIL,
    ),
)
