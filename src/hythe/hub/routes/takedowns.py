"""What administrators do to repositories, in the JSON API."""

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from hythe.hub.access.actions import HubAction
from hythe.hub.administration.administrator_access import MAX_OPENING_REASON, OpenedRepository
from hythe.hub.administration.all_repositories import MAX_BEGINNING
from hythe.hub.administration.takedowns import TakedownReason
from hythe.hub.renaming.transfers import NewTransfer, RepositoryTransfer
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices
from hythe.hub.sql.all_repositories import AdministeredRepository
from hythe.hub.sql.takedowns import TakenDown


class AllRepositoriesQuery(PageQuery, frozen=True):
    """The beginning of the names (NAMESPACE/NAME), and the requested page.

    ``official``: only official repositories, by their names without the namespace.
    """

    q: Annotated[str, Meta(max_length=MAX_BEGINNING)] = ""
    official: bool = False


class OpeningReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why an administrator reads a repository; its owners see this in their audit log."""

    reason: Annotated[str, Meta(max_length=MAX_OPENING_REASON)] = ""


class OfficialFlag(msgspec.Struct, frozen=True):
    """Whether a repository is official."""

    official: bool


async def _find(hub: HubServices, call: ApiRequest[Nothing, AllRepositoriesQuery]) -> PageReply[AdministeredRepository]:
    query, found = call.query, hub.hub_administration.repositories
    page = await found.find(call.actor, query.q, query.paging(), official=query.official)
    return page_reply(page, page.items)


async def _get(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> AdministeredRepository:
    return await hub.hub_administration.repositories.get(call.actor, repository_path(call))


async def _open(hub: HubServices, call: ApiRequest[OpeningReason, Nothing]) -> OpenedRepository:
    return await hub.hub_administration.access.open(call.actor, repository_path(call), call.body.reason)


async def _close(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.access.close(call.actor, repository_path(call))


async def _list(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[TakenDown]:
    page = await hub.hub_administration.takedowns.list(call.actor, call.query.paging())
    return page_reply(page, page.items)


async def _take_down(hub: HubServices, call: ApiRequest[TakedownReason, Nothing]) -> None:
    await hub.hub_administration.takedowns.take_down(call.actor, repository_path(call), call.body)


async def _restore(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.hub_administration.takedowns.restore(call.actor, repository_path(call))


async def _remove(hub: HubServices, call: ApiRequest[TakedownReason, Nothing]) -> None:
    await hub.hub_administration.takedowns.delete(call.actor, repository_path(call), call.body)


async def _hand_over(hub: HubServices, call: ApiRequest[NewTransfer, Nothing]) -> RepositoryTransfer:
    return await hub.hub_administration.takedowns.hand_over(call.actor, repository_path(call), call.body)


async def _set_official(hub: HubServices, call: ApiRequest[OfficialFlag, Nothing]) -> None:
    official = call.body.official
    await hub.hub_administration.takedowns.set_official(call.actor, repository_path(call), official=official)


_REPOSITORY = "/api/v1/admin/repositories/{namespace}/{name:path}"
_DONE = HTTPStatus.NO_CONTENT

ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/v1/admin/repositories",
        "Find any repository by the beginning of its name (administrators only)",
        _find,
        query=AllRepositoriesQuery,
        reply=PageReply[AdministeredRepository],
        action=HubAction.VIEW_ALL_REPOSITORIES,
    ),
    Endpoint(
        "GET",
        _REPOSITORY,
        "Get the state of any repository (administrators only)",
        _get,
        reply=AdministeredRepository,
        action=HubAction.VIEW_ALL_REPOSITORIES,
    ),
    Endpoint(
        "GET",
        "/api/v1/admin/taken-down",
        "List the repositories that are taken down (administrators only)",
        _list,
        query=PageQuery,
        reply=PageReply[TakenDown],
        action=HubAction.VIEW_TAKEN_DOWN,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/access",
        "Read a private repository for an hour; its owners see that (administrators only)",
        _open,
        body=OpeningReason,
        reply=OpenedRepository,
        action=HubAction.OPEN_REPOSITORY,
    ),
    Endpoint(
        "DELETE",
        f"{_REPOSITORY}/access",
        "End this access early (administrators only)",
        _close,
        status=_DONE,
        action=HubAction.OPEN_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/take-down",
        "Take a repository down (administrators only)",
        _take_down,
        body=TakedownReason,
        status=_DONE,
        action=HubAction.TAKE_DOWN_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/restore",
        "Restore a repository that was taken down (administrators only)",
        _restore,
        status=_DONE,
        action=HubAction.RESTORE_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/delete",
        "Delete a repository of others (administrators only)",
        _remove,
        body=TakedownReason,
        status=_DONE,
        action=HubAction.REMOVE_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/hand-over",
        "Give a repository of others to another owner (administrators only)",
        _hand_over,
        body=NewTransfer,
        reply=RepositoryTransfer,
        action=HubAction.HAND_OVER_REPOSITORY,
    ),
    Endpoint(
        "PUT",
        f"{_REPOSITORY}/official",
        "Mark a repository as official, or end that (administrators only)",
        _set_official,
        body=OfficialFlag,
        status=_DONE,
        action=HubAction.SET_OFFICIAL,
    ),
)
