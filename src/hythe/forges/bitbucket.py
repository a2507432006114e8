"""Bitbucket Cloud: REST API 2.0, repository webhooks. (Bitbucket Data Center has another API: use a git URL.)"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import msgspec

from hythe.forges.port import (
    MAX_REFS,
    CommitStatus,
    ForgeAccount,
    ForgeEvent,
    ForgeRepository,
    Headers,
    OAuthEndpoints,
    Permissions,
    RefUpdate,
    RepositoryPage,
    StatusState,
)
from hythe.forges.rest import RestClient, RestForge, reported_scopes
from hythe.forges.signatures import is_prefixed_hmac
from hythe.forges.source_ref import SourceRef, SourceType, parse_ref, valid_commit
from hythe.forges.webhook_format import HeaderWebhookFormat, parse_body

PAGE_SIZE = 100
MAX_WORKSPACES = 20


class _User(msgspec.Struct, frozen=True):
    uuid: str
    display_name: str = ""
    nickname: str = ""


class _Workspace(msgspec.Struct, frozen=True):
    slug: str


class _WorkspaceAccess(msgspec.Struct, frozen=True):
    workspace: _Workspace


class _Workspaces(msgspec.Struct, frozen=True):
    values: list[_WorkspaceAccess]


class _Link(msgspec.Struct, frozen=True):
    name: str = ""
    href: str = ""


class _Links(msgspec.Struct, frozen=True):
    clone: list[_Link] = []


class _Branch(msgspec.Struct, frozen=True):
    name: str = "main"


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    is_private: bool
    links: _Links
    mainbranch: _Branch | None = None
    description: str = ""

    def value(self, *, admin: bool = False) -> ForgeRepository:
        """The response does not say whether the token has admin permission."""
        clones = {clone.name: clone.href for clone in self.links.clone}
        return ForgeRepository(
            name=self.full_name,
            clone_url=_without_user(clones.get("https", "")),
            ssh_url=clones.get("ssh", ""),
            default_branch=self.mainbranch.name if self.mainbranch else "main",
            private=self.is_private,
            admin=admin,
            description=self.description,
        )


class _Repositories(msgspec.Struct, frozen=True):
    values: list[_Repository]
    next: str = ""


class _Target(msgspec.Struct, frozen=True):
    hash: str
    message: str = ""
    author: "_Author | None" = None


class _Author(msgspec.Struct, frozen=True):
    raw: str = ""


class _Ref(msgspec.Struct, frozen=True):
    type: str
    name: str
    target: _Target


class _Refs(msgspec.Struct, frozen=True):
    values: list[_Ref]
    next: str = ""


class Bitbucket(RestForge):
    """Bitbucket Cloud."""

    kind = "bitbucket"
    public = Permissions(
        ("account", "repository", "repository:admin", "webhook"),
        "read your repositories, install webhooks and deploy keys, and write build statuses; "
        "the hub's OAuth consumer at Bitbucket defines the scopes",
    )
    private = public
    token_hint = "Enter an API token as E-MAIL:TOKEN."  # noqa: S105 (an explanation)

    @property
    def title(self) -> str:
        """See rest.RestForge."""
        return "Bitbucket" if self.host == "bitbucket.org" else f"Bitbucket at {self.host}"

    @property
    def api_url(self) -> str:
        """See rest.RestForge."""
        return "https://api.bitbucket.org/2.0" if self.host == "bitbucket.org" else f"{self.url}/2.0"

    @property
    def token_page(self) -> str:
        """See port.Forge."""
        return f"{self.url}/account/settings/app-authorizations/"

    def oauth_endpoints(self) -> OAuthEndpoints:
        """See rest.RestForge."""
        root = f"{self.url}/site/oauth2"
        return OAuthEndpoints(f"{root}/authorize", f"{root}/access_token", basic_auth=True)

    def headers(self, token: str) -> dict[str, str]:
        """See rest.RestForge. ``E-MAIL:TOKEN`` is a user's API token; a token without a colon is an access token."""
        if ":" in token:
            return {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
        return super().headers(token)

    def client(self, token: str) -> "BitbucketClient":
        """See port.Forge."""
        return BitbucketClient(self.api(token))


class BitbucketClient(RestClient):
    """See port.ForgeClient."""

    page_size: ClassVar = {"pagelen": PAGE_SIZE}
    repository_type = _Repository
    deploy_keys_path = "deploy-keys"
    states: ClassVar = {
        StatusState.PENDING: "INPROGRESS",
        StatusState.RUNNING: "INPROGRESS",
        StatusState.SUCCESS: "SUCCESSFUL",
        StatusState.FAILURE: "FAILED",
        StatusState.CANCELLED: "STOPPED",
    }

    def repository_path(self, name: str) -> str:
        """See rest.RestClient."""
        return f"/repositories/{quote(name)}"

    def status_path(self, name: str, commit: str) -> str:
        """See rest.RestClient."""
        return f"{self.repository_path(name)}/commit/{quote(commit)}/statuses/build"

    async def account(self) -> ForgeAccount:
        """See port.ForgeClient."""
        response = await self._api.send("GET", "/user")
        user = response.parse(_User)
        return ForgeAccount(user.uuid, user.nickname or user.display_name, reported_scopes(response))

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See port.ForgeClient. Bitbucket lists repositories only per workspace."""
        workspaces = await self._api.get("/user/workspaces", _Workspaces, pagelen=MAX_WORKSPACES)
        found: list[ForgeRepository] = []
        more = False
        for access in workspaces.values:
            search: dict[str, str | int] = {"role": "contributor", "page": page, **self.page_size}
            if query:
                search["q"] = f'name ~ "{_escaped(query)}"'
            result = await self._api.get(f"/repositories/{quote(access.workspace.slug)}", _Repositories, **search)
            found += [item.value() for item in result.values]
            more = more or bool(result.next)
        return RepositoryPage(tuple(found), more)

    async def repository(self, name: str) -> ForgeRepository:
        """See port.ForgeClient."""
        workspace, _, slug = name.partition("/")
        found = await self._api.get(self.repository_path(name), _Repository)
        search: dict[str, str | int] = {"role": "admin", "q": f'slug = "{_escaped(slug)}"', "pagelen": 1}
        administered = await self._api.get(f"/repositories/{quote(workspace)}", _Repositories, **search)
        return found.value(admin=bool(administered.values))

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See port.ForgeClient. Lists have no Link header here."""
        found: list[SourceRef] = []
        for source_type, folder in ((SourceType.BRANCH, "branches"), (SourceType.TAG, "tags")):
            path = f"{self.repository_path(name)}/refs/{folder}"
            for page in range(1, MAX_REFS // PAGE_SIZE + 1):
                result = await self._api.get(path, _Refs, page=page, **self.page_size)
                found += [SourceRef(source_type, ref.name, ref.target.hash) for ref in result.values]
                if not result.next:
                    break
        return tuple(found)

    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {
            "description": "Hythe Trusted Builds",
            "url": url,
            "active": True,
            "secret": secret,
            "events": ["repo:push"],
        }

    def deploy_key_body(self, title: str, public_key: str) -> Mapping[str, Any]:
        """See rest.RestClient. Bitbucket's deploy keys are always read-only."""
        return {"label": title, "key": public_key}

    def status_body(self, status: CommitStatus, state: str, description: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {
            "key": hashlib.sha256(status.context.encode()).hexdigest()[:40],
            "name": status.context,
            "state": state,
            "url": status.target_url,
            "description": description,
        }


def _escaped(query: str) -> str:
    return query.replace("\\", "").replace('"', "")


def _without_user(url: str) -> str:
    """Remove ``USER@`` from a clone URL."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class _Change(msgspec.Struct, frozen=True):
    new: _Ref | None = None
    old: _Ref | None = None


class _Changes(msgspec.Struct, frozen=True):
    changes: list[_Change] = []


class _PushedRepository(msgspec.Struct, frozen=True):
    full_name: str


class _Push(msgspec.Struct, frozen=True):
    repository: _PushedRepository
    push: _Changes = msgspec.field(default_factory=_Changes)
    actor: _User | None = None


class BitbucketWebhooks(HeaderWebhookFormat):
    """See port.WebhookFormat. ``X-Hub-Signature: sha256=HEX`` signs the raw body; without a secret it is missing."""

    event_headers = ("x-event-key",)
    delivery_headers = ("x-request-uuid",)

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See port.WebhookFormat."""
        return is_prefixed_hmac(headers.get("x-hub-signature", ""), secret, body)

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        """See port.WebhookFormat. One push can change many branches and tags."""
        event = self.event(headers)
        push = parse_body(body, _Push)
        changes = push.push.changes if event == "repo:push" else []
        return ForgeEvent(
            repository=push.repository.full_name,
            event=event,
            updates=tuple(update for change in changes if (update := _update(change)) is not None),
            deleted=tuple(ref for change in changes if change.new is None and (ref := _parsed(change.old)) is not None),
            pusher=push.actor.nickname or push.actor.display_name if push.actor else "",
        )


def _update(change: _Change) -> RefUpdate | None:
    ref = _parsed(change.new)
    if ref is None or change.new is None or not valid_commit(change.new.target.hash):
        return None
    target = change.new.target
    return RefUpdate(
        ref=msgspec.structs.replace(ref, commit=target.hash),
        before=valid_commit(change.old.target.hash) if change.old else "",
        message=target.message,
        author=target.author.raw if target.author else "",
    )


def _parsed(ref: _Ref | None) -> SourceRef | None:
    """Return a branch or tag without its commit, or None for bookmarks and the like."""
    folders = {"branch": "refs/heads", "tag": "refs/tags"}
    return parse_ref(f"{folders.get(ref.type, '')}/{ref.name}", "") if ref else None
