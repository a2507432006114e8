"""Requests manifests, blobs and tag lists from an upstream registry, with the tokens that it requires."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import msgspec

from hythe.oci.challenge import Challenge, parse_challenges
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.oci.link import next_page
from hythe.oci.manifest import MANIFEST_MEDIA_TYPES
from hythe.registry.mirror.errors import UpstreamInvalid, UpstreamMissing, UpstreamUnavailable, quote
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.responses import check_status, is_web_page, read_body, require_no_web_page, upstream_errors
from hythe.registry.mirror.tokens import UpstreamTokens
from hythe.registry.mirror.upstreams import Upstream

TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)

METADATA_TIMEOUT = 60
"""Seconds for a whole response that is no blob, however slowly it arrives."""

ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)

MAX_TAG_PAGE_SIZE = 8 * 1024 * 1024
"""Maximum number of bytes of a page of a tag list."""

_SCHEMES = {"bearer": 0, "basic": 1}
"""Supported schemes, the best first."""

_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


class FetchedManifest(msgspec.Struct, frozen=True):
    """A manifest as the upstream sent it; ``digest`` is the upstream's, if it sent one."""

    content: bytes
    media_type: str
    digest: Digest | None = None


class ManifestHeaders(msgspec.Struct, frozen=True):
    """What the headers of a manifest say; ``size`` in bytes."""

    digest: Digest
    media_type: str
    size: int


class UpstreamRegistry:
    """An upstream registry. Repository names are the upstream's. Every method raises UpstreamError."""

    def __init__(self, session: aiohttp.ClientSession, upstream: Upstream, manifest_size: int, pauses: Pauses) -> None:
        """Send requests through ``session``; refuse manifests of more than ``manifest_size`` bytes."""
        self._session = session
        self._upstream = upstream
        self._manifest_size = manifest_size
        self._pauses = pauses
        self.tokens = UpstreamTokens(session, upstream, pauses)

    @property
    def address(self) -> str:
        """The registry's HOST or HOST:PORT, for messages."""
        return self._upstream.address

    async def manifest_headers(self, repository: str, reference: str | Digest) -> ManifestHeaders | None:
        """Return the headers of a manifest, which Docker Hub does not count as a pull.

        Returns None if the upstream's response does not have all of them.
        """
        path = f"{repository}/manifests/{reference}"
        async with self._metadata("HEAD", repository, path, unsupported=True) as response:
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                return None
            await require_no_web_page(response, self._upstream)
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            size = _content_length(response)
            digest = _digest_header(response)
        if isinstance(reference, Digest):
            digest = digest or reference
            if digest != reference:
                raise UpstreamInvalid(f"{self._upstream.address} has {digest} instead of {reference}")
        if digest is None or size is None or media_type not in MANIFEST_MEDIA_TYPES:
            return None
        return ManifestHeaders(digest, media_type, size)

    async def manifest(self, repository: str, reference: str | Digest) -> FetchedManifest:
        """Return a manifest."""
        async with self._metadata("GET", repository, f"{repository}/manifests/{reference}") as response:
            await require_no_web_page(response, self._upstream)
            content = await read_body(response, self._manifest_size)
            return FetchedManifest(content, response.headers.get("Content-Type", ""), _digest_header(response))

    async def blob_size(self, repository: str, digest: Digest) -> int:
        """Return the size of a blob in bytes."""
        async with self._metadata("HEAD", repository, f"{repository}/blobs/{digest}") as response:
            await require_no_web_page(response, self._upstream)
            size = _content_length(response)
        if size is None:
            raise UpstreamInvalid(f"{self._upstream.address} does not send the size of a blob")
        return size

    @asynccontextmanager
    async def blob(self, repository: str, digest: Digest, start: int = 0) -> AsyncIterator["BlobReply"]:
        """Open a blob at its byte ``start``."""
        extra_headers = {"Range": f"bytes={start}-"} if start else {}
        async with self._request("GET", repository, f"{repository}/blobs/{digest}", extra_headers) as response:
            if start and response.status != HTTPStatus.PARTIAL_CONTENT:
                raise UpstreamUnavailable(f"{self._upstream.address} does not support resuming a download")
            yield BlobReply(self._upstream, response)

    async def tags(self, repository: str, page_size: int) -> AsyncIterator[list[str]]:
        """Yield the pages of the list of tags, in the upstream's order."""
        path, seen = f"{repository}/tags/list?n={page_size}", set[str]()
        while path and path not in seen:
            seen.add(path)
            async with self._metadata("GET", repository, path) as response:
                await require_no_web_page(response, self._upstream)
                content = await read_body(response, MAX_TAG_PAGE_SIZE)
                links = ", ".join(response.headers.getall("Link", []))
            yield await asyncio.to_thread(self._parse_tags, content)
            path = self._next_page(links, path)

    def _parse_tags(self, content: bytes) -> list[str]:
        try:
            names = msgspec.json.decode(content, type=_TagList).tags or ()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamInvalid(f"{self._upstream.address} sent no list of tags{quote(content)}") from error
        return [name for name in names if _TAG.fullmatch(name)]

    @staticmethod
    def _next_page(links: str, path: str) -> str:
        """Return the path of the next page, or "". Only the link's query counts, so it leads to no other place."""
        try:
            query = urlsplit(next_page(links)).query
        except ValueError:
            return ""
        return f"{path.partition('?')[0]}?{query}" if query else ""

    def _url(self, path: str) -> str:
        return f"{self._upstream.url}/v2/{path}"

    @asynccontextmanager
    async def _metadata(
        self, method: str, repository: str, path: str, *, unsupported: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request whose whole response is read inside the block."""
        with upstream_errors(self._upstream):
            async with (
                asyncio.timeout(METADATA_TIMEOUT),
                self._request(method, repository, path, unsupported=unsupported) as response,
            ):
                yield response

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        repository: str,
        path: str,
        extra_headers: dict[str, str] | None = None,
        *,
        unsupported: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request below ``/v2/``. With ``unsupported``, the upstream may refuse the method."""
        self._pauses.require_none(self._upstream.address)
        headers = {"Accept": ACCEPT, "Accept-Encoding": "identity", **(extra_headers or {})}
        with upstream_errors(self._upstream):
            response = await self._authorized(method, repository, self._url(path), headers)
        try:
            if not unsupported or response.status not in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
                await check_status(response, self._upstream, self._pauses)
            yield response
        finally:
            response.release()

    async def _authorized(
        self, method: str, repository: str, url: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        response = await self._session.request(method, url, headers=headers | self.tokens.cached(repository))
        challenge = best_challenge(response) if response.status == HTTPStatus.UNAUTHORIZED else None
        if challenge is None:
            return response
        response.release()
        headers = headers | {"Authorization": await self.tokens.fetch(repository, challenge, str(response.url))}
        response = await self._session.request(method, url, headers=headers)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        try:
            if challenge.scheme == "basic":
                await self.tokens.require_accepted(response)
            # Docker Hub and others refuse a valid token like this for what does not exist.
            said = quote(await read_body(response, truncate=True))
            raise UpstreamMissing(
                f"{self._upstream.address} does not have this, or requires credentials for it{said}", certain=False
            )
        finally:
            response.release()


class _TagList(msgspec.Struct, frozen=True):
    tags: list[str] | None


class BlobReply:
    """An open response with a blob, or with its part after the requested start."""

    def __init__(self, upstream: Upstream, response: aiohttp.ClientResponse) -> None:
        self._upstream = upstream
        self._response = response

    @property
    def size(self) -> int | None:
        """The number of bytes to read, if the upstream says it."""
        return _content_length(self._response)

    @property
    def is_web_page(self) -> bool:
        """Whether the upstream says that this is a page for people."""
        return is_web_page(self._response)

    async def pieces(self, size: int) -> AsyncIterator[bytes]:
        """Yield the bytes in pieces of at most ``size``. Raises UpstreamError."""
        pieces = self._response.content.iter_chunked(size)
        while True:
            with upstream_errors(self._upstream):
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece


def best_challenge(response: aiohttp.ClientResponse) -> Challenge | None:
    """Return the challenge to answer: the best that is supported, or the first."""
    challenges = parse_challenges(", ".join(response.headers.getall("WWW-Authenticate", [])))
    return min(challenges, key=lambda found: _SCHEMES.get(found.scheme, len(_SCHEMES)), default=None)


def _digest_header(response: aiohttp.ClientResponse) -> Digest | None:
    try:
        return Digest.parse(response.headers.get("Docker-Content-Digest", ""))
    except InvalidDigest:
        return None


def _content_length(response: aiohttp.ClientResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
