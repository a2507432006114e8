"""Gitea and Forgejo: one API (``/api/v1``), one form of webhooks. Forgejo signs under its own header name, too."""

from urllib.parse import urlsplit

import aiohttp
import msgspec

from hythe.builds.configuration import Forge
from hythe.forges.api import API, has_next
from hythe.forges.github_form import GitHubFormClient, repository_path
from hythe.forges.port import (
    MOST_REFS,
    Delivery,
    ForgeAccount,
    ForgeRepository,
    Headers,
    Move,
    OAuthAddresses,
    RepositoryPage,
    Rights,
    parsed_body,
    parsed_ref,
    real_commit,
)
from hythe.forges.signatures import is_hmac
from hythe.forges.source_ref import SourceRef, SourceType

PAGE = 50


class _User(msgspec.Struct, frozen=True):
    id: int
    login: str


class _Permissions(msgspec.Struct, frozen=True):
    admin: bool = False


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    clone_url: str
    ssh_url: str
    default_branch: str
    private: bool
    description: str = ""
    permissions: _Permissions | None = None

    def value(self) -> ForgeRepository:
        return ForgeRepository(
            name=self.full_name,
            clone_url=self.clone_url,
            ssh_url=self.ssh_url,
            default_branch=self.default_branch,
            private=self.private,
            admin=bool(self.permissions and self.permissions.admin),
            description=self.description,
        )


class _Found(msgspec.Struct, frozen=True):
    data: list[_Repository]


class _BranchCommit(msgspec.Struct, frozen=True):
    id: str


class _Branch(msgspec.Struct, frozen=True):
    name: str
    commit: _BranchCommit


class _TagCommit(msgspec.Struct, frozen=True):
    sha: str


class _Tag(msgspec.Struct, frozen=True):
    name: str
    commit: _TagCommit


class Gitea:
    """Gitea or Forgejo at one address."""

    kind = Forge.GITEA
    public = Rights(
        ("read:user", "write:repository"),
        "read your repositories, install webhooks and deploy keys, and write commit statuses; "
        "the forge has no smaller right for that, although nothing is ever pushed",
    )
    private = public

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.title = f"Gitea or Forgejo at {urlsplit(url).netloc}"
        self.oauth = OAuthAddresses(f"{url}/login/oauth/authorize", f"{url}/login/oauth/access_token")
        self.token_page = f"{url}/user/settings/applications"

    def client(self, token: str) -> "GiteaClient":
        """See port.Source."""
        headers = {"Authorization": f"Bearer {token}"}
        return GiteaClient(API(self._session, f"{self.url}/api/v1", self.title, headers))


class GiteaClient(GitHubFormClient):
    """See port.ForgeClient."""

    async def account(self) -> ForgeAccount:
        """See the port."""
        user = await self._api.get("/user", _User)
        return ForgeAccount(str(user.id), user.login)

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See the port."""
        user = await self._api.get("/user", _User)
        asked: dict[str, str | int] = {"q": query, "uid": user.id, "sort": "updated", "order": "desc"}
        answer = await self._api.send("GET", "/repos/search", query={**asked, "limit": PAGE, "page": page})
        return RepositoryPage(tuple(each.value() for each in answer.parsed(_Found).data), has_next(answer))

    async def repository(self, name: str) -> ForgeRepository:
        """See the port."""
        return (await self._api.get(repository_path(name), _Repository)).value()

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See the port."""
        branches = await self._api.pages(f"{repository_path(name)}/branches", _Branch, MOST_REFS, limit=PAGE)
        tags = await self._api.pages(f"{repository_path(name)}/tags", _Tag, MOST_REFS, limit=PAGE)
        return (
            *(SourceRef(SourceType.BRANCH, ref.name, ref.commit.id) for ref in branches),
            *(SourceRef(SourceType.TAG, ref.name, ref.commit.sha) for ref in tags),
        )

    async def add_hook(self, name: str, url: str, secret: str) -> str:
        """See the port."""
        config = {"url": url, "content_type": "json", "secret": secret}
        body = {"type": "gitea", "active": True, "events": ["push", "delete"], "config": config}
        return await self.make_hook(name, body)


class _Author(msgspec.Struct, frozen=True):
    name: str = ""
    email: str = ""
    login: str = ""


class _Commit(msgspec.Struct, frozen=True):
    id: str = ""
    message: str = ""
    author: _Author = _Author()


class _PushedRepository(msgspec.Struct, frozen=True):
    full_name: str


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    repository: _PushedRepository
    before: str = ""
    head_commit: _Commit | None = None
    pusher: _Author = _Author()


class _Delete(msgspec.Struct, frozen=True):
    ref: str
    ref_type: str
    repository: _PushedRepository


_FOLDERS = {"branch": "heads", "tag": "tags"}


class _Other(msgspec.Struct, frozen=True):
    repository: _PushedRepository | None = None


class GiteaHooks:
    """See port.Hooks. "X-Gitea-Signature" or "X-Forgejo-Signature": bare hex HMAC-SHA-256 over the raw body."""

    def knows(self, headers: Headers) -> bool:
        """See the port."""
        return "x-gitea-event" in headers or "x-forgejo-event" in headers

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """See the port."""
        return headers.get("x-gitea-delivery") or headers.get("x-forgejo-delivery", "")

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See the port."""
        shown = headers.get("x-gitea-signature") or headers.get("x-forgejo-signature", "")
        return is_hmac(shown, secret, body)

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """See the port."""
        event = headers.get("x-gitea-event") or headers.get("x-forgejo-event", "")
        if event == "delete":
            deleted = parsed_body(body, _Delete)
            gone = parsed_ref(f"refs/{_FOLDERS.get(deleted.ref_type, '')}/{deleted.ref}", "")
            return Delivery(repository=deleted.repository.full_name, event=event, gone=(gone,) if gone else ())
        if event != "push":
            other = parsed_body(body, _Other)
            return Delivery(repository=other.repository.full_name if other.repository else "", event=event)
        push = parsed_body(body, _Push)
        move = _move(push)
        return Delivery(
            repository=push.repository.full_name,
            event=event,
            moves=(move,) if move and move.ref.commit else (),
            gone=(move.ref,) if move and not move.ref.commit else (),
            pusher=push.pusher.login or push.pusher.name,
        )


def _move(push: _Push) -> Move | None:
    commit = push.head_commit or _Commit()
    # "after" of an annotated tag may name the tag object, the head commit is the commit.
    ref = parsed_ref(push.ref, real_commit(push.after) and (real_commit(commit.id) or push.after))
    author = f"{commit.author.name} <{commit.author.email}>" if commit.author.name else ""
    return Move(ref=ref, before=real_commit(push.before), message=commit.message, author=author) if ref else None
