"""Passkeys in the database."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import users
from hythe.database.tables.second_factors import passkeys
from hythe.hub.sign_in.passkey import Passkey
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of


class StoredPasskey(msgspec.Struct, frozen=True):
    """A passkey with its owner, and what a signature of it is checked with."""

    id: int
    account: Account
    user_handle: str
    public_key: str
    sign_count: int


_OF_USER = select(passkeys).where(passkeys.c.user_id == bindparam("user_id")).order_by(passkeys.c.id)
_BY_CREDENTIAL = (
    select(
        *ACTOR_COLUMNS,
        passkeys.c.id.label("passkey_id"),
        passkeys.c.user_handle,
        passkeys.c.public_key,
        passkeys.c.sign_count,
    )
    .join_from(passkeys, users, users.c.id == passkeys.c.user_id)
    .where(passkeys.c.credential_id == bindparam("credential_id"), users.c.deleted_at.is_(None))
)
_HANDLE = select(passkeys.c.user_handle).where(passkeys.c.user_id == bindparam("user_id")).limit(1)


async def of_user(session: Session, user_id: int) -> tuple[Passkey, ...]:
    """Return the passkeys of an account, oldest first."""
    return tuple(map(_passkey, await session.rows(_OF_USER, {"user_id": user_id})))


async def by_credential(session: Session, credential_id: str) -> StoredPasskey | None:
    """Return the passkey with this credential ID (base64url)."""
    row = await session.row(_BY_CREDENTIAL, {"credential_id": credential_id})
    if row is None:
        return None
    return StoredPasskey(row.passkey_id, account_of(row), row.user_handle, row.public_key, row.sign_count)


async def user_handle(session: Session, user_id: int) -> str | None:
    """Return the name that authenticators have for an account; None if it has no passkey."""
    row = await session.row(_HANDLE, {"user_id": user_id})
    return row.user_handle if row else None


async def add(
    session: Session, user_id: int, new: Passkey, user_handle: str, public_key: str, sign_count: int
) -> Passkey:
    """Add a passkey; ``new.id`` is ignored. Raises IntegrityError if its credential ID exists."""
    values = {
        "user_id": user_id,
        "credential_id": new.credential_id,
        "user_handle": user_handle,
        "public_key": public_key,
        "sign_count": sign_count,
        "transports": " ".join(new.transports),
        "name": new.name,
        "backed_up": new.backed_up,
        "created_at": new.created_at,
    }
    row = await session.row(insert(passkeys).values(values).returning(*passkeys.c))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return _passkey(row)


async def use(session: Session, passkey_id: int, before: int, after: int, at: datetime, *, backed_up: bool) -> bool:
    """Record a use and the new sign count; return False if the count is not ``before`` any more."""
    same = update(passkeys).where(passkeys.c.id == passkey_id, passkeys.c.sign_count == before)
    return await session.run(same.values(sign_count=after, used_at=at, backed_up=backed_up)) > 0


async def rename(session: Session, user_id: int, passkey_id: int, name: str) -> bool:
    """Rename a passkey of an account; return False if it does not exist."""
    own = update(passkeys).where(passkeys.c.id == passkey_id, passkeys.c.user_id == user_id)
    return await session.run(own.values(name=name)) > 0


async def remove(session: Session, user_id: int, passkey_id: int) -> bool:
    """Delete a passkey of an account; return False if it does not exist."""
    return await session.run(delete(passkeys).where(passkeys.c.id == passkey_id, passkeys.c.user_id == user_id)) > 0


async def remove_of_user(session: Session, user_id: int) -> None:
    """Delete all passkeys of an account."""
    await session.run(delete(passkeys).where(passkeys.c.user_id == user_id))


def _passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        row.id,
        row.credential_id,
        row.name,
        tuple(row.transports.split()),
        row.backed_up,
        row.created_at,
        row.used_at,
    )
