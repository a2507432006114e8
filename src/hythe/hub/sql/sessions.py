"""Web sessions in the database, by the SHA-256 of their cookie."""

from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select

from hythe.database import Session
from hythe.database.tables.hub import sessions, users
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of

_FOUND = (
    select(*ACTOR_COLUMNS)
    .join_from(sessions, users)
    .where(
        sessions.c.digest == bindparam("digest"),
        sessions.c.expires_at > bindparam("now", type_=sessions.c.expires_at.type),
    )
)


async def add(session: Session, digest: str, user_id: int, at: datetime, expires_at: datetime) -> None:
    """Add a session and delete expired ones."""
    await session.run(delete(sessions).where(sessions.c.expires_at <= at))
    await session.run(insert(sessions).values(digest=digest, user_id=user_id, created_at=at, expires_at=expires_at))


async def account(session: Session, digest: str, now: datetime) -> Account | None:
    """Return the account that owns a session."""
    row = await session.row(_FOUND, {"digest": digest, "now": now})
    return account_of(row) if row else None


async def remove(session: Session, digest: str) -> None:
    """End a session."""
    await session.run(delete(sessions).where(sessions.c.digest == digest))


async def remove_of_user(session: Session, user_id: int) -> None:
    """End all sessions of an account."""
    await session.run(delete(sessions).where(sessions.c.user_id == user_id))
