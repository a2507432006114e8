"""The metadata and keys of an OpenID Connect issuer (OpenID Connect Discovery 1.0), cached for a while."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.http import ProviderHTTP

CACHE_SECONDS = 3600.0
"""After this time, metadata and keys are read again."""

MIN_KEY_INTERVAL = 60.0
"""Minimum seconds between two reads of the keys because of an unknown key ID, which anyone can send."""

MAX_KEYS = 100

WELL_KNOWN = "/.well-known/openid-configuration"

T = TypeVar("T")


class Metadata(msgspec.Struct, frozen=True):
    """What an issuer publishes about itself."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]] = []


class _Cached(msgspec.Struct, frozen=True):
    value: Any
    read_at: float


class Issuer:
    """One issuer: its metadata and the keys that sign its tokens. Concurrent readers wait for one request."""

    def __init__(
        self, http: ProviderHTTP, issuer: str, title: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``issuer`` is the URL that the operator configured; a slash at its end makes no difference."""
        self._http = http
        self._url = issuer.rstrip("/")
        self._title = title
        self._clock = clock
        self._lock = asyncio.Lock()
        self._metadata: _Cached | None = None
        self._keys: _Cached | None = None

    async def metadata(self) -> Metadata:
        """Return the issuer's metadata. Raises ProviderUnavailable."""
        async with self._lock:
            return await self._read_metadata()

    async def keys(self, key_id: str | None) -> list[Key]:
        """Return the keys with this ID, or all keys without an ID. Raises ProviderUnavailable.

        An unknown ID makes the hub read the keys again, at most once in MIN_KEY_INTERVAL.
        """
        async with self._lock:
            known = await self._read_keys(CACHE_SECONDS)
            if not (found := _with_id(known, key_id)):
                found = _with_id(await self._read_keys(MIN_KEY_INTERVAL), key_id)
            return found

    async def _read_metadata(self) -> Metadata:
        cached = self._metadata
        if cached is None or self._clock() - cached.read_at > CACHE_SECONDS:
            metadata = await self._http.get(self._url + WELL_KNOWN, Metadata)
            self._require_consistent(metadata)
            cached = self._metadata = _Cached(metadata, self._clock())
        found: Metadata = cached.value
        return found

    def _require_consistent(self, metadata: Metadata) -> None:
        """Check that the metadata are those of the configured issuer, and as safe as its own URL."""
        if metadata.issuer.rstrip("/") != self._url:
            raise ProviderUnavailable(
                f"{self._title} calls itself {metadata.issuer[:200]!r}, not {self._url!r}",
                "an administrator can correct the issuer in the setting identity_providers",
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
                raise ProviderUnavailable(f"{self._title} has an endpoint without HTTPS: {url[:200]}")

    async def _read_keys(self, max_age: float) -> list[Key]:
        cached = self._keys
        if cached is None or self._clock() - cached.read_at > max_age:
            listed = await self._http.get((await self._read_metadata()).jwks_uri, _KeySet)
            cached = self._keys = _Cached(_imported(listed.keys[:MAX_KEYS]), self._clock())
        found: list[Key] = cached.value
        return found


def _imported(listed: list[dict[str, Any]]) -> list[Key]:
    """Return the public keys for signatures; those of kinds that we do not know are left out."""
    keys: list[Key] = []
    for each in listed:
        if each.get("use", "sig") != "sig" or each.get("kty") not in ("RSA", "EC"):
            continue
        try:
            keys.append(JWKRegistry.import_key(each))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return keys


def _with_id(keys: list[Key], key_id: str | None) -> list[Key]:
    return [key for key in keys if key_id is None or key.kid == key_id]
