"""GitHub, and GitHub Enterprise at its own address.

REST API version 2022-11-28; webhooks as documented under "Validating webhook deliveries" and "Webhook events".
"""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

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
    UnreadableDelivery,
    parsed_body,
    parsed_ref,
    real_commit,
)
from hythe.forges.signatures import is_prefixed_hmac
from hythe.forges.source_ref import SourceRef, SourceType

PAGE = 100
SEARCHED_PAGES = 10
"""Pages of own repositories that a search looks through: GitHub has no search over what a token reaches."""


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
    description: str | None = None
    permissions: _Permissions = _Permissions()

    def value(self) -> ForgeRepository:
        return ForgeRepository(
            name=self.full_name,
            clone_url=self.clone_url,
            ssh_url=self.ssh_url,
            default_branch=self.default_branch,
            private=self.private,
            admin=self.permissions.admin,
            description=self.description or "",
        )


class _Commit(msgspec.Struct, frozen=True):
    sha: str


class _Ref(msgspec.Struct, frozen=True):
    name: str
    commit: _Commit


class GitHub:
    """GitHub at one address."""

    kind = Forge.GITHUB
    public = Rights(
        ("repo:status", "admin:repo_hook"),
        "install webhooks and write commit statuses; what is public it may read without asking, and no code is written",
    )
    private = Rights(
        ("repo",),
        "the same for private repositories; GitHub has no smaller right for that, although nothing is ever pushed",
    )

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        host = urlsplit(url).hostname or ""
        self._session = session
        self.url = url
        self.title = "GitHub" if host == "github.com" else f"GitHub Enterprise at {host}"
        self.api = "https://api.github.com" if host == "github.com" else f"{url}/api/v3"
        self.oauth = OAuthAddresses(f"{url}/login/oauth/authorize", f"{url}/login/oauth/access_token")
        self.token_page = f"{url}/settings/tokens"

    def client(self, token: str) -> "GitHubClient":
        """See port.Source."""
        headers = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": "2022-11-28"}
        return GitHubClient(API(self._session, self.api, self.title, headers))


class GitHubClient(GitHubFormClient):
    """See port.ForgeClient."""

    async def account(self) -> ForgeAccount:
        """See the port."""
        answer = await self._api.send("GET", "/user")
        user = answer.parsed(_User)
        scopes = answer.headers.get("x-oauth-scopes", "").split(",")
        return ForgeAccount(str(user.id), user.login, tuple(scope.strip() for scope in scopes if scope.strip()))

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See the port."""
        if not query:
            return await self._page(page)
        found: list[ForgeRepository] = []
        for number in range(1, SEARCHED_PAGES + 1):
            some = await self._page(number)
            found += [each for each in some.items if query.lower() in each.name.lower()]
            if not some.more:
                break
        return RepositoryPage(tuple(found))

    async def _page(self, page: int) -> RepositoryPage:
        answer = await self._api.send("GET", "/user/repos", query={"sort": "pushed", "per_page": PAGE, "page": page})
        return RepositoryPage(tuple(each.value() for each in answer.parsed(list[_Repository])), has_next(answer))

    async def repository(self, name: str) -> ForgeRepository:
        """See the port."""
        return (await self._api.get(repository_path(name), _Repository)).value()

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See the port."""
        branches = await self._api.pages(f"{repository_path(name)}/branches", _Ref, MOST_REFS, per_page=PAGE)
        tags = await self._api.pages(f"{repository_path(name)}/tags", _Ref, MOST_REFS, per_page=PAGE)
        return (
            *(SourceRef(SourceType.BRANCH, ref.name, ref.commit.sha) for ref in branches),
            *(SourceRef(SourceType.TAG, ref.name, ref.commit.sha) for ref in tags),
        )

    async def add_hook(self, name: str, url: str, secret: str) -> str:
        """See the port."""
        config = {"url": url, "content_type": "json", "secret": secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push"], "config": config}
        return await self.make_hook(name, body)


class _Author(msgspec.Struct, frozen=True):
    name: str = ""
    email: str = ""
    login: str = ""


class _HeadCommit(msgspec.Struct, frozen=True):
    id: str = ""
    message: str = ""
    author: _Author = _Author()


class _PushedRepository(msgspec.Struct, frozen=True):
    full_name: str
    pushed_at: int | str | None = None


class _Push(msgspec.Struct, frozen=True):
    ref: str
    after: str
    repository: _PushedRepository
    before: str = ""
    deleted: bool = False
    head_commit: _HeadCommit | None = None
    pusher: _Author = _Author()


class _Other(msgspec.Struct, frozen=True):
    repository: _PushedRepository | None = None


class GitHubHooks:
    """See port.Hooks. "X-Hub-Signature-256: sha256=HEX" over the raw body."""

    def knows(self, headers: Headers) -> bool:
        """See the port."""
        return "x-github-event" in headers

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """See the port."""
        return headers.get("x-github-delivery", "")

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See the port."""
        return is_prefixed_hmac(headers.get("x-hub-signature-256", ""), secret, body)

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """See the port."""
        body = _json_of(headers, body)
        event = headers.get("x-github-event", "")
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
            pusher=push.pusher.name or push.pusher.login,
            sent_at=_moment(push.repository.pushed_at),
        )


def _json_of(headers: Headers, body: bytes) -> bytes:
    """Return the JSON, also of a form: the content type that GitHub proposes to who pastes a webhook."""
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return body
    try:
        fields = parse_qs(body.decode("ascii", errors="replace"), max_num_fields=10)
    except ValueError as error:
        raise UnreadableDelivery(f"the body is not a form of GitHub's: {error}") from error
    return fields.get("payload", [""])[0].encode()


def _move(push: _Push) -> Move | None:
    commit = push.head_commit or _HeadCommit()
    # The head commit's id is the commit even of an annotated tag, of which "after" names the tag object.
    ref = parsed_ref(push.ref, "" if push.deleted else real_commit(commit.id) or push.after)
    author = f"{commit.author.name} <{commit.author.email}>" if commit.author.name else ""
    return Move(ref=ref, before=real_commit(push.before), message=commit.message, author=author) if ref else None


def _moment(pushed_at: int | str | None) -> datetime | None:
    """Seconds since 1970 in push events, unlike in the rest of the API."""
    in_range = isinstance(pushed_at, int) and 0 < pushed_at < 1 << 33
    return datetime.fromtimestamp(pushed_at, UTC) if in_range and isinstance(pushed_at, int) else None
