"""Identities of other systems in the database."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import users
from hythe.database.tables.identities import identities
from hythe.database.tables.second_factors import passkeys
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of


class StoredIdentity(msgspec.Struct, frozen=True):
    """An identity and what it was used for."""

    id: int
    issuer: str
    email: str
    created_at: datetime
    signed_in_at: datetime | None


class IdentityHolder(msgspec.Struct, frozen=True):
    """An identity with its account; ``made_admin``: the account is an administrator because of a group."""

    identity: StoredIdentity
    account: Account
    made_admin: bool
    deleted: bool
    second_factor: bool


_COLUMNS = (
    identities.c.id.label("identity_id"),
    identities.c.issuer,
    identities.c.email.label("identity_email"),
    identities.c.created_at.label("linked_at"),
    identities.c.signed_in_at,
)
_HOLDER = (
    select(*_COLUMNS, identities.c.made_admin, users.c.deleted_at, users.c.second_factor, *ACTOR_COLUMNS)
    .join_from(identities, users)
    .where(identities.c.issuer == bindparam("issuer_"), identities.c.subject == bindparam("subject_"))
)
_OF_USER = (
    select(*_COLUMNS)
    .where(identities.c.user_id == bindparam("user_id_"))
    .order_by(identities.c.id)
    .limit(bindparam("n"))
)
_PASSWORD = select(users.c.password_hash).where(users.c.id == bindparam("user_id_"))
_LOCKED_PASSWORD = _PASSWORD.with_for_update()
_PASSKEY = select(passkeys.c.id).where(passkeys.c.user_id == bindparam("user_id_")).limit(1)


async def holder(session: Session, issuer: str, subject: str) -> IdentityHolder | None:
    """Return the account of an identity."""
    row = await session.row(_HOLDER, {"issuer_": issuer, "subject_": subject})
    if row is None:
        return None
    deleted = row.deleted_at is not None
    return IdentityHolder(_identity(row), account_of(row), bool(row.made_admin), deleted, bool(row.second_factor))


async def add(
    session: Session, issuer: str, subject: str, user_id: int, email: str, at: datetime, *, used: bool
) -> None:
    """Link an identity to an account. Raises IntegrityError if it is linked to one."""
    values = {
        "issuer": issuer,
        "subject": subject,
        "user_id": user_id,
        "email": email,
        "created_at": at,
        "signed_in_at": at if used else None,
    }
    await session.run(insert(identities).values(values))


async def mark_used(session: Session, identity_id: int, email: str, at: datetime) -> None:
    """Record a sign-in, and the e-mail address that the provider has now."""
    changes = {"email": email, "signed_in_at": at}
    await session.run(update(identities).where(identities.c.id == identity_id).values(changes))


async def set_made_admin(session: Session, identity_id: int, user_id: int, *, admin: bool) -> None:
    """Make the account of an identity an administrator because of a group, or no longer."""
    await session.run(update(identities).where(identities.c.id == identity_id).values(made_admin=admin))
    await session.run(update(users).where(users.c.id == user_id).values(admin=admin))


async def of_user(session: Session, user_id: int, limit: int) -> list[StoredIdentity]:
    """Return the identities of an account, oldest first."""
    return [_identity(row) for row in await session.rows(_OF_USER, {"user_id_": user_id, "n": limit})]


async def has_password(session: Session, user_id: int, *, lock: bool = False) -> bool:
    """Return whether an account has a password; with ``lock``, it is locked until the transaction ends."""
    row = await session.row(_LOCKED_PASSWORD if lock else _PASSWORD, {"user_id_": user_id})
    return bool(row and row.password_hash)


async def has_passkey(session: Session, user_id: int) -> bool:
    """Return whether an account has a passkey, which signs in alone."""
    return await session.row(_PASSKEY, {"user_id_": user_id}) is not None


async def remove(session: Session, user_id: int, identity_id: int) -> bool:
    """Unlink an identity from an account; return False if it has no such identity."""
    own = (identities.c.id == identity_id, identities.c.user_id == user_id)
    return await session.run(delete(identities).where(*own)) > 0


def _identity(row: Row[Any]) -> StoredIdentity:
    return StoredIdentity(row.identity_id, row.issuer, row.identity_email, row.linked_at, row.signed_in_at)
