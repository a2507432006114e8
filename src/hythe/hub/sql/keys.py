"""Signing keys in the database."""

from datetime import datetime

import msgspec
from sqlalchemy import insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import signing_keys


class StoredKey(msgspec.Struct, frozen=True):
    """A key as a JSON web key with its private part; ``retired_at`` None: this key signs."""

    id: str
    private_key: str
    retired_at: datetime | None


async def add(session: Session, key: StoredKey, at: datetime) -> None:
    """Add a key."""
    await session.run(insert(signing_keys).values(id=key.id, private_key=key.private_key, created_at=at))


async def retire_all(session: Session, at: datetime) -> None:
    """Retire all current keys, so that they sign no more."""
    await session.run(update(signing_keys).where(signing_keys.c.retired_at.is_(None)).values(retired_at=at))


async def listed(session: Session) -> tuple[StoredKey, ...]:
    """Return all keys, newest first."""
    columns = (signing_keys.c.id, signing_keys.c.private_key, signing_keys.c.retired_at)
    rows = await session.rows(select(*columns).order_by(signing_keys.c.created_at.desc(), signing_keys.c.id))
    return tuple(StoredKey(row.id, row.private_key, row.retired_at) for row in rows)
