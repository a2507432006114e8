"""``/v2/NAME/blobs/DIGEST``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hythe.oci.digest import Digest
from hythe.registry.blobs import Blob
from hythe.registry.routes.http import FilePart, Headers, Request, Response, Stream, make_response, same_entity
from hythe.registry.routes.multipart import Multipart, Read
from hythe.registry.routes.ranges import ByteRange, parse_ranges
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import LocalFile, Redirect

if TYPE_CHECKING:
    from hythe.registry.mirror.downloads import MirrorDownload


async def get_blob(registry: RegistryServices, request: Request) -> Response:
    """Send a blob, or ranges of it (specification, "Pulling blobs").

    An object store would send the whole blob for several ranges, so these are not redirected to it.
    """
    digest = Digest.parse(request.rest)
    blob = await registry.contents.blob(request.actor, request.repository, digest)
    if not isinstance(blob, Blob):
        return _download_response(request, blob)
    headers = _headers(blob)
    if _is_cached_by_client(request, blob):
        return Response(304, headers)
    ranges = _requested_ranges(request, blob)
    location = await registry.blobs.locate(blob)
    if isinstance(location, Redirect):
        if len(ranges) <= 1:
            return Response(307, [*headers, (b"location", location.url.encode())])
        location = None
    if not ranges:
        return Response(200, headers, _whole_body(registry, request, blob, location))
    if len(ranges) == 1:
        headers.append((b"content-range", ranges[0].header(blob.size).encode()))
        return Response(206, headers, _body(registry, request, blob, ranges[0], location))
    path = location.path if location is not None and _is_sent_by_kernel(request) else None
    return _multipart_response(blob, ranges, partial(registry.blobs.read, blob), path)


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
    blob = Blob(download.digest, download.size)
    headers, ranges = _headers(blob), _requested_ranges(request, blob)
    if not ranges:
        return Response(200, headers, Stream(download.read(0, download.size), download.size))
    if len(ranges) > 1:
        return _multipart_response(blob, ranges, download.read)
    part = ranges[0]
    headers.append((b"content-range", part.header(download.size).encode()))
    return Response(206, headers, Stream(download.read(part.start, part.stop), part.stop - part.start))


def _multipart_response(blob: Blob, ranges: tuple[ByteRange, ...], read: Read, path: Path | None = None) -> Response:
    """Send several ranges of a blob, from a file if the kernel can send it."""
    multipart = Multipart(ranges, blob.size)
    body = multipart.of_stream(read) if path is None else multipart.of_file(path)
    return Response(206, _headers(blob, multipart.content_type), body)


def _headers(blob: Blob, content_type: bytes = b"application/octet-stream") -> Headers:
    return [
        (b"content-type", content_type),
        (b"docker-content-digest", str(blob.digest).encode()),
        (b"etag", _etag(blob).encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"max-age=31536000"),
    ]


def _etag(blob: Blob) -> str:
    return f'"{blob.digest}"'


def _requested_ranges(request: Request, blob: Blob) -> tuple[ByteRange, ...]:
    """Return the ranges to send, none for the whole blob, also if the client has parts of another content (If-Range).

    Raises WireError 416.
    """
    condition = request.header(b"if-range")
    if condition is not None and condition.strip() != _etag(blob):
        return ()
    return parse_ranges(request.header(b"range"), blob.size)


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
    if location is not None and _is_sent_by_kernel(request):
        return FilePart(location.path, part.start, part.stop)
    return Stream(registry.blobs.read(blob, part.start, part.stop), part.stop - part.start)


def _is_sent_by_kernel(request: Request) -> bool:
    """Return whether the server can send parts of files."""
    extensions = request.scope.get("extensions") or {}
    return "ranges" in extensions.get("http.response.pathsend", ())
