"""Personal tokens and refresh tokens in the database, by their SHA-256."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, insert, or_, select, update

from hythe.database import Session
from hythe.database.tables.hub import personal_tokens, refresh_tokens, users
from hythe.hub.actor import HubActor, Right
from hythe.hub.personal_token import PersonalToken
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of


class TokenHolder(msgspec.Struct, frozen=True):
    """A token's holder and rights; ``personal_token_id`` is the token that a refresh token was created with."""

    account: Account
    rights: frozenset[Right]
    personal_token_id: int | None
    personal_token_digest: str = ""
    used_at: datetime | None = None


_NOW = bindparam("now", type_=personal_tokens.c.expires_at.type)

_PERSONAL_HOLDER = (
    select(
        *ACTOR_COLUMNS,
        personal_tokens.c.rights,
        personal_tokens.c.id.label("token_id"),
        personal_tokens.c.used_at,
    )
    .join_from(personal_tokens, users)
    .where(
        personal_tokens.c.digest == bindparam("digest"),
        or_(personal_tokens.c.expires_at.is_(None), personal_tokens.c.expires_at > _NOW),
    )
)
_REFRESH_HOLDER = (
    select(
        *ACTOR_COLUMNS,
        refresh_tokens.c.rights,
        refresh_tokens.c.personal_token_id,
        personal_tokens.c.digest.label("personal_token_digest"),
    )
    .join_from(refresh_tokens, users)
    .join(personal_tokens, personal_tokens.c.id == refresh_tokens.c.personal_token_id, isouter=True)
    .where(
        refresh_tokens.c.digest == bindparam("digest"),
        refresh_tokens.c.expires_at > _NOW,
        or_(personal_tokens.c.expires_at.is_(None), personal_tokens.c.expires_at > _NOW),
    )
)


async def personal_holder(session: Session, digest: str, now: datetime) -> TokenHolder | None:
    """Return the holder of this personal token, unless it has expired."""
    row = await session.row(_PERSONAL_HOLDER, {"digest": digest, "now": now})
    return TokenHolder(account_of(row), _rights(row.rights), row.token_id, digest, row.used_at) if row else None


async def refresh_holder(session: Session, digest: str, now: datetime) -> TokenHolder | None:
    """Return the holder of this refresh token, unless it has expired."""
    row = await session.row(_REFRESH_HOLDER, {"digest": digest, "now": now})
    if row is None:
        return None
    return TokenHolder(account_of(row), _rights(row.rights), row.personal_token_id, row.personal_token_digest or "")


async def add_personal(
    session: Session,
    user_id: int,
    name: str,
    digest: str,
    rights: Collection[Right],
    at: datetime,
    expires_at: datetime | None,
) -> PersonalToken:
    """Add a personal token."""
    values = {
        "user_id": user_id,
        "name": name,
        "digest": digest,
        "rights": _rights_text(rights),
        "created_at": at,
        "expires_at": expires_at,
    }
    row = await session.row(insert(personal_tokens).values(values).returning(*personal_tokens.c))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return _personal(row)


async def personal_of_user(session: Session, user_id: int) -> tuple[PersonalToken, ...]:
    """Return an account's personal tokens, newest first."""
    statement = select(personal_tokens).where(personal_tokens.c.user_id == user_id)
    return tuple(_personal(row) for row in await session.rows(statement.order_by(personal_tokens.c.id.desc())))


async def remove_personal(session: Session, user_id: int, token_id: int) -> bool:
    """Delete a personal token and the refresh tokens created with it; return False if it does not exist."""
    own = (personal_tokens.c.id == token_id) & (personal_tokens.c.user_id == user_id)
    return await session.run(delete(personal_tokens).where(own)) > 0


async def mark_used(session: Session, token_id: int, at: datetime) -> None:
    """Record when a personal token was last used."""
    await session.run(update(personal_tokens).where(personal_tokens.c.id == token_id).values(used_at=at))


async def add_refresh(
    session: Session, digest: str, holder: HubActor, client: str, at: datetime, expires_at: datetime
) -> None:
    """Add a refresh token and delete expired ones."""
    await session.run(delete(refresh_tokens).where(refresh_tokens.c.expires_at <= at))
    values = {
        "digest": digest,
        "user_id": holder.user_id,
        "personal_token_id": holder.personal_token_id,
        "rights": _rights_text(holder.rights),
        "client": client,
        "created_at": at,
        "expires_at": expires_at,
    }
    await session.run(insert(refresh_tokens).values(values))


async def remove_refresh_of_user(session: Session, user_id: int) -> None:
    """Delete all refresh tokens of an account."""
    await session.run(delete(refresh_tokens).where(refresh_tokens.c.user_id == user_id))


def _rights_text(rights: Collection[Right]) -> str:
    return " ".join(right.value for right in Right if right in rights)


def _rights(text: str) -> frozenset[Right]:
    return frozenset(Right(word) for word in text.split())


def _personal(row: Row[Any]) -> PersonalToken:
    rights = tuple(right for right in Right if right in _rights(row.rights))
    return PersonalToken(row.id, row.name, rights, row.created_at, row.expires_at, row.used_at)
