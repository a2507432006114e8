"""``/v2/NAME/manifests/REFERENCE``."""

from functools import partial
from typing import TYPE_CHECKING

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, InvalidReference, WireError
from hythe.oci.manifest import INDEX_MEDIA_TYPES
from hythe.oci.reference import parse_tag
from hythe.registry.access import Actor
from hythe.registry.events import PulledManifest, RepositoryRef
from hythe.registry.manifests import oversized_manifest, unknown_manifest
from hythe.registry.routes.http import Request, Response, make_response, same_entity
from hythe.registry.service import RegistryServices
from hythe.registry.sql.manifests import StoredManifest

if TYPE_CHECKING:
    from hythe.registry.mirror.upstream import ManifestHeaders

MAX_TAGS = 100
"""Maximum number of ``?tag=`` parameters in one push."""


async def get_manifest(registry: RegistryServices, request: Request) -> Response:
    """Send a manifest (specification, "Pulling manifests")."""
    reference = _parse_reference(request.rest)
    found = await registry.contents.manifest(request.actor, request.repository, reference)
    if _is_cached_by_client(request, found.digest):
        return Response(304, _headers(found))
    after = partial(_notify_pull, registry, request.actor, found.repository, _pulled(request, found))
    return Response(200, _headers(found), found.content, after=after, user=request.actor.name)


async def head_manifest(registry: RegistryServices, request: Request) -> Response:
    """Send the headers of a manifest (specification, "Checking if content exists in the registry")."""
    reference = _parse_reference(request.rest)
    found = await registry.contents.manifest_headers(request.actor, request.repository, reference)
    if _is_cached_by_client(request, found.digest):
        return Response(304, _headers(found))
    if isinstance(found, StoredManifest):
        return Response(200, _headers(found), found.content, user=request.actor.name)
    return Response(200, _headers(found), size=found.size)


async def put_manifest(registry: RegistryServices, request: Request) -> Response:
    """Store a manifest (specification, "Pushing Manifests"; ``?tag=`` of its development version)."""
    given = _parse_pushed_reference(request.rest)
    added = tuple(dict.fromkeys(_parse_pushed_tag(value) for key, value in request.query() if key == "tag"))
    if len(added) > MAX_TAGS:
        raise WireError(ErrorCode.TAG_INVALID, f"at most {MAX_TAGS} tags in one push")
    limit = registry.policy.manifest_size
    content = await request.whole_body(limit)
    if content is None:
        raise oversized_manifest(limit)
    digest = given if isinstance(given, Digest) else Digest.of(content)
    tags = added if isinstance(given, Digest) else (given, *(tag for tag in added if tag != given))
    media_type = request.header(b"content-type") or ""
    pushed = await registry.manifests.put(request.actor, request.repository, digest, tags, content, media_type)
    response = make_response(201, location=f"/v2/{request.name}/manifests/{digest}", docker_content_digest=str(digest))
    if pushed.subject is not None:
        response.headers.append((b"oci-subject", pushed.subject.encode()))
    response.headers.extend((b"oci-tag", tag.encode()) for tag in added)
    return response


async def delete_manifest(registry: RegistryServices, request: Request) -> Response:
    """Delete a manifest by its digest, or a tag (specification, "Content Management")."""
    reference = _parse_reference(request.rest)
    if isinstance(reference, Digest):
        await registry.manifests.delete(request.actor, request.repository, reference)
    else:
        await registry.tags.delete(request.actor, request.repository, reference)
    return make_response(202)


async def _notify_pull(
    registry: RegistryServices, actor: Actor, repository: RepositoryRef, pulled: PulledManifest
) -> None:
    for listener in registry.listeners:
        await listener.manifest_pulled(repository, pulled, actor)


def _pulled(request: Request, found: StoredManifest) -> PulledManifest:
    tag = None if ":" in request.rest else request.rest
    # Engines request a token for each pull. The hash is enough to compare, and holds no credential.
    client = hash((request.header(b"authorization"), (request.scope.get("client") or ("",))[0]))
    return PulledManifest(tag, found.digest, found.media_type in INDEX_MEDIA_TYPES, client)


def _is_cached_by_client(request: Request, digest: Digest) -> bool:
    known = request.header(b"if-none-match")
    return known is not None and same_entity(known, digest)


def _headers(found: "StoredManifest | ManifestHeaders") -> list[tuple[bytes, bytes]]:
    digest = str(found.digest).encode()
    return [
        (b"content-type", found.media_type.encode()),
        (b"docker-content-digest", digest),
        (b"etag", b'"%s"' % digest),
    ]


def _parse_reference(text: str) -> str | Digest:
    """Return the requested tag or digest. An invalid tag is a missing one."""
    if ":" in text:
        return Digest.parse(text)
    try:
        return parse_tag(text)
    except InvalidReference as error:
        raise unknown_manifest(text[:200]) from error


def _parse_pushed_reference(text: str) -> str | Digest:
    return Digest.parse(text) if ":" in text else _parse_pushed_tag(text)


def _parse_pushed_tag(text: str) -> str:
    try:
        return parse_tag(text)
    except InvalidReference as error:
        raise WireError(ErrorCode.TAG_INVALID, str(error)) from error
