"""Gitea and Forgejo: the same API (``/api/v1``) and webhooks; Forgejo also sends headers of its own name."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from hythe.forges.github import GitHubRepository, GitHubStyleClient, GitHubUser
from hythe.forges.port import ForgeAccount, ForgeEvent, Headers, OAuthEndpoints, Permissions, RepositoryPage
from hythe.forges.rest import RestForge
from hythe.forges.signatures import is_hmac
from hythe.forges.source_ref import parse_ref, valid_commit
from hythe.forges.webhook_format import (
    AuthorBody,
    CommitDetails,
    HeaderWebhookFormat,
    first_header,
    other_event,
    parse_body,
    push_event,
)

PAGE_SIZE = 50


class _SearchResult(msgspec.Struct, frozen=True):
    data: list[GitHubRepository]


class Gitea(RestForge):
    """Gitea or Forgejo at one URL."""

    kind = "gitea"
    public = Permissions(
        ("read:user", "write:repository"),
        "read your repositories, install webhooks and deploy keys, and write commit statuses; "
        "the forge has no narrower scope, but the hub never pushes",
    )
    private = public

    @property
    def title(self) -> str:
        """See rest.RestForge."""
        return f"Gitea or Forgejo at {self.host}"

    @property
    def api_url(self) -> str:
        """See rest.RestForge."""
        return f"{self.url}/api/v1"

    @property
    def token_page(self) -> str:
        """See port.Forge."""
        return f"{self.url}/user/settings/applications"

    def oauth_endpoints(self) -> OAuthEndpoints:
        """See rest.RestForge."""
        return OAuthEndpoints(f"{self.url}/login/oauth/authorize", f"{self.url}/login/oauth/access_token")

    def client(self, token: str) -> "GiteaClient":
        """See port.Forge."""
        return GiteaClient(self.api(token))


class GiteaClient(GitHubStyleClient):
    """See port.ForgeClient."""

    page_size: ClassVar = {"limit": PAGE_SIZE}

    async def account(self) -> ForgeAccount:
        """See port.ForgeClient."""
        user = await self._api.get("/user", GitHubUser)
        return ForgeAccount(str(user.id), user.login)

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See port.ForgeClient."""
        user = await self._api.get("/user", GitHubUser)
        search: dict[str, str | int] = {"q": query, "uid": user.id, "sort": "updated", "order": "desc", "page": page}
        response = await self._api.send("GET", "/repos/search", query={**search, **self.page_size})
        items = response.parse(_SearchResult).data
        return RepositoryPage(tuple(item.value() for item in items), response.has_next_page)

    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        config = {"url": url, "content_type": "json", "secret": secret}
        return {"type": "gitea", "active": True, "events": ["push", "delete"], "config": config}


class _PushedRepository(msgspec.Struct, frozen=True):
    full_name: str


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    repository: _PushedRepository
    before: str = ""
    head_commit: CommitDetails | None = None
    pusher: AuthorBody = AuthorBody()


class _Delete(msgspec.Struct, frozen=True):
    ref: str
    ref_type: str
    repository: _PushedRepository


_REF_FOLDERS = {"branch": "refs/heads", "tag": "refs/tags"}


class GiteaWebhooks(HeaderWebhookFormat):
    """See port.WebhookFormat. ``X-Gitea-Signature`` or ``X-Forgejo-Signature``: hex HMAC-SHA-256 of the raw body."""

    event_headers = ("x-gitea-event", "x-forgejo-event")
    delivery_headers = ("x-gitea-delivery", "x-forgejo-delivery")

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See port.WebhookFormat."""
        return is_hmac(first_header(headers, ("x-gitea-signature", "x-forgejo-signature")), secret, body)

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        """See port.WebhookFormat."""
        event = self.event(headers)
        if event == "delete":
            deletion = parse_body(body, _Delete)
            ref = parse_ref(f"{_REF_FOLDERS.get(deletion.ref_type, '')}/{deletion.ref}", "")
            return ForgeEvent(repository=deletion.repository.full_name, event=event, deleted=(ref,) if ref else ())
        if event != "push":
            return other_event(body, event)
        push = parse_body(body, _Push)
        details = push.head_commit or CommitDetails()
        return push_event(
            repository=push.repository.full_name,
            event=event,
            ref=push.ref,
            before=push.before,
            # "after" of an annotated tag can be the tag object; the head commit is always a commit.
            commit=valid_commit(push.after) and (valid_commit(details.id) or push.after),
            details=details,
            pusher=push.pusher.login or push.pusher.name,
        )
