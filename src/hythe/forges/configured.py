"""The forges that the setting ``forges`` names, and the connections to them.

Each item of the setting is ``KIND+https://HOST``, with ``CLIENT_ID:CLIENT_SECRET@`` before the host if the hub is
registered there as an OAuth application. Without it, users link accounts by pasting a token.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote

import aiohttp
import msgspec
from yarl import URL

from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import EgressPolicy
from hythe.forges.adapters import adapters_by_name
from hythe.forges.errors import ForgeError, UnknownForge
from hythe.forges.git import list_refs
from hythe.forges.port import Forge, OAuthClient
from hythe.forges.rest import RestForge
from hythe.forges.source_ref import SourceRef
from hythe.settings import InvalidValue
from hythe.settings.addresses import parse_http_url
from hythe.telemetry.http_tracing import http_tracing

SSH_PORT = 22


class ForgeSetting(msgspec.Struct, frozen=True):
    """One item of the setting ``forges``."""

    kind: str
    url: str
    client: OAuthClient


def parse_forges(setting: str) -> tuple[ForgeSetting, ...]:
    """Return the forges that the setting names. Raises InvalidValue."""
    # An item without @ can be part of a secret with a space in it.
    forges = tuple(_parse_item(item, is_secret="@" in setting and "@" not in item) for item in setting.split())
    for forge in forges:
        if [each.url for each in forges].count(forge.url) > 1:
            raise InvalidValue(forge.url, "two items name this forge: use one")
    return forges


def _parse_item(item: str, *, is_secret: bool) -> ForgeSetting:
    kind, _, url = item.partition("+")
    known = adapters_by_name()
    advice = f"use KIND+https://HOST, where KIND is one of {', '.join(known)}"
    if kind not in known:
        raise InvalidValue(item, advice, secret=is_secret)
    try:
        parts = parse_http_url(url, user_info=True, path=True)
    except InvalidValue as error:
        raise InvalidValue(item, f"{advice}: {error.advice}", secret=is_secret) from None
    client = OAuthClient(unquote(parts.username or ""), unquote(parts.password or ""))
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    return ForgeSetting(kind, address, client)


def forge_hosts(setting: str) -> tuple[str, ...]:
    """Return ``HOST:PORT`` of the forges, for their own scheme and for SSH: sources there are fetched wherever it is.

    Forges on loopback are left out: a worker on another machine has a loopback of its own. Raises SettingsError.
    """
    urls = [URL(forge.url) for forge in parse_forges(setting)]
    remote = [url for url in urls if url.raw_host not in ("localhost", "::1") and "//127." not in str(url)]
    return tuple(f"{url.raw_host}:{port}" for url in remote for port in dict.fromkeys((url.port, SSH_PORT)))


class ConfiguredForges:
    """The forges that users can link accounts of."""

    def __init__(
        self, session: aiohttp.ClientSession, egress_session: aiohttp.ClientSession, settings: Sequence[ForgeSetting]
    ) -> None:
        """``session`` connects to the forges of the setting, ``egress_session`` to URLs that users enter."""
        self.session = session
        self._egress_session = egress_session
        known = adapters_by_name()
        self._forges: dict[str, RestForge] = {each.url: known[each.kind].forge(session, each.url) for each in settings}
        self._clients = {each.url: each.client for each in settings}

    @property
    def all(self) -> tuple[Forge, ...]:
        """Every forge, in the order of the setting."""
        return tuple(self._forges.values())

    def get(self, url: str) -> Forge:
        """Return the forge at this URL. Raises UnknownForge."""
        forge = self._forges.get(url.rstrip("/"))
        if forge is None:
            raise UnknownForge(f"this hub does not know the forge {url}", "ask the administrator to add it")
        return forge

    def oauth_client(self, forge: Forge) -> OAuthClient:
        """Return the OAuth application that the hub is registered as at this forge."""
        return self._clients[forge.url]

    async def list_refs(self, url: str) -> tuple[str, tuple[SourceRef, ...]]:
        """Return the default branch and the refs of a public git URL. Raises like ``git.list_refs``."""
        is_forge = any(url.startswith(f"{forge}/") for forge in self._forges)
        return await list_refs(self.session if is_forge else self._egress_session, url)

    async def default_branch(self, url: str) -> str:
        """Return the default branch of a public git URL, or "" if it cannot be read."""
        try:
            return (await self.list_refs(url))[0]
        except ForgeError:
            return ""


@asynccontextmanager
async def open_forges(setting: str, policy: EgressPolicy) -> AsyncIterator[ConfiguredForges]:
    """Open the forges of the setting until the block ends; URLs that users enter obey ``policy``.

    Raises SettingsError.
    """
    settings = parse_forges(setting)
    async with (
        aiohttp.ClientSession(
            trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=http_tracing()
        ) as session,
        open_egress_session(policy) as egress_session,
    ):
        yield ConfiguredForges(session, egress_session, settings)
