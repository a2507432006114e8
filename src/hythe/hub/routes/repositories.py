"""Repositories and search in the JSON API."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.accounts.user import Visibility
from hythe.hub.repositories.repositories import NewRepository, RepositoryChange
from hythe.hub.repositories.repository import Repository
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repository_addresses import name_in_path
from hythe.hub.service import HubServices


class SearchParameters(PageQuery, frozen=True):
    """The text to search for, and the requested page of results."""

    q: str = ""


class RepositorySummary(msgspec.Struct, frozen=True):
    """A repository in a list."""

    namespace: str
    name: str
    visibility: Visibility
    official: bool
    description: str
    stars: int
    pulls: int
    created_at: datetime
    updated_at: datetime
    pushed_at: datetime | None


class RepositoryReply(RepositorySummary, frozen=True):
    """A repository with its full description (Markdown)."""

    full_description: str


def repository_path(call: ApiRequest[Any, Any]) -> str:
    """Return the canonical name in the path. Raises NotFound if it is not a valid name."""
    return name_in_path(call.path["namespace"], call.path["name"])


def _summary(found: Repository) -> RepositorySummary:
    return msgspec.convert(found, RepositorySummary, from_attributes=True)


def _reply(found: Repository) -> RepositoryReply:
    return msgspec.convert(found, RepositoryReply, from_attributes=True)


async def _create(hub: HubServices, call: ApiRequest[NewRepository, Nothing]) -> RepositoryReply:
    return _reply(await hub.repositories.create(call.actor, call.body))


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[RepositorySummary]:
    page = await hub.repositories.in_namespace(call.actor, call.path["namespace"], call.query.paging())
    return page_reply(page, map(_summary, page.items))


async def _own(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[RepositorySummary]:
    page = await hub.repositories.of_actor(call.actor, call.query.paging())
    return page_reply(page, map(_summary, page.items))


async def _newest(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[RepositorySummary]:
    page = await hub.repositories.newest(call.query.paging())
    return page_reply(page, map(_summary, page.items))


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RepositoryReply:
    return _reply(await hub.repositories.get(call.actor, repository_path(call)))


async def _change(hub: HubServices, call: ApiRequest[RepositoryChange, Nothing]) -> RepositoryReply:
    return _reply(await hub.repositories.edit(call.actor, repository_path(call), call.body, call.unchanged))


async def _delete(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.repositories.delete(call.actor, repository_path(call), call.unchanged)


async def _search(hub: HubServices, call: ApiRequest[Nothing, SearchParameters]) -> PageReply[RepositorySummary]:
    page = await hub.search.find(call.actor, call.query.q, call.query.paging())
    return page_reply(page, map(_summary, page.items))


_ONE = "/api/v1/repositories/{namespace}/{name:path}"

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/search",
        "Search repositories",
        _search,
        query=SearchParameters,
        reply=PageReply[RepositorySummary],
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "GET",
        "/api/v1/users/me/repositories",
        "List the repositories that you have a role on, most recently changed first",
        _own,
        query=PageQuery,
        reply=PageReply[RepositorySummary],
        action=HubAction.VIEW_OWN_REPOSITORIES,
    ),
    Endpoint(
        "POST",
        "/api/v1/repositories",
        "Create an empty repository",
        _create,
        body=NewRepository,
        reply=RepositoryReply,
        status=HTTPStatus.CREATED,
        action=HubAction.CREATE_REPOSITORY,
    ),
    Endpoint(
        "GET",
        "/api/v1/repositories",
        "List public repositories, newest first",
        _newest,
        query=PageQuery,
        reply=PageReply[RepositorySummary],
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "GET",
        "/api/v1/repositories/{namespace}",
        "List a namespace's repositories, most recently changed first",
        _list,
        query=PageQuery,
        reply=PageReply[RepositorySummary],
        action=HubAction.BROWSE,
    ),
    Endpoint(
        "GET",
        _ONE,
        "Get a repository",
        _get,
        reply=RepositoryReply,
        action=HubAction.VIEW_REPOSITORY,
    ),
    Endpoint(
        "PATCH",
        _ONE,
        "Update a repository",
        _change,
        body=RepositoryChange,
        reply=RepositoryReply,
        compares=True,
        action=HubAction.DESCRIBE_REPOSITORY,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        "Delete a repository with all its images",
        _delete,
        status=HTTPStatus.NO_CONTENT,
        compares=True,
        action=HubAction.DELETE_REPOSITORY,
    ),
)
