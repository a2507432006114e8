"""Forgotten passwords in the JSON API."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class ResetRequest(msgspec.Struct, frozen=True):
    """The user name or the e-mail address of an account."""

    account: Annotated[str, Meta(min_length=1, max_length=254)]


class NewPassword(msgspec.Struct, frozen=True):
    """A new password, and the value of ``token`` in the link from the e-mail."""

    token: Annotated[str, Meta(min_length=1, max_length=100)]
    password: str


class ResetLink(msgspec.Struct, frozen=True):
    """The link with which a user can set a new password within an hour."""

    url: str


async def _request(hub: HubServices, call: ApiRequest[ResetRequest, Nothing]) -> None:
    await hub.password_resets.request(call.body.account, call.address)


async def _reset(hub: HubServices, call: ApiRequest[NewPassword, Nothing]) -> None:
    await hub.password_resets.reset(call.body.token, call.body.password, call.address)


async def _link(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ResetLink:
    return ResetLink(await hub.password_resets.link(call.actor, call.path["username"]))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/password-resets",
        "Send an e-mail with a link that sets a new password, if there is such an account",
        _request,
        body=ResetRequest,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.REQUEST_PASSWORD_RESET,
    ),
    Endpoint(
        "POST",
        "/api/v1/password-resets/complete",
        "Set a new password with the token of the link; ends all sessions and logins",
        _reset,
        body=NewPassword,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.RESET_FORGOTTEN_PASSWORD,
    ),
    Endpoint(
        "POST",
        "/api/v1/users/{username}/password-reset",
        "Get a link with which a user can set a new password (administrators only)",
        _link,
        reply=ResetLink,
        action=HubAction.RESET_PASSWORD,
    ),
)
