"""Imports the content of a docker-registry (distribution) from its folder, verifying every digest.

    DIR/docker/registry/v2/blobs/sha256/ab/HEX/data
    DIR/docker/registry/v2/repositories/NAME/_manifests/revisions/sha256/HEX/link
    DIR/docker/registry/v2/repositories/NAME/_manifests/tags/TAG/current/link

The import only reads the folder. After an interruption it continues: existing content is not copied again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec

from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, InvalidDigest, OCIError, WireError
from hythe.oci.manifest import Manifest
from hythe.registry.access import Actor
from hythe.registry.service import RegistryServices

PIECE_SIZE = 1024 * 1024
IMPORTER = Actor("import")


class NoRegistryFolder(ValueError):
    """The folder is not that of a docker-registry; the message says what is missing."""


class Imported(msgspec.Struct, frozen=True):
    """One examined manifest; ``problem`` says why it was not imported, and is empty if it was.

    Without a ``digest`` it is a dangling tag.
    """

    repository: str
    digest: str
    tags: tuple[str, ...] = ()
    problem: str = ""


class RegistryFolder:
    """The folder of a docker-registry."""

    def __init__(self, folder: Path) -> None:
        """Open ``folder``, the registry's ``rootdirectory``. Raises NoRegistryFolder."""
        self._root = folder / "docker/registry/v2"
        if not (self._root / "repositories").is_dir():
            raise NoRegistryFolder(
                f"{folder} is not the folder of a docker-registry: it has no docker/registry/v2/repositories"
            )

    def repositories(self) -> Iterator[str]:
        """Yield the names of the repositories, sorted."""
        top = self._root / "repositories"
        for manifests in sorted(top.rglob("_manifests")):
            yield str(manifests.parent.relative_to(top))

    def manifests(self, repository: str) -> Iterator[Digest]:
        """Yield the digests of a repository's manifests by their folder names, because a power failure may empty link
        files.
        """
        for link in sorted(self._manifests(repository).glob("revisions/*/*/link")):
            yield Digest.parse(f"{link.parent.parent.name}:{link.parent.name}")

    def tags(self, repository: str) -> dict[str, Digest | None]:
        """Return the digest of each tag; None if the link cannot be read."""
        links = self._manifests(repository).glob("tags/*/current/link")
        return {link.parent.parent.name: _read_link(link) for link in sorted(links)}

    def content(self, digest: Digest) -> bytes:
        """Return a manifest's bytes. Raises OSError."""
        return self._data(digest).read_bytes()

    async def pieces(self, digest: Digest) -> AsyncIterator[bytes]:
        """Yield a blob's bytes. Raises OSError."""
        with self._data(digest).open("rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_SIZE):
                yield piece

    def _manifests(self, repository: str) -> Path:
        return self._root / "repositories" / repository / "_manifests"

    def _data(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex / "data"


class Import:
    """Imports the content of a folder into a registry."""

    def __init__(self, registry: RegistryServices, folder: RegistryFolder) -> None:
        self._registry = registry
        self._folder = folder

    async def run(self) -> AsyncIterator[Imported]:
        """Import everything and yield the result for each manifest. Damaged content is reported and skipped."""
        for repository in self._folder.repositories():
            async for result in self._import_repository(repository):
                yield result

    async def _import_repository(self, repository: str) -> AsyncIterator[Imported]:
        tags = self._folder.tags(repository)
        waiting = list(self._folder.manifests(repository))
        for tag, target in tags.items():
            if target not in waiting:
                yield Imported(repository, "", (tag,), "the tag refers to no manifest")
        while waiting:
            # An index is refused until its children are imported, so this may take several passes.
            failed: list[tuple[Digest, Imported]] = []
            for digest in waiting:
                names = tuple(tag for tag, target in tags.items() if target == digest)
                result = await self._import_manifest(repository, digest, names)
                if result.problem:
                    failed.append((digest, result))
                else:
                    yield result
            if len(failed) == len(waiting):
                for _, result in failed:
                    yield result
                break
            waiting = [digest for digest, _ in failed]

    async def _import_manifest(self, repository: str, digest: Digest, tags: tuple[str, ...]) -> Imported:
        try:
            content = self._folder.content(digest)
            if not digest.matches(content):
                return Imported(repository, str(digest), tags, "its content does not match its digest")
            manifest = Manifest.parse(content)
            for descriptor in manifest.blobs:
                await self._import_blob(repository, descriptor.parsed_digest)
            await self._registry.manifests.put(IMPORTER, repository, digest, tags, content, manifest.media_type)
        except OSError as error:
            return Imported(repository, str(digest), tags, f"cannot be read: {error.strerror}: {error.filename}")
        except OCIError as error:
            return Imported(repository, str(digest), tags, str(error))
        return Imported(repository, str(digest), tags)

    async def _import_blob(self, repository: str, digest: Digest) -> None:
        try:
            await self._registry.blobs.get(IMPORTER, repository, digest)
        except WireError as error:
            if error.code is not ErrorCode.BLOB_UNKNOWN:
                raise
            if not await self._registry.blobs.mount(IMPORTER, repository, digest, None):
                await self._copy(repository, digest)

    async def _copy(self, repository: str, digest: Digest) -> None:
        try:
            await self._registry.uploads.put(IMPORTER, repository, digest, self._folder.pieces(digest))
        except WireError as error:
            if error.code is not ErrorCode.DIGEST_INVALID:
                raise
            raise InvalidDigest(f"the content of its blob {digest} does not match the digest") from error


def _read_link(link: Path) -> Digest | None:
    try:
        return Digest.parse(link.read_text().strip())
    except (OSError, UnicodeDecodeError, InvalidDigest):
        return None
