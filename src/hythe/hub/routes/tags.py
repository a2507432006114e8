"""Tags in the JSON API: list, history, restore, immutability."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.repositories.tag import Tag
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidReference
from hythe.oci.reference import parse_tag


class HistoryQuery(msgspec.Struct, frozen=True):
    """Return moves before the one with this id; 0: start with the latest."""

    before: Annotated[int, Meta(ge=0, le=2**62)] = 0


class TagsQuery(PageQuery, frozen=True):
    """The requested page of the tags whose names contain ``name``."""

    name: Annotated[str, Meta(max_length=128)] = ""


class MoveReply(msgspec.Struct, frozen=True):
    """One move of a tag; ``digest`` None: the tag was deleted."""

    number: int
    digest: str | None
    previous: str | None
    at: datetime
    by: str


class HistoryReply(msgspec.Struct, frozen=True):
    """A tag's moves, newest first."""

    items: tuple[MoveReply, ...]


class Restoring(msgspec.Struct, frozen=True):
    """The digest that the tag is to point to."""

    digest: str


class ImmutableTags(msgspec.Struct, frozen=True):
    """Patterns (``*``, ``?``, ``[..]``) of immutable tags, which can be set only once."""

    patterns: Annotated[
        tuple[Annotated[str, Meta(max_length=255, pattern=r"^[A-Za-z0-9_.*?\[\]!-]+$")], ...], Meta(max_length=100)
    ]


async def _list(hub: HubServices, call: ApiRequest[Nothing, TagsQuery]) -> PageReply[Tag]:
    page = await hub.tags.list(call.actor, repository_path(call), call.query.paging(), call.query.name)
    return page_reply(page, page.items)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> Tag:
    return await hub.tags.get(call.actor, repository_path(call), tag_path(call))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.tags.delete(call.actor, repository_path(call), tag_path(call))


async def _history(hub: HubServices, call: ApiRequest[Nothing, HistoryQuery]) -> HistoryReply:
    moves = await hub.tags.history(call.actor, repository_path(call), tag_path(call), call.query.before or None)
    return HistoryReply(tuple(MoveReply(m.number, m.digest, m.previous, m.at, m.by) for m in moves))


async def _restore(hub: HubServices, call: ApiRequest[Restoring, Nothing]) -> Tag:
    name, tag = repository_path(call), tag_path(call)
    await hub.tags.restore(call.actor, name, tag, Digest.parse(call.body.digest))
    return await hub.tags.get(call.actor, name, tag)


async def _immutable(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> ImmutableTags:
    return ImmutableTags(await hub.tags.immutable(call.actor, repository_path(call)))


async def _set_immutable(hub: HubServices, call: ApiRequest[ImmutableTags, Nothing]) -> ImmutableTags:
    name = repository_path(call)
    await hub.tags.set_immutable(call.actor, name, call.body.patterns)
    return ImmutableTags(await hub.tags.immutable(call.actor, name))


def tag_path(call: ApiRequest[Any, Any]) -> str:
    """Return the tag in the path. Raises NotFound if it is not a valid tag."""
    try:
        return parse_tag(call.path["tag"])
    except InvalidReference as error:
        raise NotFound("tag does not exist") from error


_TAGS = "/api/v1/repositories/{namespace}/{name:path}/tags"
_TAG = f"{_TAGS}/{{tag}}"
_IMMUTABLE = "/api/v1/repositories/{namespace}/{name:path}/immutable-tags"

ENDPOINTS = (
    Endpoint(
        "GET",
        f"{_TAG}/history",
        "List a tag's history",
        _history,
        query=HistoryQuery,
        reply=HistoryReply,
        action=HubAction.VIEW_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_TAG}/restore",
        "Restore a tag to an earlier digest",
        _restore,
        body=Restoring,
        reply=Tag,
        action=HubAction.MOVE_TAG,
    ),
    Endpoint(
        "GET",
        _IMMUTABLE,
        "List the patterns of immutable tags",
        _immutable,
        reply=ImmutableTags,
        action=HubAction.VIEW_REPOSITORY,
    ),
    Endpoint(
        "PUT",
        _IMMUTABLE,
        "Set the patterns of immutable tags",
        _set_immutable,
        body=ImmutableTags,
        reply=ImmutableTags,
        action=HubAction.PROTECT_TAGS,
    ),
    Endpoint(
        "GET",
        _TAGS,
        "List tags, most recently moved first",
        _list,
        query=TagsQuery,
        reply=PageReply[Tag],
        action=HubAction.VIEW_REPOSITORY,
    ),
    Endpoint(
        "GET",
        _TAG,
        "Get a tag",
        _get,
        reply=Tag,
        action=HubAction.VIEW_REPOSITORY,
    ),
    Endpoint(
        "DELETE",
        _TAG,
        "Delete a tag but not its image",
        _delete,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.DELETE_TAG,
    ),
)
