"""GitLab, at gitlab.com or self-managed: REST API v4, project webhooks."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from hythe.forges.port import (
    CommitStatus,
    ForgeAccount,
    ForgeEvent,
    ForgeRepository,
    Headers,
    OAuthEndpoints,
    Permissions,
    RepositoryPage,
    StatusState,
)
from hythe.forges.rest import RestClient, RestForge
from hythe.forges.signatures import is_secret
from hythe.forges.source_ref import valid_commit
from hythe.forges.webhook_format import CommitDetails, HeaderWebhookFormat, parse_body, push_event

PAGE_SIZE = 100
MAINTAINER = 40
"""The lowest access level that can manage webhooks and deploy keys."""


class _User(msgspec.Struct, frozen=True):
    id: int
    username: str


class _Access(msgspec.Struct, frozen=True):
    access_level: int = 0


class _Permissions(msgspec.Struct, frozen=True):
    project_access: _Access | None = None
    group_access: _Access | None = None

    @property
    def level(self) -> int:
        return max((access.access_level for access in (self.project_access, self.group_access) if access), default=0)


class _Project(msgspec.Struct, frozen=True):
    path_with_namespace: str
    http_url_to_repo: str
    ssh_url_to_repo: str
    visibility: str = "private"
    default_branch: str | None = None
    description: str | None = None
    permissions: _Permissions | None = None

    def value(self) -> ForgeRepository:
        return ForgeRepository(
            name=self.path_with_namespace,
            clone_url=self.http_url_to_repo,
            ssh_url=self.ssh_url_to_repo,
            default_branch=self.default_branch or "main",
            private=self.visibility != "public",
            admin=bool(self.permissions and self.permissions.level >= MAINTAINER),
            description=self.description or "",
        )


class GitLab(RestForge):
    """GitLab at one URL."""

    kind = "gitlab"
    public = Permissions(
        ("api",),
        "read your projects, install webhooks and deploy keys, and write commit statuses; "
        "GitLab has no narrower scope, but the hub never pushes",
    )
    private = public

    @property
    def title(self) -> str:
        """See rest.RestForge."""
        return "GitLab" if self.host == "gitlab.com" else f"GitLab at {self.host}"

    @property
    def api_url(self) -> str:
        """See rest.RestForge."""
        return f"{self.url}/api/v4"

    @property
    def token_page(self) -> str:
        """See port.Forge."""
        return f"{self.url}/-/user_settings/personal_access_tokens"

    def oauth_endpoints(self) -> OAuthEndpoints:
        """See rest.RestForge."""
        root = f"{self.url}/oauth"
        return OAuthEndpoints(f"{root}/authorize", f"{root}/token", revoke=f"{root}/revoke")

    def client(self, token: str) -> "GitLabClient":
        """See port.Forge."""
        return GitLabClient(self.api(token))


class GitLabClient(RestClient):
    """See port.ForgeClient."""

    page_size: ClassVar = {"per_page": PAGE_SIZE}
    repository_type = _Project
    deploy_keys_path = "deploy_keys"
    refs_path = "/repository"
    states: ClassVar = {
        StatusState.PENDING: "pending",
        StatusState.RUNNING: "running",
        StatusState.SUCCESS: "success",
        StatusState.FAILURE: "failed",
        StatusState.CANCELLED: "canceled",
    }

    def repository_path(self, name: str) -> str:
        """See rest.RestClient."""
        return f"/projects/{quote(name, safe='')}"

    async def account(self) -> ForgeAccount:
        """See port.ForgeClient."""
        user = await self._api.get("/user", _User)
        return ForgeAccount(str(user.id), user.username)

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See port.ForgeClient."""
        return await self.repository_page(
            "/projects", membership="true", search=query, order_by="last_activity_at", page=page
        )

    def webhook_body(self, url: str, secret: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {
            "url": url,
            "token": secret,
            "push_events": True,
            "tag_push_events": True,
            "enable_ssl_verification": True,
        }

    def deploy_key_body(self, title: str, public_key: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {"title": title, "key": public_key, "can_push": False}

    def status_body(self, status: CommitStatus, state: str, description: str) -> Mapping[str, Any]:
        """See rest.RestClient."""
        return {"state": state, "name": status.context, "target_url": status.target_url, "description": description}


class _PushedProject(msgspec.Struct, frozen=True):
    path_with_namespace: str


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    project: _PushedProject
    before: str = ""
    checkout_sha: str | None = None
    user_username: str = ""
    commits: list[CommitDetails] = []


class _OtherEvent(msgspec.Struct, frozen=True):
    project: _PushedProject | None = None


class GitLabWebhooks(HeaderWebhookFormat):
    """See port.WebhookFormat. ``X-Gitlab-Token`` is the secret itself.

    If a signing token is set, ``webhook-signature`` is checked instead (Standard Webhooks: HMAC-SHA-256 over
    ``ID.TIMESTAMP.BODY`` in base64).
    """

    event_headers = ("x-gitlab-event",)
    delivery_headers = ("idempotency-key",)

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """See port.WebhookFormat.

        All events of a push to several refs share a UUID; only the idempotency key identifies one event.
        """
        if key := super().delivery_id(headers, body):
            return key
        event = headers.get("x-gitlab-event-uuid", "")
        return f"{event}:{hashlib.sha256(body).hexdigest()}" if event else ""

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See port.WebhookFormat."""
        if "webhook-signature" in headers:
            return _has_signature(headers, body, secret)
        return is_secret(headers.get("x-gitlab-token", ""), secret)

    def parse(self, headers: Headers, body: bytes) -> ForgeEvent:
        """See port.WebhookFormat."""
        event = self.event(headers)
        if event not in ("Push Hook", "Tag Push Hook"):
            other = parse_body(body, _OtherEvent)
            return ForgeEvent(repository=other.project.path_with_namespace if other.project else "", event=event)
        push = parse_body(body, _Push)
        # "after" of an annotated tag is the tag object, "checkout_sha" the commit.
        commit = push.checkout_sha or push.after
        return push_event(
            repository=push.project.path_with_namespace,
            event=event,
            ref=push.ref,
            before=push.before,
            commit=valid_commit(push.after) and commit,
            details=next((each for each in push.commits if each.id == commit), CommitDetails()),
            pusher=push.user_username,
            sent_at=_timestamp(headers.get("webhook-timestamp", "")) if "webhook-signature" in headers else None,
        )


def _has_signature(headers: Headers, body: bytes, secret: str) -> bool:
    """Whether one of the signatures ``v1,BASE64`` is valid; the key is the secret, or its part after ``whsec_``."""
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except binascii.Error:
        return False
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    signatures = [each.partition(",")[2] for each in headers["webhook-signature"].split(" ") if each.startswith("v1,")]
    return bool(secret) and any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures)


def _timestamp(seconds: str) -> datetime | None:
    in_range = seconds.isascii() and seconds.isdigit() and len(seconds) <= 10
    return datetime.fromtimestamp(int(seconds), UTC) if in_range else None
