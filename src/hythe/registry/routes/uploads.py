"""``/v2/NAME/blobs/uploads/`` and ``/v2/NAME/blobs/uploads/ID``."""

from collections.abc import AsyncIterator

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, InvalidReference, WireError
from hythe.oci.reference import parse_name
from hythe.registry.routes.http import Request, Response, make_response
from hythe.registry.routes.ranges import parse_content_range
from hythe.registry.service import RegistryServices
from hythe.registry.storage.port import UploadSession
from hythe.registry.uploads import Chunk, upload_range


async def start_upload(registry: RegistryServices, request: Request) -> Response:
    """Mount a blob, store a whole blob, or open an upload session (specification, "Pushing blobs")."""
    mount = request.parameter("mount")
    if mount is not None and await _try_mount(registry, request, Digest.parse(mount)):
        return _blob_created(request, Digest.parse(mount))
    digest = request.parameter("digest")
    if digest is not None and mount is None:
        parsed = Digest.parse(digest)
        await registry.uploads.put(request.actor, request.repository, parsed, request.body(), request.content_length)
        return _blob_created(request, parsed)
    upload = await registry.uploads.start(request.actor, request.repository)
    return _session(202, request, upload)


async def append_upload(registry: RegistryServices, request: Request) -> Response:
    """Append a chunk (specification, "Pushing a blob in chunks")."""
    try:
        upload = await registry.uploads.append(request.actor, request.repository, request.rest, _chunk(request))
    except WireError as error:
        raise _with_location(request, error) from error
    return _session(202, request, upload)


async def finish_upload(registry: RegistryServices, request: Request) -> Response:
    """Commit the upload session, with an optional last chunk."""
    text = request.parameter("digest")
    if text is None:
        raise WireError(ErrorCode.DIGEST_INVALID, "the blob's digest is missing: add ?digest=ALGORITHM:HEX")
    digest = Digest.parse(text)
    try:
        await registry.uploads.finish(request.actor, request.repository, request.rest, digest, _chunk(request))
    except WireError as error:
        raise _with_location(request, error) from error
    return _blob_created(request, digest)


async def show_upload(registry: RegistryServices, request: Request) -> Response:
    """Report the offset of an upload session (specification, "Pushing a blob in chunks")."""
    return _session(204, request, await registry.uploads.get(request.actor, request.repository, request.rest))


async def cancel_upload(registry: RegistryServices, request: Request) -> Response:
    """Cancel an upload session (development version of the specification, "Canceling a blob upload")."""
    await registry.uploads.cancel(request.actor, request.repository, request.rest)
    return make_response(204)


async def _try_mount(registry: RegistryServices, request: Request, digest: Digest) -> bool:
    source = request.parameter("from")
    try:
        name = None if source is None else registry.access.canonical(parse_name(source))
    except InvalidReference:
        return False
    return await registry.blobs.mount(request.actor, request.repository, digest, name)


def _chunk(request: Request) -> Chunk:
    content_range = parse_content_range(request.header(b"content-range"))
    if content_range is None:
        return Chunk(request.body(), length=request.content_length)
    length = content_range.stop - content_range.start
    if request.content_length not in (None, length):
        raise WireError(ErrorCode.SIZE_INVALID, "Content-Range and Content-Length do not match")
    return Chunk(_check_length(request.body(), length), content_range.start, length)


async def _check_length(body: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    """Pass on ``length`` bytes; a chunked body, as proxies send it, has no Content-Length to check."""
    remaining = length
    async for piece in body:
        remaining -= len(piece)
        if remaining < 0:
            raise WireError(ErrorCode.SIZE_INVALID, "the body has more bytes than Content-Range says")
        yield piece
    if remaining:
        raise WireError(ErrorCode.SIZE_INVALID, "the body has fewer bytes than Content-Range says")


def _session(status: int, request: Request, upload: UploadSession) -> Response:
    return make_response(
        status,
        location=_location(request, upload.id),
        range=upload_range(upload),
        docker_upload_uuid=upload.id,
    )


def _with_location(request: Request, error: WireError) -> WireError:
    """Return the session's offset to a client whose chunk was out of order, so that it can continue."""
    if "Range" in error.headers:
        error.headers.update({"Location": _location(request, request.rest), "Docker-Upload-UUID": request.rest})
    return error


def _location(request: Request, upload_id: str) -> str:
    return f"/v2/{request.name}/blobs/uploads/{upload_id}"


def _blob_created(request: Request, digest: Digest) -> Response:
    return make_response(201, location=f"/v2/{request.name}/blobs/{digest}", docker_content_digest=str(digest))
