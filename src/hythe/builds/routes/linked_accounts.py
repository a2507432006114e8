"""The JSON API of linked accounts."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.builds.forge_integration.forge_webhooks import RemovalReport
from hythe.builds.forge_integration.linked_accounts import ForgeOffer
from hythe.builds.forge_integration.service import ForgeServices
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.forges.port import ForgeRepository
from hythe.forges.source_ref import ForgeKind, SourceRef
from hythe.hub.access.actions import HubAction
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class LinkedAccountReply(msgspec.Struct, frozen=True):
    """A linked account; ``problem`` says why its token no longer works, or is empty."""

    id: int
    kind: ForgeKind
    url: str
    login: str
    scopes: tuple[str, ...]
    oauth: bool
    problem: str
    created_at: datetime


class LinkedAccountsReply(msgspec.Struct, frozen=True):
    """Your linked accounts."""

    items: tuple[LinkedAccountReply, ...]


class ForgesReply(msgspec.Struct, frozen=True):
    """The forges that you can link accounts of."""

    items: tuple[ForgeOffer, ...]


class TokenBody(msgspec.Struct, frozen=True):
    """The URL of a forge from the list of forges, and an access token that you created there."""

    url: Annotated[str, Meta(min_length=1, max_length=255)]
    token: Annotated[str, Meta(min_length=1, max_length=1000)]


class RepositoriesQuery(msgspec.Struct, frozen=True):
    """Text that the names must contain, and the page."""

    q: Annotated[str, Meta(max_length=100)] = ""
    page: Annotated[int, Meta(ge=1, le=1000)] = 1


class RepositoriesReply(msgspec.Struct, frozen=True):
    """Repositories that a linked account can access; ``more``: whether there is a next page."""

    items: tuple[ForgeRepository, ...]
    more: bool


class RefsQuery(msgspec.Struct, frozen=True):
    """The repository: OWNER/NAME at the forge."""

    repository: Annotated[str, Meta(min_length=3, max_length=255)]


class GitURLQuery(msgspec.Struct, frozen=True):
    """A public git URL."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]


class RefsReply(msgspec.Struct, frozen=True):
    """Branches and tags with their commits; ``default_branch`` is empty if unknown."""

    refs: tuple[SourceRef, ...]
    default_branch: str = ""


class LinkedAccountEndpoints:
    """The endpoints of linked accounts."""

    def __init__(self, forges: ForgeServices) -> None:
        self._forges = forges
        self._accounts = forges.linked_accounts

    def table(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        one = "/api/v1/linked-accounts/{id}"
        return (
            Endpoint(
                "GET",
                "/api/v1/forges",
                "List forges",
                self.forges,
                reply=ForgesReply,
                action=HubAction.BROWSE,
            ),
            Endpoint(
                "GET",
                "/api/v1/linked-accounts",
                "List your linked accounts",
                self.list,
                reply=LinkedAccountsReply,
                action=HubAction.VIEW_LINKED_ACCOUNTS,
            ),
            Endpoint(
                "POST",
                "/api/v1/linked-accounts",
                "Link an account with an access token",
                self.add,
                body=TokenBody,
                reply=LinkedAccountReply,
                status=HTTPStatus.CREATED,
                action=HubAction.LINK_ACCOUNT,
            ),
            *self._content(one),
            Endpoint(
                "DELETE",
                one,
                "Unlink an account and remove its webhooks and deploy keys",
                self.remove,
                reply=RemovalReport,
                action=HubAction.UNLINK_ACCOUNT,
            ),
            Endpoint(
                "GET",
                "/api/v1/git-refs",
                "List branches and tags of a public git URL",
                self.git_refs,
                query=GitURLQuery,
                reply=RefsReply,
                action=HubAction.VIEW_LINKED_ACCOUNTS,
            ),
        )

    def _content(self, one: str) -> tuple[Endpoint, ...]:
        return (
            Endpoint(
                "GET",
                f"{one}/repositories",
                "List repositories that a linked account can access",
                self.repositories,
                query=RepositoriesQuery,
                reply=RepositoriesReply,
                action=HubAction.VIEW_LINKED_ACCOUNTS,
            ),
            Endpoint(
                "GET",
                f"{one}/refs",
                "List branches and tags of a repository at a forge",
                self.refs,
                query=RefsQuery,
                reply=RefsReply,
                action=HubAction.VIEW_LINKED_ACCOUNTS,
            ),
        )

    async def forges(self, _hub: HubServices, _call: ApiRequest[Nothing, Nothing]) -> ForgesReply:
        """GET /api/v1/forges."""
        return ForgesReply(self._accounts.offers)

    async def list(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> LinkedAccountsReply:
        """GET /api/v1/linked-accounts."""
        return LinkedAccountsReply(tuple(_reply(account) for account in await self._accounts.list_own(call.actor)))

    async def add(self, _hub: HubServices, call: ApiRequest[TokenBody, Nothing]) -> LinkedAccountReply:
        """POST /api/v1/linked-accounts."""
        return _reply(await self._accounts.add_token(call.actor, call.body.url, call.body.token))

    async def repositories(self, _hub: HubServices, call: ApiRequest[Nothing, RepositoriesQuery]) -> RepositoriesReply:
        """GET /api/v1/linked-accounts/ID/repositories."""
        page = await self._accounts.repositories(call.actor, _linked_account_id(call), call.query.q, call.query.page)
        return RepositoriesReply(page.items, page.more)

    async def refs(self, _hub: HubServices, call: ApiRequest[Nothing, RefsQuery]) -> RefsReply:
        """GET /api/v1/linked-accounts/ID/refs."""
        name = call.query.repository
        repository = await self._accounts.repository(call.actor, _linked_account_id(call), name)
        refs = await self._accounts.refs(call.actor, _linked_account_id(call), name)
        return RefsReply(refs, repository.default_branch)

    async def git_refs(self, _hub: HubServices, call: ApiRequest[Nothing, GitURLQuery]) -> RefsReply:
        """GET /api/v1/git-refs."""
        default_branch, refs = await self._accounts.refs_of_url(call.actor, call.query.url)
        return RefsReply(refs, default_branch)

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> RemovalReport:
        """DELETE /api/v1/linked-accounts/ID."""
        return await self._forges.webhooks.unlink(call.actor, _linked_account_id(call))


def _linked_account_id(call: ApiRequest[Any, Any]) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound("you have no such linked account")
    return int(text)


def _reply(account: LinkedAccount) -> LinkedAccountReply:
    return msgspec.convert(account, LinkedAccountReply, from_attributes=True)
