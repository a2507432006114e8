"""Events of the registry: a tag was pushed."""

from hythe.database import Session
from hythe.hub.access.decision import hub_actor
from hythe.notifications.event import EventKind, NotificationEvent
from hythe.notifications.outbox import Outbox
from hythe.notifications.sql import webhooks as rows
from hythe.registry.access import Actor
from hythe.registry.events import RegistryListener, RepositoryRef, TagMove
from hythe.worker.layer_tags import is_layer_tag


class NotificationRegistryListener(RegistryListener):
    """Puts every tag that was pushed into the outbox, and deletes the webhooks of deleted repositories."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def delete_some(self, session: Session, repository_id: int) -> bool:
        """Delete deliveries, then the webhooks."""
        return await rows.delete_some(session, repository_id)

    async def tags_moved(
        self, session: Session, repository: RepositoryRef, moves: tuple[TagMove, ...], actor: Actor
    ) -> None:
        """See RegistryListener. Tags of layers that workers share are internal, and cause no event."""
        for move in moves:
            if move.digest is not None and not is_layer_tag(move.tag):
                event = NotificationEvent(
                    kinds=(EventKind.PUSH,),
                    repository_id=repository.id,
                    at=move.at,
                    pusher=hub_actor(actor).name,
                    tag=move.tag,
                )
                await self._outbox.add(session, event)
