"""Requests to reset a password, in the database."""

from datetime import datetime

from sqlalchemy import delete, insert, select

from hythe.database import Session
from hythe.database.tables.sign_in import password_reset_requests


async def add(session: Session, name: str, at: datetime) -> None:
    """Add a request for the account with this name or e-mail address, whether it exists or not."""
    await session.run(insert(password_reset_requests).values(name=name, created_at=at))


async def oldest(session: Session, limit: int) -> list[tuple[int, str]]:
    """Return id and name of the oldest requests."""
    statement = select(password_reset_requests.c.id, password_reset_requests.c.name)
    rows = await session.rows(statement.order_by(password_reset_requests.c.id).limit(limit))
    return [(row.id, row.name) for row in rows]


async def remove(session: Session, request_id: int) -> bool:
    """Delete a request; return False when another server has deleted it."""
    statement = delete(password_reset_requests).where(password_reset_requests.c.id == request_id)
    return await session.run(statement) > 0
