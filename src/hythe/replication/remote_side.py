"""The other registry of a rule, over HTTP: the requests of the mirror, and those that write."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote as quote_path
from urllib.parse import urljoin, urlsplit

import aiohttp
import msgspec

from hythe.oci.challenge import Challenge
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest, InvalidManifest
from hythe.oci.manifest import OCI_INDEX, Descriptor, Manifest
from hythe.oci.reference import is_name
from hythe.oci.scope import PULL, PUSH, Scope
from hythe.registry.mirror.errors import UpstreamError, UpstreamInvalid, UpstreamMissing, UpstreamRejected, quote
from hythe.registry.mirror.pauses import Pauses
from hythe.registry.mirror.responses import check_status, read_body, require_no_web_page, upstream_errors
from hythe.registry.mirror.upstream import UpstreamRegistry, best_challenge
from hythe.registry.mirror.upstreams import Upstream
from hythe.replication.errors import CopyFailed
from hythe.replication.side import BegunUpload, Body

PAGE_SIZE = 500
PIECE_SIZE = 1024 * 1024
MAX_PAGE_BYTES = 8 * 1024 * 1024

MAX_NAMES = 1_000_000
"""Maximum number of repositories, and of tags of one repository, that another registry may list."""

MAX_REFERRERS = 10_000
"""Maximum number of referrers of one image."""

COMMIT_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=900)
"""A registry may read a large blob once more before it confirms it."""

_WRITTEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})


class _Catalog(msgspec.Struct, frozen=True):
    repositories: tuple[str, ...] | None = None


class RemoteSide(UpstreamRegistry):
    """See RegistrySide."""

    def __init__(self, session: aiohttp.ClientSession, upstream: Upstream, manifest_size: int, pauses: Pauses) -> None:
        super().__init__(session, upstream, manifest_size, pauses)
        self._max_manifest = manifest_size
        self._basic = False
        self._bearer: tuple[Challenge, str] | None = None

    async def repositories(self) -> AsyncIterator[str]:
        """See RegistrySide."""
        path, seen, count = f"_catalog?n={PAGE_SIZE}", set[str](), 0
        while path and path not in seen:
            seen.add(path)
            async with self._metadata("GET", "", path) as response:
                await require_no_web_page(response, self._upstream)
                content = await read_body(response, MAX_PAGE_BYTES)
                links = ", ".join(response.headers.getall("Link", []))
            try:
                names = msgspec.json.decode(content, type=_Catalog).repositories or ()
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UpstreamInvalid(f"{self.address} sent no list of repositories{quote(content)}") from error
            count += len(names)
            self._require_few(count, MAX_NAMES, "repositories")
            for name in filter(is_name, names):
                yield name
            path = self._next_page(links, path) if names else ""

    def _require_few(self, count: int, limit: int, what: str) -> None:
        """Raise UpstreamInvalid for a list that is too long to keep: it may have no end."""
        if count > limit:
            raise UpstreamInvalid(f"{self.address} lists more than {limit:,} {what}")

    async def tags(self, repository: str) -> AsyncIterator[str]:  # type: ignore[override]
        """See RegistrySide."""
        count = pages = 0
        try:
            async for names in super().tags(repository, PAGE_SIZE):
                count, pages = count + len(names), pages + 1
                # Pages may be empty, but not most of them.
                self._require_few(max(count, pages * PAGE_SIZE // 10), MAX_NAMES, f"tags of {repository}")
                for name in names:
                    yield name
        except UpstreamMissing as error:
            if not error.certain:
                raise

    async def digest(self, repository: str, reference: str) -> Digest | None:
        """See RegistrySide."""
        parsed = Digest.parse(reference) if ":" in reference else reference
        try:
            headers = await self.manifest_headers(repository, parsed)
            if headers is not None:
                return headers.digest
            fetched = await super().manifest(repository, parsed)
        except UpstreamMissing as error:
            if not error.certain:
                raise
            return None
        return fetched.digest or Digest.of(fetched.content)

    async def manifest(self, repository: str, digest: Digest) -> Manifest:  # type: ignore[override]
        """See RegistrySide."""
        fetched = await super().manifest(repository, digest)
        if not digest.matches(fetched.content):
            raise UpstreamInvalid(f"{self.address} sent a manifest that does not match its digest {digest}")
        try:
            return Manifest.parse(fetched.content, fetched.media_type)
        except InvalidManifest as error:
            raise CopyFailed(f"{self.address}: {error}") from error

    async def referrers(self, repository: str, subject: Digest) -> tuple[Digest, ...]:
        """See RegistrySide. A registry without this part of the protocol has a tag with the list."""
        index = await self._index(repository, f"{repository}/referrers/{subject}")
        if index is None:
            index = await self._index(repository, f"{repository}/manifests/{_referrers_tag(subject)}")
        try:
            return tuple(each.parsed_digest for each in index.manifests) if index else ()
        except InvalidDigest as error:
            raise UpstreamInvalid(f"{self.address} sent an invalid list of referrers: {error}") from error

    async def _index(self, repository: str, path: str) -> Manifest | None:
        """Return all pages of an index as one; None if the registry does not have it."""
        found: Manifest | None = None
        seen = set[str]()
        try:
            while path and path not in seen:
                seen.add(path)
                async with self._metadata("GET", repository, path) as response:
                    await require_no_web_page(response, self._upstream)
                    content = await read_body(response, self._max_manifest)
                    links = ", ".join(response.headers.getall("Link", []))
                page = Manifest.parse(content, OCI_INDEX)
                manifests = (*(found.manifests if found else ()), *page.manifests)
                self._require_few(len(manifests), MAX_REFERRERS, f"referrers in {repository}")
                found = msgspec.structs.replace(page, manifests=manifests)
                path = self._next_page(links, path) if page.manifests else ""
        except UpstreamMissing:
            return found
        except InvalidManifest as error:
            raise UpstreamInvalid(f"{self.address} sent no list of referrers: {error}") from error
        return found

    async def has_blob(self, repository: str, digest: Digest) -> bool:
        """See RegistrySide."""
        try:
            await self.blob_size(repository, digest)
        except UpstreamMissing:
            return False
        return True

    async def read(self, repository: str, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        """See RegistrySide."""
        async with self.blob(repository, digest, start) as reply:
            left = stop - start
            async for piece in reply.pieces(PIECE_SIZE):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return

    async def begin(self, repository: str, digest: Digest, sources: Sequence[str]) -> BegunUpload | None:
        """See RegistrySide."""
        url = self._url(f"{repository}/blobs/uploads/")
        for source in sources:
            await self._widen(repository, source)
            response = await self._write(
                "POST", repository, f"{url}?mount={quote_path(str(digest))}&from={quote_path(source)}"
            )
            if response.status == HTTPStatus.CREATED:
                return None
            return self._begun(response, 0)
        return self._begun(await self._write("POST", repository, url), 0)

    async def find(self, repository: str, upload: str) -> BegunUpload | None:
        """See RegistrySide."""
        try:
            response = await self._write("GET", repository, upload)
        except (UpstreamMissing, UpstreamInvalid):
            return None
        first, _, last = response.headers.get("Range", "").rpartition("=")[2].partition("-")
        if first != "0" or not (last.isascii() and last.isdecimal()) or len(last) > 18:
            return None
        return self._begun(response, int(last) + 1 if int(last) else 0, upload)

    async def append(self, repository: str, begun: BegunUpload, body: Body, size: int) -> BegunUpload:
        """See RegistrySide."""
        end = begun.offset + size
        headers = {"Content-Range": f"{begun.offset}-{end - 1}", "Content-Length": str(size)}
        headers["Content-Type"] = "application/octet-stream"
        response = await self._write("PATCH", repository, begun.upload, headers, body)
        return self._begun(response, end)

    async def finish(self, repository: str, begun: BegunUpload, digest: Digest) -> None:
        """See RegistrySide."""
        separator = "&" if urlsplit(begun.upload).query else "?"
        url = f"{begun.upload}{separator}digest={quote_path(str(digest))}"
        await self._write("PUT", repository, url, {"Content-Length": "0"})

    async def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> bool:
        """See RegistrySide."""

        async def content() -> AsyncIterator[bytes]:
            yield manifest.content

        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.content))}
        url = self._url(f"{repository}/manifests/{reference}")
        response = await self._write("PUT", repository, url, headers, content)
        return manifest.subject is None or "OCI-Subject" in response.headers

    async def delete_tag(self, repository: str, tag: str) -> None:
        """See RegistrySide. A registry that cannot delete tags refuses this with status 400 or 405."""
        try:
            await self._write("DELETE", repository, self._url(f"{repository}/manifests/{tag}"))
        except UpstreamMissing as error:
            if not error.certain:
                raise
        except UpstreamRejected:
            raise
        except UpstreamInvalid as error:
            raise CopyFailed(f"cannot delete the tag: {error}") from error

    def _begun(self, response: aiohttp.ClientResponse, offset: int, known: str = "") -> BegunUpload:
        location = response.headers.get("Location", "")
        if not location and not known:
            raise UpstreamInvalid(f"{self.address} does not say where to send a blob")
        return BegunUpload(urljoin(str(response.url), location) if location else known, offset)

    async def _widen(self, repository: str, source: str) -> None:
        """Get a token that may also pull from ``source``, to mount a blob; without one the blob is sent."""
        if self._bearer is None:
            return
        challenge, url = self._bearer
        scopes = f"{Scope.repository(repository, PULL, PUSH)} {Scope.repository(source, PULL)}"
        wider = msgspec.structs.replace(challenge, parameters={**challenge.parameters, "scope": scopes})
        with upstream_errors(self._upstream):
            await self.tokens.fetch(repository, wider, url)

    async def _write(
        self,
        method: str,
        repository: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request that changes something, and return the response without its body. Raises UpstreamError."""
        self._pauses.require_none(self.address)
        sent = _SentBody(body)
        with upstream_errors(self._upstream):
            try:
                response = await self._with_token(method, repository, url, dict(headers or {}), sent)
            except (aiohttp.ClientError, OSError):
                if sent.error is not None:
                    raise sent.error from None
                raise
            try:
                if response.status not in _WRITTEN:
                    await self._refused(response)
                return response
            finally:
                response.release()

    async def _with_token(
        self, method: str, repository: str, url: str, headers: dict[str, str], body: "_SentBody"
    ) -> aiohttp.ClientResponse:
        # The same host by another protocol, such as plain HTTP, does not get the credentials.
        own = urlsplit(url)[:2] == urlsplit(self._upstream.url)[:2]
        known = self._known_authorization(repository) if own else {}
        response = await self._request_once(method, url, headers | known, body)
        if response.status != HTTPStatus.UNAUTHORIZED or not own:
            return response
        challenge = best_challenge(response)
        if challenge is None:
            return response
        response.release()
        authorization = await self.tokens.fetch(repository, challenge, str(response.url))
        self._basic = challenge.scheme == "basic"
        self._bearer = None if self._basic else (challenge, str(response.url))
        headers = headers | {"Authorization": authorization}
        return await self._request_once(method, url, headers, body)

    async def _request_once(
        self, method: str, url: str, headers: dict[str, str], body: "_SentBody"
    ) -> aiohttp.ClientResponse:
        return await self._session.request(
            method, url, headers=headers, data=body.open(), allow_redirects=False, timeout=COMMIT_TIMEOUT
        )

    def _known_authorization(self, repository: str) -> dict[str, str]:
        if self._basic:
            return {"Authorization": aiohttp.encode_basic_auth(self._upstream.user, self._upstream.password)}
        return self.tokens.cached(repository)

    async def _refused(self, response: aiohttp.ClientResponse) -> None:
        """Raise UpstreamError for a response that is no success."""
        if response.status == HTTPStatus.UNAUTHORIZED and self._basic:
            await self.tokens.require_accepted(response)
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            said = quote(await read_body(response, truncate=True))
            who = self._upstream.user or "clients without credentials"
            raise UpstreamInvalid(f"{self.address} does not let {who} write there{said}")
        if 300 <= response.status < 400:
            raise UpstreamInvalid(f"{self.address} redirects a request that writes: use its final address")
        await check_status(response, self._upstream, self._pauses)


class _SentBody:
    """The body of a request; remembers the error of its source, which is not the receiver's."""

    def __init__(self, body: Body | None) -> None:
        self._body = body
        self.error: Exception | None = None

    def open(self) -> AsyncIterator[bytes] | None:
        return None if self._body is None else self._pieces(self._body)

    async def _pieces(self, body: Callable[[], AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
        try:
            async for piece in body():
                yield piece
        except (UpstreamError, CopyFailed, asyncio.CancelledError, OSError) as error:
            if isinstance(error, Exception):
                self.error = error
            raise


def _referrers_tag(subject: Digest) -> str:
    return f"{subject.algorithm}-{subject.hex}"


async def list_as_referrer(side: RemoteSide, repository: str, subject: Digest, manifest: Manifest) -> None:
    """Add a manifest to the list of referrers that registries without the referrers API keep under a tag."""
    tag = _referrers_tag(subject)
    digest = await side.digest(repository, tag)
    listed = (await side.manifest(repository, digest)).manifests if digest is not None else ()
    if any(each.digest == str(manifest.digest()) for each in listed):
        return
    added = Descriptor(
        manifest.media_type,
        str(manifest.digest()),
        len(manifest.content),
        annotations=manifest.annotations,
        artifact_type=manifest.effective_artifact_type,
    )
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": (*listed, added)}
    await side.put_manifest(repository, tag, Manifest.parse(msgspec.json.encode(index), OCI_INDEX))
