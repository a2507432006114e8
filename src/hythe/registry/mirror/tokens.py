"""The ``Authorization`` headers for an upstream: its tokens (distribution, "Token"), or Basic credentials."""

import time
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec

from hythe.oci.challenge import Challenge
from hythe.oci.received_token import InvalidTokenReply, ReceivedToken
from hythe.oci.scope import PULL, Scope
from hythe.registry.mirror.errors import UpstreamInvalid, UpstreamRejected, quote, quote_text
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.responses import address_of, check_status, read_body
from hythe.registry.mirror.upstreams import Upstream

TOKEN_MARGIN = 10
"""Seconds before its expiry at which a token is renewed."""

MAX_TOKENS = 1000
"""Maximum number of cached tokens, one for each repository: clients choose the names."""

MAX_REPLY_SIZE = 1024 * 1024
"""Maximum number of bytes of a token server's response."""


class _Token(msgspec.Struct, frozen=True):
    header: str
    expires_at: float


class UpstreamTokens:
    """The tokens for one upstream, cached for each repository. Repository names are the upstream's."""

    def __init__(self, session: aiohttp.ClientSession, upstream: Upstream, pauses: Pauses) -> None:
        self._session = session
        self._upstream = upstream
        self._pauses = pauses
        self._tokens: dict[str, _Token] = {}
        self.preemptive = False
        """Whether the credentials are sent at once, and no token is asked for."""

    def __len__(self) -> int:
        return len(self._tokens)

    def cached(self, repository: str) -> dict[str, str]:
        """Return the headers with the cached token of a repository, if there is one."""
        if self.preemptive:
            return {"Authorization": self._basic_authorization()}
        token = self._tokens.get(repository)
        return {"Authorization": token.header} if token and token.expires_at > time.monotonic() else {}

    async def fetch(self, repository: str, challenge: Challenge, url: str) -> str:
        """Return the header that answers a challenge of ``url``. Raises UpstreamError, and the errors of aiohttp."""
        if challenge.scheme == "basic":
            return self._basic_authorization()
        realm = urljoin(url, challenge.parameters.get("realm", ""))
        if challenge.scheme != "bearer" or not realm.startswith(("http://", "https://")):
            raise UpstreamInvalid(
                f"{self._upstream.address} requires unsupported authentication{quote_text(challenge.scheme)}"
            )
        if self._upstream.user and url.startswith("https://") and realm.startswith("http://"):
            raise UpstreamInvalid(
                f"the token server of {self._upstream.address} does not use TLS: no credentials are sent"
            )
        parameters = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get("scope") or str(Scope.repository(repository, PULL)),
        }
        headers = {"Authorization": self._basic_authorization()} if self._upstream.user else {}
        async with self._session.get(realm, params=parameters, headers=headers) as response:
            await self.require_accepted(response)
            await check_status(response, self._upstream, self._pauses)
            reply = _parse(await read_body(response, MAX_REPLY_SIZE), urlsplit(realm).netloc)
        if len(self._tokens) >= MAX_TOKENS:
            self._tokens.clear()
        header = f"Bearer {reply.token}"
        self._tokens[repository] = _Token(header, time.monotonic() + reply.seconds - TOKEN_MARGIN)
        return header

    async def require_accepted(self, response: aiohttp.ClientResponse) -> None:
        """Raise UpstreamInvalid if credentials are wrong or missing, which is not the same as a missing image."""
        if response.status == 401:
            problem = (
                "rejected the credentials" if self._upstream.user else "requires credentials: write https://USER:TOKEN@"
            )
            said = quote(await read_body(response, truncate=True))
            raise UpstreamRejected(f"{address_of(response)} {problem}{said}")

    def _basic_authorization(self) -> str:
        return aiohttp.encode_basic_auth(self._upstream.user, self._upstream.password)


def _parse(content: bytes, host: str) -> ReceivedToken:
    try:
        return ReceivedToken.parse(content)
    except InvalidTokenReply as error:
        raise UpstreamInvalid(f"the token server {host} sent no token{quote(content)}") from error
