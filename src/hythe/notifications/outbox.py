"""The outbox: writes the deliveries of an event in the transaction that the event belongs to.

``WebhookSender`` sends them later, so a slow receiver does not delay a push or a build, and a crash loses no event.
"""

import secrets
import uuid
from datetime import UTC, datetime

import msgspec

from hythe.database import Session
from hythe.hub.sql import repositories as repository_rows
from hythe.notifications.event import EventKind, NotificationEvent
from hythe.notifications.sql import webhooks as rows
from hythe.notifications.webhook import Webhook, WebhookDelivery, body_of


class Outbox:
    """Adds events; every webhook of the repository that subscribes to one gets a delivery."""

    def __init__(self, hub_url: str) -> None:
        """Links in the bodies start with ``hub_url``."""
        self._hub_url = hub_url.rstrip("/")

    async def add(self, session: Session, event: NotificationEvent, *, mail: bool = False) -> None:
        """Write the deliveries of an event; ``mail`` includes e-mail addresses."""
        webhooks = await rows.of_repository(session, event.repository_id)
        wanted = [
            (webhook, kind)
            for webhook in webhooks
            if (mail or not webhook.is_mail) and (kind := _subscribed(webhook, event)) is not None
        ]
        repository = await repository_rows.by_id(session, event.repository_id) if wanted else None
        if repository is None:
            return
        event_id = str(uuid.uuid4())
        follows = False
        for webhook, kind in wanted:
            callback = secrets.token_urlsafe(24)
            body = msgspec.json.encode(body_of(event, repository, self._hub_url, callback)).decode()
            waits = webhook.chained and follows
            follows = follows or not webhook.is_mail
            await rows.add_delivery(session, _new_delivery(webhook, event_id, kind, body, callback, waits=waits))


def _subscribed(webhook: Webhook, event: NotificationEvent) -> EventKind | None:
    return next((kind for kind in webhook.events if kind in event.kinds), None)


def _new_delivery(
    webhook: Webhook, event_id: str, kind: EventKind, body: str, callback: str, *, waits: bool
) -> WebhookDelivery:
    now = datetime.now(UTC)
    return WebhookDelivery(
        id=str(uuid.uuid4()),
        webhook_id=webhook.id,
        event_id=event_id,
        event=kind,
        body=body,
        callback=callback,
        callback_state=rows.CHAINED if waits else "",
        attempts=0,
        due_at=None if waits else now,
        status=0,
        outcome="waiting for the webhook before it" if waits else "",
        created_at=now,
    )
