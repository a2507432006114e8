"""What users can do with the webhooks of a repository."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from hythe.builds.configurations import BuildConfigurationService
from hythe.database import Database, Session
from hythe.hub.access.actions import HubAction
from hythe.hub.actor import HubActor
from hythe.hub.errors import NotFound
from hythe.hub.logs import audit
from hythe.hub.secret_box import SecretBox
from hythe.notifications.errors import InvalidWebhook
from hythe.notifications.event import EventKind
from hythe.notifications.sender import SECRET
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import CallbackBody, NewWebhook, Webhook, WebhookDelivery
from hythe.registry.sql import deletions as registry_deletions

MAX_WEBHOOKS = 20


class WebhookService:
    """Adds, lists and removes webhooks, and sends deliveries again.

    Only repositories with Trusted Builds have webhooks. Calls with an actor raise NotFound, SignInNeeded or Refused
    unless the actor can manage the repository's builds.
    """

    def __init__(self, database: Database, configurations: BuildConfigurationService, secret_box: SecretBox) -> None:
        self._database = database
        self._configurations = configurations
        self._secret_box = secret_box

    async def add(self, actor: HubActor, repository: str, new: NewWebhook) -> Webhook:
        """Add a webhook. Raises InvalidWebhook."""
        repository_id = await self._managed(actor, repository, HubAction.CONFIGURE_WEBHOOKS)
        parts = urlsplit(new.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidWebhook(f"{new.url[:100]!r} is not an http or https URL", "write https://HOST/PATH")
        if not new.events:
            raise InvalidWebhook("a webhook needs an event", f"use {', '.join(kind.value for kind in EventKind)}")
        sealed = self._secret_box.seal(SECRET, new.secret) if new.secret else ""
        async with self._database.writing() as session:
            if len(await rows.of_repository(session, repository_id)) >= MAX_WEBHOOKS:
                raise InvalidWebhook(f"a repository has at most {MAX_WEBHOOKS} webhooks", "remove one first")
            webhook_id = await rows.add(session, repository_id, new, sealed, datetime.now(UTC))
            added = await rows.by_id(session, webhook_id)
            await _record(session, actor, repository, added=new.url)
        if added is None:
            raise NotFound("this webhook was removed")
        return added

    async def of_repository(self, actor: HubActor, repository: str) -> list[Webhook]:
        """Return a repository's webhooks, oldest first."""
        repository_id = await self._managed(actor, repository, HubAction.VIEW_WEBHOOKS)
        async with self._database.reading() as session:
            return await rows.of_repository(session, repository_id)

    async def remove(self, actor: HubActor, repository: str, webhook_id: int) -> None:
        """Remove a webhook with its deliveries. Raises NotFound."""
        configuration = await self._configurations.managed(actor, repository, HubAction.CONFIGURE_WEBHOOKS)
        async with self._database.writing() as session:
            # The registry deletes the deliveries in steps, as those of a deleted repository.
            deleted_id = await registry_deletions.add_deleted(session, configuration.repository, datetime.now(UTC))
            if not await rows.move(session, configuration.repository_id, webhook_id, deleted_id):
                raise NotFound(f"webhook {webhook_id} not found")
            await _record(session, actor, repository, removed=webhook_id)

    async def deliveries(self, actor: HubActor, repository: str, webhook_id: int) -> list[WebhookDelivery]:
        """Return the last deliveries of a webhook, newest first. Raises NotFound."""
        repository_id = await self._managed(actor, repository, HubAction.VIEW_WEBHOOKS)
        async with self._database.reading() as session:
            webhook = await rows.by_id(session, webhook_id)
            if webhook is None or webhook.repository_id != repository_id:
                raise NotFound(f"webhook {webhook_id} not found")
            return await rows.deliveries(session, webhook_id)

    async def redeliver(self, actor: HubActor, repository: str, delivery_id: str) -> None:
        """Send a delivery again, now. Raises NotFound."""
        repository_id = await self._managed(actor, repository, HubAction.CONFIGURE_WEBHOOKS)
        async with self._database.writing() as session:
            delivery = await rows.delivery_by_id(session, delivery_id)
            webhook = await rows.by_id(session, delivery.webhook_id) if delivery else None
            if delivery is None or webhook is None or webhook.repository_id != repository_id:
                raise NotFound(f"delivery {delivery_id!r} not found")
            await rows.set_outcome(session, delivery.id, 0, delivery.status, "redelivery requested", datetime.now(UTC))
            await _record(session, actor, repository, redelivered=delivery.id)

    async def record_callback(self, callback: str, body: CallbackBody) -> None:
        """Record a receiver's call of ``callback_url``; success sends the next delivery of the chain.

        Raises NotFound, InvalidWebhook.
        """
        if body.state not in ("success", "failure", "error"):
            raise InvalidWebhook(f"{body.state!r} is not a callback state", "send success, failure or error")
        async with self._database.writing() as session:
            delivery = await rows.by_callback(session, callback)
            if delivery is None:
                raise NotFound("unknown callback URL")
            await rows.set_callback_state(session, delivery.id, body.state)
            waiting = await rows.next_in_chain(session, delivery)
            if waiting is not None and body.state == "success":
                await rows.set_callback_state(session, waiting.id, "")
                await rows.set_outcome(session, waiting.id, 0, 0, "", datetime.now(UTC))

    async def _managed(self, actor: HubActor, repository: str, action: HubAction) -> int:
        return (await self._configurations.managed(actor, repository, action)).repository_id


async def _record(session: Session, actor: HubActor, repository: str, **detail: object) -> None:
    await audit.record_repository(
        session, actor, HubAction.CONFIGURE_WEBHOOKS, repository, "", at=datetime.now(UTC), **detail
    )
