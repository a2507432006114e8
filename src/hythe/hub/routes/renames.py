"""Renames, transfers and redirects from former names in the JSON API."""

from http import HTTPStatus

import msgspec

from hythe.hub.access.actions import HubAction
from hythe.hub.renaming.renames import NewName
from hythe.hub.renaming.transfers import NewTransfer, RepositoryTransfer
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing, PageQuery, PageReply, page_reply
from hythe.hub.routes.repositories import repository_path
from hythe.hub.service import HubServices
from hythe.hub.sql.former_names import FormerName
from hythe.hub.sql.renames import Transfer


class RenamedReply(msgspec.Struct, frozen=True):
    """The new name: of an account, or NAMESPACE/NAME of a repository."""

    name: str


class FormerNamesReply(msgspec.Struct, frozen=True):
    """The former names of an account itself."""

    items: tuple[FormerName, ...]


async def _rename_repository(hub: HubServices, call: ApiRequest[NewName, Nothing]) -> RenamedReply:
    return RenamedReply(await hub.renames.rename_repository(call.actor, repository_path(call), call.body.name))


async def _rename_account(hub: HubServices, call: ApiRequest[NewName, Nothing]) -> RenamedReply:
    return RenamedReply(await hub.renames.rename_account(call.actor, call.path["namespace"], call.body.name))


async def _redirects(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[FormerName]:
    page = await hub.renames.redirects(call.actor, call.path["namespace"], call.query.paging())
    return page_reply(page, page.items)


async def _former_names(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> FormerNamesReply:
    return FormerNamesReply(await hub.renames.former_accounts(call.actor, call.path["namespace"]))


async def _end_redirect(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.renames.end_redirect(call.actor, call.path["former"].replace("%2F", "/"))


async def _transfer(hub: HubServices, call: ApiRequest[NewTransfer, Nothing]) -> RepositoryTransfer:
    return await hub.transfers.transfer(call.actor, repository_path(call), call.body)


async def _offer(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> Transfer:
    return await hub.transfers.offer(call.actor, repository_path(call))


async def _withdraw(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.transfers.withdraw(call.actor, repository_path(call))


async def _offers(hub: HubServices, call: ApiRequest[Nothing, PageQuery]) -> PageReply[Transfer]:
    page = await hub.transfers.offers_to(call.actor, call.path["namespace"], call.query.paging())
    return page_reply(page, page.items)


async def _accept(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RepositoryTransfer:
    return await hub.transfers.accept(call.actor, call.path["namespace"], int(call.path["repository"]))


async def _decline(hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> None:
    await hub.transfers.decline(call.actor, call.path["namespace"], int(call.path["repository"]))


_REPOSITORY = "/api/v1/repositories/{namespace}/{name:path}"
_NAMESPACE = "/api/v1/namespaces/{namespace}"

ENDPOINTS = (
    Endpoint(
        "POST",
        f"{_REPOSITORY}/rename",
        "Rename a repository; the old name redirects",
        _rename_repository,
        body=NewName,
        reply=RenamedReply,
        action=HubAction.RENAME_REPOSITORY,
    ),
    Endpoint(
        "POST",
        f"{_REPOSITORY}/transfer",
        "Transfer a repository to another owner, or offer it to them",
        _transfer,
        body=NewTransfer,
        reply=RepositoryTransfer,
        action=HubAction.TRANSFER_REPOSITORY,
    ),
    Endpoint(
        "GET",
        f"{_REPOSITORY}/transfer",
        "Get the offer of a repository",
        _offer,
        reply=Transfer,
        action=HubAction.VIEW_TRANSFERS,
    ),
    Endpoint(
        "DELETE",
        f"{_REPOSITORY}/transfer",
        "Withdraw the offer of a repository",
        _withdraw,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.WITHDRAW_TRANSFER,
    ),
    Endpoint(
        "POST",
        f"{_NAMESPACE}/rename",
        "Rename a user or an organization; the old name redirects",
        _rename_account,
        body=NewName,
        reply=RenamedReply,
        action=HubAction.RENAME_ACCOUNT,
    ),
    Endpoint(
        "GET",
        f"{_NAMESPACE}/former-names",
        "List the former names of an account",
        _former_names,
        reply=FormerNamesReply,
        action=HubAction.VIEW_REDIRECTS,
    ),
    Endpoint(
        "GET",
        f"{_NAMESPACE}/redirects",
        "List the former names of repositories in a namespace",
        _redirects,
        query=PageQuery,
        reply=PageReply[FormerName],
        action=HubAction.VIEW_REDIRECTS,
    ),
    Endpoint(
        "DELETE",
        "/api/v1/redirects/{former:path}",
        "End the redirect of a former name",
        _end_redirect,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.END_REDIRECT,
    ),
    Endpoint(
        "GET",
        f"{_NAMESPACE}/offers",
        "List the repositories that are offered to an account",
        _offers,
        query=PageQuery,
        reply=PageReply[Transfer],
        action=HubAction.VIEW_OFFERS,
    ),
    Endpoint(
        "POST",
        f"{_NAMESPACE}/offers/{{repository:int}}/accept",
        "Accept an offered repository",
        _accept,
        reply=RepositoryTransfer,
        action=HubAction.ACCEPT_TRANSFER,
    ),
    Endpoint(
        "DELETE",
        f"{_NAMESPACE}/offers/{{repository:int}}",
        "Decline an offered repository",
        _decline,
        status=HTTPStatus.NO_CONTENT,
        action=HubAction.DECLINE_TRANSFER,
    ),
)
