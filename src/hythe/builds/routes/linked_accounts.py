"""Linked accounts in the JSON API."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.builds.configuration import Forge
from hythe.builds.forge_webhooks import Removed
from hythe.builds.linked_accounts import ForgeOffer
from hythe.builds.sources import Sources
from hythe.builds.sql.linked_accounts import LinkedAccount
from hythe.forges.port import ForgeRepository
from hythe.forges.source_ref import SourceRef
from hythe.hub.errors import NotFound
from hythe.hub.routes.endpoint import ApiRequest, Endpoint, Nothing
from hythe.hub.service import HubServices


class LinkedAccountReply(msgspec.Struct, frozen=True):
    """A linked account; ``problem`` says why it does not work any more, empty while it does."""

    id: int
    kind: Forge
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
    """The forges that accounts can be linked with."""

    items: tuple[ForgeOffer, ...]


class TokenBody(msgspec.Struct, frozen=True):
    """A forge's address as the list of forges names it, and a token that you made there."""

    url: Annotated[str, Meta(min_length=1, max_length=255)]
    token: Annotated[str, Meta(min_length=1, max_length=1000)]


class RepositoriesQuery(msgspec.Struct, frozen=True):
    """What the names shall hold, and which page."""

    q: Annotated[str, Meta(max_length=100)] = ""
    page: Annotated[int, Meta(ge=1, le=1000)] = 1


class RepositoriesReply(msgspec.Struct, frozen=True):
    """Repositories that a linked account reaches; ``more``: whether there is a next page."""

    items: tuple[ForgeRepository, ...]
    more: bool


class RefsQuery(msgspec.Struct, frozen=True):
    """Whose branches and tags: OWNER/NAME at the forge."""

    repository: Annotated[str, Meta(min_length=3, max_length=255)]


class AddressQuery(msgspec.Struct, frozen=True):
    """A git address that anybody may read."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]


class RefsReply(msgspec.Struct, frozen=True):
    """Branches and tags with their commits; ``default_branch`` empty: not said."""

    refs: tuple[SourceRef, ...]
    default_branch: str = ""


class LinkedAccountEndpoints:
    """The handlers of these addresses."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._links = sources.links

    def table(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        one = "/api/v1/linked-accounts/{id}"
        return (
            Endpoint("GET", "/api/v1/forges", "List forges to link with", self.forges, reply=ForgesReply),
            Endpoint(
                "GET", "/api/v1/linked-accounts", "List your linked accounts", self.list, reply=LinkedAccountsReply
            ),
            Endpoint(
                "POST",
                "/api/v1/linked-accounts",
                "LinkedAccount an account by a token",
                self.add,
                body=TokenBody,
                reply=LinkedAccountReply,
                status=HTTPStatus.CREATED,
            ),
            Endpoint(
                "GET",
                f"{one}/repositories",
                "List repositories that a linked account reaches",
                self.repositories,
                query=RepositoriesQuery,
                reply=RepositoriesReply,
            ),
            Endpoint(
                "GET",
                f"{one}/refs",
                "List branches and tags of such a repository",
                self.refs,
                query=RefsQuery,
                reply=RefsReply,
            ),
            Endpoint("DELETE", one, "Unlink an account, with its webhooks and keys", self.remove, reply=Removed),
            Endpoint(
                "GET",
                "/api/v1/git-refs",
                "List branches and tags of a git address",
                self.git_refs,
                query=AddressQuery,
                reply=RefsReply,
            ),
        )

    async def forges(self, _hub: HubServices, _call: ApiRequest[Nothing, Nothing]) -> ForgesReply:
        """GET /api/v1/forges."""
        return ForgesReply(self._links.offers)

    async def list(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> LinkedAccountsReply:
        """GET /api/v1/linked-accounts."""
        return LinkedAccountsReply(tuple(_reply(link) for link in await self._links.listed(call.actor)))

    async def add(self, _hub: HubServices, call: ApiRequest[TokenBody, Nothing]) -> LinkedAccountReply:
        """POST /api/v1/linked-accounts."""
        return _reply(await self._links.add_token(call.actor, call.body.url, call.body.token))

    async def repositories(self, _hub: HubServices, call: ApiRequest[Nothing, RepositoriesQuery]) -> RepositoriesReply:
        """GET /api/v1/linked-accounts/ID/repositories."""
        page = await self._links.repositories(call.actor, _link_id(call), call.query.q, call.query.page)
        return RepositoriesReply(page.items, page.more)

    async def refs(self, _hub: HubServices, call: ApiRequest[Nothing, RefsQuery]) -> RefsReply:
        """GET /api/v1/linked-accounts/ID/refs."""
        name = call.query.repository
        found = await self._links.repository(call.actor, _link_id(call), name)
        refs = await self._links.refs(call.actor, _link_id(call), name)
        return RefsReply(refs, found.default_branch)

    async def git_refs(self, hub: HubServices, call: ApiRequest[Nothing, AddressQuery]) -> RefsReply:
        """GET /api/v1/git-refs: for people with an account, as it makes the hub ask another server."""
        hub.access.require_account(call.actor)
        default_branch, refs = await self._sources.forges.advertised(call.query.url)
        return RefsReply(refs, default_branch)

    async def remove(self, _hub: HubServices, call: ApiRequest[Nothing, Nothing]) -> Removed:
        """DELETE /api/v1/linked-accounts/ID."""
        return await self._sources.hooks.unlink(call.actor, _link_id(call))


def _link_id(call: ApiRequest[Any, Any]) -> int:
    text = call.path["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound("you have no such linked account")
    return int(text)


def _reply(link: LinkedAccount) -> LinkedAccountReply:
    return msgspec.convert(link, LinkedAccountReply, from_attributes=True)
