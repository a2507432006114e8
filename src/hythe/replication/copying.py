"""Copies an image from one side to the other: blobs, then manifests, then what signs them, and the tag last.

So the destination never has a tag whose image is incomplete. What it has already is not sent. A blob is sent in parts,
and the upload is recorded after each: after a crash, at most one part is sent again.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.errors import InvalidDigest
from hythe.oci.manifest import MANIFEST_MEDIA_TYPES, Descriptor, Manifest
from hythe.registry.mirror.errors import UpstreamMissing
from hythe.replication.errors import CopyFailed
from hythe.replication.item import ReplicationOutcome
from hythe.replication.local_side import LocalSide
from hythe.replication.remote_side import RemoteSide, list_as_referrer
from hythe.replication.rule import Direction, ReplicationRule, subject_of_tag
from hythe.replication.side import BegunUpload, RegistrySide

PART_SIZE = 16 * 1024 * 1024
"""Bytes of a blob in one request: what may have to be sent again after a crash."""

MAX_DEPTH = 20
"""Manifests below or about each other; signatures of signatures of indexes have fewer."""

MAX_MOUNT_ATTEMPTS = 3


class CopyProgress(msgspec.Struct):
    """How far a copy is: ``size`` bytes are to be sent, as far as that is known, and ``sent`` were."""

    size: int = 0
    sent: int = 0


class UploadRecord:
    """Where a copy records its uploads. Here it forgets them; see ``runner``."""

    async def get(self, repository: str, digest: Digest) -> str | None:
        """Return the upload that was begun for a blob."""
        return None

    async def set(self, repository: str, digest: Digest, upload: str | None) -> None:
        """Record an upload; None: it has ended."""


class SidesOfRule(msgspec.Struct, frozen=True):
    """Both sides of a rule."""

    rule: ReplicationRule
    local: LocalSide
    remote: RemoteSide

    @property
    def source(self) -> RegistrySide:
        """Where content comes from."""
        return self.local if self.rule.direction is Direction.PUSH else self.remote

    @property
    def target(self) -> RegistrySide:
        """Where content goes."""
        return self.remote if self.rule.direction is Direction.PUSH else self.local


class ImageCopy:
    """The copy of one tag or manifest. Every method raises CopyFailed, UpstreamError and StorageUnavailable."""

    def __init__(
        self,
        sides: SidesOfRule,
        uploads: UploadRecord,
        progress: CopyProgress,
        announce: Callable[[int], Awaitable[None]],
    ) -> None:
        """``announce`` is called with the number of bytes to send, as soon as it is known."""
        self._rule = sides.rule
        self._local = sides.local
        self._remote = sides.remote
        self._source = sides.source
        self._target = sides.target
        self._uploads = uploads
        self._progress = progress
        self._announce = announce

    async def run(self, repository: str, reference: str) -> tuple[ReplicationOutcome, str]:
        """Copy or delete a tag, or copy a manifest by its digest; return what was done, and why if it was kept."""
        destination = self._rule.destination_of(repository)
        digest = await self._source.digest(repository, reference)
        if digest is None:
            return await self._delete(destination, reference)
        if not await self._is_wanted(destination, reference, repository, digest):
            return ReplicationOutcome.EQUAL, ""
        present = await self.target_digest(destination, reference)
        if present == digest:
            return ReplicationOutcome.EQUAL, ""
        if present is not None and not self._rule.override:
            return ReplicationOutcome.KEPT, f"the destination has {present}, and the rule does not override"
        await self._copy_tree(repository, destination, digest, MAX_DEPTH)
        if ":" not in reference:
            manifest = await self._source.manifest(repository, digest)
            await self._target.put_manifest(destination, reference, manifest)
        return ReplicationOutcome.COPIED, ""

    async def target_digest(self, destination: str, reference: str) -> Digest | None:
        """Return what the destination has; it may hide what does not exist."""
        try:
            return await self._target.digest(destination, reference)
        except UpstreamMissing:
            return None

    async def _delete(self, destination: str, reference: str) -> tuple[ReplicationOutcome, str]:
        if ":" in reference:
            return ReplicationOutcome.EQUAL, ""
        if await self.target_digest(destination, reference) is None:
            return ReplicationOutcome.EQUAL, ""
        if self._rule.direction is Direction.PULL and not await self._local.was_copied(destination, reference):
            return ReplicationOutcome.KEPT, "the source deleted the tag, but the one here is not from the source"
        if not self._rule.deletions:
            return ReplicationOutcome.KEPT, "the source deleted the tag, and the rule does not follow deletions"
        await self._target.delete_tag(destination, reference)
        return ReplicationOutcome.DELETED, ""

    async def _is_wanted(self, destination: str, reference: str, repository: str, digest: Digest) -> bool:
        """Return whether a reference belongs to the rule: what describes an image follows the image."""
        if ":" in reference:
            described = (await self._source.manifest(repository, digest)).subject
            subject = described.digest if described is not None else None
        else:
            if self._rule.covers_tag(reference):
                return True
            subject = subject_of_tag(reference)
        return subject is not None and await self.target_digest(destination, subject) is not None

    async def _copy_tree(self, repository: str, destination: str, digest: Digest, depth: int) -> None:
        """Copy a manifest with all that it refers to, and then with all that refers to it."""
        if depth == 0:
            raise CopyFailed(f"{digest} is nested too deeply")
        manifest = await self._source.manifest(repository, digest)
        for child in manifest.manifests:
            await self._copy_child(repository, destination, child, depth)
        await self._copy_blobs(repository, destination, manifest)
        # Keep the digest's own algorithm.
        listed = await self._target.put_manifest(destination, str(digest), manifest)
        if not listed and manifest.subject is not None:
            await list_as_referrer(self._remote, destination, _digest_of(manifest.subject), manifest)
        for referrer in await self._source.referrers(repository, digest):
            if await self.target_digest(destination, str(referrer)) is None:
                await self._copy_tree(repository, destination, referrer, depth - 1)

    async def _copy_child(self, repository: str, destination: str, child: Descriptor, depth: int) -> None:
        digest = _digest_of(child)
        # An index may also list blobs, as exported build caches do.
        if child.media_type and child.media_type not in MANIFEST_MEDIA_TYPES:
            if not await self._target.has_blob(destination, digest):
                await self._copy_blob(repository, destination, digest, child.size)
        elif await self.target_digest(destination, str(digest)) is None:
            await self._copy_tree(repository, destination, digest, depth - 1)

    async def _copy_blobs(self, repository: str, destination: str, manifest: Manifest) -> None:
        wanted = {_digest_of(each): each.size for each in manifest.blobs}
        missing = {
            digest: size for digest, size in wanted.items() if not await self._target.has_blob(destination, digest)
        }
        if missing:
            self._progress.size += sum(missing.values())
            await self._announce(self._progress.size)
        for digest, size in missing.items():
            await self._copy_blob(repository, destination, digest, size)

    async def _copy_blob(self, repository: str, destination: str, digest: Digest, size: int) -> None:
        begun = await self._resume(destination, digest)
        if begun is None:
            begun = await self._target.begin(destination, digest, await self._mount_sources(destination, digest))
        if begun is None:
            self._progress.sent += size
            return
        if begun.offset > size:
            raise CopyFailed(f"the destination has more bytes of {digest} than it has")
        while begun.offset < size:
            stop = min(size, begun.offset + PART_SIZE)
            body = partial(self._paced, repository, digest, begun.offset, stop)
            begun = await self._target.append(destination, begun, body, stop - begun.offset)
            if begun.offset < size:
                await self._uploads.set(destination, digest, begun.upload)
        await self._target.finish(destination, begun, digest)
        await self._uploads.set(destination, digest, None)

    async def _resume(self, destination: str, digest: Digest) -> BegunUpload | None:
        upload = await self._uploads.get(destination, digest)
        if upload is None:
            return None
        begun = await self._target.find(destination, upload)
        if begun is None:
            await self._uploads.set(destination, digest, None)
        else:
            self._progress.sent += begun.offset
        return begun

    async def _mount_sources(self, destination: str, digest: Digest) -> list[str]:
        """Return repositories of the destination from which it may mount a blob: this hub has it there, too."""
        if self._rule.direction is Direction.PULL:
            return []
        names = await self._local.repositories_with(digest)
        covered = (self._rule.destination_of(name) for name in names if self._rule.covers_repository(name))
        return [name for name in dict.fromkeys(covered) if name != destination][:MAX_MOUNT_ATTEMPTS]

    async def _paced(self, repository: str, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield a part of a blob, not faster than the rule allows; its copies share its rate."""
        rate = self._rule.rate / self._rule.concurrency
        began, sent = time.monotonic(), 0
        async for piece in self._source.read(repository, digest, start, stop):
            yield piece
            sent += len(piece)
            self._progress.sent += len(piece)
            if rate and (ahead := sent / rate - (time.monotonic() - began)) > 0:
                await asyncio.sleep(ahead)


def _digest_of(descriptor: Descriptor) -> Digest:
    try:
        return descriptor.parsed_digest
    except InvalidDigest as error:
        raise CopyFailed(str(error)) from error
