"""Rows of webhooks that forges call, and of the deploy keys that go with them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, delete, or_, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.forges import forge_hooks


class ForgeHook(msgspec.Struct, frozen=True, kw_only=True):
    """One set-up's webhook. ``hook_id`` and ``key_id`` are the forge's; empty: not installed by us."""

    id: str
    setup_id: int | None
    link_id: int | None
    forge_repository: str
    hub_url: str
    hook_id: str
    public_key: str
    key_id: str
    trouble: str
    attempts: int
    created_at: datetime

    @property
    def url(self) -> str:
        """Where the forge sends to."""
        return f"{self.hub_url}/hooks/{self.id}"


async def add(session: Session, hook: ForgeHook, sealed_secret: str) -> bool:
    """Insert a webhook; returns False when its set-up has one already."""
    values = msgspec.structs.asdict(hook)
    statement = insert(session, forge_hooks).values(**values, secret=sealed_secret)
    return bool(await session.run(statement.on_conflict_do_nothing()))


async def by_id(session: Session, hook_id: str) -> tuple[ForgeHook, str] | None:
    """Return a webhook with its sealed secret."""
    return await _one(session, forge_hooks.c.id == hook_id)


async def by_setup(session: Session, setup_id: int) -> tuple[ForgeHook, str] | None:
    """Return the webhook of a set-up with its sealed secret."""
    return await _one(session, forge_hooks.c.setup_id == setup_id)


async def by_link(session: Session, link_id: int) -> list[ForgeHook]:
    """Return the webhooks that a link installed."""
    rows = await session.rows(select(forge_hooks).where(forge_hooks.c.link_id == link_id))
    return [_hook(row) for row in rows]


async def orphans(session: Session, now: datetime) -> Sequence[ForgeHook]:
    """Return webhooks whose set-up is gone and whose time to be removed has come."""
    due = or_(forge_hooks.c.due_at.is_(None), forge_hooks.c.due_at <= now)
    rows = await session.rows(select(forge_hooks).where(forge_hooks.c.setup_id.is_(None), due).limit(20))
    return [_hook(row) for row in rows]


async def change(session: Session, key: str, /, **values: Any) -> None:
    """Write what is different now."""
    await session.run(update(forge_hooks).where(forge_hooks.c.id == key).values(**values))


async def remove(session: Session, hook_id: str) -> None:
    """Forget a webhook with its deliveries."""
    await session.run(delete(forge_hooks).where(forge_hooks.c.id == hook_id))


async def _one(session: Session, where: ColumnElement[bool]) -> tuple[ForgeHook, str] | None:
    row = await session.row(select(forge_hooks).where(where))
    return (_hook(row), row.secret) if row else None


def _hook(row: Row[Any]) -> ForgeHook:
    return ForgeHook(**{name: getattr(row, name) for name in ForgeHook.__struct_fields__})
