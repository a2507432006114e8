"""GitLab, at gitlab.com or at an address of one's own: REST API v4, project webhooks."""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from hythe.builds.configuration import Forge
from hythe.forges.api import API, has_next
from hythe.forges.port import (
    MOST_REFS,
    CommitStatus,
    Delivery,
    ForgeAccount,
    ForgeRepository,
    Headers,
    Move,
    OAuthAddresses,
    RepositoryPage,
    Rights,
    StatusState,
    parsed_body,
    parsed_ref,
    real_commit,
)
from hythe.forges.signatures import is_secret
from hythe.forges.source_ref import SourceRef, SourceType

PAGE = 100
MAINTAINER = 40
"""The access level from which on webhooks and deploy keys can be managed."""

STATES = {
    StatusState.PENDING: "pending",
    StatusState.RUNNING: "running",
    StatusState.SUCCESS: "success",
    StatusState.FAILURE: "failed",
    StatusState.CANCELLED: "canceled",
}


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
        found = (self.project_access, self.group_access)
        return max((access.access_level for access in found if access), default=0)


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


class _Commit(msgspec.Struct, frozen=True):
    id: str


class _Ref(msgspec.Struct, frozen=True):
    name: str
    commit: _Commit


class _Made(msgspec.Struct, frozen=True):
    id: int


class GitLab:
    """GitLab at one address."""

    kind = Forge.GITLAB
    public = Rights(
        ("api",),
        "read your projects, install webhooks and deploy keys, and write commit statuses; "
        "GitLab has no smaller right for that, although nothing is ever pushed",
    )
    private = public

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        host = urlsplit(url).netloc
        self._session = session
        self.url = url
        self.title = "GitLab" if host == "gitlab.com" else f"GitLab at {host}"
        self.oauth = OAuthAddresses(f"{url}/oauth/authorize", f"{url}/oauth/token", f"{url}/oauth/revoke")
        self.token_page = f"{url}/-/user_settings/personal_access_tokens"

    def client(self, token: str) -> "GitLabClient":
        """See port.Source."""
        headers = {"Authorization": f"Bearer {token}"}
        return GitLabClient(API(self._session, f"{self.url}/api/v4", self.title, headers))


class GitLabClient:
    """See port.ForgeClient."""

    def __init__(self, api: API) -> None:
        self._api = api

    async def account(self) -> ForgeAccount:
        """See the port."""
        user = await self._api.get("/user", _User)
        return ForgeAccount(str(user.id), user.username)

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See the port."""
        asked: dict[str, str | int] = {"membership": "true", "search": query, "order_by": "last_activity_at"}
        answer = await self._api.send("GET", "/projects", query={**asked, "per_page": PAGE, "page": page})
        return RepositoryPage(tuple(each.value() for each in answer.parsed(list[_Project])), has_next(answer))

    async def repository(self, name: str) -> ForgeRepository:
        """See the port."""
        return (await self._api.get(_path(name), _Project)).value()

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See the port."""
        root = f"{_path(name)}/repository"
        branches = await self._api.pages(f"{root}/branches", _Ref, MOST_REFS, per_page=PAGE)
        tags = await self._api.pages(f"{root}/tags", _Ref, MOST_REFS, per_page=PAGE)
        return (
            *(SourceRef(SourceType.BRANCH, ref.name, ref.commit.id) for ref in branches),
            *(SourceRef(SourceType.TAG, ref.name, ref.commit.id) for ref in tags),
        )

    async def add_hook(self, name: str, url: str, secret: str) -> str:
        """See the port."""
        body = {
            "url": url,
            "token": secret,
            "push_events": True,
            "tag_push_events": True,
            "enable_ssl_verification": True,
        }
        return str((await self._api.post(f"{_path(name)}/hooks", body, _Made)).id)

    async def remove_hook(self, name: str, hook_id: str) -> None:
        """See the port."""
        await self._api.delete(f"{_path(name)}/hooks/{quote(hook_id)}")

    async def add_key(self, name: str, title: str, public_key: str) -> str:
        """See the port."""
        body = {"title": title, "key": public_key, "can_push": False}
        return str((await self._api.post(f"{_path(name)}/deploy_keys", body, _Made)).id)

    async def remove_key(self, name: str, key_id: str) -> None:
        """See the port."""
        await self._api.delete(f"{_path(name)}/deploy_keys/{quote(key_id)}")

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """See the port."""
        body = {
            "state": STATES[status.state],
            "name": status.context,
            "target_url": status.target_url,
            "description": status.description[:255],
        }
        await self._api.send("POST", f"{_path(name)}/statuses/{quote(status.commit)}", body=body)


def _path(name: str) -> str:
    return f"/projects/{quote(name, safe='')}"


class _Author(msgspec.Struct, frozen=True):
    name: str = ""
    email: str = ""


class _PushedCommit(msgspec.Struct, frozen=True):
    id: str = ""
    message: str = ""
    author: _Author = _Author()


class _PushedProject(msgspec.Struct, frozen=True):
    path_with_namespace: str


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    project: _PushedProject
    before: str = ""
    checkout_sha: str | None = None
    user_username: str = ""
    commits: list[_PushedCommit] = []


class _Other(msgspec.Struct, frozen=True):
    project: _PushedProject | None = None


class GitLabHooks:
    """See port.Hooks. "X-Gitlab-Token" is the secret itself; where a signing token is set, "webhook-signature" is
    checked as well (Standard Webhooks: HMAC-SHA-256 over ``ID.TIMESTAMP.BODY``, in base64)."""

    def knows(self, headers: Headers) -> bool:
        """See the port."""
        return "x-gitlab-event" in headers

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """One push of several refs gives several events of one UUID; the idempotency key is of one event alone."""
        if key := headers.get("idempotency-key"):
            return key
        event = headers.get("x-gitlab-event-uuid", "")
        return f"{event}:{hashlib.sha256(body).hexdigest()}" if event else ""

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See the port."""
        if "webhook-signature" in headers:
            return _has_signature(headers, body, secret)
        return is_secret(headers.get("x-gitlab-token", ""), secret)

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """See the port."""
        event = headers.get("x-gitlab-event", "")
        sent_at = _moment(headers.get("webhook-timestamp", "")) if "webhook-signature" in headers else None
        if event not in ("Push Hook", "Tag Push Hook"):
            other = parsed_body(body, _Other)
            return Delivery(repository=other.project.path_with_namespace if other.project else "", event=event)
        push = parsed_body(body, _Push)
        move = _move(push)
        return Delivery(
            repository=push.project.path_with_namespace,
            event=event,
            moves=(move,) if move and move.ref.commit else (),
            gone=(move.ref,) if move and not move.ref.commit else (),
            pusher=push.user_username,
            sent_at=sent_at,
        )


def _move(push: _Push) -> Move | None:
    # "after" of an annotated tag is the tag object, "checkout_sha" the commit.
    commit = push.checkout_sha or push.after
    ref = parsed_ref(push.ref, real_commit(push.after) and commit)
    told = next((each for each in push.commits if each.id == commit), _PushedCommit())
    author = f"{told.author.name} <{told.author.email}>" if told.author.name else ""
    return Move(ref=ref, before=real_commit(push.before), message=told.message, author=author) if ref else None


def _has_signature(headers: Headers, body: bytes, secret: str) -> bool:
    """Check one of the signatures ``v1,BASE64``; the key is the secret, or what it holds after ``whsec_``."""
    signed = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode() + body
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except binascii.Error:
        return False
    wanted = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    shown = [each.partition(",")[2] for each in headers["webhook-signature"].split(" ") if each.startswith("v1,")]
    return bool(secret) and any(hmac.compare_digest(wanted.encode(), each.encode()) for each in shown)


def _moment(seconds: str) -> datetime | None:
    in_range = seconds.isascii() and seconds.isdigit() and len(seconds) <= 10
    return datetime.fromtimestamp(int(seconds), UTC) if in_range else None
