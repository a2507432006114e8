"""The forges of this installation, as the setting ``forges`` names them.

Each word of the setting is ``KIND+https://HOST``, with ``CLIENT_ID:CLIENT_SECRET@`` before the host where the hub is
registered there as an OAuth application; without, users paste a token.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

import aiohttp
import msgspec

from hythe.builds.configuration import Forge
from hythe.egress import EgressResolver, is_metadata_address
from hythe.forges.bitbucket import Bitbucket, BitbucketHooks
from hythe.forges.errors import ForgeError
from hythe.forges.git import advertised
from hythe.forges.gitea import Gitea, GiteaHooks
from hythe.forges.github import GitHub, GitHubHooks
from hythe.forges.gitlab import GitLab, GitLabHooks
from hythe.forges.port import Headers, Hooks, Source
from hythe.forges.source_ref import SourceRef
from hythe.hub.errors import NotFound
from hythe.settings import SettingsError

AnySource: TypeAlias = GitHub | GitLab | Gitea | Bitbucket

SOURCES: dict[str, type[AnySource]] = {
    "github": GitHub,
    "bitbucket": Bitbucket,
    "gitlab": GitLab,
    "gitea": Gitea,
    "forgejo": Gitea,
}

HOOKS: tuple[tuple[Forge, Hooks], ...] = (
    # Gitea and Forgejo send GitHub's headers, too: they come before it.
    (Forge.GITEA, GiteaHooks()),
    (Forge.GITLAB, GitLabHooks()),
    (Forge.BITBUCKET, BitbucketHooks()),
    (Forge.GITHUB, GitHubHooks()),
)


def hooks_of(headers: Headers) -> tuple[Forge, Hooks] | None:
    """Return which forge a webhook request comes from, by its headers; None: from none that we know."""
    return next(((kind, hooks) for kind, hooks in HOOKS if hooks.knows(headers)), None)


class OAuthClient(msgspec.Struct, frozen=True):
    """The hub as a forge knows it; no ``id``: it does not."""

    id: str = ""
    secret: str = ""


class ForgeSetting(msgspec.Struct, frozen=True):
    """One word of the setting."""

    kind: str
    url: str
    client: OAuthClient


def parse_forges(setting: str) -> tuple[ForgeSetting, ...]:
    """Return the forges that the setting names. Raises SettingsError."""
    return tuple(_parse_word(word) for word in setting.split())


def _parse_word(word: str) -> ForgeSetting:
    kind, _, url = word.partition("+")
    parts = urlsplit(url)
    if kind not in SOURCES or parts.scheme not in ("http", "https") or not parts.hostname:
        shown = f"{kind}+.." if "@" in url else repr(word)
        raise SettingsError(f"forges: {shown}: write KIND+https://HOST, KIND one of {', '.join(SOURCES)}")
    client = OAuthClient(unquote(parts.username or ""), unquote(parts.password or ""))
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    return ForgeSetting(kind, address, client)


class KnownForges:
    """The forges that accounts can be linked with, and the connections to them."""

    def __init__(
        self, session: aiohttp.ClientSession, outside: aiohttp.ClientSession, settings: Sequence[ForgeSetting]
    ) -> None:
        """``session`` is for the forges of the setting, ``outside`` for whatever addresses users name."""
        self.session = session
        self._outside = outside
        self._sources: dict[str, AnySource] = {each.url: SOURCES[each.kind](session, each.url) for each in settings}
        self._clients = {each.url: each.client for each in settings}

    @property
    def all(self) -> tuple[Source, ...]:
        """Every forge, in the order of the setting."""
        return tuple(self._sources.values())

    def get(self, url: str) -> Source:
        """Return the forge at this address. Raises NotFound."""
        source = self._sources.get(url.rstrip("/"))
        if source is None:
            raise NotFound(f"{url} is not a forge that this hub is set up for", "ask the administrator to add it")
        return source

    def oauth_client(self, source: Source) -> OAuthClient:
        """Return what the hub is at this forge."""
        return self._clients[source.url]

    async def advertised(self, url: str) -> tuple[str, tuple[SourceRef, ...]]:
        """Return the default branch and the refs of a public address. Raises like ``forges.git.advertised``."""
        return await advertised(self._outside, url)

    async def default_branch(self, url: str) -> str:
        """Return the default branch of a public address; empty where it cannot be told."""
        try:
            return (await self.advertised(url))[0]
        except ForgeError:
            return ""


@asynccontextmanager
async def open_forges(setting: str) -> AsyncIterator[KnownForges]:
    """Open the forges of the setting until the block ends. Raises SettingsError."""
    named = parse_forges(setting)
    connector = aiohttp.TCPConnector(resolver=EgressResolver(is_metadata_address), use_dns_cache=False)
    async with (
        aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session,
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as outside,
    ):
        yield KnownForges(session, outside, named)
