"""Accounts in the database."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, insert, select, update

from hythe.database import Session
from hythe.database.tables.builds import build_usage
from hythe.database.tables.hub import known_networks, users
from hythe.database.tables.registry import namespace_usage
from hythe.hub.accounts.namespaces import AccountKind
from hythe.hub.accounts.plan import Plan, PlanUsage, first_build_day
from hythe.hub.accounts.user import User, Visibility
from hythe.hub.page import Page, Paging
from hythe.hub.sql.plans import plan_columns, plan_of
from hythe.hub.sql.repositories import private_count
from hythe.hub.sql.sorted_list import SortedList, page_of
from hythe.registry.sql.usage import upload_count

_COLUMNS = (
    users.c.id,
    users.c.name,
    users.c.email,
    users.c.default_visibility,
    users.c.created_at,
    users.c.blocked_at,
    users.c.email_confirmed_at,
    users.c.kind,
    users.c.curator,
    *plan_columns(users),
)
_USAGE = select(namespace_usage).where(namespace_usage.c.namespace == users.c.name)
_ALL = select(
    *_COLUMNS,
    private_count(users.c.id).label("private_count"),
    _USAGE.with_only_columns(namespace_usage.c.repositories).scalar_subquery().label("repository_count"),
    _USAGE.with_only_columns(namespace_usage.c.bytes).scalar_subquery().label("storage_used"),
    upload_count(users.c.name).label("upload_count"),
    select(func.sum(build_usage.c.seconds) // 60)
    .where(build_usage.c.account == users.c.name, build_usage.c.day >= bindparam("first_build_day"))
    .scalar_subquery()
    .label("build_minutes"),
)
_BY_NAME = _ALL.where(users.c.name == bindparam("name"), users.c.deleted_at.is_(None))
BY_NAME = SortedList(_ALL, users.c.name)
_BY_EMAIL = _ALL.where(users.c.email == bindparam("email"), users.c.deleted_at.is_(None))
_BY_ID = _ALL.where(users.c.id == bindparam("user_id"))
ACTOR_COLUMNS = (users.c.id, users.c.name, users.c.admin, users.c.blocked_at, users.c.credential_generation)
"""What becomes an actor."""

_CREDENTIALS = select(
    *ACTOR_COLUMNS,
    users.c.password_hash,
    users.c.second_factor,
    select(1)
    .where(known_networks.c.user_id == users.c.id, known_networks.c.network == bindparam("network"))
    .exists()
    .label("known"),
).where(users.c.name == bindparam("name"))

_ACCOUNT = select(*ACTOR_COLUMNS).where(users.c.id == bindparam("user_id"), users.c.deleted_at.is_(None))


class Account(msgspec.Struct, frozen=True):
    """The account that a credential belongs to."""

    id: int
    name: str
    admin: bool
    blocked: bool
    credential_generation: int


class StoredCredentials(msgspec.Struct, frozen=True):
    """What a sign-in is checked against."""

    account: Account
    password_hash: str
    known_network: bool
    second_factor: bool


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
        # The time, so that access tokens of a deleted account with the same id and name do not work.
        "credential_generation": int(at.timestamp()),
        **msgspec.structs.asdict(plan),
    }
    row = await session.row(insert(users).values(values).returning(users.c.id))
    if row is None:
        raise LookupError("INSERT .. RETURNING gave no row")
    return User(row.id, name, email, admin, Visibility.PUBLIC, plan, PlanUsage(), at)


async def by_name(session: Session, name: str) -> User | None:
    """Return the account with this name."""
    row = await session.row(_BY_NAME, {"name": name, **_today()})
    return _user(row) if row else None


async def by_email(session: Session, email: str) -> User | None:
    """Return the account with this e-mail address (lower case)."""
    row = await session.row(_BY_EMAIL, {"email": email, **_today()})
    return _user(row) if row else None


async def by_id(session: Session, user_id: int) -> User | None:
    """Return the account with this id."""
    row = await session.row(_BY_ID, {"user_id": user_id, **_today()})
    return _user(row) if row else None


async def credentials(session: Session, name: str, network: str = "") -> StoredCredentials | None:
    """Return the stored credentials of ``name``, for a client in ``network``."""
    row = await session.row(_CREDENTIALS, {"name": name, "network": network})
    if row is None:
        return None
    return StoredCredentials(account_of(row), row.password_hash, bool(row.known), bool(row.second_factor))


async def account(session: Session, user_id: int) -> Account | None:
    """Return the account with this id."""
    row = await session.row(_ACCOUNT, {"user_id": user_id})
    return account_of(row) if row else None


def account_of(row: Row[Any]) -> Account:
    """Return the account of a row with ACTOR_COLUMNS."""
    return Account(row.id, row.name, row.admin, row.blocked_at is not None, row.credential_generation)


async def email_in_use(session: Session, email: str) -> bool:
    """Return whether an account has this e-mail address (lower case)."""
    return await session.row(select(users.c.id).where(users.c.email == email)) is not None


async def change(session: Session, user_id: int, values: Mapping[str, Any]) -> None:
    """Set columns of an account."""
    if values:
        plain = {name: value.value if isinstance(value, Visibility) else value for name, value in values.items()}
        await session.run(update(users).where(users.c.id == user_id).values(plain))


async def end_access_tokens(session: Session, user_id: int) -> None:
    """End the access tokens of an account."""
    generation = users.c.credential_generation + 1
    await session.run(update(users).where(users.c.id == user_id).values(credential_generation=generation))


async def listed(session: Session, paging: Paging) -> Page[User]:
    """Return a page of the accounts, by name."""
    found = await BY_NAME.slice(session, paging, _today())
    total = await BY_NAME.total(session, {})
    return page_of(found, tuple(map(_user, found.rows)), total, paging)


def _today() -> dict[str, int]:
    """Return the parameter of ``_ALL``."""
    return {"first_build_day": first_build_day(datetime.now(UTC))}


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
        row.blocked_at is not None,
        row.email_confirmed_at is not None,
        row.kind == AccountKind.ORGANIZATION.value,
        bool(row.curator),
    )
