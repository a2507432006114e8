"""Counts of failed sign-ins by account, and the networks that accounts signed in from."""

from datetime import datetime

import msgspec
from sqlalchemy import case, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.hub import known_networks, sign_in_failures

MAX_KNOWN_NETWORKS = 20
"""Networks that are remembered for an account; the least recently used ones are forgotten first."""


class Failures(msgspec.Struct, frozen=True):
    """How many sign-ins failed, and when the last one did."""

    count: int
    last_at: datetime


async def failures(session: Session, bucket: int) -> Failures | None:
    """Return and lock the count of a bucket; None if nothing failed."""
    columns = select(sign_in_failures.c.failures, sign_in_failures.c.last_at)
    row = await session.row(columns.where(sign_in_failures.c.bucket == bucket).with_for_update())
    return Failures(row.failures, row.last_at) if row else None


async def add_failure(session: Session, bucket: int, now: datetime, forgotten: datetime) -> None:
    """Count a failure. If the last one was before ``forgotten``, counting starts again."""
    again = case((sign_in_failures.c.last_at < forgotten, 1), else_=sign_in_failures.c.failures + 1)
    statement = insert(session, sign_in_failures).values(bucket=bucket, failures=1, last_at=now)
    await session.run(
        statement.on_conflict_do_update(index_elements=["bucket"], set_={"failures": again, "last_at": now})
    )


async def take_back(session: Session, bucket: int) -> None:
    """Undo one ``add_failure``."""
    one_less = case((sign_in_failures.c.failures > 0, sign_in_failures.c.failures - 1), else_=0)
    await session.run(update(sign_in_failures).where(sign_in_failures.c.bucket == bucket).values(failures=one_less))


async def remember_network(session: Session, user_id: int, network: str, now: datetime) -> None:
    """Record that an account signed in from a network, and forget the least recently used ones."""
    statement = insert(session, known_networks).values(user_id=user_id, network=network, used_at=now)
    await session.run(statement.on_conflict_do_update(index_elements=["user_id", "network"], set_={"used_at": now}))
    own = known_networks.c.user_id == user_id
    newest = (
        select(known_networks.c.network).where(own).order_by(known_networks.c.used_at.desc()).limit(MAX_KNOWN_NETWORKS)
    )
    await session.run(delete(known_networks).where(own, known_networks.c.network.not_in(newest)))
