"""SQL of the webhooks that forges call, with their deploy keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, or_, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.forges import forge_webhooks


class ForgeWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A build configuration's webhook. The remote ids are empty if the hub did not install the webhook or the key."""

    id: str
    configuration_id: int | None
    linked_account_id: int | None
    forge_repository: str
    hub_url: str
    remote_webhook_id: str
    public_key: str
    remote_key_id: str
    problem: str
    attempts: int
    created_at: datetime

    @property
    def url(self) -> str:
        """The URL that the forge sends to."""
        return f"{self.hub_url}/hooks/{self.id}"


async def add(session: Session, webhook: ForgeWebhook, sealed_secret: str) -> bool:
    """Insert a webhook; return False if its build configuration has one already."""
    values = msgspec.structs.asdict(webhook)
    statement = insert(session, forge_webhooks).values(**values, secret=sealed_secret)
    return bool(await session.run(statement.on_conflict_do_nothing()))


async def by_id(session: Session, forge_webhook_id: str) -> tuple[ForgeWebhook, str] | None:
    """Return a webhook with its sealed secret."""
    return await _one(session, forge_webhooks.c.id == forge_webhook_id)


async def by_configuration(session: Session, configuration_id: int) -> tuple[ForgeWebhook, str] | None:
    """Return the webhook of a build configuration with its sealed secret."""
    return await _one(session, forge_webhooks.c.configuration_id == configuration_id)


async def by_linked_account(session: Session, linked_account_id: int) -> list[ForgeWebhook]:
    """Return the webhooks that a linked account installed."""
    rows = await session.rows(select(forge_webhooks).where(forge_webhooks.c.linked_account_id == linked_account_id))
    return [_webhook(row) for row in rows]


async def orphans(session: Session, now: datetime) -> Sequence[ForgeWebhook]:
    """Return due webhooks whose build configuration was deleted."""
    due = or_(forge_webhooks.c.due_at.is_(None), forge_webhooks.c.due_at <= now)
    rows = await session.rows(select(forge_webhooks).where(forge_webhooks.c.configuration_id.is_(None), due).limit(20))
    return [_webhook(row) for row in rows]


async def change(session: Session, forge_webhook_id: str, /, **values: Any) -> None:
    """Update columns of a webhook."""
    await session.run(update(forge_webhooks).where(forge_webhooks.c.id == forge_webhook_id).values(**values))


async def remove(session: Session, forge_webhook_id: str) -> None:
    """Delete a webhook with its deliveries."""
    await session.run(delete(forge_webhooks).where(forge_webhooks.c.id == forge_webhook_id))


async def _one(session: Session, where: ColumnElement[bool]) -> tuple[ForgeWebhook, str] | None:
    row = await session.row(select(forge_webhooks).where(where))
    return (_webhook(row), row.secret) if row else None


def _webhook(row: Row[Any]) -> ForgeWebhook:
    return ForgeWebhook(**{name: getattr(row, name) for name in ForgeWebhook.__struct_fields__})
