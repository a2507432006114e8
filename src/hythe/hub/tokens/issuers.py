"""Reads the issuers of ID tokens that owners of namespaces trust, and caches their keys.

Owners name issuers, so every request goes through ``hythe.egress`` and has limits of time and size, and what one
account's issuers take does not displace or delay those of others.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from hythe.egress.http_session import open_egress_session
from hythe.egress.policy import EgressPolicy
from hythe.identity_providers.discovery import Issuer
from hythe.identity_providers.errors import ProviderUnavailable
from hythe.identity_providers.http import ProviderHTTP
from hythe.identity_providers.id_token import AudienceRule, IdToken, verify_id_token

MAX_SIZE = 64 * 1024
"""Maximum bytes of a document of an issuer."""

TIMEOUT = 5.0
"""Seconds for each of the two documents."""

PAUSE = 60.0
"""Seconds after a failure in which an issuer is not asked again."""

MAX_ISSUERS = 200
"""Issuers whose keys are cached."""

MAX_ISSUERS_OF_ACCOUNT = 10

MAX_REQUESTS = 32
"""Issuers that are read at the same time."""

MAX_REQUESTS_OF_ACCOUNT = 2


class _Cached(msgspec.Struct, frozen=True):
    """An issuer. ``account_id``: whose rule caused the first look."""

    account_id: int
    issuer: Issuer


class TrustedIssuers:
    """The issuers that trust rules name."""

    def __init__(self, policy: EgressPolicy, timer: Callable[[], float] = time.monotonic) -> None:
        self._policy = policy
        self._timer = timer
        self._cache: dict[str, _Cached] = {}
        self._reading: list[int] = []
        self._tls: ssl.SSLContext | None = None

    async def verify(self, token: IdToken, require_audience: AudienceRule, account_id: int, now: datetime) -> None:
        """Verify a token whose issuer an account trusts. Raises IdTokenRejected, ProviderUnavailable."""
        issuer = self._issuer(token.issuer, account_id)
        await verify_id_token(token, issuer, lambda: self._open(token.issuer, account_id), require_audience, now)

    def _issuer(self, url: str, account_id: int) -> Issuer:
        cached = self._cache.pop(url, None)
        if cached is None:
            cached = _Cached(account_id, Issuer(url, url, self._timer, PAUSE))
            own = [other for other, each in self._cache.items() if each.account_id == account_id]
            if len(own) >= MAX_ISSUERS_OF_ACCOUNT:
                del self._cache[own[0]]
            elif len(self._cache) >= MAX_ISSUERS:
                del self._cache[next(iter(self._cache))]
        self._cache[url] = cached  # the last one, which is displaced last
        return cached.issuer

    @asynccontextmanager
    async def _open(self, url: str, account_id: int) -> AsyncIterator[ProviderHTTP]:
        """Open a client for one look at an issuer, if not too many are being read. Raises ProviderUnavailable."""
        if len(self._reading) >= MAX_REQUESTS or self._reading.count(account_id) >= MAX_REQUESTS_OF_ACCOUNT:
            raise ProviderUnavailable("too many issuers are being read at this time", "try again in a few seconds")
        self._reading.append(account_id)
        try:
            tls = self._tls
            if tls is None:
                tls = self._tls = await asyncio.to_thread(ssl.create_default_context)
            async with open_egress_session(self._policy, tls) as session:
                yield ProviderHTTP(session, url, MAX_SIZE, TIMEOUT)
        finally:
            self._reading.remove(account_id)
