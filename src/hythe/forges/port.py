"""The port of a forge: what Trusted Builds call (Forge, ForgeClient) and what its webhooks say (WebhookFormat)."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Protocol, TypeAlias

import msgspec

from hythe.forges.source_ref import ForgeKind, SourceRef

MAX_REFS = 300
"""Branches, and tags, that a preview shows."""

Headers: TypeAlias = Mapping[str, str]
"""Headers of a request; names in lower case."""


class ForgeAccount(msgspec.Struct, frozen=True):
    """The account that a token belongs to; ``scopes`` is empty if the forge does not report them."""

    id: str
    login: str
    scopes: tuple[str, ...] = ()


class ForgeRepository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository of a forge. ``admin``: the token can install webhooks and deploy keys, if the forge reports it."""

    name: str
    clone_url: str
    ssh_url: str
    default_branch: str
    private: bool
    admin: bool
    description: str = ""


class RepositoryPage(msgspec.Struct, frozen=True):
    """One page of repositories; ``more``: whether there is a next page."""

    items: tuple[ForgeRepository, ...]
    more: bool = False


class StatusState(Enum):
    """The state of a commit status; each forge has its own spelling."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A status of a commit; ``context`` distinguishes it from the statuses of other builds and services."""

    commit: str
    state: StatusState
    context: str
    description: str
    target_url: str


class ForgeClient(Protocol):
    """A forge's API with one token. Every method raises ForgeUnavailable, TokenRefused, PermissionDenied, ForgeError.

    ``name`` is OWNER/NAME as the forge spells it.
    """

    async def account(self) -> ForgeAccount:
        """Return the account that the token belongs to."""

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """Return the accessible repositories whose names contain ``query``; pages count from 1."""

    async def repository(self, name: str) -> ForgeRepository:
        """Return one repository."""

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """Return the branches and tags, at most MAX_REFS of each."""

    async def add_webhook(self, name: str, url: str, secret: str) -> str:
        """Install a webhook that sends pushes of branches and tags to ``url``; return its id at the forge."""

    async def remove_webhook(self, name: str, webhook_id: str) -> None:
        """Remove a webhook; a missing one is no error."""

    async def add_deploy_key(self, name: str, title: str, public_key: str) -> str:
        """Add a read-only SSH deploy key; return its id at the forge."""

    async def remove_deploy_key(self, name: str, key_id: str) -> None:
        """Remove a deploy key; a missing one is no error."""

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """Create or update a commit status."""


class RefUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A push to a branch or tag; ``before`` is the previous commit, empty if the ref is new or it is unknown."""

    ref: SourceRef
    before: str = ""
    message: str = ""
    author: str = ""


class ForgeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed webhook request. Without updates, nothing is built (a ping, for example)."""

    repository: str
    event: str
    updates: tuple[RefUpdate, ...] = ()
    deleted: tuple[SourceRef, ...] = ()
    """Deleted branches and tags, without commits."""
    pusher: str = ""
    sent_at: datetime | None = None
    """When the forge sent it, if it says so under the signature."""


class WebhookFormat(Protocol):
    """How a kind of forge signs and writes its webhook requests."""

    def matches(self, headers: Headers) -> bool:
        """Whether the request has this forge's headers."""

    def event(self, headers: Headers) -> str:
        """Return the event's name, or ""."""

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """Return an id that stays the same if the forge sends the event again, or ""."""

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """Whether the request is signed with the secret; compares in constant time."""

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        """Return the event. Raises InvalidEvent."""


class InvalidEvent(Exception):
    """A webhook request whose body is not in the forge's documented format."""


class OAuthClient(msgspec.Struct, frozen=True):
    """The OAuth application that the hub is registered as; empty ``id``: not registered."""

    id: str = ""
    secret: str = ""


class OAuthEndpoints(msgspec.Struct, frozen=True):
    """A forge's OAuth URLs. ``basic_auth``: the token URL wants the client in a header, not in the form."""

    authorize: str
    token: str
    revoke: str = ""
    """The revocation URL (RFC 7009); empty: the forge has none."""
    basic_auth: bool = False


class Revocation(msgspec.Struct, frozen=True):
    """A request of a forge's own that revokes a token; ``body`` is sent as JSON with the client in a header."""

    method: str
    url: str
    body: dict[str, str]


class Permissions(msgspec.Struct, frozen=True):
    """The OAuth scopes that the hub requests, and what they are for."""

    scopes: tuple[str, ...]
    purpose: str


class Forge(Protocol):
    """A forge at one URL."""

    kind: ForgeKind
    url: str
    oauth: OAuthEndpoints
    public: Permissions
    private: Permissions
    token_hint: str
    """How users write a token, if it is not obvious."""

    @property
    def title(self) -> str:
        """How the pages name this forge."""

    @property
    def token_page(self) -> str:
        """Where users create access tokens and see the applications that they authorized."""

    def client(self, token: str) -> ForgeClient:
        """Return the forge's API with this token."""

    def revocation(self, client: OAuthClient, token: str) -> Revocation | None:
        """Return the request that revokes an OAuth token, or None to use ``oauth.revoke``."""
