"""The distribution protocol as methods of one repository (distribution specification 1.1)."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from hythe.client.connection import BytesBody, RequestBody, StreamedResponse
from hythe.client.errors import ContentMismatch, RegistryError, as_client_errors
from hythe.client.http1 import HTTPResponse
from hythe.client.session import RegistrySession, error_from
from hythe.client.urls import resolve_url
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.oci.link import next_page
from hythe.oci.manifest import MANIFEST_MEDIA_TYPES, Descriptor, Manifest
from hythe.oci.reference import parse_tag_or_digest
from hythe.oci.scope import PULL, PUSH, Scope

_ACCEPT = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}
_STREAM = {"Content-Type": "application/octet-stream"}
PAGE_SIZE = 1000
"""Number of tags or names per request."""
_XHTML = "application/xhtml+xml"
_PAGE_HINT = "check the address; a proxy or a sign-in page of your network may have responded instead"


class RemoteRepository:
    """One repository of one registry. Thread-safe. All methods raise subclasses of ClientError.

    ``actions`` are the actions to request a token for; ``mounted_from`` are other repositories of the registry that
    blobs can be mounted from.
    """

    def __init__(
        self, session: RegistrySession, name: str, actions: tuple[str, ...] = (PULL,), mounted_from: Iterable[str] = ()
    ) -> None:
        self.session = session
        self.name = name
        others = (Scope.repository(other, PULL) for other in mounted_from if other != name)
        self.scopes = (Scope.repository(name, *actions), *others)
        self._root = f"/v2/{name}"

    # Manifests

    @as_client_errors()
    def get_manifest(self, target: str) -> Manifest:
        """Return the manifest with a tag or digest, verified; raises RemoteNotFound, InvalidImage."""
        response = self.session.request("GET", self._manifest_path(target), self.scopes, _ACCEPT)
        if response.status != 200:
            raise error_from(response, self.session, self._what(target))
        wanted = parse_tag_or_digest(target)
        claimed = (
            wanted if isinstance(wanted, Digest) else _digest_header(response.headers.get("docker-content-digest"))
        )
        if claimed is not None and not claimed.matches(response.body):
            raise ContentMismatch(
                f"manifest {target} does not match its digest", "contact the registry's administrator"
            )
        _refuse_page(response, self.session)
        return Manifest.parse(response.body, _manifest_type(response))

    def has_manifest(self, target: str) -> bool:
        """Whether a manifest with a tag or digest exists and is readable."""
        response = self.session.request("HEAD", self._manifest_path(target), self.scopes, _ACCEPT)
        return self._is_there(response, self._what(target))

    def manifest_digest(self, target: str) -> Digest | None:
        """Return the digest of a tag, None if the registry does not send it. Does not count as a pull."""
        response = self.session.request("HEAD", self._manifest_path(target), self.scopes, _ACCEPT)
        if not self._is_there(response, self._what(target)):
            return None
        return _digest_header(response.headers.get("docker-content-digest"))

    def put_manifest(self, manifest: Manifest, target: str) -> None:
        """Push a manifest under a tag or its digest; raises AccessDenied, RegistryError (for a missing blob)."""
        headers = {"Content-Type": manifest.media_type}
        body = BytesBody(manifest.content)
        response = self.session.request("PUT", self._manifest_path(target), self.scopes, headers, body)
        if response.status not in (200, 201):
            raise error_from(response, self.session, f"pushing the manifest {target}")

    def delete_manifest(self, target: str) -> None:
        """Delete a tag or manifest; raises RemoteNotFound."""
        response = self.session.request("DELETE", self._manifest_path(target), self.scopes)
        if response.status not in (200, 202):
            raise error_from(response, self.session, f"deleting {self.name}:{target}")

    def tags(self) -> Iterator[str]:
        """Yield all tags, over all pages; raises RemoteNotFound."""
        for content in self._pages(f"{self._root}/tags/list?n={PAGE_SIZE}", f"tags of {self.name}"):
            yield from _names(content, "tags", self.session)

    def _pages(self, path: str, what: str) -> Iterator[bytes]:
        yield from pages(self.session, path, self.scopes, what)

    def _what(self, target: str) -> str:
        return f"manifest for {self.session.host}/{self.name}{'@' if ':' in target else ':'}{target}"

    def _manifest_path(self, target: str) -> str:
        return f"{self._root}/manifests/{target}"

    # Blobs

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the repository has a readable blob."""
        response = self.session.request("HEAD", self._blob_path(descriptor), self.scopes)
        return self._is_there(response, f"blob {descriptor.digest}")

    def _is_there(self, response: HTTPResponse, what: str) -> bool:
        """Return whether a HEAD request succeeded. A denied request is False: the next one raises the reason."""
        if response.status not in (200, 401, 403, 404):
            raise error_from(response, self.session, what)
        return response.status == 200

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> StreamedResponse:
        """Open a blob at ``offset``; the response has status 206, or 200 if the server does not support ranges.

        Does not retry: the reader resumes a broken stream. Raises RemoteNotFound, ConnectionFailed.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        stream = self.session.send("GET", self._blob_path(descriptor), self.scopes, headers)
        if stream.status in (200, 206):
            return stream
        with stream:
            response = stream.read()
        raise error_from(response, self.session, f"blob {descriptor.digest}")

    def mount_blob(self, descriptor: Descriptor, source: str) -> str:
        """Mount a blob from another repository; returns "", or the location of an upload if it was not mounted."""
        query = urlencode({"mount": descriptor.digest, "from": source}, quote_via=quote, safe=":")
        return self._start(f"{self._root}/blobs/uploads/?{query}")

    def start_upload(self) -> str:
        """Start an upload; returns its location."""
        return self._start(f"{self._root}/blobs/uploads/")

    def _start(self, path: str) -> str:
        response = self.session.request("POST", path, self.scopes)
        if response.status == 201:
            return ""
        if response.status != 202:
            raise error_from(response, self.session, f"starting an upload to {self.name}")
        location = self._location(response, path)
        if not location:
            raise RegistryError(
                f"{self.session.host} started an upload without a Location", "contact the registry's administrator"
            )
        return location

    def upload_offset(self, location: str) -> tuple[str, int]:
        """Return an upload's current location and offset; raises RemoteNotFound if it does not exist."""
        response = self.session.request("GET", location, self.scopes)
        if response.status not in (200, 202, 204):
            raise error_from(response, self.session, "the status of an upload")
        last = response.headers.get("range", "").strip().removeprefix("bytes=").partition("-")[2]
        offset = int(last) + 1 if last.isdecimal() and int(last) else 0
        return self._location(response, location) or location, offset

    def send_chunk(self, location: str, body: RequestBody, offset: int) -> str:
        """Append ``body`` at ``offset``; returns the upload's next location. Does not retry."""
        headers = {**_STREAM, "Content-Range": f"{offset}-{offset + body.size - 1}"}
        with self.session.send("PATCH", location, self.scopes, headers, body) as stream:
            response = stream.read()
        if response.status not in (201, 202, 204):
            raise error_from(response, self.session, f"uploading to {self.name}")
        return self._location(response, location) or location

    def finish_upload(self, location: str, digest: str, body: RequestBody | None = None) -> None:
        """Finish an upload with its digest and optional last content. Does not retry."""
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest}, safe=':')}"
        with self.session.send("PUT", url, self.scopes, _STREAM, body) as stream:
            response = stream.read()
        if response.status not in (201, 204):
            raise error_from(response, self.session, f"uploading to {self.name}")

    def _location(self, response: HTTPResponse, requested: str) -> str:
        """Return the absolute URL in ``Location``, which may be relative to the requested URL; "" if it is missing."""
        header = response.headers.get("location", "").strip()
        return resolve_url(resolve_url(self.session.base, requested), header) if header else ""

    def _blob_path(self, descriptor: Descriptor) -> str:
        return f"{self._root}/blobs/{descriptor.digest}"


def catalog(session: RegistrySession) -> Iterator[str]:
    """Yield the names of all repositories that the registry lists (``_catalog``)."""
    scope = (Scope("registry", "catalog", frozenset({"*"})),)
    for content in pages(session, f"/v2/_catalog?n={PAGE_SIZE}", scope, "the list of repositories"):
        yield from _names(content, "repositories", session)


def pages(session: RegistrySession, path: str, scopes: tuple[Scope, ...], what: str) -> Iterator[bytes]:
    """Yield the bodies of a paginated list, following ``Link: <..>; rel="next"`` (RFC 8288)."""
    seen = set()
    while path and path not in seen:  # a registry that ignores ``last`` would repeat its first page without end
        seen.add(path)
        response = session.request("GET", path, scopes)
        if response.status != 200:
            raise error_from(response, session, what)
        _refuse_page(response, session)
        yield response.body
        target = next_page(response.headers.get("link", ""))
        path = resolve_url(resolve_url(session.base, path), target) if target else ""


def _names(content: bytes, field: str, session: RegistrySession) -> Iterator[str]:
    """Yield the texts in a list of a JSON object; none if it is missing or null. Raises RegistryError."""
    try:
        document: Any = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryError(f"invalid response from {session.host}: not JSON", _PAGE_HINT) from error
    names = document.get(field) if isinstance(document, dict) else None
    yield from (name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _refuse_page(response: HTTPResponse, session: RegistrySession) -> None:
    """Raise RegistryError for a page for browsers, which proxies and sign-in pages of networks send with status 200."""
    if response.headers.get("content-type", "").partition(";")[0].strip().lower() in ("text/html", _XHTML):
        raise RegistryError(f"{session.host} sent a web page in place of registry data", _PAGE_HINT)


def _manifest_type(response: HTTPResponse) -> str:
    """Return the ``Content-Type`` of a manifest; "" if it is a general one, as static file servers send."""
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type if media_type in MANIFEST_MEDIA_TYPES else ""


def _digest_header(text: str | None) -> Digest | None:
    try:
        return Digest.parse(text.strip().strip('"').lower()) if text else None
    except InvalidDigest:
        return None


PUSH_ACTIONS = (PULL, PUSH)
