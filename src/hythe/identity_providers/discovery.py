"""The metadata and keys of an OpenID Connect issuer (OpenID Connect Discovery 1.0), cached for a while."""

import asyncio
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.http import ProviderHTTP

FRESH = 600.0
"""Seconds for which metadata and keys are used without another look."""

STALE = 3600.0
"""Seconds for which they are used while the issuer cannot be read."""

MIN_KEY_INTERVAL = 60.0
"""Minimum seconds between two reads because of an unknown key ID, which anyone can send."""

PAUSE = 5.0
"""Seconds after a failure in which an issuer that the operator named is not asked again."""

MAX_KEYS = 100

RSA_BITS = range(2048, 8192 + 1)
"""Sizes of RSA keys: smaller ones are not safe, and verifying with a huge one takes long."""

MAX_EXPONENT_LENGTH = 6
"""Characters of the exponent of an RSA key in Base64, for the same reason."""

WELL_KNOWN = "/.well-known/openid-configuration"

OpenHTTP: TypeAlias = Callable[[], AbstractAsyncContextManager[ProviderHTTP]]
"""Opens a client for the requests of one look, or raises ProviderUnavailable."""


class Metadata(msgspec.Struct, frozen=True):
    """What an issuer publishes about itself."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class IssuerKey(msgspec.Struct, frozen=True):
    """A public key for signatures; without an ``algorithm`` it is for all of its type (``RSA`` or ``EC``)."""

    key_id: str | None
    type: str
    algorithm: str | None
    key: Key


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]] = []


class _Published(msgspec.Struct, frozen=True):
    metadata: Metadata
    keys: tuple[IssuerKey, ...]
    read_at: float


class Issuer:
    """One issuer: its metadata and the keys that sign its tokens. Concurrent readers wait for one request."""

    def __init__(self, url: str, title: str, clock: Callable[[], float] = time.monotonic, pause: float = PAUSE) -> None:
        """``url`` is the issuer as someone named it; a slash at its end makes no difference.

        ``title`` names it in errors, and ``pause`` is the time after a failure in which it is not asked again.
        """
        self._url = url.rstrip("/")
        self._title = title
        self._clock = clock
        self._pause = pause
        self._lock = asyncio.Lock()
        self._published: _Published | None = None
        self._failed_at = float("-inf")
        self._problem = ProviderUnavailable(f"{title} was not read yet")

    async def metadata(self, open_http: OpenHTTP) -> Metadata:
        """Return the issuer's metadata. Raises ProviderUnavailable."""
        return (await self._read(open_http, FRESH)).metadata

    async def keys(self, key_id: str | None, open_http: OpenHTTP) -> tuple[IssuerKey, ...]:
        """Return the keys with this ID, or all keys without an ID. Raises ProviderUnavailable.

        An unknown ID makes the hub read the keys again, at most once in MIN_KEY_INTERVAL.
        """
        found = _with_id((await self._read(open_http, FRESH)).keys, key_id)
        return found or _with_id((await self._read(open_http, MIN_KEY_INTERVAL)).keys, key_id)

    async def _read(self, open_http: OpenHTTP, max_age: float) -> _Published:
        if self._age() >= max_age:
            async with self._lock:
                if self._age() >= max_age and self._clock() - self._failed_at >= self._pause:
                    await self._look_if_possible(open_http)
        if self._published is None or self._age() >= STALE:
            raise ProviderUnavailable(self._problem.message, self._problem.hint)
        return self._published

    def _age(self) -> float:
        return float("inf") if self._published is None else self._clock() - self._published.read_at

    async def _look_if_possible(self, open_http: OpenHTTP) -> None:
        try:
            await self._look(open_http)
        except ProviderUnavailable:
            # There is no room for another look now, which says nothing about the issuer.
            if self._age() >= STALE:
                raise

    async def _look(self, open_http: OpenHTTP) -> None:
        """Read the issuer, and keep its error if that fails. Raises ProviderUnavailable if ``open_http`` does."""
        async with open_http() as http:
            try:
                metadata = await http.get(self._url + WELL_KNOWN, Metadata)
                self._require_consistent(metadata)
                listed = await http.get(metadata.jwks_uri, _KeySet)
                if len(listed.keys) > MAX_KEYS:
                    raise ProviderUnavailable(f"{self._title} has more than {MAX_KEYS} keys")
            except ProviderUnavailable as error:
                self._failed_at, self._problem = self._clock(), error
                return
        self._published = _Published(metadata, _imported(listed.keys), self._clock())

    def _require_consistent(self, metadata: Metadata) -> None:
        """Check that the metadata are those of this issuer, and as safe as its own URL."""
        if metadata.issuer.rstrip("/") != self._url:
            raise ProviderUnavailable(
                f"{self._title} has the metadata of another issuer, {metadata.issuer[:200]!r} instead of {self._url!r}",
                "use the issuer as it calls itself",
            )
        endpoints = (
            metadata.jwks_uri,
            metadata.authorization_endpoint,
            metadata.token_endpoint,
            metadata.userinfo_endpoint,
        )
        schemes = ("https",) if self._url.startswith("https:") else ("https", "http")
        for url in filter(None, endpoints):
            if urlsplit(url).scheme not in schemes:
                raise ProviderUnavailable(f"{self._title} has an endpoint that is not an https URL: {url[:200]}")


def _imported(listed: list[dict[str, Any]]) -> tuple[IssuerKey, ...]:
    """Return the public keys for signatures; those of unusual sizes or unknown kinds are left out."""
    keys: list[IssuerKey] = []
    for each in listed:
        kind = each.get("kty")
        if each.get("use", "sig") != "sig" or not (kind == "EC" or (kind == "RSA" and _is_usual(each))):
            continue
        try:
            keys.append(IssuerKey(each.get("kid"), kind, each.get("alg"), JWKRegistry.import_key(each)))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return tuple(keys)


def _is_usual(key: Mapping[str, Any]) -> bool:
    """Return whether an RSA key has a usual size."""
    modulus, exponent = key.get("n"), key.get("e")
    if not isinstance(modulus, str) or not isinstance(exponent, str) or len(exponent) > MAX_EXPONENT_LENGTH:
        return False
    try:
        decoded = urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    except ValueError:
        return False
    return int.from_bytes(decoded).bit_length() in RSA_BITS


def _with_id(keys: tuple[IssuerKey, ...], key_id: str | None) -> tuple[IssuerKey, ...]:
    return tuple(key for key in keys if key_id is None or key.key_id == key_id)
