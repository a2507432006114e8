"""The public keys of issuers of ID tokens, by OpenID Connect Discovery (``/.well-known/openid-configuration``).

Owners of namespaces name issuers, so every request goes through ``hythe.egress`` and has limits of time and size, and
what one account's issuers take does not displace or delay those of others.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import msgspec

from hythe.egress.http_session import egress_denial, open_egress_session
from hythe.egress.policy import EgressPolicy
from hythe.hub.errors import IssuerUnavailable

DISCOVERY_PATH = "/.well-known/openid-configuration"

MAX_SIZE = 64 * 1024
"""Maximum bytes of a document of an issuer."""

MAX_KEYS = 100

TIMEOUT = 5.0
"""Seconds for each of the two documents."""

FRESH = 600.0
"""Seconds for which keys are used without another look."""

STALE = 3600.0
"""Seconds for which keys are used while the issuer cannot be read."""

RETRY = 60.0
"""Minimum seconds between two looks, for an unknown key or after a failure."""

MAX_ISSUERS = 200
"""Issuers whose keys are cached."""

MAX_ISSUERS_OF_ACCOUNT = 10

MAX_REQUESTS = 32
"""Issuers that are read at the same time."""

MAX_REQUESTS_OF_ACCOUNT = 2

JSONWebKey = Mapping[str, Any]
T = TypeVar("T")


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


@dataclass
class _Cached:
    """What is known of an issuer. ``account_id``: whose rule caused the look."""

    account_id: int
    keys: tuple[JSONWebKey, ...] = ()
    read_at: float = float("-inf")
    tried_at: float = float("-inf")
    problem: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """Reads and caches the keys of issuers."""

    def __init__(self, policy: EgressPolicy, timer: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._timer = timer
        self._cache: dict[str, _Cached] = {}
        self._reading: list[int] = []
        self._tls: ssl.SSLContext | None = None

    async def candidates(self, issuer: str, key_id: str | None, account_id: int) -> tuple[JSONWebKey, ...]:
        """Return the keys that can have made a signature: the one with the id, or all if the token names none.

        ``account_id``: the account that trusts the issuer. Raises IssuerUnavailable.
        """
        cached = self._cached(issuer, account_id)
        found = _with_id(cached.keys, key_id)
        if self._timer() - cached.read_at < FRESH and found:
            return found
        async with cached.turn:
            if self._timer() - cached.tried_at >= RETRY:
                await self._look(issuer, cached, account_id)
        if self._timer() - cached.read_at >= STALE:
            raise IssuerUnavailable(f"the keys of {issuer} cannot be read: {cached.problem}")
        return _with_id(cached.keys, key_id)

    def _cached(self, issuer: str, account_id: int) -> _Cached:
        cached = self._cache.pop(issuer, None)
        if cached is None:
            cached = _Cached(account_id)
            own = [url for url, each in self._cache.items() if each.account_id == account_id]
            if len(own) >= MAX_ISSUERS_OF_ACCOUNT:
                del self._cache[own[0]]
            elif len(self._cache) >= MAX_ISSUERS:
                del self._cache[next(iter(self._cache))]
        self._cache[issuer] = cached  # the last one, which is displaced last
        return cached

    async def _look(self, issuer: str, cached: _Cached, account_id: int) -> None:
        if len(self._reading) >= MAX_REQUESTS or self._reading.count(account_id) >= MAX_REQUESTS_OF_ACCOUNT:
            raise IssuerUnavailable("too many issuers are being read at this time", "try again in a few seconds")
        self._reading.append(account_id)
        cached.tried_at = self._timer()
        try:
            cached.keys = await self._read(issuer)
            cached.read_at, cached.problem = self._timer(), ""
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            cached.problem = _described(error)
        finally:
            self._reading.remove(account_id)

    async def _read(self, issuer: str) -> tuple[JSONWebKey, ...]:
        tls = self._tls
        if tls is None:
            tls = self._tls = await asyncio.to_thread(ssl.create_default_context)
        async with open_egress_session(self._policy, timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
            discovery = await _document(session, tls, issuer.rstrip("/") + DISCOVERY_PATH, _Discovery)
            if discovery.issuer != issuer:
                raise ValueError("its discovery document is that of another issuer")
            if not discovery.jwks_uri.startswith("https://"):
                raise ValueError("its jwks_uri is not an https URL")
            key_set = await _document(session, tls, discovery.jwks_uri, _KeySet)
        if len(key_set.keys) > MAX_KEYS:
            raise ValueError(f"it has more than {MAX_KEYS} keys")
        return tuple(key for key in key_set.keys if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig")


async def _document(session: aiohttp.ClientSession, tls: ssl.SSLContext, url: str, wanted: type[T]) -> T:
    async with session.get(url, allow_redirects=False, ssl=tls) as response:
        if response.status != 200:
            raise ValueError(f"it responds with status {response.status}")
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > MAX_SIZE:
                raise ValueError(f"it responds with more than {MAX_SIZE} bytes")
    return msgspec.json.decode(bytes(content), type=wanted)


def _with_id(keys: tuple[JSONWebKey, ...], key_id: str | None) -> tuple[JSONWebKey, ...]:
    return keys if key_id is None else tuple(key for key in keys if key.get("kid") == key_id)


def _described(error: Exception) -> str:
    if denied := egress_denial(error):
        return str(denied)
    match error:
        case TimeoutError():
            return f"no response within {TIMEOUT:.0f} seconds"
        case aiohttp.ClientConnectorError():
            return "no connection"
        case msgspec.MsgspecError():
            return "its response is not what OpenID Connect Discovery describes"
        case ValueError():
            return str(error)
    return "the connection failed"
