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


_NUMBERS = select(
    _count(select(func.count(users.c.id)).where(users.c.kind == bindparam("user_kind"))).label("users"),
    _count(select(func.count(users.c.id)).where(users.c.kind == bindparam("organization_kind"))).label("organizations"),
    _count(select(func.count(users.c.id)).where(users.c.blocked_at.is_not(None))).label("blocked"),
    _count(select(func.coalesce(func.sum(namespace_usage.c.repositories), 0))).label("repositories"),
    _count(select(func.coalesce(func.sum(namespace_usage.c.bytes), 0))).label("bytes"),
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


class HubOverview(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub has. ``bytes``: a blob in several namespaces counts in each. ``waiting_mail``: not sent yet."""

    users: int
    organizations: int
    blocked: int
    repositories: int
    taken_down: int
    bytes: int
    open_reports: int
    waiting_mail: int


async def numbers(session: Session, now: datetime) -> HubOverview:
    """Return all numbers."""
    values = {
        "user_kind": AccountKind.USER.value,
        "organization_kind": AccountKind.ORGANIZATION.value,
        "open_state": "open",
        "now": now,
        "beginning": BEGINNING,
    }
    row = await session.row(_NUMBERS, values)
    return HubOverview(**{name: int(getattr(row, name)) for name in HubOverview.__struct_fields__})
