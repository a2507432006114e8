"""Blocks and deletes accounts in the database, and counts what they have."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ScalarSelect, Select, bindparam, delete, func, insert, literal, select, update

from hythe.database import Session
from hythe.database.tables.builds import builds
from hythe.database.tables.forges import linked_accounts
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, reserved_names, users
from hythe.database.tables.notifications import webhooks
from hythe.database.tables.registry import namespace_usage, repositories, tags
from hythe.registry.sql.usage import names_within


class AccountContents(msgspec.Struct, frozen=True):
    """What an account has, and loses when it is deleted. ``bytes`` counts each blob once."""

    repositories: int
    tags: int
    bytes: int
    builds: int
    webhooks: int
    personal_tokens: int
    linked_accounts: int


def _count(statement: Select[Any]) -> ScalarSelect[int]:
    return statement.with_only_columns(func.count(), maintain_column_froms=True).scalar_subquery()


_NAME = bindparam("name", type_=users.c.name.type)
_OWN = (
    select(hub_repositories.c.repository_id).join_from(hub_repositories, namespaces).where(namespaces.c.name == _NAME)
)
_USAGE = select(namespace_usage).where(namespace_usage.c.namespace == _NAME)
_CONTENTS = select(
    _count(_OWN).label("repositories"),
    _count(select(tags).where(tags.c.repository_id.in_(_OWN))).label("tags"),
    func.coalesce(_USAGE.with_only_columns(namespace_usage.c.bytes).scalar_subquery(), 0).label("bytes"),
    _count(select(builds).where(builds.c.account == _NAME)).label("builds"),
    _count(select(webhooks).where(webhooks.c.repository_id.in_(_OWN))).label("webhooks"),
    _count(select(personal_tokens).join_from(personal_tokens, users).where(users.c.name == _NAME)).label(
        "personal_tokens"
    ),
    _count(select(linked_accounts).join_from(linked_accounts, users).where(users.c.name == _NAME)).label(
        "linked_accounts"
    ),
)


async def contents(session: Session, name: str) -> AccountContents:
    """Return what an account has."""
    row = await session.row(_CONTENTS, {"name": name})
    if row is None:
        raise LookupError("the query returned no row")
    return AccountContents(*map(int, row))


async def lock_active_admins(session: Session) -> frozenset[int]:
    """Return the ids of the administrators that are not blocked; none of them changes until the transaction ends."""
    active = select(users.c.id).where(users.c.admin, users.c.blocked_at.is_(None)).order_by(users.c.id)
    active = active.with_for_update()
    return frozenset(row.id for row in await session.rows(active))


async def set_blocked(session: Session, user_id: int, at: datetime | None) -> None:
    """Block or unblock (None) an account, and end its access tokens."""
    generation = users.c.credential_generation + 1
    changes = {"blocked_at": at, "credential_generation": generation}
    await session.run(update(users).where(users.c.id == user_id).values(changes))


async def repository_names(session: Session, namespace: str) -> tuple[str, ...]:
    """Return the names of all repositories in a namespace."""
    within = names_within(repositories.c.name, literal(namespace))
    rows = await session.rows(select(repositories.c.name).where(within).order_by(repositories.c.name))
    return tuple(row.name for row in rows)


async def remove(session: Session, user_id: int, name: str, at: datetime) -> None:
    """Delete an account with its namespace, sessions and tokens, and reserve its name."""
    await session.run(delete(users).where(users.c.id == user_id))
    await session.run(insert(reserved_names).values(name=name, reserved_at=at))


async def is_reserved(session: Session, name: str) -> bool:
    """Return whether the name belonged to an account that was deleted."""
    return await session.row(select(reserved_names.c.name).where(reserved_names.c.name == name)) is not None


async def release_name(session: Session, name: str) -> None:
    """Allow a new account to have this name."""
    await session.run(delete(reserved_names).where(reserved_names.c.name == name))
