"""When the access of administrators to repositories of others ends, in the database."""

from datetime import datetime

from sqlalchemy import bindparam, delete

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.administration import administrator_access

_REMOVE = delete(administrator_access).where(
    administrator_access.c.user_id == bindparam("user_id"),
    administrator_access.c.repository_id == bindparam("repository_id"),
)


async def put(session: Session, user_id: int, repository_id: int, until: datetime) -> None:
    """Let an administrator read a repository until then."""
    values = {"user_id": user_id, "repository_id": repository_id, "until": until}
    statement = upsert(session, administrator_access).values(values)
    key = ["user_id", "repository_id"]
    await session.run(statement.on_conflict_do_update(index_elements=key, set_={"until": until}))


async def remove(session: Session, user_id: int, repository_id: int) -> bool:
    """End the access of an administrator; return False if they have none."""
    return bool(await session.run(_REMOVE, {"user_id": user_id, "repository_id": repository_id}))
