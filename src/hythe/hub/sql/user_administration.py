"""Blocks and deletes accounts in the database, and counts what they have."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ScalarSelect, Select, bindparam, delete, func, literal, select, update

from hythe.database import Session
from hythe.database.port import insert as upsert
from hythe.database.tables.builds import builds
from hythe.database.tables.forges import linked_accounts
from hythe.database.tables.hub import hub_repositories, namespaces, personal_tokens, reserved_names, users
from hythe.database.tables.names import former_namespaces
from hythe.database.tables.notifications import webhooks
from hythe.database.tables.registry import namespace_usage, repositories, tags
from hythe.registry.sql.usage import names_within

REPOSITORIES_AT_ONCE = 100
"""Names of repositories to read at once."""

MAX_COUNTED = 10_000
"""Each number is counted up to this one and one more."""


class AccountContents(msgspec.Struct, frozen=True):
    """What an account has, and loses when it is deleted. ``bytes`` counts each blob once.

    The other numbers are counted up to 10,001, which means more than 10,000.
    """

    repositories: int
    tags: int
    bytes: int
    builds: int
    webhooks: int
    personal_tokens: int
    linked_accounts: int


def _count(statement: Select[Any]) -> ScalarSelect[int]:
    some = statement.with_only_columns(literal(1), maintain_column_froms=True).limit(MAX_COUNTED + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


_NAME = bindparam("name", type_=users.c.name.type)
_OWN = (
    select(hub_repositories.c.repository_id).join_from(namespaces, hub_repositories).where(namespaces.c.name == _NAME)
)
_USAGE = select(namespace_usage).where(namespace_usage.c.namespace == _NAME)
_CONTENTS = select(
    _count(_OWN).label("repositories"),
    _count(_OWN.join(tags, tags.c.repository_id == hub_repositories.c.repository_id)).label("tags"),
    func.coalesce(_USAGE.with_only_columns(namespace_usage.c.bytes).scalar_subquery(), 0).label("bytes"),
    _count(select(builds).where(builds.c.account == _NAME)).label("builds"),
    _count(_OWN.join(webhooks, webhooks.c.repository_id == hub_repositories.c.repository_id)).label("webhooks"),
    _count(select(personal_tokens).join_from(personal_tokens, users).where(users.c.name == _NAME)).label(
        "personal_tokens"
    ),
    _count(select(linked_accounts).join_from(linked_accounts, users).where(users.c.name == _NAME)).label(
        "linked_accounts"
    ),
)


_FORMER_NAMES = (
    select(former_namespaces.c.name)
    .join(namespaces, namespaces.c.id == former_namespaces.c.namespace_id)
    .where(namespaces.c.user_id == bindparam("user_id"))
)


async def contents(session: Session, name: str) -> AccountContents:
    """Return what an account has."""
    row = await session.row(_CONTENTS, {"name": name})
    if row is None:
        raise LookupError("the query returned no row")
    return AccountContents(*map(int, row))


async def lock_active_admins(session: Session) -> frozenset[int]:
    """Return the ids of the administrators that are not blocked; none of them changes until the transaction ends."""
    active = select(users.c.id).where(users.c.admin.is_(True), users.c.blocked_at.is_(None)).order_by(users.c.id)
    active = active.with_for_update()
    return frozenset(row.id for row in await session.rows(active))


async def set_blocked(session: Session, user_id: int, at: datetime | None) -> None:
    """Block or unblock (None) an account, and end its access tokens."""
    generation = users.c.credential_generation + 1
    changes = {"blocked_at": at, "credential_generation": generation}
    await session.run(update(users).where(users.c.id == user_id).values(changes))


async def some_repository_names(session: Session, namespace: str) -> tuple[str, ...]:
    """Return the names of some repositories in a namespace."""
    within = names_within(repositories.c.name, literal(namespace))
    some = select(repositories.c.name).where(within, repositories.c.deleted_at.is_(None))
    return tuple(row.name for row in await session.rows(some.order_by(repositories.c.name).limit(REPOSITORIES_AT_ONCE)))


async def set_deleted(session: Session, user_id: int, at: datetime) -> None:
    """Delete an account for everyone; its repositories are deleted next, then its row."""
    await session.run(update(users).where(users.c.id == user_id).values(deleted_at=at))


async def deleted_users(session: Session) -> tuple[tuple[int, str], ...]:
    """Return id and name of some deleted accounts that still have a row."""
    some = (
        select(users.c.id, users.c.name).where(users.c.deleted_at.is_not(None)).order_by(users.c.deleted_at).limit(100)
    )
    return tuple((row.id, row.name) for row in await session.rows(some))


async def remove(session: Session, user_id: int, name: str, at: datetime) -> None:
    """Delete an account with its namespace, sessions and tokens, and reserve its name and former names."""
    former = await session.rows(_FORMER_NAMES, {"user_id": user_id})
    if await session.run(delete(users).where(users.c.id == user_id)):
        for each in (name, *(row.name for row in former)):
            await reserve_name(session, each, at)


async def reserve_name(session: Session, name: str, at: datetime) -> None:
    """Let only administrators give this name to a new account."""
    statement = upsert(session, reserved_names).values(name=name, reserved_at=at)
    await session.run(statement.on_conflict_do_nothing())


async def is_reserved(session: Session, name: str) -> bool:
    """Return whether the name belonged to an account that was deleted."""
    return await session.row(select(reserved_names.c.name).where(reserved_names.c.name == name)) is not None


async def release_name(session: Session, name: str) -> None:
    """Allow a new account to have this name."""
    await session.run(delete(reserved_names).where(reserved_names.c.name == name))
