"""Web sessions in the database, by the SHA-256 of their cookie."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import sessions, users
from hythe.hub.page import Page, Paging
from hythe.hub.sign_in.session import WebSession, browser_name
from hythe.hub.sql.sorted_list import SortedList, page_of
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of

_NOW = bindparam("now", type_=sessions.c.expires_at.type)
_FOUND = (
    select(*ACTOR_COLUMNS, sessions.c.public_id, sessions.c.used_at, sessions.c.network)
    .join_from(sessions, users)
    .where(sessions.c.digest == bindparam("digest"), sessions.c.expires_at > _NOW)
)
OF_USER = SortedList(
    select(
        sessions.c.public_id,
        sessions.c.created_at,
        sessions.c.used_at,
        sessions.c.expires_at,
        sessions.c.network,
        sessions.c.user_agent,
    ),
    sessions.c.created_at,
    sessions.c.public_id,
    where=(sessions.c.user_id == bindparam("user_id"), sessions.c.public_id.is_not(None), sessions.c.expires_at > _NOW),
    descending=True,
)


class NewSessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session to add."""

    digest: str
    public_id: str
    user_id: int
    created_at: datetime
    expires_at: datetime
    network: str
    user_agent: str


class SessionHolder(msgspec.Struct, frozen=True):
    """The account of a session, and what is stored of the session's last use."""

    account: Account
    public_id: str | None
    used_at: datetime | None
    network: str | None


async def add(session: Session, new: NewSessionRow) -> None:
    """Add a session and delete expired ones."""
    await session.run(delete(sessions).where(sessions.c.expires_at <= new.created_at))
    await session.run(insert(sessions).values(msgspec.structs.asdict(new) | {"used_at": new.created_at}))


async def holder(session: Session, digest: str, now: datetime) -> SessionHolder | None:
    """Return the account that has a session."""
    row = await session.row(_FOUND, {"digest": digest, "now": now})
    return SessionHolder(account_of(row), row.public_id, row.used_at, row.network) if row else None


async def mark_used(session: Session, digest: str, public_id: str, at: datetime, network: str) -> None:
    """Record the last use of a session, and give it this id if an older version started it without one."""
    changes = {"used_at": at, "network": network, "public_id": func.coalesce(sessions.c.public_id, public_id)}
    await session.run(update(sessions).where(sessions.c.digest == digest).values(changes))


async def listed(session: Session, user_id: int, paging: Paging, now: datetime, current: str) -> Page[WebSession]:
    """Return a page of an account's sessions, newest first; ``current`` is the id of the one to mark."""
    parameters = {"user_id": user_id, "now": now}
    found = await OF_USER.slice(session, paging, parameters)
    items = tuple(_web_session(row, current) for row in found.rows)
    return page_of(found, items, await OF_USER.total(session, parameters), paging)


async def remove(session: Session, digest: str) -> None:
    """End a session."""
    await session.run(delete(sessions).where(sessions.c.digest == digest))


async def remove_one(session: Session, user_id: int, public_id: str) -> bool:
    """End a session of an account; return False if there is none with this id."""
    own = (sessions.c.public_id == public_id, sessions.c.user_id == user_id)
    return await session.run(delete(sessions).where(*own)) > 0


async def remove_others(session: Session, user_id: int, kept: str) -> int:
    """End all sessions of an account but the one with this id; return how many."""
    others = func.coalesce(sessions.c.public_id, "") != kept
    return await session.run(delete(sessions).where(sessions.c.user_id == user_id, others))


async def remove_of_user(session: Session, user_id: int) -> None:
    """End all sessions of an account."""
    await session.run(delete(sessions).where(sessions.c.user_id == user_id))


def _web_session(row: Row[Any], current: str) -> WebSession:
    return WebSession(
        id=row.public_id,
        created_at=row.created_at,
        used_at=row.used_at,
        expires_at=row.expires_at,
        network=row.network or "",
        browser=browser_name(row.user_agent or ""),
        current=row.public_id == current,
    )
