"""How builds react to the registry: a build moves tags only with a valid lease, and moved tags start builds."""

from datetime import timedelta

from hythe.builds.errors import LeaseLost
from hythe.builds.queue import BuildQueue
from hythe.builds.sql import deletions
from hythe.builds.sql.queue import Lease
from hythe.builds.triggers.base_image_watch import BaseImageWatch
from hythe.database import Session
from hythe.hub.access.decision import hub_actor
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Actor
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.registry.garbage_collection import mark_unreferenced
from hythe.worker.layer_tags import is_layer_tag


class BuildRegistryListener(RegistryListener):
    """Refuses tag moves of builds without a valid lease, queues builds from moved tags, and deletes builds."""

    def __init__(self, queue: BuildQueue, base_image_watch: BaseImageWatch, grace: timedelta) -> None:
        """Keep replaced layers for ``grace``: other workers can still be pulling them."""
        self._queue = queue
        self._base_image_watch = base_image_watch
        self._grace = grace

    def apply(self, grace: timedelta) -> None:
        """Take over a changed grace period."""
        self._grace = grace

    async def repository_deleted(self, session: Session, repository: RepositoryRef, actor: Actor) -> None:
        """End the builds of its build configuration, and let nothing trigger it again."""
        configuration_id = await deletions.configuration_of(session, repository.id)
        if configuration_id is not None:
            await deletions.stop(session, configuration_id)
            await self._queue.abandon(session, configuration_id, hub_actor(actor).name)

    async def delete_some(self, session: Session, repository_id: int) -> bool:
        """Delete builds, then the build configuration."""
        return await deletions.delete_some(session, repository_id)

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See RegistryListener."""
        lease = hub_actor(actor).build
        if lease is not None:
            try:
                await self._queue.require(session, Lease(lease.build_id, lease.fence, lease.key_digest))
            except LeaseLost as error:
                raise WireError(ErrorCode.DENIED, f"this build can no longer move tags: {error.message}") from error
        await self._base_image_watch.tags_moved(session, repository, moves)
        for move in moves:
            # Replaced layers are always collected, even if the installation keeps replaced images.
            if move.previous is not None and is_layer_tag(move.tag):
                await mark_unreferenced(session, repository.id, str(move.previous), move.at + self._grace)
