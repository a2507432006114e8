"""Requests manifests and blobs from an upstream registry, with the tokens that it requires.

UpstreamError                   root
├── UpstreamMissing             the upstream does not have it, or refuses access
└── UpstreamUnavailable         the upstream does not respond, or asks to retry later
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from hythe.oci.challenge import Challenge, parse_challenges
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.oci.manifest import MANIFEST_MEDIA_TYPES
from hythe.oci.scope import PULL, Scope
from hythe.registry.mirror.upstreams import Upstream

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)
TOKEN_MARGIN = 10
"""Seconds before its expiry at which a token is renewed."""

MAX_TOKENS = 1000
"""Maximum number of cached tokens, one for each repository: clients choose the names."""

MISSING_STATUSES = (401, 403, 404)
"""Status codes of registries for missing or private content."""


class UpstreamError(Exception):
    """Root of the errors of upstream requests."""


class UpstreamMissing(UpstreamError):
    """The upstream does not have the content, or refuses access."""


class UpstreamUnavailable(UpstreamError):
    """The upstream does not respond properly; a later retry may help."""


class FetchedManifest(msgspec.Struct, frozen=True):
    """A manifest as the upstream sent it."""

    content: bytes
    media_type: str


class _Token(msgspec.Struct, frozen=True):
    header: str
    expires_at: float


class _TokenReply(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: int = 60


class UpstreamRegistry:
    """An upstream registry. Repository names are the upstream's."""

    def __init__(self, session: aiohttp.ClientSession, upstream: Upstream, manifest_size: int) -> None:
        """Send requests through ``session``; refuse manifests of more than ``manifest_size`` bytes."""
        self._session = session
        self._upstream = upstream
        self._manifest_size = manifest_size
        self._tokens: dict[str, _Token] = {}

    async def manifest_digest(self, repository: str, tag: str) -> Digest | None:
        """Return the digest of a tag; None if the upstream's HEAD response has none. Raises UpstreamError."""
        async with self._request("HEAD", repository, f"manifests/{tag}") as response:
            text = response.headers.get("Docker-Content-Digest", "")
        try:
            return Digest.parse(text)
        except InvalidDigest:
            return None

    async def manifest(self, repository: str, reference: str | Digest) -> FetchedManifest:
        """Return a manifest. Raises UpstreamError."""
        async with self._request("GET", repository, f"manifests/{reference}") as response:
            content = b""
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > self._manifest_size:
                    raise UpstreamMissing(f"its manifest has more than {self._manifest_size} bytes")
            return FetchedManifest(content, response.headers.get("Content-Type", ""))

    async def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob in bytes. Raises UpstreamError."""
        async with self._request("HEAD", repository, f"blobs/{digest}") as response:
            return _content_length(response)

    @asynccontextmanager
    async def blob(self, repository: str, digest: Digest, start: int = 0) -> AsyncIterator["BlobReply"]:
        """Open a blob at its byte ``start``. Raises UpstreamError."""
        extra_headers = {"Range": f"bytes={start}-"} if start else {}
        async with self._request("GET", repository, f"blobs/{digest}", extra_headers) as response:
            if start and response.status != 206:
                raise UpstreamUnavailable("it does not support resuming a download")
            yield BlobReply(_content_length(response), response)

    @asynccontextmanager
    async def _request(
        self, method: str, repository: str, rest: str, extra_headers: dict[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._upstream.url}/v2/{repository}/{rest}"
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity", **(extra_headers or {})}
        try:
            async with self._session.request(
                method, url, headers=headers | self._cached_authorization(repository)
            ) as response:
                challenges = parse_challenges(", ".join(response.headers.getall("WWW-Authenticate", [])))
                if response.status != 401 or not challenges:
                    _check(response)
                    yield response
                    return
            headers["Authorization"] = await self._fetch_authorization(repository, challenges[0])
            async with self._session.request(method, url, headers=headers) as response:
                if challenges[0].scheme == "basic":
                    self._check_credentials(response)
                _check(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamUnavailable(f"{self._upstream.url} does not respond: {error}") from error

    def _cached_authorization(self, repository: str) -> dict[str, str]:
        token = self._tokens.get(repository)
        return {"Authorization": token.header} if token and token.expires_at > time.monotonic() else {}

    async def _fetch_authorization(self, repository: str, challenge: Challenge) -> str:
        if challenge.scheme == "basic":
            return self._basic_authorization()
        realm = challenge.parameters.get("realm", "")
        if challenge.scheme != "bearer" or not realm.startswith(("http://", "https://")):
            raise UpstreamUnavailable(f"{self._upstream.url} requires unsupported authentication: {challenge.scheme}")
        parameters = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get("scope") or str(Scope.repository(repository, PULL)),
        }
        headers = {"Authorization": self._basic_authorization()} if self._upstream.user else {}
        async with self._session.get(realm, params=parameters, headers=headers) as response:
            if self._upstream.user:
                self._check_credentials(response)
            _check(response)
            reply = _token_reply(await response.read())
        header = f"Bearer {reply.token or reply.access_token}"
        expires_at = time.monotonic() + max(reply.expires_in, 60) - TOKEN_MARGIN
        if len(self._tokens) >= MAX_TOKENS:
            self._tokens.clear()
        self._tokens[repository] = _Token(header, expires_at)
        return header

    def _check_credentials(self, response: aiohttp.ClientResponse) -> None:
        """Distinguish wrong credentials from a missing image: the operator has to fix the former."""
        if response.status == 401:
            problem = (
                "rejected the credentials" if self._upstream.user else "requires credentials: write https://USER:TOKEN@"
            )
            raise UpstreamUnavailable(f"{response.url.host} {problem}")

    def _basic_authorization(self) -> str:
        return aiohttp.encode_basic_auth(self._upstream.user, self._upstream.password)


class BlobReply(msgspec.Struct, frozen=True):
    """An open response with ``size`` bytes to read."""

    size: int
    response: Any

    def pieces(self, size: int) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of at most ``size``."""
        pieces: AsyncIterator[bytes] = self.response.content.iter_chunked(size)
        return pieces


def _token_reply(content: bytes) -> _TokenReply:
    try:
        return msgspec.json.decode(content, type=_TokenReply)
    except msgspec.MsgspecError as error:
        raise UpstreamUnavailable(f"its token server sent no token: {error}") from error


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status in MISSING_STATUSES:
        raise UpstreamMissing(f"{response.url.host} returned status {response.status}")
    if response.status not in (200, 206):
        raise UpstreamUnavailable(f"{response.url.host} returned status {response.status}")


def _content_length(response: aiohttp.ClientResponse) -> int:
    text = response.headers.get("Content-Length", "")
    if not text.isdecimal():
        raise UpstreamUnavailable(f"{response.url.host} does not send the size of a blob")
    return int(text)
