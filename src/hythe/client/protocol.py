"""The distribution protocol as methods of one repository (distribution specification 1.1)."""

from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlencode, urljoin

import msgspec

from hythe.client.connection import BytesBody, RequestBody, StreamedResponse
from hythe.client.errors import ContentMismatch
from hythe.client.http1 import HTTPResponse
from hythe.client.session import RegistrySession, error_from
from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.oci.manifest import MANIFEST_MEDIA_TYPES, Descriptor, Manifest
from hythe.oci.reference import parse_tag_or_digest
from hythe.oci.scope import PULL, PUSH, Scope

_ACCEPT = {"Accept": ", ".join(MANIFEST_MEDIA_TYPES)}
_STREAM = {"Content-Type": "application/octet-stream"}
PAGE_SIZE = 1000
"""Number of tags or names per request."""


class _Tags(msgspec.Struct, frozen=True):
    tags: tuple[str, ...] | None = None


class _Catalog(msgspec.Struct, frozen=True):
    repositories: tuple[str, ...] | None = None


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

    def get_manifest(self, target: str) -> Manifest:
        """Return the manifest with a tag or digest, verified; raises RemoteNotFound."""
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
        return Manifest.parse(response.body, response.headers.get("content-type", ""))

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
            yield from msgspec.json.decode(content, type=_Tags).tags or ()

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
        return self._location(response.headers.get("location", ""))

    def upload_offset(self, location: str) -> tuple[str, int]:
        """Return an upload's current location and offset; raises RemoteNotFound if it does not exist."""
        response = self.session.request("GET", location, self.scopes)
        if response.status not in (200, 202, 204):
            raise error_from(response, self.session, "the status of an upload")
        last = response.headers.get("range", "").removeprefix("bytes=").partition("-")[2]
        offset = int(last) + 1 if last.isdigit() and int(last) else 0
        return self._location(response.headers.get("location", "")) or location, offset

    def send_chunk(self, location: str, body: RequestBody, offset: int) -> str:
        """Append ``body`` at ``offset``; returns the upload's next location. Does not retry."""
        headers = {**_STREAM, "Content-Range": f"{offset}-{offset + body.size - 1}"}
        with self.session.send("PATCH", location, self.scopes, headers, body) as stream:
            response = stream.read()
        if response.status not in (201, 202, 204):
            raise error_from(response, self.session, f"uploading to {self.name}")
        return self._location(response.headers.get("location", "")) or location

    def finish_upload(self, location: str, digest: str, body: RequestBody | None = None) -> None:
        """Finish an upload with its digest and optional last content. Does not retry."""
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest}, safe=':')}"
        with self.session.send("PUT", url, self.scopes, _STREAM, body) as stream:
            response = stream.read()
        if response.status not in (201, 204):
            raise error_from(response, self.session, f"uploading to {self.name}")

    def _location(self, header: str) -> str:
        return urljoin(self.session.base, header) if header else ""

    def _blob_path(self, descriptor: Descriptor) -> str:
        return f"{self._root}/blobs/{descriptor.digest}"


def catalog(session: RegistrySession) -> Iterator[str]:
    """Yield the names of all repositories that the registry lists (``_catalog``)."""
    scope = (Scope("registry", "catalog", frozenset({"*"})),)
    for content in pages(session, f"/v2/_catalog?n={PAGE_SIZE}", scope, "the list of repositories"):
        yield from msgspec.json.decode(content, type=_Catalog).repositories or ()


def pages(session: RegistrySession, path: str, scopes: tuple[Scope, ...], what: str) -> Iterator[bytes]:
    """Yield the bodies of a paginated list, following ``Link: <..>; rel="next"`` (RFC 8288)."""
    while path:
        response = session.request("GET", path, scopes)
        if response.status != 200:
            raise error_from(response, session, what)
        yield response.body
        target, _, relation = response.headers.get("link", "").partition(";")
        path = urljoin(urljoin(session.base, path), target.strip().strip("<>")) if 'rel="next"' in relation else ""


def _digest_header(text: str | None) -> Digest | None:
    try:
        return Digest.parse(text) if text else None
    except InvalidDigest:
        return None


PUSH_ACTIONS = (PULL, PUSH)
