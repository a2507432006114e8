"""Links in e-mail, in the database, by the SHA-256 of their secret."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select

from hythe.database import Session
from hythe.database.tables.sign_in import mail_links


class StoredLink(msgspec.Struct, frozen=True):
    """A link without its secret."""

    user_id: int
    purpose: str
    email: str
    created_at: datetime
    expires_at: datetime


_COLUMNS = select(*(mail_links.c[name] for name in StoredLink.__struct_fields__))
_BY_DIGEST = _COLUMNS.where(
    mail_links.c.digest == bindparam("digest"),
    mail_links.c.expires_at > bindparam("now", type_=mail_links.c.expires_at.type),
)
_NEWEST = (
    _COLUMNS.where(mail_links.c.user_id == bindparam("user_id"), mail_links.c.purpose == bindparam("purpose"))
    .order_by(mail_links.c.created_at.desc())
    .limit(bindparam("at_most"))
)


async def add(
    session: Session, digest: str, user_id: int, purpose: str, email: str, at: datetime, expires_at: datetime
) -> None:
    """Add a link."""
    values = {"digest": digest, "user_id": user_id, "purpose": purpose, "email": email}
    await session.run(insert(mail_links).values({**values, "created_at": at, "expires_at": expires_at}))


async def by_digest(session: Session, digest: str, now: datetime) -> StoredLink | None:
    """Return the link whose secret has this digest, unless it has expired."""
    row = await session.row(_BY_DIGEST, {"digest": digest, "now": now})
    return _link(row) if row else None


async def newest(session: Session, user_id: int, purpose: str, limit: int) -> list[StoredLink]:
    """Return the newest links of an account with this purpose, newest first."""
    parameters = {"user_id": user_id, "purpose": purpose, "at_most": limit}
    return [_link(row) for row in await session.rows(_NEWEST, parameters)]


async def belongs_to_other(session: Session, email: str, purpose: str, user_id: int, now: datetime) -> bool:
    """Return whether a link of another account than ``user_id``, with this purpose, has this address."""
    where = (mail_links.c.email == email, mail_links.c.purpose == purpose, mail_links.c.expires_at > now)
    return await session.row(select(mail_links.c.digest).where(*where, mail_links.c.user_id != user_id)) is not None


async def remove(session: Session, digest: str) -> bool:
    """Delete a link; return False if it does not exist."""
    return await session.run(delete(mail_links).where(mail_links.c.digest == digest)) > 0


async def remove_of_user(session: Session, user_id: int, purpose: str) -> None:
    """Delete the links of an account with this purpose."""
    own = (mail_links.c.user_id == user_id, mail_links.c.purpose == purpose)
    await session.run(delete(mail_links).where(*own))


async def remove_expired(session: Session, now: datetime) -> None:
    """Delete links that have expired."""
    await session.run(delete(mail_links).where(mail_links.c.expires_at <= now))


def _link(row: Row[Any]) -> StoredLink:
    return StoredLink(**{name: getattr(row, name) for name in StoredLink.__struct_fields__})
