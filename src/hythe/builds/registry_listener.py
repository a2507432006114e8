"""How builds react to events of the registry: only a build with a valid lease moves tags, and moved tags start builds."""

from datetime import timedelta

from hythe.builds.errors import LeaseLost
from hythe.builds.queue import BuildQueue
from hythe.builds.sql.queue import Lease
from hythe.builds.triggers.base_image_watch import BaseImageWatch
from hythe.database import Session
from hythe.hub.access import hub_actor
from hythe.oci.digest import Digest
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Actor
from hythe.registry.events import Listener, Repository, TagMove
from hythe.registry.garbage_collection import mark_unneeded
from hythe.worker.layer_tags import is_layer_tag


class BuildRegistryListener:
    """The registry's ``Listener``, around the hub's own."""

    def __init__(self, inner: Listener, queue: BuildQueue, base_image_watch: BaseImageWatch, grace: timedelta) -> None:
        """Keep replaced layers for ``grace``: other workers may still pull them."""
        self._inner = inner
        self._queue = queue
        self._base_image_watch = base_image_watch
        self._grace = grace

    async def repository_created(self, session: Session, repository: Repository, actor: Actor) -> None:
        """See Listener."""
        await self._inner.repository_created(session, repository, actor)

    async def repository_deleted(self, session: Session, repository: Repository, actor: Actor) -> None:
        """See Listener. The build configuration is deleted with the repository's row."""
        await self._inner.repository_deleted(session, repository, actor)

    async def manifest_pushed(
        self, session: Session, repository: Repository, digest: Digest, media_type: str, size: int, actor: Actor
    ) -> None:
        """See Listener."""
        await self._inner.manifest_pushed(session, repository, digest, media_type, size, actor)

    async def tags_moved(
        self, session: Session, repository: Repository, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See Listener. Refuses builds that lost their lease, in the transaction that would move the tag."""
        lease = hub_actor(actor).build
        if lease is not None:
            try:
                await self._queue.require(session, Lease(lease.build_id, lease.fence, lease.key_digest))
            except LeaseLost as error:
                raise WireError(ErrorCode.DENIED, f"this build can no longer move tags: {error.message}") from error
        await self._inner.tags_moved(session, repository, moves, actor)
        await self._base_image_watch.tags_moved(session, repository.name, moves)
        for move in moves:
            # Replaced layers are always collected, even if the installation keeps replaced images.
            if move.previous is not None and is_layer_tag(move.tag):
                await mark_unneeded(session, repository.id, str(move.previous), move.at + self._grace)

    async def manifest_pulled(self, repository: Repository, tag: str | None, digest: Digest, actor: Actor) -> None:
        """See Listener. Pulls of builds are not counted."""
        if hub_actor(actor).build is None:
            await self._inner.manifest_pulled(repository, tag, digest, actor)
