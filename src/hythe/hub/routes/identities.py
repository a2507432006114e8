"""The identities that an account signs in with, in the JSON API. They are linked in a browser."""

from datetime import datetime
from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class IdentityReply(msgspec.Struct, frozen=True):
    """An identity; ``signed_in_at`` null: it was not used yet."""

    id: int
    provider: str
    email: str
    created_at: datetime
    signed_in_at: datetime | None


class IdentitiesReply(msgspec.Struct, frozen=True):
    """The identities of an account, oldest first; at most 20."""

    items: tuple[IdentityReply, ...]


async def _list(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> IdentitiesReply:
    listed = await hub.identities.list(call.actor)
    return IdentitiesReply(tuple(IdentityReply(**msgspec.structs.asdict(each)) for each in listed))


async def _unlink(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    number = call.path["id"]
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise NotFound("you have no such identity", "'GET /api/v1/users/me/identities' lists them")
    await hub.identities.unlink(call.actor, int(number))


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/users/me/identities",
        "List the identities that you sign in with",
        _list,
        action=HubAction.VIEW_IDENTITIES,
        reply=IdentitiesReply,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/users/me/identities/{id}",
        "Unlink an identity; needs a recent confirmation",
        _unlink,
        action=HubAction.UNLINK_IDENTITY,
        status=HTTPStatus.NO_CONTENT,
    ),
)
"""The endpoints."""
