"""Keeps the hub's index up to date with events of the registry, in the same transaction."""

from collections.abc import Callable
from datetime import datetime

from hythe.database import Session
from hythe.hub.access.decision import HubAccess, hub_actor
from hythe.hub.administration.blocked_digests import require_blob, require_manifest
from hythe.hub.errors import Refused, SignInNeeded
from hythe.hub.repositories.pulls import PullCounter
from hythe.hub.repositories.repository_index import enlist
from hythe.hub.sql import repositories as store
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Action, Actor
from hythe.registry.events import PulledManifest, RegistryListener, RepositoryRef, TagMove


class HubRegistryListener(RegistryListener):
    """Keeps the index up to date."""

    def __init__(self, access: HubAccess, pulls: PullCounter, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._access = access
        self._pulls = pulls

    async def repository_created(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """Add it to the index with the account's default visibility, if the plan allows."""
        try:
            context = await self._access.context(hub_actor(actor), repository.name, session)
            await self._access.former_names.require_none(
                hub_actor(actor), repository.name, context, Action.PUSH, session
            )
            await enlist(session, repository, context, listed=False)
        except (Refused, SignInNeeded) as error:
            raise WireError(ErrorCode.DENIED, str(error)) from error

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """Remove it from the index."""
        await store.remove(session, repository.id)

    async def manifest_pushed(
        self, session: Session, repository: RepositoryRef, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """Record the push. The first push makes the repository appear in lists and search."""
        await require_manifest(session, repository.id, str(digest))
        await store.record_push(session, repository.id, self._clock())

    async def blob_pushed(self, session: Session, repository: RepositoryRef, digest: Digest, actor: Actor) -> None:
        """Refuse blocked blobs."""
        await require_blob(session, str(digest))

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """Record when the repository last changed."""
        if moves:
            await store.change(session, repository.id, {"updated_at": moves[-1].at})

    async def manifest_pulled(self, repository: RepositoryRef, pulled: PulledManifest, actor: Actor) -> None:
        """Count the pull, unless one of the hub's own builds reads the manifest."""
        if hub_actor(actor).build is None:
            await self._pulls.count(repository.id, pulled)
