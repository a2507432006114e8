"""Rows of outgoing webhooks and their deliveries."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.notifications import webhook_deliveries, webhooks
from hythe.database.tables.registry import repositories
from hythe.notifications.event import EventKind
from hythe.notifications.webhook import NewWebhook, Webhook, WebhookDelivery

CHAINED = "chained"

DELIVERIES_AT_ONCE = 50
"""Deliveries to delete in one step."""

MAX_COUNTED = 100_000
"""Waiting deliveries that are counted."""

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every delivery. SQLite would not use the index for IS NOT NULL."""

_COUNT_WAITING = select(func.count()).select_from(
    select(webhook_deliveries.c.id)
    .where(webhook_deliveries.c.due_at > bindparam("beginning"))
    .limit(MAX_COUNTED)
    .subquery("waiting")
)
_OWN = webhooks.c.repository_id == bindparam("id")
_SOME_DELIVERIES = (
    select(webhook_deliveries.c.id)
    .where(webhook_deliveries.c.webhook_id.in_(select(webhooks.c.id).where(_OWN)))
    .limit(DELIVERIES_AT_ONCE)
)
_DELETE_DELIVERIES = delete(webhook_deliveries).where(webhook_deliveries.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_WEBHOOKS = delete(webhooks).where(_OWN)


async def add(session: Session, repository_id: int, new: NewWebhook, sealed: str, now: datetime) -> int:
    """Insert a webhook, return its id."""
    events = [event.value for event in new.events] + ([CHAINED] if new.chained else [])
    values = {
        "repository_id": repository_id,
        "url": new.url,
        "secret": sealed,
        "events": " ".join(events),
        "created_at": now,
    }
    row = await session.row(insert(session, webhooks).values(values).returning(webhooks.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING returned no row")
    return int(row.id)


async def move(session: Session, repository_id: int, webhook_id: int, deleted_id: int) -> bool:
    """Move a webhook to a deleted repository, with which it will be deleted; return whether it existed."""
    where = (webhooks.c.repository_id == repository_id, webhooks.c.id == webhook_id)
    return bool(await session.run(update(webhooks).where(*where).values(repository_id=deleted_id)))


async def move_all(session: Session, repository_id: int, deleted_id: int) -> None:
    """Move every webhook of a repository to a deleted one, with which they will be deleted."""
    own = webhooks.c.repository_id == repository_id
    await session.run(update(webhooks).where(own).values(repository_id=deleted_id))


async def delete_some(session: Session, repository_id: int) -> bool:
    """Delete some deliveries of a deleted repository, at last its webhooks; return whether there were any."""
    ids = [row.id for row in await session.rows(_SOME_DELIVERIES, {"id": repository_id})]
    if ids:
        return bool(await session.run(_DELETE_DELIVERIES, {"ids": ids}))
    return bool(await session.run(_DELETE_WEBHOOKS, {"id": repository_id}))


async def of_repository(session: Session, repository_id: int) -> list[Webhook]:
    """Return a repository's webhooks, oldest first."""
    statement = select(webhooks).where(webhooks.c.repository_id == repository_id).order_by(webhooks.c.id)
    return [_webhook(row) for row in await session.rows(statement)]


async def by_id(session: Session, webhook_id: int) -> Webhook | None:
    """Return a webhook; None if it, or its repository, was deleted."""
    exists = (
        select(1).where(repositories.c.id == webhooks.c.repository_id, repositories.c.deleted_at.is_(None)).exists()
    )
    row = await session.row(select(webhooks).where(webhooks.c.id == webhook_id, exists))
    return _webhook(row) if row else None


async def set_url(session: Session, webhook_id: int, url: str) -> None:
    """Change the receiver of a webhook."""
    await session.run(update(webhooks).where(webhooks.c.id == webhook_id).values(url=url))


async def add_delivery(session: Session, delivery: WebhookDelivery) -> None:
    """Insert a delivery."""
    values = {name: getattr(delivery, name) for name in WebhookDelivery.__struct_fields__}
    await session.run(insert(session, webhook_deliveries).values(values | {"event": delivery.event.value}))


async def due(session: Session, now: datetime, limit: int) -> list[WebhookDelivery]:
    """Return deliveries that are due, oldest first."""
    statement = select(webhook_deliveries).where(webhook_deliveries.c.due_at <= now)
    return [_delivery(row) for row in await session.rows(statement.order_by(webhook_deliveries.c.due_at).limit(limit))]


async def count_waiting(session: Session) -> int:
    """Count the deliveries that are neither made nor given up, up to MAX_COUNTED."""
    row = await session.row(_COUNT_WAITING, {"beginning": BEGINNING})
    return int(row[0]) if row else 0


async def claim(session: Session, delivery: WebhookDelivery, until: datetime) -> bool:
    """Reserve a delivery until then; return False when another server has claimed it."""
    where = (webhook_deliveries.c.id == delivery.id, webhook_deliveries.c.due_at == delivery.due_at)
    return bool(await session.run(update(webhook_deliveries).where(*where).values(due_at=until)))


async def set_outcome(
    session: Session, delivery_id: str, attempts: int, status: int, outcome: str, due_at: datetime | None
) -> None:
    """Record the result of an attempt, and when the next one is due."""
    values = {"attempts": attempts, "status": status, "outcome": outcome[:500], "due_at": due_at}
    await session.run(update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id).values(values))


async def deliveries(session: Session, webhook_id: int, limit: int = 20) -> list[WebhookDelivery]:
    """Return the last deliveries of a webhook, newest first."""
    statement = select(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id)
    ordered = statement.order_by(webhook_deliveries.c.created_at.desc()).limit(limit)
    return [_delivery(row) for row in await session.rows(ordered)]


async def delivery_by_id(session: Session, delivery_id: str) -> WebhookDelivery | None:
    """Return a delivery."""
    row = await session.row(select(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id))
    return _delivery(row) if row else None


async def by_callback(session: Session, callback: str) -> WebhookDelivery | None:
    """Return the delivery whose ``callback_url`` ends in this secret."""
    row = await session.row(select(webhook_deliveries).where(webhook_deliveries.c.callback == callback))
    return _delivery(row) if row else None


async def set_callback_state(session: Session, delivery_id: str, state: str) -> None:
    """Record the state that the receiver reported."""
    await session.run(
        update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id).values(callback_state=state)
    )


async def next_in_chain(session: Session, after: WebhookDelivery) -> WebhookDelivery | None:
    """Return the delivery of the same event that waits for this one."""
    statement = select(webhook_deliveries).where(
        webhook_deliveries.c.event_id == after.event_id,
        webhook_deliveries.c.webhook_id > after.webhook_id,
        webhook_deliveries.c.callback_state == CHAINED,
    )
    row = await session.row(statement.order_by(webhook_deliveries.c.webhook_id).limit(1))
    return _delivery(row) if row else None


def _webhook(row: Row[Any]) -> Webhook:
    events = row.events.split()
    return Webhook(
        id=row.id,
        repository_id=row.repository_id,
        url=row.url,
        secret=row.secret,
        events=tuple(EventKind(event) for event in events if event != CHAINED),
        chained=CHAINED in events,
        created_at=row.created_at,
    )


def _delivery(row: Row[Any]) -> WebhookDelivery:
    values = {name: getattr(row, name) for name in WebhookDelivery.__struct_fields__}
    return WebhookDelivery(**values | {"event": EventKind(row.event)})
