"""How builds react to the registry: a build moves tags only with a valid lease, and moved tags start builds."""

from datetime import timedelta

from hythe.builds.errors import LeaseLost
from hythe.builds.queue import BuildQueue
from hythe.builds.sql.queue import Lease
from hythe.builds.triggers.base_image_watch import BaseImageWatch
from hythe.database import Session
from hythe.hub.access import hub_actor
from hythe.oci.errors import ErrorCode, WireError
from hythe.registry.access import Actor
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.registry.garbage_collection import mark_unreferenced
from hythe.worker.layer_tags import is_layer_tag


class BuildRegistryListener(RegistryListener):
    """Refuses tag moves of builds without a valid lease, and queues builds from moved tags."""

    def __init__(self, queue: BuildQueue, base_image_watch: BaseImageWatch, grace: timedelta) -> None:
        """Keep replaced layers for ``grace``: other workers can still be pulling them."""
        self._queue = queue
        self._base_image_watch = base_image_watch
        self._grace = grace

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
        await self._base_image_watch.tags_moved(session, repository.name, moves)
        for move in moves:
            # Replaced layers are always collected, even if the installation keeps replaced images.
            if move.previous is not None and is_layer_tag(move.tag):
                await mark_unreferenced(session, repository.id, str(move.previous), move.at + self._grace)
