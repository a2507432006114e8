"""Refuses deletions that would leave a broken image: of an index's manifests, and of a manifest's blobs."""

from collections.abc import Sequence
from http import HTTPStatus

from hythe.database import Session
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import tags as tag_store

MAX_NAMED = 3
"""Maximum number of manifests, and of tags of each, that an error names."""


async def require_in_no_index(session: Session, repository_id: int, digest: str) -> None:
    """Raise WireError DENIED if an index lists the manifest. Lock the repository exclusively before."""
    indexes = await manifest_store.some_indexes_of(session, repository_id, digest, MAX_NAMED + 1)
    if indexes:
        named, detail = await _named(session, repository_id, indexes)
        message = f"{digest} belongs to the index {named}: delete the index first"
        raise _refusal(message, detail, allowed="GET, HEAD, PUT")


async def require_in_no_manifest(session: Session, repository_id: int, digest: str) -> None:
    """Raise WireError DENIED if a manifest refers to the blob. Lock the repository exclusively before."""
    manifests = await manifest_store.some_with_blob(session, repository_id, digest, MAX_NAMED + 1)
    if manifests:
        named, detail = await _named(session, repository_id, manifests)
        message = f"{digest} belongs to the manifest {named}: delete the manifest first"
        raise _refusal(message, detail, allowed="GET, HEAD")


async def _named(session: Session, repository_id: int, digests: Sequence[str]) -> tuple[str, list[dict[str, object]]]:
    """Return the manifests as text for users and as detail for programs, with their tags."""
    texts: list[str] = []
    detail: list[dict[str, object]] = []
    for digest in sorted(digests)[:MAX_NAMED]:
        tags = await tag_store.some_pointing_at(session, repository_id, digest, MAX_NAMED + 1)
        texts.append(f"{digest} (tagged {_listed(sorted(tags))})" if tags else digest)
        detail.append({"digest": digest, "tags": sorted(tags)[:MAX_NAMED]})
    return _listed([*texts, *sorted(digests)[MAX_NAMED:]]), detail


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (" and others" if len(names) > MAX_NAMED else "")


def _refusal(message: str, detail: list[dict[str, object]], allowed: str) -> WireError:
    """Return the error: 405, which the specification has for deletions that a registry does not do."""
    return WireError(
        ErrorCode.DENIED, message, detail=detail, status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed}
    )
