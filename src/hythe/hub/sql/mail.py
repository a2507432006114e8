"""Queued e-mail in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.sign_in import mail_messages
from hythe.hub.mail.mail_message import MailMessage
from hythe.hub.page import Page, Paging
from hythe.hub.sql.sorted_list import SortedList, page_of

DELETED_AT_ONCE = 200
"""Old messages to delete in one step."""

NEWEST = SortedList(select(mail_messages), mail_messages.c.created_at, mail_messages.c.id, descending=True)
_OLD = (
    select(mail_messages.c.id)
    .where(mail_messages.c.created_at < bindparam("before", type_=mail_messages.c.created_at.type))
    .order_by(mail_messages.c.created_at)
    .limit(DELETED_AT_ONCE)
)
_RECENT = select(func.count()).select_from(
    select(mail_messages.c.id)
    .where(
        mail_messages.c.user_id == bindparam("user_id"),
        mail_messages.c.purpose == bindparam("purpose"),
        mail_messages.c.created_at > bindparam("since", type_=mail_messages.c.created_at.type),
    )
    .limit(bindparam("at_most"))
    .subquery()
)
_DELETE = delete(mail_messages).where(mail_messages.c.id.in_(bindparam("ids", expanding=True)))


async def add(session: Session, values: Mapping[str, Any], now: datetime, expires_at: datetime) -> None:
    """Add a message that is due now."""
    more = {"created_at": now, "expires_at": expires_at, "due_at": now, "attempts": 0, "outcome": ""}
    await session.run(insert(mail_messages).values({**values, **more}))


async def count_recent(session: Session, user_id: int, purpose: str, since: datetime, at_most: int) -> int:
    """Return how many messages of one purpose a user was sent since then, counted up to ``at_most``."""
    values = {"user_id": user_id, "purpose": purpose, "since": since, "at_most": at_most}
    row = await session.row(_RECENT, values)
    return int(row[0]) if row else 0


async def due(session: Session, now: datetime, limit: int) -> list[MailMessage]:
    """Return messages that are due, oldest first."""
    statement = select(mail_messages).where(mail_messages.c.due_at <= now)
    return [_message(row) for row in await session.rows(statement.order_by(mail_messages.c.due_at).limit(limit))]


async def claim(session: Session, message_id: int, due_at: datetime | None, until: datetime) -> bool:
    """Reserve a message until then; return False when another server has claimed it."""
    where = (mail_messages.c.id == message_id, mail_messages.c.due_at == due_at)
    changes = {"due_at": until, "attempts": mail_messages.c.attempts + 1}
    return bool(await session.run(update(mail_messages).where(*where).values(changes)))


async def retry_later(session: Session, message_id: int, due_at: datetime, outcome: str) -> None:
    """Record why a message was not delivered, and when the next attempt is due."""
    changes = {"due_at": due_at, "outcome": outcome}
    await session.run(update(mail_messages).where(mail_messages.c.id == message_id).values(changes))


async def end(session: Session, message_id: int, outcome: str, sent_at: datetime | None) -> None:
    """Record that a message was delivered, or given up (``sent_at`` None), and erase its text if it has a secret."""
    text = case((mail_messages.c.secret, ""), else_=mail_messages.c.text)
    changes = {"due_at": None, "outcome": outcome, "sent_at": sent_at, "text": text}
    await session.run(update(mail_messages).where(mail_messages.c.id == message_id).values(changes))


async def listed(session: Session, paging: Paging) -> Page[MailMessage]:
    """Return a page of the messages, newest first."""
    found = await NEWEST.slice(session, paging, {})
    return page_of(found, tuple(map(_message, found.rows)), await NEWEST.total(session, {}), paging)


async def delete_some(session: Session, before: datetime) -> int:
    """Delete some messages from before this time; return how many."""
    ids = [row.id for row in await session.rows(_OLD, {"before": before})]
    return await session.run(_DELETE, {"ids": ids}) if ids else 0


def _message(row: Row[Any]) -> MailMessage:
    return MailMessage(**{name: getattr(row, name) for name in MailMessage.__struct_fields__})
