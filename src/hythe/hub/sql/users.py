"""Accounts in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.hub import users
from hythe.database.tables.registry import namespace_usage
from hythe.hub.page import Paging
from hythe.hub.plan import Plan, PlanUsage
from hythe.hub.sql.plans import plan_columns, plan_of
from hythe.hub.sql.repositories import private_count
from hythe.hub.user import User, Visibility
from hythe.registry.sql.usage import upload_count

_COLUMNS = (
    users.c.id,
    users.c.name,
    users.c.email,
    users.c.default_visibility,
    users.c.created_at,
    *plan_columns(users),
)
_USAGE = select(namespace_usage).where(namespace_usage.c.namespace == users.c.name)
_ALL = select(
    *_COLUMNS,
    private_count(users.c.id).label("private_count"),
    _USAGE.with_only_columns(namespace_usage.c.repositories).scalar_subquery().label("repository_count"),
    _USAGE.with_only_columns(namespace_usage.c.bytes).scalar_subquery().label("storage_used"),
    upload_count(users.c.name).label("upload_count"),
)
_BY_NAME = _ALL.where(users.c.name == bindparam("name"))
_BY_ID = _ALL.where(users.c.id == bindparam("user_id"))
_CREDENTIALS = select(users.c.id, users.c.name, users.c.admin, users.c.password_hash).where(
    users.c.name == bindparam("name")
)


class StoredCredentials(msgspec.Struct, frozen=True):
    """What a sign-in is checked against."""

    user_id: int
    name: str
    admin: bool
    password_hash: str


async def add(
    session: Session,
    name: str,
    email: str,
    password_hash: str,
    *,
    admin: bool,
    plan: Plan,
    at: datetime,
) -> User:
    """Add an account. Raises IntegrityError if the name or e-mail address is taken."""
    values = {
        "name": name,
        "email": email,
        "password_hash": password_hash,
        "admin": admin,
        "default_visibility": Visibility.PUBLIC.value,
        "created_at": at,
        **msgspec.structs.asdict(plan),
    }
    row = await session.row(insert(users).values(values).returning(users.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return User(row.id, name, email, admin, Visibility.PUBLIC, plan, PlanUsage(), at)


async def by_name(session: Session, name: str) -> User | None:
    """Return the account with this name."""
    row = await session.row(_BY_NAME, {"name": name})
    return _user(row) if row else None


async def by_id(session: Session, user_id: int) -> User | None:
    """Return the account with this id."""
    row = await session.row(_BY_ID, {"user_id": user_id})
    return _user(row) if row else None


async def credentials(session: Session, name: str) -> StoredCredentials | None:
    """Return the stored credentials of ``name``."""
    row = await session.row(_CREDENTIALS, {"name": name})
    return StoredCredentials(row.id, row.name, row.admin, row.password_hash) if row else None


async def email_in_use(session: Session, email: str) -> bool:
    """Return whether an account has this e-mail address (lower case)."""
    return await session.row(select(users.c.id).where(users.c.email == email)) is not None


async def change(session: Session, user_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of an account."""
    if values:
        plain = {name: value.value if isinstance(value, Visibility) else value for name, value in values.items()}
        await session.run(update(users).where(users.c.id == user_id).values(plain))


async def listed(session: Session, paging: Paging) -> tuple[User, ...]:
    """Return a page of the accounts, by name."""
    statement = _ALL.order_by(users.c.name).offset(paging.offset).limit(paging.page_size)
    return tuple(_user(row) for row in await session.rows(statement))


async def count(session: Session) -> int:
    """Return the number of accounts."""
    row = await session.row(select(func.count()).select_from(users))
    return int(row[0]) if row else 0


def _user(row: Row[Any]) -> User:
    return User(
        row.id,
        row.name,
        row.email,
        row.admin,
        Visibility(row.default_visibility),
        plan_of(row),
        PlanUsage(**{used: getattr(row, used) or 0 for used in PlanUsage.__struct_fields__}),
        row.created_at,
    )
