"""Compares both sides of a rule, and finds what is behind.

A comparison deletes nothing that replication did not bring: of a rule that pushes, tags that this hub once had; of one
that pulls, tags that the rule set. What else the destination has stays.
"""

from collections.abc import AsyncIterator

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.replication.copying import CopyProgress, ImageCopy, SidesOfRule, UploadRecord
from hythe.replication.rule import Direction, subject_of_tag
from hythe.worker.layer_tags import is_layer_tag


class TagBehind(msgspec.Struct, frozen=True):
    """A tag or digest of a source's repository that is behind; ``size`` in bytes of its layers, if it is an image."""

    repository: str
    reference: str
    size: int = 0


async def compare(sides: SidesOfRule) -> AsyncIterator[TagBehind]:
    """Yield all that is behind of a rule. Raises UpstreamError and CopyFailed."""
    rule = sides.rule
    seen = set[str]()
    async for repository in sides.source.repositories():
        seen.add(repository)
        if rule.covers_repository(repository):
            async for behind in compare_repository(sides, repository):
                yield behind
    if not rule.deletions:
        return
    async for destination in sides.target.repositories():
        source = rule.source_of(destination)
        if source is not None and source not in seen and rule.covers_repository(source):
            async for behind in _surplus(sides, source, set()):
                yield behind


async def compare_repository(sides: SidesOfRule, repository: str, *, deleted: bool = False) -> AsyncIterator[TagBehind]:
    """Yield what is behind in a repository of the source. ``deleted``: it is known that the source deleted it."""
    destination = sides.rule.destination_of(repository)
    names = set[str]()
    copy = ImageCopy(sides, UploadRecord(), CopyProgress(), _ignore)
    async for tag in sides.source.tags(repository):
        names.add(tag)
        if is_layer_tag(tag) or not (sides.rule.covers_tag(tag) or subject_of_tag(tag)):
            continue
        digest = await sides.source.digest(repository, tag)
        if digest is None:
            continue
        if await copy.target_digest(destination, tag) != digest:
            yield TagBehind(repository, tag, await _size(sides, repository, digest))
            continue
        for referrer in await sides.source.referrers(repository, digest):
            if await copy.target_digest(destination, str(referrer)) is None:
                yield TagBehind(repository, str(referrer))
    if sides.rule.deletions:
        async for behind in _surplus(sides, repository, names, deleted=deleted):
            yield behind


async def _surplus(
    sides: SidesOfRule, repository: str, names: set[str], *, deleted: bool = False
) -> AsyncIterator[TagBehind]:
    """Yield tags that only the destination has, and that came from the source."""
    destination = sides.rule.destination_of(repository)
    async for tag in sides.target.tags(destination):
        if tag in names or not (sides.rule.covers_tag(tag) or subject_of_tag(tag)):
            continue
        if sides.rule.direction is Direction.PULL:
            came = await sides.local.was_copied(destination, tag)
        else:
            came = deleted or await sides.local.had_tag(repository, tag)
        if came:
            yield TagBehind(repository, tag)


async def _size(sides: SidesOfRule, repository: str, digest: Digest) -> int:
    """Return the bytes of an image's blobs, or those of the images of an index."""
    manifest = await sides.source.manifest(repository, digest)
    size = sum(blob.size for blob in manifest.blobs)
    if sides.rule.direction is Direction.PULL:
        return size
    for child in manifest.manifests:
        try:
            if await sides.source.digest(repository, child.digest) is not None:
                image = await sides.source.manifest(repository, child.parsed_digest)
                size += sum(blob.size for blob in image.blobs)
        except InvalidDigest:
            continue
    return size


async def _ignore(_size: int) -> None:
    return
