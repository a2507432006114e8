"""The providers that the setting ``identity_providers`` names, and the connections to them.

Each item is ``NAME=KIND+https://CLIENT_ID:SECRET@HOST[/PATH][?OPTION=VALUE&..]``. NAME is part of the addresses at the
hub, and what follows KIND is the issuer, with the hub's credentials before the host. See docs/identity-providers.md.
"""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote

import aiohttp
import msgspec
from yarl import URL

from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import EgressPolicy
from hythe.forges.port import OAuthClient
from hythe.identity_providers.account_rules import AccountRules, ProviderOptions
from hythe.identity_providers.github import GitHubProvider
from hythe.identity_providers.http import ProviderHTTP
from hythe.identity_providers.oidc import ClaimNames, OpenIDProvider
from hythe.identity_providers.port import IdentityProvider
from hythe.settings import InvalidValue
from hythe.settings.addresses import parse_http_url

KINDS = ("oidc", "github")
FORM = "NAME=KIND+https://CLIENT_ID:SECRET@HOST, where KIND is oidc or github"
OPTIONS = frozenset({"title", "secret_file", "scopes", "username", "groups"})
DEFAULT_SCOPES = "openid profile email"
MAX_ISSUER_LENGTH = 255

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,38}")


class ProviderSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the setting."""

    name: str
    kind: str
    title: str
    issuer: str
    client: OAuthClient
    secret_file: str
    scopes: str
    claims: ClaimNames
    rules: AccountRules


def parse_identity_providers(setting: str) -> tuple[ProviderSetting, ...]:
    """Return the providers that the setting names. Raises InvalidValue."""
    providers = tuple(map(_parse_item, setting.split()))
    for number, provider in enumerate(providers):
        if any(provider.name == other.name for other in providers[:number]):
            raise InvalidValue(provider.name, "two providers have this name: use another one")
        if any(provider.issuer == other.issuer for other in providers[:number]):
            raise InvalidValue(provider.issuer, "two items name this provider: use one")
    return providers


def _parse_item(item: str) -> ProviderSetting:
    name, equals, rest = item.partition("=")
    kind, plus, url = rest.partition("+")
    # Anything else can be a part of a secret with a space in it, so it is not shown.
    if not equals or not plus or kind not in KINDS or not _NAME.fullmatch(name):
        raise InvalidValue(item, f"use {FORM}; NAME has lowercase letters, digits and -", secret=True)
    url, _, text = url.partition("?")
    options = ProviderOptions(item, text, OPTIONS)
    try:
        parts = parse_http_url(url, user_info=True, path=True)
    except InvalidValue as error:
        raise options.invalid(f"use {FORM}: {error.advice}") from None
    client = OAuthClient(unquote(parts.username or ""), unquote(parts.password or ""))
    issuer = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if not client.id:
        raise options.invalid(f"the client ID is missing: use {FORM}")
    if len(issuer) > MAX_ISSUER_LENGTH:
        raise options.invalid(f"the issuer is longer than {MAX_ISSUER_LENGTH} characters")
    scopes = options.text("scopes", DEFAULT_SCOPES).replace(",", " ").split()
    return ProviderSetting(
        name=name,
        kind=kind,
        title=options.text("title", name),
        issuer=issuer.rstrip("/"),
        client=client,
        secret_file=options.text("secret_file"),
        scopes=" ".join(dict.fromkeys(["openid", *scopes])),
        claims=ClaimNames(
            options.text("username", ClaimNames().user_name), options.text("groups", ClaimNames().groups)
        ),
        rules=options.rules(),
    )


def check_identity_providers(setting: str) -> None:
    """Check the setting and the files that it names. Raises InvalidValue."""
    for each in parse_identity_providers(setting):
        _client(each)


def _client(setting: ProviderSetting) -> OAuthClient:
    """Return the hub's credentials, from the file if there is one. Raises InvalidValue."""
    if not setting.secret_file:
        return setting.client
    return OAuthClient(setting.client.id, read_secret(setting.name, setting.secret_file))


def read_secret(name: str, path: str) -> str:
    """Return the secret in a file, without white space around it. Raises InvalidValue."""
    try:
        secret = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue(name, f"secret_file {path} cannot be read: {error}") from error
    if not secret:
        raise InvalidValue(name, f"secret_file {path} is empty")
    return secret


class IdentityProviders:
    """The providers by name, in the order of the setting."""

    def __init__(self, providers: Iterable[IdentityProvider] = ()) -> None:
        self._providers = {each.name: each for each in providers}

    @property
    def all(self) -> tuple[IdentityProvider, ...]:
        """Every provider."""
        return tuple(self._providers.values())

    def get(self, name: str) -> IdentityProvider | None:
        """Return the provider with this name."""
        return self._providers.get(name)

    def by_issuer(self, issuer: str) -> IdentityProvider | None:
        """Return the provider with this issuer, if it is still configured."""
        return next((each for each in self.all if each.issuer == issuer), None)


NO_PROVIDERS = IdentityProviders()
"""The providers of a hub without any."""


@asynccontextmanager
async def open_identity_providers(setting: str, policy: EgressPolicy) -> AsyncIterator[IdentityProviders]:
    """Open the providers of the setting until the block ends.

    They can be on internal addresses, because the operator named them; what their metadata names obeys ``policy``.
    Raises SettingsError.
    """
    settings = parse_identity_providers(setting)
    if not settings:
        yield IdentityProviders()
        return
    hosts = [URL(each.issuer) for each in settings]
    trusted = policy.trusting((url.host or "", url.port or 443) for url in hosts)
    async with open_egress_session(trusted) as session:
        yield IdentityProviders(_providers(session, settings))


def _providers(session: aiohttp.ClientSession, settings: Sequence[ProviderSetting]) -> Iterable[IdentityProvider]:
    for each in settings:
        http = ProviderHTTP(session, each.title)
        client = _client(each)
        if each.kind == "github":
            yield GitHubProvider(each.name, each.title, each.issuer, http, client, each.rules)
        else:
            yield OpenIDProvider(each.name, each.title, each.issuer, http, client, each.scopes, each.claims, each.rules)
