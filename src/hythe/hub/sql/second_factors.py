"""Which accounts have second factors, and their recovery codes."""

from collections.abc import Collection

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select, update

from hythe.database import Session
from hythe.database.tables.hub import refresh_tokens, sessions, users
from hythe.database.tables.organizations import organization_members
from hythe.database.tables.second_factors import passkeys, recovery_codes, totp_secrets

_HAS_FACTOR = or_(
    exists().where(totp_secrets.c.user_id == users.c.id).correlate(users),
    exists().where(passkeys.c.user_id == users.c.id).correlate(users),
)
_MARK = (
    update(users)
    .where(users.c.id == bindparam("own_id"))
    .values(second_factor=_HAS_FACTOR)
    .returning(users.c.second_factor)
)
_HAS = select(users.c.second_factor).where(users.c.id == bindparam("user_id"))
_CODE_COUNT = select(func.count().label("number")).where(recovery_codes.c.user_id == bindparam("user_id"))
_USE = delete(recovery_codes).where(
    recovery_codes.c.user_id == bindparam("user_id_"), recovery_codes.c.digest == bindparam("digest_")
)
_REQUIRING = (
    select(users.c.name)
    .join_from(organization_members, users, users.c.id == organization_members.c.organization_id)
    .where(organization_members.c.user_id == bindparam("user_id"), users.c.require_second_factor)
    .limit(10)
)


async def has_second_factor(session: Session, user_id: int) -> bool:
    """Return whether an account has a second factor."""
    row = await session.row(_HAS, {"user_id": user_id})
    return row is not None and bool(row.second_factor)


async def mark(session: Session, user_id: int) -> bool:
    """Record in ``users`` whether the account has a second factor now, and return it."""
    row = await session.row(_MARK, {"own_id": user_id})
    return row is not None and bool(row.second_factor)


async def recovery_code_count(session: Session, user_id: int) -> int:
    """Return how many recovery codes an account has left."""
    row = await session.row(_CODE_COUNT, {"user_id": user_id})
    return int(row.number) if row is not None else 0


async def replace_recovery_codes(session: Session, user_id: int, digests: Collection[str]) -> None:
    """Set the recovery codes of an account; older ones end."""
    await session.run(delete(recovery_codes).where(recovery_codes.c.user_id == user_id))
    if digests:
        await session.run(insert(recovery_codes), [{"user_id": user_id, "digest": digest} for digest in digests])


async def use_recovery_code(session: Session, user_id: int, digest: str) -> bool:
    """Delete a recovery code; return False if it does not exist."""
    return await session.run(_USE, {"user_id_": user_id, "digest_": digest}) > 0


async def requiring(session: Session, user_id: int) -> tuple[str, ...]:
    """Return some organizations of a user that require a second factor."""
    return tuple(row.name for row in await session.rows(_REQUIRING, {"user_id": user_id}))


async def end_logins(session: Session, user_id: int, kept: str = "") -> None:
    """End what a password alone started: sessions, except that with the id ``kept``, and logins of programs."""
    others = or_(sessions.c.public_id != kept, sessions.c.public_id.is_(None))
    await session.run(delete(sessions).where(sessions.c.user_id == user_id, others))
    await session.run(
        delete(refresh_tokens).where(refresh_tokens.c.user_id == user_id, refresh_tokens.c.personal_token_id.is_(None))
    )
    generation = users.c.credential_generation + 1
    await session.run(update(users).where(users.c.id == user_id).values(credential_generation=generation))
