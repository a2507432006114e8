"""Personal access tokens in the JSON API."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.actor import Right
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices
from hythe.hub.tokens.leaked_tokens import LeakReport
from hythe.hub.tokens.personal_token import PersonalToken
from hythe.hub.tokens.personal_tokens import NewPersonalToken, PersonalTokenChange
from hythe.hub.tokens.token_terms import Rotation


class PersonalTokenReply(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A personal access token; ``token``, the secret, is present only in the response that creates or rotates it.

    ``repositories``: the only ones that it is for, or patterns of them; missing: all that you may use.
    ``previous_expires_at``: until when the secret before the last rotation works.
    """

    id: int
    name: str
    rights: tuple[Right, ...]
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
    repositories: tuple[str, ...] | None = None
    used_from: str = ""
    previous_expires_at: datetime | None = None
    token: str = ""


class TokensReply(msgspec.Struct, frozen=True):
    """All your tokens, newest first."""

    items: tuple[PersonalTokenReply, ...]


class LeakReply(msgspec.Struct, frozen=True):
    """For each reported token, whether it existed and is now revoked."""

    revoked: tuple[bool, ...]


def _shown(token: PersonalToken, secret: str = "") -> PersonalTokenReply:
    return PersonalTokenReply(**msgspec.structs.asdict(token), token=secret)


def _token_id(path: Mapping[str, str]) -> int:
    number = path["id"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise NotFound("no such token")
    return int(number)


async def _create(hub: HubServices, call: ApiRequest[NewPersonalToken, Nothing]) -> PersonalTokenReply:
    secret, token = await hub.personal_tokens.create(call.actor, call.body)
    return _shown(token, secret)


async def _list(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> TokensReply:
    return TokensReply(tuple(_shown(token) for token in await hub.personal_tokens.list(call.actor)))


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> PersonalTokenReply:
    return _shown(await hub.personal_tokens.get(call.actor, _token_id(call.path)))


async def _change(hub: HubServices, call: ApiRequest[PersonalTokenChange, Nothing]) -> PersonalTokenReply:
    return _shown(await hub.personal_tokens.change(call.actor, _token_id(call.path), call.body))


async def _rotate(hub: HubServices, call: ApiRequest[Rotation, Nothing]) -> PersonalTokenReply:
    secret, token = await hub.personal_tokens.rotate(call.actor, _token_id(call.path), call.body)
    return _shown(token, secret)


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.personal_tokens.delete(call.actor, _token_id(call.path))


async def _report(hub: HubServices, call: ApiRequest[LeakReport, Nothing]) -> LeakReply:
    return LeakReply(await hub.leaked_tokens.report(call.actor, call.body))


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/v1/tokens",
        "Create a personal access token",
        _create,
        action=HubAction.CREATE_TOKEN,
        body=NewPersonalToken,
        reply=PersonalTokenReply,
        status=HTTPStatus.CREATED,
    ),
    Endpoint(
        "GET",
        "/api/v1/tokens",
        "List your personal access tokens",
        _list,
        action=HubAction.VIEW_TOKENS,
        reply=TokensReply,
    ),
    Endpoint(
        "POST",
        "/api/v1/tokens/leaked",
        "Revoke leaked tokens of any kind by their secrets",
        _report,
        action=HubAction.REPORT_TOKEN,
        body=LeakReport,
        reply=LeakReply,
    ),
    Endpoint(
        "GET",
        "/api/v1/tokens/{id}",
        "Get a personal access token",
        _get,
        action=HubAction.VIEW_TOKENS,
        reply=PersonalTokenReply,
    ),
    Endpoint(
        "PATCH",
        "/api/v1/tokens/{id}",
        "Change the name or the limits of a personal access token",
        _change,
        action=HubAction.CHANGE_TOKEN,
        body=PersonalTokenChange,
        reply=PersonalTokenReply,
    ),
    Endpoint(
        "POST",
        "/api/v1/tokens/{id}/rotate",
        "Give a personal access token a new secret",
        _rotate,
        action=HubAction.ROTATE_TOKEN,
        body=Rotation,
        reply=PersonalTokenReply,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/tokens/{id}",
        "Revoke a personal access token",
        _delete,
        action=HubAction.REVOKE_TOKEN,
        status=HTTPStatus.NO_CONTENT,
    ),
)
