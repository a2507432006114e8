"""Personal access tokens in the JSON API."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.actor import Right
from hythe.hub.errors import NotFound
from hythe.hub.personal_token import PersonalToken
from hythe.hub.personal_tokens import NewPersonalToken
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class PersonalTokenReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A personal access token; ``token``, the secret, is present only in the response that creates it."""

    id: int
    name: str
    rights: tuple[Right, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    token: str = ""


class TokensReply(msgspec.Struct, frozen=True):
    """All your tokens, newest first."""

    items: tuple[PersonalTokenReply, ...]


def _shown(token: PersonalToken, secret: str = "") -> PersonalTokenReply:
    return PersonalTokenReply(
        token.id, token.name, token.rights, token.created_at, token.expires_at, token.used_at, secret
    )


async def _create(hub: HubServices, call: ApiRequest[NewPersonalToken, Nothing]) -> PersonalTokenReply:
    secret, token = await hub.personal_tokens.create(call.actor, call.body)
    return _shown(token, secret)


async def _list(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TokensReply:
    return TokensReply(tuple(_shown(token) for token in await hub.personal_tokens.list(call.actor)))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    number = call.path["id"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise NotFound("no such token")
    await hub.personal_tokens.delete(call.actor, int(number))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/tokens",
        "Create a personal access token",
        _create,
        body=NewPersonalToken,
        reply=PersonalTokenReply,
        status=HTTPStatus.CREATED,
    ),
    Endpoint("GET", "/api/v1/tokens", "List your personal access tokens", _list, reply=TokensReply),
    Endpoint("DELETE", "/api/v1/tokens/{id}", "Revoke a personal access token", _delete, status=HTTPStatus.NO_CONTENT),
)
