"""Base classes of the adapters: what the REST APIs of all forges have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from hythe.forges.api import ApiResponse, ForgeAPI
from hythe.forges.port import (
    MAX_REFS,
    CommitStatus,
    ForgeClient,
    ForgeRepository,
    OAuthClient,
    OAuthEndpoints,
    Permissions,
    RepositoryPage,
    Revocation,
    StatusState,
)
from hythe.forges.source_ref import ForgeKind, SourceRef, SourceType


class RestClient(ABC):
    """Implements most of port.ForgeClient: subclasses say how the forge spells paths and bodies."""

    page_size: ClassVar[dict[str, int]]
    """The query parameter for the page size, with its maximum."""
    repository_type: ClassVar[type["RepositoryBody"]]
    webhooks_path = "hooks"
    deploy_keys_path = "keys"
    refs_path = ""
    """The path of branches and tags below the repository's."""
    states: ClassVar[Mapping[StatusState, str]]
    max_description_length = 255

    def __init__(self, api: ForgeAPI) -> None:
        self._api = api

    @abstractmethod
    def repository_path(self, name: str) -> str:
        """Return a repository's path in the API."""

    def status_path(self, name: str, commit: str) -> str:
        """Return the path that creates statuses of a commit."""
        return f"{self.repository_path(name)}/statuses/{quote(commit)}"

    @abstractmethod
    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        """Return the request that creates a webhook for pushes of branches and tags."""

    @abstractmethod
    def deploy_key_body(self, title: str, public_key: str) -> Mapping[str, Any]:
        """Return the request that adds a read-only deploy key."""

    @abstractmethod
    def status_body(self, status: CommitStatus, state: str, description: str) -> Mapping[str, Any]:
        """Return the request that creates a commit status; ``state`` is in the forge's spelling."""

    async def repository_page(self, path: str, **query: str | int) -> RepositoryPage:
        """Return one page of a list of repositories, whose Link header says whether there is a next one."""
        response = await self._api.send("GET", path, query={**query, **self.page_size})
        items: list[RepositoryBody] = response.parse(list[self.repository_type])  # type: ignore[name-defined]
        return RepositoryPage(tuple(item.value() for item in items), response.has_next_page)

    async def repository(self, name: str) -> ForgeRepository:
        """See port.ForgeClient."""
        return (await self._api.get(self.repository_path(name), self.repository_type)).value()

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See port.ForgeClient."""
        root = f"{self.repository_path(name)}{self.refs_path}"
        found: list[SourceRef] = []
        for source_type, folder in ((SourceType.BRANCH, "branches"), (SourceType.TAG, "tags")):
            items = await self._api.list_all(f"{root}/{folder}", RefBody, MAX_REFS, self.page_size)
            found += [SourceRef(source_type, item.name, item.commit.value) for item in items]
        return tuple(found)

    async def add_webhook(self, name: str, url: str, secret: str) -> str:
        """See port.ForgeClient."""
        path = f"{self.repository_path(name)}/{self.webhooks_path}"
        return (await self._api.post(path, self.webhook_body(url, secret), CreatedBody)).value

    async def remove_webhook(self, name: str, webhook_id: str) -> None:
        """See port.ForgeClient."""
        await self._api.delete(f"{self.repository_path(name)}/{self.webhooks_path}/{quote(webhook_id)}")

    async def add_deploy_key(self, name: str, title: str, public_key: str) -> str:
        """See port.ForgeClient."""
        path = f"{self.repository_path(name)}/{self.deploy_keys_path}"
        return (await self._api.post(path, self.deploy_key_body(title, public_key), CreatedBody)).value

    async def remove_deploy_key(self, name: str, key_id: str) -> None:
        """See port.ForgeClient."""
        await self._api.delete(f"{self.repository_path(name)}/{self.deploy_keys_path}/{quote(key_id)}")

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """See port.ForgeClient."""
        description = status.description[: self.max_description_length]
        body = self.status_body(status, self.states[status.state], description)
        await self._api.send("POST", self.status_path(name, status.commit), body=body)


class RestForge(ABC):
    """Implements most of port.Forge: subclasses name the forge's URLs, scopes and client."""

    kind: ForgeKind
    public: Permissions
    private: Permissions
    token_hint = ""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.host = urlsplit(url).netloc
        self.oauth = self.oauth_endpoints()

    @property
    @abstractmethod
    def title(self) -> str:
        """How the pages name this forge."""

    @property
    @abstractmethod
    def api_url(self) -> str:
        """The root of the API."""

    @property
    @abstractmethod
    def token_page(self) -> str:
        """See port.Forge."""

    @abstractmethod
    def oauth_endpoints(self) -> OAuthEndpoints:
        """Return the OAuth URLs."""

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers that authenticate a request with this token."""
        return {"Authorization": f"Bearer {token}"}

    def api(self, token: str) -> ForgeAPI:
        """Return the API with this token."""
        return ForgeAPI(self._session, self.api_url, self.title, self.headers(token))

    @abstractmethod
    def client(self, token: str) -> ForgeClient:
        """See port.Forge."""

    def revocation(self, client: OAuthClient, token: str) -> Revocation | None:
        """See port.Forge."""
        return None


class RepositoryBody(Protocol):
    """A repository as a forge's API describes it."""

    def value(self) -> ForgeRepository:
        """Return the repository as the port describes it."""


class CreatedBody(msgspec.Struct, frozen=True):
    """The response to creating something: Bitbucket's webhooks have a UUID, everything else a number."""

    id: int = 0
    uuid: str = ""

    def __post_init__(self) -> None:
        if not (self.id or self.uuid):
            raise ValueError("no id")

    @property
    def value(self) -> str:
        """The id."""
        return self.uuid or str(self.id)


class CommitBody(msgspec.Struct, frozen=True):
    """A commit, whose id is called ``sha`` or ``id``."""

    sha: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        if not self.value:
            raise ValueError("no commit id")

    @property
    def value(self) -> str:
        """The commit id."""
        return self.sha or self.id


class RefBody(msgspec.Struct, frozen=True):
    """A branch or tag."""

    name: str
    commit: CommitBody


def reported_scopes(response: ApiResponse) -> tuple[str, ...]:
    """Return the token's scopes as the header X-OAuth-Scopes lists them."""
    scopes = response.headers.get("x-oauth-scopes", "").split(",")
    return tuple(scope.strip() for scope in scopes if scope.strip())
