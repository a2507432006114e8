"""The signed states and challenges that were used before they expired."""

from datetime import datetime

from sqlalchemy import delete

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.second_factors import spent_states


async def spend(session: Session, digest: str, now: datetime, expires_at: datetime) -> bool:
    """Record that a state was used, and forget expired ones; return False if it was used before."""
    await session.run(delete(spent_states).where(spent_states.c.expires_at <= now))
    statement = insert(session, spent_states).values(digest=digest, expires_at=expires_at)
    return await session.run(statement.on_conflict_do_nothing(index_elements=["digest"])) > 0
