"""Outgoing webhooks and their deliveries, as values."""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hythe.hub.repositories.repository import Repository
from hythe.notifications.event import EventKind, NotificationEvent


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook to add. A ``chained`` webhook waits until the receiver before it has called back with success."""

    url: Annotated[str, Meta(min_length=8, max_length=2000)]
    secret: Annotated[str, Meta(max_length=200)] = ""
    events: tuple[EventKind, ...] = (EventKind.SUCCESS,)
    chained: bool = False


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription to events of one repository; ``secret`` is sealed."""

    id: int
    repository_id: int
    url: str
    secret: str
    events: tuple[EventKind, ...]
    chained: bool
    created_at: datetime

    @property
    def is_mail(self) -> bool:
        """Whether the receiver is an e-mail address."""
        return self.url.startswith("mailto:")


class WebhookDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one webhook; deliveries of the same event share ``event_id``.

    ``due_at`` is None once it is delivered or given up, and while it waits for the webhook before it.
    """

    id: str
    webhook_id: int
    event_id: str
    event: EventKind
    body: str
    callback: str
    callback_state: str
    attempts: int
    due_at: datetime | None
    status: int
    outcome: str
    created_at: datetime


class CallbackBody(msgspec.Struct, frozen=True):
    """What a receiver sends to ``callback_url`` (Docker Hub's webhook chains)."""

    state: str
    description: Annotated[str, Meta(max_length=255)] = ""
    context: Annotated[str, Meta(max_length=100)] = ""
    target_url: Annotated[str, Meta(max_length=2000)] = ""


def body_of(event: NotificationEvent, repository: Repository, hub_url: str, callback: str) -> dict[str, Any]:
    """Return the body of Docker Hub's webhooks, with a field ``build`` for events of builds."""
    name = repository.short_name
    body: dict[str, Any] = {
        "callback_url": f"{hub_url}/u/{repository.full_name}/hook/{callback}/",
        "push_data": {"pushed_at": int(event.at.timestamp()), "pusher": event.pusher, "tag": event.tag, "images": []},
        "repository": {
            "name": repository.name,
            "namespace": repository.namespace,
            "repo_name": name,
            "repo_url": f"{hub_url}/{name}",
            "owner": repository.namespace,
            "description": repository.description,
            "full_description": repository.full_description,
            "is_private": repository.private,
            "is_official": repository.official,
            "is_trusted": event.build is not None or repository.built,
            "star_count": repository.stars,
            "comment_count": 0,
            "date_created": int(repository.created_at.timestamp()),
            "dockerfile": event.dockerfile,
            "status": "Active",
        },
    }
    return body if event.build is None else body | {"build": event.build}


def signature(secret: str, body: bytes) -> str:
    """Return the value of ``X-Hub-Signature-256``, computed as GitHub does."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
