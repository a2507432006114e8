"""What the hub has in numbers, in the database."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import ScalarSelect, Select, bindparam, func, select

from hythe.database import Session
from hythe.database.tables.administration import abuse_reports
from hythe.database.tables.hub import hub_repositories, users
from hythe.database.tables.registry import namespace_usage
from hythe.database.tables.sign_in import mail_messages
from hythe.hub.accounts.namespaces import AccountKind

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Before every message."""


def _count(statement: Select[Any]) -> ScalarSelect[int]:
    return statement.scalar_subquery()


_WAITING = select(
    _count(
        select(func.count(hub_repositories.c.repository_id)).where(hub_repositories.c.taken_down_at.is_not(None))
    ).label("taken_down"),
    _count(select(func.count(abuse_reports.c.id)).where(abuse_reports.c.state == bindparam("open_state"))).label(
        "open_reports"
    ),
    _count(
        select(func.count(mail_messages.c.id)).where(
            # Not IS NOT NULL, for which SQLite reads the whole table: messages are kept for days after they were sent.
            mail_messages.c.due_at > bindparam("beginning"),
            mail_messages.c.expires_at > bindparam("now"),
        )
    ).label("waiting_mail"),
)
_STORED = select(
    func.coalesce(func.sum(namespace_usage.c.repositories), 0).label("repositories"),
    func.coalesce(func.sum(namespace_usage.c.bytes), 0).label("bytes"),
)
_ACCOUNTS = select(
    _count(select(func.count(users.c.id)).where(users.c.kind == bindparam("user_kind"))).label("users"),
    _count(select(func.count(users.c.id)).where(users.c.kind == bindparam("organization_kind"))).label("organizations"),
    _count(select(func.count(users.c.id)).where(users.c.blocked_at.is_not(None))).label("blocked"),
)


class WaitingNumbers(msgspec.Struct, frozen=True):
    """What waits for administrators, and messages that are not sent yet."""

    taken_down: int
    open_reports: int
    waiting_mail: int


class StoredNumbers(msgspec.Struct, frozen=True):
    """What all namespaces have. ``bytes``: a blob in several namespaces counts in each."""

    repositories: int
    bytes: int


class AccountNumbers(msgspec.Struct, frozen=True):
    """The accounts."""

    users: int
    organizations: int
    blocked: int


async def waiting(session: Session, now: datetime) -> WaitingNumbers:
    """Count what waits."""
    row = await session.row(_WAITING, {"open_state": "open", "now": now, "beginning": BEGINNING})
    return msgspec.convert(row, WaitingNumbers, from_attributes=True)


async def stored(session: Session) -> StoredNumbers:
    """Add up what each namespace has."""
    row = await session.row(_STORED)
    # PostgreSQL's sums are decimals.
    return StoredNumbers(int(row.repositories), int(row.bytes)) if row else StoredNumbers(0, 0)


async def accounts(session: Session) -> AccountNumbers:
    """Count the accounts."""
    kinds = {"user_kind": AccountKind.USER.value, "organization_kind": AccountKind.ORGANIZATION.value}
    return msgspec.convert(await session.row(_ACCOUNTS, kinds), AccountNumbers, from_attributes=True)
