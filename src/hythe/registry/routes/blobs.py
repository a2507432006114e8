"""``/v2/NAME/blobs/DIGEST``."""

from typing import TYPE_CHECKING

import msgspec

from hythe.oci.digest import Digest
from hythe.registry.blobs import Blob
from hythe.registry.routes.http import FilePart, Headers, Request, Response, Stream, make_response, same_entity
from hythe.registry.routes.ranges import ByteRange, parse_range
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import LocalFile, Redirect

if TYPE_CHECKING:
    from hythe.registry.mirror.downloads import MirrorDownload


async def get_blob(registry: RegistryServices, request: Request) -> Response:
    """Send a blob, or a range of it (specification, "Pulling blobs")."""
    digest = Digest.parse(request.rest)
    blob = await registry.contents.blob(request.actor, request.repository, digest)
    if not isinstance(blob, Blob):
        return _download_response(request, blob)
    headers = _headers(blob)
    if _is_cached_by_client(request, blob):
        return Response(304, headers)
    part = parse_range(request.header(b"range"), blob.size)
    location = await registry.blobs.locate(blob)
    if isinstance(location, Redirect):
        return Response(307, [*headers, (b"location", location.url.encode())])
    if part is None:
        return Response(200, headers, _whole_body(registry, request, blob, location))
    headers.append((b"content-range", part.header(blob.size).encode()))
    return Response(206, headers, _body(registry, request, blob, part, location))


async def head_blob(registry: RegistryServices, request: Request) -> Response:
    """Send the headers of a blob, after checking that its content exists, here or at the upstream."""
    digest = Digest.parse(request.rest)
    blob = await registry.contents.blob_info(request.actor, request.repository, digest)
    headers = _headers(blob)
    if _is_cached_by_client(request, blob):
        return Response(304, headers)
    if blob.stored:
        await registry.blobs.locate(blob)
    return Response(200, headers, size=blob.size)


async def delete_blob(registry: RegistryServices, request: Request) -> Response:
    """Delete a blob from the repository (specification, "Deleting Blobs")."""
    await registry.blobs.delete(request.actor, request.repository, Digest.parse(request.rest))
    return make_response(202)


def _download_response(request: Request, download: "MirrorDownload") -> Response:
    """Send a mirrored blob, or a range of it, while it is being downloaded."""
    headers = _headers(Blob(download.digest, download.size))
    part = parse_range(request.header(b"range"), download.size)
    if part is None:
        return Response(200, headers, Stream(download.read(0, download.size), download.size))
    headers.append((b"content-range", part.header(download.size).encode()))
    return Response(206, headers, Stream(download.read(part.start, part.stop), part.stop - part.start))


def _headers(blob: Blob) -> Headers:
    digest = str(blob.digest).encode()
    return [
        (b"content-type", b"application/octet-stream"),
        (b"docker-content-digest", digest),
        (b"etag", b'"%s"' % digest),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"max-age=31536000"),
    ]


def _is_cached_by_client(request: Request, blob: Blob) -> bool:
    known = request.header(b"if-none-match")
    return known is not None and same_entity(known, blob.digest)


def _whole_body(
    registry: RegistryServices, request: Request, blob: Blob, location: LocalFile | None
) -> FilePart | Stream:
    """Return the body with all bytes; its end is held back until the content is verified. Ranges are not verified."""
    body = _body(registry, request, blob, ByteRange(0, blob.size), location)
    if location is None or location.check is None:
        return body
    return msgspec.structs.replace(body, check=location.check)


def _body(
    registry: RegistryServices, request: Request, blob: Blob, part: ByteRange, location: LocalFile | None
) -> FilePart | Stream:
    extensions = request.scope.get("extensions") or {}
    if location is not None and "ranges" in extensions.get("http.response.pathsend", ()):
        return FilePart(location.path, part.start, part.stop)
    return Stream(registry.blobs.read(blob, part.start, part.stop), part.stop - part.start)
