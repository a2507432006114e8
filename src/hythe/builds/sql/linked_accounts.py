"""Rows of linked accounts."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, update

from hythe.builds.configuration import Forge
from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.forges import linked_accounts


class LinkedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account of a forge that somebody linked; ``problem`` says why it does not work any more."""

    id: int
    user_id: int
    kind: Forge
    url: str
    account_id: str
    login: str
    scopes: tuple[str, ...]
    oauth: bool
    problem: str
    created_at: datetime


async def put(session: Session, link: LinkedAccount, sealed_token: str) -> int:
    """Insert a link, or renew the one of the same account; returns its id."""
    values = {
        "login": link.login,
        "scopes": " ".join(link.scopes),
        "oauth": link.oauth,
        "token": sealed_token,
        "problem": "",
    }
    fixed = {
        "user_id": link.user_id,
        "kind": link.kind.value,
        "url": link.url,
        "account_id": link.account_id,
        "created_at": link.created_at,
    }
    statement = insert(session, linked_accounts).values(**fixed, **values)
    row = await session.row(
        statement.on_conflict_do_update(index_elements=["user_id", "url", "account_id"], set_=values).returning(
            linked_accounts.c.id
        )
    )
    if row is None:
        raise LookupError("an INSERT .. RETURNING gave no row")
    return int(row.id)


async def get(session: Session, linked_account_id: int) -> LinkedAccount | None:
    """Return a link, whoever's it is."""
    row = await session.row(select(linked_accounts).where(linked_accounts.c.id == linked_account_id))
    return _link(row) if row else None


async def get_own(session: Session, linked_account_id: int, user_id: int | None) -> LinkedAccount | None:
    """Return a link of this account of the hub; None for another's as for none."""
    link = await get(session, linked_account_id)
    return link if link is not None and link.user_id == user_id else None


async def of_user(session: Session, user_id: int) -> list[LinkedAccount]:
    """Return the links of an account of the hub, the oldest first."""
    rows = await session.rows(
        select(linked_accounts).where(linked_accounts.c.user_id == user_id).order_by(linked_accounts.c.id)
    )
    return [_link(row) for row in rows]


async def sealed_token(session: Session, linked_account_id: int) -> str | None:
    """Return the sealed token of a link."""
    row = await session.row(select(linked_accounts.c.token).where(linked_accounts.c.id == linked_account_id))
    return row.token if row else None


async def set_token(session: Session, linked_account_id: int, sealed: str) -> None:
    """Write a token that was renewed."""
    await session.run(
        update(linked_accounts).where(linked_accounts.c.id == linked_account_id).values(token=sealed, problem="")
    )


async def set_problem(session: Session, linked_account_id: int, problem: str) -> None:
    """Write why a link does not work any more."""
    await session.run(
        update(linked_accounts).where(linked_accounts.c.id == linked_account_id).values(problem=problem[:500])
    )


async def remove(session: Session, linked_account_id: int) -> None:
    """Forget a link; its set-ups stay, without it."""
    await session.run(
        update(build_configurations)
        .where(build_configurations.c.linked_account_id == linked_account_id)
        .values(linked_account_id=None)
    )
    await session.run(delete(linked_accounts).where(linked_accounts.c.id == linked_account_id))


def _link(row: Row[Any]) -> LinkedAccount:
    return LinkedAccount(
        id=row.id,
        user_id=row.user_id,
        kind=Forge(row.kind),
        url=row.url,
        account_id=row.account_id,
        login=row.login,
        scopes=tuple(row.scopes.split()),
        oauth=row.oauth,
        problem=row.problem,
        created_at=row.created_at,
    )
