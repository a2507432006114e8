"""SQL of linked accounts."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, delete, select, update

from hythe.database import Session
from hythe.database.port import insert
from hythe.database.tables.builds import build_configurations
from hythe.database.tables.forges import linked_accounts
from hythe.forges.source_ref import ForgeKind


class LinkedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A user's account at a forge; ``problem`` says why its token no longer works, or is empty."""

    id: int
    user_id: int
    kind: ForgeKind
    url: str
    account_id: str
    login: str
    scopes: tuple[str, ...]
    oauth: bool
    problem: str
    created_at: datetime


async def put(session: Session, account: LinkedAccount, sealed_token: str) -> int:
    """Insert a linked account, or update the one with the same account id; return its id."""
    values = {
        "login": account.login,
        "scopes": " ".join(account.scopes),
        "oauth": account.oauth,
        "token": sealed_token,
        "problem": "",
    }
    fixed = {
        "user_id": account.user_id,
        "kind": account.kind,
        "url": account.url,
        "account_id": account.account_id,
        "created_at": account.created_at,
    }
    statement = insert(session, linked_accounts).values(**fixed, **values)
    row = await session.row(
        statement.on_conflict_do_update(index_elements=["user_id", "url", "account_id"], set_=values).returning(
            linked_accounts.c.id
        )
    )
    if row is None:
        raise LookupError("an INSERT .. RETURNING returned no row")
    return int(row.id)


async def get(session: Session, linked_account_id: int) -> LinkedAccount | None:
    """Return any user's linked account."""
    row = await session.row(select(linked_accounts).where(linked_accounts.c.id == linked_account_id))
    return _account(row) if row else None


async def get_own(session: Session, linked_account_id: int, user_id: int | None) -> LinkedAccount | None:
    """Return a linked account of this user, or None."""
    account = await get(session, linked_account_id)
    return account if account is not None and account.user_id == user_id else None


async def of_user(session: Session, user_id: int) -> list[LinkedAccount]:
    """Return the linked accounts of a user, oldest first."""
    rows = await session.rows(
        select(linked_accounts).where(linked_accounts.c.user_id == user_id).order_by(linked_accounts.c.id)
    )
    return [_account(row) for row in rows]


async def sealed_token(session: Session, linked_account_id: int) -> str | None:
    """Return the sealed token of a linked account."""
    row = await session.row(select(linked_accounts.c.token).where(linked_accounts.c.id == linked_account_id))
    return row.token if row else None


async def set_token(session: Session, linked_account_id: int, sealed: str) -> None:
    """Store a refreshed token."""
    await session.run(
        update(linked_accounts).where(linked_accounts.c.id == linked_account_id).values(token=sealed, problem="")
    )


async def set_problem(session: Session, linked_account_id: int, problem: str) -> None:
    """Store why a linked account no longer works."""
    await session.run(
        update(linked_accounts).where(linked_accounts.c.id == linked_account_id).values(problem=problem[:500])
    )


async def remove(session: Session, linked_account_id: int) -> None:
    """Delete a linked account; its build configurations stay, without it."""
    await session.run(
        update(build_configurations)
        .where(build_configurations.c.linked_account_id == linked_account_id)
        .values(linked_account_id=None)
    )
    await session.run(delete(linked_accounts).where(linked_accounts.c.id == linked_account_id))


def _account(row: Row[Any]) -> LinkedAccount:
    return LinkedAccount(
        id=row.id,
        user_id=row.user_id,
        kind=row.kind,
        url=row.url,
        account_id=row.account_id,
        login=row.login,
        scopes=tuple(row.scopes.split()),
        oauth=row.oauth,
        problem=row.problem,
        created_at=row.created_at,
    )
