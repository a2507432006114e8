"""This hub as a side of a rule: its registry, used without HTTP and with the rights of the operator."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

from hythe.database import Database
from hythe.hub.actor import HubActor
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.oci.manifest import Manifest
from hythe.oci.reference import is_name
from hythe.registry.service import RegistryServices
from hythe.registry.sql import repositories as repository_store
from hythe.registry.uploads import Chunk
from hythe.replication.errors import CopyFailed
from hythe.replication.side import BegunUpload, Body

_PAGE = 500
_MISSING = frozenset({ErrorCode.NAME_UNKNOWN, ErrorCode.MANIFEST_UNKNOWN, ErrorCode.BLOB_UNKNOWN})
_FEW = 20


def replication_actor(rule: str) -> HubActor:
    """Return the author of a rule's changes here; no account can have the name."""
    return HubActor(f"replication rule {rule}", admin=True, operating=True, credential=f"replication rule {rule}")


class LocalSide:
    """See RegistrySide."""

    def __init__(self, registry: RegistryServices, database: Database, rule: str) -> None:
        self._registry = registry
        self._database = database
        self._actor = replication_actor(rule)

    async def repositories(self) -> AsyncIterator[str]:
        """See RegistrySide."""
        after, more = "", True
        while more:
            page = await self._registry.catalog.names(self._actor, after, _PAGE)
            for name in page.names:
                yield name
            more, after = page.more, page.names[-1] if page.names else ""

    async def tags(self, repository: str) -> AsyncIterator[str]:
        """See RegistrySide."""
        after, more = "", True
        while more:
            try:
                with _refusals():
                    page = await self._registry.tags.names(self._actor, repository, after, _PAGE)
            except _Missing:
                return
            for name in page.names:
                yield name
            more, after = page.more, page.names[-1] if page.names else ""

    async def exists(self, repository: str) -> bool:
        """Return whether there is a repository of this name."""
        async with self._database.reading() as session:
            return await repository_store.find(session, repository) is not None

    async def had_tag(self, repository: str, tag: str) -> bool:
        """Return whether a repository has had a tag before."""
        return bool(await self._registry.tags.history(self._actor, repository, tag, limit=1))

    async def was_copied(self, repository: str, tag: str) -> bool:
        """Return whether the rule itself was the last to set a tag."""
        moves = await self._registry.tags.history(self._actor, repository, tag, limit=1)
        return bool(moves) and moves[0].by == self._actor.name

    async def repositories_with(self, digest: Digest) -> tuple[str, ...]:
        """Return a few repositories that contain a blob."""
        async with self._database.reading() as session:
            return await repository_store.names_containing(session, str(digest), _FEW)

    async def digest(self, repository: str, reference: str) -> Digest | None:
        """See RegistrySide."""
        try:
            with _refusals():
                found = await self._registry.manifests.get(self._actor, repository, _parsed(reference))
        except _Missing:
            return None
        return found.digest

    async def manifest(self, repository: str, digest: Digest) -> Manifest:
        """See RegistrySide."""
        with _refusals():
            found = await self._registry.manifests.get(self._actor, repository, digest)
        return Manifest.parse(found.content, found.media_type)

    async def referrers(self, repository: str, subject: Digest) -> tuple[Digest, ...]:
        """See RegistrySide."""
        found: list[Digest] = []
        more = True
        while more:
            after = str(found[-1]) if found else ""
            with _refusals():
                page = await self._registry.referrers.of(self._actor, repository, subject, after=after)
            found += [each.parsed_digest for each in page.descriptors]
            more = page.more
        return tuple(found)

    async def has_blob(self, repository: str, digest: Digest) -> bool:
        """See RegistrySide."""
        try:
            with _refusals():
                await self._registry.blobs.get(self._actor, repository, digest)
        except _Missing:
            return False
        return True

    async def read(self, repository: str, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes]:
        """See RegistrySide."""
        with _refusals():
            blob = await self._registry.blobs.get(self._actor, repository, digest)
        async for piece in self._registry.blobs.read(blob, start, stop):
            yield piece

    async def begin(self, repository: str, digest: Digest, sources: Sequence[str]) -> BegunUpload | None:
        """See RegistrySide. Mounts from any repository of the hub."""
        if not is_name(repository):
            raise CopyFailed(f"{repository!r} is not a name that a repository here can have")
        with _refusals():
            if await self._registry.blobs.mount(self._actor, repository, digest, None):
                return None
            session = await self._registry.uploads.start(self._actor, repository)
        return BegunUpload(session.id)

    async def find(self, repository: str, upload: str) -> BegunUpload | None:
        """See RegistrySide."""
        try:
            session = await self._registry.uploads.get(self._actor, repository, upload)
        except WireError:
            return None
        return BegunUpload(session.id, session.offset)

    async def append(self, repository: str, begun: BegunUpload, body: Body, size: int) -> BegunUpload:
        """See RegistrySide."""
        chunk = Chunk(body(), begun.offset, size)
        with _refusals():
            session = await self._registry.uploads.append(self._actor, repository, begun.upload, chunk)
        return BegunUpload(session.id, session.offset)

    async def finish(self, repository: str, begun: BegunUpload, digest: Digest) -> None:
        """See RegistrySide."""
        with _refusals():
            last = Chunk(_nothing(), begun.offset, 0)
            await self._registry.uploads.finish(self._actor, repository, begun.upload, digest, last)

    async def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> bool:
        """See RegistrySide."""
        parsed = _parsed(reference)
        digest = parsed if isinstance(parsed, Digest) else manifest.digest()
        tags = () if isinstance(parsed, Digest) else (parsed,)
        with _refusals():
            await self._registry.manifests.put(
                self._actor, repository, digest, tags, manifest.content, manifest.media_type
            )
        return True

    async def delete_tag(self, repository: str, tag: str) -> None:
        """See RegistrySide."""
        try:
            with _refusals():
                await self._registry.tags.delete(self._actor, repository, tag)
        except _Missing:
            return


class _Missing(CopyFailed):
    """This hub does not have the content."""


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except WireError as error:
        kind = _Missing if error.code in _MISSING else CopyFailed
        raise kind(f"this hub: {error.message}") from error


def _parsed(reference: str) -> str | Digest:
    return Digest.parse(reference) if ":" in reference else reference


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
