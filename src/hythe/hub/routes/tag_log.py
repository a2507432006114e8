"""The tag log over HTTP: checkpoint, tiles and entries (C2SP tlog-tiles), and proofs and a tag's entries as JSON."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from hythe.hub.access.actions import HubAction
from hythe.hub.access.route_rules import RouteRule
from hythe.hub.errors import NotFound
from hythe.hub.logs.tag_log_sequencer import PATH
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.routes.repositories import repository_path
from hythe.hub.routes.tags import tag_path
from hythe.hub.service import HubServices
from hythe.transparency.tiles import MAX_LEVEL, parse_path
from hythe.transparency.verification import LogPage

_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_PRIVATE = {"Cache-Control": "private, max-age=31536000, immutable"}
_CHANGING = {"Cache-Control": "no-cache"}
_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"

_Number = Annotated[int, Meta(ge=0, lt=2**62)]


class InclusionQuery(msgspec.Struct, frozen=True):
    """The number of an entry, and the size of the tree that the proof is for."""

    number: _Number
    size: _Number


class ConsistencyQuery(msgspec.Struct, frozen=True):
    """The sizes of two trees."""

    old: _Number
    new: _Number


class TagQuery(msgspec.Struct, frozen=True):
    """The size of the tree that the proofs are for; only entries with numbers smaller than ``before``."""

    size: _Number
    before: _Number = 2**62 - 1


class ProofReply(msgspec.Struct, frozen=True):
    """The hashes of a proof (hex), in the order of RFC 6962."""

    proof: tuple[str, ...]


async def checkpoint(hub: HubServices, _request: Request) -> Response:
    """Respond with the signed checkpoint."""
    return Response(await hub.tag_log.checkpoint(), HTTPStatus.OK, _CHANGING, media_type=_TEXT)


async def key(hub: HubServices, _request: Request) -> Response:
    """Respond with the log's public key."""
    return Response(f"{await hub.tag_log.key()}\n", HTTPStatus.OK, _CHANGING, media_type=_TEXT)


async def tile(hub: HubServices, request: Request) -> Response:
    """Respond with the hashes of a tile, or with entries."""
    level, wanted = request.path_params["level"], parse_path(request.path_params["tile"])
    levels = {str(each): each for each in range(MAX_LEVEL + 1)}
    if wanted is None or (level != "entries" and level not in levels):
        raise NotFound("the address of a tile is tile/LEVEL/NUMBER or tile/entries/NUMBER", "see docs/tag-log.md")
    if level == "entries":
        address = request.client.host if request.client else ""
        actor = await hub.credentials.by_header(request.headers.get("authorization"), address)
        return Response(await hub.tag_log.bundle(actor, wanted), HTTPStatus.OK, _PRIVATE, media_type=_BYTES)
    return Response(await hub.tag_log.tile(levels[level], wanted), HTTPStatus.OK, _IMMUTABLE, media_type=_BYTES)


async def _inclusion(hub: HubServices, call: ApiRequest[Nothing, InclusionQuery]) -> ProofReply:
    return _proof(await hub.tag_log.inclusion(call.query.number, call.query.size))


async def _consistency(hub: HubServices, call: ApiRequest[Nothing, ConsistencyQuery]) -> ProofReply:
    return _proof(await hub.tag_log.consistency(call.query.old, call.query.new))


def _proof(hashes: list[bytes]) -> ProofReply:
    return ProofReply(tuple(each.hex() for each in hashes))


async def _of_tag(hub: HubServices, call: ApiRequest[Nothing, TagQuery]) -> LogPage:
    name, tag = repository_path(call), tag_path(call)
    return await hub.tag_log.of_tag(call.actor, name, tag, call.query.size, call.query.before)


PLAIN = (
    ("GET", f"{PATH}/checkpoint", checkpoint, RouteRule.PUBLIC),
    ("GET", f"{PATH}/key", key, RouteRule.PUBLIC),
    ("GET", f"{PATH}/tile/{{level}}/{{tile:path}}", tile, RouteRule.PUBLIC),
)
"""What C2SP specifies, and the public key: text and bytes. On a hub that shows nothing without signing in, entries need
an account; the hashes do not.
"""

ENDPOINTS = (
    Endpoint(
        "GET",
        f"{PATH}/inclusion",
        "Prove that an entry is in the tag log",
        _inclusion,
        query=InclusionQuery,
        reply=ProofReply,
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "GET",
        f"{PATH}/consistency",
        "Prove that the tag log only grew",
        _consistency,
        query=ConsistencyQuery,
        reply=ProofReply,
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "GET",
        "/api/v1/repositories/{namespace}/{name:path}/tags/{tag}/log",
        "List a tag's entries in the tag log, newest first, with proofs",
        _of_tag,
        query=TagQuery,
        reply=LogPage,
        action=HubAction.VIEW_REPOSITORY,
    ),
)
