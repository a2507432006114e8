"""Rows of outgoing notices and their deliveries."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import webhook_deliveries, webhooks
from hythe.notifications.webhook import Delivery, Event, NewNotice, Notice

CHAINED = "chained"


async def add(session: Session, configuration_id: int, new: NewNotice, sealed: str, now: datetime) -> int:
    """Insert a notice, return its id."""
    words = [event.value for event in new.events] + ([CHAINED] if new.chained else [])
    values = {
        "configuration_id": configuration_id,
        "url": new.url,
        "secret": sealed,
        "events": " ".join(words),
        "created_at": now,
    }
    row = await session.row(insert(session, webhooks).values(values).returning(webhooks.c.id))
    if row is None:
        raise LookupError("an INSERT .. RETURNING gave no row")
    return int(row.id)


async def remove(session: Session, configuration_id: int, webhook_id: int) -> bool:
    """Delete a notice with its deliveries; returns whether there was one."""
    where = (webhooks.c.configuration_id == configuration_id, webhooks.c.id == webhook_id)
    return bool(await session.run(delete(webhooks).where(*where)))


async def of_setup(session: Session, configuration_id: int) -> list[Notice]:
    """Return a set-up's notices in the order in which they were made."""
    statement = select(webhooks).where(webhooks.c.configuration_id == configuration_id).order_by(webhooks.c.id)
    return [_notice(row) for row in await session.rows(statement)]


async def by_id(session: Session, webhook_id: int) -> Notice | None:
    """Return a notice."""
    row = await session.row(select(webhooks).where(webhooks.c.id == webhook_id))
    return _notice(row) if row else None


async def set_url(session: Session, webhook_id: int, url: str) -> None:
    """Write where a notice goes from now on."""
    await session.run(update(webhooks).where(webhooks.c.id == webhook_id).values(url=url))


async def add_delivery(session: Session, delivery: Delivery) -> None:
    """Insert a delivery."""
    values = {name: getattr(delivery, name) for name in Delivery.__struct_fields__}
    await session.run(insert(session, webhook_deliveries).values(values | {"event": delivery.event.value}))


async def due(session: Session, now: datetime, most: int) -> list[Delivery]:
    """Return deliveries whose time has come, the oldest first."""
    statement = select(webhook_deliveries).where(webhook_deliveries.c.due_at <= now)
    return [_delivery(row) for row in await session.rows(statement.order_by(webhook_deliveries.c.due_at).limit(most))]


async def claim(session: Session, delivery: Delivery, until: datetime) -> bool:
    """Take a delivery for a while, unless another server did."""
    where = (webhook_deliveries.c.id == delivery.id, webhook_deliveries.c.due_at == delivery.due_at)
    return bool(await session.run(update(webhook_deliveries).where(*where).values(due_at=until)))


async def write_outcome(
    session: Session, delivery_id: str, attempts: int, status: int, outcome: str, due_at: datetime | None
) -> None:
    """Write how an attempt went, and when the next is due."""
    values = {"attempts": attempts, "status": status, "outcome": outcome[:500], "due_at": due_at}
    await session.run(update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id).values(values))


async def of_notice(session: Session, webhook_id: int, most: int = 20) -> list[Delivery]:
    """Return a notice's last deliveries, newest first."""
    statement = select(webhook_deliveries).where(webhook_deliveries.c.webhook_id == webhook_id)
    ordered = statement.order_by(webhook_deliveries.c.created_at.desc()).limit(most)
    return [_delivery(row) for row in await session.rows(ordered)]


async def delivery_by_id(session: Session, delivery_id: str) -> Delivery | None:
    """Return a delivery."""
    row = await session.row(select(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id))
    return _delivery(row) if row else None


async def by_callback(session: Session, callback: str) -> Delivery | None:
    """Return the delivery whose ``callback_url`` ends in this secret."""
    row = await session.row(select(webhook_deliveries).where(webhook_deliveries.c.callback == callback))
    return _delivery(row) if row else None


async def write_callback(session: Session, delivery_id: str, state: str) -> None:
    """Write what the receiver said."""
    await session.run(
        update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id).values(callback_state=state)
    )


async def next_in_chain(session: Session, after: Delivery) -> Delivery | None:
    """Return the delivery of the same build that waits for this one."""
    statement = select(webhook_deliveries).where(
        webhook_deliveries.c.build_id == after.build_id,
        webhook_deliveries.c.webhook_id > after.webhook_id,
        webhook_deliveries.c.callback_state == CHAINED,
    )
    row = await session.row(statement.order_by(webhook_deliveries.c.webhook_id).limit(1))
    return _delivery(row) if row else None


def _notice(row: Row[Any]) -> Notice:
    words = row.events.split()
    return Notice(
        id=row.id,
        configuration_id=row.configuration_id,
        url=row.url,
        secret=row.secret,
        events=tuple(Event(word) for word in words if word != CHAINED),
        chained=CHAINED in words,
        created_at=row.created_at,
    )


def _delivery(row: Row[Any]) -> Delivery:
    values = {name: getattr(row, name) for name in Delivery.__struct_fields__}
    return Delivery(**values | {"event": Event(row.event)})
