"""The port: what copying needs of either side, this hub or the other registry.

Uploads are named by a text that the side chooses; it may change with every part that is sent. Every method of the other
registry raises UpstreamError; those of this hub raise CopyFailed for what it refuses, and StorageUnavailable.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeAlias

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.manifest import Manifest

Body: TypeAlias = Callable[[], AsyncIterator[bytes]]
"""Opens the content to send; a request that is repeated opens it again."""


class BegunUpload(msgspec.Struct, frozen=True):
    """An upload of which the side has ``offset`` bytes."""

    upload: str
    offset: int = 0


class RegistrySide(Protocol):
    """One side of a replication rule. Repository names are the side's."""

    def repositories(self) -> AsyncIterator[str]:
        """Yield the repositories that contain an image."""

    def tags(self, repository: str) -> AsyncIterator[str]:
        """Yield the tags of a repository; none if it does not exist."""

    async def digest(self, repository: str, reference: str) -> Digest | None:
        """Return the digest of a tag or digest; None if the side does not have it."""

    async def manifest(self, repository: str, digest: Digest) -> Manifest:
        """Return a manifest, whose digest was verified."""

    async def referrers(self, repository: str, subject: Digest) -> tuple[Digest, ...]:
        """Return the manifests whose subject is this one: signatures, attestations."""

    async def has_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether a repository contains a blob."""

    def read(self, repository: str, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob from ``start`` up to, not including, ``stop``."""

    async def begin(self, repository: str, digest: Digest, sources: Sequence[str]) -> BegunUpload | None:
        """Begin an upload; None if the blob was mounted from one of these repositories instead."""

    async def find(self, repository: str, upload: str) -> BegunUpload | None:
        """Return an upload with what the side has of it; None if it no longer exists."""

    async def append(self, repository: str, begun: BegunUpload, body: Body, size: int) -> BegunUpload:
        """Send the next ``size`` bytes of an upload."""

    async def finish(self, repository: str, begun: BegunUpload, digest: Digest) -> None:
        """Turn a complete upload into a blob."""

    async def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> bool:
        """Store a manifest under a tag or its digest; return whether the side lists it as a referrer itself."""

    async def delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag, if it exists."""
