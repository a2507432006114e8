"""Bitbucket Cloud: REST API 2.0, repository webhooks. (Bitbucket Data Center speaks another API; use a git address.)"""

import base64
import hashlib
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from hythe.builds.configuration import Forge
from hythe.forges.api import API
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
from hythe.forges.signatures import is_prefixed_hmac
from hythe.forges.source_ref import SourceRef, SourceType

PAGE = 100
MOST_WORKSPACES = 20

STATES = {
    StatusState.PENDING: "INPROGRESS",
    StatusState.RUNNING: "INPROGRESS",
    StatusState.SUCCESS: "SUCCESSFUL",
    StatusState.FAILURE: "FAILED",
    StatusState.CANCELLED: "STOPPED",
}


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


class _Address(msgspec.Struct, frozen=True):
    name: str = ""
    href: str = ""


class _Links(msgspec.Struct, frozen=True):
    clone: list[_Address] = []


class _Branch(msgspec.Struct, frozen=True):
    name: str = "main"


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    is_private: bool
    links: _Links
    mainbranch: _Branch | None = None
    description: str = ""

    def value(self, *, admin: bool) -> ForgeRepository:
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
    author: "_RefAuthor | None" = None


class _RefAuthor(msgspec.Struct, frozen=True):
    raw: str = ""


class _Ref(msgspec.Struct, frozen=True):
    type: str
    name: str
    target: _Target


class _Refs(msgspec.Struct, frozen=True):
    values: list[_Ref]
    next: str = ""


class _Hook(msgspec.Struct, frozen=True):
    uuid: str


class _Key(msgspec.Struct, frozen=True):
    id: int


class Bitbucket:
    """Bitbucket Cloud."""

    kind = Forge.BITBUCKET
    public = Rights(
        ("account", "repository", "repository:admin", "webhook"),
        "read your repositories, install webhooks and deploy keys, and write build statuses; "
        "the rights are those of the hub's OAuth consumer there",
    )
    private = public

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        host = urlsplit(url).netloc
        self._session = session
        self.url = url
        self.title = "Bitbucket" if host == "bitbucket.org" else f"Bitbucket at {host}"
        self.api = "https://api.bitbucket.org/2.0" if host == "bitbucket.org" else f"{url}/2.0"
        self.oauth = OAuthAddresses(f"{url}/site/oauth2/authorize", f"{url}/site/oauth2/access_token")
        self.token_page = f"{url}/account/settings/app-authorizations/"

    def client(self, token: str) -> "BitbucketClient":
        """See port.Source. ``E-MAIL:TOKEN`` is an API token of a user; without colon it is an access token."""
        if ":" in token:
            headers = {"Authorization": f"Basic {base64.b64encode(token.encode()).decode()}"}
        else:
            headers = {"Authorization": f"Bearer {token}"}
        return BitbucketClient(API(self._session, self.api, self.title, headers))


class BitbucketClient:
    """See port.ForgeClient."""

    def __init__(self, api: API) -> None:
        self._api = api

    async def account(self) -> ForgeAccount:
        """See the port."""
        answer = await self._api.send("GET", "/user")
        user = answer.parsed(_User)
        scopes = answer.headers.get("x-oauth-scopes", "").split(",")
        login = user.nickname or user.display_name
        return ForgeAccount(user.uuid, login, tuple(scope.strip() for scope in scopes if scope.strip()))

    async def repositories(self, query: str, page: int) -> RepositoryPage:
        """See the port. Workspace by workspace: Bitbucket gave up its lists over all of them."""
        spaces = await self._api.get("/user/workspaces", _Workspaces, pagelen=MOST_WORKSPACES)
        found: list[ForgeRepository] = []
        more = False
        for access in spaces.values:
            path = f"/repositories/{quote(access.workspace.slug)}"
            asked: dict[str, str | int] = {"role": "contributor", "pagelen": PAGE, "page": page}
            if query:
                asked["q"] = f'name ~ "{_escaped(query)}"'
            some = await self._api.get(path, _Repositories, **asked)
            found += [each.value(admin=False) for each in some.values]
            more = more or bool(some.next)
        return RepositoryPage(tuple(found), more)

    async def repository(self, name: str) -> ForgeRepository:
        """See the port."""
        workspace, _, slug = name.partition("/")
        found = await self._api.get(_path(name), _Repository)
        asked: dict[str, str | int] = {"role": "admin", "q": f'slug = "{_escaped(slug)}"', "pagelen": 1}
        administered = await self._api.get(f"/repositories/{quote(workspace)}", _Repositories, **asked)
        return found.value(admin=bool(administered.values))

    async def refs(self, name: str) -> tuple[SourceRef, ...]:
        """See the port."""
        found: list[SourceRef] = []
        for kind, what in ((SourceType.BRANCH, "branches"), (SourceType.TAG, "tags")):
            for page in range(1, MOST_REFS // PAGE + 1):
                some = await self._api.get(f"{_path(name)}/refs/{what}", _Refs, pagelen=PAGE, page=page)
                found += [SourceRef(kind, ref.name, ref.target.hash) for ref in some.values]
                if not some.next:
                    break
        return tuple(found)

    async def add_hook(self, name: str, url: str, secret: str) -> str:
        """See the port."""
        body = {
            "description": "Hythe Trusted Builds",
            "url": url,
            "active": True,
            "secret": secret,
            "events": ["repo:push"],
        }
        return (await self._api.post(f"{_path(name)}/hooks", body, _Hook)).uuid

    async def remove_hook(self, name: str, hook_id: str) -> None:
        """See the port."""
        await self._api.delete(f"{_path(name)}/hooks/{quote(hook_id)}")

    async def add_key(self, name: str, title: str, public_key: str) -> str:
        """See the port. Deploy keys of Bitbucket only ever read."""
        body = {"label": title, "key": public_key}
        return str((await self._api.post(f"{_path(name)}/deploy-keys", body, _Key)).id)

    async def remove_key(self, name: str, key_id: str) -> None:
        """See the port."""
        await self._api.delete(f"{_path(name)}/deploy-keys/{quote(key_id)}")

    async def set_status(self, name: str, status: CommitStatus) -> None:
        """See the port."""
        body = {
            "key": hashlib.sha256(status.context.encode()).hexdigest()[:40],
            "name": status.context,
            "state": STATES[status.state],
            "url": status.target_url,
            "description": status.description[:255],
        }
        path = f"{_path(name)}/commit/{quote(status.commit)}/statuses/build"
        await self._api.send("POST", path, body=body)


def _path(name: str) -> str:
    return f"/repositories/{quote(name)}"


def _escaped(query: str) -> str:
    return query.replace("\\", "").replace('"', "")


def _without_user(url: str) -> str:
    """Take ``USER@`` out of a clone address."""
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


class BitbucketHooks:
    """See port.Hooks. "X-Hub-Signature: sha256=HEX" over the raw body; without a secret there is no header."""

    def knows(self, headers: Headers) -> bool:
        """See the port."""
        return "x-event-key" in headers

    def delivery_id(self, headers: Headers, body: bytes) -> str:
        """See the port."""
        return headers.get("x-request-uuid", "")

    def is_signed(self, headers: Headers, body: bytes, secret: str) -> bool:
        """See the port."""
        return is_prefixed_hmac(headers.get("x-hub-signature", ""), secret, body)

    def read(self, headers: Headers, body: bytes) -> Delivery:
        """See the port. One push may move many branches and tags."""
        event = headers.get("x-event-key", "")
        push = parsed_body(body, _Push)
        changes = push.push.changes if event == "repo:push" else []
        return Delivery(
            repository=push.repository.full_name,
            event=event,
            moves=tuple(move for change in changes if (move := _move(change)) is not None),
            gone=tuple(ref for change in changes if change.new is None and (ref := _ref(change.old)) is not None),
            pusher=push.actor.nickname or push.actor.display_name if push.actor else "",
        )


def _move(change: _Change) -> Move | None:
    ref = _ref(change.new)
    if ref is None or change.new is None or not real_commit(change.new.target.hash):
        return None
    target = change.new.target
    return Move(
        ref=msgspec.structs.replace(ref, commit=target.hash),
        before=real_commit(change.old.target.hash) if change.old else "",
        message=target.message,
        author=target.author.raw if target.author else "",
    )


def _ref(ref: _Ref | None) -> SourceRef | None:
    """Return which branch or tag this is, without its commit; None for bookmarks and the like."""
    folders = {"branch": "heads", "tag": "tags"}
    return parsed_ref(f"refs/{folders.get(ref.type, '')}/{ref.name}", "") if ref else None
