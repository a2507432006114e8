"""Tokens and refresh tokens in the database, by their SHA-256."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, union_all, update

from hythe.database import Session
from hythe.database.tables.hub import personal_tokens, refresh_tokens, users
from hythe.database.tables.organizations import organization_members
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.actor import HubActor, Right
from hythe.hub.roles import OrganizationRole
from hythe.hub.sql.token_limits import LIMIT_COLUMNS, limits_of, old_words, stored_rights, words_of
from hythe.hub.sql.users import ACTOR_COLUMNS, Account, account_of
from hythe.hub.tokens.personal_token import PersonalToken, TokenKind


class TokenHolder(msgspec.Struct, frozen=True):
    """A token's holder and rights; ``personal_token_id`` is the token that a refresh token was created with.

    ``kind`` and ``name`` are the token's; None and empty for the refresh token of a password.
    """

    account: Account
    rights: frozenset[Right]
    personal_token_id: int | None
    personal_token_digest: str = ""
    used_at: datetime | None = None
    used_from: str = ""
    repositories: tuple[str, ...] | None = None
    kind: TokenKind | None = None
    name: str = ""
    subject: str = ""


class FoundToken(msgspec.Struct, frozen=True):
    """A token with the account that it belongs to."""

    id: int
    user_id: int
    account: str
    kind: TokenKind
    name: str


class NewTokenRow(msgspec.Struct, frozen=True):
    """A token to add."""

    user_id: int
    kind: TokenKind
    name: str
    digest: str
    rights: Collection[Right]
    repositories: tuple[str, ...] | None
    expires_at: datetime | None
    rule_id: int | None = None
    subject: str | None = None


_NOW = bindparam("now", type_=personal_tokens.c.expires_at.type)
_TOKEN = personal_tokens.c
_HOLDER_COLUMNS = (
    *ACTOR_COLUMNS,
    *LIMIT_COLUMNS,
    _TOKEN.id.label("token_id"),
    _TOKEN.name.label("token_name"),
    _TOKEN.kind.label("token_kind"),
    _TOKEN.subject.label("token_subject"),
)

_PERSONAL_HOLDER = (
    select(*_HOLDER_COLUMNS, _TOKEN.used_at, _TOKEN.used_from)
    .join_from(personal_tokens, users)
    .where(
        or_(
            _TOKEN.digest == bindparam("digest"),
            (_TOKEN.previous_digest == bindparam("digest")) & (_TOKEN.previous_expires_at > _NOW),
        ),
        or_(_TOKEN.expires_at.is_(None), _TOKEN.expires_at > _NOW),
    )
)
_REFRESH_HOLDER = (
    select(
        *_HOLDER_COLUMNS,
        refresh_tokens.c.rights.label("refresh_rights"),
        refresh_tokens.c.personal_token_id,
        _TOKEN.digest.label("personal_token_digest"),
    )
    .join_from(refresh_tokens, users)
    .join(personal_tokens, _TOKEN.id == refresh_tokens.c.personal_token_id, isouter=True)
    .where(
        refresh_tokens.c.digest == bindparam("digest"),
        refresh_tokens.c.expires_at > _NOW,
        or_(_TOKEN.expires_at.is_(None), _TOKEN.expires_at > _NOW),
    )
)
_BY_SECRET = (
    select(_TOKEN.id, _TOKEN.user_id, users.c.name.label("account"), _TOKEN.kind, _TOKEN.name)
    .join_from(personal_tokens, users)
    .where(or_(_TOKEN.digest == bindparam("digest"), _TOKEN.previous_digest == bindparam("digest")))
)
_ACCOUNT_ID = bindparam("account_id", type_=users.c.id.type)
_PEOPLE_BEHIND = union_all(
    select(users.c.id).where(users.c.id == _ACCOUNT_ID, users.c.kind == AccountKind.USER.value),
    select(organization_members.c.user_id).where(
        organization_members.c.organization_id == _ACCOUNT_ID,
        organization_members.c.role >= OrganizationRole.OWNER.value,
    ),
).limit(20)
_OF_KIND = (_TOKEN.user_id == bindparam("user_id")) & (_TOKEN.kind == bindparam("kind"))
_LISTED = select(personal_tokens).where(_OF_KIND)
_NEWEST_FIRST = _LISTED.order_by(_TOKEN.id.desc())
_BY_ID = _LISTED.where(_TOKEN.id == bindparam("token_id"))
_BY_NAME = _LISTED.where(_TOKEN.name == bindparam("name"))
_COUNTED = select(func.count()).select_from(
    select(_TOKEN.id).where(_OF_KIND).limit(bindparam("at_most")).subquery("counted")
)


async def personal_holder(session: Session, digest: str, now: datetime) -> TokenHolder | None:
    """Return the holder of this token, unless it has expired."""
    row = await session.row(_PERSONAL_HOLDER, {"digest": digest, "now": now})
    if row is None:
        return None
    rights, repositories = limits_of(row)
    return TokenHolder(
        account_of(row),
        rights,
        row.token_id,
        digest,
        row.used_at,
        row.used_from or "",
        repositories,
        TokenKind(row.token_kind),
        row.token_name,
        row.token_subject or "",
    )


async def refresh_holder(session: Session, digest: str, now: datetime) -> TokenHolder | None:
    """Return the holder of this refresh token, unless it has expired. It has the present rights of its token."""
    row = await session.row(_REFRESH_HOLDER, {"digest": digest, "now": now})
    if row is None:
        return None
    if row.personal_token_id is None:
        return TokenHolder(account_of(row), stored_rights(row.refresh_rights, None), None)
    rights, repositories = limits_of(row)
    return TokenHolder(
        account_of(row),
        rights,
        row.personal_token_id,
        row.personal_token_digest or "",
        repositories=repositories,
        kind=TokenKind(row.token_kind),
        name=row.token_name,
        subject=row.token_subject or "",
    )


async def by_secret(session: Session, digest: str) -> FoundToken | None:
    """Return the token with this present or previous secret."""
    row = await session.row(_BY_SECRET, {"digest": digest})
    return FoundToken(row.id, row.user_id, row.account, TokenKind(row.kind), row.name) if row else None


async def people_behind(session: Session, account_id: int) -> tuple[int, ...]:
    """Return the ids of the users who manage an account, at most 20: the user, or owners of the organization."""
    rows = await session.rows(_PEOPLE_BEHIND, {"account_id": account_id})
    return tuple(row.id for row in rows)


async def add(session: Session, new: NewTokenRow, at: datetime) -> PersonalToken:
    """Add a token. Raises IntegrityError if a robot's name is taken."""
    values = {
        "user_id": new.user_id,
        "name": new.name,
        "kind": new.kind.value,
        "digest": new.digest,
        "created_at": at,
        "expires_at": new.expires_at,
        "rule_id": new.rule_id,
        "subject": new.subject,
        **_limit_values(new.kind, new.rights, new.repositories),
    }
    row = await session.row(insert(personal_tokens).values(values).returning(*personal_tokens.c))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return _personal(row)


async def listed(session: Session, user_id: int, kind: TokenKind) -> tuple[PersonalToken, ...]:
    """Return an account's tokens of a kind, newest first."""
    rows = await session.rows(_NEWEST_FIRST, {"user_id": user_id, "kind": kind.value})
    return tuple(map(_personal, rows))


async def count(session: Session, user_id: int, kind: TokenKind, at_most: int) -> int:
    """Return how many tokens of a kind an account has, counted up to ``at_most``."""
    row = await session.row(_COUNTED, {"user_id": user_id, "kind": kind.value, "at_most": at_most})
    return int(row[0]) if row else 0


async def by_id(session: Session, user_id: int, kind: TokenKind, token_id: int) -> PersonalToken | None:
    """Return one of an account's tokens."""
    row = await session.row(_BY_ID, {"user_id": user_id, "kind": kind.value, "token_id": token_id})
    return _personal(row) if row else None


async def robot_by_name(session: Session, user_id: int, name: str) -> PersonalToken | None:
    """Return a robot of an account's namespace."""
    row = await session.row(_BY_NAME, {"user_id": user_id, "kind": TokenKind.ROBOT.value, "name": name})
    return _personal(row) if row else None


async def change(
    session: Session,
    token_id: int,
    kind: TokenKind,
    name: str,
    rights: Collection[Right],
    repositories: tuple[str, ...] | None,
) -> None:
    """Set the name and limits of a token. Raises IntegrityError if a robot's name is taken."""
    values = {"name": name, **_limit_values(kind, rights, repositories)}
    await session.run(update(personal_tokens).where(_TOKEN.id == token_id).values(values))


async def rotate(
    session: Session, token_id: int, digest: str, previous_expires_at: datetime, expires_at: datetime | None
) -> None:
    """Give a token a new secret; the present one, and refresh tokens made with it, work until ``previous_expires_at``.

    A secret before the present one ends now.
    """
    values = {
        "previous_digest": _TOKEN.digest,
        "previous_expires_at": previous_expires_at,
        "digest": digest,
        "expires_at": expires_at,
    }
    await session.run(update(personal_tokens).where(_TOKEN.id == token_id).values(values))
    logins = (refresh_tokens.c.personal_token_id == token_id) & (refresh_tokens.c.expires_at > previous_expires_at)
    await session.run(update(refresh_tokens).where(logins).values(expires_at=previous_expires_at))


async def remove(session: Session, user_id: int, kind: TokenKind, token_id: int) -> bool:
    """Delete a token and the refresh tokens created with it; return False if it does not exist."""
    own = (_TOKEN.id == token_id) & (_TOKEN.user_id == user_id) & (_TOKEN.kind == kind.value)
    return await session.run(delete(personal_tokens).where(own)) > 0


async def remove_of_rule(session: Session, rule_id: int) -> None:
    """Delete what a trust rule gave."""
    await session.run(delete(personal_tokens).where(_TOKEN.rule_id == rule_id))


async def remove_expired_of_rules(session: Session, now: datetime) -> None:
    """Delete the expired tokens that trust rules gave."""
    await session.run(delete(personal_tokens).where(_TOKEN.rule_id.is_not(None), _TOKEN.expires_at <= now))


async def mark_used(session: Session, token_id: int, at: datetime, address: str = "") -> None:
    """Record when and from where a token was last used."""
    await session.run(update(personal_tokens).where(_TOKEN.id == token_id).values(used_at=at, used_from=address[:45]))


async def add_refresh(
    session: Session, digest: str, holder: HubActor, client: str, at: datetime, expires_at: datetime
) -> None:
    """Add a refresh token and delete expired ones."""
    await session.run(delete(refresh_tokens).where(refresh_tokens.c.expires_at <= at))
    limited = holder.robot or holder.repositories is not None
    values = {
        "digest": digest,
        "user_id": holder.user_id,
        "personal_token_id": holder.personal_token_id,
        "rights": "" if limited else old_words(holder.rights),
        "client": client,
        "created_at": at,
        "expires_at": expires_at,
    }
    await session.run(insert(refresh_tokens).values(values))


async def remove_refresh_of_user(session: Session, user_id: int) -> None:
    """Delete all refresh tokens of an account."""
    await session.run(delete(refresh_tokens).where(refresh_tokens.c.user_id == user_id))


def _limit_values(
    kind: TokenKind, rights: Collection[Right], repositories: tuple[str, ...] | None
) -> dict[str, str | None]:
    limited = repositories is not None or kind is not TokenKind.PERSONAL
    return {
        "rights": "" if limited else old_words(rights),
        "permissions": words_of(rights),
        "limits": None if repositories is None else " ".join(repositories),
    }


def _personal(row: Row[Any]) -> PersonalToken:
    known = stored_rights(row.rights, row.permissions)
    return PersonalToken(
        row.id,
        row.name,
        tuple(right for right in Right if right in known),
        row.created_at,
        row.expires_at,
        row.used_at,
        None if row.limits is None else tuple(row.limits.split()),
        row.used_from or "",
        row.previous_expires_at,
    )
