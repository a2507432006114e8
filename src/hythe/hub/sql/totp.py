"""The secrets of authenticator apps in the database, sealed."""

from datetime import datetime

import msgspec
from sqlalchemy import bindparam, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.second_factors import totp_secrets


class StoredTotp(msgspec.Struct, frozen=True):
    """An account's authenticator app: its sealed secret, and the time step of the last accepted code."""

    secret: str
    last_step: int
    created_at: datetime


_OF_USER = select(totp_secrets.c.secret, totp_secrets.c.last_step, totp_secrets.c.created_at).where(
    totp_secrets.c.user_id == bindparam("user_id")
)


async def of_user(session: Session, user_id: int) -> StoredTotp | None:
    """Return the authenticator app of an account."""
    row = await session.row(_OF_USER, {"user_id": user_id})
    return StoredTotp(row.secret, row.last_step, row.created_at) if row else None


async def replace(session: Session, user_id: int, secret: str, step: int, at: datetime) -> None:
    """Set the authenticator app of an account; ``step`` is that of the code which confirmed it."""
    values = {"secret": secret, "last_step": step, "created_at": at}
    statement = insert(session, totp_secrets).values(user_id=user_id, **values)
    await session.run(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))


async def use(session: Session, user_id: int, step: int) -> bool:
    """Record that the code of a time step was used; return False if it was, or a later one."""
    unused = update(totp_secrets).where(totp_secrets.c.user_id == user_id, totp_secrets.c.last_step < step)
    return await session.run(unused.values(last_step=step)) > 0


async def remove(session: Session, user_id: int) -> bool:
    """Delete the authenticator app of an account; return False if it has none."""
    return await session.run(delete(totp_secrets).where(totp_secrets.c.user_id == user_id)) > 0
