"""The SQL of build minutes. A trigger adds a build to ``build_usage`` when it ends (migration 0010)."""

from datetime import datetime

import msgspec
from sqlalchemy import func, select

from hythe.database import Session
from hythe.database.tables.builds import build_usage
from hythe.database.tables.hub import namespaces, users
from hythe.hub.accounts.plan import BUILD_DAYS, first_build_day
from hythe.hub.sql.plans import plan_columns, plan_of


class BuildMinutes(msgspec.Struct, frozen=True):
    """The build minutes that an account may use in BUILD_DAYS, None: unlimited, and those that it used."""

    limit: int | None
    used: int

    @property
    def problem(self) -> str:
        """Why the account can start no build; empty if it can."""
        if self.limit is None or self.used < self.limit:
            return ""
        return f"your plan allows {self.limit} minutes of builds in {BUILD_DAYS} days, and {self.used} were used"


async def of_account(session: Session, account: str, now: datetime) -> BuildMinutes:
    """Return the limit of an account and what it used in the last BUILD_DAYS."""
    owner = await session.row(
        select(*plan_columns(users))
        .select_from(namespaces.join(users, users.c.id == namespaces.c.user_id))
        .where(namespaces.c.name == account)
    )
    limit = plan_of(owner).build_limit if owner else None
    if limit is None:
        return BuildMinutes(None, 0)
    counted = (build_usage.c.account == account, build_usage.c.day >= first_build_day(now))
    used = await session.row(select(func.sum(build_usage.c.seconds)).where(*counted))
    return BuildMinutes(limit, int((used[0] if used else 0) or 0) // 60)
