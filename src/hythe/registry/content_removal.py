"""Deletes a manifest or blob from a repository with all that needs it, also what is protected; for operators."""

from collections.abc import Sequence

from hythe.database import Database, Session
from hythe.database.pacing import paced
from hythe.oci.digest import Digest
from hythe.registry.access import Actor
from hythe.registry.clock import Clock
from hythe.registry.events import RegistryListener, RepositoryRef
from hythe.registry.manifests import TAGS_AT_ONCE, Manifests
from hythe.registry.policy import Policy
from hythe.registry.sql import blobs as blob_store
from hythe.registry.sql import manifests as manifest_store
from hythe.registry.sql import repositories as repository_store
from hythe.registry.sql import tags as tag_store
from hythe.registry.tags import Tags


class ContentRemoval:
    """Deletes content in short transactions. The caller has checked access."""

    def __init__(
        self,
        database: Database,
        manifests: Manifests,
        tags: Tags,
        listeners: Sequence[RegistryListener],
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._database = paced(database)
        self._manifests = manifests
        self._tags = tags
        self._listeners = listeners
        self._policy = policy
        self._clock = clock

    async def remove(self, actor: Actor, repository: str, digest: Digest) -> None:
        """Delete the manifest with its tags, and the blob with every manifest that refers to it, if they exist.

        Indexes that list a deleted manifest stay, without it.
        """
        while True:
            async with self._database.writing() as session:
                found = await repository_store.lock(session, repository, exclusive=True)
                if found is None or not await self._remove_some(session, actor, found, digest):
                    return

    async def _remove_some(self, session: Session, actor: Actor, repository: RepositoryRef, digest: Digest) -> bool:
        """Delete some of it; return whether there may be more."""
        if await manifest_store.exists(session, repository.id, str(digest)):
            await self._remove_manifest(session, actor, repository, digest)
            return True
        users = await manifest_store.some_with_blob(session, repository.id, str(digest), 1)
        if users:
            await self._remove_manifest(session, actor, repository, Digest.parse(users[0]))
            return True
        # Lock the blob before the usage of the namespace, which unlinking changes, as pushes do.
        await blob_store.mark(session, str(digest), self._clock() + self._policy.grace)
        if await blob_store.unlink(session, repository.id, str(digest)):
            for listener in self._listeners:
                await listener.content_deleted(session, repository, digest, actor)
        return False

    async def _remove_manifest(self, session: Session, actor: Actor, repository: RepositoryRef, digest: Digest) -> None:
        tags = await tag_store.some_pointing_at(session, repository.id, str(digest), TAGS_AT_ONCE)
        if len(tags) < TAGS_AT_ONCE:
            await self._manifests.remove(session, repository, digest, tags, actor)
        else:
            await self._tags.remove(session, repository, tags, digest, actor)
