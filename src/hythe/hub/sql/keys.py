"""Signing keys in the database."""

from datetime import datetime

import msgspec
from sqlalchemy import delete, insert, select, text, update

from hythe.database import Session
from hythe.database.tables.hub import signing_keys

KEY_LOCK = 0x6B657973
"""PostgreSQL's advisory lock for changes of keys, so that servers that start at the same time create one."""


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key. ``private_key`` is a JSON web key, sealed, empty if it was erased, or plain as older versions stored it.

    ``public_key`` is a JSON web key; None: it is part of the private one. ``purpose`` None: every purpose.
    ``retired_at`` None: no newer key replaces it.
    """

    id: str
    private_key: str
    public_key: str | None
    purpose: str | None
    created_at: datetime
    retired_at: datetime | None = None


async def lock(session: Session) -> None:
    """Block other changes of keys until this transaction ends."""
    if session.dialect == "postgresql":
        await session.run(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": KEY_LOCK})


async def add(session: Session, key: StoredKey) -> None:
    """Add a key."""
    await session.run(insert(signing_keys).values(msgspec.structs.asdict(key)))


async def retire_all(session: Session, at: datetime) -> None:
    """Retire all current keys."""
    await session.run(update(signing_keys).where(signing_keys.c.retired_at.is_(None)).values(retired_at=at))


async def set_private(session: Session, key_id: str, private_key: str, public_key: str) -> None:
    """Replace the stored form of a key."""
    values = {"private_key": private_key, "public_key": public_key}
    await session.run(update(signing_keys).where(signing_keys.c.id == key_id).values(values))


async def remove(session: Session, key_id: str) -> None:
    """Delete a key."""
    await session.run(delete(signing_keys).where(signing_keys.c.id == key_id))


async def listed(session: Session) -> tuple[StoredKey, ...]:
    """Return all keys, newest first."""
    rows = await session.rows(select(signing_keys).order_by(signing_keys.c.created_at.desc(), signing_keys.c.id))
    return tuple(msgspec.convert(row._mapping, StoredKey) for row in rows)
