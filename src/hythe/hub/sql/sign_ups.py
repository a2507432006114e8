"""Counts of sign-ups by network."""

from datetime import datetime

import msgspec
from sqlalchemy import case, delete, select

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.hub import sign_ups


class SignUps(msgspec.Struct, frozen=True):
    """How many accounts a network created since the first of them."""

    accounts: int
    since: datetime


async def of_network(session: Session, network: str) -> SignUps | None:
    """Return the count of a network; None if it created no account."""
    row = await session.row(select(sign_ups.c.accounts, sign_ups.c.since).where(sign_ups.c.network == network))
    return SignUps(row.accounts, row.since) if row else None


async def add(session: Session, network: str, now: datetime, forgotten: datetime) -> SignUps:
    """Count a sign-up and return the new count. If the first one was before ``forgotten``, counting starts again."""
    is_old = sign_ups.c.since <= forgotten
    changes = {
        "accounts": case((is_old, 1), else_=sign_ups.c.accounts + 1),
        "since": case((is_old, now), else_=sign_ups.c.since),
    }
    statement = insert(session, sign_ups).values(network=network, accounts=1, since=now)
    row = await session.row(
        statement.on_conflict_do_update(index_elements=["network"], set_=changes).returning(
            sign_ups.c.accounts, sign_ups.c.since
        )
    )
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return SignUps(row.accounts, row.since)


async def delete_old(session: Session, forgotten: datetime) -> None:
    """Delete the counts that started before ``forgotten``."""
    await session.run(delete(sign_ups).where(sign_ups.c.since <= forgotten))
