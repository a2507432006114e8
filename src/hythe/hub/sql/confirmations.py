"""When the user of a session last proved who they are."""

from datetime import datetime

from sqlalchemy import and_, bindparam, func, select, update

from hythe.database import Session
from hythe.database.tables.hub import sessions

_OWN = and_(sessions.c.public_id == bindparam("session_id"), sessions.c.user_id == bindparam("owner"))
_CONFIRMED = select(func.coalesce(sessions.c.confirmed_at, sessions.c.created_at).label("at")).where(_OWN)
_CONFIRM = update(sessions).where(_OWN).values(confirmed_at=bindparam("at", type_=sessions.c.confirmed_at.type))


async def confirmed_at(session: Session, user_id: int, session_id: str) -> datetime | None:
    """Return when the user of a session signed in or last confirmed who they are; None if it does not exist."""
    row = await session.row(_CONFIRMED, {"session_id": session_id, "owner": user_id})
    return row.at if row else None


async def confirm(session: Session, user_id: int, session_id: str, at: datetime) -> None:
    """Record that the user of a session confirmed who they are."""
    await session.run(_CONFIRM, {"session_id": session_id, "owner": user_id, "at": at})
