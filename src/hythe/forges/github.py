"""GitHub and GitHub Enterprise.

REST API version 2022-11-28; webhooks as documented in "Validating webhook deliveries" and "Webhook events".
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from hythe.forges.port import (
    CommitStatus,
    ForgeAccount,
    ForgeEvent,
    ForgeRepository,
    Headers,
    InvalidEvent,
    OAuthClient,
    OAuthEndpoints,
    Permissions,
    RepositoryPage,
    Revocation,
    StatusState,
)
from hythe.forges.rest import RestClient, RestForge, reported_scopes
from hythe.forges.signatures import is_prefixed_hmac
from hythe.forges.source_ref import valid_commit
from hythe.forges.webhook_format import (
    AuthorBody,
    CommitDetails,
    HeaderWebhookFormat,
    other_event,
    parse_body,
    push_event,
)

PAGE_SIZE = 100
MAX_SEARCHED_PAGES = 10
"""Pages of repositories that a search reads: GitHub cannot search the repositories that a token can access."""


class GitHubUser(msgspec.Struct, frozen=True):
    """A user in the response format that Gitea has taken over."""

    id: int
    login: str


class _Permissions(msgspec.Struct, frozen=True):
    admin: bool = False


class GitHubRepository(msgspec.Struct, frozen=True):
    """A repository in the response format that Gitea has taken over."""

    full_name: str
    clone_url: str
    ssh_url: str
    default_branch: str
    private: bool
    description: str | None = None
    permissions: _Permissions | None = None

    def value(self) -> ForgeRepository:
        """See rest.RepositoryBody."""
        return ForgeRepository(
            name=self.full_name,
            clone_url=self.clone_url,
            ssh_url=self.ssh_url,
            default_branch=self.default_branch,
            private=self.private,
            admin=bool(self.permissions and self.permissions.admin),
            description=self.description or "",
        )


class GitHub(RestForge):
    """GitHub at one URL."""

    kind = "github"
    public = Permissions(
        ("repo:status", "admin:repo_hook"),
        "install webhooks and write commit statuses; public code can be read without a scope, and is never written",
    )
    private = Permissions(
        ("repo",),
        "do the same for private repositories; GitHub has no narrower scope, but the hub never pushes",
    )

    @property
    def title(self) -> str:
        """See rest.RestForge."""
        return "GitHub" if self.host == "github.com" else f"GitHub Enterprise at {urlsplit(self.url).hostname}"

    @property
    def api_url(self) -> str:
        """See rest.RestForge."""
        return "https://api.github.com" if self.host == "github.com" else f"{self.url}/api/v3"

    @property
    def token_page(self) -> str:
        """See port.Forge."""
        return f"{self.url}/settings/tokens"

    def oauth_endpoints(self) -> OAuthEndpoints:
        """See rest.RestForge."""
        return OAuthEndpoints(f"{self.url}/login/oauth/authorize", f"{self.url}/login/oauth/access_token")

    def headers(self, token: str) -> dict[str, str]:
        """See rest.RestForge."""
        return {**super().headers(token), "X-GitHub-Api-Version": "2022-11-28"}

    def client(self, token: str) -> "GitHubClient":
        """See port.Forge."""
        return GitHubClient(self.api(token))

    def revocation(self, client: OAuthClient, token: str) -> Revocation | None:
        """See port.Forge and "Delete an app token"."""
        return Revocation("DELETE", f"{self.api_url}/applications/{client.id}/token", {"access_token": token})


class GitHubStyleClient(RestClient):
    """The part of the API that Gitea has taken over from GitHub: deploy keys and commit statuses."""

    repository_type = GitHubRepository
    states: ClassVar = {
        StatusState.PENDING: "pending",
        StatusState.RUNNING: "pending",
        StatusState.SUCCESS: "success",
        StatusState.FAILURE: "failure",
        StatusState.CANCELLED: "error",
    }
    max_description_length = 140

    def repository_path(self, name: str) -> str:
        """See rest.RestClient."""
        return f"/repos/{quote(name)}"

    def deploy_key_body(self, title: str, public_key: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {"title": title, "key": public_key, "read_only": True}

    def status_body(self, status: CommitStatus, state: str, description: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {
            "state": state,
            "target_url": status.target_url,
            "description": description,
            "context": status.context,
        }


class GitHubClient(GitHubStyleClient):
    """See port.ForgeClient."""

    page_size: ClassVar = {"per_page": PAGE_SIZE}

    async def account(self) -> ForgeAccount:
        """See port.ForgeClient."""
        response = await self._api.send("GET", "/user")
        user = response.parse(GitHubUser)
        return ForgeAccount(str(user.id), user.login, reported_scopes(response))

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See port.ForgeClient."""
        if not query:
            return await self._page(page)
        found: list[ForgeRepository] = []
        for number in range(1, MAX_SEARCHED_PAGES + 1):
            result = await self._page(number)
            found += [item for item in result.items if query.lower() in item.name.lower()]
            if not result.more:
                break
        return RepositoryPage(tuple(found))

    async def _page(self, page: int) -> RepositoryPage:
        return await self.repository_page("/user/repos", sort="pushed", page=page)

    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        return {"name": "web", "active": True, "events": ["push"], "config": config}


class _PushedRepository(msgspec.Struct, frozen=True):
    full_name: str
    pushed_at: int | str | None = None


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    repository: _PushedRepository
    before: str = ""
    deleted: bool = False
    head_commit: CommitDetails | None = None
    pusher: AuthorBody = AuthorBody()


class GitHubWebhooks(HeaderWebhookFormat):
    """See port.WebhookFormat. ``X-Hub-Signature-256: sha256=HEX`` signs the raw body."""

    event_headers = ("x-github-event",)
    delivery_headers = ("x-github-delivery",)

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See port.WebhookFormat."""
        return is_prefixed_hmac(headers.get("x-hub-signature-256", ""), secret, body)

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        """See port.WebhookFormat."""
        body, event = _json_body(headers, body), self.event(headers)
        if event != "push":
            return other_event(body, event)
        push = parse_body(body, _Push)
        details = push.head_commit or CommitDetails()
        return push_event(
            repository=push.repository.full_name,
            event=event,
            ref=push.ref,
            before=push.before,
            # "after" of an annotated tag is the tag object; the head commit is always a commit.
            commit="" if push.deleted else valid_commit(details.id) or push.after,
            details=details,
            pusher=push.pusher.name or push.pusher.login,
            sent_at=_timestamp(push.repository.pushed_at),
        )


def _json_body(headers: Headers, body: bytes) -> bytes:
    """Return the JSON, also from a form: the default content type when a user adds a webhook on GitHub's page."""
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return body
    try:
        fields = parse_qs(body.decode("ascii", errors="replace"), max_num_fields=10)
    except ValueError as error:
        raise InvalidEvent(f"the body is not a form: {error}") from error
    return fields.get("payload", [""])[0].encode()


def _timestamp(pushed_at: int | str | None) -> datetime | None:
    """Push events have seconds since 1970, unlike the rest of the API."""
    in_range = isinstance(pushed_at, int) and 0 < pushed_at < 1 << 33
    return datetime.fromtimestamp(pushed_at, UTC) if in_range and isinstance(pushed_at, int) else None
